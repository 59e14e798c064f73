"""What a person does to labels with a mouse, as pure functions: each looks at labels and returns a `Diff`.

Nothing here changes an array; `cellseg_nb.viewer.canvas` applies a `Diff`, and takes it back. Points are
(z, y, x) in voxels, radii in µm, labels (Z, Y, X) int32, C-contiguous, 0 is background. ``axis`` 0, 1 or 2
keeps an edit in the slice across that axis; None means 3D. ``box`` is where a cell may be (slices), the whole
volume by default: what is outside is not looked at.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells import background
from cellseg_nb.errors import UserError

LARGEST = 65535  # Fiji's labels have 16 bits


class Diff(NamedTuple):
    """Voxels that change: flat indices (n,) int64, and their labels before and after, (n,) int32."""

    where: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def reversed(self):
        return Diff(self.where, self.after, self.before)


def ball(radius, voxel_size=None, axis=None):
    """Offsets (n, 3) int of the voxels whose centres lie within ``radius`` µm; the centre is always among
    them. ``axis``: a disc in the slice across it."""
    size = background.spacing(voxel_size)
    reach = np.floor(radius / size).astype(int)
    if axis is not None:
        reach[axis] = 0
    grid = np.mgrid[tuple(slice(-r, r + 1) for r in reach)].reshape(3, -1).T
    near = ((grid * size) ** 2).sum(1) <= radius**2
    return grid[near | ~grid.any(1)]


def brush(shape, points, radius, voxel_size=None, axis=None):
    """Flat indices, each once, of a ball or disc drawn along ``points`` (n, 3); what is outside is left out.

    Raises UserError for a radius that is no positive number, and for no points.
    """
    points = np.atleast_2d(np.asarray(points, float))
    if points.size == 0 or points.shape[1:] != (3,) or not np.isfinite(points).all():
        raise UserError("a stroke needs points (z, y, x) in voxels")
    if not 0 < radius < 1e6:
        raise UserError(f"the radius of the brush must be above 0 µm, not {radius}")
    size = background.spacing(voxel_size)
    centres = [points[:1]]
    for start, end in zip(points, points[1:]):  # the mouse jumps: go all the way
        steps = int(np.ceil(np.linalg.norm((end - start) * size) / max(radius / 2, size.min())))
        centres.append(start + (end - start) * np.linspace(0, 1, max(1, steps) + 1)[1:, None])
    centres = np.unique(np.rint(np.concatenate(centres)).astype(np.int64), axis=0)
    voxels = (centres[:, None] + ball(radius, voxel_size, axis)[None]).reshape(-1, 3)
    inside = ((voxels >= 0) & (voxels < shape)).all(1)
    return np.unique(np.ravel_multi_index(tuple(voxels[inside].T), shape))


def _diff(labels, where, number, only=None):
    """These voxels become ``number``; ``only``: those that have one of these labels now."""
    flat = labels.reshape(-1)
    before = flat[where]
    keep = before != number
    if only is not None:
        keep &= np.isin(before, only)
    where, before = where[keep], before[keep]
    return Diff(where, before.astype(np.int32), np.full(len(where), number, np.int32))


def paint(labels, points, radius, number, voxel_size=None, axis=None, over=False):
    """Paint a cell along ``points``; other cells are kept unless ``over``. Raises UserError like `brush`,
    and for a number that is none of a cell."""
    if not 1 <= number <= LARGEST:
        raise UserError(f"cells are numbered 1 to {LARGEST}, not {number}: take a new cell first")
    where = brush(labels.shape, points, radius, voxel_size, axis)
    return _diff(labels, where, number, None if over else (0,))


def erase(labels, points, radius, voxel_size=None, axis=None, only=None):
    """Make background along ``points``; ``only``: of this cell, else of all."""
    where = brush(labels.shape, points, radius, voxel_size, axis)
    return _diff(labels, where, 0, None if only is None else (only,))


def pick(labels, point):
    """The label at a point, 0 outside the volume."""
    place = np.rint(np.asarray(point, float)).astype(int)
    inside = ((place >= 0) & (place < labels.shape)).all()
    return int(labels[tuple(place)]) if inside else 0


def deepest(mask, box, voxel_size=None):
    """The voxel (z, y, x) of the volume that lies deepest in a mask over its box."""
    deep = ndi.distance_transform_edt(np.pad(mask, 1), sampling=voxel_size)
    place = np.unravel_index(np.argmax(deep), deep.shape)
    return tuple(int(p - 1 + part.start) for p, part in zip(place, box))


def _in_box(labels, mask, box):
    """Flat indices in ``labels`` of a mask over its box."""
    corner = [0 if part.start is None else part.start for part in box]
    places = tuple(axis + start for axis, start in zip(np.nonzero(mask), corner))
    return np.ravel_multi_index(places, labels.shape).astype(np.int64)


def _own(labels, number, box):
    """Mask of a cell in its box. Raises UserError where there is no such cell."""
    mask = labels[box] == number
    if number < 1 or not mask.any():
        raise UserError(f"there is no cell {number}: click on a cell")
    return mask


WHOLE = (slice(None),) * 3


def delete(labels, number, box=WHOLE):
    """All voxels of a cell become background. Raises UserError where there is no such cell."""
    return _diff(labels, _in_box(labels, _own(labels, number, box), box), 0)


def merge(labels, number, other, box=WHOLE):
    """Cell ``other`` (within ``box``) becomes part of cell ``number``. Raises UserError for one cell."""
    if number == other:
        raise UserError(f"cell {number} cannot be merged with itself: click on its neighbour")
    return _diff(labels, _in_box(labels, _own(labels, other, box), box), number)


def fill(labels, number, box=WHOLE, axis=None, index=None):
    """Close the holes of a cell: those that its rim encloses in slice ``index`` across ``axis``, or in 3D.

    Other cells in them stay. Raises UserError where there is no hole.
    """
    mask = _own(labels, number, box)
    if axis is None:
        hole = ndi.binary_fill_holes(mask) & ~mask
    else:
        hole, plane = np.zeros_like(mask), [slice(None)] * 3
        plane[axis] = index - (box[axis].start or 0)
        if 0 <= plane[axis] < mask.shape[axis]:
            cut = mask[tuple(plane)]
            hole[tuple(plane)] = ndi.binary_fill_holes(cut) & ~cut
    hole &= labels[box] == 0
    if not hole.any():
        raise UserError(f"cell {number} has no hole here: draw its rim until it closes, then fill")
    return _diff(labels, _in_box(labels, hole, box), number)


def split(labels, first, second, number, voxel_size=None, box=WHOLE):
    """Part a cell by two seeds, points in it: the part of ``second`` becomes the new cell ``number``.

    Watershed of the distance to its rim, flooded from the two seeds: the border runs through the waist.
    Raises UserError for seeds that are not both in one cell, and for equal ones.
    """
    from skimage.segmentation import watershed

    old = pick(labels, first)
    if old == 0 or old != pick(labels, second):
        raise UserError("the two seeds must lie in one cell: click twice inside the cell to part")
    corner = np.array([part.start or 0 for part in box])
    seeds = [tuple(np.rint(np.asarray(seed, float)).astype(int) - corner) for seed in (first, second)]
    if seeds[0] == seeds[1]:
        raise UserError("the two seeds are one voxel: click on both halves of the cell")
    mask = np.pad(_own(labels, old, box), 1)
    markers = np.zeros(mask.shape, np.int32)
    for name, seed in enumerate(seeds, 1):
        markers[tuple(np.add(seed, 1))] = name
    distance = ndi.distance_transform_edt(mask, sampling=voxel_size)
    parts = watershed(-distance, markers, mask=mask)[1:-1, 1:-1, 1:-1]
    return _diff(labels, _in_box(labels, parts == 2, box), number)


def interpolate(labels, number, box=WHOLE, axis=0):
    """Draw a cell in the slices across ``axis`` that lie between those in which it is drawn, by the mean of
    the signed distances to its outlines (Raya & Udupa 1990). Only background changes.

    Raises UserError where no slice is left out.
    """
    mask = np.moveaxis(_own(labels, number, box), axis, 0)
    drawn = np.flatnonzero(mask.any((1, 2)))
    new = np.zeros_like(mask)
    for below, above in zip(drawn, drawn[1:]):
        if above - below == 1:
            continue
        low, high = _signed(mask[below]), _signed(mask[above])
        for middle in range(below + 1, above):
            share = (middle - below) / (above - below)
            new[middle] = (1 - share) * low + share * high > 0
    new = np.moveaxis(new, 0, axis) & (labels[box] == 0)
    if not new.any():
        raise UserError(f"cell {number} has no slice to fill in: draw it in two slices, leave some between")
    return _diff(labels, _in_box(labels, new, box), number)


def _signed(mask):
    """Distance to the outline in voxels, positive inside. (Y, X)"""
    mask = np.pad(mask, 1)
    return (ndi.distance_transform_edt(mask) - ndi.distance_transform_edt(~mask))[1:-1, 1:-1]
