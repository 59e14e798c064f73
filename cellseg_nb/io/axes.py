"""Which axis of an array is which: Z, Y and X taken out of what a file holds, or one clear line."""

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io.files import typed


class Several(UserError):
    """A file holds more than one volume, and which one is meant was not said. ``choice``: such as
    "channel 0"."""

    def __init__(self, path, what, *names, held=""):
        self.path, self.what, self.choice = path, what, " ".join(f"-p {name} 0" for name in names)
        words = " and ".join(f"{name}=0" for name in names)
        self.held = f"; there are {held}" if held else ""
        super().__init__(
            f"{path} {what}: choose with {words} (on the command line: {self.choice}){self.held}"
        )

    def alone(self, where="in a data set"):
        """What is said where there are no such parameters: there a file holds one volume."""
        return UserError(
            f"{self.path} {self.what}, and {where} a file holds one volume: write the one you want "
            f"into another folder, as in: cellseg-nb convert {typed(self.path)} FOLDER/NAME.tif {self.choice}"
            + self.held
        )


class Colour(Several):
    """An image is a colour image, (Z, Y, X) of several colours."""

    def __init__(self, path, sizes):
        super().__init__(path, f"is a colour (RGB) image of shape {tuple(sizes)}", "channel")
        self.args = (rgb(path, sizes),)


def rgb(name, shape, labels=False):
    """What is said of a colour image."""
    if labels:
        return (
            f"{name} is a colour (RGB) picture of shape {tuple(shape)}, not labels: export the numbers of "
            f"the "
            "cells, not their colours"
        )
    return (
        f"{name} is a colour (RGB) image of shape {tuple(shape)}: convert it to grey (Fiji: Image > "
        "Type > 16-bit) or, in a file, choose one colour with channel=0 (on the command line: -p "
        "channel 0)"
    )


def hyperstack(name, shape):
    """What is said of five axes or more, whose names are not known."""
    named = f", or name its axes, as in: {naming(name, 5)}" if len(shape) == 5 else ""
    return (
        f"{name} is a {len(shape)}D hyperstack of shape {tuple(shape)}: save one time point and one "
        f"channel as a z stack (Fiji: Image > Duplicate...){named}"
    )


def naming(path, count):
    """The command that names so many axes."""
    chosen = {4: " -p channel 0", 5: " -p timepoint 0 -p channel 0"}.get(count, "")
    return f"cellseg-nb convert {typed(path)} OUT.tif -p axes {'TCZYX'[-count:]}{chosen}"


def zyx(path, shape, axes, channel=None, timepoint=None, channels=()):
    """How to take (Z, Y, X) out of an array of ``shape`` with the letters ``axes``, as a file states them.

    Nothing is read yet: shapes tell. ``channels`` are their names, for messages. Returns the index, the order
    for `numpy.transpose`, and a word or "". Raises `Several` where ``channel`` or ``timepoint``
    has to be chosen, UserError for what is not there, RGB, 2D, and more axes than have names.
    """
    index = _index(path, shape, axes, {"timepoint": timepoint, "channel": channel}, channels)
    left = [letter for letter, one in zip(axes, index) if isinstance(one, slice)]
    if len(left) != 3 or any(left.count(letter) != 1 for letter in "YX"):
        return index, tuple(range(len(left))), ""
    z = next(i for i, letter in enumerate(left) if letter not in "YX")
    long = [n for n, one in zip(shape, index) if isinstance(one, slice)]
    word = "" if left[z] == "Z" else f"its axes are not named: the one of {long[z]} is read as z"
    return index, (z, left.index("Y"), left.index("X")), word


def _index(path, shape, axes, chosen, channels):
    index = [0 if n == 1 else slice(None) for n in shape]
    long = [i for i, n in enumerate(shape) if n != 1]
    if {"C", "S"} <= {axes[i] for i in long} and "Z" not in {axes[i] for i in long}:
        axes = axes.replace("C", "Q")  # channels of colour pictures: the slices of a stack
    sizes = tuple(shape[i] for i in long)
    named = {axes[i]: i for i in long}
    picks = {"timepoint": named.get("T"), "channel": named.get("C", named.get("S"))}
    rest = [i for i in long if i not in picks.values()]
    if any([axes[i] for i in rest].count(letter) > 1 for letter in "ZYX"):
        raise UserError(f"{path} names an axis twice ({axes}): name them, as in: {naming(path, len(long))}")
    if len(rest) > 4 or (len(rest) == 4 and picks["channel"] is not None):
        raise UserError(hyperstack(path, sizes))
    if len(rest) == 4:
        picks["channel"] = _unnamed(path, shape, axes, rest)
        rest.remove(picks["channel"])
    _check_there(path, shape, axes, chosen, picks, rest, sizes, long)
    missing = [name for name, axis in picks.items() if axis is not None and chosen[name] is None]
    if missing:
        colour = picks["channel"] is not None and axes[picks["channel"]] == "S"
        if missing == ["channel"] and colour and shape[picks["channel"]] in (3, 4):
            raise Colour(path, sizes)
        what = {"timepoint": "is a time series of {} time points", "channel": "has {} channels"}
        words = " and ".join(what[name].format(shape[picks[name]]) for name in missing)
        if len(missing) == 2:
            words = f"is a {len(long)}D hyperstack: it {words}"
        held = ", ".join(f"{i} {name}" for i, name in enumerate(channels[:12]) if name)
        raise Several(path, f"{words} (shape {sizes})", *missing, held=held if "channel" in missing else "")
    for name, axis in picks.items():
        if axis is not None:
            index[axis] = int(chosen[name])
    return tuple(index)


