"""Cellpose and StarDist: from scratch, on small volumes; the same interface; no download, ever."""

import os
import signal
import socket
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from cellseg_nb import methods
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.learning import loop
from cellseg_nb.methods import settings, stardist_library

FAST = {
    "cellpose": dict(epochs=16, slices=32, bsize=32, device="cpu"),
    "stardist": dict(epochs=14, steps=25, patch=24, grid=2, rays=32, filters=16, features=32, device="cpu"),
}
SHORT = {
    "cellpose": dict(epochs=1, slices=8, bsize=32, device="cpu"),
    "stardist": dict(epochs=1, steps=1, patch=16, grid=2, filters=8, rays=32, device="cpu"),
}
SETTINGS = {
    "cellpose": ("cellprob_threshold", "flow_smooth", "min_size"),
    "stardist": ("prob_thresh", "nms_thresh", "min_size"),
}
NAMES = pytest.mark.parametrize("name", FAST)
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def pair():
    return simulate.volume((24, 36, 36), 14, seed=1)


@pytest.fixture(scope="module")
def trained(pair):
    """Each method trained once, when it is first asked for: name -> (method, history, untuned labels,
    table)."""
    made = {}

    def train(name):
        library(name)
        if name not in made:
            method = methods.get(name, **FAST[name])
            history = method.fit([pair[0]], [pair[1]], progress=False)
            before = method.segment(pair[0])
            made[name] = method, history, before, method.tune([pair[0]], [pair[1]])
        return made[name]

    return train


@pytest.fixture(scope="module")
def barely(pair):
    """Each method trained for a step or two, StarDist until it is stopped, once: name -> (method, history,
    lengths of the history that the callback got)."""
    made = {}

    def train(name):
        library(name)
        if name not in made:
            seen = []

            def told(history, model):
                seen.append(len(history))
                if len(history) == 2:
                    raise loop.Stop("enough")

            more = {"epochs": 5} if name == "stardist" else {}
            method = methods.get(name, **{**SHORT[name], **more}, seed=0)
            history = method.fit([pair[0]], [pair[1]], callbacks=[told], progress=False)
            made[name] = method, history, seen
        return made[name]

    return train


def library(name):
    if methods.missing_libraries(name):  # looked for, not imported
        pytest.skip(methods.lacking(name))


def f1(pair, labels):
    return metrics.match(pair[1], labels, (0.5,)).f1[0]


@slow
@NAMES
def test_trained_from_scratch_and_tuned_it_finds_the_cells(name, trained, pair):
    there = set(sys.modules)  # other tests of this process may have imported it
    method, history, before, table = trained(name)
    assert history[-1]["loss"] < history[0]["loss"]
    assert [row["epoch"] for row in history] == list(range(1, FAST[name]["epochs"] + 1))
    found = method.segment(pair[0])
    assert not {"tensorflow", "keras"} & (
        set(sys.modules) - there
    )  # on a GPU it would take memory, and keep it
    assert found.dtype == np.int32 and found.shape == pair[0].shape
    assert f1(pair, found) > 0.7 and f1(pair, found) >= f1(pair, before) - 1e-9
    assert f1(pair, found) == pytest.approx(table.f1.max(), abs=0.02)
    assert set(SETTINGS[name]) < set(table.columns) and len(table) > 5


@slow
@NAMES
def test_probability(name, trained, pair):
    probability = trained(name)[0].predict(pair[0])
    assert probability.shape == pair[0].shape and probability.dtype == np.float32
    assert 0 <= probability.min() and probability.max() <= 1
    assert probability[pair[1] > 0].mean() > probability[pair[1] == 0].mean() + 0.2


@slow
@NAMES
def test_saved_and_loaded_it_says_the_same(name, trained, pair, tmp_path, monkeypatch):
    method = trained(name)[0]
    path = method.save(tmp_path)
    assert path.parent == tmp_path and path.stem == name
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("no network is needed"))
    again = methods.method_class(name).load(path, device="cpu")
    assert all(getattr(again, setting) == getattr(method, setting) for setting in SETTINGS[name])
    assert np.array_equal(again.segment(pair[0]), method.segment(pair[0]))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        methods.method_class(name).load(tmp_path)


