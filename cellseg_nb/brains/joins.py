"""Connected pieces that cross faces: every block numbers its own, neighbours agree by what they share.

A block labels its core and one voxel around it. Across a face, both blocks have labelled the same two planes
(the last of the one, the first of the other): labels on one voxel are one piece. Planes reach one voxel
beyond the face, so pieces that touch along an edge or at a corner only are joined through the blocks beside
them: faces are enough. A label's name is block << 32 | number, 64 bits; union-find joins them.
"""

import numpy as np

FAR = np.iinfo(np.int64).max


def label_block(mask, block):
    """Number the connected pieces of a block.

    mask : (Z, Y, X) bool of the block's outer box (a halo of one voxel).

    Returns labels of the core, int32; ``first`` (n,) int64, for each label its first voxel in the core in
    the core's reading order (`FAR` where it is in the halo alone); and ``faces``, {(axis, end): planes}: the
    two planes, int32, on each side that has a neighbour, in the order of the axis.
    """
    import cc3d

    thin = min(mask.shape) < 4  # cc3d 4.1 counts too few labels in advance there
    mask = np.pad(mask, 1) if thin else np.ascontiguousarray(mask)
    labels = cc3d.connected_components(mask, connectivity=26)
    labels = labels[1:-1, 1:-1, 1:-1] if thin else labels  # of 16 bits, where these are enough
    faces = {}
    for axis in range(3):
        inner = block.inner[axis]
        if inner.start:
            faces[axis, 0] = labels.take([inner.start - 1, inner.start], axis).astype(np.int32)
        if inner.stop < labels.shape[axis]:
            faces[axis, 1] = labels.take([inner.stop - 1, inner.stop], axis).astype(np.int32)
    first = np.full(int(labels.max(initial=0)), FAR)
    core = labels[block.inner].astype(np.int32)
    del labels
    flat = core.ravel()
    where = np.flatnonzero(flat)[::-1]
    first[flat[where] - 1] = where  # of several the last counts, which is the first voxel
    return core, first, faces


def shared(low, high, low_block, high_block):
    """Names that are one piece, (n, 2) int64, from the planes that two neighbours have of their face."""
    both = (low > 0) & (high > 0)
    pairs = np.stack([low[both], high[both]], 1).astype(np.int64)
    pairs = np.unique(pairs, axis=0) if len(pairs) else pairs
    return pairs + np.array([low_block << 32, high_block << 32], np.int64)


def union(pairs, values):
    """The smallest value of each group of names.

    pairs : (m, 2) int, positions in ``values`` that belong together. values : (n,) int64.
    Returns (n,) int64: for each name the smallest value in its group.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(values)
    links = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, group = connected_components(links, directed=False)
    smallest = np.full(group.max(initial=-1) + 1, FAR)
    np.minimum.at(smallest, group, values)
    return smallest[group]


def place(first, block, shape):
    """First voxels, counted in a block's core, as places in the volume counted in reading order."""
    found = np.full(len(first), FAR)
    known = first < FAR
    at = np.stack(np.unravel_index(first[known], block.shape), -1) + block.corner
    found[known] = np.ravel_multi_index(tuple(at.T), shape)
    return found
