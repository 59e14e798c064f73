"""Volumes: every bad file by hand, each answered in one line; round trips; nothing written by halves."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from refusing import refused

from cellseg_nb.errors import UserError
from cellseg_nb.io import files, volumes

SHAPE = (18, 20, 22)


def ramp(shape=SHAPE, dtype=np.uint16):
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)


@pytest.fixture
def tif(tmp_path):
    """tif(array, **options): write a TIFF as others would, return its path."""

    def make(array, name="c5.tif", **options):
        path = tmp_path / name
        tifffile.imwrite(path, array, **options)
        return path

    return make


# ---------------------------------------------------------------- find


def test_find_sorts_naturally_and_skips_what_is_no_tiff(tmp_path):
    for name in ("c10.tif", "c2.TIFF", "c1.tif", "1²2.tif", "notes.txt", "._c1.tif", ".c3.tif"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c4.tif").touch()
    (tmp_path / "folder.tif").mkdir()
    assert [f.name for f in volumes.find(tmp_path)] == ["1²2.tif", "c1.tif", "c2.TIFF", "c10.tif"]
    assert volumes.find(str(tmp_path / "c10.tif")) == [tmp_path / "c10.tif"]


def test_find_refuses(tmp_path):
    refused(lambda: volumes.find(tmp_path / "nowhere.tif"), "does not exist", path=tmp_path / "nowhere.tif")
    refused(lambda: volumes.find(tmp_path), "holds no TIFF", path=tmp_path)
    refused(lambda: volumes.find(""), "no path")
    refused(lambda: volumes.find(None), "no path")


# ---------------------------------------------------------------- read: what is accepted


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "?"]),
    order=st.sampled_from("<>"),
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    kind=st.sampled_from(["plain", "big", "lzw", "zlib", "ome"]),
    seed=st.integers(0, 99),
)
def test_read_any_type_order_and_kind(dtype, order, shape, kind, seed):
    assume((dtype, kind) != ("f2", "ome"))  # OME knows no float16
    array = (np.random.default_rng(seed).random(shape) * 100).astype(dtype)
    array[0, 0, 0], array[-1, -1, -1] = 0, 1
    options = {
        "plain": {},
        "big": {"bigtiff": True},
        "lzw": {"compression": "lzw"},
        "zlib": {"compression": "zlib"},
        "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    }[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.tif"
        tifffile.imwrite(path, array, byteorder=order, photometric="minisblack", **options)
        volume, voxel_size = volumes.read(path, minimum=2)
    assert volume.dtype == np.float32 and volume.dtype.isnative and volume.flags.c_contiguous
    np.testing.assert_array_equal(volume, array.astype(np.float32))
    assert voxel_size is None


def test_read_multi_page_files(tif, tmp_path):
    array = ramp()
    by_pages = tmp_path / "pages.tif"
    with tifffile.TiffWriter(by_pages) as writer:
        for plane in array:
            writer.write(plane, metadata=None)
    one_by_one = tmp_path / "one_by_one.tif"  # each slice declares itself an image of its own
    with tifffile.TiffWriter(one_by_one) as writer:
        for plane in array:
            writer.write(plane, contiguous=False)
    tiled = tif(array, "tiled.tif", tile=(16, 16), compression="zlib")
    for path in (by_pages, one_by_one, tiled):
        np.testing.assert_array_equal(volumes.read(path)[0], array)


@pytest.mark.parametrize(
    "array, options",
    [
        (ramp()[None], {}),
        (ramp()[:, None], {"imagej": True, "metadata": {"axes": "ZCYX"}}),
        (ramp()[None, None], {"ome": True, "metadata": {"axes": "TCZYX"}}),
        (ramp()[..., None], {}),
    ],
)
def test_read_drops_axes_of_length_one(tif, array, options):
    path = tif(array, photometric="minisblack", **options)
    np.testing.assert_array_equal(volumes.read(path)[0], ramp())
    np.testing.assert_array_equal(volumes.read(path, channel=0)[0], ramp())


@pytest.mark.parametrize(
    "axes, options",
    [
        ("CZYX", {"ome": True}),
        ("ZCYX", {"ome": True}),
        ("ZCYX", {"imagej": True}),
        ("CZYX", {}),
        ("ZCYX", {}),
        ("CZYX", {"named": False}),
        ("ZCYX", {"named": False}),
    ],
)
def test_read_one_channel_of_several(tif, axes, options):
    options = dict(options)
    metadata = {"metadata": {"axes": axes}} if options.pop("named", True) else {}
    channels = np.stack([ramp(), ramp()[::-1]], axis=axes.index("C"))
    path = tif(channels, photometric="minisblack", **metadata, **options)
    refused(lambda: volumes.read(path), "2 channels", "channel=0", "-p channel 0", path=path)
    np.testing.assert_array_equal(volumes.read(path, channel=0)[0], ramp())
    np.testing.assert_array_equal(volumes.read(path, channel=1)[0], ramp()[::-1])
    refused(lambda: volumes.read(path, channel=2), "from 0 to 1", path=path)


def test_read_channel_that_is_none(tif):
    path = tif(ramp())
    refused(lambda: volumes.read(path, channel=1), "one channel only", path=path)
    for wrong in (-1, 1.5, "0", True):
        refused(lambda: volumes.read(path, channel=wrong), "whole number", path=path)


def test_read_four_axes_without_names_and_without_clear_channels(tif):
    path = tif(ramp((18, 17, 20, 22)))
    refused(lambda: volumes.read(path, channel=0), "none is clearly the channels", path=path)


# ---------------------------------------------------------------- read: voxel size


def test_voxel_size_from_imagej(tif):
    for unit, factor in (("micron", 1), ("\\u00B5m", 1), ("um", 1), ("nm", 1e-3), ("mm", 1e3)):
        path = tif(
            ramp(),
            imagej=True,
            resolution=(1 / 0.4, 1 / 0.8),
            metadata={"axes": "ZYX", "spacing": 1.75, "unit": unit},
        )
        assert volumes.read(path)[1] == pytest.approx((1.75 * factor, 0.8 * factor, 0.4 * factor), rel=1e-6)
    path = tif(ramp(), imagej=True, resolution=(2, 2), metadata={"axes": "ZYX", "unit": "um"})
    assert volumes.read(path)[1] == pytest.approx((1, 0.5, 0.5))  # ImageJ writes no spacing of 1
    for metadata in ({"unit": "pixel", "spacing": 2}, {"spacing": 2}, {"unit": "um", "spacing": 0}):
        path = tif(ramp(), imagej=True, resolution=(2, 2), metadata={"axes": "ZYX", **metadata})
        assert volumes.read(path)[1] is None


def test_voxel_size_from_ome(tif):
    sizes = {"PhysicalSizeZ": 2000, "PhysicalSizeZUnit": "nm", "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}
    path = tif(ramp(), ome=True, metadata={"axes": "ZYX", **sizes})
    assert volumes.read(path)[1] == pytest.approx((2, 0.5, 0.25))
    assert volumes.read(path, voxel_size=(5, 5, 5))[1] == (5, 5, 5)
    del sizes["PhysicalSizeZ"]
    assert volumes.read(tif(ramp(), ome=True, metadata={"axes": "ZYX", **sizes}))[1] is None


@pytest.mark.parametrize(
    "wrong", [5, (1, 2), (1, 2, 0), (1, 2, -3), (1, 2, "x"), "123", (1, 2, float("nan")), (1, 2, np.inf)]
)
def test_voxel_size_that_is_none(tif, wrong):
    path = tif(ramp())
    refused(lambda: volumes.read(path, voxel_size=wrong), "three positive numbers", "µm")


# ---------------------------------------------------------------- read: what is refused


@pytest.mark.parametrize(
    "array, options, words",
    [
        (ramp()[0], {}, ["2D"]),
        (ramp()[0, 0], {}, ["2D"]),
        (ramp((20, 22, 3), np.uint8), {"photometric": "rgb"}, ["RGB", "grey"]),
        (
            ramp((20, 22, 4), np.uint8),
            {"photometric": "rgb", "extrasamples": ["unassalpha"]},
            ["RGB", "grey"],
        ),
        (ramp((18, 20, 22, 3), np.uint8), {"photometric": "rgb"}, ["RGB", "channel=0"]),
        (ramp((3, 20, 22)), {"imagej": True, "metadata": {"axes": "CYX"}}, ["2D with 3 channels"]),
        (ramp((3, *SHAPE)), {"imagej": True, "metadata": {"axes": "TZYX"}}, ["time series of 3"]),
        (ramp((2, 18, 3, 20, 22)), {"imagej": True, "metadata": {"axes": "TZCYX"}}, ["5D hyperstack"]),
        (ramp((2, 3, *SHAPE)), {"photometric": "minisblack"}, ["5D hyperstack"]),
        (np.where(ramp() == 7, np.nan, ramp()), {}, ["NaN or infinite", "(0, 0, 7)"]),
        (np.where(ramp() == 250, -np.inf, ramp()).astype("f4"), {}, ["NaN or infinite", "(0, 11, 8)"]),
        (ramp().astype("f8") * 1e300, {}, ["too large for float32"]),
        (np.full(SHAPE, 7, np.uint16), {}, ["same value (7)"]),
        (ramp((15, 40, 40)), {}, ["smaller than one cube", "16"]),
        (ramp().astype(np.complex64), {}, ["complex64"]),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_read_refuses(tif, array, options, words):
    path = tif(array, **options)
    before = path.read_bytes()
    refused(lambda: volumes.read(path), *words, path=path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_check_counts_the_bad_voxels():
    array = ramp().astype(float)
    array[3, 4, 5] = array[3, 4, 6] = np.nan
    refused(lambda: volumes.check(array, "tissue"), "2 voxels", "(3, 4, 5)", path="tissue")


@pytest.mark.parametrize(
    "array, word",
    [
        (ramp((20, 20)), "2D"),
        (ramp((2, *SHAPE)), "4D"),
        (ramp((2, 2, *SHAPE)), "5D"),
        (ramp((1, 20, 20)), "2D"),
        (ramp((20, 20, 3)), "RGB"),
        (np.array("text"), "real numbers"),
        (np.zeros((0, 20, 20)), "empty"),
        (np.array([[[None]]]), "real numbers"),
    ],
)
def test_check_refuses(array, word):
    refused(lambda: volumes.check(array), word)


def test_check_takes_bool_and_any_layout():
    volume = volumes.check(np.asfortranarray(ramp() > 100))
    assert volume.dtype == np.float32 and volume.flags.c_contiguous and set(np.unique(volume)) == {0, 1}


def test_read_refuses_what_is_no_tiff(tmp_path, capfd):
    photo = ("photo.tif", b"\x89PNG\r\n\x1a\n" + bytes(200), "is a PNG picture")
    for name, content, words in (photo, ("text.tif", b"hello\nworld", "not a TIFF")):
        (tmp_path / name).write_bytes(content)
        refused(lambda: volumes.read(tmp_path / name), words, path=tmp_path / name)
    (tmp_path / "two.tif").write_bytes(b"II")
    refused(lambda: volumes.read(tmp_path / "two.tif"), "damaged", path=tmp_path / "two.tif")
    (tmp_path / "empty.tif").touch()
    refused(lambda: volumes.read(tmp_path / "empty.tif"), "0 bytes", path=tmp_path / "empty.tif")
    refused(lambda: volumes.read(tmp_path), "is a folder", path=tmp_path)
    refused(lambda: volumes.read(tmp_path / "nowhere.tif"), "does not exist", path=tmp_path / "nowhere.tif")
    os.mkfifo(tmp_path / "pipe.tif")
    refused(lambda: volumes.read(tmp_path / "pipe.tif"), "not a regular file", path=tmp_path / "pipe.tif")
    assert capfd.readouterr() == ("", "")  # tifffile's own log would be noise


@pytest.mark.parametrize("kind", ["plain", "imagej", "ome", "zlib", "pages", "big"])
@pytest.mark.parametrize("part", [0.99, 0.5, 0.1, 0.02])
def test_read_refuses_truncated_files(tmp_path, kind, part, capfd):
    path = tmp_path / "cut.tif"
    noise = np.random.default_rng(0).integers(0, 60000, SHAPE, dtype=np.uint16)
    if kind == "pages":
        with tifffile.TiffWriter(path) as writer:
            for plane in noise:
                writer.write(plane, metadata=None, contiguous=False)
    else:
        options = {
            "plain": {},
            "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
            "big": {"bigtiff": True},
            "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
            "zlib": {"compression": "zlib"},
        }
        tifffile.imwrite(path, noise, **options[kind])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    if (kind, part) == ("imagej", 0.99):  # only headers that ImageJ never reads were cut, no voxel
        np.testing.assert_array_equal(volumes.read(path)[0], noise)
        return
    line = refused(lambda: volumes.read(path), path=path)
    assert any(word in line for word in ("truncated", "damaged", "not a TIFF")), line
    assert capfd.readouterr() == ("", "")


def test_planes_that_the_header_does_not_tell_are_no_plane(tmp_path):
    tifffile.imwrite(tmp_path / "v.tif", np.zeros((6, 8, 9), np.uint16), compression="zlib")
    content = (tmp_path / "v.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "v.tif") as tif:
        second = tif.pages[1].offset
    changed = content.replace(second.to_bytes(4, "little"), bytes(4), 1)  # the chain of pages ends there
    (tmp_path / "v.tif").write_bytes(changed)
    refused(lambda: volumes.read(tmp_path / "v.tif"), "planes than its header says", path=tmp_path / "v.tif")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(
        [
            {},
            {"compression": "zlib"},
            {"imagej": True, "metadata": {"axes": "ZYX"}},
            {"ome": True, "metadata": {"axes": "ZYX"}, "compression": "lzw"},
        ]
    ),
    cut=st.floats(0.001, 1),
)
def test_a_cut_file_never_gives_wrong_voxels(tmp_path, kind, cut):
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, ramp(), **kind)
    content = path.read_bytes()
    path.write_bytes(content[: max(1, int(cut * len(content)))])
    try:
        np.testing.assert_array_equal(volumes.read(path)[0], ramp())
    except UserError as error:
        assert "\n" not in str(error) and path.name in str(error)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(
        [
            {},
            {"compression": "zlib"},
            {"imagej": True, "metadata": {"axes": "ZYX"}},
            {"bigtiff": True, "compression": "lzw"},
        ]
    ),
    place=st.floats(0, 1),
    byte=st.integers(0, 255),
    cut=st.floats(0.001, 1),
)
def test_a_damaged_file_gives_a_line_or_a_volume(tmp_path, kind, place, byte, cut):
    """Whatever byte is wrong and wherever the file ends: UserError in one line, or a volume; nothing else."""
    path = tmp_path / "damaged.tif"
    tifffile.imwrite(path, ramp(), **kind)
    content = bytearray(path.read_bytes())
    content[int(place * min(600, len(content) - 1))] = byte
    path.write_bytes(content[: max(1, int(cut * len(content)))])
    try:
        volume, _ = volumes.read(path)
        assert volume.ndim == 3
    except UserError as error:
        assert "\n" not in str(error) and path.name in str(error)


def bigtiff_header(side, compression, content, count=None):
    """A BigTIFF that declares one plane of ``side`` x ``side`` float32 and holds ``content``."""
    tags = [
        (256, 4, side),
        (257, 4, side),
        (258, 3, 32),
        (259, 3, compression),
        (262, 3, 1),
        (273, 16, 400),
        (277, 3, 1),
        (278, 4, side),
        (279, 16, len(content) if count is None else count),
        (339, 3, 3),
    ]
    body = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(tags))
    for code, kind, value in tags:
        body += struct.pack("<HHQQ", code, kind, 1, value)
    return (body + bytes(8)).ljust(400, b"\0") + content


@pytest.mark.parametrize(
    "compression, content, count",
    [
        (1, b"little", None),
        (1, b"little", 4 * 32768**2),
        (8, zlib.compress(bytes(5000)), None),
        (5, b"x" * 50, None),
        (50000, b"little", None),
    ],
)
def test_read_refuses_4_gb_headers_before_allocating(tmp_path, compression, content, count):
    path = tmp_path / "header.tif"
    path.write_bytes(bigtiff_header(32768, compression, content, count))
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff and file.series[0].nbytes == 2**32
    limited = (
        "import resource, sys; from cellseg_nb import volumes, errors; "
        "import tifffile, psutil, imagecodecs\n"
        "used = psutil.Process().memory_info().vms\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**30,) * 2)\n"
        "try: volumes.read(sys.argv[1])\n"
        "except errors.UserError as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", limited, path], capture_output=True, text=True, check=True)
    assert "truncated" in out.stdout and str(path) in out.stdout and out.stdout.count("\n") == 1


def test_read_refuses_what_does_not_fit_in_memory(tif, monkeypatch):
    import psutil

    path = tif(ramp())
    real = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: real._replace(available=10_000))
    refused(lambda: volumes.read(path), "memory", "crop", path=path)


def test_read_refuses_several_images_and_absent_planes(tmp_path):
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(ramp())
        writer.write(ramp((18, 30, 30)))
    refused(lambda: volumes.read(path), "2 separate images", path=path)
    path = tmp_path / "thumbnail.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(ramp())
        writer.write(ramp((10, 10)))
    np.testing.assert_array_equal(volumes.read(path)[0], ramp())
    path = tmp_path / "planes.ome.tif"
    tifffile.imwrite(path, ramp(), ome=True, metadata={"axes": "ZYX"})
    content = path.read_bytes().replace(b'SizeZ="18"', b'SizeZ="28"')
    path.write_bytes(content)
    refused(lambda: volumes.read(path), path=path)


@pytest.fixture
def as_nobody():
    """Run as an ordinary user where the tests run as root, to whom permissions do not apply."""
    if not hasattr(os, "setresuid"):
        pytest.skip("needs Linux users")
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 65534, 65534)
        os.setresuid(65534, 65534, 0)
    yield folder
    if root:
        os.setresuid(0, 0, 0)
    subprocess.run(["chmod", "-R", "u+rwx", folder], check=True)
    subprocess.run(["rm", "-r", folder], check=True)


def test_permissions(as_nobody):
    path = as_nobody / "secret.tif"
    tifffile.imwrite(path, ramp())
    path.chmod(0)
    refused(lambda: volumes.read(path), "Permission denied", path=path)
    path.chmod(0o400)
    before = path.read_bytes()
    refused(lambda: volumes.write(path, ramp()), "read-only", path=path)
    locked = as_nobody / "locked"
    locked.mkdir()
    (locked / "old.json").write_text("old")
    locked.chmod(0o500)
    refused(
        lambda: files.write_json(locked / "old.json", {}), "Permission denied", "another folder", path=locked
    )
    refused(lambda: files.writable_folder(locked), "Permission denied", path=locked)
    refused(lambda: files.writable_folder(locked / "new"), "Permission denied", path=locked)
    locked.chmod(0)
    refused(lambda: volumes.find(locked), "Permission denied", path=locked)
    locked.chmod(0o700)
    assert path.read_bytes() == before and (locked / "old.json").read_text() == "old"
    assert sorted(f.name for f in as_nobody.rglob("*")) == ["locked", "old.json", "secret.tif"]


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "i4", "u4", "i8", "f4", ">f8"])
def test_read_labels(tif, dtype):
    blocks = ramp((3, 4, 5)).repeat(6, 0).repeat(5, 1).repeat(4, 2)
    labels, voxel_size = volumes.read_labels(tif(blocks.astype(dtype), photometric="minisblack"))
    assert labels.dtype == np.int32 and labels.flags.c_contiguous and voxel_size is None
    np.testing.assert_array_equal(labels, blocks)


def test_read_labels_small_or_empty_is_fine(tif):
    assert volumes.read_labels(tif(np.zeros((2, 5, 6), np.uint8)))[0].max() == 0


@pytest.mark.parametrize(
    "array, word",
    [
        (ramp() / 7, "not whole"),
        (np.where(ramp() == 3, np.nan, ramp()), "not whole"),
        (-ramp().astype("i4"), "negative"),
        (ramp().astype("f4") - 1, "negative"),
        (ramp()[0], "2D"),
        (ramp().astype("f8") * 1e300, "above 9007199254740992"),
        (ramp().astype("c8"), "complex64"),
    ],
)
def test_read_labels_refuses(tif, array, word):
    path = tif(array)
    refused(lambda: volumes.read_labels(path), word, path=path)


@pytest.mark.parametrize("compress", [False, True])
def test_more_cells_than_16_bits_hold(tmp_path, compress):
    path = tmp_path / "labels.tif"
    labels = np.arange(70 * 40 * 41, dtype=np.int32).reshape(70, 40, 41)
    volumes.write(path, labels, (2, 0.5, 0.25), compress)
    again, voxel_size = volumes.read_labels(path)
    np.testing.assert_array_equal(again, labels)
    assert voxel_size == pytest.approx((2, 0.5, 0.25))
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].dtype == np.uint32 and not file.is_imagej
        assert [file.pages[0].tags[t].value for t in ("XResolution", "YResolution")] == [(4, 1), (2, 1)]


# ---------------------------------------------------------------- write


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(["?", "u1", "i1", "u2", ">u2", "i4", "i8", "f2", "f4", ">f4", "f8"]),
    shape=st.tuples(*[st.integers(2, 7)] * 3),
    seed=st.integers(0, 99),
    compress=st.booleans(),
    voxel_size=st.none() | st.tuples(*[st.floats(0.01, 100)] * 3),
)
def test_write_and_read_again(dtype, shape, seed, compress, voxel_size):
    array = np.random.default_rng(seed).integers(0, 120, shape).astype(dtype)
    array[0, 0, 0], array[-1, -1, -1] = 0, 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deeper" / "out.tif"
        volumes.write(path, array, voxel_size, compress)
        assert [f.name for f in path.parent.iterdir()] == ["out.tif"]
        volume, found = volumes.read(path, minimum=2)
        stored = tifffile.imread(path).dtype
    np.testing.assert_array_equal(volume, array.astype(np.float32))
    assert found == (voxel_size and pytest.approx(voxel_size, rel=1e-4))
    whole = np.uint8 if dtype == "u1" else np.uint16
    assert stored == {"f": np.float32, "b": np.uint8}.get(array.dtype.kind, whole)


@pytest.mark.parametrize("compress", [False, True])
def test_imagej_metadata(tmp_path, compress):
    path = tmp_path / "probability.tif"
    volumes.write(path, ramp().astype(float) / 251, (1.75, 0.8, 0.4), compress)
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej and not file.is_bigtiff
        assert (file.series[0].axes, file.series[0].shape, file.series[0].dtype) == ("ZYX", SHAPE, np.float32)
        assert file.imagej_metadata["slices"] == 18 and file.imagej_metadata["spacing"] == 1.75
        assert file.imagej_metadata["unit"] == "micron"
        tags = file.pages[0].tags
        assert tags["XResolution"].value == (5, 2) and tags["YResolution"].value == (5, 4)  # voxels per µm
        assert tags["Compression"].value == (8 if compress else 1)


def test_a_side_of_three_is_not_taken_for_colours(tmp_path):
    volumes.write(tmp_path / "a.tif", ramp((5, 6, 3), np.uint8))
    np.testing.assert_array_equal(volumes.read_labels(tmp_path / "a.tif")[0], ramp((5, 6, 3)))


def test_negative_whole_numbers_become_float(tmp_path):
    volumes.write(tmp_path / "a.tif", ramp().astype(np.int16) - 100)
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.tif")[0], ramp().astype(int) - 100)


@pytest.mark.parametrize(
    "array",
    [
        ramp()[0],
        ramp((1, 2, *SHAPE)),
        ramp().astype(complex),
        np.zeros((0, 3, 3)),
        np.full((2, 2, 2), 2**33),
        np.full((2, 2, 2), -(2**25)),
        np.array([[["text"]]]),
    ],
)
def test_write_refuses(tmp_path, array):
    path = tmp_path / "out.tif"
    path.write_bytes(b"older")
    refused(lambda: volumes.write(path, array), "cannot hold", path=path)
    refused(lambda: volumes.write(path, ramp(), voxel_size=(1, 1)), "three positive numbers")
    assert path.read_bytes() == b"older" and list(tmp_path.iterdir()) == [path]


def test_files_in_the_way(tmp_path):
    (tmp_path / "file").write_text("here")
    refused(lambda: files.writable_folder(tmp_path / "file"), "file is in the way", path=tmp_path / "file")
    refused(
        lambda: files.writable_folder(tmp_path / "file" / "in"), "file is in the way", path=tmp_path / "file"
    )
    refused(lambda: files.write_json(tmp_path / "file" / "a.json", 1), "could not be written", path=tmp_path)
    refused(lambda: files.write_json(tmp_path, 1), "is a folder", path=tmp_path)
    assert files.writable_folder(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert files.writable_folder(tmp_path / "a" / "b").is_dir()
    assert sorted(f.name for f in tmp_path.rglob("*")) == ["a", "b", "file"]


def test_atomic_keeps_the_older_file_when_the_work_fails(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_text("older")
    for error in (RuntimeError("bug"), KeyboardInterrupt(), UserError("os error of mine")):
        with pytest.raises(type(error)) as caught, files.atomic(path) as beside:
            assert beside.parent == tmp_path and beside.suffix == ".pt"
            beside.write_text("half")
            raise error
        assert caught.value is error
    assert path.read_text() == "older" and list(tmp_path.iterdir()) == [path]


def test_atomic_follows_a_link_and_takes_long_names(tmp_path):
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "link.json").symlink_to("real.json")
    files.write_json(tmp_path / "link.json", [1])
    assert (tmp_path / "link.json").is_symlink() and json.loads((tmp_path / "real.json").read_text()) == [1]
    long = tmp_path / ("n" * 250 + ".json")
    files.write_json(long, 1)
    assert long.read_text() == "1\n"


FULL_DISK = """
import json, resource, signal, sys
import numpy as np, pandas as pd
from cellseg_nb import errors, files, volumes
folder = sys.argv[1]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
noise = np.random.default_rng(0).random((30, 40, 50))
def weights(path):
    import torch
    with files.atomic(path) as beside:
        torch.save({"weight": torch.zeros(100000)}, beside)
