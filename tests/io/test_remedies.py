"""Every line that a file can bring about names the file, the fault and a remedy: here each remedy is applied
and seen to work. Commands are taken out of the line and run; what Fiji or another program would do is done by
hand. Remedies that stand in other tests of this folder are not repeated."""

import re
import shlex
import shutil
import subprocess
import sys

import h5py
import nibabel
import nrrd
import numpy as np
import pytest
import samples
import tifffile
import zarr
from samples import SHAPE, SIZE, VOLUME

from cellseg_nb import cli
from cellseg_nb.errors import UserError
from cellseg_nb.io import convert, files, ngff_writing, volumes

CASES = {}


def case(*words):
    """Register a function that makes a file in a folder and returns what is called with it, and what to do
    about its line."""

    def keep(function):
        CASES[function.__name__] = (words, function)
        return function

    return keep


def save(path, array, **options):
    options = {"metadata": {"axes": "ZYX"}, "photometric": "minisblack", **options}
    tifffile.imwrite(path, array, **options)
    return path


def read(path, **part):
    return lambda: volumes.read(path, **part)


def labels(path):
    return lambda: volumes.read_labels(path)


def again(path, array=VOLUME, **options):
    """What to do: write the file once more, as another program would."""
    return lambda line: save(path, array, **options)


def hdf5_with(path, **arrays):
    """Add datasets to an HDF5 file, made where it is not there. Its path."""
    with h5py.File(path, "a") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def command(line, folder):
    """Run the command that a line names, into a file of the folder. Its path."""
    given = shlex.split(line.partition("cellseg-nb ")[2].partition(")")[0].partition("; else")[0].strip())
    given = [word.strip(",") for word in given]
    given[2] = f"{folder}/{given[2].replace('FOLDER/NAME', 'one')}"
    assert cli.main(given) == 0
    return given[2]


CELLS = np.kron(np.arange(8).reshape(2, 2, 2), np.ones((9, 10, 11))).astype("u2")


# ---------------------------------------------------------------- axes, channels, time


@case("one channel only", "use channel=0")
def channel_of_one(place):
    path = save(place / "a.tif", VOLUME)
    return read(path, channel=3), lambda line: read(path, channel=0)()


@case("has 2 channels", "from 0 to 1")
def channel_too_high(place):
    path = save(place / "a.tif", np.stack([VOLUME] * 2), metadata={"axes": "CZYX"})
    return read(path, channel=2), lambda line: read(path, channel=1)()


@case("is a colour (RGB) image", "convert it to grey (Fiji")
def colours(place):
    path = place / "a.tif"
    tifffile.imwrite(path, np.stack([VOLUME.astype("u1")] * 3, -1), photometric="rgb")
    return read(path), again(path, VOLUME)


@case("RGB", "and 2D: give a stack of z slices; convert it to grey")
def flat_colours(place):
    path = place / "a.tif"
    tifffile.imwrite(path, np.zeros((20, 22, 3), "u1"), photometric="rgb")
    return read(path, channel=0), again(path)


@case("2D or less", "give a stack of z slices in one file")
def flat(place):
    path = save(place / "a.tif", VOLUME[0], metadata=None)
    return read(path), again(path)


@case("is a 5D hyperstack", "-p axes TCZYX -p timepoint 0 -p channel 0")
def five_axes(place):
    path = save(place / "a.tif", np.stack([np.stack([VOLUME] * 2)] * 3), metadata={})
    return read(path), lambda line: volumes.read(command(line, place))


@case("names an axis twice", "-p axes CZYX -p channel 0")
def axes_named_twice(place):
    with h5py.File(place / "a.h5", "w") as file:
        file["raw"] = np.stack([VOLUME] * 2)
        file["raw"].attrs["axes"] = "yzyx"
    return read(place / "a.h5"), lambda line: volumes.read(command(line, place))


@case("axes must be one letter of T, C, Z, Y, X for each")
def letters_that_are_none(place):
    path = save(place / "a.tif", VOLUME)
    return read(path, axes="ABC"), lambda line: read(path, axes="ZYX")()


