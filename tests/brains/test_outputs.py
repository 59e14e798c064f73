"""Densities, points, statistics over streamed histograms, coarse maps looked up by place."""

import time
import tracemalloc
from xml.etree import ElementTree

import numpy as np
import pandas
import pytest

from cellseg_nb.brains import nearest, outputs, overview, plan, run, segment, sources, stages, statistics
from cellseg_nb.data import brain
from cellseg_nb.errors import UserError

CELLS = pandas.DataFrame(
    {"z": [0.2, 3.0, 9.4], "y": [1.25, 1.0, 4.0], "x": [2.0, 2.4, 19.0], "label": [1, 2, 3]}
)


def test_densities_count_every_cell_and_true_volumes():
    found = outputs.density(CELLS, (10, 5, 20), (5.0, 5.0, 5.0), 20.0)
    assert found.shape == (3, 2, 5) and found.dtype == np.float32
    box = 20.0**3 * 1e-9
    assert found[0, 0, 0] == pytest.approx(2 / box)
    # the last box holds half of its depth, and a quarter of its height
    assert found[2, 1, 4] == pytest.approx(1 / (box / 2 / 4)) and np.count_nonzero(found) == 2


def test_points_as_brainglobe_reads_them(tmp_path):
    outputs.points(tmp_path, CELLS, "a & b")
    marked = ElementTree.parse(tmp_path / "points.xml").iter("Marker")
    found = [[int(one.find(f"Marker{axis}").text) for axis in "ZYX"] for one in marked]
    assert found == [[0, 1, 2], [3, 1, 2], [9, 4, 19]]
    assert pandas.read_csv(tmp_path / "points.csv").loc[2].to_dict() == {"x": 19, "y": 4, "z": 9, "type": 2}


def test_tables_as_csv_and_parquet(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(outputs, "ROWS", 2)  # in two parts
    outputs.table(tmp_path, CELLS)
    for found in (pandas.read_csv(tmp_path / "cells.csv"), pandas.read_parquet(tmp_path / "cells.parquet")):
        pandas.testing.assert_frame_equal(found, CELLS)
    outputs.table(tmp_path, CELLS.iloc[:0])
    assert len(pandas.read_parquet(tmp_path / "cells.parquet")) == 0


def test_streamed_statistics_are_those_of_all_voxels():
    from skimage.filters import threshold_otsu

    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 3, 90_000), rng.normal(40, 8, 10_000)])
    bins = -20.0, 100 / statistics.BINS
    at = np.clip((values - bins[0]) / bins[1], 0, statistics.BINS - 1).astype(int)
    counts = np.bincount(at, minlength=statistics.BINS)
    assert statistics.otsu(counts, bins) == pytest.approx(threshold_otsu(values, nbins=8192), abs=0.1)
    assert statistics.percentile(counts, bins, 99) == pytest.approx(np.percentile(values, 99), abs=0.05)
    mad = 1.4826 * np.median(np.abs(values - np.median(values)))
    assert statistics.noise(counts, bins) == pytest.approx(mad, abs=0.05)


def test_coarse_maps_do_not_depend_on_the_box():
    field = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    whole = tuple(slice(0, s) for s in (13, 20, 23))
    part = slice(3, 9), slice(0, 20), slice(7, 8)
    for look in (overview.linear, overview.nearest):
        assert np.array_equal(look(field, (4, 4, 4), whole)[part], look(field, (4, 4, 4), part))
    assert overview.linear(field, (1, 1, 1), (slice(0, 4), slice(0, 5), slice(0, 6))) == pytest.approx(field)


def test_a_brain_is_the_same_in_pieces():
    shape = (70, 80, 90)
    image, labels = brain.render((slice(None),) * 3, shape, seed=3)
    part = slice(10, 50), slice(30, 80), slice(5, 66)
    piece, numbers = brain.render(part, shape, seed=3)
    assert np.array_equal(image[part], piece) and np.array_equal(labels[part], numbers)
    number, places, _, _ = brain.cells((slice(0, 70), slice(0, 80), slice(0, 90)), shape, 3)
    inside = labels[tuple(np.rint(places).astype(int).T)]
    assert len(number) > 30 and (inside == number).mean() > 0.95
    assert image[0].max() < 130 and not labels[0].any()  # an empty border
    with pytest.raises(UserError, match="shape must be"):
        brain.render((slice(None),) * 3, (8, 90, 90))


@pytest.fixture(scope="module")
def measured(small_brain, tmp_path_factory):
    source = sources.find(small_brain)
    how = segment.recipe("otsu", 16.0, source.voxel_size)
    folder = tmp_path_factory.mktemp("measured")
    return run.measure(None, run.begin(source, folder, run.look(source, 16.0), how, 48))[0]


def test_a_plan_does_not_take_imports_for_work(measured, monkeypatch):
    """What a process's first block does beside its work is not in the plan."""
    seen, quick = [], stages.pieces

    def cold(job, block, probability=None):
        seen.append(block)
        time.sleep(0.5 * (len(seen) == 1))
        return quick(job, block, probability)

    monkeypatch.setattr(stages, "pieces", cold)
    found = plan.plan(None, measured)
    assert len(seen) == 2 and seen[1].shape == (48,) * 3 and max(seen[0].shape) <= plan.SMALL
    assert found["core_seconds"] < 0.5 * found["in_chunks"] / 48**3
    assert found["disk"] > 1e6


def test_a_block_holds_few_copies_of_what_it_reads(measured, monkeypatch):
    """The image of two bytes, what rises above the ground in four, the core: no more is held at a time."""
    block = max(measured.grid(), key=lambda one: np.prod([s.stop - s.start for s in one.outer]))
    image = measured.source.read(block.outer)
    monkeypatch.setattr(sources.Source, "read", lambda self, box: image.copy())
    monkeypatch.setattr(nearest, "BATCH", 1 << 12)  # a batch's pairs take the same for any block
    stages.pieces(measured, block)
    tracemalloc.start()
    stages.pieces(measured, block)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 9 * image.size
