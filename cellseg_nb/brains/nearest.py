"""Cells of a block by the nearest centre: every decision is local, so blocks agree wherever they meet.

A centre is a maximum of the brightness (lightly blurred) inside the mask, with no stronger one within
``apart``. Each voxel of the mask goes to the nearest centre, not farther than ``reach``; of two at the same
distance to the first in reading order. So a voxel's cell depends on what lies within ``reach + apart + 1``
of it (and the reach of the blurs), and on nothing else: given a halo as wide, a block gives each of its
voxels the cell that one pass over the whole volume gives it. Unlike
`cellseg_nb.cells.instances.voronoi_otsu`, whose flood follows a piece of mask however far it goes, what is
farther than ``reach`` from every centre is no cell.

A cell's name is the place of its centre in the volume, counted in reading order, whatever block found it.
"""

import functools

import numpy as np
from scipy import ndimage as ndi

SLAB = 16  # planes at a time
BATCH = 1 << 17  # pairs of centre and voxel at a time


@functools.lru_cache(maxsize=8)
def ball(reach, size):
    """Offsets of the voxels within ``reach`` (µm) of a voxel of ``size`` (z, y, x): (n, 3) int32, nearest
    first, and the rank of their distances, (n,) int64: equal distances have one rank."""
    sides = [int(reach / s + 1e-9) for s in size]
    offsets = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in sides), indexing="ij"), -1).reshape(-1, 3)
    squared = sum((np.abs(offsets[:, a]) * float(size[a])) ** 2 for a in range(3))
    offsets, squared = offsets[squared <= reach**2 + 1e-9], squared[squared <= reach**2 + 1e-9]
    distances, rank = np.unique(np.round(squared, 9), return_inverse=True)
    order = np.argsort(rank, kind="stable")
    return offsets[order].astype(np.int32), rank[order].astype(np.int64)


def halo(reach, apart, size):
    """Voxels (z, y, x) around a block that its cells depend on, blurs not counted."""
    return tuple(int(reach / s + 1e-9) + int(apart / s + 1e-9) + 1 for s in size)


def centres(spots, mask, apart, size):
    """Places of the centres, (n, 3) int in reading order.

    spots : (Z, Y, X) float32, the blurred brightness. mask : (Z, Y, X) bool. apart : µm.
    """
    from scipy.spatial import cKDTree

    places = np.concatenate([_maxima(spots, mask, z) for z in range(0, len(spots), SLAB)])
    if len(places) < 2 or apart <= 0:
        return places
    height = spots[tuple(places.T)]
    near = cKDTree(places * np.asarray(size, float)).query_pairs(apart + 1e-9, output_type="ndarray")
    one, other = near.min(1), near.max(1)  # reading order: of two equals the first stays
    weaker = np.where(height[one] >= height[other], other, one)
    keep = np.ones(len(places), bool)
    keep[weaker] = False
    return places[keep]


def _maxima(spots, mask, start):
    """Maxima among 27 voxels in one slab: a filter of all of it at once would hold it twice more."""
    low, stop = max(0, start - 1), min(len(spots), start + SLAB)
    highest = ndi.maximum_filter(spots[low : stop + 1], 3, mode="nearest")[start - low : stop - low]
    return np.argwhere((highest == spots[start:stop]) & mask[start:stop]) + (start, 0, 0)


def assign(spots, mask, inner, apart, reach, size, least=None):
    """The nearest centre of each voxel in the core of a block.

    Parameters
    ----------
    spots, mask : (Z, Y, X) float32 and bool, of the outer box
    inner : three slices, the core
    apart, reach : µm
    least : None or a pair of image and share
        A voxel is left out where ``image`` is below ``share`` of what it is at the cell's centre.

    Returns as `to_nearest`.
    """
    places = centres(spots, mask, apart, size)
    if least is not None:
        image, share = least
        least = image[inner], share * image[tuple(places.T)]
    return to_nearest(places, mask[inner], inner, reach, size, least)


def to_nearest(places, mask, inner, reach, size, least=None):
    """The nearest of the centres for each voxel in the core of a block.

    Parameters
    ----------
    places : (n, 3) int, of the outer box, in reading order
    mask : (Z, Y, X) bool, of the core
    inner : three slices, the core in the outer box
    reach : µm
    least : None or (values (Z, Y, X) of the core, least (n,) of each centre's cell)

    Returns labels of the core, int32, 0 is background, numbered in the reading order of the centres; and the
    places of these centres in the outer box, (n, 3) int. A cell whose centre lies outside counts like others.
    """
    shape = mask.shape
    first = np.array([s.start for s in inner])
    offsets, rank = ball(float(reach), tuple(map(float, size)))
    reaches = np.abs(offsets).max(0)
    at = places - first
    near = ((at >= -reaches) & (at < np.array(shape) + reaches)).all(1)
    places, at = places[near], at[near]
    inside = mask.ravel()
    voxel = np.flatnonzero(inside)  # few are: only of these the best centre is kept
    best = np.full(len(voxel), np.iinfo(np.int64).max)
    for start in range(0, len(at), max(1, BATCH // len(offsets))):
        part = at[start : start + max(1, BATCH // len(offsets))]
        voxels = part[:, None] + offsets
        good = ((voxels >= 0) & (voxels < shape)).all(-1)
        flat = np.ravel_multi_index(tuple(np.moveaxis(voxels[good], -1, 0)), shape)
        worth = (rank << 32) + start + np.arange(len(part))[:, None]
        worth = worth[good]
        on = inside[flat]
        np.minimum.at(best, np.searchsorted(voxel, flat[on]), worth[on])
    reached = best < np.iinfo(np.int64).max
    found, own = voxel[reached], best[reached] & 0xFFFFFFFF
    if least is not None and len(places):
        values, lowest = least
        high = values.ravel()[found] >= lowest[near][own]
        found, own = found[high], own[high]
    used = np.zeros(len(places), bool)
    used[own] = True
    labels = np.zeros(inside.size, np.int32)
    labels[found] = np.cumsum(used)[own]
    return labels.reshape(shape), places[used]


def names(places, outer, shape):
    """Centres in the outer box as their place in the volume, counted from 1 in reading order: (n,) int64."""
    corner = np.array([s.start for s in outer])
    if not len(places):
        return np.zeros(0, np.int64)
    return np.ravel_multi_index(tuple((places + corner).T), shape).astype(np.int64) + 1
