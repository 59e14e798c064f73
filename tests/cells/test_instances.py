"""Instances on shapes whose answer is known; filters; the table of cells."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import ndimage as ndi

from cellseg_nb.cells import instances
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics


def balls(centres, radius=5, shape=(24, 32, 48), size=(1, 1, 1)):
    """Probability 1 inside the balls; centres in voxels, radius and voxel size in the same unit."""
    grid = np.ogrid[tuple(slice(s) for s in shape)]
    inside = [
        sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, size)) <= radius**2 for centre in centres
    ]
    return np.any(inside, axis=0).astype(np.float32)


APART = [(12, 10, 10), (12, 20, 36)]
TOUCHING = [(12, 16, 15), (12, 16, 24)]
METHODS = {
    "connected": instances.connected,
    "watershed": instances.watershed,
    "voronoi_otsu": lambda p: instances.voronoi_otsu(p, 2.0, 0.5, threshold=0.5),
}


@pytest.mark.parametrize("name", METHODS)
def test_two_cells_apart(name):
    p = balls(APART)
    labels = METHODS[name](p)
    assert labels.dtype == np.int32 and labels.max() == 2
    assert metrics.dice(labels, p > 0.5) > 0.97


@pytest.mark.parametrize("name, count", [("connected", 1), ("watershed", 2), ("voronoi_otsu", 2)])
def test_two_cells_that_touch(name, count):
    labels = METHODS[name](balls(TOUCHING))
    assert labels.max() == count
    if count == 2:
        assert labels[12, 16, 12] != labels[12, 16, 27]


@pytest.mark.parametrize("name", METHODS)
def test_nothing_there(name):
    labels = METHODS[name](np.zeros((8, 8, 8), np.float32))
    assert labels.max() == 0 and labels.shape == (8, 8, 8)


def test_otsu_finds_its_own_threshold():
    image, truth = simulate.volume((32, 48, 48), 12, 0, dim=0.9)
    labels = instances.filter_size(instances.voronoi_otsu(image, 1.0, 0.5), 5)
    assert metrics.match(truth, labels, 0.5).f1[0] > 0.9


def test_spots_from_another_volume():
    p = balls(TOUCHING, radius=6)
    from scipy.ndimage import gaussian_filter

    spots = gaussian_filter(balls(TOUCHING, radius=1), 3)
    assert instances.voronoi_otsu(p, 1.0, 0.5, threshold=0.5, spots=spots).max() == 2


def test_anisotropy_is_seen():
    """Two cells above each other, 4 voxels apart along a coarse z: apart in µm, and one blob to who ignores
    it."""
    size = (4, 1, 1)
    p = balls([(6, 16, 16), (9, 16, 16)], radius=7, shape=(16, 32, 32), size=size)
    assert instances.watershed(p, voxel_size=size).max() == 2
    assert instances.voronoi_otsu(p, 3.0, 0.5, size, 0.5).max() == 2


def test_a_plateau_is_one_seed():
    p = np.zeros((9, 12, 12), np.float32)
    p[3:6, 2:10, 3:9] = 1
    assert instances.voronoi_otsu(p, 0, 0, threshold=0.5).max() == 1


def test_filters():
    labels = np.zeros((8, 10, 10), np.int32)
    labels[0, 0, 0], labels[4, 2:5, 2:5], labels[6:8, 6:, 6:] = 3, 7, 9
    assert np.bincount(instances.filter_size(labels, 2).ravel())[1:].tolist() == [9, 32]
    assert np.bincount(instances.filter_size(labels, 0, 10).ravel())[1:].tolist() == [1, 9]
    assert np.bincount(instances.filter_slices(labels, 1, 5).ravel())[1:].tolist() == [9]
    assert np.bincount(instances.filter_slices(labels, last=5).ravel())[1:].tolist() == [1, 9]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), low=st.integers(0, 20), high=st.integers(1, 60))
def test_filter_size_keeps_what_fits_numbered_anew(seed, low, high):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 12, (6, 6, 6)).astype(np.int32) * 3
    kept = instances.filter_size(labels, low, high)
    sizes = np.bincount(labels.ravel())
    expected = sorted(s for s in sizes[1:] if s and low <= s <= high)
    assert sorted(np.bincount(kept.ravel())[1:]) == expected
    assert kept.max() == len(expected)


def test_fill_closes_hollow_nuclei_and_leaves_neighbours():
    solid = balls([(12, 16, 14), (12, 16, 30)], radius=6)
    labels = instances.connected(solid)
    hollow = np.where(balls([(12, 16, 14), (12, 16, 30)], radius=4) > 0, 0, labels).astype(np.int32)
    assert np.array_equal(instances.fill(hollow, 1), labels)
    dented = labels.copy()
    dented[12, 16, 9:14] = 0
    assert (instances.fill(dented, 2)[12, 16, 10:14] == labels[12, 16, 14]).all()


def test_what_hardly_rises_above_the_noise_is_dropped():
    rng = np.random.default_rng(0)
    noise = rng.normal(100, 5, (24, 32, 48))
    bright, faint = (balls([centre], 4) > 0 for centre in ((12, 16, 12), (12, 16, 34)))
    image = noise + 60 * bright + 2 * faint
    labels = (bright + 2 * faint).astype(np.int32)
    kept = instances.filter_contrast(labels, image, 6)
    assert kept.dtype == np.int32 and kept.max() == 1 and np.array_equal(kept > 0, bright)
    assert instances.filter_contrast(labels, image, 0).max() == 2
    # no unit of brightness
    assert np.array_equal(instances.filter_contrast(labels, 1000 * image + 7, 6), kept)
    assert instances.filter_contrast(np.zeros_like(labels), image).max() == 0


def test_shells_are_made_solid_before_they_are_parted():
    """Parting the shells of two touching hollow nuclei cuts them up; closed before, they are two."""
    whole = balls([(12, 16, 14), (12, 16, 26)], radius=6) > 0
    shells = whole & ~ndi.binary_erosion(whole, iterations=2)
    assert instances.watershed(shells, 0, 0.5).max() > 2
    closed = instances.solid(shells, 1)
    assert metrics.dice(closed, whole) > 0.95 and instances.watershed(closed, 0, 0.5).max() == 2


def test_table_of_a_known_ball():
    size = (2.0, 0.5, 0.5)
    labels = balls([(12, 30, 40)], 10, (24, 64, 80), size).astype(np.int32)
    image = np.where(labels, 7.0, 1.0)
    row = instances.table(labels, image, size).iloc[0]
    assert (row.z, row.y, row.x) == pytest.approx((12, 30, 40)) and row.mean_intensity == 7
    assert (
        row.volume_um3
        == pytest.approx(row.volume_voxels * 0.5)
        == pytest.approx(4 / 3 * np.pi * 1000, rel=0.03)
    )
    assert row.equivalent_diameter_um == pytest.approx(20, rel=0.02)
    assert 0.8 < row.sphericity <= 1  # the surface of a ball made of boxes is larger than the ball's


def test_table_columns_rods_and_single_voxels():
    labels = np.zeros((10, 40, 10), np.int32)
    labels[4:6, 2:38, 4:6], labels[0, 0, 0] = 1, 2
    table = instances.table(labels)
    assert list(table.columns) == instances.COLUMNS and list(table.label) == [1, 2]
    assert table.sphericity[0] < 0.6 and table.volume_voxels[1] == 1 and table.mean_intensity.isna().all()
    empty = instances.table(np.zeros((4, 4, 4), np.int32))
    assert list(empty.columns) == instances.COLUMNS and len(empty) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: instances.connected(np.zeros((4, 4))),
        lambda: instances.table(np.zeros((4, 4), int)),
        lambda: instances.voronoi_otsu(np.zeros((4, 4, 4)), voxel_size=(1, 2)),
        lambda: instances.table(np.ones((4, 4, 4), int), np.ones((4, 4, 5))),
    ],
)
def test_bad_input(call):
    with pytest.raises(UserError):
        call()
