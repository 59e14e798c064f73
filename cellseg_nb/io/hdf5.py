"""HDF5 and Imaris: datasets of any file, axes and voxel size where attributes state them."""

import contextlib
import importlib
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import units
from cellseg_nb.io.parts import Image

MOST_SHRINKING = 1100  # gzip, and more than the other filters do
# BigDataViewer keeps numbers of 16 bits without a sign in a type that has one.
SIGNED = re.compile(r"t\d+/s\d+/\d+/cells")
LEVEL, TABLES = re.compile(r"/\d+/(?=cells$)"), re.compile(r"s\d+/(resolutions|subdivisions)")


@contextlib.contextmanager
def images(path):
    """The numeric datasets of two axes or more, at any depth, each an image named by its path in the file."""
    import h5py

    with _file(path) as file:
        found = []

        def visit(name, item):
            if isinstance(item, h5py.Dataset) and item.ndim >= 2 and item.dtype.kind in "buif":
                found.append(name)

        file.visititems(visit)
        if not found:
            raise UserError(
                f"{path} holds no dataset of numbers with two axes or more: export the volume into it"
            )
        pyramids = {}  # BigDataViewer keeps each volume in several resolutions, and tables on them
        for name in sorted(filter(SIGNED.fullmatch, found), key=lambda name: int(name.split("/")[2])):
            pyramids.setdefault(LEVEL.sub("/", name), []).append(_image(file[name], name))
        made = [_setup(path, *levels) for levels in pyramids.values()]
        left = [
            name for name in found if not SIGNED.fullmatch(name) and not (made and TABLES.fullmatch(name))
        ]
        made += [_image(file[name], name) for name in left]
        yield sorted(made, key=lambda image: image.name)


def _setup(path, finest, *coarser):
    """A volume of BigDataViewer with its coarser levels, and the voxel size out of the XML beside it."""
    number, size, word = re.match(r"t\d+/s(\d+)", finest.name)[1], None, ""
    with contextlib.suppress(OSError, ElementTree.ParseError, ValueError):
        tree = ElementTree.parse(path.with_suffix(".xml"))
        for one in tree.iterfind(".//ViewSetup"):
            if int(one.findtext("id", "-1")) == int(number) and one.find("voxelSize") is not None:
                sides = one.findtext("voxelSize/size", "").split()[::-1]
                unit = one.findtext("voxelSize/unit", "").strip()
                size, word = units.size(dict.fromkeys("zyx", unit), *sides) if len(sides) == 3 else (None, "")
    ratios = [np.divide(finest.shape, one.shape) for one in coarser]
    sized = [one._replace(size=size and tuple((r * size).tolist())) for one, r in zip(coarser, ratios)]
    return finest._replace(size=size, word=word, levels=tuple(sized))


@contextlib.contextmanager
def _file(path):
    import h5py

    with contextlib.suppress(ImportError):
        importlib.import_module("hdf5plugin")  # where it is installed: Blosc, LZ4, Zstandard and others
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if not h5py.is_hdf5(path):
            raise UserError(f"{path} is not an HDF5 file: copy it again, or export it again") from error
        raise ValueError(error) from error
    with file:
        yield file


def _image(dataset, name):
    axes = _axes(dataset)
    size, word = _size(dataset, axes)
    dtype = np.dtype("u2") if SIGNED.fullmatch(name) and dataset.dtype.newbyteorder("=") == "i2" else None
    step = dataset.chunks[axes.index("Z")] if dataset.chunks and "Z" in axes else 1
    if dataset.chunks and "Z" not in axes:
        step = dataset.chunks[0]
    read = _read(dataset, dtype)
    return Image(name, axes, dataset.shape, dtype or dataset.dtype, read, size, word, step=int(step))


def _read(dataset, dtype=None):
    """``dtype``: what the bits mean, where the file says otherwise."""

    def read(index):
        if dataset.is_virtual:
            _check_sources(dataset)
        held, whole = dataset.id.get_storage_size(), dataset.size * dataset.dtype.itemsize
        if held * MOST_SHRINKING < whole and dataset.external is None and not dataset.is_virtual:
            raise UserError(
                f"{dataset.file.filename} is truncated: {dataset.name} declares more data than it holds"
            )
        try:
            found = dataset[index]
        except OSError as error:
            if "filter" not in str(error) and "plugin" not in str(error):
                raise
            raise UserError(
                f"{dataset.file.filename}: {dataset.name} is compressed in a way that needs a library: "
                "pip install hdf5plugin and start again, or write it with gzip"
            ) from error
        return found if dtype is None else found.astype(found.dtype.newbyteorder("=")).view(dtype)

    return read


