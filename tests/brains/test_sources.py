"""Volumes looked into without being read, and one line for whatever is wrong with them."""

import os
import shutil

import numpy as np
import pytest
import tifffile

pytest.importorskip("zarr")
pytest.importorskip("dask")

from cellseg_nb import cli  # noqa: E402
from cellseg_nb.brains import convert, disk, omezarr, pyramid, run, sources  # noqa: E402
from cellseg_nb.errors import UserError  # noqa: E402
from cellseg_nb.io import ngff_writing, volumes  # noqa: E402

VOLUME = np.random.default_rng(0).integers(1, 60000, (33, 70, 41)).astype(np.uint16)
BOX = (slice(3, 30), slice(1, 50), slice(5, 41))
SIZE = (2.0, 0.5, 0.5)


def planes(folder, numbers=range(33), change=None):
    folder.mkdir()
    for z, number in enumerate(numbers):
        plane = VOLUME[z] if number != change else VOLUME[z, :-1]
        tifffile.imwrite(folder / f"scan2_z{number:03d}.tif", plane)
    return folder


def tiff(path, **options):
    size = dict(zip(("PhysicalSizeZ", "PhysicalSizeY", "PhysicalSizeX"), SIZE))
    tifffile.imwrite(path, VOLUME, metadata={"axes": "ZYX", **size}, **options)
    return path


def ome_zarr(path, version="0.4"):
    levels = omezarr.create(path, VOLUME.shape, VOLUME.dtype, SIZE, version, chunk=16)
    omezarr.writing(path, "0")[:] = VOLUME
    for number in range(1, len(levels)):
        for block in pyramid.jobs(levels, number):
            pyramid.write(path, levels, number, block)
    return path


MADE = {
    "planes": lambda folder: planes(folder / "planes"),
    "ome": lambda folder: tiff(folder / "v.ome.tif", ome=True, compression="zlib", tile=(32, 32)),
    "big": lambda folder: tiff(folder / "v.tif", bigtiff=True),
    "zarr 0.4": lambda folder: ome_zarr(folder / "v.zarr", "0.4"),
    "zarr 0.5": lambda folder: ome_zarr(folder / "v.zarr", "0.5"),
}


@pytest.mark.parametrize("kind", MADE)
def test_a_box_of_each_kind(kind, tmp_path):
    source = sources.find(MADE[kind](tmp_path))
    assert source.shape == VOLUME.shape and source.dtype == VOLUME.dtype
    assert np.array_equal(source.read(BOX), VOLUME[BOX])
    assert np.array_equal(source.dask(16)[BOX].compute(), VOLUME[BOX])
    if kind.startswith(("zarr", "ome")):
        assert source.voxel_size == SIZE


@pytest.mark.parametrize("version", omezarr.VERSIONS)
def test_conversion_streams_and_levels_are_means(tmp_path, version):
    found = convert.run(None, sources.find(planes(tmp_path / "planes"), SIZE), tmp_path / "out", version)
    assert np.array_equal(found.read((slice(None),) * 3), VOLUME)
    assert found.levels[1].factor == (1, 2, 2) and found.levels[1].voxel_size == (2.0, 1.0, 1.0)
    level = found.read((slice(None),) * 3, level=1)
    assert level[4, 3, 2] == np.rint(VOLUME[4, 6:8, 4:6].mean())
    scales = omezarr.described(found.path)
    assert [axis["name"] for axis in scales["axes"]] == list("zyx")
    assert scales["axes"][0]["unit"] == "micrometer"


@pytest.mark.parametrize(
    "unit, words",
    [("", "its axes have no unit: give voxel_size in µm"), ("furlong", "'furlong', is unknown")],
)
def test_a_store_without_a_unit_is_of_no_size_by_one_rule(tmp_path, unit, words, capsys):
    """As `volumes.read` has it, said in the same line."""
    head = ome_zarr(tmp_path / "v.zarr") / ".zattrs"
    head.write_text(head.read_text().replace('"unit": "micrometer"', f'"unit": "{unit}"'))
    assert sources.find(tmp_path / "v.zarr").voxel_size is None
    said = capsys.readouterr().out
    assert volumes.read(tmp_path / "v.zarr")[1] is None and capsys.readouterr().out == said
    assert words in said and said.startswith("v.zarr: ")
    assert sources.find(tmp_path / "v.zarr", SIZE).voxel_size == SIZE and not capsys.readouterr().out


