"""Crop, cut and resample, by a call and by the form; the handover to napari; the widgets of the notebooks."""

import sys

import numpy as np
import pytest
import tifffile

from cellseg_nb import runtime
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.plots import widgets
from cellseg_nb.viewer import crops, forms, handover, session, source
from cellseg_nb.viewer.widget import label, viewer

SIZE = (2.0, 1.0, 1.0)


@pytest.fixture
def volume():
    return simulate.volume((16, 40, 48), 20, seed=4)


def test_crop_cut_and_resample(tmp_path, volume):
    image, labels = volume
    (path,) = crops.crop(image, [(2, 10), (0, 40), (8, 48)], tmp_path / "a", labels, SIZE)
    found, size = volumes.read(path, minimum=1)
    assert np.array_equal(found, image[2:10, :, 8:]) and size == SIZE
    assert np.array_equal(volumes.read_labels(tmp_path / "a" / "labels" / "crop.tif")[0], labels[2:10, :, 8:])
    written = crops.crop(
        image, [(0, 16), (0, 40), (0, 48)], tmp_path / "b", labels, SIZE, cube=16, isotropic=1.0
    )
    assert len(written) == 2 * 3 * 3
    cube, size = volumes.read(written[0])
    assert cube.shape == (16, 16, 16) and size == (1, 1, 1)
    kept = [volumes.read_labels(path)[0] for path in (tmp_path / "b" / "labels").iterdir()]
    assert set(np.unique(np.concatenate([one.ravel() for one in kept]))) <= set(range(labels.max() + 1))
    for words, given in {
        "does not fit": ([(0, 17), (0, 40), (0, 48)], {}),
        "does not fit ": ([(3, 3), (0, 40), (0, 48)], {}),
        "voxel size must be known": ([(0, 16), (0, 40), (0, 48)], {"isotropic": 1.0}),
        "both must agree": ([(0, 16), (0, 40), (0, 48)], {"labels": labels[1:]}),
    }.items():
        with pytest.raises(UserError, match=words.strip()):
            crops.crop(image, given[0], tmp_path / "c", **given[1])


def test_the_form_takes_the_box_of_the_views(tmp_path, volume, monkeypatch):
    tool = label(volume[0], tmp_path / "session", volume[1], voxel_size=SIZE)
    tool.view.handle({"do": "box", "box": [[3, 9], [30, 5], [-4, 99]]})
    form = forms.CropForm(volume[0], volume[1], SIZE, tmp_path / "out", tool)
    buttons = {button.description: button for button in form.widget.children[-2].children}
    buttons["Box of the views"].click()
    assert form.box == [(3, 9), (5, 30), (0, 48)]
    buttons["Write"].click()
    assert volumes.read(tmp_path / "out" / "images" / "crop.tif", minimum=1)[0].shape == (6, 25, 48)
    buttons["Export"].click()
    assert "[(3, 9), (5, 30), (0, 48)]," in form.said.value
    by_form = volumes.read(tmp_path / "out" / "images" / "crop.tif", minimum=1)
    (tmp_path / "out" / "images" / "crop.tif").unlink()
    exec(form.code(), {"volume": volume[0], "labels": volume[1]})
    by_script = volumes.read(tmp_path / "out" / "images" / "crop.tif", minimum=1)
    assert np.array_equal(by_form[0], by_script[0]) and by_form[1] == by_script[1] == SIZE
    bare = forms.CropForm(volume[0], None, np.array(SIZE), tmp_path / "bare")  # no labels, none in the call
    exec(bare.code(), {"volume": volume[0]})
    assert (tmp_path / "bare" / "images" / "crop.tif").exists() and not (
        tmp_path / "bare" / "labels"
    ).exists()
    form.isotropic.value = 1e-9
    form.write()
    assert "Look out" in form.said.value
    tool.session.close()
    monkeypatch.setenv("CELLSEG_NB_BATCH", "1")
    assert isinstance(forms.crop(volume[0]), forms.CropForm)


