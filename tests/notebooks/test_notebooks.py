"""Notebooks 01, 03, 04 and 08 executed by papermill with their defaults, and again with a user's files."""

import json

import numpy as np
import pandas
import pytest
import scipy.stats
from executing import as_published, executed, released
from servers import Server

from cellseg_nb import runs
from cellseg_nb.data import datasets, simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.lessons import inference_unseen
from cellseg_nb.methods import weights

pytestmark = pytest.mark.notebook


def pair(folder, number, shape=(64, 64, 72)):
    image, labels = simulate.volume(shape, 70, seed=number)
    volumes.write(folder / "images" / f"v{number}.tif", image, (2.0, 1.0, 1.0))
    volumes.write(folder / "labels" / f"v{number}.tif", labels, (2.0, 1.0, 1.0))
    return labels


def test_01_on_simulated_volumes(tmp_path):
    out, _ = executed("01_data", tmp_path / "out")
    counted = pandas.read_csv(out / "volumes.csv")
    published = {"c1": 343, "c2": 365, "c3": 631, "c4": 396, "c5": 347, "visual": 550}
    assert len(counted) == 6 and sorted(counted.cells) == sorted(published.values())
    splits = pandas.read_csv(out / "splits.csv")
    assert set(splits.percentage) == {10, 20, 60, 80} and splits.held_out.nunique() == 3
    for _, part in splits.groupby(["fold", "percentage"]):
        assert not part.volume.isin(part.held_out).any()  # nothing of the held-out volume is learned from


def test_01_on_a_users_folder(tmp_path):
    labels = [pair(tmp_path / "mine", number) for number in (1, 2)]
    out, _ = executed("01_data", tmp_path / "out", dataset=tmp_path / "mine", cube=32)
    assert sorted(pandas.read_csv(out / "volumes.csv").cells) == sorted(
        len(np.unique(one)) - 1 for one in labels
    )


def test_01_says_what_to_do_without_a_server(tmp_path):
    with Server() as server, pytest.raises(UserError, match="DATASET_WITH_GT.zip"):
        runs.run(
            "01_data",
            {"dataset": "cellseg3d", "base_url": server.url, "cache": str(tmp_path / "c")},
            tmp_path / "out",
        )


def test_03_learns_and_beats_the_baseline(tmp_path):
    out, summary = executed("03_supervised_training", tmp_path / "out")
    scores = pandas.read_csv(out / "scores.csv", index_col="method")
    assert scores.loc["segresnet", "F1@0.5"] > scores.loc["otsu", "F1@0.5"]
    history = pandas.read_csv(out / "history.csv")
    assert history.loss.iloc[-1] < history.loss.iloc[0] / 2 and history.val_dice.max() > 0.6
    assert 0 < summary["threshold"] < 1
    find_cells = weights.load(out)  # notebook 04 opens the weights
    assert find_cells.architecture == "segresnet" and find_cells.threshold == summary["threshold"]


def test_04_on_the_sample(tmp_path):
    out, summary = executed("04_inference", tmp_path / "out")
    assert summary["f1_at_0.5"] > 0.8
    cells = pandas.read_csv(out / "cells.csv")
    labels, size = volumes.read_labels(out / "labels.tif")
    assert len(cells) == summary["cells"] == labels.max() and size == (5, 5, 5)
    assert (out / "turntable.gif").read_bytes()[:6] == b"GIF89a"
    batch = pandas.read_csv(out / "batch" / "batch.csv", keep_default_na=False)
    assert (
        list(batch.problem.ne("")) == [False, False, False, True]
        and "slab_4_broken.tif" in batch.problem.iloc[3]
    )


def test_04_on_a_users_volume_and_weights(tmp_path):
    from cellseg_nb.methods.wnet3d import WNet3DMethod

    image, _ = simulate.volume((34, 41, 50), 20, seed=3)
    volumes.write(tmp_path / "mine.tif", image, (2.0, 1.0, 1.0))
    method = WNet3DMethod(channels=(8, 8, 16, 16), cube=16, epochs=4, device="cpu")
    method.fit([image], progress=False)
    out, summary = executed(
        "04_inference",
        tmp_path / "out",
        images=tmp_path / "mine.tif",
        weights=method.save(tmp_path / "w").parent,
        method="watershed",
        closing=1,
        hand_on="Jane Doe; CC-BY-4.0; a simulated volume",
    )
    assert (
        summary["volume"] == "mine" and summary["voxel_size_um"] == [2, 1, 1] and "f1_at_0.5" not in summary
    )
    said = (out / "04_inference.ipynb").read_text()  # handed on, read again and compared
    assert "bioimageio.core says passed; read again, difference 0" in said and "largest difference" in said
    for name in ("package.zip", "wnet3d.onnx"):
        assert weights.load(out / name).threshold == method.threshold