def test_the_first_of_several_images_of_a_store_is_said(tmp_path, capsys):
    import zarr

    group = zarr.open_group(str(ome_zarr(tmp_path / "v.zarr")), mode="r+")
    group.attrs["multiscales"] = [group.attrs["multiscales"][0] | {"name": name} for name in "ab"]
    sources.find(tmp_path / "v.zarr")
    assert "v.zarr: holds 2 images, and the first, 'a', is read" in capsys.readouterr().out


def test_chunks_that_lack_of_a_single_level_are_said(tmp_path, capsys):
    array = ngff_writing.create(tmp_path / "v.zarr", VOLUME.shape, VOLUME.dtype, SIZE, chunk=16)
    array[:] = VOLUME
    sources.find(tmp_path / "v.zarr")
    assert capsys.readouterr().out == ""
    shutil.rmtree(tmp_path / "v.zarr" / "0" / "1")
    sources.find(tmp_path / "v.zarr")
    assert "v.zarr: 15 of its 45 chunks are not there, and read as 0" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["a thumbnail", "time points"])
def test_planes_that_are_none_and_the_remedy_works(tmp_path, kind):
    """Both were read as slices."""
    place = planes(tmp_path / "p")
    names = {file: place / file.name for file in sorted(place.iterdir())}
    if kind == "a thumbnail":
        tifffile.imwrite(place / "thumb_99.tif", VOLUME[0])
    for file in [*names] if kind == "time points" else ():
        names[file] = file.rename(place / file.name.replace("scan2_z", "t"))
    words = (
        "other names .thumb_99.tif.: leave the planes" if kind == "a thumbnail" else "named as time points"
    )
    with pytest.raises(UserError, match=words):
        sources.find(place)
    (place / "thumb_99.tif").unlink(missing_ok=True)
    for file, now in names.items():
        now.rename(place / file.name)
    assert np.array_equal(sources.find(place).read(BOX), VOLUME[BOX])


