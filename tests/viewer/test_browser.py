"""The viewer and the labelling tool in a real browser: JupyterLab, and Notebook 6 with ipywidgets 7."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import browser
import numpy as np
import pytest

from cellseg_nb.io import volumes

pytestmark = [pytest.mark.slow, pytest.mark.notebook]
ROOT = Path(__file__).parents[2]
SHRINK = {"CELLSEG_NB_SHRINK": "cube=16,steps=2,epochs=2"}  # the browser is tested, not the training


@browser.twice
def test_notebook_00_in_jupyterlab(tmp_path):
    shutil.copy(ROOT / "notebooks" / "00_quickstart.ipynb", tmp_path)
    with browser.page() as page, browser.jupyter(tmp_path, **SHRINK) as address:
        browser.open_in_lab(page, address, "00_quickstart.ipynb")
        browser.run_all(page)
        viewer = page.locator(".cellseg").first
        viewer.scroll_into_view_if_needed()
        before = viewer.locator(".cellseg-xy").evaluate("node => node.toDataURL()")
        browser.slide(page, viewer, "z", 3)
        browser.settled(page, viewer, 1, "go")
        assert viewer.locator(".cellseg-xy").evaluate("node => node.toDataURL()") != before
        assert page.locator(".cellseg").count() >= 2 and not page.errors
        browser.shot(page, "notebook_00")


@browser.twice
def test_notebook_10_in_jupyterlab(tmp_path):
    """Paint, undo, save, restart the kernel: the session is there again."""
    shutil.copy(ROOT / "notebooks" / "10_label_and_correct.ipynb", tmp_path)
    saved = tmp_path / "results" / "10_label_and_correct" / "session" / "labels.tif"
    with browser.page() as page, browser.jupyter(tmp_path, **SHRINK) as address:
        browser.open_in_lab(page, address, "10_label_and_correct.ipynb")
        browser.run_all(page)
        tool = page.locator(".cellseg:has(button[data-name=paint])")
        tool.scroll_into_view_if_needed()
        before, _ = volumes.read_labels(saved)
        browser.slide(page, tool, "z", 5)
        browser.settled(page, tool, 1, "go")
        tool.focus()
        for key in "nb":  # a new cell, the brush
            page.keyboard.press(key)
        browser.settled(page, tool, 1, "new")
        number = int(tool.get_attribute("data-cell"))
        browser.stroke(page, tool, (0.3, 0.3), (0.45, 0.4))
        browser.settled(page, tool, 1, "paint")
        page.keyboard.press("Control+z")
        browser.settled(page, tool, 1, "undo")
        tool.locator("button[data-name=save]").click()
        browser.settled(page, tool, 1, "save")
        assert np.array_equal(volumes.read_labels(saved)[0], before)
        page.keyboard.press("Control+y")
        browser.settled(page, tool, 1, "redo")
        page.keyboard.press("Control+s")
        browser.settled(page, tool, 2, "save")
        drawn = volumes.read_labels(saved)[0] == number
        assert drawn[5].sum() > 20 and drawn.sum() == drawn[5].sum()
        page.keyboard.press("q")
        browser.settled(page, tool, 1, "queue")
        assert "doubt" in tool.locator(".cellseg-review").inner_text()
        browser.shot(page, "notebook_10")
        page.keyboard.press("a")
        browser.settled(page, tool, 1, "decide")
        assert tool.locator("button[data-name=save]").inner_text() == "Save *"
        page.keyboard.press("Control+s")
        browser.settled(page, tool, 3, "save")
        assert tool.locator("button[data-name=save]").inner_text() == "Save"
        browser.menu(page, "Kernel", "Restart Kernel and Run All Cells…")
        page.click(".jp-Dialog button.jp-mod-accept")
        tool.evaluate("node => { node.dataset.old = 1; }")
        tool = page.locator(".cellseg:not([data-old]):has(button[data-name=paint])")
        tool.wait_for()
        browser.settled(page, tool, 1, "hello")
        assert "goes on where it was saved" in tool.locator(".cellseg-line").inner_text()
        assert np.array_equal(volumes.read_labels(saved)[0] == number, drawn) and not page.errors
        learned = json.loads((saved.parent / "queue.json").read_text())["decided"]
        assert [edits for *_, edits in learned] == [0]  # accepted: no edit


def test_without_a_kernel_the_still_picture_is_alone():
    """As in a report, or while the kernel is busy: no black views, and the dark theme's colours where it is
    dark."""
    code = (ROOT / "cellseg_nb" / "viewer" / "viewer.js").read_text(encoding="utf-8")
    style = (ROOT / "cellseg_nb" / "viewer" / "viewer.css").read_text(encoding="utf-8")
    model = "{ get: () => 'R0lGODlhAQABAAAAACw=', on() {}, off() {}, send() {} }"
    with browser.page() as page:
        page.set_content(
            f"<style>{style}</style><body data-jp-theme-light=false><div id=here></div><script type=module>"
            f"{code.replace('export default { render };', '')}\n"
            f"render({{ model: {model}, el: document.getElementById('here') }});</script>"
        )
        viewer = page.locator(".cellseg")
        viewer.wait_for()
        assert (
            viewer.locator(".cellseg-still").count() == 1 and not viewer.locator("canvas").first.is_visible()
        )
        viewer.locator(".cellseg-line:has-text('a still picture')").wait_for()
        assert viewer.evaluate("node => getComputedStyle(node).backgroundColor") == "rgb(30, 30, 30)"
        assert not page.errors


@browser.twice
def test_many_slices_and_strokes(tmp_path):
    """On 512 x 512 voxels with labels; how quick they are, benchmarks/viewer.py says."""
    with browser.page() as page:
        slices, strokes = browser.slices_and_strokes(page, tmp_path)
        assert len(slices) == 24 and len(strokes) == 15 and not page.errors
        browser.shot(page, "large")


@browser.twice
def test_notebook_6_with_ipywidgets_7(tmp_path):
    """As in Colab's list of versions: the environment of `make colab`, or that of CELLSEG_NB_NOTEBOOK6."""
    python = os.environ.get("CELLSEG_NB_NOTEBOOK6", str(ROOT / ".venv-colab" / "bin" / "python"))
    needs = [python, "-c", "import anywidget, notebook.notebookapp"]
    if not Path(python).exists() or subprocess.run(needs, capture_output=True).returncode:
        pytest.skip("no Notebook 6 with anywidget here: make colab builds an environment with both")
    browser.notebook(tmp_path, browser.LARGE.replace("(32, 512, 512), 300", "(16, 64, 64), 20"))
    variables = {"PYTHONPATH": str(ROOT)}
    with browser.page() as page, browser.jupyter(tmp_path, ("notebook",), python, **variables) as address:
        page.goto(f"{address}/notebooks/one.ipynb?token=t")
        page.wait_for_selector("#kernel_indicator_icon.kernel_idle_icon")
        page.click("a:text-is('Cell')")
        page.click("#run_all_cells a")
        page.wait_for_selector(".cellseg-xy")
        tool = page.locator(".cellseg")
        browser.settled(page, tool, 1, "hello")
        browser.slide(page, tool, "z", 5)
        browser.settled(page, tool, 1, "go")
        tool.focus()
        for key in "nb":
            page.keyboard.press(key)
        browser.settled(page, tool, 1, "new")
        cells = page.locator(".cell").count()
        number = int(tool.get_attribute("data-cell"))
        browser.stroke(page, tool, (0.3, 0.3), (0.5, 0.4))
        browser.settled(page, tool, 1, "paint")
        tool.locator("button[data-name=save]").click()
        browser.settled(page, tool, 1, "save")
        assert (volumes.read_labels(tmp_path / "session" / "labels.tif")[0][5] == number).sum() > 20
        assert page.locator(".cell").count() == cells  # "b" drew, and made no cell of the notebook
        browser.shot(page, "notebook_6")
