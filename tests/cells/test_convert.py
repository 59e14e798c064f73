"""Labels to classes and back, folders of them, and a volume in one row."""

import numpy as np
import pytest

from cellseg_nb.cells import convert, instances
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes


@pytest.fixture
def labels():
    made = np.zeros((16, 16, 20), np.int32)
    made[2:6, 2:6, 2:6], made[2:6, 2:6, 6:10], made[10:14, 10:14, 10:14] = 3, 7, 9
    return made


def test_there_and_back_touching_cells_become_one(labels):
    classes = convert.to_classes(labels)
    assert classes.dtype == np.int32 and set(np.unique(classes)) == {0, 1}
    back = convert.to_cells(classes)
    assert back.max() == 2 and np.array_equal(back > 0, labels > 0)
    assert convert.to_cells(classes, min_size=100).max() == 1


def test_a_folder_of_files(labels, tmp_path):
    for name in ("a", "b"):
        volumes.write(tmp_path / "labels" / f"{name}.tif", labels, (2, 1, 1))
    table = convert.folder(tmp_path / "labels", tmp_path / "classes", "cells to classes")
    assert table.values.tolist() == [["a.tif", 3, 1], ["b.tif", 3, 1]]
    read, size = volumes.read_labels(tmp_path / "classes" / "a.tif", own=True)
    assert np.array_equal(read, convert.to_classes(labels)) and size == (2, 1, 1)
    table = convert.folder(tmp_path / "classes", tmp_path / "cells", "classes to cells")
    assert list(table.after) == [2, 2]
    with pytest.raises(UserError, match="way must be one of"):
        convert.folder(tmp_path / "labels", tmp_path / "x", "sideways")
    with pytest.raises(UserError, match="choose another folder"):
        convert.folder(tmp_path / "labels", tmp_path / "labels", "cells to classes")


def test_a_volume_in_one_row(labels):
    table = instances.table(labels, None, (2, 1, 1))
    row = convert.summary(table, labels.shape, (2, 1, 1))
    assert row["cells"] == 3 and row["in cells (%)"] == round(100 * 192 / labels.size, 2)
    assert row["cells per mm³"] == pytest.approx(3 / (labels.size * 2e-9), rel=1e-6)
    assert convert.summary(instances.table(np.zeros_like(labels)), labels.shape)["cells per mm³"] is None
