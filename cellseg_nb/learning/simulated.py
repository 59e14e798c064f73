"""What a network for `cellseg_nb.methods.simulated` learns from: cubes of what it is shown, targets, loss."""

import numpy as np
import torch
from scipy import ndimage as ndi
from torch import nn
from torch.nn import functional as F

INSIDE = 5.0  # what a voxel in a cell counts, one of the background 1


def target(labels, width):
    """Mask and depth of the cells, (2, Z, Y, X) float32.

    Depth is the distance to the edge of the cell, 0..1, over that of its deepest voxel; ``width``: of a cell
    in voxels along Z, Y, X.
    """
    width = np.asarray(width, float)
    inner = (ndi.minimum_filter(labels, 3) == labels) & (ndi.maximum_filter(labels, 3) == labels)
    depth = ndi.distance_transform_edt(inner, sampling=1 / width) + 0.5 / width.max()
    numbers = np.unique(labels[labels > 0])
    deepest = np.ones(labels.max(initial=0) + 1)
    if len(numbers):
        deepest[numbers] = ndi.maximum(depth, labels, numbers)
    return np.stack([labels > 0, np.where(labels > 0, depth / deepest[labels], 0)]).astype(np.float32)


class Cubes:
    """Batches for `cellseg_nb.learning.loop.train`: turned, mirrored, brighter or darker.

    scenes : pairs of what the network is shown and its target, both (2, Z, Y, X), no side under ``cube``
    around : share of the cubes that are drawn around a voxel of a cell; the others anywhere
    """

    def __init__(self, scenes, cube=36, batch=5, steps=10, around=0.0):
        self.scenes, self.cube, self.batch, self.steps, self.around = scenes, cube, batch, steps, around
        self.cells = [np.argwhere(wanted[0] > 0.5) for _, wanted in scenes] if around else []

    def __call__(self, epoch, rng):
        for _ in range(self.steps):
            drawn = [self.draw(rng) for _ in range(self.batch)]
            yield tuple(torch.from_numpy(np.stack(part)) for part in zip(*drawn))

    def draw(self, rng):
        """One cube: what is shown, and the target; (2, cube, cube, cube) float32."""
        number = int(rng.integers(len(self.scenes)))
        parts = self.scenes[number]
        room = np.array(parts[0].shape[1:]) - self.cube
        corner = rng.integers(0, room + 1)
        if self.around and len(self.cells[number]) and rng.random() < self.around:
            cell = self.cells[number][rng.integers(len(self.cells[number]))]
            corner = np.clip(cell - rng.integers(self.cube // 4, self.cube * 3 // 4, 3), 0, room)
        box = (slice(None), *(slice(c, c + self.cube) for c in corner))
        parts = [part[box] for part in parts]
        for axis in (1, 2, 3):
            if rng.random() < 0.5:
                parts = [np.flip(part, axis) for part in parts]
        turns = int(rng.integers(4))
        seen, wanted = (np.rot90(part, turns, (2, 3)).astype(np.float32) for part in parts)
        return seen * np.exp(rng.normal(0, 0.25, (2, 1, 1, 1))).astype(np.float32), wanted


class PriorLoss(nn.Module):
    """``loss(model, (seen, wanted))``: Dice and cross-entropy of the mask, cross-entropy of the depth."""

    def forward(self, model, batch):
        seen, wanted = batch
        return {"loss": self.of(model(seen), wanted)}

    def of(self, logits, wanted):
        wanted = wanted.clamp(0, 1)
        mask, true = torch.sigmoid(logits[:, 0]), wanted[:, 0]
        dice = 1 - (2 * (mask * true).sum() + 1) / (mask.sum() + true.sum() + 1)
        weight = 1 + (INSIDE - 1) * true
        return dice + sum(
            F.binary_cross_entropy_with_logits(logits[:, i], wanted[:, i], weight) for i in (0, 1)
        )
