"""How good is a segmentation: Dice for masks; matched cells (true and false positives, F1, ...) at many IoU
thresholds.

A predicted cell matches a true one when their intersection over union (IoU) reaches a threshold; each may be
matched once. Definitions and columns are those of StarDist's ``matching`` (Schmidt et al. 2018, Weigert et
al. 2020).
"""

from collections import namedtuple

import numpy as np

from cellseg_nb.errors import UserError

SPARSE = 8  # so many times more numbers than voxels: a table of all numbers would be mostly empty
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
Quality = namedtuple("Quality", "matched_true matched_predicted missed invented")


def dice(truth, prediction):
    """Dice coefficient of two masks (non-zero is foreground): 2 |A and B| / (|A| + |B|). 1.0 when both are
    empty."""
    truth, prediction = np.asarray(truth) != 0, np.asarray(prediction) != 0
    _same_shape(truth, prediction)
    total = int(truth.sum()) + int(prediction.sum())
    return 2.0 * int((truth & prediction).sum()) / total if total else 1.0


def match(truth, prediction, thresholds=THRESHOLDS, slicewise=False):
    """Match predicted cells to true ones in 3D, at every threshold, in one pass over their overlaps.

    Parameters
    ----------
    truth, prediction : (Z, Y, X) integer labels, 0 is background; ids need not be consecutive
    thresholds : float or sequence of floats
    slicewise : bool
        Match each z slice as an image of its own and add up the counts: how the published F1 figures were
        computed (StarDist's ``matching_dataset`` given one 3D array a side). False, the default, is true 3D
        matching.

    Returns a table, one row a threshold, with StarDist's columns: criterion, thresh, fp, tp, fn, precision,
    recall, accuracy, f1, n_true, n_pred, mean_true_score, mean_matched_score, panoptic_quality. A ratio of
    nothing is 0. Raises UserError for different shapes, negative or non-integer labels.
    """
    import pandas

    truth, prediction = _labels(truth, "truth"), _labels(prediction, "prediction")
    _same_shape(truth, prediction)
    thresholds = [float(t) for t in np.atleast_1d(thresholds)]
    pairs = list(zip(truth, prediction)) if slicewise else [(truth, prediction)]
    overlaps = [_overlaps(*pair) for pair in pairs]
    rows = []
    for threshold in thresholds:
        found = [_matched(overlap, threshold) for overlap in overlaps]
        tp = sum(len(true) for true, _, _ in found)
        score = sum(float(scores.sum()) for _, _, scores in found)
        rows.append(
            _row(
                threshold,
                tp,
                score,
                sum(len(o.true) for o in overlaps),
                sum(len(o.predicted) for o in overlaps),
            )
        )
    return pandas.DataFrame(rows)


def quality(truth, prediction, threshold=0.5):
    """Which cells are right: ids of matched true and predicted cells (pairwise), of missed true cells, of
    invented ones."""
    truth, prediction = _labels(truth, "truth"), _labels(prediction, "prediction")
    _same_shape(truth, prediction)
    overlap = _overlaps(truth, prediction)
    true, predicted, _ = _matched(overlap, threshold)
    true, predicted = overlap.true[true], overlap.predicted[predicted]
    return Quality(
        true, predicted, np.setdiff1d(overlap.true, true), np.setdiff1d(overlap.predicted, predicted)
    )


def best_threshold(probability, truth, thresholds=np.linspace(0.05, 0.95, 19)):
    """The threshold on a probability that gives the best Dice with a true mask (the lowest of equals), and
    the table tried."""
    import pandas

    truth = np.asarray(truth) != 0
    table = pandas.DataFrame(
        {"threshold": thresholds, "dice": [dice(truth, np.asarray(probability) > t) for t in thresholds]}
    )
    return float(table.threshold[table.dice.idxmax()]), table


# ---------------------------------------------------------------- one pass over the overlaps

# ids; one entry for each pair that overlaps; pairs share a group when a chain of overlaps links them
Overlaps = namedtuple("Overlaps", "true predicted row column iou group")


