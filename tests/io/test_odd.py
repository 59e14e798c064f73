"""Files as programs, drives and people leave them: each comes out right, or one line says what helps, and it
does."""

import gzip
import re
import subprocess
import sys
import unicodedata
import zipfile

import h5py
import nibabel
import numpy as np
import pytest
import samples
import scipy.io
import tifffile
import zarr
from samples import SHAPE, SIZE, VOLUME

from cellseg_nb.brains import sources
from cellseg_nb.data import pairing
from cellseg_nb.errors import UserError
from cellseg_nb.io import convert, formats, volumes

CELLS = np.zeros(SHAPE, "u2")
for number, corner in enumerate(np.ndindex(3, 4, 4), 1):
    z, y, x = np.multiply(corner, 5) + 1
    CELLS[z : z + 3, y : y + 3, x : x + 3] = number


def save(path, array=VOLUME, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, **{"metadata": {"axes": "ZYX"[-array.ndim :]}, **options})
    return path


def hdf5(path, array=VOLUME, **options):
    with h5py.File(path, "w", **options) as file:
        file["raw"] = array
    return path


def line_of(call, *words):
    with pytest.raises(UserError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line and all(word in line for word in words), line
    return line


def same(path, wanted=VOLUME):
    np.testing.assert_array_equal(volumes.read(path)[0], wanted)


# ---------------------------------------------------------------- what is inside is not what the name says


def nifti(path):
    nibabel.save(nibabel.Nifti1Image(VOLUME.T, None), path.with_suffix(".nii"))
    return path.with_suffix(".nii").rename(path)


def czi(path):
    pytest.importorskip("pylibCZIrw")
    samples.czi(path.with_suffix(".czi"), VOLUME, SIZE)
    return path.with_suffix(".czi").rename(path)


@pytest.mark.parametrize(
    "name, write, right",
    [
        ("a.tif", hdf5, "a.h5"),
        ("a.nc", hdf5, "a.h5"),
        ("a.tif", nifti, "a.nii"),
        ("a.ome.tif", czi, "a.czi"),
        ("a.h5", save, "a.tif"),
        ("a.nii.gz", save, "a.tif"),
        ("a.raw", save, "a.tif"),
    ],
)
def test_a_file_of_another_kind_is_named_and_renaming_works(tmp_path, name, write, right):
    path = write(tmp_path / name)
    said = line_of(lambda: volumes.read(path), f"{path} is ", f", not what its name says: name it {right}")
    if name.endswith(".tif"):
        assert said == line_of(lambda: sources.find(path))
    same(path.rename(tmp_path / re.search(r"name it (\S+)", said)[1]))


@pytest.mark.parametrize("kind", ["gzip", "zip", "named"])
def test_packed_tiffs_and_unpacking_works(tmp_path, kind):
    whole = save(tmp_path / "whole.tif").read_bytes()
    path = tmp_path / ("a.tif.gz" if kind == "named" else "a.tif")
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a.tif", whole)
        line_of(lambda: volumes.read(path), "is packed (zip)", "name it a.tif.zip, and unzip it")
        path = path.rename(tmp_path / "a.tif.zip")
        line_of(lambda: volumes.read(path), "is of a format that is not read here", "unzip it")
        zipfile.ZipFile(path).extractall(tmp_path)
    else:
        path.write_bytes(gzip.compress(whole))
        if kind == "gzip":
            line_of(lambda: volumes.read(path), "is packed (gzip)", "name it a.tif.gz, and unpack it")
            path = path.rename(tmp_path / "a.tif.gz")
        line_of(lambda: volumes.read(path), "is of a format that is not read here", "unpack it")
        (tmp_path / "a.tif").write_bytes(gzip.decompress(path.read_bytes()))
    same(tmp_path / "a.tif")


def test_what_cannot_be_read_is_told_by_its_reader(tmp_path):
    formats.check_inside(tmp_path)  # as a file without permission: it cannot be opened


def test_a_note_of_macos_is_named(tmp_path):
    (tmp_path / "._a.tif").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(99))
    line_of(lambda: volumes.read(tmp_path / "._a.tif"), "is a note of macOS on a.tif", "give that file")


@pytest.mark.parametrize("version", [5, 7.3])
def test_arrays_of_matlab_and_the_remedies_work(tmp_path, version):
    path, array = tmp_path / "a.mat", VOLUME.transpose(1, 2, 0)  # as MATLAB has them: (Y, X, Z)
    if version == 5:
        scipy.io.savemat(path, {"vol": array})
        said = line_of(lambda: volumes.read(path), "is of a format that is not read here")
        code = said.partition('python -c "')[2].rstrip('"').replace("NAME", "vol")
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    else:
        hdf5(path, array.T, userblock_size=512)
        said = line_of(lambda: volumes.read(path), "it is HDF5, with y and x exchanged: name it a.h5")
        path.rename(tmp_path / "a.h5")
        source, out, axes = re.search(r"convert (\S+) (\S+) -p axes (\w+)", said).groups()
        convert.convert(source, tmp_path / out, {"axes": axes})
    same(tmp_path / "OUT.tif")


