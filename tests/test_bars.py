"""Progress bars as people see them: every method's fit, predict and tune with all defaults, in a terminal, in batch and
in a notebook. A hook that fed a bar once replaced the network's output, and no test showed a bar."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import nbformat
import pytest
from nbclient import NotebookClient

BARS = {"otsu": "Tuning", "wnet3d": "Training", "segresnet": "Training", "swinunetr": "Training", "cellpose": "Cellpose",
        "stardist": "StarDist"}
SHORT = {"otsu": {}, "wnet3d": dict(channels=(8, 8, 8, 8), cube=16, steps=2, epochs=2),
         "segresnet": dict(filters=4, cube=16, steps=2, epochs=2),
         "swinunetr": dict(feature_size=12, cube=(64, 32, 32), batch=1, steps=1, epochs=1),
         "cellpose": dict(epochs=2, slices=8, bsize=32),
         "stardist": dict(epochs=1, steps=2, patch=16, grid=2, filters=8, rays=32)}
SCRIPT = """
from cellseg_nb import methods, simulate
image, labels = simulate.volume(({depth}, 32, 32), 10, seed=1)
method = methods.get({name!r}, **{settings!r})
method.fit([image], [labels])
assert method.predict(image).shape == image.shape
method.tune([image], [labels])
print("done")
"""


def script(name):
    return SCRIPT.format(name=name, settings=SHORT[name], depth=64 if name == "swinunetr" else 24)


def library(name):
    for module in {"stardist": ("stardist", "tensorflow"), "cellpose": ("cellpose",)}.get(name, ()):
        pytest.importorskip(module)


def in_terminal(code):
    """Run Python in a pseudo-terminal; return its exit status and all it showed there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # in a window without width no bar is drawn
    run = subprocess.Popen([sys.executable, "-c", code], stdout=slave, stderr=slave, stdin=subprocess.DEVNULL)
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(master)
    return run.wait(), shown.decode("utf-8", "replace")


@pytest.mark.slow
@pytest.mark.parametrize("name", BARS)
def test_in_a_terminal(name):
    library(name)
    status, shown = in_terminal(script(name))
    assert status == 0 and "done" in shown, shown[-2000:]
    assert f"{BARS[name]}:" in shown and "Tuning:" in shown and (name == "otsu" or "100%" in shown)


@pytest.mark.slow
@pytest.mark.parametrize("name", BARS)
def test_in_batch(name):
    library(name)
    run = subprocess.run([sys.executable, "-c", script(name)], capture_output=True, text=True,
                         env={**os.environ, "CELLSEG_NB_BATCH": "1"})
    assert run.returncode == 0, run.stderr[-2000:]
    assert f"{BARS[name]}:" in run.stderr and (name == "otsu" or "100%" in run.stderr)
    assert run.stdout.strip().splitlines()[-1] == "done"


@pytest.mark.slow
def test_in_a_notebook(monkeypatch):
    """All methods in one kernel, with the bars of ipywidgets."""
    monkeypatch.delenv("CELLSEG_NB_BATCH", raising=False)
    names = [name for name in BARS if name not in ("cellpose", "stardist")]
    for name in ("cellpose", "stardist"):
        try:
            library(name)
            names.append(name)
        except pytest.skip.Exception:
            pass
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(script(name)) for name in names])
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    for name, cell in zip(names, notebook.cells):
        outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        kinds = {kind for output in outputs for kind in output.get("data", {})}
        assert "application/vnd.jupyter.widget-view+json" in kinds, name
        assert any("done" in output.get("text", "") for output in outputs), name
