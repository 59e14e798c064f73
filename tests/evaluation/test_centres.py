import numpy as np
import pytest

from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import centres


def test_as_many_pairs_as_possible_then_the_nearest():
    # greedy by distance would pair b with x (1 µm) and leave a and y alone
    true = np.array([[0, 0, 0], [0, 0, 4.0]])
    found = np.array([[0, 0, 3.0], [0, 0, 9.5]])
    assert centres.match_centres(true, found, tolerance=6)["tp"] == 2


def test_labels_in_micrometres():
    truth, labels = np.zeros((2, 10, 20, 20), int)
    truth[5, 5:8, 5:8] = 1
    labels[6, 5:8, 5:8] = 7
    assert centres.match_centres(truth, labels, (6, 1.6, 1.6), 6.0)["f1"] == 1
    assert centres.match_centres(truth, labels, (6, 1.6, 1.6), 5.9)["f1"] == 0


def test_nothing_to_find():
    empty = np.zeros((4, 4, 4), int)
    one = empty.copy()
    one[1, 1, 1] = 1
    assert centres.match_centres(empty, empty)["f1"] == 1
    assert centres.match_centres(one, empty) == {
        "tp": 0,
        "fp": 0,
        "fn": 1,
        "precision": 0,
        "recall": 0,
        "f1": 0,
    }


def test_bad_input():
    with pytest.raises(UserError, match="same volume"):
        centres.match_centres(np.zeros((4, 4, 4), int), np.zeros((4, 4, 5), int))
    with pytest.raises(UserError, match="tolerance"):
        centres.match_centres(np.zeros((4, 4, 4), int), np.zeros((4, 4, 4), int), tolerance=0)
