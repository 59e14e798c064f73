"""The viewer's messages, without a browser."""

import numpy as np
import pytest

from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.viewer import surface
from cellseg_nb.viewer.session import Session
from cellseg_nb.viewer.source import Source, grey, opened
from cellseg_nb.viewer.view import View, colours, fold


@pytest.fixture
def volume():
    return simulate.volume((12, 40, 48), 25, seed=4)


@pytest.fixture
def tool(volume, tmp_path):
    source = Source(volume[0], (2.0, 1.0, 1.0))
    view = View(source, probability=volume[1] > 0, session=Session(tmp_path, source, volume[1]))
    yield view
    view.session.close()


def planes(answer, buffers):
    return {
        (one["axis"], one["kind"]): np.frombuffer(
            data, np.uint16 if one["kind"] == "labels" else np.uint8
        ).reshape(one["rows"], one["columns"])
        for one, data in zip(answer["planes"], buffers)
    }


def test_slices_as_they_are_drawn(volume):
    image, labels = volume
    view = View(image, labels, (labels > 0).astype(float), (2.0, 1.0, 1.0), limits=(0, 1000))
    answer, buffers = view.handle({"do": "hello", "id": 1})
    assert answer["id"] == 1 and answer["setup"]["shape"] == image.shape and not answer["setup"]["edits"]
    seen = planes(answer, buffers)
    assert len(seen) == 9 and len(buffers) == 10
    assert np.array_equal(seen[0, "labels"], labels[6]) and np.array_equal(
        seen[2, "labels"], labels[:, :, 24].T
    )
    assert np.array_equal(seen[1, "grey"], grey(image[:, 20], 0, 1000))
    assert np.array_equal(seen[0, "probability"] > 0, labels[6] > 0)
    answer, buffers = view.handle({"do": "go", "at": [7.2, 20, 99]})
    assert answer["at"] == [7, 20, 47] and {one["axis"] for one in answer["planes"]} == {0, 2}
    assert "viewer only" in view.handle({"do": "paint"})[0]["error"]
    assert "cannot do" in view.handle({"do": "fly"})[0]["error"]
    assert "percentiles" in view.handle({"do": "contrast", "low": 50, "high": 50})[0]["error"]
    answer, (picture,) = view.handle({"do": "projection"})
    assert answer["projection"] == [40, 48] and len(picture) == 40 * 48
    answer, (points, numbers) = view.handle({"do": "surface"})
    assert answer["surface"] == len(numbers) // 2 == len(points) // 12


def test_shapes_must_agree(volume):
    with pytest.raises(UserError, match="labels have shape"):
        View(volume[0], volume[1][1:])
    with pytest.raises(UserError, match="three dimensions"):
        View(volume[0][0])
    with pytest.raises(UserError, match="real numbers"):
        Source(volume[0].astype(complex))


def test_colours_are_stable_and_never_background():
    table = colours()
    assert np.array_equal(table, colours()) and table[1:].max(1).min() > 120 and not table[0].any()
    assert fold(np.array([0, 1, 65535, 65536, 131070], np.int32)).tolist() == [0, 1, 65535, 1, 65535]


def test_every_tool_answers_with_the_new_labels(tool):
    labels = tool.session.canvas.labels
    assert "a new session" in tool.handle({"do": "hello"})[0]["say"]
    answer, buffers = tool.handle({"do": "new"})
    number = answer["cell"]
    stroke = {"points": [[6, 2, 2], [6, 2, 9]], "radius": 2.0, "axis": 0, "flat": True}
    answer, buffers = tool.handle({"do": "paint", **stroke})
    assert (
        np.array_equal(planes(answer, buffers)[0, "labels"], labels[6]) and (labels[6] == number).sum() > 20
    )
    assert not (np.delete(labels, 6, 0) == number).any() and tool.session.states[number] == "fixed"
    tool.handle({"do": "erase", **stroke, "points": [[6, 2, 5]]})
    assert labels[6, 2, 5] == 0
    answer, _ = tool.handle({"do": "undo"})
    assert labels[6, 2, 5] == number and answer["redo"] == 1
    tool.handle({"do": "redo"})
    assert labels[6, 2, 5] == 0
    first, second = (tool.session.canvas.centre(n) for n in (1, 2))
    tool.handle({"do": "pick", "point": first})
    tool.handle({"do": "merge", "point": second})
    assert labels[second] == 1
    answer, _ = tool.handle({"do": "split", "points": [first, second]})
    assert "error" not in answer and labels[first] == 1 and labels[second] > number
    tool.handle({"do": "delete", "point": second})
    assert labels[second] == 0
    assert "no cell" in tool.handle({"do": "delete", "point": second})[0]["error"]
    assert "no hole" in tool.handle({"do": "fill", "point": first})[0]["error"]
    assert "no slice" in tool.handle({"do": "interpolate", "point": first})[0]["error"]
    assert "saved in" in tool.handle({"do": "save"})[0]["say"]
    tool.session.trouble = "the disk is full"
    assert tool.handle({"do": "status"})[0]["trouble"] == "the disk is full"


def test_a_failure_inside_is_one_line_and_leaves_the_labels(tool):
    before = tool.session.canvas.labels.copy()
    answer, _ = tool.handle({"do": "paint", "points": "nonsense", "radius": 1})
    assert answer["error"].startswith("paint failed") and np.array_equal(before, tool.session.canvas.labels)


