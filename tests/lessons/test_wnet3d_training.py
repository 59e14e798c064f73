"""The steps of notebook 02: what is checked, what is read, what is kept and read again, what an interruption
leaves."""

import json

import matplotlib
import numpy as np
import pytest
import torch

from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.lessons import wnet3d_training as steps, wnet3d_training_lessons as lessons
from cellseg_nb.networks import ncuts
from cellseg_nb.plots import edge_weights

matplotlib.use("Agg")
TINY = dict(channels=(4, 4, 8, 8), cube=8, steps=1, epochs=2)
GOOD = dict(
    dataset="auto",
    voxel_size="auto",
    form="class_mean",
    classes=2,
    learning_rate=0.0,
    rec_weight="auto",
    epochs=0,
    repo="a/b",
    profile="demo",
    seed=0,
    device="cpu",
    cache="",
)


@pytest.fixture
def choice(tmp_path):
    return steps.check(**GOOD, out=tmp_path / "out")


@pytest.fixture
def pair():
    image, labels = simulate.volume((24, 32, 32), 8, seed=1)
    return image.astype(np.float32), labels


@pytest.mark.parametrize(
    "change, words",
    [
        ({"form": "mean"}, "form must be one of"),
        ({"classes": 1}, "classes must be between 2"),
        ({"learning_rate": -1}, "learning_rate must be"),
        ({"rec_weight": "much"}, "rec_weight must be 'auto' or a number"),
        ({"rec_weight": -0.1}, "rec_weight must be between"),
        ({"profile": "big"}, "profile must be one of"),
        ({"repo": "mine"}, "repo must be owner/name"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"voxel_size": "1,2"}, "voxel_size must be three"),
    ],
)
def test_bad_parameters_in_one_line(tmp_path, change, words):
    with pytest.raises(UserError, match=words) as error:
        steps.check(**{**GOOD, **change}, out=tmp_path)
    assert "\n" not in str(error.value)


def test_choices_reach_the_method(tmp_path):
    mine = {"rec_weight": "0.05", "learning_rate": 1e-3, "classes": 3, "epochs": 4}
    choice = steps.check(**{**GOOD, **mine}, out=tmp_path)
    method = steps.method(choice)
    assert method.loss["rec_weight"] == 0.05 and method.loss["balance"] == "fixed"
    assert method.training["learning_rate"] == 1e-3 and method.training["epochs"] == 4
    assert method.network["classes"] == 3


def test_paper_profile_is_the_papers():
    real = steps.PROFILES["paper"]["real"]
    assert real["channels"] == (64, 128, 256, 512) and real["dropout"] == 0.65 and real["cube"] == 64
    assert real["epochs"] == 50 and real["learning_rate"] == 2e-5
    assert set(steps.PROFILES["paper"]) == set(steps.PROFILES["demo"])


def test_bundled_volumes(choice, capsys):
    data = steps.load(choice)
    assert data.names == ["sample", "simulated"] and data.voxel_size == (5, 5, 5)
    assert all(image.shape == labels.shape for image, labels in zip(data.images, data.labels))
    assert "80 cells" in capsys.readouterr().out
    cube, truth = lessons.middle(choice, data)
    assert cube.shape == truth.shape == (64, 64, 64)


def test_one_tiff_and_a_folder_without_labels(tmp_path, pair):
    volumes.write(tmp_path / "mine" / "a.tif", pair[0], (2.0, 1.0, 1.0))
    for where in (tmp_path / "mine" / "a.tif", tmp_path / "mine"):
        choice = steps.check(**{**GOOD, "dataset": str(where)}, out=tmp_path / "out")
        data = steps.load(choice)
        assert data.names == ["a"] and data.labels == [None] and data.voxel_size == (2, 1, 1)
        assert lessons.middle(choice, data)[1] is None
        assert not steps.Validate(data).pairs


