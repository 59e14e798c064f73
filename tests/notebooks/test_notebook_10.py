"""Notebook 10 executed by papermill: with its defaults, and on a user's volume without truth."""

import json

import pandas
import pytest
from executing import executed

from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes

pytestmark = pytest.mark.notebook


def test_10_the_queue_halves_the_work_and_correcting_pays(tmp_path):
    out, summary = executed("10_label_and_correct", tmp_path / "out", pictures=7)
    orders = {path.stem: pandas.read_csv(path) for path in out.glob("order_*.csv")}
    for column, least in (("looked", 0.5), ("corrections", 0.6)):  # measured: 0.29 and 0.46
        took = {name: int(one[column][one.f1 >= 0.95].iloc[0]) for name, one in orders.items()}
        queue = took.pop("order_queue")
        assert len(took) == 5 and queue <= least * sum(took.values()) / 5, (column, queue, took)
    scores = [row["F1@0.5"] for row in summary["scores"]]
    assert len(scores) == 3 and scores[1] > scores[0] + 0.04 and scores[2] > scores[0] + 0.04
    labels, size = volumes.read_labels(out / "session" / "labels.tif")
    first, _ = volumes.read_labels(out / "first_labels.tif")
    assert (labels == first).all() and size == (2, 2, 2)  # nobody drew anything
    assert {"segresnet.pt", "doubts.csv", "times.csv"} <= {path.name for path in out.iterdir()}
    assert (out / "for_training" / "labels" / "volume.tif").exists()
    assert "0.95 after" in summary["headline"]


def test_10_on_a_users_volume_goes_on_with_the_session(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLSEG_NB_SHRINK", "cube=16,steps=2,epochs=2")
    image, labels = simulate.volume((24, 40, 48), 20, seed=3)
    volumes.write(tmp_path / "mine.tif", image, (2, 1, 1))
    volumes.write(tmp_path / "labels.tif", labels, (2, 1, 1))
    given = dict(images=tmp_path / "mine.tif", labels=tmp_path / "labels.tif", corrections="mine")
    out, summary = executed("10_label_and_correct", tmp_path / "out", pictures=4, **given)
    assert summary["headline"].endswith("cells") and "F1@0.5" not in summary["scores"][0]
    drawn, size = volumes.read_labels(out / "session" / "labels.tif")
    drawn[drawn == 5] = 0  # as drawn in the browser, between two runs
    volumes.write(out / "session" / "labels.tif", drawn, size)
    again, _ = executed("10_label_and_correct", tmp_path / "out", pictures=4, **given)
    assert not (volumes.read_labels(again / "corrected_labels.tif")[0] == 5).any()
    note = json.loads((out / "session" / "session.json").read_text())
    assert note["volume"]["shape"] == [24, 40, 48]
    volumes.write(tmp_path / "other.tif", labels[1:], (2, 1, 1))
    with pytest.raises(UserError, match="give the labels of this volume"):
        executed("10_label_and_correct", tmp_path / "other", **{**given, "labels": tmp_path / "other.tif"})
