"""The steps of notebook 02: what is checked, what is read, what is kept and read again, what an interruption
leaves."""

import json

import matplotlib
import numpy as np
import pytest
import torch

from cellseg_nb import parameters, runs
from cellseg_nb.data import simulate
from cellseg_nb.data.datasets import Volume
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.lessons import wnet3d_training as steps, wnet3d_training_lessons as lessons
from cellseg_nb.methods import settings
from cellseg_nb.methods.wnet3d import WNet3DMethod
from cellseg_nb.plots import edge_weights

matplotlib.use("Agg")
TINY = dict(channels=(4, 4, 8, 8), cube=8, steps=1, epochs=2)
GOOD = runs.parameters(runs.find("02_wnet3d_training")) | {"device": "cpu"}


def check(tmp_path, **changes):
    return parameters.check(steps.PARAMETERS, {**GOOD, "out": str(tmp_path / "out"), **changes})


@pytest.fixture
def choice(tmp_path):
    return check(tmp_path)


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
        check(tmp_path, **change)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_choices_reach_the_method(tmp_path):
    choice = check(tmp_path, rec_weight="0.05", learning_rate=1e-3, classes=3, epochs=4, form="pairwise")
    method = WNet3DMethod(**steps.settings(choice))
    assert method.loss["rec_weight"] == 0.05 and method.loss["balance"] == "fixed"
    assert method.loss["form"] == "pairwise" and method.network["classes"] == 3
    assert method.training["learning_rate"] == 1e-3 and method.training["epochs"] == 4


def test_paper_profile_is_the_papers(tmp_path):
    real = steps.settings(check(tmp_path, profile="paper"))
    assert real["channels"] == (64, 128, 256, 512) and real["dropout"] == 0.65 and real["cube"] == 64
    assert real["epochs"] == 50 and real["learning_rate"] == 2e-5
    assert real["balance"] == "fixed" and real["rec_weight"] == 0.5  # "auto" is what the profile says


def test_bundled_volumes(choice, capsys):
    found = steps.load(choice)
    assert [volume.name for volume in found] == ["sample", "simulated"] and found[0].voxel_size == (5, 5, 5)
    assert all(volume.image.shape == volume.labels.shape for volume in found)
    assert "80 cells" in capsys.readouterr().out
    part = steps.middle(found[0], 64)
    assert part.image.shape == part.labels.shape == (64, 64, 64)


def test_one_tiff_and_a_folder_without_labels(tmp_path, pair):
    volumes.write(tmp_path / "mine" / "a.tif", pair[0], (2.0, 1.0, 1.0))
    for where in (tmp_path / "mine" / "a.tif", tmp_path / "mine"):
        (found,) = steps.load(check(tmp_path, dataset=str(where)))
        assert found.name == "a" and found.labels is None and found.voxel_size == (2, 1, 1)
        part = steps.middle(found._replace(image=found.image[:, :30]), 25)
        assert part.labels is None and part.image.shape == (24, 24, 24)  # sides the network takes
        assert not steps.Validate([found]).pairs


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
    monkeypatch.setenv("CELLSEG_NB_SHRINK", "cube=8,steps=1,epochs=1")
    monkeypatch.setitem(settings.DEMO["wnet3d"], "channels", TINY["channels"])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # one process, which sees the tiny profile

    def train():
        table, tried = lessons.over_grid(choice, *pair, (1e-3, 1e-4), (0.01, 0.1))
        method = WNet3DMethod(**steps.settings(choice))
        return table, tried, method.fit([pair[0]], folder=steps.folder(choice), progress=False)

    table, first, history = train()
    written = {path: path.stat().st_mtime_ns for path in steps.Path(choice["out"]).rglob("*.pt")}
    again, second, history_again = train()
    assert len(table) == len(first) == 4 and again.equals(table) and history_again == history
    assert all(first[key].history == second[key].history for key in first)
    assert {path: path.stat().st_mtime_ns for path in steps.Path(choice["out"]).rglob("*.pt")} == written


def test_callbacks_of_the_real_training(tmp_path, choice, pair):
    found = [Volume("a", *pair), Volume("b", pair[0])]
    place = steps.folder(choice)
    pictures = steps.Pictures(place, pair[0], 3)
    method = WNet3DMethod(**{**TINY, "epochs": 3}, device="cpu")
    labels = pair[1].copy()
    watching = [steps.Validate(found), pictures]
    history = method.fit([pair[0], pair[0]], folder=place, callbacks=watching, progress=False)
    assert ["val_dice" in row for row in history] == [False, True, False] and np.array_equal(labels, pair[1])
    seen = pictures.read()
    assert list(seen) == [1, 2, 3] and seen[1].shape == (2, *pictures.plane.shape)
    final = steps.final(method, found)
    steps.save(choice, found, method, history, {"final": final}, 0.0)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert "SoftNCuts" in summary["headline"] and (tmp_path / "out" / "wnet3d.pt").exists()
    steps.folder({**choice, "start_over": True})
    assert not pictures.read() and not (place / "checkpoint.pt").exists()


def test_edge_weights_in_numbers(pair):
    """Each number stands in its square, the voxel outside a cell in the middle."""
    z, y, x = edge_weights.rim(pair[0])
    patch = volumes.remap(pair[0])[z, y - 2 : y + 3, x - 2 : x + 3]
    weight = torch.linspace(0, 1, 25).reshape(5, 5)
    figure = edge_weights.in_numbers(patch, weight, weight, weight, (z, y, x))
    assert len(figure.axes) == 4 and patch.max() - patch[2, 2] > 2
    assert [text.get_text() for text in figure.axes[3].texts][:3] == ["0.00", "0.04", "0.08"]
    assert figure.axes[0].texts[12].get_text() == f"{patch[2, 2]:.1f}"


def test_curves_are_those_of_the_weight_given():
    figure = edge_weights.weight_curves(
        lambda difference, distance: 1 - 0.1 * torch.as_tensor(difference + distance)
    )
    pairwise, class_mean = figure.axes[0].lines
    assert pairwise.get_ydata()[-1] == pytest.approx(0.7) and class_mean.get_ydata()[-1] == pytest.approx(0.1)
