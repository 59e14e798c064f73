"""A corrector by script: it looks at the cells in an order, and does only what the tool offers a person.

It knows the truth of a simulated volume, as a person knows a cell when seeing one, and draws with the same
brush. So it can be measured how much correcting buys, and what the order of the queue is worth.
"""

import numpy as np
import pandas
from scipy import ndimage as ndi

from cellseg_nb.cells import background
from cellseg_nb.evaluation import metrics
from cellseg_nb.viewer import edits, review

# Seconds that a person is taken to need: assumed, not measured. `session.Session.times` measures yours.
SECONDS = {"look": 4.0, "delete": 2.0, "split": 8.0, "merge": 5.0, "new": 2.0, "paint": 6.0, "erase": 6.0}
GOOD = 0.6  # IoU from which a person leaves an outline as it is
STROKES = 12  # at most, on one cell


def correct(canvas, truth, items, seconds=None, until=1.1, limit=None, learn=False):
    """Go through `review.Item` s in their order, and mend what is wrong on the way.

    Parameters
    ----------
    canvas : `canvas.Canvas`, edited in place
    truth : (Z, Y, X) int array, the true labels
    items : list of `review.Item`, in the order to look at them
    seconds : {what: seconds}, what differs from `SECONDS`
    until : float, F1 at IoU 0.5 at which to stop
    limit : float or None, seconds after which no further item is looked at
    learn : bool, whether the order of what is left follows from what was mended so far (`review.learned`)

    Returns a table: one row before the first item and one for each item looked at, with ``looked``
    (items so far), ``corrections`` (edits so far), ``minutes``, ``f1`` (at IoU 0.5), and ``did``, in words.
    """
    cost, spent = {**SECONDS, **(seconds or {})}, 0.0
    rows = [(0, 0, 0.0, f1(truth, canvas.labels), "")]
    corrections, left, seen = 0, list(items), []
    while left and rows[-1][3] < until and (limit is None or spent < limit):
        item = left.pop(0)
        did = mend(canvas, truth, item)
        seen.append((item, len(did)))
        corrections += len(did)
        spent += cost["look"] + sum(cost[what] for what in did)
        score = f1(truth, canvas.labels) if did else rows[-1][3]
        rows.append((len(seen), corrections, spent / 60, score, ", ".join(did)))
        if learn and len(seen) % review.EVERY == 0:
            left = review.learned(left, seen)
    return pandas.DataFrame(rows, columns=["looked", "corrections", "minutes", "f1", "did"])


def f1(truth, labels):
    """F1 of the cells at IoU 0.5."""
    return float(metrics.match(truth, labels, (0.5,)).f1[0])


def shuffled(items, seed=0):
    """The same items in random order."""
    return [items[i] for i in np.random.default_rng(seed).permutation(len(items))]


def mend(canvas, truth, item):
    """Mend one cell, or one place without, of a `canvas.Canvas`: a list of the edits that it took."""
    if item.number == 0:
        cell = int(truth[item.place])
        return _draw_new(canvas, truth, cell) if cell and not canvas.labels[item.place] else []
    if canvas.box(item.number) is None:
        return []  # it was merged or deleted on the way
    cells, shares = _beneath(canvas, truth, item.number)
    if not len(cells):
        canvas.delete(item.number)
        return ["delete"]
    did = []
    # Two true cells, or more, in one outline: a seed in each.
    while len(cells) > 1:
        number, seeds = item.number, [_deepest(canvas, truth, item.number, cell) for cell in cells[:2]]
        diff = canvas.split(seeds[1], seeds[0])  # the larger part is the new one
        new = int(diff.after[0])
        did.append("split")
        did += _mend(canvas, truth, new, int(cells[0]))
        cells, shares = _beneath(canvas, truth, number)
    if len(cells):
        did += _mend(canvas, truth, item.number, int(cells[0]))
    return did


