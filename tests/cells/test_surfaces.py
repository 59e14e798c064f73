"""All surfaces at once are what marching cubes gives cell by cell."""

import numpy as np
import pytest
from skimage.measure import marching_cubes, mesh_surface_area

from cellseg_nb.cells.surfaces import PLANES, surfaces


@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (2.5, 0.8, 0.7)])
@pytest.mark.parametrize("shape", [(5, 6, 7), (2 * PLANES + 3, 8, 8), (PLANES - 1, 4, 4)])
def test_as_marching_cubes_of_each_label(shape, size):
    labels = (
        np.random.default_rng(0).integers(0, 4, shape) * 3
    )  # ragged, touching, at the rims; gaps in the ids
    area, volume = surfaces(labels, np.array(size))
    assert len(area) == len(volume) == 10
    for label in (3, 6, 9):
        mask = np.pad(labels == label, 1).astype(np.float32)
        points, faces, *_ = marching_cubes(mask, 0.5, spacing=size)
        a, b, c = (points[faces[:, i]].astype(float) for i in range(3))
        assert area[label] == pytest.approx(mesh_surface_area(points, faces), rel=1e-5)
        assert volume[label] == pytest.approx(abs(np.einsum("ij,ij->", a, np.cross(b, c))) / 6, rel=1e-4)
    assert area[[0, 1, 2, 4]].sum() == 0


def test_no_cells():
    area, volume = surfaces(np.zeros((3, 3, 3), np.int32), np.ones(3))
    assert area.tolist() == volume.tolist() == [0]
