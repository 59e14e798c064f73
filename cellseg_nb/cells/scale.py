"""How large are the cells? Estimated from the volume alone, by the scale at which blobs answer most."""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells import background
from cellseg_nb.cells.background import spacing
from cellseg_nb.cells.brightness import clean, three
from cellseg_nb.errors import UserError

STEP = 1.2  # from one scale to the next
SURE = 6.0  # times what noise answers
NEAR = 3.0  # voxels (of the finest axis) around a place in which noise is alike
STANDS = (
    1.25  # how a blob stands out: its answer times diameter to this power; for white noise that would be 1.5
)
FOOT = 1.15  # a cell with a soft edge is wider than its blob, by this much on simulated volumes
STRONG = 0.2  # blobs are counted that answer with this share of a strong blob's answer
# where cells are few, the haze between them has more and larger blobs than they, but they answer less
HAZE = 0.3  # of what a typical blob answers
WIDE = 5.0  # times as wide as the blobs that answer most
# a vessel, fibre or edge goes on: so many diameters in all, at this share of a blob's answer or more
LONG = 2.0
ALONG = 0.5
DEEP = 1.5  # diameters: in a thinner volume a cell itself reaches from border to border
THIN = 2.0  # diameters: a volume no deeper has no inside, and cells cut by its borders count
BEHIND = 1.0  # diameters that count at most behind such a border
STEPS = np.array([o for o in np.ndindex(3, 3, 3) if o != (1, 1, 1)], float) - 1
STEPS /= np.linalg.norm(STEPS, axis=1)[:, None]
AHEAD = STEPS @ STEPS.T > 0.6  # which of the 26 directions lie within 53 degrees of each
EDGE = 0.25  # of its diameter: a blob whose centre is so near the border is half of one, or a slope
# a microscope draws a point, a speck of dirt or dye, less than so many voxels wide (of the finest axis; balls
# of 4 voxels answer as 4.2). Specks are no cells where most blobs are so narrow, but those at least `BODIES`
# times as wide answer with half of what specks do or more, and hold `MASS` times as much (answer x volume)
POINT, BODIES, BODY, MASS = 4.0, 2.0, 0.5, 5.0
LARGEST = 6e6  # voxels looked at: the brightest block of a larger volume


def cell_diameter(volume, voxel_size=None):
    """Diameter of a typical cell in µm (voxels without a voxel size), a float.

    Differences of Gaussians at scales a factor of 1.2 apart; each bright blob is taken at the place and scale
    where it answers most (Lindeberg 1998, scale-normalised Laplacian: a ball of radius r answers most at
    sigma = r / sqrt(3)). The median over the strong blobs counts, so that noise, single hot voxels, and a few
    large regions do not.

    volume : (Z, Y, X) array, bright cells. voxel_size : (z, y, x) in µm.
    Raises UserError where nothing stands out, or for a volume that is not (Z, Y, X).
    """
    found = blobs(volume, voxel_size)
    if not len(found):
        raise UserError(
            "no cells stand out in this volume, so their size cannot be estimated: give cell_diameter (µm)"
        )
    return typical(found, voxel_size)


def typical(found, voxel_size=None):
    """Diameter of a typical cell in µm, a float, from `blobs`: their median, by how they stand out."""
    return FOOT * _weighted_median(_without_voxel(found[:, 3], voxel_size), _weight(found))


def together(parts):
    """The strong ones among the blobs of several parts of one volume (a list of what `blobs` gives): where
    little stands out, what does so is weak beside that of other parts, and counts for little or nothing."""
    found = np.concatenate(parts)
    return _strong(found[np.argsort(-_weight(found), kind="stable")])


def blobs(volume, voxel_size=None):
    """The strong blobs, strongest first: (n, 5) float, z, y, x in voxels, diameter in µm, answer."""
    size = spacing(voxel_size)
    volume, _ = clean(three(volume))
    volume, corner = _brightest_block(volume)
    found, noise, before = [], None, []
    for scale, answer, step, unit in _answers(volume, size):
        # the finest scale answers to noise; what noise alone answers at the others follows from it
        if noise is None:
            noise = np.sqrt(ndi.gaussian_filter(answer**2, NEAR * size.min() / size)), unit
        before = [
            *before[-2:],
            (scale, answer, step, noise[0][tuple(slice(None, None, s) for s in step)] * unit / noise[1]),
        ]
        if len(before) == 3:
            found.append(_peaks(*before, size))
    found = _no_specks(np.concatenate(found), size)
    found = _not_long(found, _outside(found, volume.shape, size))
    found = _no_haze(_inside(found, volume.shape, size))
    found = _strong(_alone(found, size))
    found[:, :3] += corner
    return found


