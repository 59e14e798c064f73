"""Faults of the recording: lost slices, padding, hot voxels, stripes.

Each ``find_...`` looks for one thing in a volume (Z, Y, X) and returns a `Finding`, or None where it is not
there; `cellseg_nb.cells.prepare` mends them. Thresholds are shares of what the volume itself shows (its
noise, the height of its cells), never grey values.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells import background

FEW = (
    3  # slices: as many lost in a row can be filled from their neighbours, a cell being 6 to 10 slices thick
)
PADDING = 0.002  # share of the volume: smaller regions of one value are not padding
SOLID = 0.8  # so much of padding is made of cubes of 3 x 3 x 3 voxels; of the even blocks of a JPEG, 0.67
STRIPES = (
    1.3  # lines stand out by so many standard deviations of the noise (c5, sample, embryos: at most 0.9)
)
STEADY = 1.0  # the same in the third of a line where it is least


@dataclass
class Finding:
    """``name``, ``text`` (one line), the ``switch`` that mends it (None: only said), and what a picture
    needs: ``where`` (Z, Y, X) bool or None, ``curve`` (values along ``axis``) or None, ``field`` (Z, Y, X) or
    None."""

    name: str
    text: str
    switch: str | None = None
    where: np.ndarray | None = None
    curve: np.ndarray | None = None
    axis: int = 0
    field: np.ndarray | None = None


def find_lost_slices(volume, valid, diameter):
    """Slices that hold one value only, or repeat the slice before, or are all but empty between full ones."""
    flat = volume.reshape(len(volume), -1)
    constant = flat.min(1) == flat.max(1)
    again = np.zeros(len(volume), bool)
    again[1:] = (flat[1:] == flat[:-1]).all(1) & ~constant[1:]
    spread = np.percentile(flat, 99.5, axis=1) - np.median(flat, axis=1)
    mean = flat.mean(1)
    near = np.stack([np.median(mean[max(0, i - 5) : i + 6]) for i in range(len(mean))])
    usual = np.stack([np.median(spread[max(0, i - 5) : i + 6]) for i in range(len(mean))])
    jump = background.spread(np.diff(mean[~constant]), 0) if (~constant).sum() > 3 else np.inf
    dark = (spread < 0.3 * usual) & (near - mean > 8 * jump) & ~constant
    lost = again | _short_runs(constant | dark)
    if not lost.any():
        return None
    numbers = ", ".join(str(i) for i in np.flatnonzero(lost)[:12]) + (", ..." if lost.sum() > 12 else "")
    kind = "repeat the slice before" if (again & lost).sum() > lost.sum() / 2 else "are blank"
    where = np.broadcast_to(lost[:, None, None], volume.shape)
    return Finding(
        "lost slices",
        f"{lost.sum()} of {len(volume)} slices {kind} (counted from 0: {numbers}): "
        "filled from their neighbours",
        "slices",
        where,
        lost,
    )


def _short_runs(lost):
    """Only runs of at most `FEW` slices with a good slice on either side."""
    runs, number = ndi.label(lost)
    kept = np.zeros(len(lost), bool)
    for run in range(1, number + 1):
        at = np.flatnonzero(runs == run)
        kept[at] = len(at) <= FEW and at[0] > 0 and at[-1] < len(lost) - 1
    return kept


def find_padding(volume, valid, diameter):
    """Connected regions of exactly one value (any), around or between the data. A saturated vessel is none:
    its edge is bright, too; nor is background cut off at 0, nor what compression made even."""
    import cc3d

    core = ndi.maximum_filter(volume, 3) == ndi.minimum_filter(volume, 3)
    if not core.any():
        return None
    values, counts = np.unique(volume[core], return_counts=True)
    found, named = np.zeros(volume.shape, bool), []
    for value in values[np.argsort(-counts)][:4]:
        inside = volume != value
        saturated = inside.any() and value > volume[inside].max() and not _fills_a_face(volume == value)
        if saturated:  # a vessel too bright for the camera, not padding
            continue
        regions = cc3d.connected_components(volume == value, connectivity=26)
        sizes = np.bincount(regions.ravel())
        with_core = np.bincount(regions[core], minlength=len(sizes)) > 0
        large = with_core & (sizes > PADDING * volume.size)
        large[0] = False
        cubes = ndi.binary_dilation(core & (volume == value), np.ones((3, 3, 3)))
        for number in np.flatnonzero(large):
            region = regions == number
            if cubes[region].mean() < SOLID:
                continue
            if background.of_the_data(volume, region):
                continue
            if not _bright_edge(volume, region, value):
                found |= region
                named.append(float(value))
    if not found.any():
        return None
    words = ", ".join(f"{v:g}" for v in sorted(set(named)))
    return Finding(
        "padding",
        f"{100 * found.mean():.0f} % of the voxels lie in regions of exactly one value ({words}): "
        "taken as padding, left out of training and result",
        "padding",
        found,
    )


def _fills_a_face(region):
    """Whether it covers most of one of the six faces of the volume."""
    return any(np.take(region, end, axis).mean() > 0.5 for axis in range(3) for end in (0, -1))


def _bright_edge(volume, region, value):
    """Whether what touches the region from outside is nearer to its value than the rest of the volume is."""
    edge = ndi.binary_dilation(region, iterations=1) & ~region
    rest = ~region & ~edge
    if not edge.any() or not rest.any():
        return False
    usual = np.median(volume[rest])
    return value > usual and np.median(volume[edge]) > usual + 0.25 * (value - usual)


def find_hot(volume, valid, diameter):
    """Single voxels, or two or three together, far brighter than all around them: more than any cell
    rises."""
    filled = background.filled(volume, valid)
    around = ndi.median_filter(filled, 3)
    # the fourth brightest of 27: above it, at most three voxels
    ranked = ndi.rank_filter(filled, -4, size=3, mode="mirror")
    usual = np.median(around[valid])
    height = np.percentile(ranked[valid], 99.9) - usual
    noise = background.noise(filled, valid)
    least = 8 * noise + height  # a cell's height and more, from one voxel to the next
    hot = valid & (filled - ranked > least) & (filled - around > least)
    if hot.any():  # again without these: some lie beside each other
        rest = np.where(hot, around, filled)
        hot |= (
            valid
            & (rest - ndi.rank_filter(rest, -4, size=3, mode="mirror") > least)
            & (rest - ndi.median_filter(rest, 3) > least)
        )
    if not hot.any():
        return None
    return Finding(
        "hot voxels",
        f"{hot.sum()} voxels are far brighter than all their neighbours (hot pixels): replaced "
        "by the median around them",
        "hot",
        hot,
    )


def find_stripes(volume, valid, diameter):
    """Whole lines along X or Y, or whole slices, brighter or darker than the lines beside them."""
    turned = volume.swapaxes(1, 2), valid.swapaxes(1, 2)
    noise = min(background.noise(volume, valid), background.noise(*turned))  # along the lines, not across
    offsets, said = np.zeros(volume.shape, np.float32), []
    volume = volume - background.level(volume, valid, background.step(volume.shape, diameter))
    for axes, name in (((2,), "rows"), ((1,), "columns"), ((1, 2), "slices")):
        lines = _line_offsets(volume - offsets, valid, axes)
        strength = background.spread(lines, 0)
        strong = max(strength, 0.5 * np.percentile(np.abs(lines), 98)) / max(noise, 1e-6)
        if strong > STRIPES and _goes_on(volume - offsets, valid, axes, diameter, STEADY * max(noise, 1e-6)):
            offsets = offsets + lines
            said.append(f"{name} by {strong:.1f}")
    if not said:
        return None
    return Finding(
        "stripes",
        f"lines stand out from those beside them ({', '.join(said)} times the noise): evened out",
        "stripes",
        field=offsets,
    )


def _goes_on(volume, valid, axes, diameter, least):
    """Whether lines stand out all along, as stripes do: in each third of a line, by ``least``. Lines through
    large or crowded cells stand out where those are."""
    if volume.shape[axes[-1]] < 3:  # no thirds
        return False
    thirds = np.array_split(np.arange(volume.shape[axes[-1]]), 3)
    parts = [_line_offsets(volume.take(at, axes[-1]), valid.take(at, axes[-1]), axes) for at in thirds]
    # 0 where signs differ
    steady = np.maximum(0, np.maximum(np.minimum.reduce(parts), -np.maximum.reduce(parts)))
    if (
        len(thirds[0]) < 1.5 * np.asarray(diameter)[axes[-1]]
    ):  # one cell may fill a third: only narrow stripes
        few = steady - ndi.median_filter(steady, [1 if axis in axes else 5 for axis in range(3)])
    else:
        few = steady
    return max(background.spread(steady, 0), 0.5 * np.percentile(few, 98)) > least


def _line_offsets(volume, valid, axes):
    """Median of each line (or slice) of a flattened volume, where enough of it was measured."""
    lines = np.ma.median(np.ma.masked_array(volume, ~valid), axis=axes, keepdims=True).filled(0)
    return np.where(valid.mean(axes, keepdims=True) > 0.3, lines, 0).astype(np.float32)
