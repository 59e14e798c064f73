"""NIfTI and NRRD."""

import contextlib
import gzip
import re
import zlib
from pathlib import Path

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import units
from cellseg_nb.io.parts import Image

MOST_SHRINKING, BZIP2 = 1040, 200_000  # times that deflate can shrink, and bzip2
ROUNDED = 0.02  # relative: of two sizes in one header, one may be written with two digits
NO_UNIT = "its header states no unit of length: give voxel_size in µm"


@contextlib.contextmanager
def nifti(path):
    """The image of a NIfTI file, or of a pair .hdr and .img; its array is (X, Y, Z), then time, then
    channels."""
    import nibabel

    try:
        file = nibabel.load(path)
    except nibabel.filebasedimages.ImageFileError as error:
        _check_name(path)
        raise UserError(f"{path} is not a NIfTI file: copy it again, or export it again") from error
    header, shape = file.header, file.shape
    axes = "XYZTC"[: len(shape)].ljust(len(shape), "Q")
    dtype = header.get_data_dtype()
    slope, inter = header.get_slope_inter()
    scaled = (slope not in (None, 1)) or bool(inter)
    whole = float(np.prod(shape, dtype=float)) * dtype.itemsize
    packed = str(path).lower().endswith(".gz")
    data = file.file_map["image"].filename
    _check_held(path, whole, MOST_SHRINKING if packed else 1, data if Path(data).is_file() else path)
    if dtype.kind == "V":  # RGB
        raise UserError(f"{path} is a colour image: convert it to grey (Fiji: Image > Type > 16-bit)")
    size, word = _nifti_size(header)

    def read(index):
        if packed:
            _check_sum(path)
        return np.asanyarray(file.dataobj[index])

    # Of a compressed file each block would be unpacked from the start.
    step = shape[2] if len(shape) > 2 and packed else 1
    kind = np.dtype("f8") if scaled else dtype
    yield [Image("image", axes, shape, kind, read, size, word, step=max(2, step))]


def _check_name(path):
    """UserError for a NIfTI file whose name does not say that it is packed, or says so wrongly."""
    with open(path, "rb") as file:
        head = file.read(348)
    name = str(path)
    if head[:2] == b"\x1f\x8b" and not name.lower().endswith(".gz"):
        raise UserError(
            f"{path} is packed (gzip), and its name does not say so: name it {Path(name).name}.gz"
        )
    if name.lower().endswith(".gz") and (head[344:348] == b"n+1\0" or head[4:7] == b"n+2"):
        raise UserError(f"{path} is not packed (gzip), as its name says: name it {Path(name[:-3]).name}")


def _nifti_size(header):
    """Voxel size of pixdim; where it has none but the transform has one, of that; where they contradict
    each other, none, with a word. A transform of 1 x 1 x 1 says nothing, nor does one onto a template (codes
    above 2: it stretches)."""
    sides = [abs(float(z)) for z in header.get_zooms()[:3]]
    if len(sides) < 3:
        return None, ""
    try:
        unit = header.get_xyzt_units()[0] if hasattr(header, "get_xyzt_units") else "unknown"
    except KeyError:
        return None, f"the unit of its axes, number {int(header['xyzt_units']) % 8}, is unknown: {units.GIVE}"
    if hasattr(header, "get_sform") and int(header["sform_code"]) in (1, 2):
        other = np.linalg.norm(header.get_sform()[:3, :3], axis=0)
        told = all(other) and not np.allclose(other, 1, rtol=units.CLOSE)
        if told and not np.allclose(sides, other, rtol=ROUNDED, atol=0):
            if all(side in (0, 1) for side in sides):
                sides = [float(side) for side in other]
            else:
                both = " and ".join(" x ".join(f"{s:g}" for s in one[::-1]) for one in (sides, other))
                return None, f"its header states two voxel sizes (z, y, x), {both}: {units.GIVE}"
    if not all(sides):
        return None, ""
    if unit == "unknown":
        return None, "" if sides == [1, 1, 1] else NO_UNIT
    return units.size(dict.fromkeys("zyx", unit), *sides[::-1])


def _check_sum(path):
    """Read a .gz to its end, where its checksum is: nibabel stops before, and would give damaged voxels."""
    try:
        with gzip.open(path) as file:
            while file.read(2**22):
                pass
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is damaged ({error}): copy or download it again") from error