def _check_sources(dataset):
    """UserError for a dataset that is laid out over other files, of which one is not there: they are read as
    0."""
    place = Path(dataset.file.filename).parent
    for name in sorted({one.file_name for one in dataset.virtual_sources()} - {"."}):
        if "%" not in name and not (place / name).is_file() and not Path(name).is_file():
            raise UserError(
                f"{dataset.file.filename} lacks {name}, which holds a part of {dataset.name}: copy it too"
            )


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _axes(dataset):
    """Letters from axistags (ilastik), dimension labels, or an attribute "axes"; else Q, ..., Y, X."""
    attributes = dataset.attrs
    if SIGNED.fullmatch(dataset.name.strip("/")) and dataset.ndim == 3:
        return "ZYX"
    keys = [str(tag.get("key", "?"))[:1].upper() for tag in _tags(attributes)]
    if len(keys) == dataset.ndim:
        return "".join(keys)
    labels = [dim.label for dim in dataset.dims]
    for stated in (labels, _words(attributes.get("axes")), _words(attributes.get("axis_order"))):
        letters = "".join(str(one)[:1].upper() for one in stated)
        if len(letters) == dataset.ndim and {"Y", "X"} <= set(letters):
            return letters
    if dataset.ndim == 3 and np.size(attributes.get("element_size_um")) == 3:
        return "ZYX"  # in this order, as that attribute is
    return "QQQYX"[-dataset.ndim :].rjust(dataset.ndim, "Q")


def _tags(attributes):
    """The axistags of ilastik, a list of dicts; empty where there are none that can be read."""
    try:
        tags = json.loads(_text(attributes["axistags"]))["axes"]
        return [dict(tag) for tag in tags]
    except (KeyError, TypeError, ValueError):
        return []


def _words(value):
    if value is None:
        return ()
    if isinstance(value, (bytes, str)):
        return _text(value).replace(",", " ").split() if " " in _text(value) else _text(value)
    return [_text(one) for one in np.ravel(value)]


def _size(dataset, axes):
    attributes = dataset.attrs
    if "element_size_um" in attributes:
        value = attributes["element_size_um"]
        words = (
            re.findall(r"[\d.eE+-]+", _text(value)) if isinstance(value, (bytes, str)) else np.ravel(value)
        )
        try:
            value = np.array(words).astype(float)
        except (TypeError, ValueError):
            value = np.zeros(3)
        if len(value) == 3 and (value > 0).all() and np.isfinite(value).all():
            return tuple(value.tolist()), ""
    tags = _tags(attributes)
    if len(tags) == len(axes) and {"Z", "Y", "X"} <= set(axes):
        given = {letter: tag for letter, tag in zip(axes, tags) if letter in "ZYX"}
        sides = [float(given[letter].get("resolution") or 0) for letter in "ZYX"]
        if all(side > 0 for side in sides) and any(side != 1 for side in sides):
            return None, "its voxel size has no unit: give voxel_size in µm"
    return None, units.unread(attributes)


# ---------------------------------------------------------------- Imaris


@contextlib.contextmanager
def imaris(path):
    """The one image of an Imaris file: DataSet / ResolutionLevel / TimePoint / Channel / Data."""
    with _file(path) as file:
        if "DataSet" not in file or "DataSetInfo" not in file:
            raise UserError(f"{path} is HDF5, but no Imaris file: name it .h5")
        about = {key: _plain(value) for key, value in file["DataSetInfo/Image"].attrs.items()}
        levels = [_imaris_level(file, number, about) for number in range(len(file["DataSet"]))]
        yield [levels[0]._replace(levels=tuple(levels[1:]))]


def _plain(value):
    """Imaris stores text as arrays of single bytes."""
    return (
        b"".join(np.ravel(value).astype("S1")).decode("utf-8", "replace") if np.ndim(value) else _text(value)
    )


def _imaris_level(file, number, about):
    times = file[f"DataSet/ResolutionLevel {number}"]
    first = times["TimePoint 0"]
    inner = first["Channel 0"]
    # The data are padded to whole chunks; these say how large the image is.
    real = tuple(
        int(_plain(inner.attrs[f"ImageSize{axis}"])) if f"ImageSize{axis}" in inner.attrs else n
        for axis, n in zip("ZYX", inner["Data"].shape)
    )
    if any(a > b for a, b in zip(real, inner["Data"].shape)):
        raise UserError(f"{file.filename} is damaged: its image is larger than its data; copy it again")
    units_of = about.get("Unit", "um")
    try:
        extent = [abs(float(about[f"ExtMax{i}"]) - float(about[f"ExtMin{i}"])) for i in (2, 1, 0)]
        size, word = units.size(dict.fromkeys("zyx", units_of), *(e / n for e, n in zip(extent, real)))
    except (KeyError, ValueError):
        size, word = None, f"it does not state its extent: {units.GIVE}"
    shape = (len(times), len(first), *real)
    names = [_channel(file, i) for i in range(len(first))]
    data = inner["Data"]

    def read(index):
        time, channel, *rest = index
        chosen = times[f"TimePoint {time}/Channel {channel}/Data"]
        inside = tuple(
            slice(*one.indices(n)) if isinstance(one, slice) else one for one, n in zip(rest, real)
        )
        return _read(chosen)(inside)

    step = int(data.chunks[0]) if data.chunks else 1
    return Image("image", "TCZYX", shape, data.dtype, read, size, word, names, step=step)


def _channel(file, number):
    place = file.get(f"DataSetInfo/Channel {number}")
    return _plain(place.attrs["Name"]) if place is not None and "Name" in place.attrs else ""
