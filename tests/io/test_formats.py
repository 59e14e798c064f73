"""Every format that is read: which part of it is meant, and what is said; what is written beside volumes."""

import shutil

import h5py
import nibabel
import numpy as np
import pytest
import samples
import tifffile
import zarr
from samples import SIZE, VOLUME

from cellseg_nb import cli
from cellseg_nb.errors import UserError
from cellseg_nb.io import axes, convert, files, formats, ngff_writing, volumes


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return samples.all_of_them(tmp_path_factory.mktemp("made"))


KINDS = (
    "tiff,tiff zlib,tiff lzw,bigtiff,imagej,ome-tiff,lsm,ome-zarr 0.4,ome-zarr 0.5,zarr,nifti,nifti packed,"
    "nrrd raw,nrrd gzip,hdf5,hdf5 packed,imaris,lif,czi,nd2"
).split(",")


@pytest.mark.parametrize("kind", KINDS)
def test_one_file_of_each_kind(made, kind, tmp_path, capsys):
    if kind not in made:
        pytest.skip("its library is not installed")
    volume, size = volumes.read(made[kind])
    np.testing.assert_array_equal(volume, VOLUME)
    unknown = kind.startswith(("tiff", "big")) or kind == "zarr"
    known = samples.SQUARE if kind == "nd2" else SIZE
    assert size == (None if unknown else pytest.approx(known))
    assert len(convert.look(made[kind])) == 1
    for name in ("a.tif", "a.ome.zarr"):
        again, kept = volumes.read(convert.convert(made[kind], tmp_path / name))
        np.testing.assert_array_equal(again, VOLUME)
        assert kept == (None if unknown else pytest.approx(known))
    shutil.copytree(made[kind].parent, tmp_path / "set")
    found = volumes.find(tmp_path / "set")
    assert {path.name for path in found} == {path.name for path in made.values()}
    assert ("not named" in capsys.readouterr().out) == (kind == "zarr")


def ask(path, *choices, **part):
    """The line that asks for a choice; each remedy in it works."""
    with pytest.raises(axes.Several) as caught:
        volumes.read(path, **part)
    line = str(caught.value)
    assert "\n" not in line and str(path) in line and all(choice in line for choice in choices), line
    return line


def test_series_levels_channels_and_time_of_ome_tiff(tmp_path):
    path = tmp_path / "a.ome.tif"
    five = np.stack([[VOLUME + 10 * t + c for c in range(2)] for t in range(3)])
    half = {**samples.OME, "PhysicalSizeX": 1.0}
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(VOLUME[0], metadata={"axes": "YX", "Name": "label"})
        wide = VOLUME.repeat(2, 1).repeat(2, 2)
        writer.write(wide, subifds=1, tile=(16, 16), metadata={**samples.OME, "Name": "wide"})
        writer.write(VOLUME, tile=(16, 16), subfiletype=1)
        writer.write(five, metadata={**half, "axes": "TCZYX", "Name": "five"}, photometric="minisblack")
    line = ask(path, "series=0", "1 'wide' (18, 40, 44)", "2 'five'")
    assert "-p series 0" in line
    np.testing.assert_array_equal(volumes.read(path, series=1)[0], wide)
    assert volumes.read(path, series="wide")[1] == pytest.approx(SIZE)
    small, size = volumes.read(path, series="wide", level=1)
    np.testing.assert_array_equal(small, VOLUME)
    assert size == pytest.approx((2.0, 1.0, 0.5))
    ask(path, "timepoint=0", "channel=0", series="five")
    ask(path, "-p channel 0", series="five", timepoint=1)
    found, size = volumes.read(path, series="five", timepoint=2, channel=1)
    np.testing.assert_array_equal(found, VOLUME + 21)
    assert size == pytest.approx((2.0, 0.5, 1.0))
    for part in (
        {"series": "x"},
        {"series": 3},
        {"series": "wide", "level": 2},
        {"series": "wide", "level": -1},
    ):
        with pytest.raises(UserError, match="there are 0"):
            volumes.read(path, **part)


