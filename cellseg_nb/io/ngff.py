"""OME-Zarr (NGFF 0.1 to 0.5) and plain Zarr arrays, read in blocks; `cellseg_nb.io.ngff_writing` writes.

`multiscales` and `levels` are for whoever wants lazy arrays: they open, and read no voxel.
Source: the NGFF specifications 0.4 and 0.5, https://ngff.openmicroscopy.org.
"""

import contextlib
import math
import warnings
from pathlib import Path

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import units
from cellseg_nb.io.axes import naming
from cellseg_nb.io.parts import Image

MARKS = (".zgroup", ".zarray", ".zattrs", "zarr.json")


def is_zarr(path):
    """Whether a folder is a Zarr group or array, by what lies in it or by its name."""
    return path.is_dir() and (path.name.lower().endswith(".zarr") or any((path / m).is_file() for m in MARKS))


def opened(path):
    """The zarr group or array at a path, for reading only. Raises UserError where there is none."""
    import zarr

    if not any((Path(path) / mark).is_file() for mark in MARKS):
        raise UserError(f"{path} holds no Zarr group or array: copy the whole folder again")
    return zarr.open(str(path), mode="r")


def attributes(group):
    """The OME attributes of a group: those under "ome" (0.5) or at the top (0.1 to 0.4)."""
    found = dict(group.attrs)
    return found["ome"] if isinstance(found.get("ome"), dict) else found


def multiscales(path):
    """The multiscale images at a path: a list of (name, group, description), none for plain arrays.

    Those of a group itself, or, where it has none, of its subgroups (as bioformats2raw lays series out).
    Raises UserError for a plate.
    """
    import zarr

    group = opened(path)
    if not isinstance(group, zarr.Group):
        return []
    about = attributes(group)
    if "plate" in about or "well" in about:
        raise UserError(f"{path} is a {_field(about)}")
    if "multiscales" in about:
        return [(str(one.get("name") or i), group, one) for i, one in enumerate(about["multiscales"])]
    found = []
    for name in sorted(group.group_keys(), key=lambda n: (not n.isdecimal(), n.zfill(9))):
        if name not in ("labels", "OME"):
            inner = attributes(group[name]).get("multiscales") or ()
            found += [(str(name), group[name], one) for one in inner]
    return found


def _field(about):
    """What is said of a plate or a well: where its first field is."""
    if "plate" in about:
        well = next((str(one.get("path")) for one in about["plate"].get("wells") or ()), "A/1")
        return f"plate: give one field of it, a folder in it such as {well}/0"
    first = next((str(one.get("path")) for one in about["well"].get("images") or ()), "0")
    return f"well of a plate: give one field of it, a folder in it such as {first}"


def levels(group, about):
    """The resolution levels of one multiscale image, the finest first.

    A list of (zarr array, letters of its axes, voxel size (z, y, x) in µm or None, word).
    """
    return [
        (array, letters, *size_of(letters, names, scale, stated))
        for array, letters, names, scale, stated in scaled(group, about)
    ]


def scaled(group, about):
    """As `levels`, with what is written: (zarr array, letters, units, scale of each axis, whether stated)."""
    found = []
    for one in about["datasets"]:
        if one["path"] not in group:
            raise UserError(f"its array {one['path']!r} is not there: copy the store again, whole")
        array = group[one["path"]]
        letters, names = _axes(about, array)
        scale, stated = np.ones(array.ndim), False
        for step in (*one.get("coordinateTransformations", ()), *about.get("coordinateTransformations", ())):
            if step.get("type") == "scale" and len(step.get("scale", ())) == array.ndim:
                scale, stated = scale * np.array(step["scale"], float), True
        found.append((array, letters, names, scale, stated))
    return found


def _axes(about, array):
    """A letter and a unit for each axis."""
    axes = about.get("axes") or "tczyx"[-array.ndim :]
    axes = [one if isinstance(one, dict) else {"name": one} for one in axes]
    known = {"time": "T", "channel": "C"}
    letters = [known.get(one.get("type"), str(one.get("name", "?"))[:1].upper()) for one in axes]
    if len(letters) != array.ndim:
        itself = str(array.store_path).removeprefix("file://")
        raise UserError(
            f"its description names {len(letters)} axes, and its array has {array.ndim}: convert the array "
            f"itself, as in: {naming(itself, array.ndim)}"
        )
    space = [i for i, one in enumerate(axes) if one.get("type") == "space"]
    if len(space) == 3 and sorted(letters[i] for i in space) != ["X", "Y", "Z"]:
        for i, letter in zip(space, "ZYX"):  # in this order, as the specification has it
            letters[i] = letter
    return "".join(letters), [one.get("unit") for one in axes]


