"""Cubes for training, drawn at random from volumes of any size and turned and mirrored."""

import functools

import numpy as np
import torch

from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes as io_volumes
from cellseg_nb.learning import loader


def random_box(rng, shape, size):
    """Slices of one random cube of ``size`` voxels, a number or (z, y, x), in a volume of this shape."""
    sides = np.broadcast_to(size, 3).tolist()
    corner = [int(rng.integers(0, whole - side + 1)) for whole, side in zip(shape, sides)]
    return tuple(slice(c, c + side) for c, side in zip(corner, sides))


def turn(rng):
    """Mirror along each axis by a coin toss; turn in the (Y, X) plane by a random quarter. Z keeps its place,
    since light-sheet volumes are blurred along it. Returns (axes to mirror, quarters), for `turned`."""
    axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
    return axes, int(rng.integers(4))


def published_turn(rng):
    """As the authors' training does: flips along Y and X and a quarter turn, each with probability 0.1."""
    axes = tuple(axis for axis in (1, 2) if rng.random() < 0.1)
    return axes, int(rng.integers(1, 4)) if rng.random() < 0.1 else 0


TURNS = {"all": turn, "published": published_turn}


def turned(cube, axes, quarters):
    """The cube as `turn` has drawn it."""
    return np.rot90(np.flip(cube, axes), quarters, axes=(1, 2))


def once(rng, shapes, size, batch):
    """One epoch of every cube there is, in random order: lists of ``batch`` pairs (number of the volume,
    slices); the last may be shorter. ``size`` is a number or (z, y, x); cubes cover each volume, the last
    ones are shifted inward."""
    every = places(shapes, size)
    order = [every[i] for i in rng.permutation(len(every))]
    return [order[start : start + batch] for start in range(0, len(order), batch)]


def places(shapes, size):
    """The cubes that cover volumes of these shapes: a list of (number of the volume, slices)."""
    sides = np.broadcast_to(size, 3)
    found = []
    for number, shape in enumerate(shapes):
        starts = [[*range(0, whole - side, side), max(whole - side, 0)] for whole, side in zip(shape, sides)]
        corners = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, 3)
        found += [(number, tuple(slice(c, c + s) for c, s in zip(corner, sides))) for corner in corners]
    return found


def cut(volumes, remapped, job):
    """One batch, (batch, 1, size, size, size) float32: of each cube (number of the volume, slices, `turn`).
    ``remapped``: each cube is brought to 0..100 by its own minimum and maximum, as the authors' scripts
    do."""
    batch = np.stack([turned(volumes[number][box], *how) for number, box, how in job]).astype(np.float32)
    if remapped:
        batch = np.stack([io_volumes.remap(cube) for cube in batch])
    return torch.from_numpy(batch[:, None])


def cube_batches(volumes, size=32, batch=2, steps=10, turns="all", remapped=False):
    """Batches for unsupervised training: ``batches(epoch, rng)`` yields ``steps`` tensors (batch, 1, size,
    size, size).

    Volumes are drawn in proportion to their number of voxels. ``steps`` 0: every cube there is, once an epoch
    (as published; see `once`). ``turns``: "all", or "published" (see `published_turn`). ``remapped``: see
    `cut`. Raises UserError for a volume smaller than a cube.
    """
    change = TURNS[turns]
    for number, volume in enumerate(volumes):
        if min(volume.shape) < size:
            raise UserError(
                f"volume {number + 1} has shape {volume.shape}, smaller than one training cube of {size} "
                f"voxels a side: give volumes of at least {size} voxels a side, or leave this one out"
            )
    weights = np.array([volume.size for volume in volumes], float)
    weights /= weights.sum()

    def drawn(rng):
        for _ in range(steps):
            picks = rng.choice(len(volumes), size=batch, p=weights)
            yield [(i, random_box(rng, volumes[i].shape, size), change(rng)) for i in picks]

    def each(rng):
        for some in once(rng, [volume.shape for volume in volumes], size, batch):
            yield [(i, box, change(rng)) for i, box in some]

    return loader.Batches(drawn if steps else each, functools.partial(cut, volumes, remapped))
