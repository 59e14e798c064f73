"""How good is a segmentation: Dice for masks; matched cells (true and false positives, F1, ...) at many IoU thresholds.

A predicted cell matches a true one when their intersection over union (IoU) reaches a threshold; each may be matched
once. Definitions and columns are those of StarDist's ``matching`` (Schmidt et al. 2018, Weigert et al. 2020).
"""

from collections import namedtuple

import numpy as np

from .errors import UserError

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
Quality = namedtuple("Quality", "matched_true matched_predicted missed invented")


def dice(truth, prediction):
    """Dice coefficient of two masks (non-zero is foreground): 2 |A and B| / (|A| + |B|). 1.0 when both are empty."""
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
        Match each z slice as an image of its own and add up the counts: how the published F1 figures were computed
        (StarDist's ``matching_dataset`` given one 3D array a side). False, the default, is true 3D matching.

    Returns a table, one row a threshold, with StarDist's columns: criterion, thresh, fp, tp, fn, precision, recall,
    accuracy, f1, n_true, n_pred, mean_true_score, mean_matched_score, panoptic_quality. A ratio of nothing is 0.
    Raises UserError for different shapes, negative or non-integer labels.
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
        rows.append(_row(threshold, tp, score, sum(len(o.true) for o in overlaps), sum(len(o.predicted) for o in overlaps)))
    return pandas.DataFrame(rows)


def quality(truth, prediction, threshold=0.5):
    """Which cells are right: ids of matched true and predicted cells (pairwise), of missed true cells, of invented ones."""
    truth, prediction = _labels(truth, "truth"), _labels(prediction, "prediction")
    _same_shape(truth, prediction)
    overlap = _overlaps(truth, prediction)
    true, predicted, _ = _matched(overlap, threshold)
    true, predicted = overlap.true[true], overlap.predicted[predicted]
    return Quality(true, predicted, np.setdiff1d(overlap.true, true), np.setdiff1d(overlap.predicted, predicted))


def best_threshold(probability, truth, thresholds=np.linspace(0.05, 0.95, 19)):
    """The threshold on a probability that gives the best Dice with a true mask (the lowest of equals), and the table tried."""
    import pandas

    truth = np.asarray(truth) != 0
    table = pandas.DataFrame({"threshold": thresholds,
                              "dice": [dice(truth, np.asarray(probability) > t) for t in thresholds]})
    return float(table.threshold[table.dice.idxmax()]), table


# ---------------------------------------------------------------- one pass over the overlaps

Overlaps = namedtuple("Overlaps", "true predicted row column iou")  # ids; and one entry for each pair that overlaps


def _overlaps(truth, prediction):
    true, t = np.unique(truth, return_inverse=True)
    predicted, p = np.unique(prediction, return_inverse=True)
    t, p = t.ravel(), p.ravel()
    pair, count = np.unique(t.astype(np.int64) * len(predicted) + p, return_counts=True)
    row, column = pair // len(predicted), pair % len(predicted)
    size_true, size_predicted = np.bincount(t), np.bincount(p)
    cells = (true[row] != 0) & (predicted[column] != 0)
    row, column, count = row[cells], column[cells], count[cells]
    iou = count / (size_true[row] + size_predicted[column] - count)
    first_true, first_predicted = int(true[:1].sum() == 0 and len(true) > 0), int(predicted[:1].sum() == 0 and len(predicted) > 0)
    return Overlaps(true[first_true:], predicted[first_predicted:], row - first_true, column - first_predicted, iou)


def _matched(overlap, threshold):
    """Rows, columns and IoUs of the matched pairs: as many as possible, then the largest sum of IoUs."""
    good = overlap.iou >= threshold
    if good.any() and (_repeats(overlap.row[good]) or _repeats(overlap.column[good])):
        good = _assign(overlap, good)
    return overlap.row[good], overlap.column[good], overlap.iou[good]


def _repeats(numbers):
    return len(np.unique(numbers)) < len(numbers)


def _assign(overlap, good):
    """Some cell has two partners to choose from: solve the assignment (with StarDist's costs) in each group of cells that
    overlap one another, where there is a choice. Elsewhere every good pair is matched."""
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n_true, n_predicted = len(overlap.true), len(overlap.predicted)
    nodes = n_true + n_predicted
    graph = coo_matrix((np.ones(len(overlap.row)), (overlap.row, overlap.column + n_true)), (nodes, nodes))
    group = connected_components(graph, directed=False)[1][overlap.row]
    bonus = overlap.iou / (2 * min(n_true, n_predicted))
    chosen = np.zeros(len(good), bool)
    order = np.argsort(group, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        inside = members[good[members]]
        if not (_repeats(overlap.row[inside]) or _repeats(overlap.column[inside])):
            chosen[inside] = True
            continue
        rows, r = np.unique(overlap.row[members], return_inverse=True)
        columns, c = np.unique(overlap.column[members], return_inverse=True)
        costs, entry = np.zeros((len(rows), len(columns))), np.full((len(rows), len(columns)), -1)
        costs[r, c] = -good[members].astype(float) - bonus[members]
        entry[r, c] = members
        picked = entry[linear_sum_assignment(costs)]
        picked = picked[picked >= 0]
        chosen[picked[good[picked]]] = True
    return chosen


def _row(threshold, tp, score, n_true, n_pred):
    fp, fn = n_pred - tp, n_true - tp
    return {"criterion": "iou", "thresh": threshold, "fp": fp, "tp": tp, "fn": fn,
            "precision": _ratio(tp, tp + fp), "recall": _ratio(tp, tp + fn), "accuracy": _ratio(tp, tp + fp + fn),
            "f1": _ratio(2 * tp, 2 * tp + fp + fn), "n_true": n_true, "n_pred": n_pred,
            "mean_true_score": _ratio(score, n_true), "mean_matched_score": _ratio(score, tp),
            "panoptic_quality": _ratio(score, tp + fp / 2 + fn / 2)}


def _ratio(part, whole):
    return part / whole if whole else 0.0


def _labels(labels, name):
    labels = np.asarray(labels)
    if labels.dtype == bool:
        raise UserError(f"{name} is a mask, not labels: number its cells first (cellseg_nb.instances.connected)")
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{name} has {labels.dtype} values: labels must be whole numbers (an integer type)")
    if labels.size and labels.min() < 0:
        raise UserError(f"{name} has negative labels: 0 is background, cells are 1, 2, 3, ...")
    return labels


def _same_shape(truth, prediction):
    if truth.shape != prediction.shape:
        raise UserError(f"the truth has shape {truth.shape}, the prediction {prediction.shape}: they must be the same volume")