def _check_held(path, whole, shrinking, data=None):
    held = Path(data or path).stat().st_size * shrinking
    if held < whole:
        raise UserError(
            f"{path} is truncated: it declares more data than it holds; copy or download it again"
        )


@contextlib.contextmanager
def nrrd(path):
    """The image of an NRRD file; its first axis is the fastest, X."""
    import nrrd as library

    try:
        header = library.read_header(str(path))
    except library.NRRDError as error:
        raise UserError(f"{path} is not an NRRD file: copy it again, or export it again") from error
    shape = tuple(int(n) for n in header["sizes"])
    dtype = _nrrd_dtype(path, header)
    if "data file" not in header and "datafile" not in header:
        kind = header.get("encoding", "raw")
        plain, text = kind in ("raw", "hex"), kind in ("txt", "text", "ascii", "hex")
        shrinking = 1 if plain or text else BZIP2 if kind in ("bz2", "bzip2") else MOST_SHRINKING
        _check_held(path, np.prod(shape, dtype=float) * (1 if text else dtype.itemsize), shrinking)
    letters = _nrrd_axes(header, len(shape))
    size, word = _nrrd_size(header | _nrrd_units(path), letters)

    def read(index):
        try:
            array, _ = library.read(str(path), index_order="F")
        except (zlib.error, EOFError, gzip.BadGzipFile) as error:
            raise UserError(f"{path} is damaged ({error}): copy or download it again") from error
        return array[index]

    yield [Image("image", letters, shape, dtype, read, size, word, step=10**9)]


def _nrrd_dtype(path, header):
    from nrrd.reader import _determine_datatype

    if header["type"] == "block":
        raise UserError(f"{path} holds blocks, not numbers: save the intensity as 16-bit")
    return _determine_datatype(header)


def _nrrd_axes(header, count):
    """X, Y, Z, in this order, for the axes that are space; the kinds tell which are not."""
    kinds = [str(kind).lower() for kind in header.get("kinds") or ()]
    if len(kinds) != count:
        kinds = ["space"] * count
    directions = header.get("space directions")
    if directions is not None and len(directions) == count:
        none = [row is None or np.isnan(np.asarray(row, float)).all() for row in directions]
        kinds = [
            kind if not no else ("list" if kind in ("space", "domain") else kind)
            for kind, no in zip(kinds, none)
        ]
    stated = [str(label)[:1].upper() for label in header.get("labels") or ()]
    if len(stated) == count and sorted(one for one in stated if one in "ZYX") == ["X", "Y", "Z"]:
        return "".join(one if one in "TCZYX" else "Q" for one in stated)
    space = iter("XYZ")
    letters = ""
    for kind in kinds:
        letters += (
            "T" if kind == "time" else next(space, "Q") if kind in ("space", "domain", "???", "none") else "C"
        )
    return letters


def _nrrd_units(path):
    """The units of a header as they are written: the library leaves out what is not ASCII, and makes metres
    of µm."""
    with open(path, "rb") as file:
        head = file.read(2**16).replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    found = {}
    for line in head.split(b"\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() in (b"units", b"space units"):
            try:
                text = value.decode("utf-8")
            except UnicodeDecodeError:
                text = value.decode("latin-1")
            found[name.strip().lower().decode()] = re.findall(r'"([^"]*)"', text) or text.split()
    return found


def _nrrd_size(header, letters):
    where = [letters.find(letter) for letter in "ZYX"]
    if min(where) < 0:
        return None, ""
    directions, spacings = header.get("space directions"), header.get("spacings")
    if directions is not None:
        lengths = [float(np.linalg.norm(np.asarray(directions[i], float))) for i in where]
        names = [str(one) for one in header.get("space units") or ()]
        names = dict.fromkeys("zyx", names[0]) if names and len(set(names)) == 1 else dict(zip("xyz", names))
    elif spacings is not None:
        lengths = [float(spacings[i]) for i in where]
        every = list(header.get("units") or ())
        names = (
            {letter.lower(): str(every[i]) for letter, i in zip("ZYX", where)}
            if len(every) > max(where)
            else {}
        )
    else:
        return None, ""
    if not all(np.isfinite(lengths)) or not all(lengths):
        return None, ""
    if len(names) < 3 or not any(names.values()):
        return None, "" if all(length == 1 for length in lengths) else NO_UNIT
    return units.size(names, *lengths)