def _unnamed(path, shape, axes, rest):
    """Of four axes the one that is the channels."""
    if sorted(axes[i] for i in rest if axes[i] in "ZYX") == ["X", "Y", "Z"]:
        return next(i for i in rest if axes[i] not in "ZYX")
    smallest, second = sorted(rest, key=lambda i: shape[i])[:2]
    if 2 * shape[smallest] > shape[second]:
        raise UserError(
            f"{path} has four axes {tuple(shape[i] for i in rest)} and none is clearly the channels: save "
            f"one channel as a z stack, or name them, as in: {naming(path, 4)}"
        )
    return smallest


def _check_there(path, shape, axes, chosen, picks, rest, sizes, long):
    """UserError for a channel or time that is not there, and where none would leave three axes."""
    for name, axis in picks.items():
        value = chosen[name]
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if value is not None and not (whole and value >= 0):
            raise UserError(f"{path}: {name} must be a whole number from 0, or None, not {value!r}")
        if axis is None and value:
            one = {"timepoint": "one time point", "channel": "one channel"}[name]
            raise UserError(f"{path} has {one} only, so {name}={value} does not exist: use {name}=0")
        if axis is not None and value is not None and value >= shape[axis]:
            many = {"timepoint": "time points", "channel": "channels"}[name]
            raise UserError(
                f"{path} has {shape[axis]} {many}: {name} must be from 0 to {shape[axis] - 1}, not {value}"
            )
    if len(rest) >= 3 or len(long) < 3:
        return
    which = picks["channel"] if picks["timepoint"] is None else picks["timepoint"]
    slices = "".join("Z" if i == which else axes[i] for i in long)  # the letters that would make slices of it
    if picks["timepoint"] is not None:
        raise UserError(
            f"{path} is a time series of {shape[picks['timepoint']]} time points of 2D images (shape "
            f"{sizes}): if "
            "they are z slices, swap z and t (Fiji: Image > Properties..., or: "
            f"cellseg-nb convert {typed(path)} OUT.tif -p axes {slices}); else give a z stack"
        )
    if picks["channel"] is not None:
        axis = picks["channel"]
        if shape[axis] in (3, 4) and axis == len(shape) - 1:
            colour = rgb(path, sizes).partition(": convert")[0]
            raise UserError(f"{colour}, and 2D: give a stack of z slices; convert it to grey")
        raise UserError(
            f"{path} is 2D with {shape[axis]} channels (shape {sizes}): give a stack of z slices; if the "
            "channels are slices, say so (Fiji: Image > Properties..., or: "
            f"cellseg-nb convert {typed(path)} OUT.tif -p axes {slices})"
        )


def three_axes(array, name, minimum, labels=False):
    """The array without axes of length 1, if three are left; UserError for 2D, RGB, 4D, 5D and empty ones."""
    if array.ndim != 3:
        array = array.reshape([n for n in array.shape if n != 1] or [1])
    if array.ndim >= 3 and array.shape[-1] in (3, 4) and (array.ndim > 3 or array.shape[-1] < minimum):
        raise UserError(rgb(name, array.shape, labels))
    if array.ndim < 3 or (min(array.shape) == 1 and minimum > 1):
        raise UserError(f"{name} is 2D or less (shape {array.shape}): give a stack of z slices in one file")
    if array.ndim == 4:
        raise UserError(f"{name} is 4D (shape {array.shape}): give one channel, a (Z, Y, X) array")
    if array.ndim > 4:
        raise UserError(hyperstack(name, array.shape))
    if array.size == 0:
        raise UserError(f"{name} is empty (shape {array.shape}): give a volume with voxels in it")
    return array
