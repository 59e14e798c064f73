"""The panels and their tasks: what the buttons do, and the same as a call in a script."""

import time

import numpy as np
import pandas
import pytest

from cellseg_nb import methods
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.lessons import tasks, tasks_panels as panels


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLSEG_NB_SHRINK", "cube=16,steps=1,epochs=2")
    for number in range(2):
        image, labels = simulate.volume((16, 32, 32), 10, seed=number)
        volumes.write(tmp_path / "images" / f"v{number}.tif", image, (2, 1, 1))
        volumes.write(tmp_path / "labels" / f"v{number}.tif", labels, (2, 1, 1))
    return tmp_path


def press(panel, words):
    next(button for button in panel.widget.children[-2].children if button.description == words).click()


def test_train_segment_evaluate_by_panels(files):
    train = panels.Panel("train", images=str(files / "images"), out=str(files / "net"), epochs=2)
    train.start(wait=True)
    assert train.lines[-1] == "done" and len(train.result) == 2, train.lines
    assert any(line.startswith("epoch 2: ") for line in train.lines)
    assert len(pandas.read_csv(files / "net" / "history.csv")) == 2
    segment = panels.Panel(
        "segment", images=str(files / "images"), trained=str(files / "net"), out=str(files / "cells")
    )
    segment.start(wait=True)
    assert [path.name for path in segment.result] == ["v0_labels.tif", "v1_labels.tif"], segment.lines
    assert (files / "cells" / "v0_cells.csv").exists()
    evaluate = panels.Panel(
        "evaluate", labels=str(files / "cells"), truth=str(files / "labels"), out=str(files / "scores")
    )
    evaluate.start(wait=True)
    assert list(evaluate.result.columns) == ["file", "cells", "true", "F1", "precision", "recall", "Dice"]
    same = tasks.evaluate(files / "labels", files / "labels", files / "scores")
    assert (same.F1 == 1).all() and (same.Dice == 1).all()


def test_the_call_as_code_does_the_same(files):
    given = dict(labels=str(files / "labels"), truth=str(files / "labels"), out=str(files / "a"), iou=0.7)
    panel = panels.Panel("evaluate", **given)
    press(panel, "Export")
    assert "tasks.evaluate(" in panel.shown.value and "iou=0.7" in panel.code()
    exec(panel.code(), {})
    assert (files / "a" / "scores.csv").exists()
    assert "epochs" not in panels.Panel("train", images="x").code()  # defaults are left out
    scores = (files / "a" / "scores.csv").read_bytes()
    panel.start(wait=True)
    assert (files / "a" / "scores.csv").read_bytes() == scores and (panel.result.F1 == 1).all()
    images = str(files / "images")
    train = panels.Panel("train", images=images, out=str(files / "net"), epochs=2, seed=3, voxel_size="2,1,1")
    segment = panels.Panel(
        "segment", images=images, trained=str(files / "net"), out=str(files / "cells"), min_size=5
    )
    for panel in (train, segment):
        panel.start(wait=True)
        code = panel.code()
        for folder in ("net", "cells"):
            code = code.replace(repr(str(files / folder)), repr(str(files / f"{folder}_by_script")))
        exec(code, {})
    assert len(segment.result) == 2
    for path in segment.result:
        again, size = volumes.read_labels(files / "cells_by_script" / path.name, own=True)
        assert np.array_equal(again, volumes.read_labels(path, own=True)[0]) and size == (2, 1, 1)
    tables = [pandas.read_csv(files / folder / "history.csv") for folder in ("net", "net_by_script")]
    times = [name for name in tables[0] if "second" in name or "time" in name]
    pandas.testing.assert_frame_equal(*(table.drop(columns=times) for table in tables))


def test_stop_ends_after_a_volume(files):
    given = dict(labels=str(files / "labels"), truth=str(files / "labels"), out=str(files / "a"))
    panel, say = panels.Panel("evaluate", **given), panels.Panel.say
    panel.say = lambda line: [say(panel, line), panel.stop() if "v0.tif" in str(line) else None]
    panel.start(wait=True)
    assert panel.lines[-1] == "stopped" and panel.result.file.tolist() == ["v0.tif"]
    assert len(pandas.read_csv(files / "a" / "scores.csv")) == 1