def size_of(letters, names, scale, stated):
    """Voxel size (z, y, x) in µm, or None with a word, of a level as `scaled` gives it: without a unit a
    length says nothing."""
    if not all(letters.count(letter) == 1 for letter in "ZYX"):
        return None, ""
    if not stated:
        return None, "it states no scale: give voxel_size in µm" if any(names) else ""
    where = [letters.index(letter) for letter in "ZYX"]
    given = {letter.lower(): names[i] for letter, i in zip("ZYX", where)}
    if not any(given.values()):
        none = all(scale[i] == 1 for i in where)
        return None, "" if none else "its axes have no unit: give voxel_size in µm"
    given = {axis: unit or next(filter(None, given.values())) for axis, unit in given.items()}
    return units.size(given, *(scale[i] for i in where))


@contextlib.contextmanager
def images(path):
    """The images of a Zarr folder, as a list of `cellseg_nb.io.parts.Image`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = [
                _image(name, levels(group, about))._replace(channels=_channels(group))
                for name, group, about in multiscales(path)
            ]
            yield found or _plain(path)
        except UserError as error:
            line = str(error)
            raise (error if str(path) in line else UserError(f"{path}: {line}")) from None


def _image(name, of_levels):
    made = [
        Image(
            name,
            axes,
            array.shape,
            array.dtype,
            _read(array),
            size,
            word,
            step=_step(array, axes),
            note=lacking(array),
        )
        for array, axes, size, word in of_levels
    ]
    return made[0]._replace(levels=tuple(made[1:]))


def _channels(group):
    """Names of the channels, as OMERO has them written."""
    about = attributes(group).get("omero") or {}
    return tuple(str(one.get("label") or "") for one in about.get("channels") or ())


def lacking(array):
    """Chunks that are all background may be left out by who writes; those of a copy that broke off lack "
    "as well."""
    every, there = array.nchunks, array.nchunks_initialized
    if array.shards:  # each holds as many chunks, also where it reaches beyond the array
        every = math.prod(-(-n // side) for n, side in zip(array.shape, array.shards))
        there //= math.prod(side // n for n, side in zip(array.chunks, array.shards))
    lacking = every - there
    said = f"{lacking} of its {every} chunks are not there, and read as {array.fill_value}"
    return said if lacking else ""


def _plain(path):
    """Zarr arrays that no multiscales describe; a level of one that the folder above describes."""
    import zarr

    found = opened(path)
    if isinstance(found, zarr.Array) and is_zarr(path.parent):
        for name, group, about in multiscales(path.parent):
            paths = [one["path"] for one in about["datasets"]]
            if path.name in paths and len(about.get("axes") or "tczyx") == found.ndim:
                return [_image(name, levels(group, about)[paths.index(path.name) :])]
    arrays = {"array": found} if isinstance(found, zarr.Array) else dict(found.arrays())
    if not arrays:
        raise UserError(f"{path} describes no image: give the folder of the image within it")
    made = []
    for name, array in arrays.items():
        stated = array.attrs.get("_ARRAY_DIMENSIONS") or getattr(array.metadata, "dimension_names", None)
        letters = "".join(str(n or "?")[:1].upper() for n in stated or ())
        letters = letters if len(letters) == array.ndim else "QQQYX"[-array.ndim :]
        made.append(
            Image(
                str(name),
                letters,
                array.shape,
                array.dtype,
                _read(array),
                word=units.unread(array.attrs) or units.unread(found.attrs),
                step=_step(array, letters),
                note=lacking(array),
            )
        )
    return made


def _step(array, axes):
    """Planes of a row of chunks, so that each is decompressed once."""
    return int(array.chunks[axes.index("Z")]) if "Z" in axes else int(array.shape[0])


def _read(array):
    def read(index):
        check_chunks(array, array.path)
        return np.asarray(array[index])

    return read


def check_chunks(array, key):
    """UserError where no chunk is there: a copy that broke off.

    Writers leave out chunks that are all fill value, so most of them may lack, as in labels of a small part;
    that is said (`lacking`).
    """
    if array.nchunks_initialized == 0:
        raise UserError(f"its array {key!r} holds 0 of {array.nchunks} chunks: copy it again, whole")