def _overlaps(truth, prediction):
    """Count the voxels that each true and predicted cell share, in one sparse table of the foreground."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    truth, prediction, length = _runs(np.ravel(truth), np.ravel(prediction))
    (true, truth), (predicted, prediction) = _numbers(truth), _numbers(prediction)
    size_true, size_predicted = _sizes(true, truth, length), _sizes(predicted, prediction, length)
    both = np.flatnonzero((truth > 0) & (prediction > 0))
    shared = coo_matrix((length[both], (truth[both], prediction[both])), (len(true), len(predicted)))
    shared = shared.tocsr().tocoo()  # tocsr adds equal pairs up
    row, column, count = shared.row, shared.col, shared.data
    iou = count / (size_true[row] + size_predicted[column] - count)
    (true, row), (predicted, column) = _there(true, size_true, row), _there(predicted, size_predicted, column)
    nodes = len(true) + len(predicted)
    graph = coo_matrix((np.ones(len(row)), (row, column + len(true))), (nodes, nodes))
    group = connected_components(graph, directed=False)[1][row] if nodes else row
    return Overlaps(true, predicted, row, column, iou, group)


def _runs(truth, prediction):
    """Voxels side by side with the same two labels, taken as one: their labels, and how many they are."""
    new = truth[1:] != truth[:-1]
    new |= prediction[1:] != prediction[:-1]
    starts = np.concatenate([np.zeros(min(1, truth.size), np.int64), np.flatnonzero(new) + 1])
    length = np.diff(starts, append=truth.size)
    truth, prediction = truth[starts], prediction[starts]
    keep = np.flatnonzero((truth > 0) | (prediction > 0))
    return truth[keep], prediction[keep], length[keep]


def _numbers(labels):
    """Numbers that a table can have as rows: what each stands for (0 for 0), and the labels in them."""
    labels = labels.astype(np.int64, copy=False)  # unsigned ones of 64 bits are no places in an array
    highest = int(labels.max(initial=0))
    if highest <= SPARSE * labels.size:
        return np.arange(highest + 1), labels
    ids = np.unique(np.append(labels, 0))
    return ids, np.searchsorted(ids, labels)


def _sizes(ids, labels, length):
    """Voxels of each cell, 0 for the background."""
    sizes = np.bincount(labels, length, len(ids)).astype(np.int64)
    sizes[0] = 0
    return sizes


def _there(ids, sizes, entries):
    """Ids of the cells that there are, and the entries of a table by their place among these."""
    there = np.flatnonzero(sizes)
    places = np.zeros(len(ids), np.int64)
    places[there] = np.arange(len(there))
    return ids[there], places[entries]


def _matched(overlap, threshold):
    """Rows, columns and IoUs of the matched pairs: as many as possible, then the largest sum of IoUs.

    Where no cell has two partners to choose from, every good pair is matched; the assignment is solved, with
    StarDist's costs, only in the groups where there is a choice. Groups share no cells, so this is the
    optimum.
    """
    # single precision as in StarDist: it decides whether an IoU of 3/10 reaches a threshold written as 0.1 *
    # 3
    good = overlap.iou.astype(np.float32) >= np.float32(threshold)
    partners_true = np.bincount(overlap.row[good], minlength=len(overlap.true))
    partners_predicted = np.bincount(overlap.column[good], minlength=len(overlap.predicted))
    choice = good & ((partners_true[overlap.row] > 1) | (partners_predicted[overlap.column] > 1))
    if choice.any():
        contested = np.zeros(overlap.group.max() + 1, bool)
        contested[overlap.group[choice]] = True
        pairs = np.flatnonzero(contested[overlap.group])
        pairs = pairs[np.argsort(overlap.group[pairs], kind="stable")]
        good[pairs] &= _assigned(overlap, pairs, good[pairs])
    return overlap.row[good], overlap.column[good], overlap.iou[good]


def _assigned(overlap, pairs, good):
    """Which of the ``pairs``, sorted by group, are matched, one partner for each cell: (pairs,) bool."""
    from scipy.optimize import linear_sum_assignment

    group = overlap.group[pairs]
    row, column = _within(group, overlap.row[pairs]), _within(group, overlap.column[pairs])
    smaller = min(len(overlap.true), len(overlap.predicted))
    cost = -good.astype(float) - overlap.iou[pairs] / (2 * smaller)
    edges = np.flatnonzero(np.diff(group, prepend=-1, append=-1))
    found = np.zeros(len(pairs), bool)
    for start, stop in zip(edges[:-1], edges[1:]):
        r, c = row[start:stop], column[start:stop]
        costs = np.zeros((r.max() + 1, c.max() + 1))
        costs[r, c] = cost[start:stop]
        picked = np.zeros(costs.shape, bool)
        picked[linear_sum_assignment(costs)] = True
        found[start:stop] = picked[r, c]
    return found


def _within(group, cells):
    """The number of each cell among those of its group, counted from 0; ``group`` is sorted."""
    first = group.astype(np.int64) * (int(cells.max()) + 1)
    keys, place = np.unique(first + cells, return_inverse=True)
    return place - np.searchsorted(keys, first)


def _row(threshold, tp, score, n_true, n_pred):
    fp, fn = n_pred - tp, n_true - tp
    return {
        "criterion": "iou",
        "thresh": threshold,
        "fp": fp,
        "tp": tp,
        "fn": fn,
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "accuracy": _ratio(tp, tp + fp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "n_true": n_true,
        "n_pred": n_pred,
        "mean_true_score": _ratio(score, n_true),
        "mean_matched_score": _ratio(score, tp),
        "panoptic_quality": _ratio(score, tp + fp / 2 + fn / 2),
    }


def _ratio(part, whole):
    return part / whole if whole else 0.0


def _labels(labels, name):
    labels = np.asarray(labels)
    if labels.dtype == bool:
        raise UserError(
            f"{name} is a mask, not labels: number its cells first (cellseg_nb.cells.instances.connected)"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{name} has {labels.dtype} values: labels must be whole numbers (an integer type)")
    if labels.size and labels.min() < 0:
        raise UserError(f"{name} has negative labels: 0 is background, cells are 1, 2, 3, ...")
    return labels


def _same_shape(truth, prediction):
    if truth.shape != prediction.shape:
        raise UserError(
            f"the truth has shape {truth.shape}, the prediction {prediction.shape}: they must be the same "
            f"volume"
        )