def test_the_queue_is_gone_through(tool):
    assert "queue is empty" in tool.handle({"do": "next"})[0]["error"]
    first = tool.handle({"do": "queue"})[0]
    assert first["item"]["nth"] == 1 and first["at"] == list(tool.items[0].place)
    assert "box" in first
    second = tool.handle({"do": "decide", "state": "accepted"})[0]
    assert second["item"]["nth"] == 2 and second["item"]["doubt"] <= first["item"]["doubt"]
    back = tool.handle({"do": "previous"})[0]
    assert back["item"]["state"] == "accepted" or not back["item"]["number"]
    again = tool.handle({"do": "queue"})[0]
    assert again["item"]["of"] <= first["item"]["of"]


def test_the_queue_learns_in_the_tool(tool):
    tool.handle({"do": "queue"})
    shown = [tool.items[0]]
    for number in range(7):
        tool.handle({"do": "decide", "state": "accepted" if number % 2 else "wrong"})
        shown.append(tool.items[tool.item])
        if number < 4:
            assert tool.learned == 0 and len(tool.session.seen) == number + 1
    decided = [edits for _, edits in tool.session.seen.values()]
    assert tool.learned == 5 and decided == [1, 0, 1, 0, 1, 0, 1]
    assert tool.items[:6] == shown[:6] and len(set(item.place for item in shown)) == len(shown)
    assert len(set(item.place for item in tool.items)) == len(tool.items)
    answer = tool.handle({"do": "queue"})[0]  # anew: what was learned stays
    assert tool.learned == 7 and "error" not in answer
    for item in tool.items:
        tool.session.decide(item.number, "accepted") if item.number else None
        tool.session.seen[item.number, item.place] = item, 0
    assert "nothing is left" in tool.handle({"do": "queue"})[0]["say"]


def test_a_bright_place_without_a_cell_is_decided_too(tool):
    """Accepted as it is, it does not come back; drawn there, it counts as mended."""
    places = []
    for number in tool.session.canvas.numbers():  # until one is missed that has a bright middle
        tool.session.canvas.delete(number)
        tool.handle({"do": "queue"})
        places = [n for n, item in enumerate(tool.items) if not item.number]
        if places:
            break
    tool.item = places[0]
    one = tool.items[tool.item]
    tool.handle({"do": "decide", "state": "accepted"})
    assert tool.session.seen[0, one.place] == (one, 0)
    tool.handle({"do": "queue"})
    assert one.place not in [item.place for item in tool.items]
    tool.items, tool.item = [one], 0
    tool.session.canvas.paint([one.place], 2.0, tool.session.canvas.new_number())
    assert "last one" in tool.handle({"do": "decide", "state": "fixed"})[0]["say"]
    assert tool.session.seen[0, one.place] == (one, 1)
    tool.items, tool.item, tool.cell = [], -1, 0
    assert "which cell" in tool.handle({"do": "decide", "state": "fixed"})[0]["error"]


def test_volumes_on_disk_are_read_slice_by_slice(tmp_path):
    zarr = pytest.importorskip("zarr")
    store = zarr.create_array(tmp_path / "v.zarr", shape=(1024, 1024, 1024), chunks=(64,) * 3, dtype="uint16")
    store[500:520, 500:520, 500:520] = 7
    view = View(tmp_path / "v.zarr", voxel_size=(1.0, 1.0, 1.0))
    view.at = [510] * 3
    answer, buffers = view.handle({"do": "hello"})
    assert planes(answer, buffers)[0, "grey"].max() == 255 and view.source.lazy
    assert {axis for axis, _ in planes(*view.handle({"do": "sides"}))} == {1, 2}
    assert "crop it first" in view.handle({"do": "projection"})[0]["error"]
    with pytest.raises(UserError, match="cannot be read as Zarr"):
        opened(tmp_path / "nothing.zarr")
    group = zarr.open_group(tmp_path / "ome.zarr", mode="w")
    group.create_array("0", shape=(1, 1, 8, 20, 20), chunks=(1, 1, 8, 20, 20), dtype="uint8")[...] = 3
    group.create_array("1", shape=(1, 1, 4, 10, 10), chunks=(1, 1, 4, 10, 10), dtype="uint8")
    assert opened(tmp_path / "ome.zarr").shape == (8, 20, 20)
    assert (opened(tmp_path / "ome.zarr").plane(2, 4) == 3).all()
    volumes.write(tmp_path / "sized.zarr", np.ones((8, 20, 20), np.uint8), (2.0, 0.5, 0.5))
    assert opened(tmp_path / "sized.zarr").size == (2.0, 0.5, 0.5)
    assert opened(tmp_path / "sized.zarr", (1.0, 1.0, 1.0)).size == (1.0, 1.0, 1.0)


def test_points_lie_on_the_rims():
    labels = np.zeros((9, 9, 9), np.int32)
    labels[2:7, 2:7, 2:7] = 4
    places, numbers = surface.points(labels, (2.0, 1.0, 1.0))
    assert len(places) == 5**3 - 3**3 and set(numbers) == {4}
    assert places[:, 0].max() == 12 and [3 * 2, 3, 3] not in places.tolist()
    assert len(surface.points(labels, most=10)[0]) <= 10
