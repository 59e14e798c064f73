"""What is inside a TIFF: opened, sized up and decoded, with one clear line for every way it can be wrong.

`cellseg_nb.io.volumes` is the door to this module: use `volumes.read` and `volumes.write`.
"""

import contextlib
import logging

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io.files import reason

MICROMETRES = {
    "µm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "inch": 25400.0,
    "in": 25400.0,
}
# The most a codec (TIFF's number for it) can shrink data: a file that declares more was cut or made up.
MOST_SHRINKING = {1: 1, 5: 2800, 8: 1040, 32946: 1040, 32773: 64}


def load(path, channel):
    """An array of three axes or fewer, in native byte order, and its voxel size or None.

    ``path`` is a Path. Raises UserError for whatever is wrong with the file; sizes are checked first.
    """
    whole = isinstance(channel, (int, np.integer)) and not isinstance(channel, bool)
    if channel is not None and not (whole and channel >= 0):
        raise UserError(f"{path}: channel must be a whole number from 0, or None, not {channel!r}")
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder: give one TIFF file in it")
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is not a regular file: give a TIFF file")
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty (0 bytes): copy or export it again")
        with _quiet_tifffile() as complaints:
            return _decode(path, channel, complaints)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: check the spelling, or upload the file first") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({reason(error)}): check its permissions and the disk"
        ) from error
    except MemoryError as error:
        raise UserError(f"{path} does not fit in memory: crop it, or use the whole-brain notebook") from error
    except Exception as error:  # tifffile and the codecs raise a zoo of types for damaged files
        raise UserError(
            f"{path} is damaged or of an unknown kind ({reason(error)}): copy it again, or "
            "open it in Fiji and save it as TIFF"
        ) from error


@contextlib.contextmanager
def _quiet_tifffile():
    """Collect what tifffile logs: noise to a user, to us the only sign that a chain of pages was cut."""
    complaints, logger = [], logging.getLogger("tifffile")
    collect = logging.Handler(logging.ERROR)
    collect.emit = lambda record: complaints.append(record.getMessage())
    before = logger.propagate
    logger.addHandler(collect)
    logger.propagate = False
    try:
        yield complaints
    finally:
        logger.removeHandler(collect)
        logger.propagate = before


def _decode(path, channel, complaints, **flags):
    import tifffile

    try:
        tif = tifffile.TiffFile(path, **flags)
    except tifffile.TiffFileError as error:
        raise UserError(
            f"{path} is not a TIFF file: export it as TIFF (Fiji: File > Save As > Tiff...)"
        ) from error
    with tif:
        # Walks the whole chain of pages, so that a cut is noticed.
        pages, found = len(tif.pages), tif.series
        if any("corrupt" in line or "offset" in line for line in complaints):
            raise UserError(_truncated(path))
        kinds = {(s.shape, s.dtype) for s in found}
        if len(found) > 1 and not flags and len(kinds) == 1 and found[0].ndim == 2:
            # Slices written one by one: every page calls itself a series of its own.
            return _decode(path, channel, complaints, is_shaped=False, is_ome=False)
        stacks = [s for s in found if sum(n > 1 for n in s.shape) > 2] or found[:1]
        if len(stacks) != 1 or (len(found) > 1 and stacks[0].ndim < 3):
            shapes = ", ".join(str(s.shape) for s in found[:4])
            raise UserError(
                f"{path} holds {len(found)} separate images in {pages} pages (shapes "
                f"{shapes}...): save the one you want as its own file"
            )
        series = stacks[0]
        index = _axes(path, series.shape, series.axes, channel)
        _check_size(path, series)
        array = series.asarray().reshape(series.shape)[index]
        return array.astype(array.dtype.newbyteorder("="), copy=False), _stored_voxel_size(tif)


def _truncated(path):
    return f"{path} is truncated: it declares more data than it holds; copy or download it again"


def rgb(name, shape):
    """What is said of a colour image."""
    return (
        f"{name} is a colour (RGB) image of shape {tuple(shape)}: convert it to grey (Fiji: Image > "
        "Type > 16-bit) or, in a file, choose one colour with channel=0 (on the command line: -p "
        "channel 0)"
    )


def hyperstack(name, shape):
    """What is said of five axes or more."""
    return (
        f"{name} is a {len(shape)}D hyperstack of shape {tuple(shape)}: save one time point and one "
        "channel as a z stack (Fiji: Image > Duplicate...)"
    )


