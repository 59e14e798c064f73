"""``reproduce paper``: what is run, what is not run again, the report, the cost; the whole of it shrunk."""

import contextlib
import json
import time

import numpy as np
import pandas
import pytest

from cellseg_nb import cli, runs
from cellseg_nb.data import bundled, simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import files, volumes
from cellseg_nb.kit import cost, report, reproduce
from cellseg_nb.lessons import inference_unseen

PANELS = {panel for panels in report.PANELS.values() for panel in panels}


def written(path, *listed, **common):
    path.write_text(json.dumps({"common": common, "runs": listed}))
    return path


def test_the_configuration_runs_01_to_08_in_order(tmp_path):
    plan = reproduce.read(None, tmp_path)
    stems = [path.stem for path in runs.notebooks() if "01" <= path.stem[:2] <= "08"]
    assert list(dict.fromkeys(one["notebook"] for one in plan)) == stems == list(report.PANELS)
    for one in plan:
        known = runs.parameters(runs.find(one["notebook"]))
        assert set(one["parameters"]) <= set(known) and one["folder"].parent == tmp_path
        assert one["parameters"].get("profile", "paper") == "paper"
    own = plan[-1]["parameters"]["table"]
    assert own == str(tmp_path / "06_label_efficiency" / "results.csv")


