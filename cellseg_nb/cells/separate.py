"""Touching cells of different sizes told apart, with no sigma to guess: `separate`.

A lightly blurred volume is a landscape of hills. Two neighbouring hills are two cells when the pass between
them is deep, or when apart they are rounder than together; each cell then ends at a share of its own height.
"""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells import background as measures
from cellseg_nb.cells.background import rise, rise_noise, spacing, spread
from cellseg_nb.cells.basins import Hills, roundness
from cellseg_nb.cells.brightness import background, clean, three
from cellseg_nb.cells.instances import consecutive
from cellseg_nb.cells.light import find_decay
from cellseg_nb.errors import UserError

BLUR = 1 / 8  # of the cell diameter
# depth of a pass (share of the lower summit) plus gain in roundness, from which two hills are two cells
APART = 0.12
DEEP = 0.3  # a pass so deep parts two cells whatever their shape
SHALLOW = 0.02  # one no deeper than this is texture
SHARE = 0.3  # of its height at which a cell ends: people draw the outline at the foot of the slope
# where cells are saturated, the upper part of the slope is cut off, and its foot lies too far out: so many
# voxels have exactly the highest value, as a share of the volume, and of those brighter than half
FLAT, SATURATED = 0.5, (0.002, 0.2)
OWN = 0.5  # how much of that height is its own; the rest is that of a typical cell
SURE = 4.0  # times the noise that a cell rises
FAINT = 0.25  # of the height of the cells; what is fainter is no cell
NEAR = 0.5  # of the height of the cells nearby; what is higher is a cell, though faint among all
# yet a faint hill is one where no pass leads to another hill above so much of its height, where the ground
# around is plain (its 10th percentile is so small a share of the height), and where its upper half is about
# as large as that of the others: 0.4 to 2.5 times (haze is larger)
ALONE, PLAIN, ALIKE = 0.3, 0.02, 2.5
SMALL = 0.5  # of the cell diameter; what is smaller is no cell
# of a speck's height after half of the blur, less than so much is left after all of it; of a Gaussian spot,
# so much is left where its width at half height is 0.27 cell diameters
LEFT = 0.45
LIKELY = 0.5  # probability that a cell of the volume reaches somewhere
FLOOR = 0.02  # of the highest summit: noise of a probability that is 0 outside the cells
# what lies between crowded cells varies by more than so large a share of the highest, and by more than
# `TEXTURE` times the noise from voxel to voxel: that is their own haze, and hides no pass between them
VARIED, TEXTURE = 0.04, 3.0


def separate(
    volume_or_probability,
    *,
    voxel_size=None,
    mask=None,
    volume=None,
    diameter=None,
    likely=LIKELY,
    clear=None,
):
    """Labels of the cells, (Z, Y, X) int32, 0 is background.

    Parameters
    ----------
    volume_or_probability : (Z, Y, X) array
        A volume with bright cells, or a probability of being a cell from any network; what lies in 0..1
        throughout is taken for one.
    voxel_size : (z, y, x) in µm, or None for cubes of 1
    mask : (Z, Y, X) bool or None
        Where cells may be.
    volume : (Z, Y, X) array or None
        With a probability: the volume itself, whose brightness has peaks and valleys where a probability is
        flat. Cells are sought in the volume then, and kept where the probability reaches ``likely``: how wide
        it is drawn does not matter.
    diameter : float or None
        Of a typical cell in µm; None: `cellseg_nb.cells.scale.cell_diameter`. It sets the blur, an eighth of
        it.

    likely : float
        With a probability and a volume: how probable a cell must be in one of its voxels.
    clear : float or None
        Cells that rise so many times as far above their surroundings as noise are kept, however unlikely. For
        a network that has learned without labels: an unlucky training loses dim cells (of c5 with seed 6, 25
        of 351), while one that has learned from labels may know what is bright and no cell.

    The same input gives the same labels: nothing is random. Raises UserError for shapes that do not fit.
    """
    size = spacing(voxel_size)
    first = three(volume_or_probability, "the volume or probability")
    bright = first if volume is None else three(volume)
    mask = np.ones(first.shape, bool) if mask is None else np.array(mask, bool)
    for name, other in (("volume", bright), ("mask", mask)):
        if other.shape != first.shape:
            raise UserError(
                f"{name} has shape {other.shape}, the probability {first.shape}: they must be the same"
            )
    diameter = diameter or _diameter(bright, size)
    if diameter is None:
        return np.zeros(first.shape, np.int32)
    landscape, finer, noise = _landscape(bright, size, diameter, mask)
    if noise is None:
        return np.zeros(first.shape, np.int32)
    hills = Hills(landscape, mask & (landscape > 2 * noise), size)
    probable = volume is None and _of_shares(bright)  # no brightness: 1 is no saturation
    share = SHARE if probable else _share(bright)
    cell = _join(hills, noise, share)
    light = _light(landscape, mask, diameter / size)
    speck = hills.top < LEFT * finer.ravel()[_inner(hills)]
    ground = None if probable else landscape
    labels = _outline(hills, cell, noise, diameter, share, light, speck, ground)
    if volume is not None:
        numbers = np.arange(labels.max() + 1)
        believed = ndi.maximum(first, labels, numbers) > likely
        if clear is not None and not believed[1:].all():
            rising = rise(bright, diameter / size)
            noise = rise_noise(rising, bright, diameter / size)
            believed |= ndi.maximum(rising, labels, numbers) > clear * noise
        labels = consecutive(labels, believed)
    return labels


