"""Volumes with their labels, for supervised training: checked, divided, drawn as cubes.

What counts as one cell is decided by the labels: touching cells with *different* ids are different cells;
touching cells with one id are one cell, here and in every score. No method can mend that, so look at the
labels first.
"""

import hashlib

import numpy as np
import torch

from cellseg_nb.errors import UserError
from cellseg_nb.learning import augmentation, cubes as sampling, loader


def check(images, labels, minimum=1):
    """Lists of volumes and their labels, (Z, Y, X) each, labels as int32.

    One volume alone may be given without a list. Any number of cells is fine (more than 65,535 too). A volume
    without a cell is fine beside others that have some.

    Raises UserError for numbers of volumes and labels that differ, shapes that differ, labels that are not
    whole numbers or negative, volumes smaller than ``minimum`` (a number or (z, y, x)), voxels that are NaN,
    and when there is no cell at all.
    """
    images, labels = _listed(images), _listed(labels)
    if not images or len(images) != len(labels):
        raise UserError(
            f"there are {len(images)} volumes and {len(labels)} label volumes: give one label "
            f"volume for each volume"
        )
    checked = [_pair(number, *pair, minimum) for number, pair in enumerate(zip(images, labels), 1)]
    images, labels = (list(side) for side in zip(*checked))
    if not any(label.any() for label in labels):
        raise UserError(
            "the labels hold only background (0 everywhere): supervised training needs labelled "
            "cells; were the right files given?"
        )
    return images, labels


def _listed(volumes):
    if volumes is None:
        raise UserError(
            "supervised methods need labels: give one label volume for each volume, or use "
            "'wnet3d', which needs none"
        )
    return [volumes] if isinstance(volumes, np.ndarray) and volumes.ndim == 3 else list(volumes)


def _pair(number, image, label, minimum):
    image, label = np.asarray(image), np.asarray(label)
    if image.ndim != 3:
        raise UserError(f"volume {number} has shape {image.shape}: three dimensions (Z, Y, X) are needed")
    if label.shape != image.shape:
        raise UserError(
            f"the labels of volume {number} have shape {label.shape}, the volume {image.shape}: "
            "give the labels of this volume"
        )
    if label.dtype == bool or not np.issubdtype(label.dtype, np.integer):
        raise UserError(
            f"the labels of volume {number} hold {label.dtype} values: labels are whole numbers, "
            "0 for background and another number for each cell "
            "(cellseg_nb.io.volumes.read_labels reads them so)"
        )
    low, high = int(label.min(initial=0)), int(label.max(initial=0))
    if low < 0 or high > 2**31 - 1:
        raise UserError(
            f"the labels of volume {number} go from {low} to {high}: they must be 0 (background) "
            "or positive, up to 2147483647; number the cells from 1 again"
        )
    if any(side < least for side, least in zip(image.shape, np.broadcast_to(minimum, 3))):
        raise UserError(
            f"volume {number} has shape {image.shape}, smaller than one training cube of "
            f"{minimum} voxels: give volumes of at least that, or leave this one out"
        )
    if not np.isfinite(image).all():
        raise UserError(f"volume {number} holds NaN or infinite voxels: replace them before training")
    return image, label.astype(np.int32, copy=False)