def test_imaris_parts(tmp_path):
    samples.imaris(tmp_path / "a.ims", VOLUME, SIZE, channels=2, times=2)
    ask(tmp_path / "a.ims", "timepoint=0", "0 dye 0, 1 dye 1")
    found, size = volumes.read(tmp_path / "a.ims", channel=1, timepoint=1)
    np.testing.assert_array_equal(found, VOLUME + 11)
    assert size == pytest.approx(SIZE)
    found, size = volumes.read(tmp_path / "a.ims", channel=0, timepoint=0, level=1, minimum=8)
    np.testing.assert_array_equal(found, VOLUME[:, ::2, ::2])
    assert size == pytest.approx((2.0, 1.0, 0.5))


def test_hdf5_data_sets_by_name(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t0/raw"], file["t0/labels"], file["table"] = VOLUME, VOLUME > 500, np.arange(9)
    ask(tmp_path / "a.h5", "0 't0/labels'", "1 't0/raw'")
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.h5", series="t0/raw")[0], VOLUME)
    with pytest.raises(UserError, match="cellseg-nb convert .*a.h5 LABELS.tif -p series 0"):
        volumes.read_labels(tmp_path / "a.h5")
    given = ["convert", str(tmp_path / "a.h5"), str(tmp_path / "l.tif"), "-p", "series", "0"]  # the remedy
    assert cli.main(given) == 0 and volumes.read_labels(tmp_path / "l.tif")[0].max() > 1


def test_lif_and_czi_parts(tmp_path):
    pytest.importorskip("liffile")
    both = np.stack([VOLUME, VOLUME + 1])
    samples.lif(tmp_path / "a.lif", [("one", both, SIZE), ("two", both[:1] + 5, (1, 1, 1))])
    ask(tmp_path / "a.lif", "0 'one'", "1 'two'")
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.lif", series="one", channel=1)[0], VOLUME + 1)
    assert volumes.read(tmp_path / "a.lif", series="two")[1] == pytest.approx((1, 1, 1))
    pytest.importorskip("pylibCZIrw")
    samples.czi(tmp_path / "a.czi", np.stack([both, both + 10]), SIZE)
    ask(tmp_path / "a.czi", "timepoint=0", "0 DAPI, 1 GFP")
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.czi", channel=1, timepoint=1)[0], VOLUME + 11)
    samples.czi(tmp_path / "s.czi", both, SIZE, scenes=True)
    ask(tmp_path / "s.czi", "0 'scene 0'", "1 'scene 1'")
    np.testing.assert_array_equal(volumes.read(tmp_path / "s.czi", series=1)[0], VOLUME + 1)


def test_nd2_parts_and_calibration(tmp_path, capsys):
    pytest.importorskip("nd2")
    samples.nd2(tmp_path / "a.nd2", np.stack([VOLUME, VOLUME + 1]), samples.SQUARE)
    ask(tmp_path / "a.nd2", "channel=0", "0 dye 0, 1 dye 1")
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.nd2", channel=1)[0], VOLUME + 1)
    samples.nd2(tmp_path / "b.nd2", VOLUME[None], samples.SQUARE, calibrated=False)
    assert volumes.read(tmp_path / "b.nd2")[1] is None  # the library says 1 µm
    assert "b.nd2: it was not calibrated along all axes: give voxel_size" in capsys.readouterr().out


def test_zarr_that_lacks_chunks_or_units(tmp_path, capsys):
    array = ngff_writing.create(tmp_path / "a.zarr", VOLUME.shape, VOLUME.dtype, SIZE, chunk=8)
    array[:8] = VOLUME[:8]
    volumes.read(tmp_path / "a.zarr")
    assert "a.zarr: 18 of its 27 chunks are not there, and read as 0" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "a.zarr" / "0" / "0")
    with pytest.raises(UserError, match="a.zarr: its array '0' holds 0 of 27 chunks: copy it again"):
        volumes.read(tmp_path / "a.zarr")
    ngff_writing.write(tmp_path / "b.zarr", VOLUME, SIZE)
    assert volumes.read(tmp_path / "b.zarr" / "0")[1] == pytest.approx(SIZE)  # a level, given by its own path
    head = tmp_path / "b.zarr" / ".zattrs"
    before = head.read_text()
    head.write_text(before.replace('"unit": "micrometer"', '"unit": "furlong"').replace("'", '"'))
    assert volumes.read(tmp_path / "b.zarr")[1] is None
    assert "'furlong', is unknown: give voxel_size" in capsys.readouterr().out


