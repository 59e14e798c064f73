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