@slow
@NAMES
def test_what_was_computed_once_can_be_given(name, trained, pair):
    method = trained(name)[0]
    found = method.segment(pair[0])
    assert np.array_equal(method.segment(pair[0], method.maps(pair[0])), found)
    # a probability alone is not enough
    assert np.array_equal(method.segment(pair[0], np.zeros(pair[0].shape)), found)


@slow
def test_stardist_tunes_as_it_segments(trained, pair):
    """Its fast search gives the same cells as StarDist asked anew at each threshold."""
    method, _, _, table = trained("stardist")
    names = ("prob_thresh", "nms_thresh", "min_size")
    kept = {name: getattr(method, name) for name in names}
    try:
        for row in table.to_dict("records")[::8]:
            method.set(**{name: row[name] for name in names})
            assert f1(pair, method.segment(pair[0])) == pytest.approx(row["f1"], abs=1e-9)
    finally:
        method.set(**kept)


@slow
def test_stardist_segments_as_the_library_does(trained, pair):
    """With StarDist's own border, the labels are those of its `predict_instances`."""
    from cellseg_nb.cells import instances
    from cellseg_nb.learning import augmentation

    method = trained("stardist")[0]
    whole = stardist_library.Model(method.options, method.grid, method.anisotropy, "cpu")
    whole.target, whole.weights = "asked_elsewhere:Whole", method.model.weights
    method.options["border"] = 2
    try:
        theirs = whole.call("instances", augmentation.prepare(pair[0]), method.prob_thresh, method.nms_thresh)
        assert np.array_equal(
            method.segment(pair[0]), instances.filter_size(theirs.astype(np.int32), method.min_size)
        )
    finally:
        method.options["border"] = 0