def safe_weights(path):
    import torch
    from safetensors.torch import save_file
    with files.atomic(path) as beside:
        save_file({"weight": torch.zeros(100000)}, beside)
jobs = {
    "a.tif": lambda p: volumes.write(p, noise, (1, 1, 1)),
    "b.tif": lambda p: volumes.write(p, noise, compress=True),
    "c.tif": lambda p: volumes.write(p, np.arange(100000).reshape(10, 100, 100)),
    "d.json": lambda p: files.write_json(p, noise),
    "e.csv": lambda p: files.write_table(p, pd.DataFrame(noise[0])),
    "f.pt": weights, "g.safetensors": safe_weights}
said = {}
for name, job in jobs.items():
    try:
        job(f"{folder}/{name}")
        said[name] = "written"
    except errors.UserError as error:
        said[name] = str(error)
print(json.dumps(said))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
def test_disk_full_in_the_middle_of_a_write(tmp_path):
    """For real: the operating system refuses the bytes after the first 20,000."""
    names = ["a.tif", "b.tif", "c.tif", "d.json", "e.csv", "f.pt", "g.safetensors"]
    for name in names:
        (tmp_path / name).write_text("older")
    out = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=True
    )
    said = json.loads(out.stdout)
    assert list(said) == names
    for name, line in said.items():
        assert str(tmp_path / name) in line and "free some space" in line and "\n" not in line, line
        assert (tmp_path / name).read_text() == "older"
    assert sorted(f.name for f in tmp_path.iterdir()) == names
    assert out.stderr == ""


