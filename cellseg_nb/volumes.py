"""Volumes: find, read, check and write them; remap, clip, cut into cubes, resample.

Axes are always (Z, Y, X), voxel sizes (z, y, x) in µm. Whatever is wrong with a file is told in one line (UserError)
before anything large is allocated, and files are written beside and renamed, so that none is ever left half-written.
"""

import contextlib
import errno
import json
import logging
import os
import re
import uuid
import warnings
from pathlib import Path

import numpy as np

from .errors import UserError

MICROMETRES = {"µm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0,
               "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25400.0, "in": 25400.0}
# The most a codec (TIFF's number for it) can shrink data: a file that declares more was cut or made up.
MOST_SHRINKING = {1: 1, 5: 2800, 8: 1040, 32946: 1040, 32773: 64}


# ---------------------------------------------------------------- reading

def find(path):
    """The TIFFs at a path: the file itself, or every .tif and .tiff of a folder (not of its subfolders) in natural
    order (c2 before c10). Hidden files are left out. Raises UserError for a missing path or a folder without TIFFs."""
    path = _path(path)
    try:
        if path.is_file():
            return [path]
        if not path.exists():
            raise UserError(f"{path} does not exist: check the spelling, or upload the file first")
        files = [f for f in path.iterdir() if f.suffix.lower() in (".tif", ".tiff") and f.name[0] != "." and f.is_file()]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({_reason(error)}): check its permissions") from error
    if not files:
        raise UserError(f"{path} holds no TIFF (.tif or .tiff): give a TIFF file, or the folder that holds them")
    return sorted(files, key=lambda f: [int(part) if i % 2 else part.lower()
                                        for i, part in enumerate(re.split(r"(\d+)", f.name))])


def read(path, channel=None, voxel_size=None, minimum=16):
    """Read a volume from a TIFF: plain, multi-page, BigTIFF, ImageJ or OME, compressed or not.

    Parameters
    ----------
    path : path of a TIFF file
    channel : int or None
        The channel to take (0 is the first) where there are several, in CZYX or ZCYX order.
    voxel_size : (z, y, x) in µm or None
        Counts more than what the file says.
    minimum : int
        Smallest side allowed, in voxels (the side of one cube).

    Returns the volume, (Z, Y, X) float32, C-contiguous, and its voxel size (z, y, x) in µm, None where unknown.
    Raises UserError for a file that cannot be read or is no such volume (see `check`).
    """
    path = _path(path)
    given = None if voxel_size is None else _voxel_size(voxel_size)
    array, found = _load(path, channel)
    return check(array, path, minimum), given or found


def read_labels(path):
    """Read labels from a TIFF: (Z, Y, X) int32, 0 = background, and the voxel size (z, y, x) in µm or None.

    More than 65,535 cells are fine; so are whole numbers stored as float. Raises UserError like `read`, and for labels
    that are fractions, negative or above 2,147,483,647.
    """
    path = _path(path)
    labels, voxel_size = _load(path, None)
    labels = _three_axes(labels, path, 1)
    if labels.dtype.kind not in "buif":
        raise UserError(f"{path} holds {labels.dtype} values: labels must be whole numbers; save them as 16-bit or 32-bit")
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
        raise UserError(f"{path} holds numbers that are not whole, so these are not labels: give the label file, "
                        "not the image or the probability")
    if labels.min() < 0:
        raise UserError(f"{path} holds negative labels (down to {labels.min():g}): set them to 0, the background")
    if labels.max() > 2**31 - 1:
        raise UserError(f"{path} holds labels up to {labels.max():g}, above 2147483647: number the cells from 1 again")
    return np.ascontiguousarray(labels, dtype=np.int32), voxel_size


def check(volume, name="volume", minimum=16):
    """The volume as C-contiguous float32 (Z, Y, X), if it is one; axes of length 1 around it are dropped.

    Raises UserError for 2D, RGB, 4D, 5D; values that are not real numbers; NaN or infinite voxels; one value
    throughout; a side below ``minimum`` voxels. ``name`` is what the message calls it, mostly the file.
    """
    volume = np.asarray(volume)
    if volume.dtype.kind not in "buif":
        raise UserError(f"{name} holds {volume.dtype} values: a volume must hold real numbers; "
                        "save the intensity as 8-bit, 16-bit or 32-bit")
    volume = _three_axes(volume, name, minimum)
    if min(volume.shape) < minimum:
        raise UserError(f"{name} has shape {volume.shape}, smaller than one cube of {minimum} voxels a side: "
                        "use a smaller cube or a larger volume")
    _check_finite(volume, name, "NaN or infinite")
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(volume, dtype=np.float32)
    if volume.dtype.kind == "f" and volume.dtype.itemsize > 4:
        _check_finite(converted, name, "too large for float32")
    if converted.min() == converted.max():
        raise UserError(f"{name} has the same value ({converted.flat[0]:g}) in every voxel: export the image again, "
                        "there is nothing to segment")
    return converted


def _check_finite(volume, name, what):
    finite = np.isfinite(volume)
    if not finite.all():
        first = tuple(int(i) for i in np.unravel_index(np.argmin(finite), finite.shape))
        raise UserError(f"{name} holds {finite.size - np.count_nonzero(finite)} voxels that are {what}, the first at "
                        f"(z, y, x) = {first}: replace them (in Fiji: Process > Math > NaN Background, or 0)")


def _three_axes(array, name, minimum):
    if array.ndim != 3:
        array = array.reshape([n for n in array.shape if n != 1] or [1])
    if array.ndim >= 3 and array.shape[-1] in (3, 4) and (array.ndim > 3 or array.shape[-1] < minimum):
        raise UserError(_rgb(name, array.shape))
    if array.ndim < 3 or (min(array.shape) == 1 and minimum > 1):
        raise UserError(f"{name} is 2D or less (shape {array.shape}): give a stack of z slices in one file")
    if array.ndim == 4:
        raise UserError(f"{name} is 4D (shape {array.shape}): give one channel, a (Z, Y, X) array")
    if array.ndim > 4:
        raise UserError(_hyperstack(name, array.shape))
    if array.size == 0:
        raise UserError(f"{name} is empty (shape {array.shape}): give a volume with voxels in it")
    return array


def _rgb(name, shape):
    return (f"{name} is a colour (RGB) image of shape {tuple(shape)}: convert it to grey (Fiji: Image > Type > 16-bit) "
            "or, in a file, choose one colour with channel=0 (on the command line: -p channel 0)")


def _hyperstack(name, shape):
    return (f"{name} is a {len(shape)}D hyperstack of shape {tuple(shape)}: save one time point and one channel as a "
            "z stack (Fiji: Image > Duplicate...)")


def _load(path, channel):
    """Array of three axes or fewer, native byte order, and voxel size or None, from a TIFF whose size was checked."""
    if channel is not None and (isinstance(channel, bool) or not isinstance(channel, (int, np.integer)) or channel < 0):
        raise UserError(f"channel must be a whole number from 0, or None, not {channel!r} (for {path})")
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
        raise UserError(f"{path} cannot be read ({_reason(error)}): check its permissions and the disk") from error
    except MemoryError as error:
        raise UserError(f"{path} does not fit in memory: crop it, or use the whole-brain notebook") from error
    except Exception as error:  # tifffile and the codecs raise a zoo of types for damaged files
        raise UserError(f"{path} is damaged or of an unknown kind ({_reason(error)}): copy it again, or open it in "
                        "Fiji and save it as TIFF") from error


@contextlib.contextmanager
def _quiet_tifffile():
    """Collect what tifffile logs: to a user it is noise, to us the only sign that a chain of pages was cut."""
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
        raise UserError(f"{path} is not a TIFF file: export it as TIFF (Fiji: File > Save As > Tiff...)") from error
    with tif:
        # Walks the whole chain of pages, so that a cut is noticed.
        pages, found = len(tif.pages), tif.series
        if any("corrupt" in line or "offset" in line for line in complaints):
            raise UserError(_truncated(path))
        if len(found) > 1 and not flags and {s.ndim for s in found} == {2} and len({(s.shape, s.dtype) for s in found}) == 1:
            # Slices written one by one: every page calls itself a series of its own.
            return _decode(path, channel, complaints, is_shaped=False, is_ome=False)
        stacks = [s for s in found if sum(n > 1 for n in s.shape) > 2] or found[:1]
        if len(stacks) != 1 or (len(found) > 1 and stacks[0].ndim < 3):
            shapes = ", ".join(str(s.shape) for s in found[:4])
            raise UserError(f"{path} holds {len(found)} separate images in {pages} pages (shapes {shapes}...): "
                            "save the one you want as its own file")
        series = stacks[0]
        index = _axes(path, series.shape, series.axes, channel)
        _check_size(path, series)
        array = series.asarray().reshape(series.shape)[index]
        return array.astype(array.dtype.newbyteorder("="), copy=False), _stored_voxel_size(tif)


def _truncated(path):
    return f"{path} is truncated: it declares more data than it holds; copy or download it again"


def _axes(path, shape, axes, channel):
    """Index that takes Z, Y, X out of the axes of a file, or UserError. Only looks at shapes: nothing is read yet."""
    index = [0 if n == 1 else slice(None) for n in shape]
    long = [i for i, n in enumerate(shape) if n != 1]
    sizes = tuple(shape[i] for i in long)
    if len(long) > 4:
        raise UserError(_hyperstack(path, sizes))
    named = {axes[i]: i for i in long}
    if "T" in named:
        raise UserError(f"{path} is a time series of {shape[named['T']]} time points: save one of them as a z stack (Fiji: "
                        "Image > Duplicate...); if they are z slices, swap z and t (Fiji: Image > Properties...)")
    pick = named.get("C", named.get("S"))
    if pick is None and len(long) == 4:
        smallest, second = sorted(long, key=lambda i: shape[i])[:2]
        if 2 * shape[smallest] > shape[second]:
            raise UserError(f"{path} has four axes {sizes} and none is clearly the channels: save one channel as a z stack")
        pick = smallest
    if pick is None:
        if channel:
            raise UserError(f"{path} has one channel only, so channel={channel} does not exist: use channel=0")
        return tuple(index)
    if channel is None and axes[pick] == "S" and shape[pick] in (3, 4):
        raise UserError(_rgb(path, sizes))
    if len(long) < 4:
        raise UserError(f"{path} is 2D with {shape[pick]} channels (shape {sizes}): give a stack of z slices; "
                        "if the channels are slices, say so in Fiji (Image > Properties...)")
    if channel is None:
        raise UserError(f"{path} has {shape[pick]} channels (axis {long.index(pick)} of shape {sizes}): choose one with "
                        "channel=0 (on the command line: -p channel 0)")
    if channel >= shape[pick]:
        raise UserError(f"{path} has {shape[pick]} channels: channel must be from 0 to {shape[pick] - 1}, not {channel}")
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
                raise UserError(f"{path} lacks planes that its header names: copy it again, with the files that go with it")
            held = sum(page.databytecounts)
            complete &= first.size * first.bitspersample / 8 <= held * MOST_SHRINKING.get(first.compression, 40000)
            complete &= all(offset + count <= page.parent.filehandle.size
                            for offset, count in zip(page.dataoffsets, page.databytecounts))
    if not complete:
        raise UserError(_truncated(path))
    _check_memory(path, series.nbytes + 4 * series.size)


def _check_memory(name, needed):
    import psutil

    free = psutil.virtual_memory().available
    if needed > free:
        raise UserError(f"{name} needs {needed / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are free: crop it, "
                        "use larger voxels, or use the whole-brain notebook")


def _stored_voxel_size(tif):
    """(z, y, x) in µm from OME or ImageJ metadata, or from `write`; None where any of the three is missing."""
    from xml.etree import ElementTree

    try:
        if tif.is_ome:
            pixels = ElementTree.fromstring(tif.ome_metadata).find(".//{*}Pixels")
            return _voxel_size([float(pixels.get(f"PhysicalSize{a}")) * _unit(pixels.get(f"PhysicalSize{a}Unit", "µm"))
                                for a in "ZYX"])
        stored = tif.imagej_metadata or (tif.shaped_metadata or [{}])[0]
        tags = tif.pages[0].tags
        y, x = (tags[name].value[1] / tags[name].value[0] for name in ("YResolution", "XResolution"))
        # ImageJ leaves the spacing out when it is 1.
        return _voxel_size([abs(stored.get("spacing", 1.0)) * _unit(stored["unit"]), y * _unit(stored["unit"]),
                            x * _unit(stored["unit"])])
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError, ElementTree.ParseError):
        return None