@case("time series of 18 time points of 2D images", "-p axes ZYX")
def slices_called_time(place):
    path = save(place / "a.ome.tif", VOLUME, ome=True, metadata={"axes": "TYX"})
    return read(path), lambda line: volumes.read(command(line, place))


@case("in a data set a file holds one volume", "cellseg-nb convert")
def several_in_a_data_set(place):
    path = save(place / "a.tif", np.stack([VOLUME] * 2), metadata={"axes": "CZYX"})
    given = (lambda: volumes.read_one(path, "in a data set")), lambda line: volumes.read(command(line, place))
    return given


@case("and labels must be one volume", "cellseg-nb convert")
def labels_of_several(place):
    path = save(place / "a.tif", np.stack([CELLS] * 2), metadata={"axes": "CZYX"})
    return labels(path), lambda line: volumes.read_labels(command(line, place))


@case("its description names 3 axes, and its array has 4", "-p axes CZYX -p channel 0")
def description_of_other_axes(place):
    path = place / "a.zarr"
    ngff_writing.write(path, VOLUME, SIZE)
    shutil.rmtree(path / "0")
    both = zarr.open_group(str(path)).create_array("0", shape=(2, *SHAPE), dtype="u2", chunks=(1, 9, 20, 22))
    both[:] = np.stack([VOLUME] * 2)
    return read(path), lambda line: volumes.read(command(line, place))


# ---------------------------------------------------------------- series, levels, folders


@case("holds no series 'x'", "1 'raw'", "series must be a number from 0 to 1, or a name")
def series_that_is_none(place):
    hdf5_with(place / "a.h5", raw=VOLUME, other=VOLUME)
    return read(place / "a.h5", series="x"), lambda line: read(place / "a.h5", series="raw")()


@case("has 2 resolution levels", "level must be from 0 to 1")
def level_that_is_none(place):
    samples.imaris(place / "a.ims", VOLUME, SIZE)
    return read(place / "a.ims", level=5), lambda line: read(place / "a.ims", level=1, minimum=4)()


@case("holds 2 separate images", "none is a stack of z slices: give one")
def no_stack(place):
    path = hdf5_with(place / "a.h5", a=VOLUME[0], b=VOLUME[1])
    return read(path), lambda line: volumes.read(hdf5_with(path, c=VOLUME))


@case("holds no TIFF nor another file that is read", "such as ")
def folder_of_folders(place):
    (place / "deeper").mkdir()
    save(place / "deeper" / "a.tif", VOLUME)
    return (lambda: volumes.find(place)), lambda line: volumes.find(line.rpartition("such as ")[2])


@case("does not exist: check the spelling")
def misspelt(place):
    path = save(place / "a.tif", VOLUME)
    return (lambda: volumes.find(place / "b.tif")), lambda line: volumes.find(path)


@case("is a folder: give one file in it")
def folder_for_a_file(place):
    path = save(place / "a.tif", VOLUME)
    return read(place), lambda line: volumes.read(path)


@case("holds planes that differ: z2.tif", "keep only the planes of one stack")
def planes_that_differ(place):
    for z in range(17):
        save(place / f"z{z}.tif", VOLUME[z], metadata=None)
    save(place / "z2.tif", VOLUME[0, :9], metadata=None)
    return read(place), lambda line: (save(place / "z2.tif", VOLUME[0], metadata=None), volumes.read(place))


@case("is of a format that is not read here", "open it in Fiji and save it as TIFF")
def foreign(place):
    (place / "a.oib").write_bytes(b"x")
    return read(place / "a.oib"), lambda line: volumes.read(save(place / "a.tif", VOLUME))


@pytest.mark.parametrize("kind", ["array", "several", "cellpose"])
def test_arrays_of_numpy_become_tiffs_by_the_command(tmp_path, kind):
    path = tmp_path / {"array": "a.npy", "several": "a.npz", "cellpose": "a_seg.npy"}[kind]
    if kind == "several":
        np.savez(path, raw=VOLUME)
    else:
        np.save(path, VOLUME if kind == "array" else {"masks": CELLS})
    with pytest.raises(
        UserError, match="is of a format that is not read here .*: write it as TIFF"
    ) as caught:
        volumes.read(path)
    code = str(caught.value).partition('python -c "')[2].rstrip('"').replace("NAME", "raw")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    if kind == "cellpose":
        np.testing.assert_array_equal(volumes.read_labels(tmp_path / "OUT.tif")[0], CELLS)
    else:
        np.testing.assert_array_equal(volumes.read(tmp_path / "OUT.tif")[0], VOLUME)


