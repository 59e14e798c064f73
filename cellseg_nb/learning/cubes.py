"""Cubes for training, drawn at random from volumes of any size and turned and mirrored."""

import numpy as np
import torch

from cellseg_nb.errors import UserError


def random_cube(rng, volume, size):
    """One random cube (a view) of ``size`` voxels a side from a (Z, Y, X) array, and its corner."""
    corner = [int(rng.integers(0, side - size + 1)) for side in volume.shape]
    return volume[tuple(slice(c, c + size) for c in corner)], corner


def turn(rng, cube):
    """Mirror along each axis by a coin toss; turn in the (Y, X) plane by a random quarter. Z keeps its place,
    since light-sheet volumes are blurred along it."""
    for axis in range(3):
        if rng.random() < 0.5:
            cube = np.flip(cube, axis)
    return np.rot90(cube, int(rng.integers(4)), axes=(1, 2))


def cube_batches(volumes, size=32, batch=2, steps=10):
    """Batches for unsupervised training: ``batches(epoch, rng)`` yields ``steps`` tensors (batch, 1, size,
    size, size).

    Volumes are drawn in proportion to their number of voxels. Raises UserError for a volume smaller than a
    cube.
    """
    for number, volume in enumerate(volumes):
        if min(volume.shape) < size:
            raise UserError(
                f"volume {number + 1} has shape {volume.shape}, smaller than one training cube of {size} "
                f"voxels a side: give volumes of at least {size} voxels a side, or leave this one out"
            )
    weights = np.array([volume.size for volume in volumes], float)
    weights /= weights.sum()

    def batches(epoch, rng):
        for _ in range(steps):
            picks = rng.choice(len(volumes), size=batch, p=weights)
            cubes = [turn(rng, random_cube(rng, volumes[i], size)[0]) for i in picks]
            yield torch.from_numpy(np.stack(cubes)[:, None].astype(np.float32))

    return batches