def _unit(name):
    return MICROMETRES[str(name).replace("\\u00B5", "µ").replace("\u03bc", "µ").strip().lower()]


def _voxel_size(value, what="voxel_size"):
    try:
        size = tuple(float(v) for v in value)
    except (TypeError, ValueError):
        size = ()
    if len(size) != 3 or not all(0 < v < np.inf for v in size):
        raise UserError(f"{what} must be three positive numbers (z, y, x) in µm, such as (5, 5, 5), not {value!r}")
    return size


# ---------------------------------------------------------------- writing

def write(path, array, voxel_size=None, compress=False):
    """Write a (Z, Y, X) array as a TIFF that Fiji and napari open with its voxel size (z, y, x) in µm.

    Floats are stored as float32; whole numbers as uint8 (bool and uint8) or uint16, negative ones as float32; all in
    ImageJ's format. ImageJ's format has no 32-bit integers: labels above 65,535 go into a plain uint32 TIFF (a BigTIFF
    above 4 GB) with the same metadata, which `read_labels` and napari read. ``compress`` uses zlib.
    The file appears whole or not at all. Raises UserError for another shape or type, or when it cannot be written.
    """
    import tifffile

    array = np.asarray(array)
    if array.ndim != 3 or array.size == 0 or array.dtype.kind not in "buif":
        raise UserError(f"{path} cannot hold an array of shape {array.shape} and type {array.dtype}: "
                        "give a (Z, Y, X) array of real numbers")
    array = _storable(array, path)
    options = {}
    if voxel_size is not None:
        z, y, x = _voxel_size(voxel_size)
        options = {"resolution": (1 / x, 1 / y), "resolutionunit": "NONE"}
    metadata = {"axes": "ZYX"} | ({"spacing": z, "unit": "micron"} if options else {})
    # ImageJ's format reaches beyond 4 GB only where the planes lie one after the other, uncompressed.
    small = array.nbytes < 3.9e9
    with atomic(path) as beside, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*truncating ImageJ file")
        tifffile.imwrite(beside, array, imagej=array.dtype != np.uint32, photometric="minisblack", metadata=metadata,
                         compression="zlib" if compress and small else None, **options)


