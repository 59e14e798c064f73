"""The bundle, installed and used where there is no network: a network namespace without a route (Linux).

The libraries are those of this environment, so that the test takes no gigabytes; our own wheel is installed
from the bundle, over the loopback server that the package brings.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = [place for place in sys.path if place.endswith("site-packages")]
SHUT = ["unshare", "--user", "--map-root-user", "--net"]

pytestmark = pytest.mark.slow


def no_namespaces():
    """Why there can be no network namespace here, or None."""
    if not sys.platform.startswith("linux") or not shutil.which("unshare") or not shutil.which("ip"):
        return "network namespaces need Linux with unshare and ip"
    tried = subprocess.run([*SHUT, "ip", "link", "set", "lo", "up"], capture_output=True, text=True)
    return f"not permitted here: {tried.stderr.strip()}" if tried.returncode else None


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    reason = no_namespaces()
    if reason:
        pytest.skip(reason)
    out = tmp_path_factory.mktemp("bundle")
    run = subprocess.run(
        [sys.executable, ROOT / "tools" / "bundle.py", "--only-ours", "--out", out],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return out


@pytest.fixture(scope="module")
def room(bundle, tmp_path_factory):
    """A folder with a fresh venv that sees the libraries, but not our package, and a registry of its own."""
    room = tmp_path_factory.mktemp("room")
    subprocess.run([sys.executable, "-m", "venv", room / "venv"], check=True)
    bare = [room / "venv" / "bin" / "python", "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"]
    subprocess.run(
        bare, check=True
    )  # Python 3.11's own is too old for torch, and would hide this environment's
    packages = next((room / "venv" / "lib").glob("python*/site-packages"))
    seen = room / "libraries"
    seen.mkdir()
    for place in SITE:
        for path in Path(place).iterdir():
            ours = (
                path.name.startswith(("cellseg_nb", "_cellseg_nb", "__editable__")) or path.suffix == ".pth"
            )
            if not ours and not (seen / path.name).exists():
                (seen / path.name).symlink_to(path)
    (packages / "libraries.pth").write_text(f"{seen}\n")
    archive = bundle / "data" / "little.zip"
    archive.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("little/a.txt", "hello")
    sha = hashlib.sha256(archive.read_bytes()).hexdigest()
    about = {
        "little": {
            "title": "",
            "url": "https://example.org/x/little.zip",
            "sha256": sha,
            "voxel_size": [1, 1, 1],
        }
    }
    (room / "registry.json").write_text(json.dumps(about))
    return room


INSTALL = """
ip link set lo up
ip route | grep -q . && { echo "there is a route"; exit 9; }
reach="import socket; socket.create_connection(('192.0.2.1', 80), 5)"
"$PYTHON" -c "$reach" 2>&1 | grep -q unreachable || exit 8
PYTHONPATH="$ROOT" "$OUTSIDE" -m cellseg_nb serve "$BUNDLE" --port 8765 > served.txt &
server=$!
trap 'kill $server' EXIT
for try in $(seq 100); do grep -q Students served.txt && break; sleep 0.2; done
wheels="--no-index --find-links http://127.0.0.1:8765/wheels/"
"$PYTHON" -m pip install $wheels cellseg-nb > pip.txt 2>&1 || exit 7
export CELLSEG_NB_BASE_URL=http://127.0.0.1:8765/data CELLSEG_NB_CACHE="$PWD/cache"
"""


def shut_off(bundle, room, commands):
    """Run commands of the shell in the room, behind the installation. Returns what they said."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))
    }
    environment |= {
        "PYTHON": str(room / "venv" / "bin" / "python"),
        "OUTSIDE": sys.executable,
        "ROOT": str(ROOT),
    }
    environment |= {"BUNDLE": str(bundle), "JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter")}
    environment |= {"JUPYTER_PREFER_ENV_PATH": "1", "HOME": str(room), "PIP_CONFIG_FILE": os.devnull}
    run = subprocess.run(
        [*SHUT, "bash", "-c", INSTALL + commands], cwd=room, env=environment, capture_output=True, text=True
    )
    told = (room / "pip.txt").read_text() if (room / "pip.txt").exists() else ""
    assert run.returncode == 0, (
        f"status {run.returncode}\n{told[-2000:]}\n{run.stdout[-2000:]}\n{run.stderr[-3000:]}"
    )
    return run.stdout


FETCHED = """
import os
import cellseg_nb
from cellseg_nb.data import datasets

assert "venv" in cellseg_nb.__file__, cellseg_nb.__file__
print("fetched", sorted(os.listdir(datasets.fetch("little", registry_file="registry.json"))))
"""


@pytest.mark.notebook
def test_installed_and_used_without_a_network(bundle, room):
    (room / "first.py").write_text(FETCHED)
    said = shut_off(bundle, room, '"$PYTHON" first.py && "$PYTHON" -m cellseg_nb run 00_quickstart -o out')
    assert "fetched ['little']" in said
    assert "127.0.0.1:8765/wheels/cellseg_nb" in (room / "pip.txt").read_text()
    assert "cells:" in said and (room / "out" / "report.html").is_file()


def test_the_bundle_says_how_to_begin(bundle):
    text = (bundle / "START.md").read_text()
    assert "--no-index --find-links wheels" in text and len(list((bundle / "notebooks").glob("*.ipynb"))) >= 9
    assert not list((bundle / "data").glob("*.tif")) and "1 packages" in text
