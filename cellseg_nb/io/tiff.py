"""What is inside a TIFF: opened, sized up and decoded, with one clear line for every way it can be wrong.

`cellseg_nb.io.volumes` is the door to this module: use `volumes.read` and `volumes.write`.
"""

import contextlib
import logging

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import axes, units
from cellseg_nb.io.files import reason

# The most a codec (TIFF's number for it) can shrink data: a file that declares more was cut or made up.
MOST_SHRINKING = {1: 1, 5: 2800, 8: 1040, 32946: 1040, 32773: 64}


def load(path, channel, quiet=False, turn=True):
    """An array (Z, Y, X) or of fewer axes, in native byte order, and its voxel size in µm or None.

    ``path`` is a Path. What a reader should know is printed, a line each: axes without names, a unit that is
    unknown (not where ``quiet``, since a voxel size was given), an image stored white on black, which is
    turned round (``turn``; labels are not). Raises UserError for whatever is wrong with the file; sizes are
    checked first.
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
        with quiet_tifffile() as complaints:
            array, size, (unnamed, unit, white) = _decode(path, channel, complaints)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: check the spelling, or upload the file first") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({reason(error)}): check its permissions and the disk"
        ) from error
    except MemoryError as error:
        raise UserError(f"{path} does not fit in memory: crop it, or read a part of it") from error
    except Exception as error:  # tifffile and the codecs raise a zoo of types for damaged files
        raise UserError(
            f"{path} is damaged or of an unknown kind ({reason(error)}): copy it again, or "
            "open it in Fiji and save it as TIFF"
        ) from error
    if white:
        array, negative = _turned(array, turn)
    for word in filter(None, (unnamed, "" if quiet else unit, negative if white else "")):
        print(f"{path.name}: {word}")
    return array, size


def _turned(array, turn):
    """An array whose 0 is white, with 0 black, and a word on it."""
    said = "its header says that 0 is white (MINISWHITE)"
    if not turn or array.dtype.kind not in "bu":
        return array, f"{said}: read with its numbers as they are"
    top = np.iinfo(array.dtype).max if array.dtype.kind == "u" else True
    return top ^ array, f"{said}: turned round, so that bright is high"


@contextlib.contextmanager
def quiet_tifffile():
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
        index, order, unnamed = axes.zyx(path, series.shape, series.axes, channel)
        _check_size(path, series)
        array = series.asarray().reshape(series.shape)[index].transpose(order)
        size, unit = units.stored(tif)
        white = getattr(series.keyframe, "photometric", 1) == 0
        return array.astype(array.dtype.newbyteorder("="), copy=False), size, (unnamed, unit, white)


def _truncated(path):
    return f"{path} is truncated: it declares more data than it holds; copy or download it again"


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
            "free: crop it, use larger voxels, or read a part of it"
        )
