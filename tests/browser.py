"""A real browser before a real Jupyter: the server is started by the test, Playwright drives Chromium."""

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
PATIENCE = 300  # seconds for anything, where other programs hold the cores


def twice(test):
    """A test of ``tmp_path`` that is tried once more, in another folder, before its failure counts: a
    browser, a server and a kernel meet on a machine that does other things, too."""

    @functools.wraps(test)
    def tried(tmp_path):
        try:
            test(tmp_path)
        except Exception as error:  # skips are no Exception
            print(f"first try: {error}")
            (tmp_path / "again").mkdir()
            test(tmp_path / "again")

    return tried


def chromium():
    """Path of a Chromium, or a skip that says what to install."""
    found = [os.environ.get("CELLSEG_NB_BROWSER"), *map(shutil.which, NAMES)]
    found = [path for path in found if path and Path(path).exists()]
    if not found:
        pytest.skip(
            "no browser here: install Chromium (Debian: apt-get install chromium), or set CELLSEG_NB_BROWSER"
        )
    return found[0]


@contextlib.contextmanager
def page(width=1300, height=1000):
    """A page of a headless Chromium; errors of JavaScript are kept in ``page.errors``."""
    path = chromium()
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright drives the browser: pip install playwright"
    )
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=QUIET)
        opened = browser.new_page(viewport={"width": width, "height": height})
        opened.set_default_timeout(PATIENCE * 1000)
        opened.errors = []
        restarted = "Canceled future for"  # JupyterLab's own, where a kernel restarts on a busy machine
        opened.on("pageerror", lambda e: None if restarted in str(e) else opened.errors.append(str(e)))
        try:
            yield opened
        finally:
            browser.close()


@contextlib.contextmanager
def jupyter(folder, command=("jupyterlab",), python=sys.executable, **variables):
    """A Jupyter server over a folder: its address. Killed, with its kernels, in the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    classic = command[0] == "notebook"
    app = "NotebookApp" if classic else "ServerApp"
    options = [
        "--no-browser",
        "--allow-root",
        f"--{app}.ip=127.0.0.1",
        f"--{app}.port={port}",
        f"--{app}.token=t" if classic else "--IdentityProvider.token=t",
        f"--{app}.{'notebook_dir' if classic else 'root_dir'}={folder}",
    ]
    environment = {k: v for k, v in os.environ.items() if k != "CELLSEG_NB_BATCH"} | {
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    log = open(Path(folder) / "server.log", "w", encoding="utf-8")
    server = subprocess.Popen(
        [python, "-m", *command, *options],
        stdout=log,
        stderr=log,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    try:
        for _ in range(4 * PATIENCE):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert server.poll() is None, (Path(folder) / "server.log").read_text()[-2000:]
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 9)
        log.close()


def open_in_lab(page, address, name):
    """Open a notebook in JupyterLab, with its kernel ready."""
    page.goto(f"{address}/lab/tree/{name}?token=t&reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    idle(page)


def idle(page):
    """Wait until the kernel has nothing to do; a question about the kernel is answered."""
    deadline = time.time() + PATIENCE
    quiet = 0
    while time.time() < deadline and quiet < 3:
        answer = page.locator(".jp-Dialog button.jp-mod-accept")
        if answer.count():
            answer.first.click()
        status = page.locator(".jp-Notebook-ExecutionIndicator").first.get_attribute("data-status")
        quiet = quiet + 1 if status == "idle" and not answer.count() else 0
        page.wait_for_timeout(200)
    assert quiet >= 3, f"the kernel is {status} after {PATIENCE} s"


def menu(page, top, item):
    """Click on an entry of a menu of JupyterLab."""
    page.click(f".lm-MenuBar-itemLabel:text-is('{top}')")
    page.click(f".lm-Menu-itemLabel:text-is('{item}')")


STARTED = r"[...document.querySelectorAll('.jp-InputPrompt')].some(n => /\[(\*|\d+)\]/.test(n.textContent))"


def run_all(page):
    """*Run All Cells* from the menu, to the end; no cell may fail."""
    for _ in range(3):  # JupyterLab may ask which kernel, and forget what it was told to do
        menu(page, "Run", "Run All Cells")
        page.wait_for_timeout(1500)
        if page.evaluate(STARTED):
            break
        idle(page)
    idle(page)
    failed = page.locator(
        ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr'] >> text=Traceback"
    )
    errors = page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']")
    assert not errors.count() and not failed.count(), errors.first.inner_text()[-1500:]


def slide(page, viewer, axis, value):
    """Set a slider of a viewer, as a hand would."""
    viewer.locator(f"input[data-name={axis}]").evaluate(
        "(node, value) => { node.value = value; node.dispatchEvent(new Event('input', {bubbles: true})); }",
        value,
    )


def settled(page, viewer, count, do=None):
    """Wait until the viewer has ``count`` answers (of one kind): the list of its times in milliseconds."""
    code = "(node, [count, kind]) => node.times.filter((one) => !kind || one.do === kind)"
    deadline = time.time() + PATIENCE
    while time.time() < deadline:
        times = viewer.evaluate(code, [count, do])
        if len(times) >= count:
            return [one["ms"] for one in times]
        page.wait_for_timeout(50)
    raise AssertionError(f"{len(times)} answers of {count} ({do})")


def shot(page, name):
    """A picture of the page, into the folder of CELLSEG_NB_SCREENSHOTS, for those who want to look."""
    folder = os.environ.get("CELLSEG_NB_SCREENSHOTS")
    if folder:
        for button in page.locator(".jp-toast-button:text-is('No')").all():
            button.click()
        page.screenshot(path=f"{folder}/{name}.png")


def stroke(page, viewer, start, end, steps=8):
    """Draw on the xy view from one place to another, both as shares of its width and height."""
    box = viewer.locator(".cellseg-xy").bounding_box()
    points = [
        (
            box["x"] + box["width"] * (a + (c - a) * k / steps),
            box["y"] + box["height"] * (b + (d - b) * k / steps),
        )
        for k in range(steps + 1)
        for (a, b), (c, d) in [(start, end)]
    ]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
    page.mouse.up()


LARGE = """
from cellseg_nb.data import simulate
from cellseg_nb.viewer.widget import label
image, truth = simulate.volume((32, 512, 512), 300, seed=1)
tool = label(image, "session", truth, voxel_size=(2.0, 1.0, 1.0))
tool
"""


def notebook(folder, code):
    """A notebook of one cell, one.ipynb."""
    cell = {"cell_type": "code", "execution_count": None, "id": "one", "metadata": {}, "outputs": []}
    content = {
        "cells": [{**cell, "source": code.strip()}],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (Path(folder) / "one.ipynb").write_text(json.dumps(content))


def slices_and_strokes(page, folder):
    """Slices and strokes on 512 x 512 voxels with labels: the milliseconds of 24 slices, of 15 strokes."""
    notebook(folder, LARGE)
    with jupyter(folder) as address:
        open_in_lab(page, address, "one.ipynb")
        run_all(page)
        viewer = page.locator(".cellseg")
        viewer.scroll_into_view_if_needed()
        for n, z in enumerate(range(4, 28), 1):
            slide(page, viewer, "z", z)
            slices = settled(page, viewer, n, "go")
        viewer.focus()
        page.keyboard.press("b")
        for n in range(1, 16):
            stroke(page, viewer, (0.05 + 0.05 * n, 0.2), (0.08 + 0.05 * n, 0.4))
            strokes = settled(page, viewer, n, "paint")
    return slices, strokes
