"""Notebook 00, executed by papermill as users do: on the bundled sample, on a user's file, on the real
volume."""

import json
import os
from pathlib import Path

import numpy as np
import pandas
import pytest
import tifffile

from cellseg_nb import runs
from cellseg_nb.data import simulate
from cellseg_nb.data.datasets import Volume
from cellseg_nb.io import volumes
from cellseg_nb.lessons import quickstart

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
    assert list(cells.columns) == [
        "label",
        "z",
        "y",
        "x",
        "volume_voxels",
        "volume_um3",
        "equivalent_diameter_um",
        "sphericity",
        "mean_intensity",
    ]
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
    scores = quickstart.compare([volume], {"all": [labels], "one": [np.where(labels == 3, 1, 0)]})
    assert list(scores["true cells"]) == [2, 2] and list(scores["cells"]) == [2, 1]
    assert list(scores["F1"]) == [1.0, 0.667] and list(scores["recall"]) == [1.0, 0.5]
    assert list(quickstart.compare([volume._replace(labels=None)], {"all": [labels]})) == ["cells"]


def test_cells_are_made_eight_voxels_wide():
    volume = np.zeros((20, 60, 60), np.float32)
    assert quickstart.resample(volume, (2, 1, 1), 0) is volume
    assert quickstart.resample(volume, (2, 1, 1), 8).shape == (40, 60, 60)
    assert quickstart.resample(volume, (2, 1, 1), 16).shape == (20, 30, 30)
