"""Thin volumes in notebook 00: the training cube is chosen from what is there."""

import numpy as np
import pytest

from cellseg_nb import parameters, runs
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes as io_volumes
from cellseg_nb.learning.guided import cube_batches
from cellseg_nb.lessons import quickstart

DEFAULTS = runs.parameters(runs.find("00_quickstart"))


def steps(tmp_path, slices, size, **changes):
    """What notebook 00 does before it trains, and the first batch."""
    image, _ = simulate.volume((slices, 56, 60), 12, seed=1)
    io_volumes.write(tmp_path / "thin.tif", image, size)
    given = {**DEFAULTS, "images": str(tmp_path / "thin.tif"), "out": str(tmp_path / "out"), **changes}
    choice = quickstart.resolved(parameters.check(quickstart.PARAMETERS, given))
    volumes = quickstart.load(choice)
    diameter = quickstart.cell_size(choice, volumes)
    working = quickstart.resampled(volumes, [one.image for one in volumes], choice, diameter)
    options = quickstart.settings(choice, volumes[0].voxel_size, diameter, working)
    batch = next(iter(cube_batches(working, options["cube"], 2, 1)(0, np.random.default_rng(0))))
    assert batch.shape[2:] == (options["cube"],) * 3
    return options["cube"], min(working[0].shape)


@pytest.mark.parametrize("slices, cube", [(16, 16), (20, 16), (23, 16), (25, 24), (33, 32), (48, 32)])
def test_the_cube_fits_the_thinnest_side(tmp_path, slices, cube):
    assert steps(tmp_path, slices, (1, 1, 1), cell_diameter="0")[0] == cube


@pytest.mark.parametrize("size", [None, (1, 1, 1), (2, 0.5, 0.5), (2, 1, 1), (5, 5, 5)])
@pytest.mark.parametrize("slices", [18, 20, 28])
def test_thin_volumes_of_any_voxel_size(tmp_path, slices, size):
    cube, thinnest = steps(tmp_path, slices, size)
    assert 16 <= cube <= min(32, thinnest) and cube % 8 == 0


def test_the_paper_takes_thin_volumes_too(tmp_path):
    assert steps(tmp_path, 20, (1, 1, 1), profile="paper")[0] == 16


def test_too_thin_is_said_with_a_remedy_that_exists(tmp_path):
    with pytest.raises(UserError, match="smaller than one cube of 16 voxels a side: give a larger volume"):
        steps(tmp_path, 12, (1, 1, 1), cell_diameter="0")
    assert steps(tmp_path, 16, (1, 1, 1), cell_diameter="0")[0] == 16  # the remedy