def test_a_file_of_another_format_is_converted_first(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["raw"] = VOLUME
    with pytest.raises(UserError, match="v.h5 is HDF5, .* cellseg-nb convert .*v.h5 OUT.zarr"):
        sources.find(tmp_path / "v.h5")
    assert cli.main(["convert", str(tmp_path / "v.h5"), str(tmp_path / "v.zarr")]) == 0
    assert np.array_equal(sources.find(tmp_path / "v.zarr").read(BOX), VOLUME[BOX])


@pytest.mark.parametrize("kind", ["two stacks", "a picture first", "pages alone"])
def test_several_images_of_a_tiff_and_the_remedy_works(tmp_path, kind):
    """The first was read, whatever else there was."""
    path = tmp_path / "v.tif"
    with tifffile.TiffWriter(path) as writer:
        if kind != "pages alone":
            writer.write(
                VOLUME if kind == "two stacks" else VOLUME[0],
                metadata={"axes": "ZYX" if kind == "two stacks" else "YX"},
            )
            writer.write(VOLUME, metadata={"axes": "ZYX"})
        for plane in VOLUME if kind == "pages alone" else ():
            writer.write(plane, contiguous=False)
    with pytest.raises(UserError, match="v.tif holds .* separate images: .* cellseg-nb convert") as caught:
        sources.find(path)
    given = str(caught.value).partition("cellseg-nb ")[2].partition(", and give")[0].split()
    given[2] = str(tmp_path / "one.zarr")
    assert cli.main(given) == 0
    assert np.array_equal(sources.find(tmp_path / "one.zarr").read((slice(None),) * 3), VOLUME)


def test_what_a_tiff_says_of_its_numbers_and_size(tmp_path, capsys):
    words = {"axes": "ZYX", "unit": "furlong", "spacing": 2.0}
    more = {"imagej": True, "photometric": "miniswhite", "resolution": (2, 2)}
    tifffile.imwrite(tmp_path / "v.tif", VOLUME, metadata=words, **more)
    assert sources.find(tmp_path / "v.tif").voxel_size is None
    out = capsys.readouterr().out
    assert "'furlong', is unknown: give voxel_size" in out and "0 is white (MINISWHITE)" in out


def test_levels_keep_labels_whole():
    labels = np.array([[[0, 7], [7, 9]], [[7, 7], [7, 7]]], np.uint32)
    assert pyramid.shrunk(labels, (2, 2, 2), labels=True).item() == 0
    assert pyramid.shrunk(labels.astype(np.uint16), (2, 2, 2)).item() == 6  # 6.4 as a mean
    assert omezarr.factors((10, 100, 100), (8, 1, 1))[:4] == [(1, 1, 1), (1, 2, 2), (1, 4, 4)][:3]


def broken(path, level="0"):
    """One chunk of a store damaged."""
    (path / level / "1" / "1" / "1").write_bytes(b"no blosc")
    return path


LINES = {
    "does not exist": lambda f: sources.find(f / "nowhere"),
    "is no OME-Zarr|without OME's": lambda f: sources.find(_empty_zarr(f)),
    "plane 7 is missing before scan2_z008": lambda f: sources.find(
        planes(f / "p", [n for n in range(34) if n != 7])
    ),
    "its array '0' holds 0 of 2 chunks": lambda f: sources.find(_nothing_but_heads(f)),
    "all planes of a volume must be of one size": lambda f: sources.find(planes(f / "p", change=5)),
    "holds TIFFs without a number": lambda f: sources.find(_unnumbered(f)),
    "one grey plane a file": lambda f: sources.find(_stacks(f)),
    "scan2_z003.tif is truncated|scan2_z003.tif cannot be read": lambda f: sources.find(_cut_plane(f)),
    "v.tif is truncated": lambda f: sources.find(_cut(f)),
    r"cannot be read at \(z, y, x\) = \(16, 16, 16\)": lambda f: sources.find(
        broken(ome_zarr(f / "v.zarr"))
    ).read((slice(3, 20),) * 3),
    r"the chunk at \(z, y, x\) = \(16, 32, 16\) is missing": lambda f: run.look(_without_chunk(f), 4.0),
    "choose one of 0.4, 0.5": lambda f: ome_zarr(f / "v.zarr", "0.3"),
    "needs about 9999999 GB": lambda f: disk.check(f, 1e16 - 1e9, "the run"),
    "has no coarse levels": lambda f: run.look(sources.find(tiff(f / "v.tif")), 4.0),
}


def _empty_zarr(folder):
    import zarr

    zarr.open_group(str(folder / "z.zarr"), mode="w", zarr_format=2)
    return folder / "z.zarr"


def _nothing_but_heads(folder):
    path = folder / "v.zarr"
    volumes.write(path, VOLUME, SIZE)
    for file in (path / "0").rglob("*"):
        if file.is_file() and file.name[0] != ".":
            file.unlink()
    return path


def _unnumbered(folder):
    for name in "abc":
        tifffile.imwrite(folder / f"{name}.tif", VOLUME[0])
    return folder


def _stacks(folder):
    for name in "12":
        tifffile.imwrite(folder / f"{name}.tif", VOLUME[:3])
    return folder


def _cut_plane(folder):
    file = planes(folder / "p") / "scan2_z003.tif"
    file.write_bytes(file.read_bytes()[:1000])
    return folder / "p"


def _cut(folder):
    path = tiff(folder / "v.tif", bigtiff=True)
    path.write_bytes(path.read_bytes()[: VOLUME.nbytes // 2])
    return path


def _without_chunk(folder):
    path = ome_zarr(folder / "v.zarr")
    (path / "0" / "1" / "2" / "1").unlink()
    return sources.find(path)


@pytest.mark.parametrize("line", LINES)
def test_one_line_for_what_is_wrong(line, tmp_path):
    with pytest.raises(UserError, match=line) as error:
        LINES[line](tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="POSIX permissions")
def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="cannot be written|cannot be the output folder"):
        convert.run(None, sources.find(planes(tmp_path / "p")), "/proc/self/out")


def test_channels_of_a_store(tmp_path):
    import zarr

    path = tmp_path / "c.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    array = group.create_array("0", shape=(1, 2, *VOLUME.shape), chunks=(1, 1, 16, 16, 16), dtype="uint16")
    array[0, 1] = VOLUME
    axes = [{"name": name} for name in "tczyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    with pytest.raises(UserError, match="has 2 channels: choose one from 0 to 1"):
        sources.find(path)
    assert np.array_equal(sources.find(path, channel=1).read(BOX), VOLUME[BOX])
    shutil.rmtree(path)
