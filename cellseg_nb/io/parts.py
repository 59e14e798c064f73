"""What every reader makes of a file: a list of images, of which one time point and channel is read in blocks.

A reader is a context manager ``images(path)`` that gives a list of `Image`; `cellseg_nb.io.formats` knows
which reader is for which file. Nothing large is read before `array`.
"""

from collections import namedtuple

import numpy as np

from cellseg_nb import runtime
from cellseg_nb.errors import UserError
from cellseg_nb.io import axes
from cellseg_nb.io.axes import Several

# name; axes: a letter an axis, T C Z Y X S(colours), others for axes without a name; shape; dtype;
# read(index): the array of a tuple of numbers and slices, one an axis; size: voxel size (z, y, x) in µm or
# None; word: what is to be said of it, or ""; channels: their names; levels: further Images, each smaller;
# step: planes that are best read at a time; white: the number that is black where 0 is white, else 0;
# note: what is odd about its voxels, or "" (``word`` is on their size); palette: its numbers mean colours;
# line: (a, b, clip) where a + b x (not below 0 with ``clip``) is meant by the number x, or None.
Image = namedtuple(
    "Image",
    "name axes shape dtype read size word channels levels step white note palette line",
    defaults=(None, "", (), (), 1, 0, "", False, None),
)
SHOWN = 2e8  # bytes: reading more than these takes seconds, and shows its progress


def stack(image):
    """Whether an image has three axes or more that are longer than 1, colours not counted."""
    return sum(n > 1 for n, axis in zip(image.shape, image.axes) if axis != "S") > 2


def chosen(path, images, series=None, level=None):
    """The one image meant. ``series``: its number or name; ``level``: 0 is the finest, the next are smaller.

    Without ``series``, the only stack there is. Raises `Several`, with a list, where there is more than one,
    and UserError for what is not there.
    """
    image = images[0] if len(images) == 1 and series in (None, "") else _by_name(path, images, series)
    if not level:
        return image
    there = (image, *image.levels)
    whole = isinstance(level, (int, np.integer)) and not isinstance(level, bool) and level >= 0
    if not whole or level >= len(there):
        held = ", ".join(f"{i} {one.shape}" for i, one in enumerate(there))
        raise UserError(
            f"{path} has {len(there)} resolution levels: level must be from 0 to {len(there) - 1}, not "
            f"{level!r}; there are {held}"
        )
    return there[level]


def _by_name(path, images, series):
    held = ", ".join(f"{i} {one.name!r} {tuple(one.shape)}" for i, one in enumerate(images[:12]))
    held += f" and {len(images) - 12} more" if len(images) > 12 else ""
    if series in (None, ""):
        stacks = [image for image in images if stack(image)]
        if len(stacks) == 1:
            return stacks[0]
        what = f"holds {len(images)} separate images"
        if not stacks:
            raise UserError(f"{path} {what}, and none is a stack of z slices: give one; there are {held}")
        raise Several(path, what, "series", held=held)
    names = [image.name for image in images]
    text = str(series).strip()
    if names.count(text) == 1:
        return images[names.index(text)]
    if text.isdecimal() and int(text) < len(images):
        return images[int(text)]
    raise UserError(
        f"{path} holds no series {text!r}: series must be a number from 0 to {len(images) - 1}, or a name; "
        f"there are {held}"
    )


def array(path, image, channel=None, timepoint=None, convert=None):
    """The (Z, Y, X) array of an image, or one of fewer axes, and a word or "".

    Read in blocks of planes into the array that is returned, so that little more than that is ever in memory.
    ``convert(block, z)`` may change the type of the block that begins at plane ``z``. Raises UserError.
    """
    index, order, word = axes.zyx(path, image.shape, image.axes, channel, timepoint, image.channels)
    convert = convert or (lambda block, z: block)
    if len(order) != 3 or image.shape[-1] == 0:
        whole = convert(image.read(index), 0)
        return whole.transpose(order) if whole.ndim == len(order) else whole, word
    where = [i for i, one in enumerate(index) if isinstance(one, slice)]
    z = where[order[0]]
    shape = tuple(image.shape[where[i]] for i in order)
    # Where z is not the slowest axis, a block would be a read of everything.
    step = image.step if z == min(where) or image.step > 1 else shape[0]
    starts = range(0, shape[0], max(1, step))
    if np.prod(shape, dtype=float) * image.dtype.itemsize > SHOWN:
        starts = runtime.progress(starts, desc=f"Reading {path.name}", unit="planes", unit_scale=step)
    result = None
    for start in starts:
        part = slice(start, min(start + step, shape[0]))
        block = image.read(tuple(part if i == z else one for i, one in enumerate(index)))
        block = convert(block.transpose(order), start)
        if result is None:
            result = np.empty(shape, block.dtype.newbyteorder("="))
        result[part] = block
    return result, word