def test_a_widget_carries_a_still_picture(volume):
    tool = viewer(volume[0], volume[1], voxel_size=SIZE, still=b"png")
    data, _ = tool._repr_mimebundle_()
    assert data["image/png"] == tool.still == "cG5n" and "application/vnd.jupyter.widget-view+json" in data
    assert "image/png" not in viewer(volume[0])._repr_mimebundle_()[0]


def test_slices_and_label_in_and_out_of_batch(tmp_path, volume, monkeypatch, capsys):
    import matplotlib.pyplot as plt

    plt.close("all")  # what other tests have left open
    monkeypatch.setattr(runtime, "in_batch", lambda: True)
    session = widgets.label(volume[0], tmp_path / "s", volume[1], None, SIZE)
    widgets.slices(volume[0], volume[1])
    assert len(plt.get_fignums()) == 2 and session.resumed is False
    plt.close("all")
    monkeypatch.setattr(runtime, "in_batch", lambda: False)
    again = widgets.label(volume[0], tmp_path / "s", None, None, SIZE)
    widgets.slices(volume[0], volume[1], SIZE, limits=(0, 900))
    assert again.resumed and again.tool.view.session is again and not plt.get_fignums()
    assert len(again.tool._repr_mimebundle_()[0]["image/png"]) > 1000  # on a page without a kernel
    again.close()


def test_slices_of_what_is_not_in_memory(volume, monkeypatch):
    """Only the slices that are looked at are read, for the still picture, too; Dask lists all its chunks."""
    import matplotlib.pyplot as plt

    array = pytest.importorskip("dask.array")

    class Stored:
        """As a volume of `cellseg_nb.brains.sources`, which reads boxes, and no single planes."""

        def __init__(self, values):
            self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, 3

        def __getitem__(self, box):
            assert all(isinstance(part, slice) for part in box)
            return self.values[box]

    stored = [Stored(volume[0]), Stored(volume[1] + 70000)]
    image, labels = (array.from_array(one, chunks=(5, 16, 16), name=False) for one in stored)
    shown = []
    monkeypatch.setattr(
        widgets.widget, "viewer", lambda *given, **options: shown.append(viewer(*given, **options))
    )
    for batch in (True, False):
        monkeypatch.setattr(runtime, "in_batch", lambda batch=batch: batch)
        widgets.slices(image, labels, SIZE, position=(13, 7, 40), title="a corner")
        assert len(plt.get_fignums()) == batch
        plt.close("all")
    answer, _ = shown[0].view.handle({"do": "hello"})
    assert answer["at"] == [13, 7, 40] and answer["say"] == "a corner" and shown[0].still
    for z in (4, 5, 15):
        assert np.array_equal(shown[0].view.source.plane(0, z), volume[0][z])
        assert np.array_equal(shown[0].view.label_plane(0, z), volume[1][z] + 70000)


def test_napari(volume, monkeypatch):
    monkeypatch.setitem(sys.modules, "napari", None)
    with pytest.raises(UserError, match="pip install"):
        handover.open_in_napari(*volume, SIZE)


def test_files_of_few_bits_are_held_so_and_handed_out_as_before(tmp_path, volume):
    path, labels = tmp_path / "a.tif", tmp_path / "labels.tif"
    volumes.write(path, volume[0].astype(np.uint16), SIZE)
    volumes.write(labels, volume[1], SIZE)
    found, wide = source.opened(str(path)), source.Source(volumes.read(path)[0], SIZE)
    assert found.array.dtype == np.uint16 and session.fingerprint(found) == session.fingerprint(wide)
    for one, other in ((found.plane(1, 5), wide.plane(1, 5)), (found.whole(), wide.whole())):
        assert one.dtype == np.float32 and np.array_equal(one, other)
    assert found.limits() == wide.limits()
    (crop,) = crops.crop(path, [(2, 10), (0, 40), (8, 48)], tmp_path / "c", labels)
    np.testing.assert_array_equal(volumes.read(crop, minimum=1)[0], volume[0][2:10, :, 8:].astype(np.uint16))
    kept = tifffile.imread(tmp_path / "c" / "labels" / "crop.tif")  # whole numbers
    assert kept.dtype == np.uint16 and np.array_equal(kept, volume[1][2:10, :, 8:])
