"""A folder of single planes, read as one volume: img_z000.tif, img_z001.tif, ..."""

import contextlib
import re

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import tiff, units, writers
from cellseg_nb.io.parts import Image

FEWEST = 3  # planes that make a stack
NUMBER = re.compile(r"\d+")
TIME = re.compile(r"(?:^|[ _.-])(t|time|frame|timepoint)[ _-]?$", re.IGNORECASE)


def _numbers(path):
    return [int(one) for one in NUMBER.findall(path.stem)]


def files(place):
    """The TIFFs of a folder that might be planes, sorted, and which number in their names counts them.

    Their names differ in that number alone. Empty, and None, where they do not.
    """
    found = [
        f
        for f in place.iterdir()
        if f.suffix.lower() in (".tif", ".tiff") and f.name[0] != "." and f.is_file()
    ]
    if len(found) < FEWEST or len({NUMBER.sub("#", f.stem) for f in found}) != 1:
        return [], None
    columns = list(zip(*map(_numbers, found)))
    varying = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    if len(varying) != 1 or len(set(columns[varying[0]])) != len(found):
        return [], None
    return sorted(found, key=lambda f: _numbers(f)[varying[0]]), varying[0]


def flat(path):
    """Whether a TIFF holds one plane only."""
    import tifffile

    try:
        with tiff.quiet_tifffile() as complaints, tifffile.TiffFile(path) as tif:
            one = tif.series[0]
            long = [axis for axis, n in zip(one.axes, one.shape) if n > 1 and axis != "S"]
            found = len(tif.pages) == 1 and len(long) <= 2
            return found and not tiff.fault(path, complaints)  # a cut stack may show its first plane alone
    except Exception:  # what is wrong with a file is said when it is read
        return False


def only(place):
    """Whether a folder holds the planes of one stack, and no other TIFF."""
    found, _ = files(place)
    return bool(found) and all(flat(file) for file in found)


@contextlib.contextmanager
def images(place):
    """The stack as one `cellseg_nb.io.parts.Image`. Raises UserError for time points and planes that "
    "differ."""
    found, which = files(place)
    if TIME.search(found[0].stem[: list(NUMBER.finditer(found[0].stem))[which].start()]):
        raise UserError(
            f"{place} holds planes named as time points ({found[0].name}, ...): give a z stack, or rename "
            f"them if "
            "they are slices (such as z000.tif)"
        )
    with tiff.images(found[0]) as first:
        one = first[0]
        shape, letters = one.shape, one.axes
        white, palette, dtype, line = one.white, one.palette, one.dtype, one.line
    size, word = sized(found)
    numbers = [_numbers(file)[which] for file in found]
    steps = set(np.diff(numbers).tolist())
    said = [f"{len(found)} planes, read as one volume in the order of their numbers"]
    if len(steps) > 1:
        gap = next(a for a, b in zip(numbers, numbers[1:]) if b - a > min(steps))
        said.append(f"numbers are missing after {gap}: the volume is read as if no plane were")

    def read(index):
        picked = np.arange(len(found))[index[0]]
        planes = [_plane(found[i], shape, dtype, place) for i in np.ravel(picked)]
        stacked = np.stack(planes)
        return (stacked if np.ndim(picked) else stacked[0])[
            (slice(None),) * np.ndim(picked) + tuple(index[1:])
        ]

    yield [
        Image(
            place.name,
            "Z" + letters,
            (len(found), *shape),
            dtype,
            read,
            size,
            word,
            white=white,
            palette=palette,
            line=line,
            note="; ".join(said),
        )
    ]


def sized(found):
    """Voxel size of the stack of these planes, or None, and a word: what the first states, or a file beside
    it."""
    import tifffile

    with tiff.quiet_tifffile(), tifffile.TiffFile(found[0]) as tif:
        size, word = writers.whole(tif)
    if size is None:
        size, told = writers.beside(found[0].parent, len(found))
        word = told or word
    if size is None and not word:
        word = f"how far apart its planes are is not known: {units.GIVE}"
    return size, word


def _plane(path, shape, dtype, place):
    with tiff.images(path) as (one, *_):
        if one.shape != shape or one.dtype != dtype:
            raise UserError(
                f"{place} holds planes that differ: {path.name} is {one.shape} {one.dtype}, the first "
                f"{shape} "
                f"{dtype}: keep only the planes of one stack in the folder"
            )
        return one.read((slice(None),) * len(shape))