def _diameter(bright, size):
    from cellseg_nb.cells.scale import cell_diameter

    try:
        return cell_diameter(bright, size)
    except UserError:
        return None


def _landscape(bright, size, diameter, mask):
    """Height above the background after a light blur, the same after half of it, and the noise left in the
    first (None: the volume is flat)."""
    bright, real = clean(bright)
    mask &= real
    sigma = diameter * BLUR / size
    ground = background(bright, size, diameter)
    landscape, finer = (ndi.gaussian_filter(bright, s, mode="nearest") - ground for s in (sigma, sigma / 2))
    values = landscape[mask]
    if not values.size or values.max() <= values.min():
        return landscape, finer, None
    # of white noise a Gaussian blur leaves 1 / (2 sqrt(pi) sigma) along each axis
    left = np.prod(np.minimum(1, 1 / (2 * np.sqrt(np.pi) * sigma)))
    most = max(TEXTURE * left * measures.noise(bright, mask), VARIED * float(values.max()))
    return landscape, finer, max(min(_noise(values), most), FLOOR / 2 * float(np.percentile(values, 99.9)))


def _noise(values):
    """Spread of what is left of the values below Otsu's threshold: the background with its texture."""
    from skimage.filters import threshold_otsu

    values = values[:: max(1, values.size // 10**6)]
    low = values[values <= threshold_otsu(values)]
    return spread(low)


def _share(bright):
    """`SHARE`, or `FLAT` for a volume with saturated cells."""
    top = float(bright.max())
    full, half = (bright == top).mean(), (bright > (top + float(np.median(bright))) / 2).mean()
    return FLAT if full > SATURATED[0] and full > SATURATED[1] * half else SHARE


def _of_shares(bright):
    """Whether all values lie in 0..1, as those of a probability."""
    return float(bright.min()) >= 0 and float(bright.max()) <= 1


def _join(hills, noise, share):
    """The number of the hill that each hill ends up in, after those are joined that are one cell: (hills,)
    int.

    From the highest pass down, over the passes that join parts of the tree (the maximum spanning tree of the
    passes).
    """
    parent = list(range(len(hills.top)))

    def find(hill):
        while parent[hill] != hill:
            parent[hill] = hill = parent[parent[hill]]
        return hill

    top = hills.top.tolist()
    moments = hills.moments(2 * noise)
    level = hills.level(share * hills.top).tolist()
    for one, other, saddle in zip(*(each.tolist() for each in hills.tree())):
        a, b = find(one), find(other)
        if top[a] < top[b]:
            a, b = b, a
        above = top[b] - saddle
        depth = above / top[b]
        if above > noise and depth > DEEP:
            continue
        if above > noise and depth > SHALLOW and top[b] > SURE * noise:
            if depth + _gain(moments[a], moments[b], level[a], level[b], hills.size) > APART:
                continue
        parent[b] = a
        moments[a] += moments[b]
    return np.array([find(hill) for hill in range(len(parent))], int)


def _gain(high, low, level_high, level_low, size):
    """How much rounder two hills are apart, each above the same share of its own height, than together."""
    own, other = high[level_high], low[level_low]
    together = roundness(high[level_low] + other, size)
    apart = (roundness(own, size) * own[0] + roundness(other, size) * other[0]) / max(own[0] + other[0], 1)
    return apart - together


def _light(landscape, mask, widths):
    """Where cells grow dimmer along an axis: the axis, and how bright they are in each slice; else None."""
    steps = [max(1, int(width / 4)) for width in widths]  # a cell four voxels wide is wide enough for that
    thin = tuple(slice(None, None, step) for step in steps)
    found = find_decay(landscape[thin], mask[thin], widths / steps)
    if found is None:
        return None
    return found.axis, np.repeat(found.curve, steps[found.axis])[: landscape.shape[found.axis]]


def _inner(hills):
    """The summits of hills as places in the volume itself, (hills,) int."""
    at = np.unravel_index(hills.summit, hills.padded)
    return np.ravel_multi_index([a - 1 for a in at], [side - 2 for side in hills.padded])


def _heights(hills, sure, light, speck):
    """Of some hills their height, what is typical where they are, and which are high enough to be cells.

    Where cells grow dimmer along an axis, one that is faint among all is none of the faint where it is as
    high as half of those as deep as it is; one that is faint among those is no cell. (Evening out the volume
    itself raises noise and scattered light, too: of three embryos cells were lost.) Specks are no cells.
    """
    top, speck = hills.top[sure], speck[sure]
    real, typical = _of_half(top, speck) > FAINT, np.ones_like(top)
    if light is not None:
        axis, curve = light
        here = curve[np.unravel_index(hills.summit[sure], hills.padded)[axis] - 1]
        evened = _of_half(top / here, speck)
        excused = ~real & (evened > NEAR)
        real = (real & (evened > FAINT)) | excused
        typical[excused] = here[excused]
    real &= ~speck
    return top, np.median(top[real]) * typical, real


def _of_half(heights, speck):
    """Heights as a share of that above which half of all height is: many faint ones do not lower it. Specks
    brighter than the cells do not raise it."""
    orders = np.sort(heights), np.sort(heights[~speck])
    return heights / min(order[np.searchsorted(np.cumsum(order), order.sum() / 2)] for order in orders)


def _alone(hills, cell, sure, real, landscape, diameter):
    """Which of some hills stand alone on plain ground, though faint beside ``real`` ones: (sure,) bool."""
    top, own, highest = hills.top[sure], cell[hills.hill], np.zeros(len(cell), np.float32)
    for one, other in ((hills.low, hills.high), (hills.high, hills.low)):
        apart = cell[one] != cell[other]
        np.maximum.at(highest, cell[one[apart]], hills.saddle[apart])
    upper = np.bincount(own[hills.height > hills.top[own] / 2], minlength=len(cell))[sure]
    usual = np.median(upper[real])
    alike = (upper * ALIKE >= usual) & (upper <= ALIKE * usual)
    stays = ~real & (highest[sure] < ALONE * top) & alike
    places = np.array(np.unravel_index(hills.summit[sure], hills.padded)).T - 1
    for i in np.flatnonzero(stays):
        reach = 1.5 * diameter / hills.size
        around = tuple(slice(max(0, int(a - r)), int(a + r) + 1) for a, r in zip(places[i], reach))
        stays[i] = abs(np.percentile(landscape[around], 10)) < PLAIN * top[i]
    return stays


def _outline(hills, cell, noise, diameter, share, light, speck, ground):
    """Each cell above a share of its height; what is faint or small goes, and specks.

    ``ground``: the landscape, where faint hills may be cells (`_alone`), or None.
    """
    labels = np.zeros(hills.padded, np.int32)
    sure = np.flatnonzero((cell == np.arange(len(cell))) & (hills.top > SURE * noise))
    if speck[sure].all():
        return labels[1:-1, 1:-1, 1:-1].copy()
    top, typical, real = _heights(hills, sure, light, speck)
    if ground is not None:
        alone = _alone(hills, cell, sure, real, ground, diameter) & ~speck[sure]
        real, typical = real | alone, np.where(alone, top, typical)
    sure = sure[real]
    number = np.zeros(len(cell), np.int32)
    number[sure] = np.arange(1, len(sure) + 1)
    ends = np.concatenate([[np.inf], share * top[real] ** OWN * typical[real] ** (1 - OWN)])
    own = number[cell[hills.hill]]
    labels.ravel()[hills.voxels] = np.where(hills.height > ends[own], own, 0)
    labels = labels[1:-1, 1:-1, 1:-1].copy()
    volume = np.bincount(labels.ravel()) * hills.size.prod()
    return consecutive(labels, volume > np.pi / 6 * (SMALL * diameter) ** 3)
