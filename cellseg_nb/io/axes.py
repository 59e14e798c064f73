"""Which axis of an array is which: Z, Y and X taken out of what a file holds, or one clear line."""

from cellseg_nb.errors import UserError


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


def zyx(path, shape, axes, channel):
    """How to take (Z, Y, X) out of an array of ``shape`` with the letters ``axes``, as a file states them.

    Nothing is read yet: shapes tell. Returns the index, the order for `numpy.transpose`, and a word or "".
    Raises UserError for RGB, 2D, time series, several channels without ``channel``, and five axes or more.
    """
    index = _index(path, shape, axes, channel)
    left = [letter for letter, one in zip(axes, index) if isinstance(one, slice)]
    if len(left) != 3 or any(left.count(letter) != 1 for letter in "YX"):
        return index, tuple(range(len(left))), ""
    z = next(i for i, letter in enumerate(left) if letter not in "YX")
    word = (
        ""
        if left[z] == "Z"
        else f"its axes are not named: the one of {shape[axes.index(left[z])]} is read as z"
    )
    return index, (z, left.index("Y"), left.index("X")), word


def _index(path, shape, axes, channel):
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
    if pick is None and len(long) == 4 and {"Z", "Y", "X"} <= named.keys():
        pick = next(i for i in long if axes[i] not in "ZYX")  # the only one that is not named
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


def three_axes(array, name, minimum):
    """The array without axes of length 1, if three are left; UserError for 2D, RGB, 4D, 5D and empty ones."""
    if array.ndim != 3:
        array = array.reshape([n for n in array.shape if n != 1] or [1])
    if array.ndim >= 3 and array.shape[-1] in (3, 4) and (array.ndim > 3 or array.shape[-1] < minimum):
        raise UserError(rgb(name, array.shape))
    if array.ndim < 3 or (min(array.shape) == 1 and minimum > 1):
        raise UserError(f"{name} is 2D or less (shape {array.shape}): give a stack of z slices in one file")
    if array.ndim == 4:
        raise UserError(f"{name} is 4D (shape {array.shape}): give one channel, a (Z, Y, X) array")
    if array.ndim > 4:
        raise UserError(hyperstack(name, array.shape))
    if array.size == 0:
        raise UserError(f"{name} is empty (shape {array.shape}): give a volume with voxels in it")
    return array
