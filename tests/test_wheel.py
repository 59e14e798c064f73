"""The wheel is whole: built, installed outside the clone into a venv and into Debian's and Colab's layout,
and used from another folder, where the clone cannot help."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SITE = Path(sys.prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What git would give: the files of this clone without what is built or ignored."""
    place = tmp_path_factory.mktemp("clone") / "cellseg-nb"
    shutil.copytree(
        ROOT,
        place,
        ignore=shutil.ignore_patterns(
            *".venv* .git results __pycache__ *.egg-info .pytest_cache .ruff_cache dist build".split()
        ),
    )
    (place / "notebooks" / "results").mkdir()
    (place / "notebooks" / "results" / "mine.tif").touch()  # a user's own: it must not travel
    return place


@pytest.fixture(scope="module")
def wheel(clone):
    """The wheel built from the sdist built from the clone."""
    build(clone)
    return next((clone / "dist").glob("*.whl"))


def build(folder, *options):
    run = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", *options],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]


def members(wheel):
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist() if not name.endswith("RECORD")}


def test_an_sdist_builds_the_same_wheel(clone, wheel):
    first = members(wheel)
    build(clone, "--wheel", "--outdir", "direct")
    assert members(next((clone / "direct").glob("*.whl"))) == first
    assert any(name.startswith("cellseg_nb/bundle/notebooks/00_") for name in first)
    assert not any(
        "mine.tif" in name or "__pycache__" in name or name.startswith(("tests/", "data/")) for name in first
    )


class Place:
    """An installed copy: its Python, where its packages are, and a folder that is not the clone."""

    def __init__(self, python, packages, folder):
        self.python, self.packages, self.folder = python, packages, folder
        # what the environment's packages keep outside site-packages, such as the templates of nbconvert
        share = str(Path(sys.prefix) / "share" / "jupyter")
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (packages, SITE))),
            "OMP_NUM_THREADS": "1",
            "JUPYTER_PATH": share,
        }

    def run(self, *arguments):
        return subprocess.run(
            [self.python, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )


def in_a_venv(wheel, tmp):
    subprocess.run([sys.executable, "-m", "venv", tmp / "venv"], check=True)
    python = tmp / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    return python, next((tmp / "venv" / "lib").glob("python*/site-packages"))


def in_debians_layout(wheel, tmp):
    """/usr/bin/python3 installs below /usr/local, as in Colab; where there is none of this version, by hand
    the same."""
    packages = tmp / "root" / "usr" / "local" / "lib" / SITE.parent.name / "dist-packages"
    debians = Path("/usr/bin") / SITE.parent.name
    pip = [debians, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-warn-script-location"]
    if (
        debians.exists()
        and subprocess.run([*pip, "--root", tmp / "root", wheel], capture_output=True).returncode == 0
    ):
        if packages.is_dir():
            return debians, packages
    subprocess.run([sys.executable, *pip[1:-1], "--target", packages, wheel], check=True)
    return sys.executable, packages


@pytest.fixture(scope="module", params=[in_a_venv, in_debians_layout], ids=["venv", "debian"])
def place(request, wheel, tmp_path_factory):
    """An installed wheel; what it needs is taken from this environment, the clone's package is not."""
    tmp = tmp_path_factory.mktemp("Größe und Zahl")  # people's folders have such names
    python, packages = request.param(wheel, tmp)
    (tmp / "work").mkdir()
    made = Place(python, packages, tmp / "work")
    where = made.run("-c", "import cellseg_nb; print(cellseg_nb.__file__)").stdout.strip()
    assert where == str(packages / "cellseg_nb" / "__init__.py")
    return made


def test_list_and_doctor(place):
    listed = place.run("-m", "cellseg_nb", "list")
    assert listed.returncode == 0 and all(name in listed.stdout for name in NOTEBOOKS), listed.stderr
    doctor = place.run("-m", "cellseg_nb", "doctor")
    assert doctor.returncode == 0 and str(place.packages) in doctor.stdout, doctor.stdout + doctor.stderr


@pytest.mark.parametrize("place", [in_debians_layout], ids=["debian"], indirect=True)
def test_quickstart_from_another_folder(place):
    """In a venv: test_bundle.py."""
    run = place.run("-m", "cellseg_nb", "run", "00_quickstart", "-p", "epochs", "2", "-o", "mine")
    assert run.returncode == 0, run.stderr
    assert {"labels.tif", "cells.csv", "report.html"} <= {
        path.name for path in (place.folder / "mine").iterdir()
    }


def test_the_first_cells_of_each_notebook(place):
    """Install cell, parameters, and cells up to the first that reads data; all notebooks in one kernel."""
    run = place.run("-c", FIRST_CELLS.format(out=str(place.folder / "first")))
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.split() == NOTEBOOKS


FIRST_CELLS = """
import os
import nbformat
from nbclient import NotebookClient
from cellseg_nb import runs
os.environ["CELLSEG_NB_BATCH"] = "1"
together = nbformat.v4.new_notebook()
for path in runs.notebooks():
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"][:4]
    place = os.path.join({out!r}, path.stem)
    code.insert(2, nbformat.v4.new_code_cell("out = " + repr(place)))
    together.cells += [nbformat.v4.new_code_cell(cell.source) for cell in code]
NotebookClient(together, timeout=600, kernel_name="python3").execute()
print(*[path.stem for path in runs.notebooks()])
"""