def _axes(path, shape, axes, channel):
    """Index that takes Z, Y, X out of the axes of a file, or UserError. Nothing is read yet: shapes tell."""
    index = [0 if n == 1 else slice(None) for n in shape]
    long = [i for i, n in enumerate(shape) if n != 1]
    sizes = tuple(shape[i] for i in long)
    if len(long) > 4:
        raise UserError(hyperstack(path, sizes))
    named = {axes[i]: i for i in long}
    if "T" in named:
        raise UserError(
            f"{path} is a time series of {shape[named['T']]} time points: save one of them as "
            "a z stack (Fiji: Image > Duplicate...); if they are z slices, swap z and t (Fiji: "
            "Image > Properties...)"
        )
    pick = named.get("C", named.get("S"))
    if pick is None and len(long) == 4:
        smallest, second = sorted(long, key=lambda i: shape[i])[:2]
        if 2 * shape[smallest] > shape[second]:
            raise UserError(
                f"{path} has four axes {sizes} and none is clearly the channels: save one "
                "channel as a z stack"
            )
        pick = smallest
    if pick is None:
        if channel:
            raise UserError(
                f"{path} has one channel only, so channel={channel} does not exist: use channel=0"
            )
        return tuple(index)
    if channel is None and axes[pick] == "S" and shape[pick] in (3, 4):
        raise UserError(rgb(path, sizes))
    if len(long) < 4:
        raise UserError(
            f"{path} is 2D with {shape[pick]} channels (shape {sizes}): give a stack of z "
            "slices; if the channels are slices, say so in Fiji (Image > Properties...)"
        )
    if channel is None:
        raise UserError(
            f"{path} has {shape[pick]} channels (axis {long.index(pick)} of shape {sizes}): "
            "choose one with channel=0 (on the command line: -p channel 0)"
        )
    if channel >= shape[pick]:
        raise UserError(
            f"{path} has {shape[pick]} channels: channel must be from 0 to {shape[pick] - 1}, not {channel}"
        )
    index[pick] = int(channel)
    return tuple(index)


def _check_size(path, series):
    """Refuse, before anything is allocated, a series that is larger than its file or than the memory."""
    first, start = series.keyframe, series.dataoffset
    if start is not None:
        complete = start + series.nbytes <= first.parent.filehandle.size
    else:
        complete = len(series.pages) * first.size == series.size
        for page in series.pages if complete else ():
            if page is None:
                raise UserError(
                    f"{path} lacks planes that its header names: copy it again, with the files "
                    "that go with it"
                )
            held = sum(page.databytecounts)
            most = held * MOST_SHRINKING.get(first.compression, 40000)
            complete &= first.size * first.bitspersample / 8 <= most
            complete &= all(
                offset + count <= page.parent.filehandle.size
                for offset, count in zip(page.dataoffsets, page.databytecounts)
            )
    if not complete:
        raise UserError(_truncated(path))
    check_memory(path, series.nbytes + 4 * series.size)


def check_memory(name, needed):
    """Raise UserError when ``needed`` bytes are more than this machine has free."""
    import psutil

    free = psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"{name} needs {needed / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are "
            "free: crop it, use larger voxels, or use the whole-brain notebook"
        )


def _stored_voxel_size(tif):
    """(z, y, x) in µm from OME or ImageJ metadata, or as `write` stores it; None where one is missing."""
    from xml.etree import ElementTree

    try:
        if tif.is_ome:
            pixels = ElementTree.fromstring(tif.ome_metadata).find(".//{*}Pixels")
            names = [f"PhysicalSize{axis}" for axis in "ZYX"]
            return voxel_size_of([float(pixels.get(n)) * _unit(pixels.get(n + "Unit", "µm")) for n in names])
        stored = tif.imagej_metadata or (tif.shaped_metadata or [{}])[0]
        tags = tif.pages[0].tags
        y, x = (tags[name].value[1] / tags[name].value[0] for name in ("YResolution", "XResolution"))
        # ImageJ leaves the spacing out when it is 1.
        z = abs(stored.get("spacing", 1.0))
        return voxel_size_of([side * _unit(stored["unit"]) for side in (z, y, x)])
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError, ElementTree.ParseError):
        return None


def _unit(name):
    return MICROMETRES[str(name).replace("\\u00B5", "µ").replace("\u03bc", "µ").strip().lower()]


def voxel_size_of(value, what="voxel_size"):
    """A voxel size as a tuple of three floats, or UserError; ``what`` is the name of the parameter."""
    try:
        size = () if isinstance(value, str) else tuple(float(v) for v in value)
    except (TypeError, ValueError):
        size = ()
    if len(size) != 3 or not all(0 < v < np.inf for v in size):
        raise UserError(
            f"{what} must be three positive numbers (z, y, x) in µm, such as (5, 5, 5), not {value!r}"
        )
    return size
