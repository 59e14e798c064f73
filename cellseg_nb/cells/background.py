"""Statistics that cells, padding and vessels do not disturb: noise, background, blobs.

Volumes are (Z, Y, X) float32, masks (Z, Y, X) bool. ``diameter`` is three numbers: a cell's width in voxels
along Z, Y, X.
"""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.errors import UserError

MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
CLEAR = 8.0  # times what noise rises: a clear spot
CUT_OFF = 0.28  # see `of_the_data`: background cut off at 0 gives 0.13 to 0.22, padding 0.36 and more
SMALL_BALL = 500  # voxels around: with fewer, all of them are compared at every voxel
SKEWED = 1.4  # cells rise so many times further than the volume falls between them; texture: 0.9 to 1.2


def spacing(voxel_size):
    """Voxel size (z, y, x) as an array of three; 1, 1, 1 where it is not known. Raises UserError for anything
    else."""
    size = np.ones(3) if voxel_size is None else np.asarray(voxel_size, float)
    if size.shape != (3,) or not (np.isfinite(size) & (size > 0)).all():
        raise UserError(f"voxel_size must be three positive numbers (z, y, x) in µm, not {voxel_size!r}")
    return size


def spread(values, centre=None):
    """Standard deviation of values of any shape, were they noise alone, from their median absolute deviation
    (around their median, unless another ``centre`` is known); 0 where there are none."""
    values = np.ravel(values)
    if not values.size:
        return 0.0
    return MAD * float(np.median(np.abs(values - (np.median(values) if centre is None else centre))))


def widths(voxel_size, cell_diameter):
    """A cell's width in voxels along (Z, Y, X); 8 voxels of the finest axis where it is not known."""
    size = spacing(voxel_size)
    return (cell_diameter or 8 * size.min()) / size


def noise(volume, valid=None):
    """Standard deviation of the noise from voxel to voxel, from second differences along X (so that neither
    cells nor a slope count): median of |a - 2 b + c| over valid voxels."""
    second = volume[..., :-2] - 2 * volume[..., 1:-1] + volume[..., 2:]
    if valid is not None:
        second = second[valid[..., :-2] & valid[..., 1:-1] & valid[..., 2:]]
    return spread(second, 0) / float(np.sqrt(6))


def of_the_data(volume, region):
    """Whether a region of exactly one value is a part of the data and no padding: background cut off at 0, as
    in a deconvolved volume (what lies beside it comes ever nearer to the value), or an even block of a JPEG
    (what lies beside it is one or two grey values away).

    Of how far the voxels beside it are from the value, the 10th percentile over the median counts.
    """
    value = volume[region].max()
    beside = volume[ndi.binary_dilation(region, np.ones((3, 3, 3))) & (volume != value)]
    if not beside.size:
        return False
    low, usual = np.percentile(np.abs(beside - value), [10, 50])
    lowest = beside.min() > value
    return (lowest and low < CUT_OFF * usual) or (usual <= 2 and (beside == np.round(beside)).all())


def middle(volume, valid):
    """Median of the valid voxels."""
    return float(np.median(volume[valid])) if valid.any() else 0.0


def filled(volume, valid):
    """The volume with that median where nothing was measured."""
    return np.where(valid, volume, middle(volume, valid))


def blur(volume, sigma, valid=None):
    """Gaussian blur that looks at valid voxels only (normalised convolution, Knutsson & Westin 1993)."""
    if valid is None or valid.all():
        return ndi.gaussian_filter(volume, sigma)
    weight = ndi.gaussian_filter(valid.astype(np.float32), sigma)
    return ndi.gaussian_filter(np.where(valid, volume, 0), sigma) / np.maximum(weight, 1e-3)


def level(volume, valid, step, quantile=50.0, rounds=1):
    """The background: a percentile in boxes of ``step`` voxels, made smooth. (Z, Y, X) float32.

    With more ``rounds``, what is left over is smoothed and added: slopes inside a box are followed better.
    Boxes with too few valid voxels take the value of the nearest box that has enough.
    """
    grid = [max(1, round(side / s)) for side, s in zip(volume.shape, step)]
    edges = [np.linspace(0, side, n + 1).astype(int) for side, n in zip(volume.shape, grid)]
    coarse = np.full(grid, np.nan, np.float32)
    for at in np.ndindex(*grid):
        box = tuple(slice(e[i], e[i + 1]) for e, i in zip(edges, at))
        inside = volume[box][valid[box]]
        if inside.size > max(8, 0.1 * volume[box].size):
            coarse[at] = np.percentile(inside, quantile)
    if np.isnan(coarse).all():
        return np.zeros(volume.shape, np.float32)
    nearest = ndi.distance_transform_edt(np.isnan(coarse), return_distances=False, return_indices=True)
    coarse = coarse[tuple(nearest)]
    for axis, n in enumerate(grid):  # beyond the last box a slope goes on
        sides = [(2, 2) if axis == a else (0, 0) for a in range(3)]
        coarse = (
            np.pad(coarse, sides, "reflect", reflect_type="odd") if n > 1 else np.pad(coarse, sides, "edge")
        )
    coarse = ndi.gaussian_filter(coarse, 0.5, mode="nearest")
    at = np.ix_(*[(np.arange(side) + 0.5) * n / side + 1.5 for side, n in zip(volume.shape, grid)])
    field = ndi.map_coordinates(coarse, np.broadcast_arrays(*at), order=1, mode="nearest").astype(np.float32)
    if rounds > 1:
        field += level(volume - field, valid, step, quantile, rounds - 1)
    return field