@pytest.mark.parametrize(
    "listed, words",
    [
        ([], "no runs"),
        ([{"run": "a"}], "notebook"),
        ([{"run": "a", "notebook": "99_nothing"}], "no notebook"),
        ([{"run": "a", "notebook": "08", "parameters": {"sed": 1}}], "no parameter 'sed'"),
        ([{"run": "a", "notebook": "08", "parameters": {"out": "x"}}], "own folder"),
        ([{"run": "../a", "notebook": "08"}], "name of a folder"),
        ([{"run": "a", "notebook": "08"}] * 2, "twice"),
        ([{"run": "a", "notebook": "08", "parameters": {"seed": "x"}}], "mine.json: parameter seed must be"),
        ([{"run": "a", "notebook": "08", "trains": 3}], "no configuration"),
        ([{"run": "a", "notebook": "08", "trains": {"wnet3d": "x"}}], "a: trains wnet3d must be"),
        ([{"run": "a", "notebook": "08", "cubes": "x"}], "a: cubes must be a whole number"),
    ],
)
def test_a_wrong_configuration_is_one_line_before_anything_runs(tmp_path, capsys, listed, words):
    config = written(tmp_path / "mine.json", *listed)
    assert cli.main(["reproduce", "paper", "-c", str(config), "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and words in said[0] and not (tmp_path / "out").exists()


def test_no_json(tmp_path):
    (tmp_path / "mine.json").write_text("{")
    with pytest.raises(UserError, match="no configuration"):
        reproduce.read(tmp_path / "mine.json", tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        reproduce.read(tmp_path / "nothing.json", tmp_path)


def test_dry_run_says_hours_memory_and_disk_and_runs_nothing(tmp_path, capsys):
    assert cli.main(["reproduce", "paper", "--dry-run", "-o", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not (tmp_path / "out").exists()
    names = [one["run"] for one in json.loads(bundled.path("reproduce_paper.json").read_text())["runs"]]
    assert [line.split()[0] for line in lines[1 : 1 + len(names)]] == names
    total = next(line for line in lines if line.startswith("all")).split()
    assert all(float(number) > 0 for number in total[1:])
    hours, memory, disk = cost.training("wnet3d", cubes=74)
    assert (
        hours > cost.training("segresnet", cubes=74)[0] > 0
        and memory > 1
        and disk == pytest.approx(1.01, rel=0.1)
    )


@pytest.fixture
def statistics(tmp_path):
    """A configuration of one run that is quick, with the numbers of the paper."""
    return written(tmp_path / "mine.json", {"run": "last", "notebook": "08_statistics"})


@pytest.mark.notebook
def test_what_is_finished_is_not_done_again(tmp_path, statistics, capsys):
    out = tmp_path / "out"
    assert reproduce.paper(statistics, out) == 0
    table = pandas.read_csv(out / "report.csv")
    assert (table.panel == "S1f").all() and len(table) == 2
    assert np.allclose(table.difference / table.published, 0, atol=1e-9)  # to the digit
    assert "49.2123" in (out / "report.md").read_text() and "49.2123" in (out / "report.html").read_text()
    made = (out / "last" / "summary.json").stat().st_mtime_ns
    assert reproduce.paper(statistics, out) == 0 and "is done already" in capsys.readouterr().out
    assert (out / "last" / "summary.json").stat().st_mtime_ns == made
    other = written(statistics, {"run": "last", "notebook": "08_statistics"}, seed=1)
    assert not reproduce.finished(reproduce.read(other, out)[0])


@pytest.mark.notebook
def test_one_that_fails_stops_no_other(tmp_path, capsys):
    bad = {"run": "bad", "notebook": "08", "parameters": {"table": str(tmp_path / "none.csv")}}
    config = written(tmp_path / "mine.json", bad, {"run": "good", "notebook": "08"})
    assert reproduce.paper(config, tmp_path / "out") == 1
    table = pandas.read_csv(tmp_path / "out" / "report.csv").set_index("run")
    assert "none.csv" in table.loc["bad", "what"] and table.loc["good", "here"].notna().all()
    assert not (tmp_path / "out" / "bad" / reproduce.RECORD).exists()


@pytest.fixture
def cluster():
    """Makes a Dask cluster of two workers here, and returns its scheduler's address."""
    distributed = pytest.importorskip("distributed")
    with contextlib.ExitStack() as opened:

        def make(**options):
            common = dict(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL")
            made = opened.enter_context(distributed.LocalCluster(**common | options))
            return made.scheduler_address

        yield make


def test_on_many_machines_each_waits_for_what_it_reads(tmp_path, monkeypatch, capsys, cluster):
    ran = []

    def run(one):
        assert all((tmp_path / "out" / name / "summary.json").is_file() for name in one["after"])
        ran.append(one["run"])
        if one["run"] == "bad":
            raise UserError("no such table")
        if one["run"] != "lost":
            files.write_json(one["folder"] / "summary.json", {})
            files.write_json(one["folder"] / reproduce.RECORD, reproduce.record(one))
        time.sleep(0.1)

    monkeypatch.setattr(reproduce, "_run", run)
    monkeypatch.setattr(reproduce.report, "write", lambda out, plan, failed: [failed])
    reads = {"table": "{out}/a/x.csv"}
    listed = [{"run": name, "notebook": "08"} for name in ("a", "bad", "lost")]
    config = written(tmp_path / "mine.json", *listed, {"run": "b", "notebook": "08", "parameters": reads})
    address = cluster(processes=False)
    assert reproduce.paper(config, tmp_path / "out", scheduler=address) == 1
    assert sorted(ran) == ["a", "b", "bad", "lost"] and ran.index("a") < ran.index("b")
    said = capsys.readouterr().out
    assert "bad: failed: no such table" in said and "all machines must see that folder" in said
    (tmp_path / "out" / "a" / reproduce.RECORD).unlink()  # then what was made of it is no longer finished
    ran.clear()
    assert reproduce.paper(config, tmp_path / "out", scheduler=address) == 1
    assert sorted(ran) == ["a", "b", "bad", "lost"]
    with pytest.raises(UserError, match="--nthreads 1"):
        reproduce.paper(config, tmp_path / "out", scheduler=cluster(processes=False, threads_per_worker=2))


@pytest.fixture
def shrunk(tmp_path, monkeypatch):
    """The shipped configuration in ``paper``, on volumes named like the real ones; with the quick ones of the
    networks (the others: test_notebook_02 to 07)."""
    monkeypatch.setenv("CELLSEG_NB_SHRINK", "cube=32,steps=1,epochs=1")
    folder = tmp_path / "cache" / "cellseg3d" / "DATASET_WITH_GT"
    for number, name in enumerate(("c1", "c3", "c5", "visual")):
        image, labels = simulate.volume((64, 32, 32), 20, seed=number, artefact=name == "visual")
        volumes.write(folder / f"{name}.tif", image, (5, 5, 5))
        volumes.write(folder / "labels" / f"{name}.tif", labels, (5, 5, 5))
    for number, name in enumerate(inference_unseen.UNSEEN):  # a small volume of each
        image, labels = simulate.volume((24, 24, 24), 6, seed=number)
        volumes.write(tmp_path / "cache" / name / "images" / "v.tif", image, (5, 5, 5))
        volumes.write(tmp_path / "cache" / name / "labels" / "v.tif", labels, (5, 5, 5))
    content = json.loads(bundled.path("reproduce_paper.json").read_text(encoding="utf-8"))
    content["common"] |= {"cache": str(tmp_path / "cache"), "processes": 1, "device": "cpu"}
    smaller = {
        "01_data": {"cube": 32},
        "04_inference": {"weights": "{out}/03_segresnet"},  # the released ones are not here
        "05_cellpose_stardist": {"methods": "otsu, segresnet", "held_out": "c5"},
        # the paper's teacher learns from a download
        "07_labels_from_wnet3d": {"teacher_data": "same", "network": "segresnet"},
        "08_statistics_of_06": {"block": ""},  # two methods are too few for a paired test
        "06_label_efficiency": dict(methods="otsu, segresnet", percentages="80", seeds="0", cube=32),
    }
    content["runs"] = [one for one in content["runs"] if one["run"] != "03_swinunetr"]
    for one in content["runs"]:
        one["parameters"] = one.get("parameters", {}) | smaller.get(one["run"], {})
    (tmp_path / "mine.json").write_text(json.dumps(content))
    return tmp_path / "mine.json"


@pytest.mark.notebook
@pytest.mark.slow
def test_the_whole_paper_shrunk_ends_in_one_report_with_a_row_for_each_panel(tmp_path, shrunk, cluster):
    """On two workers of Dask; one after another is what the tests above do."""
    out = tmp_path / "out"
    status = reproduce.paper(shrunk, out, scheduler=cluster())
    table = pandas.read_csv(out / "report.csv")
    assert status == 0, table[["run", "what"]].to_string()
    assert set(table.panel) >= PANELS
    assert list(table.run.unique()) == [one["run"] for one in reproduce.read(shrunk, out)]
    both = table.dropna(subset=["published", "here"])
    assert {"01_data", "03_segresnet", "05_cellpose_stardist", "06_label_efficiency", "08_statistics"} <= set(
        both.run
    )
    assert np.allclose(both.difference, both.here - both.published)
    assert reproduce.paper(shrunk, out) == 0  # and nothing is done twice
