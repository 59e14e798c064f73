"""The cell diameter from the volume alone, within a quarter of the truth."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from cellseg_nb import simulate
from cellseg_nb.cells.scale import blobs, cell_diameter, together, typical
from cellseg_nb.errors import UserError


def truth(labels, size=(1, 1, 1)):
    return float(np.median(np.cbrt(6 * np.bincount(labels.ravel())[1:] * np.prod(size) / np.pi)))


@pytest.mark.parametrize("radius", [(2.4, 3.0), (3.2, 4.6), (6.0, 8.0)])
def test_sizes(radius):
    image, labels = simulate.volume((48, 64, 64), 20, seed=3, radius=radius)
    assert cell_diameter(image) == pytest.approx(truth(labels), rel=0.25)


def test_flat_voxels():
    size = (3.0, 1.0, 1.0)
    image, labels = simulate.volume(
        (24, 64, 64), 25, seed=4, radius=(4, 6), voxel_size=size, blur=(0.4, 0.7, 0.7)
    )
    assert cell_diameter(image, size) == pytest.approx(truth(labels, size), rel=0.25)
    micro = cell_diameter(image, (1.5, 0.5, 0.5))
    assert micro == pytest.approx(cell_diameter(image, size) / 2, rel=0.02)


def test_disturbed():
    image, labels = simulate.volume((40, 56, 56), 20, seed=5)
    image = image.astype(float)
    hot = image.copy()
    hot[5, 5, 5] = hot[20, 20, 30] = 65535
    slope = image + np.linspace(0, 800, 56)
    for changed in (hot, slope, np.pad(image, 12)):
        assert cell_diameter(changed) == pytest.approx(truth(labels), rel=0.25)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("side", [1.0, 3.0])
def test_few_cells_in_a_haze(seed, side):
    """Between six cells, an uneven background has more blobs than there are cells, and far wider ones."""
    size = (side, 1.0, 1.0)
    options = dict(dim=0.4, uneven=0.3, background=300, photons=1, blur=(1, 0.6, 0.6))
    image, labels = simulate.volume((48, 90, 90), 6, seed, (4, 6), size, **options)
    assert cell_diameter(image, size) == pytest.approx(truth(labels, size), rel=0.25)


@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0)])
@pytest.mark.parametrize("radius, bright, cells", [(7, 6000, 20), (2, 3000, 8), (10, 1500, 40)])
def test_vessels(size, radius, bright, cells):
    """A bright tube across the volume, wider than the cells or narrower: it has many strong blobs."""
    image, labels = simulate.volume((36, 90, 90), cells, 2, (3.5, 5), size)
    z, y, x = np.ogrid[:36, :90, :90]
    away = np.hypot(y - 30 - z * size[0] / 3, x - 50 + 5 * np.sin(z * size[0] / 9))
    tube = ndi.gaussian_filter(np.where(away < radius, bright, 0).astype(float), 0.7)
    assert cell_diameter(image + tube, size) == pytest.approx(truth(labels, size), rel=0.25)


@pytest.mark.parametrize("cells", [6, 20])
def test_long_cells_are_no_vessels(cells):
    """Cells two and a half times as long as wide still count: a vessel goes on."""
    image, labels = simulate.volume((72, 48, 48), cells, 1, (3, 4.5), (0.4, 1, 1), uneven=0.3, background=200)
    width = truth(labels) / 2.5 ** (1 / 3)
    assert width < cell_diameter(image) < 1.25 * width


def test_a_stack_as_deep_as_a_cell():
    """Five planes: cells reach from border to border, and are not vessels for that."""
    size = (4.0, 1.0, 1.0)
    image, labels = simulate.volume((14, 96, 96), 25, 2, (6, 8), size)
    assert cell_diameter(image[5:10], size) == pytest.approx(truth(labels, size), rel=0.15)


def test_a_stack_less_than_two_cells_deep():
    """Most cells are cut by a border, and are not vessels for that: the diameter was 15 % too small."""
    size = (2.0, 1.0, 1.0)
    image, labels = simulate.volume((16, 64, 80), 25, 3, (3.5, 5.5), size, uneven=0.3, photons=1)
    assert cell_diameter(image[4:12], size) == pytest.approx(truth(labels, size), rel=0.1)


def test_nothing_to_measure():
    with pytest.raises(UserError, match="cell_diameter"):
        cell_diameter(np.zeros((32, 32, 32)))
    with pytest.raises(UserError, match="three dimensions"):
        cell_diameter(np.zeros((32, 32)))


def test_parts_count_by_what_stands_out_in_them():
    """A part without cells, where faint, broad blobs are all there is, does not make the cells wider."""
    image, labels = simulate.volume((40, 56, 56), 20, seed=5)
    broad = ndi.gaussian_filter(np.random.default_rng(0).normal(size=image.shape), 7)
    empty = 100 + broad * (0.05 * np.ptp(image.astype(float)) / np.ptp(broad))
    parts = [blobs(part) for part in (image, empty, empty[::-1])]
    assert min(typical(found) for found in parts[1:]) > 1.5 * typical(parts[0])
    assert typical(together(parts)) == pytest.approx(truth(labels), rel=0.25)


def _balls(shape, centres, radius, blur=1.0, seed=0):
    """A noisy volume of blurred balls of one radius (or one each), 1,000 high."""
    grid, image = np.ogrid[tuple(slice(s) for s in shape)], np.zeros(shape)
    for centre, r in zip(centres, np.broadcast_to(radius, len(centres))):
        image[sum((g - c) ** 2 for g, c in zip(grid, centre)) <= r**2] = 1000
    return ndi.gaussian_filter(image, blur) + np.random.default_rng(seed).normal(100, 30, shape)


def test_cells_at_the_border_only():
    """A weak speck inside had outvoted them: a diameter of 3 for 16."""
    centres = [(0, 20, 20), (0, 20, 60), (0, 60, 20), (0, 60, 60), (20, 0, 40), (20, 79, 40)]
    point = np.zeros((40, 80, 80))
    point[26, 40, 40] = 4000
    image = _balls(point.shape, centres, 8) + ndi.gaussian_filter(point, 1.0)
    assert 13 < cell_diameter(image) < 20


def test_few_cells_among_specks():
    """Points no wider than the microscope draws them, far more than cells: a diameter of 4 for 13."""
    centres = [(14, 14, 14), (16, 60, 20), (30, 40, 70), (34, 18, 50), (20, 76, 70), (36, 78, 36)]
    points = np.zeros((48, 90, 90))
    places = np.random.default_rng(1).integers(0, points.shape, (150, 3))
    points[tuple(places.T)] = np.random.default_rng(2).uniform(1e4, 4e4, 150)
    image = _balls(points.shape, centres, 7) + ndi.gaussian_filter(points, (1.9, 1.2, 1.2))
    assert 11 < cell_diameter(image) < 19


def test_small_cells_beside_a_few_large_ones():
    """Cells as narrow as specks are cells: the large ones do not hold so much more."""
    places = np.argwhere(np.ones((3, 6, 6))) * (12, 12, 12) + 9
    places = [p for p in places if max(abs(p - (21, 21, 21))) > 12]
    image = _balls((42, 80, 80), [(21, 21, 21), *places], [6, *[2] * len(places)], blur=0.7)
    assert 3.5 < cell_diameter(image) < 6


def test_one_cell_half_as_wide_as_the_volume():
    image = _balls((64, 64, 64), [(31, 30, 33)], 16)
    assert 30 < cell_diameter(image) < 38