@slow
@NAMES
def test_same_seed_same_start(name, barely, pair):
    losses = [barely(name)[1][0]["loss"]]
    for seed in (0, 4):
        method = methods.get(name, **SHORT[name], seed=seed)
        losses.append(method.fit([pair[0]], [pair[1]], progress=False)[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and losses[0] != pytest.approx(losses[2], rel=1e-3)


@slow
@NAMES
def test_flat_voxels(name):
    library(name)
    size = (2.0, 1.0, 1.0)
    image, labels = simulate.volume((12, 24, 24), 6, seed=2, voxel_size=size)
    flat = {"cellpose": {}, "stardist": dict(patch=(8, 16, 16), grid=None)}
    method = methods.get(name, **{**SHORT[name], **flat[name], "voxel_size": size})
    method.fit([image], [labels], progress=False)
    assert method.segment(image).shape == method.predict(image).shape == image.shape
    if name == "stardist":
        assert method.anisotropy == [2, 1, 1] and method.grid == [1, 2, 2]
    else:
        assert method.maps(image)[1].shape == (24, 24, 24)


@slow
def test_cellpose_as_published_resizes_and_uses_xy_slices(pair):
    library("cellpose")
    method = methods.get("cellpose", **{**SHORT["cellpose"], "planes": "xy", "rescale": True, "slices": 0})
    planes, masks = method._slices([pair[0]], [pair[1]])
    assert (
        len(planes) <= 24
        and {plane.shape for plane in planes} == {(36, 36)}
        and all(mask.any() for mask in masks)
    )
    method.fit([pair[0]], [pair[1]], progress=False)
    assert 3 < method.options["diameter"] < 9 and method.segment(pair[0]).shape == pair[0].shape


@slow
@NAMES
def test_not_trained_long_enough_it_gives_advice(name, barely, pair, capsys):
    method, _, seen = barely(name)
    table = method.tune([pair[0]], [pair[1]])
    assert seen[0] == 1 and table.f1.max() == 0
    assert "finds no cell in its own training volumes" in capsys.readouterr().out


def test_stardist_leaves_ctrl_c_as_it_was():
    pytest.importorskip("stardist")
    options = dict(rays=32, patch=(16, 16, 16))
    model = stardist_library.Model(options, grid=(1, 1, 1), anisotropy=(1, 1, 1), device="cpu")
    distances = np.full((1, 32), 4.0, np.float32)
    shapes = np.array([[8, 8, 8]]), np.ones(1, np.float32), distances
    assert model.draw(shapes, (16, 16, 16)).max() == 1
    probability, everywhere = np.zeros((16, 16, 16), np.float32), np.full((16, 16, 16, 32), 4, np.float32)
    probability[8, 8, 7:9] = 0.9, 0.8
    assert len(model.shapes(probability, everywhere, prob_thresh=0.5, nms_thresh=0.3, b=0)[0]) == 1
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        time.sleep(10)


@slow
def test_stardist_can_be_stopped(barely):
    method, history, seen = barely("stardist")
    assert method.options["epochs"] == 5 and len(history) == 2 and seen == [1, 2]


@slow
def test_stardist_interrupted_is_as_after_the_last_epoch(pair):
    library("stardist")
    seen = []

    def interrupt(history, model):
        seen.append(method.predict(pair[0]))
        if len(history) == 2:
            raise KeyboardInterrupt

    method = methods.get("stardist", **{**SHORT["stardist"], "epochs": 5})
    with pytest.raises(KeyboardInterrupt):
        method.fit([pair[0]], [pair[1]], callbacks=[interrupt], progress=False)
    assert not np.array_equal(*seen) and np.array_equal(method.predict(pair[0]), seen[1])


@NAMES
def test_not_trained_and_not_there(name, pair, tmp_path):
    library(name)
    method = methods.get(name)
    for act in (
        lambda: method.segment(pair[0]),
        lambda: method.predict(pair[0]),
        lambda: method.save(tmp_path),
    ):
        with pytest.raises(UserError, match="is not trained yet: call fit first"):
            act()
    with pytest.raises(UserError, match="does not exist|is missing"):  # and no download instead
        methods.method_class(name).load(tmp_path / "nowhere")
    np.savez(tmp_path / "stardist.npz", settings='{"method": "otsu"}')
    with pytest.raises(UserError, match="missing, damaged or of another method"):
        methods.method_class("stardist").load(tmp_path)


@NAMES
def test_bad_pairs(name, pair):
    library(name)
    method, (image, labels) = methods.get(name, **FAST[name]), pair
    for bad, message in (
        (labels[:-1], "have shape"),
        (labels.astype(float), "hold float64"),
        (labels - 1, "go from -1"),
        (labels * 0, "only background"),
        (None, "need labels"),
    ):
        with pytest.raises(UserError, match=message):
            method.fit([image], None if bad is None else [bad])
    with pytest.raises(UserError, match="1 volumes and 2 label"):
        method.fit([image], [labels, labels])


def test_bad_settings(pair):
    with pytest.raises(UserError, match="planes must be one of 'all', 'xy'"):
        methods.get("cellpose", planes="xz")
    with pytest.raises(UserError, match="bsize divisible by 16"):
        methods.get("cellpose", bsize=50)
    library("stardist")
    with pytest.raises(UserError, match="patch for stardist must be divisible by 4 times the grid"):
        methods.get("stardist", patch=20, grid=2).fit([pair[0]], [pair[1]])
    with pytest.raises(UserError, match="smaller than one training cube"):
        methods.get("stardist", patch=32).fit([pair[0]], [pair[1]])


@NAMES
def test_paper_settings_can_be_made(name):
    paper = settings.of(name, "paper")
    assert methods.get(name, **paper).options["epochs"] == paper["epochs"]


def test_without_the_library_one_line_says_what_to_install(pair, monkeypatch):
    for library_name in ("cellpose", "stardist", "tensorflow"):
        monkeypatch.setitem(sys.modules, library_name, None)
    for name in FAST:
        with warnings.catch_warnings(), pytest.raises(UserError, match=r'pip install "cellseg-nb\[rivals\]"'):
            methods.get(name).fit([pair[0]], [pair[1]])


def test_cellpose_where_neither_home_nor_library_can_be_written_to(tmp_path):
    """numba is left no place of its own to keep what it compiles; and nothing stays behind."""
    pytest.importorskip("cellpose")
    code = (
        "from cellseg_nb.methods import cellpose_library as one; import os\n"
        "print(one.library('dynamics').__name__, len(os.listdir(os.environ['TMPDIR'])))"
    )
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "TMPDIR": str(tmp_path)}
    found = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"} | nowhere
    run = subprocess.run([sys.executable, "-c", code], env=found, capture_output=True, text=True)
    assert run.stdout == "cellpose.dynamics 1\n", run.stderr
    assert not os.listdir(tmp_path)
