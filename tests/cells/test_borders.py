"""The steps for the mouse skull: closing, and joining of touching cells whose border is bright."""

import numpy as np
import pytest

from cellseg_nb.cells import borders, instances
from cellseg_nb.errors import UserError


def test_closing_fills_what_is_narrower_than_the_ball():
    ball = np.linalg.norm(np.mgrid[-9:10, -9:10, -9:10], axis=0)
    shell = ((ball < 8) & (ball > 5)).astype(np.float32)
    found = borders.closed(shell)
    assert found.dtype == np.float32 and found.shape == shell.shape
    assert (found[ball < 8] == 1).all() and found[0, 0, 0] == 0
    assert np.array_equal(borders.closed(shell, 0), shell)
    with pytest.raises(UserError, match="is needed"):
        borders.closed(shell[0])


def test_closing_leaves_a_gap_that_is_wider():
    far = np.zeros((24, 24, 64), np.float32)
    far[10:14, 10:14, 8:12] = far[10:14, 10:14, 50:54] = 1
    assert np.array_equal(borders.closed(far, 4) > 0, far > 0)


def test_touching_cells_are_joined_where_their_border_is_bright():
    labels = np.zeros((3, 6, 12), np.int32)
    labels[:, 1:5, 0:3], labels[:, 1:5, 3:6], labels[:, 1:5, 6:9] = 1, 2, 3
    image = np.full(labels.shape, 20.0)
    image[..., 2:4] = 60  # between 1 and 2
    found = borders.merged(labels, image)
    assert instances.count(found) == 2 and found.dtype == np.int32
    assert len(np.unique(found[..., 0:6][labels[..., 0:6] > 0])) == 1
    assert instances.count(borders.merged(labels, image, 10, 100)) == 1
    assert instances.count(borders.merged(labels, image, 70, 100)) == 3
    assert np.array_equal(found > 0, labels > 0)
    assert not borders.merged(np.zeros((2, 2, 2), int), np.zeros((2, 2, 2))).any()
    with pytest.raises(UserError, match="must be the same"):
        borders.merged(labels, image[0])


def test_a_hollow_nucleus_of_the_skull_is_one_cell():
    ball = np.linalg.norm(np.mgrid[-11:12, -11:12, -11:12], axis=0)
    rim = np.exp(-(((ball - 8) / 2) ** 2)).astype(np.float32)
    rim += 0.01 * np.random.default_rng(0).random(rim.shape, np.float32)
    assert instances.count(instances.published(rim)) > 1  # spots all along the rim
    assert instances.count(borders.skull(rim)) == 1