def _answers(volume, size):
    """Scale (µm), difference of two Gaussians around it, step of its grid in voxels, what white noise of 1
    answers.

    The grid is coarser where the blur allows it.
    """
    widest = (np.array(volume.shape) * size).max()
    scale, root, step = 0.7 * size.min(), np.sqrt(STEP), np.ones(3, int)
    base, done = volume, 0.0
    while scale < max(widest / 5, 4 * size.min()):  # up to a cell half as wide as the volume
        sigmas = scale / root, scale * root
        coarser = (sigmas[0] / (size * step) > 3) & (np.array(base.shape) > 16)
        if coarser.any():  # half of the blur now, so that what is left to do is still wider than a voxel
            base, done = _blur(base, scale / 2, done, size * step), scale / 2
            base = base[tuple(slice(None, None, 2 if c else 1) for c in coarser)]
            step = step * np.where(coarser, 2, 1)
        fine, coarse = (_blur(base, sigma, done, size * step) for sigma in sigmas)
        yield scale, fine - coarse, step, background.white(sigmas, size)
        scale *= STEP


def _blur(volume, sigma, done, size):
    return ndi.gaussian_filter(volume, np.sqrt(sigma**2 - done**2) / size, mode="nearest")


def _peaks(below, here, above, size):
    """Maxima in place and scale that noise does not explain: z, y, x in voxels, diameter in µm, answer, and
    for how many diameters the answer goes on (`_length`)."""
    scale, answer, step, noise = here
    peak = (answer == ndi.maximum_filter(answer, 3, mode="nearest")) & (answer > SURE * noise)
    places = np.argwhere(peak)
    own = answer[tuple(places.T)]
    others = [_near(other[1], places * step / other[2]) for other in (below, above)]
    keep = (own > 0) & (own >= others[0]) & (own > others[1])
    low, high = others[0][keep], others[1][keep]
    # the top of a parabola through three scales
    shift = (low - high) / 2 / (low - 2 * own[keep] + high - 1e-12)
    diameter = 2 * np.sqrt(3) * scale * STEP ** np.clip(shift, -0.5, 0.5)
    length = _length(answer, places[keep], diameter, size * step)
    return np.column_stack([places[keep] * step, diameter, own[keep], length])


def _length(answer, places, diameter, size):
    """For how many diameters a blob's answer goes on, at `ALONG` of what it is at the blob, to both sides
    together: two walks from each place (n, 3) by half diameters, each step to the highest answer ahead.

    No step goes along an axis on which the volume is no deeper than `DEEP` diameters. Behind a border the
    answer is taken for that at the border; where cells cut by it count (`THIN`), a walk goes on there for
    `BEHIND` diameters at most.
    """
    own, length, border = answer[tuple(places.T)], np.zeros(len(places)), np.array(answer.shape) - 0.5
    rows, steps = np.arange(len(places)), STEPS * diameter[:, None, None] / 2 / size
    deep = (np.array(answer.shape) * size / diameter[:, None])[:, None]
    inside, thin = ~((STEPS != 0) & (deep <= DEEP)).any(axis=2), deep <= THIN

    def walk(ahead):
        """The first step, as a number of `STEPS`."""
        at, first, going = places, None, np.ones(len(places), bool)
        behind = np.zeros(len(places))
        for _ in range(int(2 * LONG)):
            to = at[:, None] + steps
            near = ndi.map_coordinates(answer, to.reshape(-1, 3).T, order=1, mode="nearest")
            near = np.where(ahead & inside, near.reshape(ahead.shape), -np.inf)
            way = near.argmax(1)
            behind += 0.5 * (((to < -0.5) | (to > border)) & thin).any(axis=2)[rows, way]
            going &= (near[rows, way] >= ALONG * own) & (behind <= BEHIND)
            length[going] += 0.5
            first = way if first is None else first
            at, ahead = at + steps[rows, way], AHEAD[way]
        return first

    first = walk(np.ones((len(places), len(STEPS)), bool))
    walk(AHEAD[len(STEPS) - 1 - first])  # the other way
    return length