def test_write_json_and_table(tmp_path):
    values = {
        "cells": np.int64(3),
        "dice": np.float32(0.5),
        "shape": np.arange(3),
        "from": tmp_path,
        "µm": None,
    }
    files.write_json(tmp_path / "a.json", values)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {
        "cells": 3,
        "dice": 0.5,
        "shape": [0, 1, 2],
        "from": str(tmp_path),
        "µm": None,
    }
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "a.json", object())
    table = pd.DataFrame({"cell": [1, 2], "volume": [0.5, 1.5]}, index=["x", "y"])
    files.write_table(tmp_path / "a.csv", table)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), table.reset_index(drop=True))
    files.write_table(tmp_path / "a.csv", table, index=True)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv", index_col=0), table)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a.csv", "a.json"]


# ---------------------------------------------------------------- changing

finite = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(finite, min_size=8, max_size=8), low=st.floats(-10, 10), span=st.floats(0.1, 100))
def test_remap_is_linear_between_its_ends(values, low, span):
    volume = np.array(values, np.float32).reshape(2, 2, 2)
    out = volumes.remap(volume, low, low + span)
    assert out.dtype == np.float32 and out.shape == volume.shape
    if volume.min() == volume.max():
        assert (out == np.float32(low)).all()
        return
    expected = (volume.astype(float) - volume.min()) / (float(volume.max()) - volume.min()) * span + low
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    assert out.min() == np.float32(low) and out.max() == np.float32(low + span)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64", "bool"])
@pytest.mark.parametrize("percentiles", [None, (1, 99), (0, 100)])
def test_remap_is_numpys_interpolation_to_the_bit(dtype, percentiles, monkeypatch):
    monkeypatch.setattr(volumes, "IN_CACHE", 64)
    rng = np.random.default_rng(3)
    for low, high, scale in ((0, 100, 250), (0, 1, 3), (-0.3, 0.7, 199), (100, 0, 77), (0, 100, 1e-42)):
        volume = (scale * rng.random((3, 19, 11))).astype(dtype)[:, ::-1]
        if volume.min() == volume.max():
            continue
        ends = np.percentile(volume, percentiles) if percentiles else (volume.min(), volume.max())
        ends = [float(end) for end in ends]
        expected = np.full(volume.shape, low) if ends[0] == ends[1] else np.interp(volume, ends, (low, high))
        found = volumes.remap(volume, low, high, percentiles)
        assert found.tobytes() == expected.astype(np.float32).tobytes()