# ---------------------------------------------------------------- names and folders


@pytest.mark.parametrize("disk, typed", [("NFD", "NFC"), ("NFC", "NFD")])
def test_letters_with_accents_of_one_or_two_characters(tmp_path, disk, typed):
    names = "Nähe", "Zählung ü.tif"
    save(tmp_path.joinpath(*(unicodedata.normalize(disk, name) for name in names)))
    path = tmp_path.joinpath(*(unicodedata.normalize(typed, name) for name in names))
    same(path)
    assert len(volumes.find(path.parent)) == 1


def test_what_is_left_out_of_a_folder_is_shown_and_not_at_length(tmp_path, capsys):
    save(tmp_path / "b.tif")
    (tmp_path / "a.tif.gz").write_bytes(b"\x1f\x8b")
    save(tmp_path / "c.tif").rename(tmp_path / "c")
    (tmp_path / "notes").write_text("no image")
    assert [path.name for path in volumes.find(tmp_path)] == ["b.tif"]
    out = capsys.readouterr().out
    assert "a.tif.gz  not read: left out" in out and "c         not read: left out" in out
    assert "notes" not in out
    for z in range(40):
        save(tmp_path / f"b_z{z}.tif", VOLUME[0])
    assert [path.name for path in volumes.find(tmp_path)] == ["b.tif"]
    out = capsys.readouterr().out
    assert out.count("2D: a plane") == 12 and "and 28 more of these" in out


def test_a_copy_of_a_volume_is_said(tmp_path, capsys):
    for name, array in (("a", VOLUME), ("a - Copy", VOLUME), ("b", VOLUME[::-1])):
        save(tmp_path / f"{name}.tif", array)
    assert len(volumes.find(tmp_path)) == 3
    out = capsys.readouterr().out
    assert out == "a.tif is the same as a - Copy.tif, byte for byte, and both are read\n"


@pytest.mark.parametrize("name, words", [
    ("a.tif.gz", "unpack it"), ("a.zarr.zip", "unzip it"), ("a.sis", "with the program that wrote it"),
    ("a.mat", "write it as TIFF"), ("a.png", "Import > Image Sequence"), ("a.oib", "open it in Fiji"),
])  # fmt: skip
def test_a_folder_of_what_is_not_read_says_what_helps(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"x" * 600)
    line_of(lambda: volumes.find(tmp_path), str(tmp_path), name, words)


def test_n5_and_voxels_without_a_head(tmp_path):
    (tmp_path / "a.n5").mkdir()
    line_of(lambda: volumes.find(tmp_path / "a.n5"), "is N5, which is not read here: open it in Fiji")
    path = save(tmp_path / "volumes" / "a.tif")
    (path.parent / "attributes.json").write_text("{}")  # of another program, not N5's
    assert volumes.find(path.parent) == [path]
    (tmp_path / "a.raw").write_bytes(VOLUME.tobytes())
    line_of(lambda: volumes.read(tmp_path / "a.raw"), "File > Import > Raw...")


# ---------------------------------------------------------------- Zarr, floats, labels


