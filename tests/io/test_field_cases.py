"""Inputs that failed for others: right, or one line with a remedy, which is applied and seen to work.

The cases are not part of the project: CELLSEG_NB_FIELD_CASES is their folder. Variants of each kind are made
by hand in the other tests of this folder, of `data` and of `evaluation`.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from refusing import refused

from cellseg_nb.data import pairing
from cellseg_nb.evaluation import tables
from cellseg_nb.io import volumes
from cellseg_nb.lessons import quickstart

CASES = os.environ.get("CELLSEG_NB_FIELD_CASES")
pytestmark = pytest.mark.skipif(not CASES, reason="set CELLSEG_NB_FIELD_CASES to the folder of cases")


@pytest.fixture
def case(tmp_path):
    def copy(name):
        shutil.copytree(Path(CASES) / name, tmp_path / name)
        return tmp_path / name

    return copy


def test_resolution_unit(case):
    _, size = volumes.read(case("resolution-unit") / "um_cm.tif")
    assert size[1:] == pytest.approx((0.5, 0.5), rel=1e-3)


def test_axes(case):
    place = case("axes-xyz")
    for name, axes in (("axes_xyz.tif", "XYZ"), ("axes_yxz.tif", "YXZ")):
        stored = tifffile.imread(place / name)
        turned = stored.transpose([axes.index(letter) for letter in "ZYX"])
        np.testing.assert_array_equal(volumes.read(place / name)[0], turned)


def test_parts_of_one_set(case, capsys):
    place = case("ome-parts") / "multi"
    (file,) = volumes.find(place)
    assert "another part of" in capsys.readouterr().out
    assert volumes.read(file)[0].shape[0] > 16


def test_masks_beside(case, capsys):
    (file,) = volumes.find(case("masks-beside") / "side")
    assert file.name == "c5.tif" and "c5_masks.tif  labels of c5.tif: left out" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["m255.tif", "mbool.tif", "milastik.tif"])
def test_masks(case, capsys, name):
    labels, _ = volumes.read_labels(case("mask-255") / name)
    assert labels.max() > 5 and "parted into" in capsys.readouterr().out


def test_pairs(case):
    place = case("pair-order")
    names = [(p.image.name, p.labels.name) for p in pairing.pairs(place / "order")]
    assert names == [("ctrl_m2.tif", "m2_ctrl_mask.tif"), ("treat_m1.tif", "m1_treat_mask.tif")]
    other = place / "order2"
    refused(lambda: pairing.pairs(other), "s1.tif", "s2.tif", "s3_mask.tif", "s2_mask.tif", "_labels.tif")
    (other / "labels" / "s3_mask.tif").rename(other / "labels" / "s1_labels.tif")
    assert len(pairing.pairs(other)) == 2


def test_thin(case, tmp_path):
    choice = {"images": str(case("thin") / "thin.tif"), "labels": "", "out": str(tmp_path / "out")}
    choice |= {"channel": -1, "voxel_size": None, "cell_diameter": None}
    assert len(quickstart.load(choice)) == 1


def test_tables(case, capsys):
    place = case("table-cells")
    for name in ("group_NA.csv", "group_null.csv", "cp1252.csv", "sep_line.csv"):
        table = tables.read(place / name)
        names = list(table.columns)
        value = next(n for n in names if table[n].dtype.kind == "f")
        group = next(n for n in names if table[n].dtype.kind not in "if")
        assert len(tables.clean(table, value, group)) == len(table)
    bad = place / "one_cell_n.d._in_row_5.csv"
    table = tables.read(bad)
    value = next(n for n in table.columns if "n.d." in set(map(str, table[n])))
    refused(lambda: tables.clean(table, value, table.columns[0]), "'n.d.'", "row 5", "correct this cell")
    bad.write_bytes(bad.read_bytes().replace(b"n.d.", b"0.5"))  # the remedy
    tables.clean(tables.read(bad), value, table.columns[0])
