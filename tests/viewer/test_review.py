"""The queue finds what is wrong first, and the scripted corrector mends it with the tool's own edits."""

import numpy as np
import pytest

from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.viewer import corrector, review
from cellseg_nb.viewer.canvas import Canvas

SIZE = (2.0, 2.0, 2.0)


@pytest.fixture(scope="module")
def spoiled():
    """A volume, its truth, and labels with each kind of mistake: {what: cells}."""
    image, truth = simulate.volume((40, 72, 72), 60, seed=7, dim=0.5)
    canvas = Canvas(truth, SIZE)
    rng = np.random.default_rng(0)
    chosen = rng.permutation(np.arange(1, truth.max() + 1))[:12].tolist()
    wrong = {"missed": chosen[:3], "shrunk": chosen[3:6], "halved": chosen[6:9], "merged": chosen[9:12]}
    for cell in wrong["missed"]:
        canvas.delete(cell)
    for cell in wrong["shrunk"]:
        centre = np.array(canvas.centre(cell))
        canvas.delete(cell)
        canvas.paint([centre], 4.0, cell)
    for cell in wrong["halved"]:
        box = canvas.box(cell)
        middle = [(part.start + part.stop) // 2 for part in box]
        canvas.split((middle[0], middle[1], box[2].start + 1), (middle[0], middle[1], box[2].stop - 2))
    invented = canvas.new_number()
    dark = np.argwhere((truth == 0) & (image < np.percentile(image, 20)))
    canvas.paint([dark[len(dark) // 2]], 6.0, invented)
    for cell in wrong["merged"]:  # with its nearest neighbour
        centres = {n: np.array(canvas.centre(n)) for n in canvas.numbers() if n != cell and n not in chosen}
        here = np.array(canvas.centre(cell))
        canvas.merge(cell, min(centres, key=lambda n: ((centres[n] - here) ** 2).sum()))
    return image, truth, canvas.labels


def test_what_is_wrong_comes_first(spoiled):
    image, truth, labels = spoiled
    items = review.queue(image, labels, None, SIZE)
    assert len({item.number for item in items if item.number}) == len(np.unique(labels)) - 1
    doubts = [item.doubt for item in items]
    assert doubts == sorted(doubts, reverse=True) and 0 <= min(doubts) and max(doubts) <= 1
    from cellseg_nb.evaluation import metrics

    bad = set(metrics.quality(truth, labels).invented.tolist())
    first = [item for item in items[: len(items) // 3]]
    assert len(bad & {item.number for item in first}) >= 0.8 * len(bad)
    assert sum(item.number == 0 and truth[item.place] > 0 for item in first) >= 2  # what has no label
    for item in items:
        assert labels[item.place] == item.number and item.why


def test_the_corrector_mends_each_kind_of_mistake(spoiled):
    image, truth, labels = spoiled
    items = review.queue(image, labels, None, SIZE)
    canvas = Canvas(labels, SIZE)
    table = corrector.correct(canvas, truth, items)
    assert table.f1.iloc[0] < 0.9 and table.f1.iloc[-1] > 0.97
    did = " ".join(table.did)
    assert all(word in did for word in ("delete", "split", "merge", "paint", "new"))
    assert table.minutes.is_monotonic_increasing and table.corrections.iloc[-1] == len(canvas.done) + sum(
        row.split(", ").count("new") for row in table.did
    )
    random = corrector.correct(Canvas(labels, SIZE), truth, corrector.shuffled(items, 1))
    reached = [int(one.looked[one.f1 >= 0.95].iloc[0]) for one in (table, random)]
    assert reached[0] <= reached[1] / 2
    short = corrector.correct(Canvas(labels, SIZE), truth, items, limit=60)
    assert 1.0 <= short.minutes.iloc[-1] < 2.0
    for _ in range(len(canvas.done)):
        canvas.undo()
    assert np.array_equal(canvas.labels, labels)  # nothing but undoable edits


def test_the_queue_learns_from_what_was_decided(spoiled):
    """Somebody mends whatever is dim, and accepts the rest: what is dim comes first."""
    image, truth, labels = spoiled
    items = review.queue(image, labels, None, SIZE)
    column = list(review.REASONS).index("contrast")
    dim = [item for item in items if item.reasons[column] > 0.1]
    assert len(dim) > 5 and len(items[0].reasons) == len(review.REASONS)
    seen = [(item, item in dim) for item in items[::2]]
    left = items[1::2]
    again = review.learned(left, seen)
    assert {item.number for item in again} == {item.number for item in left}
    near = {item.place for item in dim}
    ranks = [[n for n, item in enumerate(order) if item.place in near] for order in (left, again)]
    assert sum(ranks[1]) < sum(ranks[0])
    assert [item.doubt for item in again] == sorted((item.doubt for item in again), reverse=True)
    assert review.learned(left, []) == left and review.learned([], seen) == []
    fixed, learning = (
        corrector.correct(Canvas(labels, SIZE), truth, items, learn=on) for on in (False, True)
    )
    assert (
        fixed.did.iloc[:6].tolist() == learning.did.iloc[:6].tolist()
    )  # the first five are those of the queue
    assert learning.f1.iloc[-1] > 0.97


def test_nothing_to_look_at_and_other_shapes(spoiled):
    image, truth, _ = spoiled
    empty = review.queue(image, np.zeros_like(truth), None, SIZE)
    assert empty and {item.number for item in empty} == {0}
    with pytest.raises(UserError, match="must agree"):
        review.queue(image, truth[1:])