def ome_zarr(path, array=VOLUME, labels=None):
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    steps = [{"type": "scale", "scale": [2000, 500, 250]}]
    about = {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    group.create_array("0", data=array, chunks=(8, 8, 8))
    group.attrs["multiscales"] = [about]
    if labels is not None:
        group.create_group("labels").attrs["labels"] = ["nuclei"]
        ome_zarr(path / "labels" / "nuclei", labels)
    return path


def test_a_plate_and_a_well_say_which_field_to_give(tmp_path):
    zarr.open_group(str(tmp_path / "p.zarr"), mode="w", zarr_format=2).attrs["plate"] = {
        "wells": [{"path": "B/3"}]
    }
    well = zarr.open_group(str(tmp_path / "p.zarr" / "B" / "3"), mode="w", zarr_format=2)
    well.attrs["well"] = {"images": [{"path": "f2"}]}
    ome_zarr(tmp_path / "p.zarr" / "B" / "3" / "0")
    ome_zarr(tmp_path / "p.zarr" / "B" / "3" / "f2")
    for path, kind in ((tmp_path / "p.zarr", "plate"), (tmp_path / "p.zarr" / "B" / "3", "well of a plate")):
        said = line_of(lambda path=path: volumes.read(path), f"is a {kind}: give one field of it")
        found, size = volumes.read(path / said.rpartition(" ")[2])
        np.testing.assert_array_equal(found, VOLUME)
        assert size == pytest.approx(SIZE)


def test_labels_within_an_ome_zarr_are_named_and_the_command_works(tmp_path, capsys):
    ome_zarr(tmp_path / "a.zarr", labels=CELLS)
    assert pairing.pairs(tmp_path)[0].labels is None
    out = capsys.readouterr().out
    assert "a.zarr/labels/nuclei: not used" in out
    convert.convert(*re.search(r"convert (\S+) (\S+)\n", out).groups())
    np.testing.assert_array_equal(volumes.read_labels(pairing.pairs(tmp_path)[0].labels)[0], CELLS)


def test_labels_of_other_formats_are_named_and_the_command_works(tmp_path, capsys):
    save(tmp_path / "a.tif")
    np.save(tmp_path / "a_seg.npy", {"masks": CELLS})
    assert pairing.pairs(tmp_path)[0].labels is None
    out = capsys.readouterr().out
    assert "a_seg.npy: labels of a format that is not read, left out: write it as TIFF" in out
    save(tmp_path / "set" / "images" / "a.tif")
    (tmp_path / "set" / "labels").mkdir()
    np.save(tmp_path / "set" / "labels" / "a.npy", CELLS)
    line_of(
        lambda: pairing.pairs(tmp_path / "set"),
        "labels holds labels of a format that is not read, such as a.npy",
    )


@pytest.mark.parametrize("name", ["a-catchment-basins.tif", "a_masks_old.tif", "a.stardist.tif"])
def test_more_names_of_labels(tmp_path, name):
    save(tmp_path / "a.tif")
    save(tmp_path / name, CELLS)
    assert [(one.image.name, one.labels.name) for one in pairing.pairs(tmp_path)] == [("a.tif", name)]


def test_a_mask_that_is_mostly_cells_is_doubted(tmp_path, capsys):
    path = save(tmp_path / "a.tif", np.where(CELLS > 0, 0, 255).astype("u1"))
    volumes.read_labels(path)
    assert "255 is 84% of the volume: if the other is the cells, turn it round" in capsys.readouterr().out
    np.testing.assert_array_equal(
        volumes.read_labels(save(path, 255 * (CELLS > 0).astype("u1")))[0] > 0, CELLS > 0
    )
    assert "if the other" not in capsys.readouterr().out


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_notebook_09_names_voxels_that_are_no_numbers(tmp_path, bad):
    array = VOLUME.astype("f4")
    array[9, 8, 7] = bad
    source = sources.find(save(tmp_path / "a.tif", array))
    box = (slice(5, 12), slice(4, 20), slice(3, 20))
    line_of(lambda: source.read(box), "1 voxels that are NaN or infinite, the first at (z, y, x) = (9, 8, 7)")
    save(tmp_path / "a.tif", np.where(np.isfinite(array), array, 0))
    assert np.isfinite(sources.find(tmp_path / "a.tif").read(box)).all()


def test_the_last_page_of_a_file_of_scanimage_is_read(tmp_path):
    path = tmp_path / "a.tif"
    words = {"software": "SI.VERSION_MAJOR = 2020", "metadata": None, "contiguous": False}
    with tifffile.TiffWriter(path) as writer:
        for plane in VOLUME.astype("i2"):
            writer.write(plane, **words)
    same(path)
    line = line_of(lambda: sources.find(path), "is of ScanImage", "cellseg-nb convert")
    out = convert.convert(path, tmp_path / "OUT.zarr")
    assert "OUT.zarr" in line and sources.find(out).shape == SHAPE


def test_a_size_of_no_microscope_is_doubted(tmp_path, capsys):
    image = nibabel.Nifti1Image(VOLUME.T, None)
    image.header.set_zooms(SIZE[::-1])
    for unit, size, doubted in (("mm", (2000, 500, 250), True), ("micron", SIZE, False)):
        image.header.set_xyzt_units(unit)
        nibabel.save(image, tmp_path / "a.nii")
        assert volumes.read(tmp_path / "a.nii")[1] == pytest.approx(size)
        assert ("its voxels are 2000 x 500 x 250 µm" in capsys.readouterr().out) is doubted
        volumes.read(tmp_path / "a.nii", voxel_size=SIZE)
        assert capsys.readouterr().out == ""


def test_sizes_without_a_unit_are_said(tmp_path, capsys):
    options = {"imagej": True, "resolution": (4, 2), "metadata": {"axes": "ZYX", "spacing": 2.0}}
    assert volumes.read(save(tmp_path / "a.tif", **options))[1] is None
    assert "its voxel size, 2 x 0.5 x 0.25 (z, y, x), has no unit: give voxel_size" in capsys.readouterr().out
    assert volumes.read(save(tmp_path / "b.tif", imagej=True))[1] is None
    assert capsys.readouterr().out == ""
    with h5py.File(tmp_path / "a.h5", "w") as file:  # as CREMI's
        file.create_dataset("raw", data=VOLUME).attrs["resolution"] = (40.0, 4.0, 4.0)
    array = zarr.create_array(str(tmp_path / "a.zarr"), data=VOLUME, chunks=(8, 8, 8), zarr_format=2)
    array.attrs["resolution"] = [40, 4, 4]
    for name in ("a.h5", "a.zarr"):
        assert volumes.read(tmp_path / name)[1] is None
        assert "its attribute 'resolution' (" in capsys.readouterr().out
        assert volumes.read(tmp_path / name, voxel_size=SIZE)[1] == SIZE
        assert "resolution" not in capsys.readouterr().out
