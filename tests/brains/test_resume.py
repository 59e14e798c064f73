"""Killed at any time and started again, a run ends with the same bytes; what fails is named by its place."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed")
pytest.importorskip("zarr")
pytest.importorskip("pyarrow")

import psutil  # noqa: E402
import slowly  # noqa: E402

from cellseg_nb.brains import blocks, engine, run, segment, sources  # noqa: E402
from cellseg_nb.errors import UserError  # noqa: E402

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def undisturbed(small_brain, tmp_path_factory):
    """A run in one process."""
    out = tmp_path_factory.mktemp("undisturbed")
    return out, slowly.everything(None, small_brain, out)


def kept(out):
    """All that a run leaves for its user: {path: bytes}."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and "work" not in path.relative_to(out).parts
    }


def start(source, out):
    path = os.pathsep.join([str(HERE), *sys.path])
    return subprocess.Popen(
        [sys.executable, HERE / "slowly.py", source, out],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


PATIENCE = 600  # seconds, where other programs hold the cores


def wait_for(process, folder, marks):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if folder.is_dir() and len(list(folder.glob("[0-9]*.npz"))) >= marks:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError(f"no {marks} marks within {PATIENCE} s")


def workers_of(process):
    """Dask's workers among the children of a client, those that are just starting too."""
    found = []
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended meanwhile
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


@pytest.mark.slow
def test_a_worker_and_the_client_killed(small_brain, undisturbed, tmp_path):
    out = tmp_path / "out"
    marks = out / "work" / "cells"
    process = start(small_brain, out)
    wait_for(process, marks, 1)
    workers = workers_of(process)
    assert len(workers) == 2
    wait_for(process, marks, 5)
    workers[0].kill()
    wait_for(process, marks, len(list(marks.glob("[0-9]*.npz"))) + 5)
    process.send_signal(signal.SIGSTOP)  # no other worker is begun from here on
    workers = workers_of(process)  # with the one in the place of the first
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert not alive  # workers end with their client
    done = {path.name: path.stat().st_mtime_ns for path in marks.glob("[0-9]*.npz")}
    assert 10 <= len(done) < 64 and not (out / "cells.csv").exists()
    process = start(small_brain, out)
    assert process.wait(PATIENCE) == 0, process.stderr.read()
    process.stderr.close()
    assert kept(out) == kept(undisturbed[0])
    again = {path.name: path.stat().st_mtime_ns for path in marks.glob("[0-9]*.npz")}
    assert all(again[name] == when for name, when in done.items())  # what was done is not done again


def test_a_run_of_other_settings_is_refused(small_brain, undisturbed):
    source = sources.find(small_brain)
    how = segment.recipe("otsu", 12.0, source.voxel_size)
    with pytest.raises(UserError, match="holds a run with another how: give another out"):
        run.begin(source, undisturbed[0], {}, how, slowly.CHUNK)


KINDS = [("otsu", "nearest"), ("spots", "nearest"), ("otsu", "connected")]


@pytest.mark.parametrize("kind, separate", KINDS)
def test_the_same_cells_with_any_chunk(small_brain, undisturbed, tmp_path, kind, separate):
    """The same table and the same array of labels; the first chunk is the whole volume, one pass."""
    source, first = sources.find(small_brain), None
    maps = run.look(source, slowly.DIAMETER)
    for chunk in (96, 50, (32, 96, 17)):
        how = segment.recipe(kind, slowly.DIAMETER, source.voxel_size, separate)
        out = tmp_path / str(chunk)
        job, _ = run.measure(None, run.begin(source, out, maps, how, chunk))
        assert run.segment_all(None, job)[0] == {}
        table = run.number(job, 20)
        labels = sources.find(run.write_labels(None, job)).read((slice(None),) * 3)
        assert first is None or (table.equals(first[0]) and np.array_equal(labels, first[1]))
        assert (np.bincount(labels.ravel())[1:] == table.volume_voxels).all()  # none lost on the way
        first = table, labels
    assert len(table) > 60 if separate == "nearest" else len(table) > 20
    assert kind == "spots" or separate == "connected" or table.equals(undisturbed[1])


def failing(job, block):
    if block.index == (0, 1, 0):
        raise UserError("that part is damaged")
    return {"n": np.zeros(1)}


@pytest.mark.parametrize("workers", [0, 1])
def test_what_fails_three_times_is_named_and_the_rest_finished(tmp_path, workers):
    every = blocks.grid((8, 8, 8), 4)
    if workers:
        path = os.environ.get("PYTHONPATH", "")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), path])
        with engine.connected(workers=1) as client:
            failed, took = engine.each(client, failing, None, every, tmp_path, "Trying")
        os.environ["PYTHONPATH"] = path
    else:
        failed, took = engine.each(None, failing, None, every, tmp_path, "Trying")
    assert failed == {"0-1-0": "that part is damaged"} and len(took) == 7
    assert len(list(tmp_path.glob("*.npz"))) == 7


def test_what_a_dead_worker_had_done_is_not_done_again(tmp_path):
    block = blocks.grid((8, 8, 8), 4)[2]
    assert block.index == (0, 1, 0)
    marker = engine.marker(tmp_path, block)
    marker.write_bytes(b"done")
    assert engine.once(failing, None, block, marker)["seconds"] >= 0 and marker.read_bytes() == b"done"


def test_a_scheduler_that_is_not_there():
    with pytest.raises(UserError, match=r"the scheduler tcp://127.0.0.1:9 cannot be reached"):
        with engine.connected("tcp://127.0.0.1:9"):
            pass


@pytest.mark.parametrize(
    "address", ["nonsense", "ftp://x:1", "http://127.0.0.1:8787", " ", "tls://127.0.0.1:2"]
)
def test_what_is_no_address_of_a_scheduler(address):
    with pytest.raises(UserError, match="is no address of a scheduler .* such as tcp://"):
        with engine.connected(address):
            pass


def test_workers_of_another_version(monkeypatch):
    with engine.connected(workers=1) as client:
        monkeypatch.setattr(engine, "PACKAGES", ("numpy",))
        own = engine.versions
        monkeypatch.setattr(engine, "versions", lambda: own() | {"numpy": "0.1"})
        monkeypatch.setattr(client, "run", lambda function: {"tcp://a": own()})
        with pytest.raises(
            UserError, match="the worker tcp://a has numpy .*, here it is 0.1: install the same"
        ):
            engine._check_versions(client)
