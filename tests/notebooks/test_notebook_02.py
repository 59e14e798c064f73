"""Notebook 02 executed by papermill as users do: with its defaults, and on a user's volume in the same
folder."""

import json
import re

import numpy as np
import pandas
import pytest
from executing import as_published

from cellseg_nb import runs
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.methods import weights

pytestmark = pytest.mark.notebook


def shown(out):
    """All text the notebook printed."""
    cells = json.loads((out / "02_wnet3d_training.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert not re.search(r"FutureWarning|RuntimeWarning|UserWarning: (?!The given NumPy)", str(outputs))
    return "".join("".join(output["text"]) for output in outputs if output.get("name") == "stdout")


def lesson(out, name):
    return json.loads((out / "lessons" / name / "lesson.json").read_text())["history"]


def test_02_on_the_bundled_volumes_then_on_a_users(tmp_path):
    """With its defaults; then on a volume without labels in the same folder, as a user goes on: what was
    learned on other volumes is found again. (The rest of it that is not done twice:
    test_wnet3d_training.py.)"""
    out = runs.run("02_wnet3d_training", out=tmp_path / "out")
    text = shown(out)
    assert "all the same, to the bit" in text and "the session was lost in epoch 3" in text
    assert "SoftNCuts stands at" in text and "would upload wnet3d.pt" in text
    final = pandas.read_csv(out / "final.csv", index_col="volume")
    assert final.loc["sample", "Dice"] > 0.8 and final.loc["sample", "foreground (%)"] < 10
    history = pandas.read_csv(out / "history.csv")
    assert history.n_cuts.iloc[-3:].mean() < history.n_cuts.iloc[0] / 10 and history.val_dice.max() > 0.8
    assert len(pandas.read_csv(out / "grid.csv")) == 9
    summary = json.loads((out / "summary.json").read_text())
    assert summary["headline"].startswith("sample: ") and summary["advice"] == []
    found = weights.load(out)  # notebook 04 opens the weights
    assert found.architecture == "wnet3d"
    report = (out / "report.html").read_text()
    assert report.count("data:image/png;base64") >= 9 and "Traceback" not in report

    simulated = ("with_decoder", "without_decoder", "two_classes", "three_classes")
    before = {name: lesson(out, name) for name in (*simulated, "class_mean")}
    image, _ = simulate.volume((26, 40, 44), 20, seed=3)
    volumes.write(tmp_path / "mine.tif", image, (2.0, 1.0, 1.0))
    given = {"dataset": str(tmp_path / "mine.tif"), "epochs": "3", "rec_weight": "0.01"}
    runs.run("02_wnet3d_training", {**given, "start_over": "true"}, out)
    assert "no labels" in shown(out)
    history = pandas.read_csv(out / "history.csv")
    assert "Dice" not in pandas.read_csv(out / "final.csv") and "val_dice" not in history
    assert len(history) == 3 and np.allclose(history.rec_weight, 0.01)
    assert all(lesson(out, name) == before[name] for name in simulated)  # the same volumes: not trained anew
    assert lesson(out, "class_mean") != before["class_mean"]


def test_02_paper_profile(tmp_path, monkeypatch):
    """Every line of it, with the published network; cubes, steps and epochs are small."""
    monkeypatch.setenv("CELLSEG_NB_SHRINK", "cube=16,steps=1,epochs=1")
    image, labels = simulate.volume((16, 24, 24), 6, seed=3)
    volumes.write(tmp_path / "mine" / "a.tif", image, (5.0, 5.0, 5.0))
    volumes.write(tmp_path / "mine" / "labels" / "a.tif", labels, (5.0, 5.0, 5.0))
    out = runs.run(
        "02_wnet3d_training", {"profile": "paper", "dataset": str(tmp_path / "mine")}, tmp_path / "out"
    )
    config = json.loads((out / "config.json").read_text())
    assert (
        config["network"]["channels"] == [64, 128, 256, 512] and config["training"]["learning_rate"] == 2e-5
    )
    used = {**config["training"], **config["network"], **config["loss"]}
    assert as_published(used, "wnet3d", "02") >= 15
    assert config["training"]["epochs"] == len(pandas.read_csv(out / "history.csv")) == 1
    assert "Dice" in pandas.read_csv(out / "final.csv") and "all the same, to the bit" in shown(out)


def test_02_bad_parameters_in_one_line(tmp_path):
    with pytest.raises(UserError, match="repo must be owner/name"):
        runs.run("02_wnet3d_training", {"repo": "no slash"}, tmp_path / "out")
