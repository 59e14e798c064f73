"""The coarser levels of an OME-Zarr, each from the one before, chunk by chunk."""

import numpy as np

from cellseg_nb.brains import blocks, omezarr


def shrunk(array, step, labels=False):
    """A (Z, Y, X) array with every ``step`` (z, y, x) voxels as one: their mean, rounded; of ``labels`` the
    first, which is a label that is there. The last voxels of an odd side are repeated."""
    if labels:
        return array[tuple(slice(None, None, s) for s in step)]
    pad = [(0, -side % s) for side, s in zip(array.shape, step)]
    array = np.pad(array, pad, "edge") if np.any(pad) else array
    sides = [n for side, s in zip(array.shape, step) for n in (side // s, s)]
    mean = array.reshape(sides).mean((1, 3, 5), dtype=np.float32)
    return mean if array.dtype.kind == "f" else np.rint(mean).astype(array.dtype)


def jobs(levels, number):
    """The blocks that level ``number`` is written in: one stored chunk each."""
    return blocks.grid(levels[number].shape, levels[number].chunks)


def write(path, levels, number, block, labels=False):
    """Write one block of level ``number`` (1 or more) from the level before."""
    fine, coarse = levels[number - 1], levels[number]
    step = tuple(a // b for a, b in zip(coarse.factor, fine.factor))
    box = tuple(slice(s.start * f, min(s.stop * f, side)) for s, f, side in zip(block.core, step, fine.shape))
    array = omezarr.opened(path, fine.key)[box]
    if array.any():  # an empty chunk need not be stored
        omezarr.writing(path, coarse.key)[block.core] = shrunk(array, step, labels)
