"""A session survives: a kernel that dies in the middle of a save, a read-only folder, a second tab."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas
import pytest

from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.viewer import review
from cellseg_nb.viewer.session import Session
from cellseg_nb.viewer.source import Source
from cellseg_nb.viewer.view import View

SIZE = (2.0, 1.0, 1.0)


@pytest.fixture
def volume():
    return simulate.volume((12, 40, 48), 20, seed=4)


def opened(folder, volume, **options):
    return Session(folder, Source(volume[0], SIZE), **{"labels": volume[1], **options})


def test_a_session_comes_back(tmp_path, volume):
    clock = iter(np.arange(0, 1000, 2.0))
    one = opened(tmp_path / "s", volume, clock=lambda: next(clock))
    one.canvas.delete(3)
    one.working(5, 3, 1)
    one.decide(4, "accepted")
    one.working(6)
    one.close()
    again = opened(tmp_path / "s", volume, labels=None)
    assert again.resumed and np.array_equal(again.canvas.labels, one.canvas.labels)
    assert again.states == {4: "accepted"}
    table = again.times()
    assert table[(table.kind == "slice") & (table.number == 5)].seconds.item() == 2.0
    assert table[(table.kind == "cell") & (table.number == 3)].edits.item() == 1
    again.close()
    labels, size = volumes.read_labels(tmp_path / "s" / "labels.tif")
    assert np.array_equal(labels, one.canvas.labels) and np.allclose(size, SIZE)
    assert list(pandas.read_csv(tmp_path / "s" / "times.csv").columns) == list(table.columns)
    fresh = opened(tmp_path / "s", volume, start_over=True)
    assert not fresh.resumed and np.array_equal(fresh.canvas.labels, volume[1])
    fresh.close()


def decided(folder, volume):
    """A session in which two items of the queue were decided: what it has learned from."""
    one = opened(folder, volume)
    items = review.queue(volume[0], volume[1], None, SIZE)
    one.seen = {(i.number, i.place): (i, 3 * n) for n, i in enumerate(items[:2])}
    one.canvas.delete(3)
    one.decide(4, "accepted")
    one.working(5, 4)
    one.close()
    return one


def test_what_the_queue_has_learned_comes_back(tmp_path, volume):
    one = decided(tmp_path, volume)
    again = opened(tmp_path, volume, labels=None)
    told = [[(i.number, i.place, i.reasons, w) for i, w in s.seen.values()] for s in (one, again)]
    assert told[0] == told[1] and again.damaged == []
    items = review.queue(volume[0], volume[1], None, SIZE)
    learned = [review.learned(items[2:], list(s.seen.values())) for s in (one, again)]
    assert learned[0] == learned[1] != items[2:]
    again.close()
    fresh = opened(tmp_path, volume, start_over=True)
    assert fresh.seen == {}
    fresh.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda known: "{ half",
        lambda known: "[]",
        lambda known: json.dumps(known | {"reasons": ["size"]}),
        lambda known: json.dumps(known | {"volume": {"shape": [1, 2, 3]}}),
        lambda known: json.dumps(known | {"decided": [[1, [1, 2], [0.0] * 8, True]]}),
        lambda known: json.dumps(known | {"decided": [[1, [1, 2, 3], [7.0] * 8, True]]}),
        lambda known: json.dumps(known | {"decided": 5}),
        lambda known: json.dumps(known | {"decided": [[1, [1, 2, float("inf")], [0.0] * 8, True]]}),
        lambda known: "[" * 100_000,
    ],
)
def test_a_bad_or_foreign_queue_is_a_line_and_loses_nothing_else(tmp_path, volume, spoil):
    one = decided(tmp_path, volume)
    file = tmp_path / "queue.json"
    file.write_text(spoil(json.loads(file.read_text())))
    before = file.read_bytes()
    again = opened(tmp_path, volume, labels=None)
    line = "queue.json cannot be read: it begins anew, and the old one is kept as queue_unreadable.json"
    assert again.damaged == [line] and again.seen == {}
    assert again.states == {4: "accepted"} and np.array_equal(again.canvas.labels, one.canvas.labels)
    assert (tmp_path / "queue_unreadable.json").read_bytes() == before
    assert line in View(again.source, session=again).handle({"do": "hello"})[0]["say"]
    again.close()
    opened(tmp_path, volume).close()  # and the next time all is well


def test_a_bad_table_of_times_is_a_line_and_loses_nothing_else(tmp_path, volume):
    one = decided(tmp_path, volume)
    for bad in ("", "a,b\n1,2\n", '"half', "kind,number,seconds,edits,state\ncell,inf,3,1,\n"):
        (tmp_path / "times.csv").write_text(bad)
        again = opened(tmp_path, volume, labels=None)
        assert "times.csv cannot be read" in again.damaged[0] and len(again.seen) == 2
        assert np.array_equal(again.canvas.labels, one.canvas.labels)
        assert (tmp_path / "times_unreadable.csv").read_text() == bad
        again.close()


def test_a_pause_is_no_work(tmp_path, volume):
    now = [0.0]
    one = opened(tmp_path, volume, clock=lambda: now[0])
    one.working(1)
    now[0] = 3600.0
    one.working(2)
    assert one.times().seconds.tolist() == [30.0]
    one.close()


def test_bad_input_in_one_line(tmp_path, volume):
    with pytest.raises(UserError, match="labels have shape"):
        opened(tmp_path / "a", volume, labels=volume[1][1:])
    opened(tmp_path / "a", volume).close()
    other = simulate.volume((12, 40, 48), 20, seed=5)
    with pytest.raises(UserError, match="another volume"):
        opened(tmp_path / "a", other)
    with pytest.raises(UserError, match="another volume"):
        Session(tmp_path / "a", Source(volume[0], (1.0, 1.0, 1.0)))
    (tmp_path / "a" / "session.json").write_text("{ half")
    with pytest.raises(UserError, match="cannot be read.*start_over"):
        opened(tmp_path / "a", volume)
    opened(tmp_path / "a", volume, start_over=True).close()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a file is in the way"):
        opened(tmp_path / "file", volume)
    one = opened(tmp_path / "b", volume)
    with pytest.raises(UserError, match="accepted, fixed, wrong"):
        one.decide(1, "good")
    one.close()


def test_a_folder_that_becomes_read_only_loses_nothing(tmp_path, volume, monkeypatch):
    one = opened(tmp_path / "s", volume, every=0.05)
    one.canvas.delete(1)

    def full(*_, **__):
        raise UserError("the disk is full: free some space")

    monkeypatch.setattr(volumes, "write", full)
    one.autosave()
    for _ in range(3000):
        time.sleep(0.02)
        if one.trouble:
            break
    assert "disk is full" in one.trouble
    assert volumes.read_labels(tmp_path / "s" / "labels.tif")[0].max() == volume[1].max()
    monkeypatch.undo()
    one.close()
    labels, _ = volumes.read_labels(tmp_path / "s" / "labels.tif")
    assert 1 not in labels and one.trouble == ""


def run(folder, *words, **options):
    """A process that opens the session, paints all the time, saves as often as it can."""
    code = f"""if True:
        import sys, time, numpy as np
        from cellseg_nb.data import simulate
        from cellseg_nb.errors import UserError
        from cellseg_nb.viewer.session import Session
        from cellseg_nb.viewer.source import Source
        image, _ = simulate.volume((12, 40, 48), 20, seed=4)
        try:
            one = Session({str(folder)!r}, Source(image, {SIZE}), every=0.02).autosave()
        except UserError as error:
            sys.exit(str(error))
        print("open", flush=True)
        n = int(one.canvas.labels.reshape(-1)[0])
        while True:
            n += 1
            one.canvas.labels.reshape(-1)[:n] = n  # how far it is stands in every one of these voxels
            one.canvas.version += 1
            print(n, flush=True)
            time.sleep(0.01)
    """
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.slow
def test_the_kernel_is_killed_fifty_times_in_the_middle_of_a_save(tmp_path):
    """Always readable, always all of one moment, never older than a save (here every 0.02 s, at most 3 s
    late on a busy machine)."""
    rng, last, late = np.random.default_rng(0), 0, []
    kills = 50
    process = run(tmp_path)
    for kill in range(kills):
        assert process.stdout.readline() == "open\n", process.stderr.read()
        time.sleep(0.25 + rng.uniform(0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        said = [int(word) for word in process.stdout.read().split()]
        process.wait()
        labels, _ = volumes.read_labels(tmp_path / "labels.tif", own=True)
        n = int(labels.reshape(-1)[0])
        assert (labels.reshape(-1)[:n] == n).all() and not labels.reshape(-1)[n:].any()
        assert last <= n <= said[-1] + 1
        last = n
        late.append(said[-1] - n)
        process = run(tmp_path) if kill < kills - 1 else process
    assert last > kills and max(late) * 0.01 < 60  # it went on where it was, a step every 0.01 s


def test_two_notebooks_on_one_session(tmp_path, volume):
    process = run(tmp_path)
    assert process.stdout.readline() == "open\n"
    with pytest.raises(UserError, match="open in another notebook"):
        opened(tmp_path, volume, labels=None)
    process.kill()
    process.wait()
    one = opened(tmp_path, volume, labels=None)  # the lock went with the process
    again = opened(tmp_path, volume, labels=None)  # a cell that is run again takes over
    assert again.resumed and one is not again
    again.close()
