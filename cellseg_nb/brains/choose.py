"""A few cubes that stand for the whole: bright ones, from different places, to look at and to learn from."""

import numpy as np

from cellseg_nb.brains import overview

FULL = 0.9  # share of a cube that should be tissue


def cubes(source, coarse, side=96, most=4):
    """Boxes (three slices) of at most ``most`` cubes of ``side`` voxels, the brightest first; along an axis
    that is shorter, all of it.

    The volume is cut into eight parts; in each, the cube that rises most above the ground on a coarse level
    is taken, of those that are full of tissue where there are such. ``coarse``: see `run.look`.
    """
    number = overview.coarse(source, 2**22)
    factor = source.levels[number].factor
    rise = overview.whole(source, number)
    finest = tuple(slice(0, s * f) for s, f in zip(rise.shape, factor))
    rise -= _on(coarse["ground"], coarse["ground_factor"], finest, factor)
    sides = [min(side, s) for s in source.shape]
    found = {}
    for index in np.ndindex(*[whole // s for whole, s in zip(source.shape, sides)]):
        box = tuple(slice(i * s, (i + 1) * s) for i, s in zip(index, sides))
        tissue = overview.nearest(coarse["tissue"], coarse["tissue_factor"], box)
        small = tuple(slice(s.start // f, max(s.stop // f, s.start // f + 1)) for s, f in zip(box, factor))
        worth = tissue.mean() >= FULL, float(np.clip(rise[small], 0, None).mean()), box
        part = tuple(int(s.start + s.stop > n) for s, n in zip(box, source.shape))
        if tissue.any() and (part not in found or worth[:2] > found[part][:2]):
            found[part] = worth
    return [box for _, _, box in sorted(found.values(), key=lambda w: w[:2], reverse=True)[:most]]


def _on(field, factor, finest, step):
    """A coarse field on a coarse level's grid."""
    at = [
        np.clip(((np.arange(0, s.stop, t) + t / 2) / f).astype(int), 0, n - 1)
        for s, t, f, n in zip(finest, step, factor, field.shape)
    ]
    return field[np.ix_(*at)]


def ends(images, low=0.1, high=99.9):
    """Two grey values between which the cubes lie, but for a few voxels: percentiles over all together."""
    values = np.concatenate([image.ravel()[::3] for image in images])
    return tuple(float(v) for v in np.percentile(values, [low, high]))


def on_one_scale(images, low, high):
    """The cubes clipped to two ends, float32, with one voxel of each end in every cube: a method that remaps
    each volume from its own minimum to its maximum then remaps all alike."""
    found = []
    for image in images:
        image = np.clip(image.astype(np.float32), low, high)
        image[0, 0, 0], image[-1, -1, -1] = low, high
        found.append(image)
    return found
