"""Which cell to look at next: the one where an edit gains most, as far as can be seen.

Each cell gets a doubt between 0 (nothing speaks against it) and 1 for each of seven reasons, from the labels,
the volume and the probability alone, never from a truth. Bright places without a label are in the queue, too.
What a person has decided so far, and with how many edits, says how much each reason is worth in this volume
(`learned`).
"""

from typing import NamedTuple

import numpy as np
import pandas
from scipy import ndimage as ndi
from scipy.optimize import minimize
from scipy.special import expit

from cellseg_nb.cells import background, scale
from cellseg_nb.errors import UserError
from cellseg_nb.viewer import edits

REASONS = {  # what each doubt says to a person
    "size": "no larger than most, or far larger",  # large cells are seldom wrong
    "shape": "less round than the others",
    "outline": "the brightness does not end where the outline does",
    "spots": "no bright spot in it, or several",
    "contrast": "hardly brighter than what surrounds it",
    "probability": "probability near the threshold",
    "touching": "touches other cells",
    "missed": "a bright spot without a label",
}
# Rounded from a logistic regression: how many cells does an edit of this one make right (F1 gained at IoU
# 0.5, for each edit of `corrector.mend`) in labels of WNet3D on eight simulated volumes, of other seeds than
# notebook 10's; no weight negative, ridge 3. That of what is missed is ours.
START = -4.8
WEIGHTS = dict(
    size=1.4, shape=1.1, outline=2.0, spots=1.2, contrast=1.4, probability=0.8, touching=0.3, missed=5.0
)
EVERY = 5  # decisions after which the queue learns again
HELD = 0.3  # how firmly to the weights above: 1 / variance. Chosen on eight simulated volumes of other seeds


class Item(NamedTuple):
    """One thing to look at: ``number`` of the cell (0: a place without one), its ``place`` (z, y, x) in
    voxels, ``doubt`` in 0..1, the ``why`` in words, and the ``reasons`` as numbers, in the order of
    `REASONS`."""

    number: int
    place: tuple
    doubt: float
    why: str
    reasons: tuple = ()


def queue(volume, labels, probability=None, voxel_size=None):
    """All cells, and bright places without one, the most doubtful first: a list of `Item`.

    ``volume``, ``labels`` and ``probability`` (Z, Y, X). The diameter of a cell is that of the median one, or
    estimated where there is none. Raises UserError for other shapes.
    """
    table = doubts(volume, labels, probability, voxel_size)
    found = []
    for row in table.itertuples():
        values = {name: float(getattr(row, name)) for name in REASONS}
        parts = {name: WEIGHTS[name] * value for name, value in values.items() if value > 0.25}
        size = parts.pop("size", None)  # true of half the cells: said where there is nothing else to say
        strongest = sorted(parts, key=parts.get, reverse=True)[:2] or ["size"] * bool(size)
        why = "; ".join(REASONS[name] for name in strongest) or "nothing speaks against it"
        place, reasons = (int(row.z), int(row.y), int(row.x)), tuple(values.values())
        found.append(Item(int(row.label), place, float(row.doubt), why, reasons))
    return _sorted(found)


def _sorted(items):
    return sorted(items, key=lambda item: (-item.doubt, item.number, item.place))


def learned(items, seen):
    """The items that are left, with doubts, and in an order, that follow from what was decided on others.

    ``seen``: pairs (`Item`, the number of edits that mended it, 0 where it was right). A logistic regression
    of what each edit mended (0 of a right cell, 1 of one mended by one edit, 1/2 by two) on their reasons,
    held near `START` and `WEIGHTS` by a Gaussian prior (maximum a posteriori; no weight below 0): the more
    decisions, the more it is the queue of this volume.
    """
    if not items or not seen:
        return list(items)
    prior = np.array([START, *(WEIGHTS[name] for name in REASONS)])
    given = np.array([(1.0, *item.reasons) for item, _ in seen])
    mended = np.array([1 / edits if edits else 0 for _, edits in seen])

    def cost(weights):
        total, away = given @ weights, weights - prior
        slope = given.T @ (expit(total) - mended) + HELD * away
        return np.sum(np.logaddexp(0, total) - mended * total) + HELD / 2 * away @ away, slope

    bounds = [(None, None)] + [(0, None)] * len(REASONS)
    weights = minimize(cost, prior, jac=True, method="L-BFGS-B", bounds=bounds).x
    doubts = expit(np.array([(1.0, *item.reasons) for item in items]) @ weights)
    return _sorted(item._replace(doubt=float(doubt)) for item, doubt in zip(items, doubts))


def doubts(volume, labels, probability=None, voxel_size=None):
    """One row a cell, and one (label 0) a bright place without: z, y, x, a column a reason, all in 0..1, and
    ``doubt``, the logistic function of their weighted sum. See `queue` for the arguments and errors."""
    for name, other in (("labels", labels), ("probability", probability)):
        if other is not None and np.shape(other) != np.shape(volume):
            raise UserError(
                f"the volume has shape {np.shape(volume)}, the {name} {np.shape(other)}: they must agree"
            )
    size = background.spacing(voxel_size)
    volume, labels = np.asarray(volume, np.float32), np.asarray(labels)
    numbers = np.flatnonzero(np.bincount(labels.ravel()))
    numbers = numbers[numbers > 0]
    diameter = _usual(labels, size) or scale.cell_diameter(volume, voxel_size)
    smooth = background.blur(volume, 0.15 * diameter / size)
    rising = background.rise(volume, diameter / size)
    least = 6 * background.spread(rising)
    places, heights = background.peaks(rising, diameter / size, least=least)
    rows = pandas.DataFrame(_cells(labels, numbers, smooth, probability, size, diameter, places))
    rows = pandas.concat([rows, _missed(labels, places, heights, size, diameter)], ignore_index=True)
    rows = rows.reindex(columns=["label", "z", "y", "x", *REASONS]).fillna(0.0)
    rows["doubt"] = 1 / (1 + np.exp(-START - sum(WEIGHTS[name] * rows[name] for name in REASONS)))
    return rows