@case("a.zip is of a format", "unzip it, and give what is in it")
def zipped(place):
    save(place / "a.tif", VOLUME)
    shutil.make_archive(str(place / "a"), "zip", place, "a.tif")

    def remedy(line):
        shutil.unpack_archive(place / "a.zip", place / "out")
        volumes.read(place / "out" / "a.tif")

    return read(place / "a.zip"), remedy


@case("OME-Zarr is a folder: copy the whole folder")
def zarr_as_a_file(place):
    (place / "a.zarr").write_bytes(b"x")

    def remedy(line):
        (place / "a.zarr").unlink()
        ngff_writing.write(place / "a.zarr", VOLUME)
        volumes.read(place / "a.zarr")

    return read(place / "a.zarr"), remedy


@case("holds no Zarr group or array: copy the whole folder again")
def empty_zarr(place):
    (place / "a.zarr").mkdir()

    def remedy(line):
        shutil.rmtree(place / "a.zarr")
        ngff_writing.write(place / "a.zarr", VOLUME)
        volumes.read(place / "a.zarr")

    return read(place / "a.zarr"), remedy


@case("describes no image: give the folder of the image within it")
def zarr_around_a_zarr(place):
    zarr.create_group(str(place / "a.zarr"), zarr_format=2)
    (place / "a.zarr" / "deep").mkdir()
    ngff_writing.write(place / "a.zarr" / "deep" / "b.zarr", VOLUME)
    return read(place / "a.zarr"), lambda line: volumes.read(place / "a.zarr" / "deep" / "b.zarr")


@case("is a plate: give one field of it, a folder in it such as A/1/0")
def plate(place):
    group = zarr.create_group(str(place / "a.zarr"), zarr_format=2)
    group.attrs["plate"] = {}
    (place / "a.zarr" / "A" / "1").mkdir(parents=True)
    ngff_writing.create(place / "a.zarr" / "A" / "1" / "0", SHAPE, "u2")[:] = VOLUME
    return read(place / "a.zarr"), lambda line: volumes.read(place / "a.zarr" / "A/1/0")


# ---------------------------------------------------------------- damaged, cut, named wrongly


@pytest.mark.parametrize(
    "kind", "tiff,bigtiff,ome-tiff,lsm,nifti,nifti packed,nrrd raw,nrrd gzip,hdf5,imaris".split(",")
)
@pytest.mark.parametrize("part", [0, 0.4])
def test_a_cut_file_is_mended_by_copying_it_again(tmp_path, kind, part):
    path = samples.all_of_them(tmp_path)[kind]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(UserError, match=r"copy (or \w+ )?it again|copy it again|save it as TIFF") as caught:
        volumes.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    path.write_bytes(whole)
    np.testing.assert_array_equal(volumes.read(path)[0], VOLUME)


@case("is not a TIFF file: export it as TIFF")
def picture_named_tif(place):
    (place / "a.tif").write_bytes(b"\x00PNG" + bytes(99))
    return read(place / "a.tif"), again(place / "a.tif")


@case("lacks a part", "with the files that go with it")
def detached(place):
    nrrd.write(str(place / "a.nhdr"), VOLUME.T, {"encoding": "raw"})
    (place / "a.raw").rename(place / "away")

    def remedy(line):
        (place / "away").rename(place / "a.raw")
        volumes.read(place / "a.nhdr")

    return read(place / "a.nhdr"), remedy


@case("is HDF5, but no Imaris file: name it .h5")
def hdf5_named_ims(place):
    hdf5_with(place / "a.ims", raw=VOLUME)

    def remedy(line):
        volumes.read((place / "a.ims").rename(place / "a.h5"))

    return read(place / "a.ims"), remedy


