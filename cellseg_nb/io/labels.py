"""Labels out of files: one whole number a cell, 0 is background; anything else is told in one line."""

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import axes, loading
from cellseg_nb.io.files import as_path

PIECES = 3  # times as many pieces as numbers: an image, or labels blurred by interpolation; no labels
FEW = 20  # pieces more than numbers that prove nothing
ALIKE = 0.9  # share of neighbours with the same number: labels have 0.95 and more, images far less


def read_labels(path, own=False):
    """Read labels from a file: (Z, Y, X) int32, 0 = background, and the voxel size (z, y, x) in µm or None.

    More than 65,535 cells are fine; so are whole numbers stored as float. A mask (two values: 0 and 255,
    bool, 1 and 2 as from ilastik) is parted into pieces that are connected face to face, which is said; so is
    what looks odd. ``own``: labels that this package wrote are taken as they are. Raises UserError like
    `volumes.read`, for labels that are fractions, negative or above 2,147,483,647, and for an image.
    """
    path = as_path(path)
    labels, voxel_size = _loaded(path)
    labels = axes.three_axes(labels, path, 1, labels=True)
    if labels.dtype.kind not in "buif":
        raise UserError(
            f"{path} holds {labels.dtype} values: labels must be whole numbers; save them as 16-bit or 32-bit"
        )
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise UserError(f"{path} holds voxels that are NaN, not whole numbers: set them to 0, the background")
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
        raise UserError(
            f"{path} holds numbers that are not whole (such as {_fraction(labels):g}), so these are not "
            "labels: give the label file, not the image or the probability; labels that were resampled, "
            "resample again without interpolation (nearest neighbour)"
        )
    if labels.min() < 0 and len(np.unique(labels)) == 2 and labels.max() == 0:
        labels = labels != 0  # a mask of 255 in numbers with a sign
    if labels.min() < 0:
        raise UserError(
            f"{path} holds negative labels (down to {labels.min():g}): set them to 0, the background"
        )
    if labels.max() > 2**31 - 1:
        raise UserError(
            f"{path} holds labels up to {labels.max():g}, above 2147483647: number the cells from 1 again"
        )
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    return labels if own else _checked(labels, path), voxel_size


def _loaded(path):
    try:
        return loading.load(path, quiet=True, turn=False)
    except axes.Colour as error:
        raise UserError(
            f"{path} is a colour (RGB) picture, not labels: export the numbers of the cells, not their "
            f"colours"
        ) from error
    except axes.Several as error:
        raise UserError(
            f"{path} {error.what}, and labels must be one volume: write the one you want with "
            f"cellseg-nb convert {path} LABELS.tif {error.choice}"
        ) from error


def _fraction(labels):
    return labels[labels != np.rint(labels)][0]


def _checked(labels, path):
    """The labels, a mask parted into cells; says what is odd, and refuses what is an image."""
    from skimage import measure

    values, counts = np.unique(labels, return_counts=True)
    numbers = values[values > 0]
    if len(values) == 2:
        # Of 1 and 2, one is the background, and nobody says which: nearly always the larger part.
        background = 0 if values[0] == 0 else int(values[np.argmax(counts)])
        foreground = int(values[values != background][0])
        parted, pieces = measure.label(labels == foreground, connectivity=1, return_num=True)
        if pieces == 1 and background == 0:
            return labels  # one cell
        _say(
            path,
            f"holds {values[0]} and {values[1]} only, a mask: parted into {pieces} cells, the pieces of "
            f"{foreground} that are connected face to face; cells that touch count as one",
        )
        return parted.astype(np.int32)
    if not len(numbers):
        return labels
    pieces = int(measure.label(labels, connectivity=1, background=0).max())
    if pieces > PIECES * len(numbers) + FEW:
        raise UserError(
            f"{path} holds {len(numbers)} numbers in {pieces} separate pieces, so these are not labels: give "
            "the label file, not the image or a map of classes; labels that were resampled, resample again "
            "without interpolation (nearest neighbour)"
        )
    each = _pieces_of_each(labels)
    if np.median(each) >= 2:
        raise UserError(
            f"{path} holds {len(numbers)} numbers, and most of them lie in several separate pieces (up to "
            f"{each.max()}), so these are classes, not cells: give labels with one number a cell, or a "
            f"mask of 0 "
            "and 1 of the class that is cells"
        )
    if values[0] > 0:
        words = f"has no background: no voxel is 0, and every voxel belongs to one of {len(numbers)} cells"
        if 2 * counts.max() > labels.size:
            words += f"; more than half of them are {values[counts.argmax()]}: if that is it, set it to 0"
        _say(path, words)
    if numbers[-1] > len(numbers):
        _say(path, f"holds {len(numbers)} cells, numbered up to {numbers[-1]} with gaps: kept as they are")
    if pieces > len(numbers):
        _say(
            path,
            f"holds {len(numbers)} cells in {pieces} separate pieces: some numbers are used twice, or torn",
        )
    return labels


def _pieces_of_each(labels):
    """In how many pieces, corners included, each number lies: one count for each."""
    from skimage import measure

    pieces, count = measure.label(labels, connectivity=labels.ndim, background=0, return_num=True)
    first = np.zeros(count + 1, labels.dtype)
    first[pieces.ravel()] = labels.ravel()  # the number that each piece belongs to
    return np.unique(first[1:], return_counts=True)[1]


def _say(path, words):
    print(f"{path.name} {words}")


def seem(volume):
    """A word on a volume that looks like a mask or like labels, given for an image; else ""."""
    if _two_values(volume):
        return "holds two values only, as a mask does: give the image that it was made from"
    if _like_labels(volume):
        return "holds whole regions of one number each, as labels do: is it the image?"
    return ""


def _two_values(volume):
    known = np.zeros(0, volume.dtype)
    for plane in volume:  # mostly the first has a third value
        if len(known) < 2:
            known = np.union1d(known, plane)
        elif not np.isin(plane, known).all():
            return False
        if len(known) > 2:
            return False
    return len(known) == 2


def _like_labels(volume):
    """Whether neighbours that are no background nearly always have the same whole number: some planes tell.
    An image has noise."""
    planes, pairs, alike, steps = volume[:: max(1, len(volume) // 8)], 0, 0, 0
    lowest = min(plane.min() for plane in planes)
    for plane in planes:
        if volume.dtype.kind == "f" and (plane != np.rint(plane)).any():
            return False
        both = (plane[:, 1:] > lowest) & (plane[:, :-1] > lowest)
        pairs += np.count_nonzero(both)
        alike += np.count_nonzero(both & (plane[:, 1:] == plane[:, :-1]))
        steps += np.count_nonzero(both & (np.abs(np.subtract(plane[:, 1:], plane[:, :-1], dtype=float)) == 1))
    return alike > ALIKE * pairs and 2 * steps <= pairs - alike  # an image of few greys goes up in steps of 1
