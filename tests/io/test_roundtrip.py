"""Random volumes written by the libraries of each format, read back: same voxels, same axes, same µm."""

import json
import tempfile
from pathlib import Path

import h5py
import nibabel
import nrrd
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings, strategies as st

from cellseg_nb.io import volumes

UNITS = {"µm": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4}
LONG = {
    "µm": "micrometer",
    "nm": "nanometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "Å": "angstrom",
}
dtypes = st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
orders = st.sampled_from("<>")
axes = st.permutations("ZYX").map("".join)
more = st.sampled_from(["", "C", "T", "TC"])
sides = st.tuples(*[st.floats(0.05, 20).map(lambda v: round(v, 3))] * 3)
shapes = st.tuples(*[st.integers(5, 12)] * 3)
seeds = st.integers(0, 2**16)
many = settings(max_examples=40, deadline=None)


def array(seed, shape, extra, order, dtype, endian):
    """(T, C, Z, Y, X) of random numbers; the same in an order of axes, as stored; which part will be read."""
    counts = (3 if "T" in extra else 1, 2 if "C" in extra else 1)
    low, high = (0, 200) if "u" in dtype else (-100, 100)
    whole = np.random.default_rng(seed).uniform(low, high, (*counts, *shape)).astype(dtype)
    stored = whole.reshape(*(n for n in counts if n > 1), *shape)
    letters = extra + "ZYX"
    stored = np.ascontiguousarray(stored.transpose([letters.index(one) for one in order]))
    part = {"T": {"timepoint": 2}, "C": {"channel": 1}, "": {}, "TC": {"timepoint": 2, "channel": 1}}[extra]
    return whole[-1, -1], stored.astype(np.dtype(dtype).newbyteorder(endian)), part


def check(path, wanted, size, **part):
    found, voxel_size = volumes.read(path, minimum=2, **part)
    assert found.dtype == np.float32 and found.flags.c_contiguous and found.dtype.isnative
    np.testing.assert_array_equal(found, wanted.astype(np.float32))
    assert voxel_size == (size if size is None else pytest.approx(size, rel=1e-4))


@many
@given(dtypes, orders, axes, more, sides, shapes, seeds, st.sampled_from([*UNITS]),
       st.sampled_from([None, "zlib", "lzw", "zstd", "packbits"]), st.booleans(), st.booleans())  # fmt: skip
def test_ome_tiff(dtype, endian, order, extra, size, shape, seed, unit, codec, tiled, big):
    order = extra + "".join(one for one in order if one == "Z") + "YX"
    wanted, stored, part = array(seed, shape, extra, order, dtype, endian)
    words = {"axes": order}
    for letter, side in zip("ZYX", size):
        words |= {f"PhysicalSize{letter}": side / UNITS[unit], f"PhysicalSize{letter}Unit": unit}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ome.tif"
        tifffile.imwrite(path, stored, byteorder=endian, ome=True, metadata=words, compression=codec,
                         tile=(16, 16) if tiled else None, photometric="minisblack", bigtiff=big)  # fmt: skip
        check(path, wanted, size, **part)


@many
@given(dtypes, orders, axes, more, shapes, seeds, st.sampled_from([None, "zlib", "lzw"]))
def test_tiff_with_named_axes(dtype, endian, order, extra, shape, seed, codec):
    order = extra + order
    wanted, stored, part = array(seed, shape, extra, order, dtype, endian)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        tifffile.imwrite(path, stored, byteorder=endian, metadata={"axes": order}, compression=codec,
                         photometric="minisblack")  # fmt: skip
        check(path, wanted, None, **part)


@many
@given(st.sampled_from(["u1", "u2", "f4"]), orders, more, sides, shapes, seeds, st.sampled_from([*UNITS]),
       st.sampled_from(["NONE", "INCH", "CENTIMETER"]))  # fmt: skip
def test_imagej(dtype, endian, extra, size, shape, seed, unit, resolution_unit):
    order = {"": "ZYX", "C": "ZCYX", "T": "TZYX", "TC": "TZCYX"}[extra]
    wanted, stored, part = array(seed, shape, extra, order, dtype, endian)
    z, y, x = (side / UNITS[unit] for side in size)
    if unit == "µm" and resolution_unit == "CENTIMETER":  # "um" of ImageJ means pixels per centimetre then
        unit, y, x = "um", y / 1e4, x / 1e4
    if unit == "cm":  # a depth of 1 is one not given, and inch and small cm have rules of their own
        unit, z, y, x = "mm", z * 10, y * 10, x * 10
    unit = unit.encode("unicode_escape").decode().replace("\\x", "\\u00").replace("b5", "B5")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        tifffile.imwrite(
            path,
            stored,
            byteorder=endian,
            imagej=True,
            resolution=(1 / x, 1 / y),
            resolutionunit=resolution_unit,
            metadata={"axes": order, "spacing": z, "unit": unit},
        )
        check(path, wanted, size, **part)


@many
@given(dtypes, orders, axes, more, sides, shapes, seeds, st.sampled_from([*UNITS]),
       st.sampled_from(["0.4", "0.5"]), st.sampled_from([None, "auto"]), st.integers(1, 3),
       st.booleans())  # fmt: skip
