"""What is inside a TIFF: opened and sized up, with one clear line for every way it can be wrong.

`cellseg_nb.io.volumes` is the door to this module: use `volumes.read` and `volumes.write`.
"""

import contextlib
import logging
import operator

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import ome, writers
from cellseg_nb.io.parts import Image

# The most a codec (TIFF's number for it) can shrink data: a file that declares more was cut or made up.
MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how a TIFF begins
PALETTE = 3  # its photometric interpretation
MOST_SHRINKING = {1: 1, 5: 2800, 8: 1040, 32946: 1040, 32773: 64}


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


@contextlib.contextmanager
def images(path):
    """The series of a TIFF, as a list of `cellseg_nb.io.parts.Image`, their pyramids as levels."""
    import tifffile

    with contextlib.ExitStack() as stack:
        complaints = stack.enter_context(quiet_tifffile())
        tif = stack.enter_context(_opened(path))
        found = _series(path, tif, complaints)
        kinds = {(s.shape, s.dtype) for s in found}
        if len(found) > 1 and len(kinds) == 1 and found[0].ndim == 2:
            # Slices written one by one: every page calls itself a series of its own.
            tif = stack.enter_context(tifffile.TiffFile(path, is_shaped=False, is_ome=False))
            found = _series(path, tif, complaints)
        found = joined(found)
        # LSM has a thumbnail behind each plane, which tifffile gives as a series of its own.
        small = [getattr(s.keyframe, "is_reduced", False) for s in found]
        yield [
            _image(path, tif, number, series)
            for number, series in enumerate(found)
            if not small[number] or all(small)
        ]


def marked(path):
    """Whether a file begins as a TIFF does."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(4) in MARKS
    return False


def _opened(path):
    import tifffile

    try:
        return ome.whole(path)
    except tifffile.TiffFileError as error:
        raise UserError(
            f"{path} is not a TIFF file: export it as TIFF (Fiji: File > Save As > Tiff...)"
        ) from error


def _series(path, tif, complaints):
    _ = len(tif.pages)  # walks the whole chain of pages, so that a cut is noticed
    found = list(tif.series)  # later versions of tifffile look, and complain, only when the list is asked for
    if said := fault(path, complaints):
        raise UserError(said)
    return found


def joined(found):
    """Pages of one size and type as one series, in the order of the file: tifffile parts those that are
    compressed in different ways, or cut into other strips, and gives the others without them."""
    import tifffile

    if len(found) < 2 or any(series.kind != "generic" for series in found):
        return found
    kinds = {}
    for series in found:
        page = next(one for one in series.pages if one).aspage()
        kind = (page.shape, page.dtype, page.axes, page.photometric, page.is_reduced)
        kinds.setdefault(kind, []).append(series)
    made, by_place = [], operator.attrgetter("index")
    for (shape, dtype, axes, *_), same in kinds.items():
        pages = sorted((one.aspage() for series in same for one in series.pages if one), key=by_place)
        whole = tifffile.TiffPageSeries(pages, (len(pages), *shape), dtype, "I" + axes, kind="generic")
        made.append(whole if len(same) > 1 else same[0])
    return made


def fault(path, complaints):
    """What tifffile's complaints say of the file, in a line; empty where it is whole."""
    if any("corrupt" in line or "offset" in line for line in complaints):
        return _truncated(path)
    if any("failed to reshape" in line for line in complaints):
        return (
            f"{path} holds fewer or more planes than its header says: copy or download it again, or open it "
            "in Fiji, look whether all planes are there, and save it as TIFF"
        )
    return ""


def _image(path, tif, number, series):
    size, word = writers.stored(tif, number)
    made = [_level(path, one, _coarser(size, series, one), word, series.name) for one in series.levels]
    line, curve = calibration(tif)
    said = "; ".join(filter(None, (note(tif, series), curve)))
    names = ome.channels(tif, number)
    return made[0]._replace(levels=tuple(made[1:]), note=said, channels=names, line=line)


def note(tif, series):
    """What is odd about the voxels of a series, or ""."""
    if series.kind in ("ome", "imagej") and len(tif.series) == 1 and series.keyframe is not None:
        named = series.size // series.keyframe.size
        if len(tif.pages) > named:
            return f"holds {len(tif.pages)} planes, and its header names {named}: only those are read"
    return ""


def calibration(tif):
    """ImageJ's calibration of grey values: (offset, slope, whether below 0 is 0), or None; and a word on one
    that is no straight line. Source: ImageJ's FileOpener, setCalibration; 8 and 16 bits alone have one."""
    words = tif.imagej_metadata or {}
    if "vunit" not in words or tif.pages[0].dtype not in ("u1", "u2"):
        return None, ""
    try:
        function, offset, slope = int(words["cf"]), float(words["c0"]), float(words["c1"])
    except (KeyError, TypeError, ValueError):
        return None, ""
    if function:
        if not 0 < function <= 13 and function != 21:
            return None, ""
        return None, f"ImageJ's calibration of its grey values (cf={function}) is no line, and not applied"
    known = slope and np.isfinite([offset, slope]).all() and (offset, slope) != (0, 1)
    return ((offset, slope, str(words.get("zeroclip")).lower() == "true") if known else None), ""