def test_a_lesson_is_read_again_and_replaced_when_settings_change(choice, pair):
    first = lessons.learn(choice, "one", *pair, progress=False, **TINY)
    place = steps.Path(choice["out"]) / "lessons" / "one"
    written = (place / "wnet3d.pt").stat().st_mtime_ns
    again = lessons.learn(choice, "one", *pair, progress=False, **TINY)
    assert (place / "wnet3d.pt").stat().st_mtime_ns == written  # nothing was trained
    assert np.array_equal(first.probability, again.probability) and first.history == again.history
    assert not (place / "checkpoint.pt").exists() and len(first.history[-1]["shares"]) == 2
    other = lessons.learn(choice, "one", *pair, progress=False, **{**TINY, "epochs": 1})
    assert len(other.history) == 1
    assert json.loads((place / "lesson.json").read_text())["settings"]["epochs"] == 1
    table = lessons.compare([first])
    assert list(table.columns) == ["SoftNCuts", "foreground (%)", "Dice"]
    assert lessons.rebuilt(first).shape == pair[0].shape


def test_grid_and_real_training_are_not_done_again(choice, pair, monkeypatch):
    profile = {**steps.PROFILES["demo"], "lesson": TINY, "grid": dict(epochs=1), "real": TINY}
    monkeypatch.setitem(steps.PROFILES, "demo", profile)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # one process, which sees the tiny profile

    def train():
        table, tried = lessons.over_grid(choice, *pair)
        return (
            table,
            tried,
            steps.method(choice).fit([pair[0]], folder=steps.folder(choice, False), progress=False),
        )

    table, first, history = train()
    written = {path: path.stat().st_mtime_ns for path in steps.Path(choice["out"]).rglob("*.pt")}
    again, second, history_again = train()
    assert len(table) == len(first) == 9 and again.equals(table) and history_again == history
    assert all(first[key].history == second[key].history for key in first)
    assert {path: path.stat().st_mtime_ns for path in steps.Path(choice["out"]).rglob("*.pt")} == written


def test_a_lost_session_resumes_to_the_bit(choice, pair, capsys):
    whole = lessons.tiny(choice, pair[0], "whole", start_over=True)
    with pytest.raises(lessons.Lost, match="epoch 3"):
        lessons.tiny(choice, pair[0], "lost", start_over=True, callbacks=[lessons.lose_in(3)])
    resumed = lessons.tiny(choice, pair[0], "lost")
    assert lessons.same_bits(whole, resumed)
    next(resumed.model.parameters()).data[0] += 1e-6
    assert not lessons.same_bits(whole, resumed) and "they differ" in capsys.readouterr().out


def test_callbacks_of_the_real_training(tmp_path, choice, pair):
    from cellseg_nb.methods.wnet3d import WNet3DMethod

    data = steps.Data(["a", "b"], [pair[0], pair[0]], [pair[1], None], None)
    place = steps.folder(choice)
    pictures = steps.Pictures(place, pair[0], 3)
    method = WNet3DMethod(**{**TINY, "epochs": 3}, device="cpu")
    labels = pair[1].copy()
    history = method.fit(
        data.images, folder=place, callbacks=[steps.Validate(data), pictures], progress=False
    )
    assert ["val_dice" in row for row in history] == [False, True, False] and np.array_equal(labels, pair[1])
    seen = pictures.read()
    assert list(seen) == [1, 2, 3] and seen[1].shape == (2, *pictures.plane.shape)
    final = steps.final(method, data)
    steps.save(choice, data, method, history, {"final": final}, 0.0)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert "SoftNCuts" in summary["headline"] and (tmp_path / "out" / "wnet3d.pt").exists()
    steps.folder(choice, start_over=True)
    assert not pictures.read() and not (place / "checkpoint.pt").exists()


def test_edge_weights_in_the_figure_are_those_of_the_loss(pair):
    """The numbers drawn are those `ncuts.edge_weight` computes, for neighbours within the slice."""
    z, y, x = edge_weights.rim(pair[0])
    figure = edge_weights.edge_weights(pair[0], (z, y, x))
    product = figure.axes[3].images[0].get_array()
    volume = torch.from_numpy(volumes.remap(pair[0]))[None, None].double()
    for dy, dx in ((0, 1), (1, 0), (2, 1)):
        weight = ncuts.edge_weight(volume, (0, dy, dx))[0, 0, z, y, x]
        assert product[2 + dy, 2 + dx] == pytest.approx(float(weight), abs=1e-6)