def test_percentiles():
    volume = np.arange(1001.0).reshape(7, 11, 13)
    out = volumes.remap(volume, percentiles=(1, 99))
    assert out.min() == 0 and out.max() == 100 and out[volume == 500] == pytest.approx(50)
    assert volume.max() == 1000
    for wrong in ((99, 1), (5, 5), (-1, 50), (0, 101)):
        refused(lambda: volumes.remap(volume, percentiles=wrong), "percentiles must")


@settings(max_examples=60, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 40)] * 3), size=st.integers(1, 16), data=st.data())
def test_cubes_cover_the_volume_and_are_full(shape, size, data):
    step = data.draw(st.none() | st.integers(max(1, size // 2), size))
    size = max(size, 4) if step is None else size
    volume = np.zeros(shape, np.int32)
    corners = []
    for cube in volumes.cubes(volume, size, step):
        assert volume[cube].shape == tuple(min(size, side) for side in shape)
        volume[cube] += 1
        corners.append(tuple(s.start for s in cube))
    assert volume.min() >= 1 and len(set(corners)) == len(corners) and corners == sorted(corners)


def test_cubes_by_hand():
    volume = np.zeros((64, 128, 100))
    starts = [[s.start for s in cube] for cube in volumes.cubes(volume)]
    assert starts == [[0, 0, 0], [0, 0, 36], [0, 64, 0], [0, 64, 36]]
    for size, step in ((0, None), (8, 0), (8, 9)):
        refused(lambda: volumes.cubes(volume, size, step), "cubes need")


def test_rescale():
    volume = ramp((10, 20, 20), np.float32)
    out = volumes.rescale(volume, (2, 1, 1), 1)
    assert out.shape == (20, 20, 20) and out.dtype == np.float32
    # The field of view stays: voxels are boxes.
    smooth = np.broadcast_to(np.arange(20.0)[:, None, None], (20, 8, 8))
    middle = volumes.rescale(smooth, (1, 1, 1), (0.5, 1, 1))[2:-2, 0, 0]
    np.testing.assert_allclose(middle, (np.arange(40) * 0.5 - 0.25)[2:-2], atol=1e-9)
    labels = np.zeros((6, 8, 8), np.int32)
    labels[2:4, 2:6, 2:6] = 2**30 + 1
    twice = volumes.rescale(labels, (1, 1, 1), 0.5, order=0)
    np.testing.assert_array_equal(twice, labels.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    np.testing.assert_array_equal(volumes.rescale(twice, (0.5, 0.5, 0.5), 1, order=0), labels)
    same = volumes.rescale(labels, (2, 2, 2), 2)
    assert same is not labels and (same == labels).all()
    assert volumes.rescale(labels, (1, 1, 1), 100, order=0).shape == (1, 1, 1)
    refused(lambda: volumes.rescale(labels, (1, 1, 1), 0), "target must")
    refused(lambda: volumes.rescale(labels, (1000, 1000, 1000), 0.1), "memory")


# ---------------------------------------------------------------- real volumes


@pytest.mark.skipif(
    "CELLSEG_NB_REAL_DATA" not in os.environ, reason="set CELLSEG_NB_REAL_DATA to the real volumes"
)
def test_real_volumes():
    folder = Path(os.environ["CELLSEG_NB_REAL_DATA"])
    volume, voxel_size = volumes.read(folder / "mesospim" / "c5_image.tif")
    assert volume.shape == (124, 86, 94) and volume.dtype == np.float32 and voxel_size is None
    counts = {}
    for image in volumes.find(folder / "bbbc050") + volumes.find(folder / "arabidopsis"):
        if image.name.endswith("_image.tif"):
            labels, _ = volumes.read_labels(image.with_name(image.name.replace("_image", "_labels")))
            assert volumes.read(image)[0].shape == labels.shape
            counts[image.name.split("_")[0]] = len(np.unique(labels)) - 1
    assert counts == {"emb01": 50, "emb04": 50, "emb09": 40, "emb11": 53, "ovule1135": 54}
