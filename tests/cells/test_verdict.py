import numpy as np
import pytest
from scipy import ndimage as ndi

from cellseg_nb import instances, simulate, volumes
from cellseg_nb.cells import spots, verdict


@pytest.fixture(scope="module")
def sample():
    image, labels = simulate.volume((48, 64, 64), 40, seed=12)
    return volumes.remap(image), labels


def test_true_cells_are_ok(sample):
    assert verdict.judge(*sample).level == "ok"


def wide(labels):
    distance, nearest = ndi.distance_transform_edt(labels == 0, return_indices=True)
    return np.where(distance < 2.5, labels[tuple(nearest)], 0)


def noise(labels):
    blurred = ndi.gaussian_filter(np.random.default_rng(0).normal(size=labels.shape), 1.5)
    return instances.filter_size(instances.connected(blurred, np.percentile(blurred, 95)), 5)


@pytest.mark.parametrize(
    "spoil, word",
    [
        (wide, "too wide"),
        (noise, "noise"),
        (np.zeros_like, "no cells"),
        (lambda labels: (wide(labels) > 0).astype(int), "too wide"),
        (np.ones_like, "broad regions"),
    ],
)
def test_bad_cells_are_not(sample, spoil, word):
    found = verdict.judge(sample[0], spoil(sample[1]))
    assert found.level == "failed" and word in found.text


def test_half_of_the_cells_is_doubtful(sample):
    assert verdict.judge(sample[0], np.where(sample[1] % 2, sample[1], 0)).level == "doubtful"


def test_an_empty_volume():
    empty = volumes.remap(np.random.default_rng(0).normal(100, 5, (32, 48, 48)))
    found = verdict.judge(empty, np.zeros(empty.shape, int))
    assert found.level == "failed" and "is it empty" in found.text


def test_spots_are_the_cells(sample):
    places, strength, least = spots.find(sample[0], (8.0, 8.0, 8.0))
    assert least >= spots.ROSE and (np.diff(strength) <= 0).all()
    hit = sample[1][tuple(places.T)]
    assert (hit > 0).all() and len(places) > 0.7 * sample[1].max()
    labels = spots.labels(sample[0], places, strength, (8.0, 8.0, 8.0))
    assert labels.max() == len(places) and (labels[tuple(places.T)] == np.arange(1, len(places) + 1)).all()


def test_more_dark_spots_than_bright_ones_raise_the_threshold():
    bright, dark = np.linspace(40, 5, 50), np.linspace(20, 5, 30)
    assert spots.threshold(bright, dark[:0]) < spots.threshold(bright, dark) <= 20.1


def test_cells_that_fill_the_volume_are_no_noise():
    """Between cells packed side by side the median deviation is theirs: spots are seen all the same."""
    grid = np.stack(np.meshgrid(*[np.arange(48)] * 3, indexing="ij"))
    packed = np.prod(np.cos(grid * np.pi / 8) ** 2, 0) * 100 + np.random.default_rng(0).normal(
        0, 0.1, (48,) * 3
    )
    packed = packed.astype(np.float32)
    cells = instances.connected(packed, 10)
    assert instances.count(instances.filter_contrast(cells, packed, 6, 2.0)) == instances.count(cells)
    assert verdict.judge(packed, np.where(cells < 9, cells, 0)).level == "failed"
    assert verdict.judge(packed, cells).level == "ok"


def test_fibres_are_no_missed_cells_where_cells_are_small():
    rng = np.random.default_rng(0)
    volume = rng.normal(100, 1, (24, 64, 64)).astype(np.float32)
    labels = np.zeros(volume.shape, int)
    for number, at in enumerate(rng.integers((2, 6, 6), (22, 58, 58), (30, 3)), 1):
        box = tuple(slice(a - r, a + r + 1) for a, r in zip(at, (0, 2, 2)))
        volume[box], labels[box] = 160, number
    volume[:, 20:24] += 60  # a sheet through the volume
    found = verdict.judge(volume, labels, diameter=(1.5, 5.0, 5.0))
    assert found.numbers["covered"] > 0.9 and found.level != "failed"
    assert verdict.judge(volume, np.roll(labels, 9, 2), diameter=(1.5, 5.0, 5.0)).level == "failed"


def test_cells_may_fill_much_of_a_volume(sample, monkeypatch):
    """That is not broad as long as they are bright up to a steep edge, and nothing else is called cell."""
    image, labels = sample
    monkeypatch.setattr(verdict, "BROAD", 0.8 * (labels > 0).mean())
    assert verdict.judge(image, labels).level == "ok"
    for called in (np.ones(labels.shape), ndi.binary_dilation(labels, iterations=2)):
        found = verdict.judge(image, labels, called)
        assert found.level == "failed" and "broad regions" in found.text


def test_huge_cells_with_soft_edges_may_fill_a_volume():
    """A quarter of their height is left at their outlines: they had been called broad regions."""
    grid = np.ogrid[:40, :60, :60]
    away = [sum((g - c) ** 2 for g, c in zip(grid, at)) ** 0.5 for at in [(20, 15, 15), (20, 44, 44)]]
    labels = np.where(away[0] < 19, 1, np.where(away[1] < 19, 2, 0))
    image = 100 + 100 * np.clip((22.3 - np.minimum(*away)) / 15, 0, 1)
    image += np.random.default_rng(0).normal(0, 2, image.shape)
    found = verdict.judge(image, labels, diameter=(36.0,) * 3)
    assert found.level == "ok"
    assert found.numbers["share"] > verdict.BROAD and 0.2 < found.numbers["rim"] < 0.3


@pytest.mark.parametrize("cells, level", [(3, "doubtful"), (0, "ok")])
def test_specks_beside_a_few_cells_are_doubtful(cells, level):
    """Many specks outlined, and three cells that hold most of what is."""
    grid, labels = np.ogrid[:40, :64, :64], np.zeros((40, 64, 64), int)
    places = np.argwhere(np.ones((3, 5, 5)))[::2] * (10, 11, 11) + (8, 8, 8)
    for number, at in enumerate(places, 1):
        labels[sum((g - c) ** 2 for g, c in zip(grid, at)) < (30 if number <= cells else 5)] = number
    volume = ndi.gaussian_filter(100.0 * (labels > 0), 0.7)
    volume += np.random.default_rng(0).normal(20, 1, volume.shape)
    found = verdict.judge(volume, labels, diameter=(4.0,) * 3)
    assert found.level == level and ("specks" in found.text) == (cells > 0), found