def step(shape, diameter):
    """Sides of the boxes for `level`: three cells wide, less in a small volume, never under one and a
    half."""
    return [float(np.clip(side / 5, 1.5 * d, 3 * d)) for side, d in zip(shape, diameter)]


def white(sigmas, size):
    """Standard deviation that white noise of 1 has in the difference of two Gaussian blurs.

    ``sigmas``: two, in the unit of ``size``, which is the voxels' along Z, Y, X.
    """

    def shared(a, b):
        reach = [np.arange(-np.ceil(5 * max(a, b) / s), np.ceil(5 * max(a, b) / s) + 1) * s for s in size]
        kernels = [[np.exp(-(r**2) / 2 / sigma**2) for sigma in (a, b)] for r in reach]
        return np.prod([(one / one.sum()) @ (two / two.sum()) for one, two in kernels])

    a, b = sigmas
    return np.sqrt(max(shared(a, a) + shared(b, b) - 2 * shared(a, b), 1e-12))


def rise(volume, diameter, valid=None):
    """How far each place rises above its surroundings: a blur by a quarter of a cell minus one by a cell."""
    diameter = np.asarray(diameter, float)
    return blur(volume, diameter / 4, valid) - blur(volume, diameter, valid)


def rise_noise(rising, volume, diameter, valid=None, quiet=None):
    """Standard deviation of what rises without being a cell: from the median absolute deviation of ``rising``
    where it is ``quiet`` (None: everywhere), which a texture of the tissue takes part in.

    Where cells fill the volume, that is theirs: even its ten highest spots rise less than `CLEAR` times as
    far, and yet it rises further than it falls, as no texture does. Then only the noise from voxel to voxel
    counts, as `rise` leaves it.
    """
    valid = np.ones(rising.shape, bool) if valid is None else valid
    usual = spread(rising[valid] if quiet is None or not quiet.any() else rising[quiet])
    _, heights = peaks(rising, diameter, valid)
    if not len(heights) or heights[:10].mean() > CLEAR * spread(rising[valid]):
        return usual
    low, high = np.percentile(rising[valid], [1, 99])
    if high < -SKEWED * low:
        return usual
    return min(usual, noise(volume, valid) * white((0.25, 1.0), 1 / np.asarray(diameter, float)))


def maxima(volume, mask):
    """Voxels of the mask that no neighbour of the 26 exceeds: flat indices, in order."""
    flat = np.pad(volume, 1, constant_values=-np.inf)
    inside = np.pad(mask, 1)
    steps = np.array([flat.shape[1] * flat.shape[2], flat.shape[2], 1])
    flat, at = flat.ravel(), np.flatnonzero(inside)
    around = [np.array(o) - 1 for o in np.ndindex(3, 3, 3) if o != (1, 1, 1)]
    for offset in sorted(around, key=lambda o: np.abs(o).sum()):  # most are ruled out by the first few
        at = at[flat[at] >= flat[at + int(offset @ steps)]]
    z, y, x = np.unravel_index(at, inside.shape)
    return np.ravel_multi_index((z - 1, y - 1, x - 1), volume.shape)


def peaks(rising, diameter, valid=None, least=0.0):
    """Places (n, 3) and heights (n,) of the maxima of ``rising`` above ``least``, half a cell or more apart,
    highest first."""
    reach = [max(1, int(d / 2)) for d in diameter]
    grid = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
    ball = sum((g / r) ** 2 for g, r in zip(grid, reach)) <= 1.01
    top = rising > least
    if valid is not None:
        top &= valid
    if ball.size < SMALL_BALL:
        top &= ndi.maximum_filter(rising, footprint=ball) == rising
    else:  # the box inside the ball first, axis by axis, and the ball only around what is left
        top &= ndi.maximum_filter(rising, [2 * int(r / np.sqrt(3)) + 1 for r in reach]) == rising
        for at in np.argwhere(top):
            around = tuple(slice(max(0, a - r), a + r + 1) for a, r in zip(at, reach))
            inside = tuple(slice(max(0, r - a), r - a + n) for a, r, n in zip(at, reach, rising.shape))
            top[tuple(at)] = rising[around][ball[inside]].max() == rising[tuple(at)]
    where = np.argwhere(top)
    heights = rising[top]
    order = np.argsort(-heights, kind="stable")
    return where[order], heights[order]