@case("holds no dataset of numbers with two axes or more: export the volume into it")
def hdf5_without_an_image(place):
    path = hdf5_with(place / "a.h5", table=np.arange(9))
    return read(path), lambda line: volumes.read(hdf5_with(path, raw=VOLUME))


@case("compressed in a way that needs a library: pip install hdf5plugin", "or write it with gzip")
def hdf5_of_a_filter_that_is_not_here(place):
    """The library was installed once to see that it helps; here the other remedy is applied."""
    with h5py.File(place / "a.h5", "w") as file:
        laid = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        laid.set_chunk(SHAPE)
        laid.set_filter(32767, h5py.h5z.FLAG_OPTIONAL)  # a number that no filter has
        space = h5py.h5s.create_simple(SHAPE)
        made = h5py.h5d.create(file.id, b"raw", h5py.h5t.NATIVE_UINT16, space, laid)
        made.write_direct_chunk((0, 0, 0), VOLUME.tobytes())

    def remedy(line):
        with h5py.File(place / "a.h5", "w") as file:
            file.create_dataset("raw", data=VOLUME, compression="gzip")
        volumes.read(place / "a.h5")

    return read(place / "a.h5"), remedy


@case("is a colour image: convert it to grey")
def colours_of_nifti(place):
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE[::-1], kind), None), place / "a.nii")
    return read(place / "a.nii"), lambda line: volumes.read(save(place / "a.tif", VOLUME))


# ---------------------------------------------------------------- numbers


@case("complex64 values", "save the intensity as 8-bit, 16-bit or 32-bit")
def complex_numbers(place):
    path = save(place / "a.tif", VOLUME.astype("c8"))
    return read(path), again(path, VOLUME.astype("f4"))


@case("smaller than one cube of 16 voxels a side: give a larger volume")
def small(place):
    path = save(place / "a.tif", VOLUME[:15])
    return read(path), again(path)


@case("has the same value (7) in every voxel: export the image again")
def constant(place):
    path = save(place / "a.tif", np.full(SHAPE, 7, "u2"))
    return read(path), again(path)


@case("voxels that are NaN or infinite", "replace them (Fiji: Process > Noise > Remove NaNs...")
def not_a_number(place):
    array = np.where(VOLUME == 7, np.nan, VOLUME).astype("f4")
    path = save(place / "a.tif", array)
    return read(path), again(path, np.nan_to_num(array))


@case("too large for float32", "replace them")
def too_large(place):
    array = VOLUME.astype("f8")
    array[3, 4, 5] = 1e300
    path = save(place / "a.tif", array)
    return read(path), again(path, np.where(array > 1e30, 0, array))


@case("voxel_size must be three positive numbers", "such as (5, 5, 5)")
def size_that_is_none(place):
    path = save(place / "a.tif", VOLUME)
    return read(path, voxel_size=(1, 2)), lambda line: read(path, voxel_size=(5, 5, 5))()


@case("labels must be whole numbers; save them as 16-bit or 32-bit")
def complex_labels(place):
    path = save(place / "a.tif", CELLS.astype("c8"))
    return labels(path), again(path, CELLS)


@case("negative labels (down to -1): set them to 0")
def negative_labels(place):
    array = CELLS.astype("i2") - 1
    path = save(place / "a.tif", array)
    return labels(path), again(path, np.where(array < 0, 0, array))


@case("NaN or infinite, not whole numbers: set them to 0, the background")
def labels_without_a_number(place):
    array = np.where(CELLS == 0, np.nan, CELLS).astype("f4")
    path = save(place / "a.tif", array)
    return labels(path), again(path, np.nan_to_num(array))


@case("NaN or infinite, not whole numbers: set them to 0, the background")
def infinite_labels(place):
    array = np.where(CELLS == 7, np.inf, CELLS).astype("f4")
    path = save(place / "a.tif", array)
    return labels(path), again(path, CELLS)


@case("not whole", "give the label file, not the image or the probability")
def probability(place):
    path = save(place / "a.tif", (CELLS / 8).astype("f4"))
    return labels(path), again(path, CELLS)


@case("a colour (RGB) picture, not labels: export the numbers of the cells")
def coloured_labels(place):
    path = place / "a.tif"
    tifffile.imwrite(path, np.stack([CELLS.astype("u1")] * 3, -1), photometric="rgb")
    return labels(path), again(path, CELLS)