def _storable(array, path):
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    low, high = int(array.min()), int(array.max())
    if low < 0 and max(-low, high) <= 2**24:  # exact in float32
        return array.astype(np.float32)
    if low < 0 or high >= 2**32:
        raise UserError(f"{path} cannot hold whole numbers from {low} to {high}: number the labels from 0 again")
    if array.dtype == np.uint8:
        return array
    return array.astype(np.uint16 if high <= 65535 else np.uint32)


@contextlib.contextmanager
def atomic(path):
    """``with atomic(path) as beside:`` write the file ``beside``; it becomes ``path`` when all went well.

    The folder is made if need be. When anything fails, ``beside`` is removed and an older ``path`` stays as it was; a
    full disk, a read-only folder and the like raise UserError, other exceptions pass.
    """
    path = _path(path)
    target = Path(os.path.realpath(path))  # a link keeps pointing where it did
    beside = target.with_name(f".{uuid.uuid4().hex[:8]}-{target.name[-200:]}")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "the file that is there is read-only")
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.touch(exist_ok=False)
        yield beside
        with open(beside, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        # torch and safetensors report a full disk with exceptions of their own.
        foreign = isinstance(error, Exception) and re.search("inline_container|os error", str(error))
        if isinstance(error, OSError) or foreign:
            full = foreign or error.errno in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            remedy = "free some space, or choose another folder" if full else "choose a folder you may write to"
            raise UserError(f"{path} could not be written ({_reason(error)}): {remedy}; "
                            "nothing was changed") from error
        raise


def write_json(path, obj):
    """Write JSON, atomically. numpy numbers and arrays, and paths, become numbers, lists and text."""
    def plain(value):
        if isinstance(value, (np.generic, np.ndarray)):
            return value.tolist()
        if isinstance(value, Path):
            return str(value)
        raise TypeError(f"{path}: cannot write {type(value).__name__} as JSON")

    text = json.dumps(obj, indent=1, ensure_ascii=False, default=plain)
    with atomic(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def write_table(path, dataframe, index=False):
    """Write a pandas table as CSV, atomically. ``index=True`` keeps the row names as the first column."""
    with atomic(path) as beside:
        dataframe.to_csv(beside, index=index)


def writable_folder(path):
    """The folder, made if need be. Raises UserError when it is a file, or nothing can be written in it."""
    path = _path(path)
    probe = path / f".{uuid.uuid4().hex[:8]}-probe"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{path} cannot be the output folder, since a file is in the way: choose another folder") from error
    except OSError as error:
        raise UserError(f"{path} cannot be written ({_reason(error)}): choose another output folder") from error
    return path


def _path(path):
    if not str(path or "").strip():
        raise UserError("no path was given: name a file or a folder")
    return Path(path).expanduser()


def _reason(error):
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0][:200]


# ---------------------------------------------------------------- changing

def remap(volume, low=0.0, high=100.0, percentiles=None):
    """Intensities mapped linearly to [low, high], as float32 of the same shape.

    From minimum and maximum, or from two ``percentiles`` such as (1, 99): what lies beyond them is clipped.
    A constant array becomes ``low``.
    """
    volume = np.asarray(volume)
    bottom, top = _percentiles(volume, *percentiles) if percentiles else (float(volume.min()), float(volume.max()))
    if bottom == top:
        return np.full(volume.shape, low, np.float32)
    remapped = np.empty(volume.shape, np.float32)
    for plane, out in zip(volume, remapped):  # plane by plane: float64 of a whole volume would take twice the memory
        out[...] = np.interp(plane, (bottom, top), (low, high))
    return remapped


def percentile_clip(volume, low=1.0, high=99.0):
    """Intensities below the ``low`` and above the ``high`` percentile set to these, as float32 of the same shape."""
    volume = np.asarray(volume)
    return np.clip(volume, *_percentiles(volume, low, high)).astype(np.float32)


def _percentiles(volume, low, high):
    if not 0 <= low < high <= 100:
        raise UserError(f"percentiles must be two numbers from 0 to 100, the lower first, not {low} and {high}")
    return tuple(float(v) for v in np.percentile(volume, (low, high)))


def cubes(volume, size=64, step=None):
    """Slices that cut a volume into cubes of ``size`` voxels a side, in reading order.

    They start every ``step`` voxels (default: ``size``) and cover the volume; the last ones are shifted inward, so that
    all are full; along an axis shorter than ``size`` a cube has the length of the axis. ``volume`` is an array.
    Raises UserError for a size below 1 or a step that would leave gaps.
    """
    step = size if step is None else step
    if size < 1 or not 1 <= step <= size:
        raise UserError(f"cubes need a size of at least 1 and a step from 1 to the size, not {size} and {step}")
    starts = [[*range(0, max(side - size, 0), step), max(side - size, 0)] for side in volume.shape]
    return [tuple(slice(s, min(s + size, side)) for s, side in zip(corner, volume.shape))
            for corner in np.array(np.meshgrid(*starts, indexing="ij")).reshape(volume.ndim, -1).T.tolist()]


def rescale(volume, voxel_size, target, order=1):
    """The volume resampled to voxels of ``target`` µm: (z, y, x), or one number for all three. The type is kept.

    ``order=1`` interpolates linearly; use ``order=0`` for labels, which must not be mixed. Sides are rounded to whole
    voxels, so the voxel size reached differs a little from the target. Raises UserError for impossible voxel sizes.
    """
    from scipy import ndimage

    volume = np.asarray(volume)
    old = _voxel_size(voxel_size)
    new = _voxel_size([target] * 3 if np.isscalar(target) else target, "target")
    shape = [max(1, round(side * a / b)) for side, a, b in zip(volume.shape, old, new)]
    if tuple(shape) == volume.shape:
        return volume.copy()
    _check_memory(f"the volume resampled to {tuple(shape)} voxels", float(np.prod(shape, dtype=float)) * volume.itemsize)
    # grid_mode: voxels are boxes, not points, so the field of view stays the same.
    return ndimage.zoom(volume, [b / a for a, b in zip(volume.shape, shape)], order=order, mode="nearest", grid_mode=True)
