"""Labels out of files: one whole number a cell, 0 is background; anything else is told in one line."""

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import axes, loading
from cellseg_nb.io.files import as_path, typed

PIECES = 3  # times as many pieces as numbers: an image, or labels blurred by interpolation; no labels
FEW = 20  # pieces more than numbers that prove nothing
ROUNDED = 1e-3  # how far from whole a number may be that went through a scale in the header
SLAB = 2**24  # voxels whose pieces are counted at a time
STEPS = {1: [(0, 0)], 3: [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]}  # to the neighbours above
LARGEST = 2**31 - 1  # of int32
EXACT = 2**53  # float64 holds every whole number up to here
MOST = 2**24  # numbers beyond, and beyond the voxels, are numbered anew: tables are as long as they are high
ALIKE = 0.9  # share of neighbours with the same number: labels have 0.95 and more, images far less


def read_labels(path, own=False):
    """Read labels from a file: (Z, Y, X) int32, 0 = background, and the voxel size (z, y, x) in µm or None.

    More than 65,535 cells are fine; so are whole numbers stored as float. A mask (two values: 0 and 255,
    bool, 1 and 2 as from ilastik) is parted into pieces that are connected face to face, which is said; so is
    what looks odd. ``own``: labels that this package wrote are taken as they are. Raises UserError like
    `volumes.read`, for labels that are fractions, negative or above 2**53 as float, and for an image.
    """
    path = as_path(path)
    labels, voxel_size = _loaded(path)
    labels = axes.three_axes(labels, path, 1, labels=True)
    if labels.dtype.kind not in "buif":
        raise UserError(
            f"{path} holds {labels.dtype} values: labels must be whole numbers; save them as 16-bit or 32-bit"
        )
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise UserError(
            f"{path} holds voxels that are NaN or infinite, not whole numbers: set them to 0, the background"
        )
    if labels.dtype.kind == "f" and (np.abs(labels - np.rint(labels)) > ROUNDED).any():
        raise UserError(
            f"{path} holds numbers that are not whole (such as {_fraction(labels):g}), so these are not "
            "labels: give the label file, not the image or the probability; labels that were resampled, "
            "resample again without interpolation (nearest neighbour)"
        )
    if labels.dtype.kind == "f":
        labels = np.rint(labels)
    if labels.min() < 0 and len(np.unique(labels)) == 2 and labels.max() == 0:
        labels = labels != 0  # a mask of 255 in numbers with a sign
    if labels.min() < 0:
        over = ""
        if labels.dtype.kind == "i" and labels.dtype.itemsize <= 2 and labels.min() < -1:
            over = f"where they are cells beyond {np.iinfo(labels.dtype).max}, save them as 32-bit; else "
        raise UserError(
            f"{path} holds negative labels (down to {labels.min():g}): {over}set them to 0, the background"
        )
    if labels.dtype.kind == "f" and float(labels.max()) > EXACT:
        raise UserError(
            f"{path} holds labels up to {labels.max():g}, above {EXACT}, where not every whole number can be "
            "stored: number the cells from 1 again"
        )
    if int(labels.max()) > (LARGEST if own else min(LARGEST, max(labels.size, MOST))):
        _say(path, f"holds numbers up to {labels.max():.0f}: numbered anew from 1, in their order")
        numbers, places = np.unique(labels, return_inverse=True)
        labels = places.reshape(labels.shape) + int(numbers[0] > 0)
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
            f"cellseg-nb convert {typed(path)} LABELS.tif {error.choice}{error.held}"
        ) from error


def _fraction(labels):
    return labels[np.abs(labels - np.rint(labels)) > ROUNDED][0]


