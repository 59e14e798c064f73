"""The command line as a user runs it: a subprocess. Bad input ends in one line and status 1, and writes over
nothing."""

import os
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellseg_nb import parameters, runs
from cellseg_nb.errors import UserError
from cellseg_nb.lessons import quickstart


def cellseg_nb(*arguments, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    return subprocess.run(
        [sys.executable, "-m", "cellseg_nb", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        **options,
    )


def one_line(run):
    """The error line of a failed run: exactly one, no traceback."""
    assert run.returncode == 1, run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    lines = [line for line in run.stderr.splitlines() if line.startswith("cellseg-nb: ")]
    assert len(lines) == 1, run.stderr
    return lines[0]


def test_importing_the_package_loads_nothing_heavy():
    heavy = "torch monai pandas scipy skimage matplotlib numpy tifffile".split()
    probe = f"import sys, cellseg_nb; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


def test_list_names_every_notebook():
    run = cellseg_nb("list")
    assert run.returncode == 0
    assert all(path.stem in run.stdout for path in runs.notebooks())


def test_doctor():
    run = cellseg_nb("doctor")
    assert run.returncode == 0, run.stdout
    assert "torch" in run.stdout and "device" in run.stdout


def test_the_module_of_the_command_line_runs_too():
    run = subprocess.run([sys.executable, "-m", "cellseg_nb.cli", "look", "nope.tif"], capture_output=True)
    assert run.returncode == 1 and b"nope.tif does not exist" in run.stderr


def test_no_command_shows_help():
    run = cellseg_nb()
    assert run.returncode == 1 and "usage" in run.stdout


def test_unknown_notebook_and_parameter(tmp_path):
    assert "00_quickstart" in one_line(cellseg_nb("run", "99_nothing"))
    assert "no parameter 'sed'" in one_line(
        cellseg_nb("run", "00_quickstart", "-p", "sed", 1, "-o", tmp_path / "o")
    )
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "text, default, value",
    [
        ("3", 0, 3),
        ("3", 0.5, 3.0),
        ("yes", False, True),
        ("0", True, False),
        ("5,1,1", "auto", "5,1,1"),
        ("-1", -1, -1),
    ],
)
def test_parameters_take_the_type_of_their_default(text, default, value):
    converted = runs.convert("name", text, default)
    assert converted == value and type(converted) is type(value)


@pytest.mark.parametrize("text, default", [("3.5", 0), ("x", 0.5), ("maybe", False), ("", 1)])
def test_parameters_of_the_wrong_type(text, default):
    with pytest.raises(UserError, match="parameter name must be"):
        runs.convert("name", text, default)


BAD = {
    "missing": (lambda p: None, "does not exist"),
    "not_a_tiff": (lambda p: p.write_text("hello"), "not a TIFF"),
    "flat": (lambda p: tifffile.imwrite(p, np.eye(40, dtype=np.uint16)), "2"),
    "channels": (
        lambda p: tifffile.imwrite(p, np.eye(40, dtype="u2")[None, None].repeat(40, 1).repeat(2, 0)),
        "choose with channel=0 (on the command line: -p channel 0)",
    ),
    "constant": (lambda p: tifffile.imwrite(p, np.ones((40, 40, 40), np.uint16)), "same"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_images_end_in_one_line(tmp_path, kind):
    """All other kinds of bad files are tried in test_volumes.py; these go the whole way through the
    notebook."""
    path, out = tmp_path / "volume.tif", tmp_path / "out"
    BAD[kind][0](path)
    out.mkdir()
    (out / "labels.tif").write_text("from last week")
    line = one_line(cellseg_nb("run", "00_quickstart", "-p", "images", path, "-o", out))
    assert str(path) in line and BAD[kind][1] in line
    assert {p.name: p.read_text() for p in out.iterdir()} == {"labels.tif": "from last week"}


def test_copied_notebooks_are_never_written_over(tmp_path):
    run = cellseg_nb("copy", "mine", cwd=tmp_path)
    assert run.returncode == 0 and sorted(p.name for p in (tmp_path / "mine").iterdir()) == [
        p.name for p in runs.notebooks()
    ]
    (tmp_path / "mine" / "08_statistics.ipynb").write_text("changed")
    assert "there already" in one_line(cellseg_nb("copy", "mine", cwd=tmp_path))
    assert (tmp_path / "mine" / "08_statistics.ipynb").read_text() == "changed"


@pytest.fixture
def given(monkeypatch, tmp_path):
    """What a run hands to the notebook, from a folder in which the user stands: parameters -> values."""
    place = tmp_path / "Meine Daten ü"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    handed = {}
    monkeypatch.setattr(runs, "_execute", lambda path, out, values, kernel: handed.update(values))
    monkeypatch.setattr(runs, "_report", lambda *_: None)

    def run(name, **parameters):
        handed.clear()
        runs.run(name, parameters)
        return dict(handed)

    run.place = place
    return run


def test_relative_paths_are_those_of_the_user(given, tmp_path):
    """Whether they exist yet or not; with blanks, umlauts and ~."""
    handed = given("00_quickstart", images="zwei Zellen/a ö.tif", labels="~/l.tif", out="mine")
    assert handed["images"] == str(given.place / "zwei Zellen" / "a ö.tif")
    assert handed["labels"] == str(tmp_path / "home" / "l.tif") and handed["out"] == str(given.place / "mine")
    assert given("03_supervised_training", start="earlier")["start"] == str(given.place / "earlier")
    assert given("04_inference", folder="many", other="o.tif") | {"out": 0} == {
        "folder": str(given.place / "many"),
        "other": str(given.place / "o.tif"),
        "out": 0,
    }
    assert given("08_statistics", table="t.csv")["out"] == str(given.place / "results" / "08_statistics")


def test_names_stay_names(given):
    """Though a folder of that name lies there."""
    for name in ("simulated", "wnet3d", "upload", "owner"):
        (given.place / name).mkdir()
    assert given("01_data", dataset="simulated")["dataset"] == "simulated"
    assert given("04_inference", weights="wnet3d")["weights"] == "wnet3d"
    assert given("00_quickstart", images="upload")["images"] == "upload"
    assert given("04_inference", weights="owner/name")["weights"] == "owner/name"
    (given.place / "owner" / "name").touch()
    assert given("04_inference", weights="owner/name")["weights"] == str(given.place / "owner" / "name")
    assert given("01_data", dataset="mine")["dataset"] == str(given.place / "mine")
    several = given("04_inference", other="platynereis_ish,mine.tif")["other"]
    assert several == f"platynereis_ish, {given.place / 'mine.tif'}"


@pytest.mark.parametrize("path", runs.notebooks(), ids=lambda path: path.stem)
def test_paths_are_marked_in_the_notebook(path):
    marked, known = runs.path_parameters(path), runs.parameters(path)
    assert "out" in marked and set(marked) <= set(known)
    likely = {"images", "labels", "dataset", "cache", "table", "weights", "start", "other", "folder"} & set(
        known
    )
    assert likely <= set(marked)


WRONG = [
    ("threshold", 2.0, "between"),
    ("device", "cuda:99", "not available"),
    ("seed", -3, "between"),
    ("voxel_size", "1,2", "three"),
    ("profile", "huge", "one of"),
]


@pytest.mark.parametrize("name, value, word", WRONG)
def test_parameters_out_of_range(tmp_path, name, value, word):
    defaults = runs.parameters(runs.find("00_quickstart"))
    with pytest.raises(UserError, match=f"{name.split('_')[0]}.*{word}"):
        parameters.check(quickstart.PARAMETERS, {**defaults, "out": str(tmp_path / "out"), name: value})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name, value, word", WRONG[:2])
def test_parameters_out_of_range_end_in_one_line(tmp_path, name, value, word):
    line = one_line(cellseg_nb("run", "00_quickstart", "-p", name, value, "-o", tmp_path / "out"))
    assert word in line and name in line


def test_output_folder_is_a_file(tmp_path):
    (tmp_path / "out").write_text("precious")
    assert str(tmp_path / "out") in one_line(cellseg_nb("run", "00_quickstart", "-o", tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "precious"


def test_debug_shows_the_traceback():
    run = cellseg_nb("run", "99_nothing", "--debug")
    assert run.returncode == 1 and "Traceback" in run.stderr


@pytest.mark.notebook
def test_killed_then_started_again_then_started_over(tmp_path):
    """SIGKILL the whole run while it trains; the second run carries on and leaves every result. Another seed
    is refused in that folder. Started over, the training is done anew, undisturbed, and ends with the same
    bits."""
    rng = np.random.default_rng(0)
    volume = rng.poisson(100, (40, 40, 40)).astype(np.uint16)
    for z, y, x in rng.integers(5, 35, (12, 3)):
        volume[z - 3 : z + 3, y - 3 : y + 3, x - 3 : x + 3] += 900
    tifffile.imwrite(tmp_path / "v.tif", volume)
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "cellseg_nb",
        "run",
        "00_quickstart",
        "-p",
        "images",
        str(tmp_path / "v.tif"),
        "-p",
        "epochs",
        "2",
        "-p",
        "voxel_size",
        "2,1,1",
        "-o",
        str(out),
    ]
    first = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    checkpoint = out / "training" / "checkpoint.pt"
    deadline = time.time() + 900
    while not checkpoint.exists() and time.time() < deadline and first.poll() is None:
        time.sleep(0.1)
    os.killpg(first.pid, 9)
    first.wait()
    assert checkpoint.exists() and not (out / "labels.tif").exists()
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    names = {path.name for path in out.iterdir()}
    left = "report.html probability.tif labels.tif cells.csv summary.json config.json wnet3d.pt"
    assert {"00_quickstart.ipynb", *left.split()} <= names
    weights, history = trained(out)
    before = (out / "wnet3d.pt").read_bytes()
    line = one_line(subprocess.run([*command, "-p", "seed", "1"], capture_output=True, text=True))
    assert "belongs to another run" in line and "seed" in line and (out / "wnet3d.pt").read_bytes() == before
    assert subprocess.run([*command, "-p", "start_over", "true"], capture_output=True).returncode == 0
    again, anew = trained(out)
    # not merely left as it was
    assert [row["seconds"] for row in anew] != [row["seconds"] for row in history]
    assert all(bool((weights[key] == again[key]).all()) for key in weights)


def trained(out):
    """Weights and history of a finished run."""
    import torch

    return (
        torch.load(out / "wnet3d.pt", weights_only=True)["model"],
        torch.load(out / "training" / "checkpoint.pt", weights_only=True)["history"],
    )


def test_report_in_an_environment_on_top_of_another(tmp_path):
    """As `uv run --with` makes them: nbconvert's templates belong to the environment below."""
    venv.create(tmp_path / "above", with_pip=False)
    packages = next((tmp_path / "above").rglob("site-packages"))
    below = [str(Path(__file__).parents[1]), sysconfig.get_paths()["purelib"]]
    (packages / "below.pth").write_text("\n".join(below), encoding="utf-8")
    code = (
        "import nbformat, pathlib\nfrom cellseg_nb import runs\n"
        "nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell('a word')])"
        ", 'n.ipynb')\n"
        "runs._report(pathlib.Path('n.ipynb'), pathlib.Path('.'))"
    )
    python = next((tmp_path / "above").rglob(Path(sys.executable).name))
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "JUPYTER_NO_CONFIG": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    subprocess.run([str(python), "-c", code], cwd=tmp_path, env=environment, check=True, timeout=600)
    assert "a word" in (tmp_path / "report.html").read_text(encoding="utf-8")
