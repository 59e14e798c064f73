"""Labels are labels: masks become cells with a word, images and blurred labels are refused in one line."""

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage import measure

from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import labels as labels_of, volumes

IMAGE, LABELS = simulate.volume((24, 40, 40), 14, seed=2)
PIECES = int(ndimage.label(LABELS > 0)[1])


def written(path, array):
    tifffile.imwrite(path, array, photometric="minisblack", metadata={"axes": "ZYX"})
    return path


def refused(path):
    with pytest.raises(UserError) as caught:
        volumes.read_labels(path)
    line = str(caught.value)
    assert "\n" not in line and str(path) in line and ": give the label file" in line
    return line


@pytest.mark.parametrize(
    "mask",
    [
        (LABELS > 0).astype(np.uint8) * 255,
        LABELS > 0,
        (LABELS > 0).astype(np.uint8) + 1,
        2 - (LABELS > 0).astype(np.uint8),
        (LABELS > 0).astype(np.float32),
        (LABELS > 0).astype(np.uint16) * 65535,
    ],
)
def test_masks_are_parted_with_a_word(tmp_path, capsys, mask):
    labels, _ = volumes.read_labels(written(tmp_path / "m.tif", mask))
    assert labels.dtype == np.int32 and labels.max() == PIECES > 5
    np.testing.assert_array_equal(labels > 0, LABELS > 0)
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "m.tif holds" in out and f"parted into {PIECES} cells" in out


def test_one_cell_is_no_mask(tmp_path, capsys):
    labels, _ = volumes.read_labels(written(tmp_path / "m.tif", (LABELS == 3).astype(np.uint16) * 7))
    assert set(np.unique(labels)) == {0, 7} and capsys.readouterr().out == ""


def test_plain_labels_say_nothing(tmp_path, capsys):
    np.testing.assert_array_equal(volumes.read_labels(written(tmp_path / "m.tif", LABELS))[0], LABELS)
    assert capsys.readouterr().out == ""


def test_an_image_is_refused_and_the_remedy_works(tmp_path):
    top = np.clip(IMAGE / IMAGE.max() * 255, 0, 255).astype(np.uint8)
    for array in (IMAGE.astype(np.uint16), top, ndimage.gaussian_filter(IMAGE.astype(float), 1).astype("u2")):
        line = refused(written(tmp_path / "image.tif", array))
        assert "separate pieces, so these are not labels" in line
    assert volumes.read_labels(written(tmp_path / "labels.tif", LABELS))[0].max() == LABELS.max()


def test_blurred_labels_are_refused_and_the_remedy_works(tmp_path):
    shuffled = np.r_[0, np.random.default_rng(0).permutation(np.arange(1, LABELS.max() + 1)) * 10][LABELS]
    blurred = ndimage.zoom(shuffled.astype(float), 1.7, order=1)
    assert "not whole" in refused(written(tmp_path / "a.tif", blurred.astype("f4")))
    assert "without interpolation" in refused(written(tmp_path / "a.tif", np.rint(blurred).astype("u2")))
    nearest = ndimage.zoom(shuffled, 1.7, order=0).astype("u2")
    assert len(np.unique(volumes.read_labels(written(tmp_path / "a.tif", nearest))[0])) == LABELS.max() + 1


def test_what_looks_odd_is_said(tmp_path, capsys):
    first, last = LABELS[LABELS > 0][[0, -1]]  # far apart
    twice = np.where(LABELS == first, last, LABELS)
    volumes.read_labels(written(tmp_path / "a.tif", twice))
    cells = len(np.unique(twice)) - 1
    assert f"a.tif holds {cells} cells in {cells + 1} separate pieces" in capsys.readouterr().out
    volumes.read_labels(written(tmp_path / "a.tif", LABELS + 1))
    assert "no background" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["border", "three classes"])
def test_classes_are_refused(tmp_path, kind):
    inner = ndimage.binary_erosion(LABELS > 0)
    array = np.where(inner, 1, np.where(LABELS > 0, 2, 0)) if kind == "border" else None
    if array is None:
        array = np.where(LABELS > 0, np.where(LABELS % 3 == 0, 3, 2), 1)
    with pytest.raises(UserError, match="not labels|so these are classes, not cells: give labels"):
        volumes.read_labels(written(tmp_path / "a.tif", array.astype(np.uint8)))


def test_colours_are_no_labels(tmp_path):
    colours = np.stack([LABELS % 255] * 3, -1).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb", metadata={"axes": "ZYXS"})
    with pytest.raises(UserError, match="a colour .RGB. picture, not labels: export the numbers"):
        volumes.read_labels(tmp_path / "a.tif")


def test_a_mask_of_255_in_numbers_with_a_sign(tmp_path, capsys):
    labels, _ = volumes.read_labels(written(tmp_path / "a.tif", -(LABELS > 0).astype(np.int8)))
    assert labels.max() == PIECES and "parted" in capsys.readouterr().out


def test_gaps_are_said(tmp_path, capsys):
    labels, _ = volumes.read_labels(written(tmp_path / "a.tif", (LABELS * 100000).astype(np.uint32)))
    np.testing.assert_array_equal(labels, LABELS * 100000)
    assert f"numbered up to {LABELS.max() * 100000} with gaps: kept" in capsys.readouterr().out


def test_labels_of_our_own_are_taken_as_they_are(tmp_path, capsys):
    mask = (LABELS > 0).astype(np.uint8)
    assert volumes.read_labels(written(tmp_path / "a.tif", mask), own=True)[0].max() == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("connectivity", [1, 3])
def test_pieces_counted_in_slabs_are_those_of_the_whole(monkeypatch, connectivity):
    rng = np.random.default_rng(0)
    for _ in range(12):
        cells = rng.integers(0, 4, rng.integers(1, 12, 3)).astype(np.int32)
        pieces = measure.label(cells, connectivity=connectivity, background=0)
        owners = [cells[pieces == piece][0] for piece in range(1, pieces.max() + 1)]
        for slab in (1, 60, 10**6):
            monkeypatch.setattr(labels_of, "SLAB", slab)
            assert sorted(labels_of._pieces(cells, connectivity)) == sorted(owners)
