"""What notebook 00 says of files that do not go together, and that its remedy works."""

import numpy as np
import pytest
import tifffile

from cellseg_nb import parameters, runs
from cellseg_nb.errors import UserError
from cellseg_nb.io import axes, volumes
from cellseg_nb.lessons import quickstart

IMAGE = np.random.default_rng(0).integers(0, 999, (18, 20, 22)).astype(np.uint16)
LABELS = np.kron(np.arange(8).reshape(2, 2, 2), np.ones((9, 10, 11))).astype(np.uint16)


@pytest.fixture
def load(tmp_path):
    """load(**parameters): what the notebook reads of them."""

    def read(**given):
        given = {name: str(value) if name != "channel" else value for name, value in given.items()}
        every = runs.parameters(runs.find("00_quickstart")) | {"out": str(tmp_path / "out")} | given
        return quickstart.load(parameters.check(quickstart.PARAMETERS, every))

    return read


def save(path, array=IMAGE, size=None):
    path.parent.mkdir(exist_ok=True)
    size = {"resolution": (1 / size, 1 / size)} if size else {}
    more = {"spacing": 2.0, "unit": "um"} if size else {}
    tifffile.imwrite(path, array, metadata={"axes": "ZYX", **more}, photometric="minisblack", **size)
    return path


def test_different_voxel_sizes(tmp_path, load):
    for name, size in (("a", 0.5), ("b", 0.25)):
        save(tmp_path / "in" / f"{name}.tif", size=size)
    with pytest.raises(
        UserError, match="in: the files have different voxel sizes .* or set voxel_size for all"
    ):
        load(images=tmp_path / "in")
    found = load(images=tmp_path / "in", voxel_size="2, 0.5, 0.5")
    assert [one.voxel_size for one in found] == [(2, 0.5, 0.5)] * 2
    assert load(images=tmp_path / "in" / "b.tif")[0].voxel_size == pytest.approx((2, 0.25, 0.25))


def test_one_label_file_for_two_volumes(tmp_path, load):
    for name in "ab":
        save(tmp_path / "in" / f"{name}.tif")
        save(tmp_path / "labels" / f"{name}_labels.tif", LABELS)
    file = tmp_path / "labels" / "a_labels.tif"
    with pytest.raises(
        UserError, match="is one label file for 2 volumes: give the folder of all label files"
    ):
        load(images=tmp_path / "in", labels=file)
    found = load(images=tmp_path / "in", labels=tmp_path / "labels")
    assert all(np.array_equal(one.labels, LABELS) for one in found)


def test_labels_of_another_volume(tmp_path, load):
    image, file = save(tmp_path / "in" / "a.tif"), save(tmp_path / "a_labels.tif", LABELS[:9])
    with pytest.raises(
        UserError, match=r"shape \(9, 20, 22\), its volume \(18, 20, 22\): give the labels of"
    ):
        load(images=image, labels=file)
    assert load(images=image, labels=save(file, LABELS))[0].labels.max() == 7


def test_the_parameters_that_a_line_names_are_those_of_the_notebook(tmp_path, load):
    path = save(tmp_path / "a.tif", np.stack([IMAGE, IMAGE + 1]))
    tifffile.imwrite(path, np.stack([IMAGE, IMAGE + 1]), metadata={"axes": "CZYX"}, photometric="minisblack")
    with pytest.raises(axes.Several) as caught:
        load(images=path)
    named = [word.partition("=")[0] for word in str(caught.value).split() if "=" in word]
    assert named == ["channel"] and set(named) <= set(runs.parameters(runs.find("00_quickstart")))
    np.testing.assert_array_equal(load(images=path, channel=1)[0].image, IMAGE + 1)


@pytest.mark.parametrize("where", ["here", "in a data set"])
def test_where_no_such_parameter_is_a_command_helps(tmp_path, where):
    path = save(tmp_path / "a.tif", np.stack([IMAGE, IMAGE + 1]))
    tifffile.imwrite(path, np.stack([IMAGE, IMAGE + 1]), metadata={"axes": "CZYX"}, photometric="minisblack")
    with pytest.raises(
        UserError, match=f"and {where} a file holds one volume: .* cellseg-nb convert"
    ) as caught:
        volumes.read_one(path, where)
    assert not isinstance(caught.value, axes.Several) and "channel=0" not in str(caught.value)
