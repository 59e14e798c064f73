"""What cannot be labelled is told in the widget, which shows what there is and writes nothing."""

from pathlib import Path

import browser
import numpy as np
import pytest

from cellseg_nb import runtime
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.plots import widgets
from cellseg_nb.viewer.session import CLOSED, Session
from cellseg_nb.viewer.source import Source
from cellseg_nb.viewer.widget import label

SIZE = (2.0, 1.0, 1.0)


@pytest.fixture
def volume():
    return simulate.volume((12, 40, 48), 20, seed=4)


def files(folder):
    """What is in the files of a folder; a lock is empty."""
    return {
        path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file() and path.stat().st_size
    }


def only_looks(tool, words, labels):
    """Whether a widget says what is wrong, shows these labels, and edits none."""
    answer, _ = tool.view.handle({"do": "hello"})
    assert words in answer["trouble"] and not answer["setup"]["edits"] and tool.session is None
    assert words in tool.view.handle({"do": "paint", "points": [[1, 2, 3]], "radius": 2})[0]["error"]
    shown = tool.view.label_plane(0, 6)
    assert (shown is None) if labels is None else np.array_equal(shown, labels[6])


def test_what_cannot_be_opened_is_told_in_the_widget(tmp_path, volume):
    image, truth = volume
    drawn = Session(tmp_path / "one", Source(image, SIZE), truth)
    drawn.canvas.delete(1)
    drawn.close()
    before = files(tmp_path)
    only_looks(label(image, tmp_path / "new", truth[1:], voxel_size=SIZE), "labels have shape", None)
    only_looks(label(image, tmp_path / "new", truth + 65535, voxel_size=SIZE), "65535", truth + 65535)
    only_looks(label(image[::-1], tmp_path / "one", truth, voxel_size=SIZE), "another volume", truth)
    only_looks(label(image, tmp_path / "one", truth[1:], voxel_size=SIZE), "have shape", drawn.canvas.labels)
    (tmp_path / "a.file").touch()
    only_looks(label(image, tmp_path / "a.file", truth, voxel_size=SIZE), "a file is in the way", truth)
    only_looks(label(image, tmp_path / "x", tmp_path / "none.tif"), "none.tif", None)
    assert files(tmp_path) == before
    with pytest.raises(UserError, match="probability has shape"):
        label(image, tmp_path / "one", truth, truth[1:])
    again = label(image, tmp_path / "one", voxel_size=SIZE)  # nothing holds its lock
    assert again.session.resumed
    again.session.close()
    volumes.write(tmp_path / "labels.tif", truth, SIZE)
    tool = label(image, tmp_path / "file", tmp_path / "labels.tif", voxel_size=SIZE)
    assert np.array_equal(tool.session.canvas.labels, truth)
    tool.session.close()


def test_a_session_opened_again_leaves_the_old_widget_without_a_pen(tmp_path, volume):
    old = label(volume[0], tmp_path, volume[1], voxel_size=SIZE)
    old.view.handle({"do": "delete", "point": old.session.canvas.centre(1)})
    new = label(volume[0], tmp_path, None, voxel_size=SIZE)
    assert 1 not in new.session.canvas.labels and new.session.resumed
    for message in ({"do": "delete", "point": old.session.canvas.centre(2)}, {"do": "save"}, {"do": "undo"}):
        answer, _ = old.view.handle(message)
        assert answer["error"] == answer["trouble"] == CLOSED
    with pytest.raises(UserError, match="run its cell again"):
        old.session.save()
    assert 2 in new.session.canvas.labels and 2 in old.session.canvas.labels
    new.session.close()


def test_a_session_that_cannot_be_saved_stays_open(tmp_path, volume, monkeypatch):
    """The cell is run again while the disk is full: what was drawn is in the old session, and comes back."""
    one = label(volume[0], tmp_path, volume[1], voxel_size=SIZE)
    one.session.canvas.delete(3)

    def full(*_, **__):
        raise UserError("the disk is full: free some space")

    monkeypatch.setattr(volumes, "write", full)
    tool = label(volume[0], tmp_path, None, voxel_size=SIZE)
    assert tool.session is None and "disk is full" in tool.view.trouble and not one.session.closed
    monkeypatch.undo()
    again = label(volume[0], tmp_path, None, voxel_size=SIZE)
    assert one.session.closed and 3 not in again.session.canvas.labels
    other = label(volume[0][::-1], tmp_path, None, voxel_size=SIZE)  # and so it does for another volume
    assert "another volume" in other.view.trouble and not again.session.closed
    again.session.close()


def test_a_notebook_stops_below_the_widget(tmp_path, volume, monkeypatch):
    monkeypatch.setattr(runtime, "in_batch", lambda: False)
    with pytest.raises(UserError, match="labels have shape.*nothing can be drawn") as caught:
        widgets.label(volume[0], tmp_path, volume[1][1:])
    assert caught.value._render_traceback_() == [f"UserError: {caught.value}"]
    monkeypatch.setattr(runtime, "in_batch", lambda: True)
    with pytest.raises(UserError, match="labels have shape"):
        widgets.label(volume[0], tmp_path, volume[1][1:])


TOOLS = """
import subprocess, sys
import numpy as np
from IPython.display import display
from cellseg_nb.data import simulate
from cellseg_nb.viewer.widget import label
image, truth = simulate.volume((12, 40, 48), 20, seed=4)
label(image, "other", truth).session.close()
code = 'import numpy, sys; from cellseg_nb.viewer import session, source; '
code += 'session.Session("held", source.Source(numpy.load("image.npy"))); '
code += 'print(1, flush=True); sys.stdin.read()'
np.save("image.npy", image)
held = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
held.stdout.readline()
full = np.arange(np.prod((36, 45, 41)), dtype=np.int32).reshape(36, 45, 41) % 65536
display(label(image, "shape", truth[1:]), label(image[::-1], "other", truth))
display(label(image, "/proc/session", truth), label(image, "held", truth))
display(label(np.zeros(full.shape), "full", full))
"""
LINES = ["labels have shape", "session of another volume", "cannot be written", "open in another notebook"]


@pytest.mark.slow
@pytest.mark.notebook
@browser.twice
def test_bad_input_in_the_browser(tmp_path):
    browser.notebook(tmp_path, TOOLS)
    with browser.page(height=1400) as page, browser.jupyter(tmp_path) as address:
        browser.open_in_lab(page, address, "one.ipynb")
        browser.run_all(page)
        for number, words in enumerate(LINES):
            viewer = page.locator(".cellseg").nth(number)
            viewer.scroll_into_view_if_needed()
            browser.slide(page, viewer, "z", 3)  # it shows slices, and goes on saying what is wrong
            browser.settled(page, viewer, 1, "go")
            assert words in viewer.locator(".cellseg-line").inner_text()
            assert not viewer.locator("button[data-name=paint]").count()
            assert viewer.locator(".cellseg-wrong").is_visible()
            browser.shot(page, f"bad_input_{number}")
        tool = page.locator(".cellseg").nth(
            len(LINES)
        )  # all numbers used up: it opens, and says so when asked
        tool.scroll_into_view_if_needed()
        tool.focus()
        page.keyboard.press("n")
        browser.settled(page, tool, 1, "new")
        assert "all 65535 numbers of cells are used" in tool.locator(".cellseg-line").inner_text()
        browser.shot(page, "bad_input_numbers")
    assert len(np.unique(volumes.read_labels(tmp_path / "full" / "labels.tif", own=True)[0])) == 65536
    assert not page.errors