def test_ome_zarr(dtype, endian, order, extra, size, shape, seed, unit, version, codec, levels, around):
    order = extra + order
    wanted, stored, part = array(seed, shape, extra, order, dtype, endian)
    scales = {letter: side / UNITS[unit] for letter, side in zip("ZYX", size)}
    kinds = {"T": ("t", "time"), "C": ("c", "channel")}
    named = [kinds.get(one, (one.lower(), "space")) for one in order]
    about = {
        "axes": [{"name": n, "type": k, **({"unit": LONG[unit]} if k == "space" else {})} for n, k in named]
    }
    half = [0.5 if letter in "ZYX" and around else 1.0 for letter in order]
    about["datasets"] = [
        {
            "path": f"s{i}",
            "coordinateTransformations": [
                {"type": "scale", "scale": [scales.get(one, 1.0) * 2**i / h for one, h in zip(order, half)]},
                {"type": "translation", "translation": [1.5] * len(order)},
            ],
        }
        for i in range(levels)
    ]
    if around:  # a second scale, for all levels
        about["coordinateTransformations"] = [{"type": "scale", "scale": half}]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ome.zarr"
        group = zarr.create_group(str(path), zarr_format=2 if version == "0.4" else 3)
        listed = {"multiscales": [about | ({"version": "0.4"} if version == "0.4" else {})]}
        group.attrs.update(listed if version == "0.4" else {"ome": {"version": version, **listed}})
        for i in range(levels):
            cut = stored[tuple(slice(None, None, 2**i if one in "ZYX" else None) for one in order)]
            group.create_array(
                f"s{i}", data=cut, chunks=tuple(min(4, n) for n in cut.shape), compressors=codec
            )
        check(path, wanted, size, **part)
        if levels > 1:
            finer = tuple(2 * side for side in size)
            check(path, wanted[::2, ::2, ::2], finer, level=1, **part)


@many
@given(st.sampled_from(["u1", "i2", "i4", "f4", "f8", "u2"]), more, sides, shapes, seeds,
       st.sampled_from([("micron", 1.0), ("mm", 1e3), ("meter", 1e6)]), st.booleans(),
       st.booleans())  # fmt: skip
def test_nifti(dtype, extra, size, shape, seed, unit, packed, second):
    extra = extra.replace("C", "")  # NIfTI's fifth axis: tested by hand below
    wanted, stored, part = array(seed, shape, extra, "XYZ" + extra, dtype, "<")
    kind = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    image = kind(stored, None)
    image.header.set_zooms([side / unit[1] for side in size[::-1]] + [1.0] * len(extra))
    image.header.set_xyzt_units(unit[0], "sec")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("a.nii.gz" if packed else "a.nii")
        nibabel.save(image, path)
        check(path, wanted, size, **part)


@many
@given(dtypes, orders, st.sampled_from(["", "C", "T"]), sides, shapes, seeds, st.sampled_from([*UNITS]),
       st.sampled_from(["raw", "gzip", "bzip2", "text"]), st.booleans())  # fmt: skip
def test_nrrd(dtype, endian, extra, size, shape, seed, unit, encoding, directions):
    wanted, stored, part = array(seed, shape, extra, extra + "XYZ", dtype, endian)
    n = len(extra)
    header = {"encoding": encoding, "endian": "little" if endian == "<" else "big"}
    header["kinds"] = ["list" if extra == "C" else "time"] * n + ["domain"] * 3
    scaled = [side / UNITS[unit] for side in size[::-1]]
    if directions:
        rows = np.full((n + 3, 3), np.nan)
        rows[n:] = np.diag(scaled)
        header |= {
            "space": "left-posterior-superior",
            "space directions": rows,
            "space units": [LONG[unit]] * 3,
        }
    else:
        header |= {"spacings": [np.nan] * n + scaled, "units": [""] * n + [LONG[unit]] * 3}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nrrd"
        nrrd.write(str(path), stored, header, index_order="F")
        check(path, wanted, size, **part)


@many
@given(dtypes, orders, axes, more, sides, shapes, seeds, st.sampled_from([None, "gzip", "lzf"]),
       st.sampled_from(["labels", "axistags", "axes"]))  # fmt: skip
def test_hdf5(dtype, endian, order, extra, size, shape, seed, codec, stating):
    order = extra + order
    wanted, stored, part = array(seed, shape, extra, order, dtype, endian)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with h5py.File(path, "w") as file:
            data = file.create_dataset("deep/raw", data=stored, compression=codec)
            file["table"] = np.arange(5)
            if stating == "labels":
                for dim, letter in zip(data.dims, order):
                    dim.label = letter.lower()
            elif stating == "axes":
                data.attrs["axes"] = order
            else:
                data.attrs["axistags"] = json.dumps({"axes": [{"key": one.lower()} for one in order]})
            data.attrs["element_size_um"] = size
        check(path, wanted, size, **part)
        check(path, wanted, size, series="deep/raw", **part)


@many
@given(dtypes, sides, shapes, seeds, st.booleans(), st.booleans())
def test_ours(dtype, size, shape, seed, compress, as_zarr):
    wanted, _, _ = array(seed, shape, "", "ZYX", dtype, "<")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("a.ome.zarr" if as_zarr else "a.tif")
        volumes.write(path, wanted, size, compress)
        check(path, wanted, size)