def test_zarr_of_several_series_and_plates(tmp_path):
    group = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=2)
    for i in range(2):
        ngff_writing.create(tmp_path / "a.zarr" / str(i), VOLUME.shape, VOLUME.dtype, SIZE)[:] = VOLUME + i
    ask(tmp_path / "a.zarr", "0 '0'", "1 '1'")
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.zarr", series=1)[0], VOLUME + 1)
    group.attrs["plate"] = {}
    with pytest.raises(UserError, match="is a plate: give one field"):
        volumes.read(tmp_path / "a.zarr")
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.zarr" / "0")[0], VOLUME)


def test_no_empty_chunk_is_left_out_of_what_is_written(tmp_path, capsys):
    volumes.write(tmp_path / "a.zarr", np.eye(70)[None].repeat(70, 0) > 2, SIZE)
    volumes.write(tmp_path / "a.zarr", np.zeros((70, 70, 70), np.uint8), SIZE)  # over the older one
    assert volumes.read_labels(tmp_path / "a.zarr")[0].max() == 0 and capsys.readouterr().out == ""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine.zarr").mkdir()
    with pytest.raises(UserError, match="holds no Zarr"):
        volumes.read(tmp_path / "mine.zarr")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_nifti_without_unit_is_said(tmp_path, capsys):
    image = nibabel.Nifti1Image(VOLUME.T.astype("i2"), None)
    image.header.set_zooms((0.25, 0.5, 2))
    nibabel.save(image, tmp_path / "a.nii")
    assert volumes.read(tmp_path / "a.nii")[1] is None
    assert "no unit of length: give voxel_size" in capsys.readouterr().out
    assert volumes.read(tmp_path / "a.nii", voxel_size=SIZE)[1] == SIZE and not capsys.readouterr().out


