"""Cells matched by the distance of their centres: the honest score where a cell is a handful of voxels."""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.errors import UserError

FAR = 1e6  # costs more than all distances together: as many pairs as possible come before short ones


def of(labels, voxel_size=None):
    """Centres of mass in µm (voxels without a voxel size), (n, 3) float64; labels (Z, Y, X) integers, 0 is
    background."""
    labels = np.asarray(labels)
    size = np.ones(3) if voxel_size is None else np.asarray(voxel_size, float)
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    if not len(numbers):
        return np.zeros((0, 3))
    return np.array(ndi.center_of_mass(labels > 0, labels, numbers)) * size


def match_centres(truth, labels, voxel_size=None, tolerance=6.0):
    """True and found cells paired one to one where their centres lie at most ``tolerance`` apart.

    As many pairs as possible, then the smallest sum of distances (Hungarian method, in the groups of cells
    within reach of each other).

    Parameters
    ----------
    truth, labels : (Z, Y, X) integers, 0 is background; or centres (n, 3), in µm already
    voxel_size : (z, y, x) in µm or None
    tolerance : float, µm (voxels without a voxel size)

    Returns a dict: tp, fp, fn, precision, recall, f1 (1 when there is nothing to find and nothing is found).
    Raises UserError for volumes of different shape or a tolerance that is not positive.
    """
    if not tolerance > 0:
        raise UserError(f"tolerance is {tolerance!r}: give a distance in µm, half a cell or less")
    truth, labels = np.asarray(truth), np.asarray(labels)
    if truth.ndim == labels.ndim == 3 and truth.shape != labels.shape:
        raise UserError(
            f"the truth has shape {truth.shape}, the prediction {labels.shape}: they must be the same volume"
        )
    true, found = (x if x.ndim == 2 else of(x, voxel_size) for x in (truth, labels))
    tp = len(_pairs(true, found, tolerance))
    fp, fn = len(found) - tp, len(true) - tp
    return {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "precision": tp / len(found) if len(found) else 0.0,
        "recall": tp / len(true) if len(true) else 0.0,
        "f1": 2 * tp / (2 * tp + fp + fn) if len(true) or len(found) else 1.0,
    }


def _pairs(true, found, tolerance):
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import bmat
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    if not len(true) or not len(found):
        return []
    near = cKDTree(true).sparse_distance_matrix(cKDTree(found), tolerance, output_type="coo_matrix")
    near.data = near.data + 1e-9  # two centres at one place are neighbours, too
    near = near.tocsr()
    _, group = connected_components(bmat([[None, near], [near.T, None]]), directed=False)
    pairs = []
    rows_of, columns_of = group[: len(true)], group[len(true) :]
    for number in np.intersect1d(rows_of, columns_of):
        rows, columns = np.flatnonzero(rows_of == number), np.flatnonzero(columns_of == number)
        distance = near[rows][:, columns].toarray()
        for r, c in zip(*linear_sum_assignment(np.where(distance > 0, distance, FAR))):
            if distance[r, c] > 0:
                pairs.append((int(rows[r]), int(columns[c])))
    return pairs