def fingerprint(*arrays):
    """16 hexadecimal digits that change when any voxel changes."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def split(shapes, cube, share=0.2, seed=0):
    """Divide volumes into cubes that do not overlap, and keep ``share`` of these for validation.

    Returns a list of (number of the volume, slices). Empty when there are fewer than two cubes to divide, or
    for ``share`` 0. At least one cube is left for learning.
    """
    grid = []
    for number, shape in enumerate(shapes):
        for index in np.ndindex(*[whole // side for whole, side in zip(shape, cube)]):
            grid.append((number, tuple(slice(i * side, (i + 1) * side) for i, side in zip(index, cube))))
    if len(grid) < 2 or share <= 0:
        return []
    count = min(len(grid) - 1, max(1, round(len(grid) * share)))
    chosen = np.random.default_rng([seed, 1]).choice(len(grid), count, replace=False)
    return [grid[i] for i in sorted(chosen)]


def _seed(rng):
    return int(rng.integers(2**31))


CORE = 0.5  # share of a cell's depth


def targets(labels, cores=False, voxel_size=None):
    """What the network is to say, (C, Z, Y, X) bool: cell or not; with ``cores`` also, as a second map, core
    or not.

    The core of a cell is what lies deeper in it, in µm, than half of its deepest voxel, one part each. Cores
    of touching cells do not touch, so they tell how many cells a blob is made of. Cells that share an id
    share a core.
    """
    from scipy import ndimage as ndi

    cells = labels > 0
    if not cores:
        return cells[None]
    inner = np.zeros(labels.shape, bool)
    for cell, box in enumerate(ndi.find_objects(labels), 1):
        if box is None:
            continue
        box = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        own = labels[box] == cell  # what lies beyond the border of the volume is unknown, not background
        depth = np.ones(own.shape) if own.all() else ndi.distance_transform_edt(own, sampling=voxel_size)
        inner[box] |= _single(own & (depth >= CORE * depth.max()), own, depth)
    return np.stack([cells, inner])


def _single(core, own, depth):
    """The core without what a waist or a bay cuts off: of each piece of the cell, the part with its deepest
    voxel."""
    from scipy import ndimage as ndi

    near = np.ones((3, 3, 3))
    parts, several = ndi.label(core, near)
    if several < 2:
        return core
    pieces, count = ndi.label(own, near)
    deepest = ndi.maximum_position(depth, pieces, np.arange(1, count + 1))
    return core & np.isin(parts, [parts[place] for place in deepest])


class Cubes(loader.Batches):
    """Class-balanced batches for `cellseg_nb.learning.loop.train`.

    Half of the cubes of each batch (rounded up) are drawn around a voxel of a cell, the others anywhere: so
    no batch is without cells, however sparse they are. Labels in validation cubes are never learned from: a
    training cube may reach into one, but its voxels there do not count in the loss.

    Parameters
    ----------
    images, labels : lists as from `check`; cubes are taken after `augmentation.prepare`
    cube : (z, y, x)
    held : validation cubes, from `split`
    transform : from `augmentation.pipeline`, or None
    steps : 0: every cube there is, once an epoch, as published, and no balance between classes
    cores, voxel_size : see `targets`
    scale : see `augmentation.prepare`

    ``batches(epoch, rng)`` yields ``steps`` tuples (image, target, valid), each (batch, C, z, y, x) float32;
    C is 1, and 2 for the target with ``cores``.
    """

    def __init__(
        self,
        images,
        labels,
        cube,
        batch,
        steps,
        held=(),
        transform=None,
        cores=False,
        voxel_size=None,
        scale="unit",
    ):
        self.images = [augmentation.prepare(image, scale) for image in images]
        self.targets = [targets(label, cores, voxel_size) for label in labels]
        self.cube, self.batch, self.steps = tuple(cube), batch, steps
        self.held, self.transform = list(held), transform
        self.valid = [np.ones(label.shape, bool) for label in labels]
        for number, box in self.held:
            self.valid[number][box] = False
        self.cells = [np.argwhere(target[0] & valid) for target, valid in zip(self.targets, self.valid)]
        if not sum(map(len, self.cells)):
            raise UserError(
                "all labelled cells lie in the validation cubes: choose another seed, or label more cells"
            )

    def plan(self, rng):
        """What each batch is made of: lists of (number of the volume, slices, seed of
        `augmentation.augment`)."""
        return self.drawn(rng) if self.steps else self.each(rng)

    def drawn(self, rng):
        for _ in range(self.steps):
            yield [self.draw(rng, around=number < -(-self.batch // 2)) for number in range(self.batch)]

    def each(self, rng):
        shapes = [image.shape for image in self.images]
        for some in sampling.once(rng, shapes, self.cube, self.batch):
            yield [(*place, _seed(rng)) for place in some]

    def draw(self, rng, around):
        """One cube: around a voxel of a cell, or anywhere; cells and volumes are drawn in proportion to their
        voxels."""
        sizes = np.array(
            [len(cells) if around else image.size for cells, image in zip(self.cells, self.images)], float
        )
        number = int(rng.choice(len(sizes), p=sizes / sizes.sum()))
        shape = self.images[number].shape
        if around:
            box = augmentation.centred_box(rng, shape, self.cells[number], self.cube)
        else:
            box = sampling.random_box(rng, shape, self.cube)
        return number, box, _seed(rng)

    def make(self, job):
        """The batch of a job of `plan`."""
        return tuple(torch.stack(parts) for parts in zip(*(self.changed(*one) for one in job)))

    def changed(self, number, box, seed):
        """Image, target and valid of one cube, after `augmentation.augment`."""
        parts = self.cut(number, box)
        return parts if self.transform is None else augmentation.augment(self.transform, *parts, seed)

    def cut(self, number, box):
        """Image, target and valid of one cube, (C, z, y, x) float32 tensors."""
        parts = (
            self.images[number][box][None],
            self.targets[number][(slice(None), *box)],
            self.valid[number][box][None],
        )
        return [torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)) for part in parts]

    def validation(self):
        """The validation cubes, as they are: tuples (image, target, valid) of (1, C, z, y, x) tensors."""
        for number, box in self.held:
            image, target, valid = (part[None] for part in self.cut(number, box))
            yield image, target, torch.ones_like(valid)
