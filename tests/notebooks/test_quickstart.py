"""Notebook 00, executed by papermill as users do: on the bundled sample, on a user's file, on the real
volume."""

import json
import os
from pathlib import Path

import disturb
import numpy as np
import pandas
import pytest
import tifffile

from cellseg_nb import parameters, runs
from cellseg_nb.data import simulate
from cellseg_nb.data.datasets import Volume
from cellseg_nb.io import volumes
from cellseg_nb.lessons import quickstart, quickstart_results

pytestmark = pytest.mark.notebook
REAL = os.environ.get("CELLSEG_NB_REAL_DATA")


def results(out):
    return json.loads((out / "summary.json").read_text()), pandas.read_csv(out / "cells.csv")


def test_bundled_sample(tmp_path):
    out = runs.run("00_quickstart", out=tmp_path / "out")
    summary, cells = results(out)
    scores = {row["method"]: row for row in summary["comparison"]}
    assert scores["WNet3D"]["F1"] >= 0.90 and scores["WNet3D"]["F1"] > scores["Otsu + Voronoi"]["F1"]
    assert summary["cells"] == len(cells) and summary["seed"] == 0 and summary["versions"]["torch"]
    columns = "label z y x volume_voxels volume_um3 equivalent_diameter_um sphericity mean_intensity"
    assert list(cells.columns) == columns.split()
    labels, size = volumes.read_labels(out / "labels.tif")
    assert labels.max() == len(cells) and size == (5, 5, 5)
    assert np.allclose(cells.volume_um3, cells.volume_voxels * 125)
    probability, _ = volumes.read(out / "probability.tif")
    assert probability.dtype == np.float32 and 0 <= probability.min() and probability.max() <= 1
    with tifffile.TiffFile(out / "labels.tif") as tif:
        assert (
            tif.is_imagej
            and tif.imagej_metadata["spacing"] == 5
            and tif.imagej_metadata["slices"] == labels.shape[0]
        )
    report = (out / "report.html").read_text()
    assert report.count("data:image/png;base64") >= 6 and "Traceback" not in report
    executed = json.loads((out / "00_quickstart.ipynb").read_text())
    assert any(cell.get("outputs") for cell in executed["cells"])
    config = json.loads((out / "config.json").read_text())
    assert config["profile"] == "demo" and config["network"]["channels"] == [16, 32, 64, 128]


def test_a_users_folder_anisotropic_with_its_own_voxel_size(tmp_path):
    """Two volumes, big-endian, nothing in the header; cells 6 µm wide in voxels of 2 x 1 x 1 µm; a few
    epochs."""
    folder = tmp_path / "my data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        volume = rng.poisson(100, (26, 45, 50)).astype(">u2")
        for z, y, x in zip(*(rng.integers(4, side - 4, 9) for side in volume.shape)):
            volume[z - 1 : z + 2, y - 3 : y + 3, x - 3 : x + 3] += 900
        tifffile.imwrite(folder / f"{name}.tif", volume)
    out = runs.run(
        "00_quickstart",
        {"images": str(folder), "voxel_size": "2,1,1", "cell_diameter": "6", "epochs": "2"},
        tmp_path / "out",
    )
    summary, cells = results(out)
    assert [Path(f).name for f in summary["files"]] == ["a.tif", "b.tif"] and summary["voxel_size_um"] == [
        2,
        1,
        1,
    ]
    assert set(cells.file) <= {"a.tif", "b.tif"}
    for name in "ab":
        labels, size = volumes.read_labels(out / f"{name}_labels.tif")
        assert labels.shape == (26, 45, 50) and size == (2, 1, 1)


def test_paper_profile(tmp_path, monkeypatch):
    """Every line of it, with the published network; cubes, steps and epochs are small."""
    monkeypatch.setenv("CELLSEG_NB_SHRINK", "cube=16,steps=1,epochs=1")
    image, _ = simulate.volume((16, 24, 24), 6, seed=3)
    volumes.write(tmp_path / "mine.tif", image, (5.0, 5.0, 5.0))
    given = {"profile": "paper", "images": str(tmp_path / "mine.tif")}
    out = runs.run("00_quickstart", given, tmp_path / "out")
    config = json.loads((out / "config.json").read_text())
    assert (
        config["network"]["channels"] == [64, 128, 256, 512] and config["training"]["learning_rate"] == 2e-5
    )
    summary, cells = results(out)
    assert len(summary["history"]) == 1 and summary["cells"] == len(cells) and "f1_at_0.5" not in summary