def _checked(labels, path):
    """The labels, a mask parted into cells; says what is odd, and refuses what is an image."""
    from skimage import measure

    long = int(labels.max()) + 1
    counts = sum(np.bincount(labels[slab].ravel(), minlength=long) for slab in _slabs(labels))
    values = np.flatnonzero(counts)
    counts = counts[values]
    numbers = values[values > 0]
    if len(values) == 2:
        # Of 1 and 2, one is the background, and nobody says which: nearly always the larger part.
        background = 0 if values[0] == 0 else int(values[np.argmax(counts)])
        foreground = int(values[values != background][0])
        parted, pieces = measure.label(labels == foreground, connectivity=1, return_num=True)
        much = counts[values == foreground][0] / labels.size
        more = f"; {foreground} is {much:.0%} of the volume: if the other is the cells, turn it round (Fiji: "
        more = f"{more}Edit > Invert)" if much > 0.5 else ""
        if pieces == 1 and background == 0:
            if more:
                _say(path, f"holds 0 and {foreground} only, and these are one cell{more}")
            return labels
        _say(
            path,
            f"holds {values[0]} and {values[1]} only, a mask: parted into {pieces} cells, the pieces of "
            f"{foreground} that are connected face to face; cells that touch count as one{more}",
        )
        return parted.astype(np.int32)
    if not len(numbers):
        return labels
    pieces = len(_pieces(labels, 1))
    full = "; 8 bits hold 255 numbers: if there are more cells, save the labels as 16-bit"
    full = full if len(numbers) == numbers[-1] == 255 else ""
    if pieces > PIECES * len(numbers) + FEW:
        raise UserError(
            f"{path} holds {len(numbers)} numbers in {pieces} separate pieces, so these are not labels: give "
            "the label file, not the image or a map of classes; labels that were resampled, resample again "
            f"without interpolation (nearest neighbour){full}"
        )
    each = np.unique(_pieces(labels, 3), return_counts=True)[1]  # also corner to corner
    if np.median(each) >= 2:
        raise UserError(
            f"{path} holds {len(numbers)} numbers, and most of them lie in several separate pieces (up to "
            f"{each.max()}), so these are classes, not cells: give labels with one number a cell, or a "
            f"mask of 0 "
            f"and 1 of the class that is cells{full}"
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
            f"holds {len(numbers)} cells in {pieces} separate pieces: some numbers are used twice, or torn"
            + full,
        )
    return labels


def _slabs(labels):
    deep = max(1, SLAB // labels[0].size)
    return [slice(z, z + deep) for z in range(0, len(labels), deep)]


def _pieces(labels, connectivity):
    """The number that each separate piece belongs to. Slab by slab: scikit-image needs 16 bytes a voxel."""
    from scipy import sparse
    from skimage import measure

    owners, links, before = [np.zeros(0, labels.dtype)], [np.zeros((2, 0), int)], None
    for planes in _slabs(labels):
        slab, start = labels[planes], sum(map(len, owners))
        found, count = measure.label(slab, connectivity=connectivity, background=0, return_num=True)
        owner = np.zeros(count + 1, labels.dtype)
        owner[found.ravel()] = slab.ravel()
        owners.append(owner[1:])
        found[found > 0] += start
        if before is not None:
            links += [_touching(*before, slab[0], found[0], *step) for step in STEPS[connectivity]]
        before = slab[-1], found[-1].copy()
    owners, (one, other) = np.concatenate(owners), np.concatenate(links, 1) - 1
    graph = sparse.coo_matrix((np.ones(len(one), bool), (one, other)), (len(owners),) * 2)
    whole, part = sparse.csgraph.connected_components(graph, directed=False)
    numbers = np.zeros(whole, labels.dtype)
    numbers[part] = owners
    return numbers


def _touching(below, pieces_below, above, pieces_above, y, x):
    """Pairs of pieces of one number in two planes, the second of which is moved by y and x; (2, n)."""
    rows, columns = (
        (slice(max(0, d), n + min(0, d)), slice(max(0, -d), n + min(0, -d)))
        for d, n in zip((y, x), below.shape)
    )
    here, there = (rows[0], columns[0]), (rows[1], columns[1])
    same = (below[here] == above[there]) & (below[here] > 0)
    return np.unique(np.stack([pieces_below[here][same], pieces_above[there][same]]), axis=1)


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