def _beneath(canvas, truth, number):
    """True cells of which a third or more lies in this cell, or which are half of it: largest first."""
    box = canvas.box(number)
    if box is None:
        return np.zeros(0, int), np.zeros(0)
    inside = truth[box][canvas.labels[box] == number]
    cells, counts = np.unique(inside[inside > 0], return_counts=True)
    whole = np.array([np.count_nonzero(truth[_around(box)] == cell) for cell in cells], float)
    keep = (counts >= whole / 3) | (counts >= len(inside) / 2)
    order = np.argsort(-counts[keep], kind="stable")
    return cells[keep][order], counts[keep][order]


def _around(box):
    """A box wide enough to hold the true cells that begin in ``box``."""
    return tuple(slice(max(0, part.start - 24), part.stop + 24) for part in box)


def _deepest(canvas, truth, number, cell):
    """The voxel deepest in what a label and a true cell share."""
    box = canvas.box(number)
    both = (canvas.labels[box] == number) & (truth[box] == cell)
    return edits.deepest(both, box, canvas.size)


def _mend(canvas, truth, number, cell):
    """Join the pieces of a true cell to this label, then paint and erase until the outline is good."""
    did = []
    mine = truth == cell
    for other in np.unique(canvas.labels[mine]):
        if other in (0, number):
            continue
        inside = np.count_nonzero(canvas.labels[mine] == other)
        if inside > 0.5 * np.count_nonzero(canvas.labels == other):  # a piece of this cell, no neighbour
            canvas.merge(number, int(other))
            did.append("merge")
    return did + _outline(canvas, truth, cell, number)


def _draw_new(canvas, truth, cell):
    """A cell that has no label yet."""
    mine = truth == cell
    if np.count_nonzero(canvas.labels[mine]) > 0.5 * np.count_nonzero(mine):
        return []  # mostly labelled already
    return ["new", *_outline(canvas, truth, cell, canvas.new_number())]


def _outline(canvas, truth, cell, number):
    """Draw until the outline is as good as a person wants it. Returns what was done, in words.

    The first stroke is a brush as wide as the cell, once, in its middle; the next ones go where most is
    missing, or too much. An outline that is mostly wrong is deleted and drawn anew.
    """
    did, size = [], background.spacing(canvas.size)
    while len(did) < STROKES:
        box = _both(canvas, truth, cell, number)
        mine, own = truth[box] == cell, canvas.labels[box] == number
        if np.count_nonzero(own & mine) >= GOOD * np.count_nonzero(own | mine):
            break
        missing, excess = mine & (canvas.labels[box] == 0), own & ~mine
        if np.count_nonzero(excess) > np.count_nonzero(mine) and "delete" not in did:
            canvas.delete(number)
            did.append("delete")
            continue
        kind = "paint" if np.count_nonzero(missing) >= np.count_nonzero(excess) else "erase"
        part = missing if kind == "paint" else excess
        if not part.any():
            break
        if kind == "paint" and "paint" not in did:
            place = np.argwhere(mine).mean(0)
            radius = float(np.cbrt(np.count_nonzero(mine) * size.prod() * 0.75 / np.pi))
        else:
            deep = ndi.distance_transform_edt(mine if kind == "paint" else ~mine, sampling=size)
            place = np.unravel_index(np.argmax(np.where(part, deep, 0)), part.shape)
            radius = float(max(deep[place] - 0.01, 0.5 * size.min()))
        place = [p + part.start for p, part in zip(place, box)]
        if kind == "paint":
            canvas.paint([place], radius, number)
        else:
            canvas.erase([place], radius, only=number)
        did.append(kind)
    return did


def _both(canvas, truth, cell, number):
    """A box that holds the true cell and the label, two voxels wider."""
    own = ndi.find_objects((truth == cell).astype(np.uint8))[0]
    spans = zip(own, canvas.box(number) or own)
    return tuple(slice(max(0, min(a.start, b.start) - 2), max(a.stop, b.stop) + 2) for a, b in spans)