@pytest.mark.skipif(not REAL, reason="CELLSEG_NB_REAL_DATA is not set")
def test_real_volume(tmp_path):
    """347 cells were annotated in c5; default parameters, one seed (all three: benchmarks/README.md)."""
    out = runs.run("00_quickstart", {"images": f"{REAL}/mesospim/c5_image.tif"}, tmp_path / "out")
    assert 330 <= results(out)[0]["cells"] <= 364


def test_true_labels_count_and_score():
    labels = np.zeros((4, 9, 9), np.int32)
    labels[1:3, 1:4, 1:4], labels[1:3, 5:8, 5:8] = 3, 7
    volume = Volume("a.tif", labels.astype(np.float32), labels)
    scores = quickstart_results.compare([volume], {"all": [labels], "one": [np.where(labels == 3, 1, 0)]})
    assert list(scores["true cells"]) == [2, 2] and list(scores["cells"]) == [2, 1]
    assert list(scores["F1"]) == [1.0, 0.667] and list(scores["recall"]) == [1.0, 0.5]
    assert list(quickstart_results.compare([volume._replace(labels=None)], {"all": [labels]})) == ["cells"]


def test_what_the_network_sees():
    """Cells 8 voxels wide, where you give their diameter; an estimate changes only what is far from it."""

    def voxel(shape, size, diameter, estimated):
        return quickstart.target_voxel(shape, size, diameter, estimated)

    assert voxel((64, 64, 64), (2, 1, 1), 0, False) is None
    assert voxel((64, 64, 64), (2, 1, 1), 16, False) == 2
    assert voxel((64, 64, 64), (5, 5, 5), 30, True) is None  # 6 voxels wide: left
    assert voxel((64, 200, 200), (1.75, 0.8, 0.8), 14, True) == 1.75
    assert voxel((64, 64, 64), None, 2, True) == pytest.approx(2 ** (-1 / 3))  # no more than twice the voxels
    assert voxel((32, 64, 64), (1, 1, 1), 20, True) is None  # too small for the smallest training cube


def test_paper_means_as_published():
    given = dict(runs.parameters(runs.find("00_quickstart")), profile="paper")
    choice = quickstart.resolved(parameters.check(quickstart.PARAMETERS, given))
    assert (choice["preprocess"], choice["separate"], choice["cell_diameter"]) == ("paper", "published", 0)
    given["profile"] = "demo"
    choice = quickstart.resolved(parameters.check(quickstart.PARAMETERS, given))
    assert (choice["preprocess"], choice["separate"], choice["cell_diameter"]) == ("auto", "auto", None)


@pytest.mark.parametrize("kind, cells", [("padded", 40), ("sparse", 5)])
def test_a_disturbed_volume(tmp_path, kind, cells):
    """Zeros around the data, and hardly any cells: F1 was 0.29 and 0.40 before a volume was looked at."""
    image, labels = simulate.volume((40, 56, 56), cells, seed=11)
    if kind == "padded":
        image, labels = (disturb.padded(one, (0, 8, 40), (0, 8, 8)) for one in (image, labels))
    volumes.write(tmp_path / "image.tif", image)
    volumes.write(tmp_path / "labels.tif", labels)
    given = {"images": str(tmp_path / "image.tif"), "labels": str(tmp_path / "labels.tif")}
    summary, _ = results(runs.run("00_quickstart", given, tmp_path / "out"))
    assert summary["f1_at_0.5"] >= 0.9
    assert bool(summary["prepared"][0]["seen"]) and summary["headline"].startswith("It looks right")


def test_what_fails_is_tried_in_other_ways(tmp_path):
    image, labels = simulate.volume((32, 48, 48), 20, seed=4)
    given = {"images": tmp_path / "a.tif", "labels": tmp_path / "b" / "a.tif"}
    given["labels"].parent.mkdir()
    for path, volume in zip(given.values(), (image, labels)):
        volumes.write(path, volume, None)
    out = runs.run(
        "00_quickstart",
        {name: str(path) for name, path in given.items()}
        | {"epochs": 1, "separate": "voronoi_otsu", "minutes": 0.01},
        out=tmp_path / "out",
    )
    summary, cells = results(out)
    assert summary["remedies"] == [{"tried": "brightness alone", "verdict": "ok", "cells": len(cells)}]
    assert summary["headline"].startswith("It looks right (with brightness alone): ")
    assert summary["comparison"][0]["method"] == "WNet3D, then brightness alone"
    assert summary["f1_at_0.5"] > 0.9