def test_04_names_weights_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="nowhere.pth"):
        runs.run("04_inference", {"weights": "nowhere.pth"}, tmp_path / "out")


def published(folder, monkeypatch, scale=0.65):
    """The cache's folder, with the paper's data in it, made up and smaller; trainings are shrunk."""
    datasets.simulated(folder / "cellseg3d", scale=scale, names=("c1", "c5", "visual"))
    monkeypatch.setenv("CELLSEG_NB_SHRINK", "cube=32,steps=1,epochs=1")
    return folder


def test_01_profile_paper(tmp_path, monkeypatch):
    given = dict(profile="paper", cache=published(tmp_path / "cache", monkeypatch), cube=32)
    out, summary = executed("01_data", tmp_path / "out", **given)
    assert summary["headline"].startswith("3 volumes")
    assert json.loads((out / "config.json").read_text())["dataset"] == "cellseg3d"


def test_03_profile_paper(tmp_path, monkeypatch):
    given = dict(profile="paper", cache=published(tmp_path / "cache", monkeypatch))
    out, summary = executed("03_supervised_training", tmp_path / "out", **given)
    trained = json.loads((out / "config.json").read_text())["trained"]
    assert summary["held_out"] == "visual" and trained["learning_rate"] == 1e-3 and trained["batch"] == 10
    chosen = {"threshold", "min_size"}  # on the training volumes
    assert as_published({k: v for k, v in trained.items() if k not in chosen}, "segresnet", "03") >= 12


def test_04_profile_paper(tmp_path, monkeypatch):
    """The released WNet3D, as the Hub would send it (with other numbers in it), on the paper's volumes."""
    cache = published(tmp_path / "cache", monkeypatch, 0.3)
    for name in inference_unseen.UNSEEN:  # one small volume of each data set
        pair(cache / name, 1, (24, 24, 24))
    with released(tmp_path / "weights", monkeypatch):
        out, summary = executed("04_inference", tmp_path / "out", profile="paper", cache=cache)
    assert summary["volume"] == "c5" and summary["weights"] == "wnet3d" and summary["threshold"] == 0.6
    assert summary["postprocess"] == "released" and summary["comparison"]
    unseen = pandas.read_csv(out / "zero_shot_f1.csv").volume.str.split(":").str[0]
    assert set(unseen) == set(inference_unseen.UNSEEN)  # and none of the volumes it was trained on


def test_08_reproduces_the_paper(tmp_path, capfd):
    out, _ = executed("08_statistics", tmp_path / "out")
    assert "encryption" not in capfd.readouterr().err  # no warning of Jupyter's greets the user
    kruskal = json.loads((out / "kruskal.json").read_text())
    assert kruskal["H"] == pytest.approx(49.212286777549934, rel=1e-12)
    assert kruskal["p"] == pytest.approx(2.0617114022093387e-08, rel=1e-12)


def test_08_averages_the_seeds_of_a_users_table(tmp_path):
    """The bar of the issue: p is that of the averaged table."""
    rng = np.random.default_rng(0)
    table = pandas.DataFrame(
        [
            {"method": m, "fold": f, "seed": s, "f1": 0.5 + 0.1 * i + 0.02 * f + rng.normal(0, 0.05)}
            for i, m in enumerate("abc")
            for f in range(6)
            for s in range(3)
        ]
    )
    table.to_csv(tmp_path / "mine.csv", index=False)
    out, _ = executed("08_statistics", tmp_path / "out", table=tmp_path / "mine.csv", block="fold")
    assert json.loads((out / "friedman.json").read_text())["blocks"] == 6
    assert list(pandas.read_csv(out / "posthoc.csv", index_col=0).index) == ["a", "b", "c"]
    means = table.groupby(["method", "fold"]).f1.mean().unstack("fold")
    kruskal = json.loads((out / "kruskal.json").read_text())
    assert kruskal["n"] == {"a": 6, "b": 6, "c": 6}
    assert kruskal["p"] == pytest.approx(scipy.stats.kruskal(*means.to_numpy()).pvalue, rel=1e-9)