def test_nifti_of_five_axes_and_scaled(tmp_path):
    five = np.stack([[VOLUME.T + 10 * t + c for t in range(2)] for c in range(3)]).transpose(2, 3, 4, 1, 0)
    nibabel.save(nibabel.Nifti1Image(five.astype("i2"), None), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.nii.gz", timepoint=1, channel=2)[0], VOLUME + 12)
    image = nibabel.Nifti1Image(VOLUME.T.astype("i2"), None)
    image.header.set_slope_inter(0.5, 3)
    nibabel.save(image, tmp_path / "b.nii")
    np.testing.assert_allclose(volumes.read(tmp_path / "b.nii")[0], VOLUME * 0.5 + 3, rtol=1e-3)


# ---------------------------------------------------------------- planes


def planes(place, names, arrays=VOLUME):
    place.mkdir()
    for name, plane in zip(names, arrays):
        tifffile.imwrite(place / name, plane)
    return place


def test_a_folder_of_planes_is_one_volume(tmp_path, capsys):
    place = planes(tmp_path / "c5", [f"c5_z{i}_ch00.tif" for i in range(18)])
    assert volumes.find(place) == [place]
    volume, size = volumes.read(place)
    np.testing.assert_array_equal(volume, VOLUME)
    assert size is None and "18 planes, read as one volume" in capsys.readouterr().out
    (place / "c5_z7_ch00.tif").rename(place / "c5_z30_ch00.tif")
    volumes.read(place)
    assert "numbers are missing after 6" in capsys.readouterr().out


@pytest.mark.parametrize(
    "names", [[f"t{i:03}.tif" for i in range(18)], [f"a_frame_{i}.tif" for i in range(18)]]
)
def test_time_points_are_no_slices_and_the_remedy_works(tmp_path, names):
    place = planes(tmp_path / "set", names)
    with pytest.raises(UserError, match="named as time points .* rename them if they are slices"):
        volumes.read(place)
    for i, name in enumerate(names):
        (place / name).rename(place / f"z{i:03}.tif")
    np.testing.assert_array_equal(volumes.read(place)[0], VOLUME)


def test_planes_of_several_stacks_are_refused_and_the_remedy_works(tmp_path):
    place = planes(tmp_path / "set", [f"z{i}_c{c}.tif" for i in range(9) for c in range(2)])
    with pytest.raises(UserError, match="not those of one stack .* a folder of its own"):
        volumes.find(place)
    (place / "one").mkdir()
    for file in place.glob("*_c1.tif"):
        file.rename(place / "one" / file.name)
    np.testing.assert_array_equal(volumes.read(place / "one", minimum=2)[0], VOLUME[1::2])
    assert volumes.find(place) == [place]


def test_a_plane_beside_volumes_is_left_out(tmp_path, capsys):
    place = planes(tmp_path / "set", ["a.tif"])
    tifffile.imwrite(place / "b.tif", VOLUME)
    assert [path.name for path in volumes.find(place)] == ["b.tif"]
    assert "a plane of a stack, or a thumbnail: left out" in capsys.readouterr().out


# ---------------------------------------------------------------- what is not read, and how to get on


def test_what_is_not_read_is_said(tmp_path):
    for name, words in (
        ("a.oir", "not read here"),
        ("a.zarr", "copy the whole folder"),
        ("a.h5", "not an HDF5"),
    ):
        (tmp_path / name).write_bytes(b"x" * 600)
        with pytest.raises(UserError, match=words):
            volumes.read(tmp_path / name)


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "a.nd2").write_bytes(b"x")
    with pytest.raises(UserError, match="needs the library nd2, .* pip install nd2"):
        volumes.read(tmp_path / "a.nd2")


def test_time_that_is_z_and_axes_without_names(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(UserError, match="convert .*a.tif OUT.tif -p axes ZYX"):
        volumes.read(tmp_path / "a.tif")
    assert cli.main(["convert", f"{tmp_path}/a.tif", f"{tmp_path}/b.tif", "-p", "axes", "ZYX"]) == 0
    np.testing.assert_array_equal(volumes.read(tmp_path / "b.tif")[0], VOLUME)
    tifffile.imwrite(tmp_path / "c.tif", np.stack([VOLUME] * 18), photometric="minisblack")
    with pytest.raises(UserError, match="none is clearly the channels.* -p axes CZYX -p channel 0"):
        volumes.read(tmp_path / "c.tif")
    given = ["-p", "axes", "CZYX", "-p", "channel", "0"]
    assert cli.main(["convert", f"{tmp_path}/c.tif", f"{tmp_path}/d.tif", *given]) == 0


def test_look_and_convert_from_the_command_line(tmp_path, capsys, made):
    assert cli.main(["look", str(made["ome-tiff"])]) == 0
    assert "18 x 20 x 22 (Z, Y, X), uint16, voxel size 2 x 0.5 x 0.25 µm" in capsys.readouterr().out
    (tmp_path / "a.tif").touch()
    for out, words in (("a.tif", "there already"), ("a.png", "must end in")):
        assert cli.main(["convert", str(made["hdf5"]), str(tmp_path / out)]) == 1
        assert words in capsys.readouterr().err


def test_a_digest_of_a_folder_sees_names_and_content(tmp_path):
    ngff_writing.write(tmp_path / "a.zarr", VOLUME)
    first = files.digest(tmp_path / "a.zarr")
    shutil.copytree(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert files.digest(tmp_path / "b.zarr") == first
    (tmp_path / "b.zarr" / ".zattrs").write_text("{}")
    assert files.digest(tmp_path / "b.zarr") != first
