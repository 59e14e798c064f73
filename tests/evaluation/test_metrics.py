"""Dice and matching against slow, obvious implementations of the formulas (and StarDist's own, where it is
installed)."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics

COUNTS = ["fp", "tp", "fn", "n_true", "n_pred"]


def random_pair(seed, shape=(6, 7, 8), cells=6):
    """Boxes as true cells; predictions are the same boxes moved, lost, split or merged. Ids are not
    consecutive."""
    rng = np.random.default_rng(seed)
    truth, prediction = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for number in range(1, cells + 1):
        corner = [int(rng.integers(0, side - 2)) for side in shape]
        size = rng.integers(1, 5, 3)
        truth[tuple(slice(c, c + s) for c, s in zip(corner, size))] = 3 * number
        moved = [max(0, c + int(rng.integers(-1, 2))) for c in corner]
        if rng.random() < 0.85:
            prediction[tuple(slice(c, c + s) for c, s in zip(moved, size))] = (
                int(rng.integers(1, cells + 3)) * 5
            )
    return truth, prediction


def slow_match(truth, prediction, threshold):
    """Try every one-to-one matching: most matched pairs, then the largest sum of IoUs (StarDist's costs)."""
    true, predicted = ([i for i in np.unique(x) if i] for x in (truth, prediction))
    iou = np.array(
        [
            [
                ((truth == t) & (prediction == p)).sum() / ((truth == t) | (prediction == p)).sum()
                for p in predicted
            ]
            for t in true
        ]
    ).reshape(len(true), len(predicted))
    if len(true) > len(predicted):
        iou = iou.T
    best, kept = -1.0, []
    for columns in itertools.permutations(range(iou.shape[1]), iou.shape[0]):
        scores = iou[np.arange(len(columns)), list(columns)]
        good = scores.astype(np.float32) >= np.float32(threshold)
        value = good.sum() + scores.sum() / (2 * max(1, len(scores)))
        if value > best:
            best, kept = value, scores[good]
    tp, score = len(kept), float(np.sum(kept))
    fp, fn = len(predicted) - tp, len(true) - tp

    def ratio(a, b):
        return a / b if b else 0.0

    return dict(
        fp=fp,
        tp=tp,
        fn=fn,
        precision=ratio(tp, tp + fp),
        recall=ratio(tp, tp + fn),
        accuracy=ratio(tp, tp + fp + fn),
        f1=ratio(2 * tp, 2 * tp + fp + fn),
        n_true=len(true),
        n_pred=len(predicted),
        mean_true_score=ratio(score, len(true)),
        mean_matched_score=ratio(score, tp),
        panoptic_quality=ratio(score, tp + fp / 2 + fn / 2),
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), cells=st.integers(0, 6))
def test_equals_trying_every_matching(seed, cells):
    truth, prediction = random_pair(seed, cells=cells)
    table = metrics.match(truth, prediction, (0.1, 0.3, 0.5, 0.7))
    for _, row in table.iterrows():
        for name, value in slow_match(truth, prediction, row.thresh).items():
            assert row[name] == pytest.approx(value, abs=1e-12), (row.thresh, name)


@pytest.mark.parametrize("slicewise", [False, True])
def test_equals_stardist_on_200_random_pairs(slicewise):
    """Counts to the unit; means to single precision, which is what StarDist adds the IoUs up in."""
    matching = pytest.importorskip("stardist.matching")
    for seed in range(200):
        truth, prediction = random_pair(seed, (8, 12, 12), 14)
        ours = metrics.match(truth, prediction, slicewise=slicewise)
        for _, row in ours.iterrows():
            if slicewise:
                theirs = matching.matching_dataset(
                    truth, prediction, thresh=row.thresh, by_image=False, show_progress=False
                )
            else:
                theirs = matching.matching(truth, prediction, thresh=row.thresh)
            for name in ours.columns:
                expected = getattr(theirs, name)
                assert row[name] == (
                    expected if isinstance(expected, str) else pytest.approx(expected, abs=1e-6)
                ), (seed, name)


def test_a_perfect_match():
    truth, _ = random_pair(1)
    table = metrics.match(truth, truth * 7)
    assert (table.f1 == 1).all() and (table.panoptic_quality == 1).all() and (table.fp == 0).all()


def test_two_halves_at_exactly_one_half():
    truth = np.ones((2, 4, 4), int)
    halves = truth.copy()
    halves[:, :, 2:] = 2
    row = metrics.match(truth, halves, 0.5).iloc[0]
    assert (row.tp, row.fp, row.fn) == (1, 1, 0) and row.mean_matched_score == 0.5


@pytest.mark.parametrize(
    "truth, prediction, expected", [(0, 0, (0, 0, 0)), (1, 0, (0, 0, 1)), (0, 1, (0, 1, 0))]
)
def test_no_cells_are_defined_values(truth, prediction, expected):
    a, b = (np.full((4, 4, 4), value, np.int32) for value in (truth, prediction))
    table = metrics.match(a, b)
    assert (table[["tp", "fp", "fn"]].to_numpy() == expected).all()
    assert np.isfinite(table.drop(columns="criterion").to_numpy(float)).all()


def test_slicewise_adds_up_the_slices():
    truth, prediction = random_pair(5)
    whole = metrics.match(truth, prediction, 0.5, slicewise=True).iloc[0]
    parts = [metrics.match(t[None], p[None], 0.5).iloc[0] for t, p in zip(truth, prediction)]
    for name in COUNTS:
        assert whole[name] == sum(part[name] for part in parts)
    assert whole.n_true > metrics.match(truth, prediction, 0.5).n_true[0]


def test_quality_names_the_cells():
    truth = np.zeros((3, 6, 6), int)
    truth[:, :2, :2], truth[:, 4:, 4:] = 4, 9
    prediction = np.zeros_like(truth)
    prediction[:, :2, :2], prediction[:, 0, 5] = 2, 7
    found = metrics.quality(truth, prediction)
    assert [list(part) for part in found] == [[4], [2], [9], [7]]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_dice(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 4, 4, 4)) < rng.random()
    both, either = (a & b).sum(), a.sum() + b.sum()
    assert metrics.dice(a, b) == pytest.approx(2 * both / either if either else 1.0)
    assert metrics.dice(a, b) == metrics.dice(b, a)


def test_best_threshold():
    truth = np.zeros((4, 4, 4), bool)
    truth[:2] = True
    best, table = metrics.best_threshold(np.where(truth, 0.6, 0.3), truth)
    assert 0.3 <= best < 0.6 and table.dice.max() == 1 and len(table) == 19


@pytest.mark.parametrize(
    "wrong, word",
    [
        (np.zeros((2, 2, 2)), "whole numbers"),
        (-np.ones((2, 2, 2), int), "negative"),
        (np.zeros((2, 2, 2), bool), "mask"),
        (np.zeros((2, 2, 3), int), "shape"),
    ],
)
def test_wrong_labels(wrong, word):
    with pytest.raises(UserError, match=word):
        metrics.match(np.zeros((2, 2, 2), int), wrong)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_ids_of_any_type_and_far_apart(dtype):
    truth = np.zeros((4, 6, 6), dtype)
    truth[:2, :3], truth[2:, 3:] = 3, np.iinfo(dtype).max // 2
    assert metrics.match(truth, truth, (0.5,)).tp[0] == 2
    assert metrics.quality(truth, np.roll(truth, 3, 1)).missed.tolist() == [3, np.iinfo(dtype).max // 2]
