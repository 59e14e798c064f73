"""Progress bars as people see them: every method's fit, predict and tune with all defaults, in a terminal, in
batch and in a notebook. A hook that fed a bar once replaced the network's output, and no test showed a
bar."""

import fcntl
import importlib.util
import os
import pty
import struct
import subprocess
import sys
import termios

import nbformat
import pytest
from nbclient import NotebookClient

BARS = {
    "otsu": "Tuning",
    "wnet3d": "Training",
    "segresnet": "Training",
    "swinunetr": "Training",
    "unet": "Training",
    "cellpose": "Cellpose",
    "stardist": "StarDist",
}
SHORT = {
    "otsu": {},
    "wnet3d": dict(channels=(8, 8, 8, 8), cube=16, steps=2, epochs=2),
    "segresnet": dict(init_filters=8, cube=16, steps=2, epochs=2),
    "swinunetr": dict(feature_size=12, cube=(64, 32, 32), batch=1, steps=1, epochs=1),
    "unet": dict(init_filters=4, cube=16, steps=2, epochs=2),
    "cellpose": dict(epochs=2, slices=8, bsize=32),
    "stardist": dict(epochs=1, steps=2, patch=16, grid=2, filters=8, rays=32),
}
SCRIPT = """
import sys
from cellseg_nb import methods, simulate
image, labels = simulate.volume(({depth}, 32, 32), 10, seed=1)
method = methods.get({name!r}, **{settings!r})
method.fit([image], [labels])
assert method.predict(image).shape == image.shape
method.tune([image], [labels])
assert "tensorflow" not in sys.modules
print("done", {name!r}, flush=True)
"""


def script(name):
    return SCRIPT.format(name=name, settings=SHORT[name], depth=64 if name == "swinunetr" else 24)


@pytest.fixture(scope="module")
def names():
    """The methods whose libraries are here."""
    needs = {"stardist": ("stardist", "tensorflow"), "cellpose": ("cellpose",)}
    return [name for name in BARS if all(importlib.util.find_spec(one) for one in needs.get(name, ()))]


def check(names, shown):
    """Each method's part of what was shown has its bars."""
    for name in names:
        part, found, shown = shown.partition(f"done {name}")
        assert found and f"{BARS[name]}:" in part and "Tuning:" in part, (name, part[-2000:])
        assert name == "otsu" or "100%" in part


def in_terminal(code):
    """Run Python in a pseudo-terminal; return its exit status and all it showed there."""
    master, slave = pty.openpty()
    # in a window without width no bar is drawn
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
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
def test_in_a_terminal(names):
    status, shown = in_terminal("".join(map(script, names)))
    assert status == 0, shown[-2000:]
    check(names, shown)


# SwinUNETR and U-Net are trained and asked by the same lines as SegResNet: a terminal shows them all.
ONE_OF_A_KIND = [name for name in BARS if name not in ("swinunetr", "unet")]


@pytest.mark.slow
def test_in_batch(names):
    names = [name for name in names if name in ONE_OF_A_KIND]
    run = subprocess.run(
        [sys.executable, "-c", "".join(map(script, names))],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "CELLSEG_NB_BATCH": "1"},
    )
    assert run.returncode == 0, run.stdout[-2000:]
    check(names, run.stdout)


@pytest.mark.slow
def test_in_a_notebook(names, monkeypatch):
    """The methods in one kernel, with the bars of ipywidgets."""
    monkeypatch.delenv("CELLSEG_NB_BATCH", raising=False)
    names = [name for name in names if name in ONE_OF_A_KIND]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(script(name)) for name in names])
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    for name, cell in zip(names, notebook.cells):
        outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        kinds = {kind for output in outputs for kind in output.get("data", {})}
        assert "application/vnd.jupyter.widget-view+json" in kinds, name
        assert any("done" in output.get("text", "") for output in outputs), name
