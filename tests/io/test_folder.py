"""A folder is a question: volumes, labels, earlier results, parts of one OME-TIFF are told apart."""

import numpy as np
import pytest
import tifffile

from cellseg_nb.errors import UserError
from cellseg_nb.io import folder as folders, volumes

VOLUME = (np.arange(18 * 20 * 22) % 251).reshape(18, 20, 22).astype(np.uint16)


@pytest.fixture
def lay(tmp_path):
    def make(*names):
        place = tmp_path / "set"
        place.mkdir(exist_ok=True)
        for name in names:
            (place / name).touch()
        return place

    return make


@pytest.mark.parametrize(
    "name, kind",
    [
        ("c5_masks.tif", "labels of c5.tif"),
        ("c5_cp_masks.tif", "labels of c5.tif"),
        ("c5-seg.tif", "labels of c5.tif"),
        ("c5 Simple Segmentation.tiff", "labels of c5.tif"),
        ("c5_labels.ome.tif", "labels of c5.tif"),
        ("c9_mask.tif", "labels, or the result of an earlier run"),
        ("labels.tif", "labels, or the result of an earlier run"),
        ("probability.tif", "result of an earlier run"),
        ("c5_probability.tif", "result of an earlier run"),
        ("c5_seg.npy", "labels (Cellpose)"),
    ],
)
def test_what_is_no_volume_is_left_out_with_a_line(lay, capsys, name, kind):
    place = lay("c5.tif", "c10.tif", name)
    assert [file.name for file in volumes.find(place)] == ["c5.tif", "c10.tif"]
    line = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith(name)]
    assert len(line) == 1 and kind in line[0] and "left out" in line[0]


def test_volumes_only_need_no_table(lay, capsys):
    assert len(volumes.find(lay("c5.tif", "unmasked.tif", "seglabels2.tif", "gtx.tif"))) == 4
    assert capsys.readouterr().out == ""


def test_labels_only_are_refused_and_the_remedy_works(lay):
    place = lay("a_masks.tif", "labels.tif")
    with pytest.raises(UserError, match=r"a_masks.tif, labels.tif\): give the folder .* or rename") as caught:
        volumes.find(place)
    assert str(place) in str(caught.value) and "\n" not in str(caught.value)
    (place / "a_masks.tif").rename(place / "a.tif")
    assert [file.name for file in volumes.find(place)] == ["a.tif"]
    assert volumes.find(place / "labels.tif") == [
        place / "labels.tif"
    ]  # a file that is given is what you mean


def test_files_whose_results_would_overwrite_each_other(lay):
    place = lay("a.tif", "a.tiff", "b.tif")
    with pytest.raises(UserError, match="a.tif and a.tiff, .* overwrite each other: rename"):
        volumes.find(place)
    (place / "a.tiff").rename(place / "c.tiff")
    assert len(volumes.find(place)) == 3


# ---------------------------------------------------------------- parts of one OME-TIFF


def ome_set(place, names, binary_only=False):
    """One volume in several files, each with the description of all of them, or only the first."""
    ids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in range(len(names))]
    planes = len(VOLUME) // len(names)
    data = "".join(
        f'<TiffData IFD="{z % planes}" FirstZ="{z}" FirstC="0" FirstT="0" PlaneCount="1">'
        f'<UUID FileName="{names[z // planes]}">{ids[z // planes]}</UUID></TiffData>'
        for z in range(planes * len(names))
    )
    _, y, x = VOLUME.shape
    xmlns = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    for i, (name, own) in enumerate(zip(names, ids)):
        head = (
            f'<?xml version="1.0" encoding="UTF-8"?><OME {xmlns} UUID="{own}"><Image ID="Image:0"><Pixels '
            f'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="{x}" SizeY="{y}" '
            f'SizeZ="{planes * len(names)}" SizeC="1" SizeT="1" PhysicalSizeX="0.5" PhysicalSizeY="0.5" '
            f'PhysicalSizeZ="2">{data}</Pixels></Image></OME>'
        )
        if binary_only and i != len(names) - 1:
            head = (
                f'<?xml version="1.0" encoding="UTF-8"?><OME {xmlns} UUID="{own}"><BinaryOnly '
                f'MetadataFile="{names[-1]}" UUID="{ids[-1]}"/></OME>'
            )
        with tifffile.TiffWriter(place / name) as writer:
            for plane in VOLUME[planes * i : planes * (i + 1)]:
                writer.write(plane, description=head, metadata=None, contiguous=False)
                head = None


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("binary_only", [False, True])
def test_parts_of_one_ome_tiff_are_one_volume_once(tmp_path, capsys, count, binary_only):
    ome_set(tmp_path, [f"s{i}.ome.tif" for i in range(count)], binary_only)
    tifffile.imwrite(tmp_path / "other.tif", VOLUME, metadata={"axes": "ZYX"})
    found = volumes.find(tmp_path)
    first = f"s{count - 1 if binary_only else 0}.ome.tif"
    assert [file.name for file in found] == ["other.tif", first]
    assert capsys.readouterr().out.count("another part of " + first) == count - 1
    for file in found:
        image, size = volumes.read(file)
        np.testing.assert_array_equal(image, VOLUME)
        assert size == (None if file.name == "other.tif" else (2, 0.5, 0.5))


def test_two_sets_and_a_renamed_copy(tmp_path):
    ome_set(tmp_path, ["a0.ome.tif", "a1.ome.tif"])
    ome_set(tmp_path, ["b0.ome.tif", "b1.ome.tif"])
    tifffile.imwrite(tmp_path / "single.ome.tif", VOLUME, ome=True, metadata={"axes": "ZYX"})
    found = [file.name for file in volumes.find(tmp_path)]
    assert found == ["a0.ome.tif", "b0.ome.tif", "single.ome.tif"]


def test_a_missing_part_is_said(tmp_path):
    ome_set(tmp_path, ["a0.ome.tif", "a1.ome.tif"])
    (tmp_path / "a1.ome.tif").rename(tmp_path / "away")
    with pytest.raises(UserError, match="a0.ome.tif lacks planes .* copy a1.ome.tif into its folder, under"):
        volumes.read(volumes.find(tmp_path)[0])
    (tmp_path / "away").rename(tmp_path / "a1.ome.tif")  # the remedy
    np.testing.assert_array_equal(volumes.read(tmp_path / "a0.ome.tif")[0], VOLUME)


def test_the_key_of_a_name():
    from pathlib import Path

    for name in ("c5.tif", "c5_image.tif", "c5_labels.tif", "c5_cp_masks.tiff", "c5.ome.tif", "c5-raw.TIF"):
        assert folders.key(Path(name)) == "c5"


def test_a_mask_read_as_a_volume_is_said(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "a.tif", (VOLUME > 100).astype(np.uint8) * 255, metadata={"axes": "ZYX"})
    volumes.read(tmp_path / "a.tif")
    assert "a.tif: holds two values only" in capsys.readouterr().out
