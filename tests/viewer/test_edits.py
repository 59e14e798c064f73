"""Edits as pure functions, and the canvas that carries them out: whatever is done can be undone."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cellseg_nb.errors import UserError
from cellseg_nb.viewer import edits
from cellseg_nb.viewer.canvas import Canvas

SHAPE = (8, 12, 10)
point = st.tuples(*[st.integers(-2, side + 1) for side in SHAPE])
number = st.integers(1, 6)
radius = st.floats(0.3, 5)
axis = st.sampled_from([None, 0, 1, 2])
step = st.one_of(
    st.tuples(st.just("paint"), st.lists(point, min_size=1, max_size=4), radius, number, axis, st.booleans()),
    st.tuples(st.just("erase"), st.lists(point, min_size=1, max_size=4), radius, axis),
    st.tuples(st.just("delete"), number),
    st.tuples(st.just("merge"), number, number),
    st.tuples(st.just("fill"), number, axis, st.integers(0, 7)),
    st.tuples(st.just("split"), point, point),
    st.tuples(st.just("interpolate"), number, st.integers(0, 2)),
)


def cells(seed=0):
    labels = np.zeros(SHAPE, np.int32)
    rng = np.random.default_rng(seed)
    for number in range(1, 5):
        centre = [rng.uniform(1, side - 1) for side in SHAPE]
        diff = edits.paint(labels, [centre], 2.5, number)
        labels.reshape(-1)[diff.where] = diff.after
    return labels


@settings(max_examples=150, deadline=None)
@given(st.lists(step, max_size=12), st.integers(0, 5), st.data())
def test_all_edits_are_undone_and_redone(steps, seed, data):
    canvas = Canvas(cells(seed), (2.0, 1.0, 1.5))
    states = [canvas.labels.copy()]
    for name, *given_ in steps:
        before = canvas.labels.copy()
        try:
            diff = getattr(canvas, name)(*given_)
        except UserError:
            assert np.array_equal(canvas.labels, before)  # refused: nothing has changed
            continue
        changed = np.flatnonzero(before != canvas.labels)
        assert np.array_equal(np.sort(diff.where), changed)
        if len(changed):
            states.append(canvas.labels.copy())
    assert canvas.numbers() == np.unique(canvas.labels[canvas.labels > 0]).tolist()
    for number in canvas.numbers():
        assert canvas.labels[canvas.box(number)].size and (canvas.labels[canvas.box(number)] == number).any()
        inside = np.zeros(SHAPE, bool)
        inside[canvas.box(number)] = True
        assert not (canvas.labels == number)[~inside].any()
    back = data.draw(st.integers(0, len(states) - 1))
    for state in states[-2 : -2 - back : -1] if back else []:
        canvas.undo()
        assert np.array_equal(canvas.labels, state)
    for state in states[len(states) - back :]:
        canvas.redo()
        assert np.array_equal(canvas.labels, state)


def test_a_ball_is_as_wide_in_micrometres_along_every_axis():
    voxels = edits.ball(4.0, (2.0, 1.0, 0.5))
    assert np.abs(voxels).max(0).tolist() == [2, 4, 8]
    assert (((voxels * (2.0, 1.0, 0.5)) ** 2).sum(1) <= 16).all()
    assert set(edits.ball(4.0, (2.0, 1.0, 0.5), axis=1)[:, 1]) == {0}
    assert edits.ball(0.1).tolist() == [[0, 0, 0]]  # never nothing


def test_a_fast_stroke_leaves_no_gap_and_keeps_other_cells():
    labels = np.zeros((3, 20, 60), np.int32)
    labels[1, 10, 30] = 7
    diff = edits.paint(labels, [(1, 10, 2), (1, 10, 57)], 1.0, 3, axis=0)
    canvas = Canvas(labels)
    canvas.apply(diff)
    line = canvas.labels[1, 10]
    assert line[30] == 7 and (np.delete(line[2:58], 28) == 3).all() and not canvas.labels[0].any()
    canvas.paint([(1, 10, 30)], 1.0, 3, axis=0, over=True)
    assert canvas.labels[1, 10, 30] == 3


def test_split_runs_through_the_waist():
    grid = np.mgrid[:20, :20, :40]
    two = [
        ((grid - np.array(c)[:, None, None, None]) ** 2).sum(0) <= 49 for c in ((10, 10, 12), (10, 10, 25))
    ]
    canvas = Canvas((two[0] | two[1]).astype(np.int32) * 5)
    canvas.split((10, 10, 12), (10, 10, 25))
    assert canvas.numbers() == [5, 6]
    assert abs(np.argwhere(canvas.labels == 6)[:, 2].min() - 19) <= 1
    with pytest.raises(UserError, match="in one cell"):
        canvas.split((10, 10, 12), (10, 10, 25))
    with pytest.raises(UserError, match="one voxel"):
        canvas.split((10, 10, 12), (10, 10, 12))


def test_interpolate_and_fill():
    labels = np.zeros((9, 20, 20), np.int32)
    labels[1, 4:10, 4:10] = labels[7, 8:14, 8:14] = 2
    canvas = Canvas(labels)
    canvas.interpolate(2)
    assert all((canvas.labels[z] == 2).any() for z in range(1, 8))
    assert np.allclose(np.argwhere(canvas.labels[4] == 2).mean(0), 8.5)  # halfway between 6.5 and 10.5
    with pytest.raises(UserError, match="no slice to fill in"):
        canvas.interpolate(2)
    ring = np.zeros((3, 9, 9), np.int32)
    ring[1, 2:7, 2:7] = 4
    ring[1, 3:6, 3:6] = 0
    ring[1, 4, 4] = 9
    canvas = Canvas(ring)
    canvas.fill(4, 0, 1)
    assert (canvas.labels == 4).sum() == 24 and canvas.labels[1, 4, 4] == 9
    with pytest.raises(UserError, match="no hole"):
        canvas.fill(4, 0, 1)


def test_numbers_run_out_with_a_word():
    labels = np.arange(1, edits.LARGEST + 1, dtype=np.int32).reshape(3, 5, -1)
    canvas = Canvas(labels)
    with pytest.raises(UserError, match="all 65535 numbers"):
        canvas.new_number()
    canvas.delete(17)
    assert canvas.new_number() == 17
    with pytest.raises(UserError, match="at most 65535"):
        Canvas(labels + 1)
    with pytest.raises(UserError, match="whole numbers"):
        Canvas(labels.astype(float))


def test_what_cannot_be_done_is_told():
    canvas = Canvas(cells())
    for words, act in {
        "radius": lambda: canvas.paint([(1, 1, 1)], 0, 1),
        "points": lambda: canvas.paint([], 1, 1),
        "numbered 1 to": lambda: canvas.paint([(1, 1, 1)], 1, 0),
        "no cell 99": lambda: canvas.delete(99),
        "with itself": lambda: canvas.merge(1, 1),
        "nothing to undo": canvas.undo,
        "nothing to redo": canvas.redo,
    }.items():
        with pytest.raises(UserError, match=words):
            act()


def test_old_edits_are_forgotten_when_they_fill_the_memory(monkeypatch):
    monkeypatch.setattr("cellseg_nb.viewer.canvas.REMEMBERED", 16 * 300)
    canvas = Canvas(np.zeros((4, 20, 20), np.int32))
    for x in range(20):
        canvas.paint([(2, 10, x)], 3, 1, over=True)
        canvas.erase([(2, 10, x)], 3)
    assert 1 <= len(canvas.done) < 40
