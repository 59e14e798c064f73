"""One volume out of any file that is read: what is meant is chosen, sized up and read in blocks.

`cellseg_nb.io.volumes` is the door to this module: use `volumes.read`.
"""

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import axes as letters, formats, parts, units
from cellseg_nb.io.files import reason

SIGNED = (-32768, 1)  # how ImageJ keeps 16 bits with a sign: also the numbers of labels
FALLS = (
    ", which falls, so that what is bright in Fiji is dark here: if that is not meant, take it away in Fiji "
    "(Analyze > Calibrate... > None), and save again"
)
BLOCKS = "notebook 09, which reads a volume block by block"


def load(
    path,
    channel=None,
    timepoint=None,
    series=None,
    level=None,
    axes=None,
    quiet=False,
    turn=True,
    convert=None,
):
    """An array (Z, Y, X) or of fewer axes, in native byte order, and its voxel size in µm or None.

    ``path`` is a Path; ``axes`` are letters that count more than the file's. What a reader should know is
    printed, a line each: axes without names, a unit that is unknown (not where ``quiet``, since a voxel size
    was given), an image stored white on black, which is turned round (``turn``; labels are not).
    ``convert(block, z)`` is as for `cellseg_nb.io.parts.array`. Raises UserError for whatever is wrong with
    the file; sizes are checked first.
    """
    with_words = _guarded(path, lambda: _read(path, channel, timepoint, series, level, axes, turn, convert))
    array, image, unnamed, negative = with_words
    sized = "" if quiet else image.word or units.doubt(image.size)
    for word in filter(None, (unnamed, sized, image.note, negative)):
        print(f"{path.name}: {word}")
    return array, image.size


def look(path):
    """What a file holds, as a list of `cellseg_nb.io.parts.Image` that can no longer be read. Raises "
    "UserError."""

    def look_in():
        with formats.reader(path)(path) as images:
            return list(images)

    return _guarded(path, look_in)


def _guarded(path, call):
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(f"{path} is not a regular file: give a file")
        if path.is_file() and path.stat().st_size == 0:
            raise UserError(f"{path} is empty (0 bytes): copy or export it again")
        if path.is_symlink() and not path.exists():
            raise UserError(
                f"{path} is a link to {path.readlink()}, which is not there: copy the file itself"
            )
        if not path.exists():
            path.stat()
        if path.is_file():
            _check_text(path)
            formats.check_inside(path)
        return call()
    except UserError:
        raise
    except FileNotFoundError as error:
        if path.exists():
            raise UserError(
                f"{path} lacks a part ({reason(error)}): copy it again, whole, with the files that go with it"
            ) from error
        raise UserError(f"{path} does not exist: check the spelling, or upload the file first") from error
    except MemoryError as error:
        raise UserError(f"{path} does not fit in memory: {_smaller(path)}") from error
    except OSError as error:
        if error.errno is None:
            raise _damaged(path, error) from error
        raise UserError(
            f"{path} cannot be read ({reason(error)}): check its permissions and the disk"
        ) from error
    except Exception as error:  # libraries raise a zoo of types for damaged files
        raise _damaged(path, error) from error


def _check_text(path):
    """UserError for what a broken download leaves under the name of a volume."""
    with open(path, "rb") as file:
        head = file.read(64).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        raise UserError(
            f"{path} is a web page, not the file that its name says: download the file itself again"
        )
    if head.startswith(b"version https://git-lfs.github.com"):
        raise UserError(
            f"{path} is a pointer of Git LFS, not the file itself: run git lfs pull, or download it"
        )


def _damaged(path, error):
    return UserError(
        f"{path} is damaged or of an unknown kind ({reason(error)}): copy it again, or open it in Fiji and "
        f"save "
        "it as TIFF"
    )


def _read(path, channel, timepoint, series, level, axes, turn, convert):
    with formats.reader(path)(path) as images:
        if not images:
            raise UserError(f"{path} holds no image: export it again")
        image = parts.chosen(path, images, series, level)
        if axes:
            image = _named(path, image, str(axes).upper())
        negative = ""
        if image.palette and turn:
            negative = "its numbers are places in a palette of colours, read as brightness: is it the image?"
        line = image.line if turn or image.line and image.line[:2] == SIGNED else None
        said = ""
        if line:
            convert, said = _calibrated(line, convert)
            said += FALLS if line[1] < 0 and not image.white else ""
        if image.white and not (line and line[1] < 0):  # a line that falls turns it round
            convert, negative = _turning(image.dtype, image.white, turn, convert)
        negative = "; ".join(filter(None, (negative, said)))
        where, _, _ = letters.zyx(path, image.shape, image.axes, channel, timepoint, image.channels)
        sizes = [n for n, one in zip(image.shape, where) if isinstance(one, slice)]
        stored = max(4, np.dtype(image.dtype).itemsize) if convert is None else 4
        check_memory(path, _smaller(path), 1.2 * stored * float(np.prod(sizes, dtype=float)))
        array, word = parts.array(path, image, channel, timepoint, convert)
        return array.astype(array.dtype.newbyteorder("="), copy=False), image, word, negative


def _named(path, image, axes):
    long = [n for n in image.shape if n != 1]
    shape = image.shape
    if len(axes) == len(long) != len(shape):
        read, index = image.read, [0 if n == 1 else slice(None) for n in shape]

        def squeezed(part):
            left = iter(part)
            return read(tuple(0 if one == 0 else next(left) for one in index))

        image = image._replace(read=squeezed, shape=tuple(long))
    if len(axes) != len(image.shape) or len(set(axes)) != len(axes) or not set(axes) <= set("TCZYX"):
        raise UserError(
            f"{path} has shape {tuple(image.shape)}: axes must be one letter of T, C, Z, Y, X for each, "
            f"not {axes!r}"
        )
    return image._replace(axes=axes)


def _turning(dtype, top, turn, convert):
    """A ``convert`` that turns an image round whose 0 is white and ``top`` black, and a word on it."""
    said = "its header says that 0 is white (MINISWHITE)"
    if not turn or dtype.kind not in "bu" or dtype.itemsize > 2:  # float32 could not tell the numbers apart
        return convert, f"{said}: read with its numbers as they are"
    top = dtype.type(top)
    after = convert or (lambda block, z: block)
    return (lambda block, z: after(top ^ block, z)), f"{said}: turned round, so that bright is high"


def _calibrated(line, convert):
    """A ``convert`` that gives grey values as ImageJ shows them, and a word on it."""
    offset, slope, clip = line
    after = convert or (lambda block, z: block)

    def calibrate(block, z):
        values = (offset + slope * block.astype(float)).astype(np.float32)
        return after(np.maximum(values, 0) if clip else values, z)

    word = f"ImageJ's calibration of its grey values is applied: {offset:g} + {slope:g} x number"
    return calibrate, "" if line[:2] == SIGNED else word


def _smaller(path):
    """What to do with a file that is too large."""
    kind = formats.of(path)
    if path.is_dir() or kind is None or kind is formats.FORMATS[0]:
        return f"crop it, or take it to {BLOCKS}"
    return f"crop it, or save it as TIFF with the program that wrote it and take that to {BLOCKS}"


def check_memory(name, remedy, needed):
    """Raise UserError, with what to do, when ``needed`` bytes are more than this machine has free."""
    import psutil

    free = psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"{name} needs {needed / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are free: {remedy}"
        )
