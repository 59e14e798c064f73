"""What the coarse levels say of the whole volume: where tissue is, and what cells stand on.

Both are small arrays on a coarse level's grid, looked up by place: a block gets the same numbers for a voxel
however the volume is cut.
"""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells import background
from cellseg_nb.errors import UserError

LARGEST = 4e7  # voxels of a coarse level that is read whole
MASK = 2**18  # voxels of the level in which tissue is sought: about 64 a side
APART = 0.8  # share of the variance that Otsu's two classes explain, from which there is an empty part
NEAR = 0.2  # of the way from empty to tissue: what is brighter counts as tissue


def coarse(source, most=LARGEST, least=1.0):
    """The number of the finest level with at most ``most`` voxels and voxels of ``least`` µm or more along
    the finest axis (the coarsest where there is none). Raises UserError for a source without levels."""
    if not source.levels:
        raise UserError(f"{source.path} has no coarse levels: convert it to OME-Zarr first (convert.run)")
    for number, level in enumerate(source.levels):
        size = background.spacing(source.voxel_size)
        wide = (size * level.factor).min() >= least
        if np.prod(level.shape, dtype=float) <= most and wide:
            return number
    return len(source.levels) - 1


def whole(source, number):
    """All of a level, (Z, Y, X) float32."""
    return source.read((slice(None),) * 3, level=number).astype(np.float32)


def tissue(source, value=None, diameter=0.0):
    """Where tissue is, from a coarse level.

    value : grey value above which a place is tissue. None: Otsu's two classes over the lightly blurred level;
    when they explain `APART` of its variance, and the dark one is the even one, the dark one is empty, and
    the limit lies `NEAR` of the way up. Else all is tissue, as with any value below the darkest.
    diameter : the tissue is widened by half of this, in µm, and by a voxel of the level.

    Returns (mask (Z, Y, X) bool on the level's grid, number of the level, limit).
    """
    number = coarse(source, MASK)
    level = ndi.gaussian_filter(whole(source, number), 0.7, mode="nearest")
    limit = _limit(level) if value is None else float(value)
    mask = level > limit
    if not mask.any():
        raise UserError(
            f"{source.path}: no voxel is brighter than {limit:g}, so there is no tissue: give a lower limit "
            f"(the coarse level goes up to {level.max():g})"
        )
    size = background.spacing(source.voxel_size)
    steps = np.ceil(diameter / 2 / (size * source.levels[number].factor)).astype(int) + 1
    return ndi.maximum_filter(mask, 2 * steps + 1, mode="nearest"), number, limit


def _limit(level):
    from skimage.filters import threshold_otsu

    if level.min() == level.max():
        return -np.inf
    level = np.minimum(level, np.percentile(level, 95))  # a few bright vessels are no class of their own
    cut = threshold_otsu(level)
    dark, bright = level[level <= cut], level[level > cut]
    between = len(dark) * len(bright) / level.size**2 * (bright.mean() - dark.mean()) ** 2
    if between < APART * level.var() or dark.std() > 0.5 * bright.std() + 1e-6:
        return -np.inf
    return float(dark.mean() + NEAR * (bright.mean() - dark.mean()))


def ground(source, diameter):
    """What cells stand on: the 20th percentile over three cell diameters of a level whose voxels are about as
    wide as a cell, made smooth. Returns ((Z, Y, X) float32 on the level's grid, number of the level)."""
    number = coarse(source, least=diameter)
    level = whole(source, number)
    size = background.spacing(source.voxel_size)
    step = size * source.levels[number].factor
    reach = [max(1, round(1.5 * diameter / s)) for s in step]
    low = ndi.percentile_filter(level, 20, [2 * r + 1 for r in reach], mode="nearest")
    return ndi.gaussian_filter(low, diameter / 2 / step, mode="nearest"), number


# ---------------------------------------------------------------- looked up by place


def nearest(mask, factor, box):
    """A coarse mask at the voxels of a box of the finest level."""
    at = [
        np.minimum(np.arange(s.start, s.stop) // f, side - 1) for s, f, side in zip(box, factor, mask.shape)
    ]
    return mask[np.ix_(*at)]


def linear(field, factor, box):
    """A coarse field at the voxels of a box of the finest level, between its voxels linear: float32.

    Each value follows from its own place alone, to the last bit. Of a memory map only the part is read.
    """
    part, steps = _around(field, factor, box)
    for axis in (0, 1):
        part = _between(part, *steps[axis], axis)
    found = np.empty((*part.shape[:2], len(steps[2][0])), np.float32)
    for plane, out in zip(part, found):  # plane by plane: the whole would be held several times
        out[...] = _between(plane, *steps[2], 1)
    return found


def _around(field, factor, box):
    """The part of a coarse field that a box lies in; for each axis, between which of its voxels each voxel of
    the box lies (the first of two), and how far on from it."""
    cut, steps = [], []
    for side, f, n in zip(box, factor, field.shape):
        at = np.clip((np.arange(side.start, side.stop) + 0.5) / f - 0.5, 0, n - 1)
        low = np.minimum(at.astype(int), max(n - 2, 0))
        cut.append(slice(low[0], low[-1] + 2))
        steps.append((low - low[0], (at - low).astype(np.float32)))
    return np.asarray(field[tuple(cut)]), steps


def _between(field, low, weight, axis):
    """Values between those at ``low`` and those after them."""
    weight = weight.reshape([-1 if a == axis else 1 for a in range(field.ndim)])
    a, b = field.take(low, axis), field.take(np.minimum(low + 1, field.shape[axis] - 1), axis)
    return a + (b - a) * weight