def test_stop_ends_after_an_epoch_and_keeps_what_was_learned(files, monkeypatch):
    monkeypatch.setenv("CELLSEG_NB_SHRINK", "cube=16,steps=1")
    panel = panels.Panel(
        "train", images=str(files / "images"), out=str(files / "net"), epochs=200, method="wnet3d"
    )
    press(panel, "Start")
    for _ in range(3000):
        if any(line.startswith("epoch 1") for line in panel.lines):
            break
        time.sleep(0.1)
    press(panel, "Start")  # once is enough
    assert any("it is running" in line for line in panel.lines)
    press(panel, "Stop")
    panel.thread.join(600)
    assert panel.lines[-1] == "stopped" and 1 <= len(panel.result) < 200
    assert (files / "net" / "wnet3d.pt").exists()
    done = len(panel.result)
    further, say = f"epoch {done + 1}: ", panel.say  # Start again goes on, and does not take it for finished
    panel.say = lambda line: [say(line), panel.stop() if str(line).startswith(further) else None]
    panel.start(wait=True)
    assert panel.lines[-1] == "stopped" and len(panel.result) == done + 1


@pytest.fixture
def network(files):
    """An untrained WNet3D, saved as a training saves it."""
    methods.get("wnet3d", channels=(4, 4, 8, 8), voxel_size=(2, 1, 1)).save(files / "net")
    return str(files / "net")


def test_stop_ends_segment_in_the_midst_of_a_volume(files, network):
    given = dict(images=str(files / "images"), trained=network, out=str(files / "cells"))
    panel, say = panels.Panel("segment", **given), panels.Panel.say
    panel.say = lambda line: [say(panel, line), panel.stop() if "v1.tif, 2 of 2" in str(line) else None]
    panel.start(wait=True)
    assert panel.lines[-2:] == ["v1.tif: stopped, nothing of it is written", "stopped"]
    assert {path.name for path in (files / "cells").iterdir()} == {"v0_labels.tif", "v0_cells.csv"}
    assert [path.name for path in panel.result] == ["v0_labels.tif"]
    panel.stop()
    assert panel.lines[-1] == "nothing is running"


def test_stop_is_asked_for_before_each_layer(files, network):
    """The fifth layer is not reached; afterwards the network is as it was."""
    asked, said = [], []
    stop = lambda: len(asked) >= 5 or asked.append(1)  # noqa: E731
    given = dict(images=files / "images", trained=network, out=files / "cells", watch=said.append)
    assert tasks.segment(**given, stop=stop) == [] and len(asked) == 5
    assert "stopped" in said[-1] and not (files / "cells").exists()
    assert len(tasks.segment(**given)) == 2
    model = methods.method_class("wnet3d").load(network)
    image, size = volumes.read_one(files / "images" / "v0.tif", "here")
    labels = volumes.read_labels(files / "cells" / "v0_labels.tif", own=True)[0]
    assert np.array_equal(labels, model.segment(image, voxel_size=size))


def test_what_is_wrong_is_a_line_in_the_panel(files):
    panel = panels.Panel("train", images=str(files / "nothing"), out=str(files / "net"))
    panel.start(wait=True)
    assert panel.lines[-1].startswith("Look out: ") and "nothing" in panel.lines[-1]
    panel.fields["voxel_size"].value = "1,2"
    press(panel, "Export")
    assert "three positive numbers" in panel.lines[-1]
    panel = panels.Panel("train", images=str(files / "images"), out=str(files / "net"), method="segresnet")
    panel.start(wait=True)
    assert "learns from labels" in panel.lines[-1]
    with pytest.raises(UserError, match="no field 'epoch'"):
        panels.Panel("train", epoch=3)
    with pytest.raises(UserError, match="task must be one of"):
        panels.Panel("dream")


def test_in_batch_runs_the_call_is_printed(monkeypatch, capsys):
    monkeypatch.setenv("CELLSEG_NB_BATCH", "1")
    panels.panel("segment", images="a.tif", trained="net")
    assert "tasks.segment(" in capsys.readouterr().out
    assert np.all([name in panels.FIELDS for name in panels.Panel("segment").names])
