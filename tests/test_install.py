"""tools/install.py on what can go wrong: each ends in one clear line. And what it says agrees with the
package."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import executing
import pytest

from cellseg_nb import doctor, methods

ROOT = Path(__file__).resolve().parents[1]
install = executing.loaded("tools/install.py")


@pytest.fixture
def clone(tmp_path):
    """A clone without .venv, in which the script can be run."""
    place = tmp_path / "clone"
    (place / "tools").mkdir(parents=True)
    for name in ("tools/install.py", "constraints.txt", "pyproject.toml", "README.md", "LICENSE", "Makefile"):
        shutil.copy(ROOT / name, place / name)
    shutil.copytree(ROOT / "cellseg_nb", place / "cellseg_nb")
    return place


def line(clone, python=sys.executable, **variables):
    """The one line with which the script ends."""
    environment = {**os.environ, "PYTHON": "", **variables}
    run = subprocess.run(
        [python, clone / "tools" / "install.py"], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 1, run.stdout + run.stderr
    lines = run.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("cellseg-nb: "), run.stderr
    return lines[0]


def imitation(folder, name, says):
    """A program that prints one thing: an interpreter of another version, say."""
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_a_python_that_is_too_old(clone, tmp_path):
    old = imitation(tmp_path, "python3.10", "3 10")
    assert "needs Python 3.11 or 3.12 or 3.13" in line(clone, PYTHON=str(old)) and "3.10" in line(
        clone, PYTHON=str(old)
    )
    assert "no Python that runs" in line(clone, PYTHON=str(tmp_path / "nothing"))


def test_no_python_and_no_uv(monkeypatch, tmp_path):
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(install.sys, "executable", str(imitation(tmp_path, "python3", "3 10")))
    with pytest.raises(install.Fault, match="there is none here.*pip install uv"):
        install.find_python()
    imitation(tmp_path, "uv", "uv")
    assert install.find_python() is None  # uv brings one


def test_pyenvs_before_uvs(monkeypatch, tmp_path):
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(install.sys, "executable", str(imitation(tmp_path, "python3", "3 10")))
    imitation(tmp_path, "uv", "uv")
    place = tmp_path / "versions" / "3.12.9" / "bin"
    place.mkdir(parents=True)
    python = imitation(place, "python", "3 12")
    assert install.find_python() == str(python)


def test_the_newest_python_is_taken(monkeypatch, tmp_path):
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    imitation(tmp_path, "python3.11", "3 11")
    assert install.find_python() == "python3.11"
    imitation(tmp_path, "python3.13", "3 13")
    assert install.find_python() == "python3.13"


OFFLINE = dict(PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="")
OFFLINE |= dict(PIP_NO_CACHE_DIR="1")


def test_no_network(clone):
    said = line(clone, PYTHON=sys.executable, **OFFLINE)
    assert "cannot reach its package index" in said


def test_no_space(clone, monkeypatch):
    monkeypatch.setattr(install.shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10, 9, int(1e8)))
    monkeypatch.setattr(install, "PYTHON_IN_VENV", str(clone / "nothing"))
    with pytest.raises(install.Fault, match="0.1 GB are free.*takes 3 GB"):
        install.check_folder(3)
    assert "the disk is full" in install.reason(
        "ERROR: Could not install: [Errno 28] No space left on device"
    )


def test_a_half_built_venv_is_made_anew(clone):
    """Killed while it was built: a folder without pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    said = line(clone, **OFFLINE)
    assert "cannot reach" in said  # that far only with a pip of its own
    assert subprocess.run([clone / ".venv" / "bin" / "python", "-m", "pip", "--version"]).returncode == 0


def test_a_read_only_clone(monkeypatch):
    monkeypatch.setattr(install, "ROOT", "/proc/self")  # no root may write there either
    with pytest.raises(install.Fault, match="cannot be written.*copy the folder"):
        install.check_folder(1)


def test_one_word_for_cellpose_everywhere():
    assert install.CELLPOSE in methods.CELLPOSE
    for name in ("README.md", "pyproject.toml", "notebooks/05_cellpose_stardist.ipynb"):
        assert install.CELLPOSE in (ROOT / name).read_text(encoding="utf-8").replace('\\"', '"'), name
    assert (max(install.SUPPORTED), min(install.SUPPORTED)) == (doctor.NEWEST, doctor.OLDEST)


def test_conda_takes_its_dependencies_from_the_package():
    words = (ROOT / "environment.yml").read_text().split("dependencies:")[1].split()
    conda = ["python=3.13", "pip", "jupyterlab>=3.6"]
    assert [word for word in words if word != "-"] == [*conda, "pip:", "-e", ".[lab,brains]"]