def _palette(key):
    """Whether the numbers of a page are places in a palette, and not in a look-up table that gets
    brighter."""
    if key is None or key.photometric != PALETTE or key.colormap is None:
        return False
    bright = np.average(np.asarray(key.colormap, float), axis=0, weights=(0.299, 0.587, 0.114))
    inner = bright[1:-1]  # Fiji's HiLo shows the darkest and the brightest in colour
    return bool((np.diff(inner) < -0.02 * 65535).any())


def _coarser(size, full, level):
    """Voxel size of a level of a pyramid, of that of the full image."""
    if size is None or level is full or full.axes != level.axes:
        return size if level is full else None
    sides = dict(zip(full.axes, zip(full.shape, level.shape)))
    ratios = [sides[axis][0] / sides[axis][1] if axis in sides else 1 for axis in "ZYX"]
    return tuple(side * ratio for side, ratio in zip(size, ratios))


def _level(path, series, size, word, name):
    full, bits = None, 0
    if series.keyframe is not None:
        full, bits = getattr(series.keyframe, "photometric", 1), series.keyframe.bitspersample
    # Tiles and strips of a page hang together, planes do not: a few at a time.
    return Image(
        name,
        writers.letters(series),
        series.shape,
        series.dtype,
        _read(path, series),
        size,
        word,
        white=2**bits - 1 if full == 0 else 0,
        step=4,
        palette=_palette(series.keyframe),
    )


def _read(path, series):
    checked = []

    def read(index):
        if not checked:
            _check_size(path, series)
            checked.append(True)
        if series.dataoffset is not None:
            file = series.keyframe.parent
            dtype = series.dtype.newbyteorder(file.byteorder)
            # Opened for each block: what was read is given back, and not counted as ours.
            stored = np.memmap(file.filehandle.path, dtype, "r", series.dataoffset, series.shape)
            return np.array(stored[index])
        return _pages(series, index)

    return read


def _pages(series, index):
    """An index of an array whose pages lie one by one in a file; only those needed are decoded."""
    lead, count = 0, 1
    while count * series.keyframe.size < series.size and lead < len(series.shape):
        count *= series.shape[lead]
        lead += 1
    whole = count <= len(series.pages) and count * series.keyframe.size == series.size
    if not whole or getattr(series, "transform", None):
        return series.asarray().reshape(series.shape)[index]
    numbers = np.arange(count).reshape(series.shape[:lead])[tuple(index[:lead])]
    planes = [
        _decoded(series.pages[int(i)], series.keyframe).reshape(series.shape[lead:])[tuple(index[lead:])]
        for i in np.ravel(numbers)
    ]
    return np.stack(planes).reshape(*np.shape(numbers), *planes[0].shape)


def _decoded(page, first):
    file = page.parent.filehandle
    with file if file.closed else contextlib.nullcontext():
        if file.closed:  # another part of one OME-TIFF
            file.open()
        whole = page.aspage()  # of most pages tifffile takes for granted that they are like the first
        if (whole.shape, whole.dtype) != (first.shape, first.dtype):
            raise UserError(
                f"{file.path} holds pages that differ: page {page.index + 1} is {whole.shape} {whole.dtype}, "
                f"the first {first.shape} {first.dtype}: export the stack again, alone and of one size"
            )
        return page.asarray()


def _truncated(path):
    return f"{path} is truncated: it declares more data than it holds; copy or download it again"


def _check_size(path, series):
    """Refuse, before anything is allocated, a series that is larger than its file."""
    first, start = series.keyframe, series.dataoffset
    if start is not None:
        complete = start + series.nbytes <= first.parent.filehandle.size
    else:
        complete = len(series.pages) * first.size >= series.size  # of more pages, `note` tells
        for page in series.pages if complete else ():
            if page is None:
                away = ", ".join(ome.away(first.parent)[:4])
                away = f"copy {away} into its folder, under this name" if away else "copy it again"
                raise UserError(f"{path} lacks planes that its header names: {away}")
            held = sum(page.databytecounts)
            most = held * MOST_SHRINKING.get(page.keyframe.compression, 40000)
            complete &= first.size * first.bitspersample / 8 <= most
            complete &= all(
                offset + count <= page.parent.filehandle.size
                for offset, count in zip(page.dataoffsets, page.databytecounts)
            )
    if not complete:
        raise UserError(_truncated(path))