@case("so these are classes, not cells: give labels with one number a cell, or a mask of 0 and 1")
def classes(place):
    array = np.zeros((18, 40, 40), "u1")
    array[2:7, ::20, ::20], array[9:14, ::20, ::20] = 1, 2
    array[2:14, 5::20, 5::20] = 3
    path = save(place / "a.tif", array)
    return labels(path), again(path, (array == 1).astype("u1"))


def test_what_does_not_fit_in_memory_is_for_notebook_09(tmp_path, monkeypatch):
    import psutil

    from cellseg_nb.brains import sources

    path = save(tmp_path / "a.tif", VOLUME)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    with pytest.raises(
        UserError, match="a.tif needs 0.0 GiB .* are free: .* notebook 09, which reads a volume"
    ):
        volumes.read(path)
    box = (slice(3, 9), slice(0, 5), slice(2, 8))
    np.testing.assert_array_equal(sources.find(path).read(box), VOLUME[box])


# ---------------------------------------------------------------- what is written


@case("must end in .tif or .zarr")
def out_of_another_kind(place):
    path = save(place / "a.tif", VOLUME)
    return (lambda: convert.convert(path, place / "b.png")), lambda line: convert.convert(
        path, place / "b.tif"
    )


@case("is there already: choose another name")
def out_that_is_there(place):
    path = save(place / "a.tif", VOLUME)
    return (lambda: convert.convert(path, path)), lambda line: convert.convert(path, place / "b.tif")


@case("convert has no parameter 'chanel': it has channel")
def parameter_that_is_none(place):
    path = save(place / "a.tif", VOLUME)
    return (
        (lambda: convert.convert(path, place / "b.tif", {"chanel": "0"})),
        lambda line: convert.convert(path, place / "b.tif", {"channel": "0"}),
    )


@case("is there and no Zarr: choose another name")
def folder_in_the_way(place):
    (place / "a.zarr").mkdir()
    (place / "a.zarr" / "notes.txt").touch()
    shutil.move(place / "a.zarr", place / "a")
    (place / "b.zarr").write_text("mine")
    return (
        (lambda: volumes.write(place / "b.zarr", VOLUME, SIZE)),
        lambda line: volumes.write(place / "c.zarr", VOLUME, SIZE),
    )


@case("cannot hold an array of shape", "give a (Z, Y, X) array of real numbers")
def no_volume_to_write(place):
    return (
        (lambda: volumes.write(place / "a.tif", VOLUME[0])),
        lambda line: volumes.write(place / "a.tif", VOLUME[:1]),
    )


@case("cannot hold whole numbers from 0 to", "number the labels from 0 again")
def numbers_too_high_to_write(place):
    array = VOLUME.astype("i8") * 2**33
    return (
        (lambda: volumes.write(place / "a.tif", array)),
        lambda line: volumes.write(place / "a.tif", np.unique(array, return_inverse=True)[1].reshape(SHAPE)),
    )


def test_paths_as_they_are_typed(monkeypatch):
    assert files.typed("/data/c5.tif") == "/data/c5.tif"
    assert shlex.split(files.typed("/my data/it's.tif")) == ["/my data/it's.tif"]
    monkeypatch.setattr(files, "os", type("Windows", (), {"name": "nt"}))
    assert files.typed(r"C:\data\c5-1.tif") == r"C:\data\c5-1.tif"
    assert files.typed(r"C:\my data (1)\it's.tif") == '"C:\\my data (1)\\it\'s.tif"'


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_the_line_and_its_remedy(tmp_path, name):
    words, make = CASES[name]
    place = tmp_path / "it's of two words"
    place.mkdir()
    call, remedy = make(place)
    with pytest.raises(UserError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line and (": " in line or "voxel_size must" in line), line
    assert all(word in line for word in words), line
    # a line on a file names it; some are on a parameter alone
    assert str(tmp_path) in line or re.match("(voxel_size must|convert has)", line), line
    remedy(line)
    if "again.<locals>" in remedy.__qualname__:
        call()  # the same call now goes through
