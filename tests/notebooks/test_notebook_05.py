"""Notebook 05, executed by papermill as users do: all six methods learn and are of use; runs are kept."""

import json
import os

import pandas
import pytest
from executing import as_published

from cellseg_nb import runs
from cellseg_nb.data import simulate
from cellseg_nb.io import volumes

pytestmark = pytest.mark.notebook
METHODS = ["otsu", "wnet3d", "segresnet", "swinunetr", "cellpose", "stardist"]


def test_all_six_methods_on_simulated_volumes(tmp_path):
    for library in ("cellpose", "stardist", "tensorflow"):
        pytest.importorskip(library)
    out = runs.run("05_cellpose_stardist", out=tmp_path / "out")
    table = pandas.read_csv(out / "comparison.csv", keep_default_na=False)
    assert list(table.method.unique()) == METHODS and len(table) == 6 * 2 * 2 * 9
    assert set(table.fold) == {"simulated 3"} and set(table.seed) == {0}
    half = table[(table.threshold == 0.5) & (table.matching == "3d")].set_index(["method", "variant"])
    for name in METHODS:  # each is of use
        assert half.f1[name, "tuned"] > 0.5 and half.dice[name, "tuned"] > 0.6, name
    assert half.f1["cellpose", "tuned"] > 0.8 and half.f1["stardist", "tuned"] > 0.8
    summary = json.loads((out / "summary.json").read_text())
    assert summary["headline"].startswith("best F1@0.5: ") and summary["seconds"]["runs"] > 0
    for name in METHODS:
        labels, size = volumes.read_labels(out / "labels" / f"{name}_simulated-3_0_tuned.tif")
        assert size == (5, 5, 5) and labels.max() == half.cells[name, "tuned"]
    cells = json.loads((out / "05_cellpose_stardist.ipynb").read_text())["cells"]
    said = "".join("".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", []))
    for variant in ("default", "tuned"):  # the fold by hand has the same numbers as the grid
        row = half.loc["otsu", variant]
        assert f"otsu, {variant}: F1 at IoU 0.5 is {row.f1:.3f}, Dice {row.dice:.3f}" in said
    report = (out / "report.html").read_text()
    assert report.count("data:image/png;base64") >= 10 and "Traceback" not in report


@pytest.mark.slow
def test_paper_settings_of_all_methods_run(tmp_path, monkeypatch):
    """Every line of the profile paper: smaller cubes, one epoch of one step, all else as published."""
    for library in ("cellpose", "stardist", "tensorflow"):
        pytest.importorskip(library)
    monkeypatch.setenv("CELLSEG_NB_SHRINK", "cube=32,steps=1,epochs=1")
    for number in range(2):
        image, labels = simulate.volume((64, 32, 32), 20, seed=number)
        volumes.write(tmp_path / "mine" / "images" / f"v{number}.tif", image, (5, 5, 5))
        volumes.write(tmp_path / "mine" / "labels" / f"v{number}.tif", labels, (5, 5, 5))
    given = {"dataset": str(tmp_path / "mine"), "held_out": "v1", "profile": "paper"}
    out = runs.run("05_cellpose_stardist", given, tmp_path / "out")
    table = pandas.read_csv(out / "comparison.csv")
    assert list(table.method.unique()) == [*METHODS, "stardist_default"]
    assert {"cellprob_threshold", "dice"} <= set(pandas.read_csv(out / "tuning_cellpose.csv"))
    for file in (out / "runs").glob("*.json"):
        run = json.loads(file.read_text())
        assert (
            as_published(run["settings"]["options"], run["job"]["method"], "05") >= 3 or "otsu" in file.name
        )


def test_own_folder_and_resumed(tmp_path):
    """Two folds of flat voxels, with the baseline alone; the second time nothing is run."""
    for number in range(3):
        image, labels = simulate.volume((16, 32, 32), 10, seed=number, voxel_size=(2, 1, 1))
        volumes.write(tmp_path / "mine" / "images" / f"v{number}.tif", image, (2, 1, 1))
        volumes.write(tmp_path / "mine" / "labels" / f"v{number}.tif", labels)
    given = {"dataset": str(tmp_path / "mine"), "methods": "otsu", "held_out": "v0, v2"}
    out = runs.run("05_cellpose_stardist", given, tmp_path / "out")
    files = {file: file.stat().st_mtime_ns for file in (out / "runs").iterdir()}
    assert len(files) == 2
    first = pandas.read_csv(out / "comparison.csv")
    assert set(first.fold) == {"v0", "v2"}
    runs.run("05_cellpose_stardist", given, tmp_path / "out")
    assert {file: file.stat().st_mtime_ns for file in (out / "runs").iterdir()} == files
    pandas.testing.assert_frame_equal(pandas.read_csv(out / "comparison.csv"), first)


def test_without_the_rivals_the_notebook_goes_on(tmp_path, monkeypatch):
    """A Python in which neither library is found: one line each, and the others run."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in ('cellpose', 'stardist') else find(name, *a)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(hook), prepend=os.pathsep)
    for number in range(2):
        image, labels = simulate.volume((16, 32, 32), 10, seed=number)
        volumes.write(tmp_path / "mine" / f"v{number}_image.tif", image)
        volumes.write(tmp_path / "mine" / f"v{number}_labels.tif", labels)
    out = runs.run(
        "05_cellpose_stardist",
        {"dataset": str(tmp_path / "mine"), "methods": "otsu, cellpose, stardist"},
        tmp_path / "out",
    )
    assert set(pandas.read_csv(out / "comparison.csv").method) == {"otsu"}
    cells = json.loads((out / "05_cellpose_stardist.ipynb").read_text())["cells"]
    said = "".join("".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", []))
    for name in ("cellpose", "stardist"):
        assert f"{name} is left out" in said
    assert 'pip install "cellseg-nb[rivals]"' in said