def _usual(labels, size):
    """Diameter in µm of the ball of the median cell's volume; None without cells."""
    voxels = np.bincount(labels.ravel())[1:]
    voxels = voxels[voxels > 0]
    return float(np.cbrt(6 / np.pi * np.median(voxels) * size.prod())) if len(voxels) else None


def _cells(labels, numbers, smooth, probability, size, diameter, places):
    """A dict a cell, of what stands in the columns."""
    volumes = np.bincount(labels.ravel())[numbers] if len(numbers) else np.zeros(0)
    usual = np.median(volumes) if len(volumes) else 1
    spots = np.bincount(labels[tuple(places.T)], minlength=int(labels.max(initial=0)) + 1)
    reach = np.maximum(1, np.rint(0.35 * diameter / size)).astype(int)
    boxes = ndi.find_objects(labels)
    rows = []
    for number, voxels in zip(numbers, volumes):
        box = tuple(slice(max(0, b.start - r), b.stop + r) for b, r in zip(boxes[number - 1], reach))
        near, grey = labels[box], smooth[box]
        own = near == number
        away = ndi.distance_transform_edt(~own, sampling=size)
        ring = (near == 0) & (away <= 0.35 * diameter) & (away > 0)
        row = {"label": number} | dict(zip("zyx", edits.deepest(own, box, size)))
        row["size"] = max(_over(-np.log2(voxels / usual), -1.2, 0), _over(np.log2(voxels / usual), 1.5, 3))
        row["shape"] = _over(1 - _roundness(own, size), 0.05, 0.25)
        row["spots"] = {0: 0.6, 1: 0.0}.get(int(spots[number]), 0.9)
        row["touching"] = _over(_touched(near, own), 0.05, 0.4)
        row |= _light(grey, own, ring)
        if probability is not None:
            unsure = np.abs(probability[box][own | ring] - 0.5) < 0.4
            row["probability"] = _over(np.count_nonzero(unsure) / voxels, 0.1, 1.0)
        rows.append(row)
    middle = np.median([row["contrast"] for row in rows]) if rows else 1.0
    for row in rows:  # a dim cell among bright ones
        row["contrast"] = _over(1 - row["contrast"] / max(middle, 1e-6), 0.2, 0.8)
    return rows


def _over(value, low, high):
    """0 up to ``low``, 1 from ``high``, linear between."""
    return float(np.clip((value - low) / (high - low), 0, 1))


def _roundness(own, size):
    """Volume over that of the ellipsoid with the same second moments (1: any ellipsoid)."""
    points = np.argwhere(own) * size
    if len(points) < 4:
        return 0.5
    moments = np.cov(points.T, bias=True) + np.diag(size**2 / 12)
    return min(1.0, len(points) * size.prod() / (4 / 3 * np.pi * 5**1.5 * np.sqrt(np.linalg.det(moments))))


def _touched(near, own):
    """Share of the cell's faces behind which another cell begins."""
    other, free = 0, 0
    for axis in range(3):
        a, b = np.moveaxis(near, axis, 0)[1:], np.moveaxis(near, axis, 0)[:-1]
        mine, theirs = np.moveaxis(own, axis, 0)[1:], np.moveaxis(own, axis, 0)[:-1]
        for beside in (b[mine & ~theirs], a[theirs & ~mine]):
            other += np.count_nonzero(beside)
            free += np.count_nonzero(beside == 0)
    return other / max(1, other + free)


def _light(grey, own, ring):
    """How the brightness speaks against a cell: its contrast, and whether it ends at the outline."""
    if not ring.any():
        return {"contrast": 1.0, "outline": 0.0}
    ground, top = np.percentile(grey[ring], 20), np.percentile(grey[own], 90)
    rise = top - ground
    half = ground + 0.5 * rise
    outside, inside = np.count_nonzero(grey[ring] > half), np.count_nonzero(grey[own] < half - 0.15 * rise)
    wrong = (outside + inside) / np.count_nonzero(own)
    return {"contrast": float(rise), "outline": _over(wrong, 0.1, 0.7)}


def _missed(labels, places, heights, size, diameter):
    """Bright places further than a third of a cell from any label, as rows of the table."""
    if not len(places):
        return pandas.DataFrame()
    free = ndi.distance_transform_edt(labels == 0, sampling=size)[tuple(places.T)] > diameter / 3
    usual = np.median(heights[~free]) if (~free).any() else np.median(heights)
    rows = pandas.DataFrame(places[free], columns=list("zyx")).assign(label=0)
    rows["missed"] = np.clip(0.45 + 0.5 * heights[free] / max(usual, 1e-6), 0, 0.95)
    return rows