def _near(answer, places):
    """Highest value within one voxel of each place."""
    highest = ndi.maximum_filter(answer, 3, mode="nearest")
    return highest[tuple(np.clip(np.round(places).astype(int), 0, np.array(answer.shape) - 1).T)]


def _brightest_block(volume):
    if volume.size <= LARGEST:
        return volume, np.zeros(3)
    side = round(LARGEST ** (1 / 3))
    sides = [min(s, side) for s in volume.shape]
    options = [
        tuple(slice(o, o + c) for o, c in zip(corner, sides))
        for corner in np.stack(
            np.meshgrid(
                *[np.unique(np.linspace(0, s - c, 3).astype(int)) for s, c in zip(volume.shape, sides)]
            ),
            -1,
        ).reshape(-1, 3)
    ]
    best = max(options, key=lambda box: np.percentile(volume[box][::2, ::2, ::2], 98))
    return volume[best], np.array([s.start for s in best])


def _outside(found, shape, size):
    """Which blobs are at the border; none where the volume is thinner than two of them."""
    extent, at = np.array(shape) * size, (found[:, :3] + 0.5) * size
    width = found[:, 3:4]
    return ((np.minimum(at, extent - at) < EDGE * width) & (extent > THIN * width)).any(axis=1)


def _inside(found, shape, size):
    """Without blobs at the border, unless all that are strong are there."""
    keep, weight = ~_outside(found, shape, size), _weight(found)
    return found[keep] if (weight[keep] >= _least(weight)).any() else found


def _no_specks(found, size):
    """Without points far narrower than cells, where cells are few among them (`POINT`)."""
    narrow = found[:, 3] <= POINT * size.min()
    if 2 * narrow.sum() <= len(found):
        return found
    wide = found[:, 3] >= BODIES * np.median(found[narrow, 3])
    mass = found[:, 4] * found[:, 3] ** 3
    specks = (
        wide.any()
        and np.median(found[wide, 4]) >= BODY * np.median(found[narrow, 4])
        and mass[wide].sum() >= MASS * mass[narrow].sum()
    )
    return found[~narrow] if specks else found


def _not_long(found, outside):
    """Blobs that are no part of a vessel, a fibre or an edge. All of them where there are no others, or where
    those others answer more (medians by answer): such edges mislead nobody; or where what is long is
    ``outside`` (n,), at the border, as half a cell there is."""
    short = found[:, 5] < LONG
    if not (~short & ~outside).any() or not short.any():
        return found[:, :5]
    long, others = (_weighted_median(found[of, 4], found[of, 4]) for of in (~short, short))
    return found[short if long >= others else slice(None), :5]


def _no_haze(found):
    """Blobs that answer with a fair share of what a typical one does and are not far wider than those.

    Typical is the median, each blob weighted by its answer."""
    if len(found):
        found = found[found[:, 4] >= HAZE * _weighted_median(found[:, 4], found[:, 4])]
        found = found[found[:, 3] <= WIDE * _weighted_median(found[:, 3], found[:, 4])]
    return found


def _alone(found, size):
    """Of blobs inside each other the one that stands out most: large beside small, since noise is strong
    where small."""
    from scipy.spatial import cKDTree

    found = found[np.argsort(-_weight(found), kind="stable")]
    places, keep = found[:, :3] * size, np.ones(len(found), bool)
    tree = cKDTree(places) if len(found) else None
    for i in range(len(found)):
        if keep[i]:
            near = np.array(tree.query_ball_point(places[i], found[i, 3] / 2), int)
            keep[near[near > i]] = False
    return found[keep]


def _strong(found):
    if not len(found):
        return found
    weight = _weight(found)
    return found[weight >= _least(weight)]


def _weight(found):
    """How each blob stands out."""
    return found[:, 4] * found[:, 3] ** STANDS


def _least(weights):
    """The weight from which a blob is strong among those of these weights."""
    return STRONG * np.percentile(np.sort(weights)[-200:], 75) if len(weights) else 0.0


def _without_voxel(diameters, voxel_size):
    """What is left of a blob's width without that of the voxels (a ball's variance is d^2 / 20, a voxel's s^2
    / 12)."""
    voxel = 20 / 12 * np.mean(spacing(voxel_size) ** 2)
    return np.sqrt(np.maximum(diameters**2 - voxel, 0.25 * diameters**2))


def _weighted_median(values, weights):
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
