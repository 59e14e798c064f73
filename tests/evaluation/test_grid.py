"""A grid of runs: each once, kept, in one process or several; what fails does not take the others with it."""

import os

import pandas

from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import grid
from cellseg_nb.methods import tuning

JOBS = tuning.combinations(method=["a", "b"], fold=["c3", "c5"], seed=[0])


def work(job, context):
    with open(context["log"], "a") as log:
        log.write(f"{job['method']}{job['fold']}\n")
    if context.get("fail") == (job["method"], job["fold"]):
        raise UserError("no memory left")
    return [{"threshold": t, "f1": t + context["add"], "process": os.getpid()} for t in (0.25, 0.5)]


def done(context):
    return open(context["log"]).read().split()


def test_finished_runs_are_not_run_again(tmp_path):
    context = {"log": tmp_path / "log", "add": 1}
    first = grid.run(JOBS[:3], work, context, tmp_path / "runs", {"size": 3})
    assert (
        list(first.columns) == ["method", "fold", "seed", "threshold", "f1", "process", "seconds"]
        and len(first) == 6
    )
    second = grid.run(JOBS, work, context, tmp_path / "runs", {"size": 3})
    assert done(context) == ["ac3", "ac5", "bc3", "bc5"] and len(second) == 8
    pandas.testing.assert_frame_equal(second[:6], first)
    grid.run(JOBS[:1], work, context, tmp_path / "runs", {"size": 4})  # other settings: another result
    assert done(context)[4:] == ["ac3"]


def test_a_damaged_file_is_made_anew(tmp_path):
    context = {"log": tmp_path / "log", "add": 1}
    grid.run(JOBS[:1], work, context, tmp_path / "runs")
    file = next((tmp_path / "runs").glob("a_c3_0_*.json"))
    file.write_text(file.read_text()[:20])
    assert len(grid.run(JOBS[:1], work, context, tmp_path / "runs")) == 2 and len(done(context)) == 2


def test_a_run_that_fails_leaves_the_others_and_is_tried_again(tmp_path, capsys):
    context = {"log": tmp_path / "log", "add": 1, "fail": ("a", "c5")}
    table = grid.run(JOBS, work, context, tmp_path / "runs")
    assert len(table) == 6 and "a, c5, 0: no memory left" in capsys.readouterr().out
    del context["fail"]
    assert len(grid.run(JOBS, work, context, tmp_path / "runs")) == 8 and len(done(context)) == 5


def test_several_processes_give_the_same_table(tmp_path):
    context = {"log": tmp_path / "log", "add": 1}
    one = grid.run(JOBS, work, context, tmp_path / "one")
    two = grid.run(JOBS, work, context, tmp_path / "two", processes=2)
    columns = ["method", "fold", "seed", "threshold", "f1"]
    pandas.testing.assert_frame_equal(one[columns], two[columns])
    assert set(one.process) == {os.getpid()} and os.getpid() not in set(two.process)


def test_settings_of_each_job(tmp_path):
    """One method's settings change: only its runs are made anew."""
    context = {"log": tmp_path / "log", "add": 1}
    grid.run(JOBS, work, context, tmp_path / "runs", lambda job: {"size": 3})
    changed = {"a": 3, "b": 4}
    grid.run(JOBS, work, context, tmp_path / "runs", lambda job: {"size": changed[job["method"]]})
    assert done(context)[4:] == ["bc3", "bc5"]


def test_what_was_kept_is_read_for_the_same_settings_only(tmp_path):
    file = tmp_path / "lesson.json"
    assert grid.kept(file, {}) is None
    grid.keep(file, {"sides": (1, 2), "out": tmp_path}, history=[1])
    assert grid.kept(file, {"sides": (1, 2), "out": tmp_path})["history"] == [1]
    assert grid.kept(file, {"sides": (1, 3), "out": tmp_path}) is None
    file.write_text("[]")
    assert grid.kept(file, {}) is None


def test_how_many_at_once(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 32)
    assert grid.at_once(0, "cpu") == 8 and grid.at_once(3, "cpu") == 3
