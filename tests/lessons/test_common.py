"""What several notebooks share: volumes of which one is held out, and the one writer of results."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas
import pytest

from cellseg_nb.data import datasets, simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.lessons import common
from cellseg_nb.methods import get

CHOICE = dict(
    dataset="auto", held_out="auto", voxel_size=None, profile="demo", seed=0, cache="", device="cpu"
)


def write(folder, names, shape=(24, 24, 40)):
    for number, name in enumerate(names):
        image, labels = simulate.volume(shape, 8, seed=number)
        volumes.write(folder / "images" / f"{name}.tif", image, (2.0, 1.0, 1.0))
        volumes.write(folder / "labels" / f"{name}.tif", labels, (2.0, 1.0, 1.0))
    return {**CHOICE, "dataset": str(folder)}


def test_the_last_volume_is_held_out_or_the_one_named(tmp_path, capsys):
    choice = write(tmp_path, ["a1", "b2", "c3"])
    training, test = common.load(choice)
    assert [volume.name for volume in training] == ["a1", "b2"] and test.name == "c3"
    assert test.voxel_size == (2, 1, 1) and "c3" in capsys.readouterr().out
    training, test = common.load({**choice, "held_out": "B2"})
    assert [volume.name for volume in training] == ["a1", "c3"] and test.name == "b2"
    with pytest.raises(UserError, match="no volume.*a1, b2, c3"):
        common.load({**choice, "held_out": "x"})
    with pytest.raises(UserError, match="more than one"):
        common.hold_out([volume._replace(name=f"v{n}") for n, volume in enumerate(training)], "v")


def test_a_single_volume_is_cut_in_two(tmp_path):
    training, test = common.load(write(tmp_path, ["one"], (24, 24, 45)))
    assert training[0].image.shape == training[0].labels.shape == (24, 24, 30)
    assert test.image.shape == (24, 24, 15) and test.name == "one, last third"


def test_simulated_is_what_auto_means_in_the_demo():
    assert common.resolved(CHOICE)["dataset"] == "simulated"
    assert common.resolved({**CHOICE, "profile": "paper"})["dataset"] == "cellseg3d"
    training, test = common.load(CHOICE)
    assert len(training) == 2 and isinstance(test, datasets.Volume) and test.labels.max() == 90


def test_labels_are_needed_and_one_voxel_size(tmp_path):
    choice = write(tmp_path / "a", ["a", "b"])
    volumes.write(tmp_path / "a" / "images" / "b.tif", volumes.read(tmp_path / "a/images/b.tif")[0])
    with pytest.raises(UserError, match="different voxel sizes"):
        common.read(choice)
    (tmp_path / "b").mkdir()
    volumes.write(tmp_path / "b" / "x.tif", volumes.read(tmp_path / "a/images/a.tif")[0])
    with pytest.raises(UserError, match="x has no labels"):
        common.read({**choice, "dataset": str(tmp_path / "b")})


def test_everything_is_written_once(tmp_path):
    scores = pandas.DataFrame({"method": ["otsu"], "f1": [0.5]}).set_index("method")
    figure = plt.figure()
    method = get("otsu")
    out = common.save(
        tmp_path / "out",
        {**CHOICE, "out": str(tmp_path)},
        {"scores": scores},
        {"picture": figure},
        "a line",
        trained=method,
        history=[{"epoch": 1, "loss": 0.5, "seconds": 2.0}, {"epoch": 2, "loss": 0.4, "seconds": 3.0}],
        arrays={"held out, last": np.ones((3, 4, 5), np.int32)},
        voxel_size=(2.0, 1.0, 1.0),
        started=1.0,
        scores=scores,
        seconds={"runs": 7.0},
    )
    summary = json.loads((out / "summary.json").read_text())
    assert summary["headline"] == "a line" and summary["scores"] == [{"method": "otsu", "f1": 0.5}]
    assert summary["seconds"]["training"] == 5 and summary["seconds"]["runs"] == 7
    assert summary["seconds"]["total"] > 1 and summary["device"] == "cpu" and summary["versions"]["torch"]
    assert pandas.read_csv(out / "scores.csv").equals(scores.reset_index())
    assert len(pandas.read_csv(out / "history.csv")) == 2 and (out / "picture.png").stat().st_size
    assert volumes.read_labels(out / "held_out_last.tif")[1] == (2, 1, 1)
    config = json.loads((out / "config.json").read_text())
    assert config["seed"] == 0 and config["trained"]["method"] == "otsu"
    plt.close(figure)
