"""Numbers that hold everywhere: histograms streamed over tiles of the volume, and what follows from them.

The tiles lie on a grid of their own, evenly spread over the tissue, whatever chunks are used later.
"""

import numpy as np

from cellseg_nb.brains import blocks, overview, segment
from cellseg_nb.cells.background import MAD
from cellseg_nb.errors import UserError

TILE = 64  # voxels a side
MOST = 512  # tiles looked at, 134 million voxels
BINS = 8192
STORED = 2 * 8 * BINS  # bytes of a tile's two histograms
ABOVE = 8.0  # the scale ends this many times as far up as the coarse level's brightest thousandth


def tiles(shape, tissue, factor, halo):
    """At most `MOST` blocks of `TILE` voxels with tissue, evenly spread in reading order.

    The halo is taken from the tile itself, so that no voxel beyond it is read; where the blurs look too far
    for that, around it.
    """
    every = [tile for tile in blocks.grid(shape, TILE) if overview.nearest(tissue, factor, tile.core).any()]
    if len(every) > MOST:
        every = [every[i] for i in np.linspace(0, len(every) - 1, MOST).astype(int)]
    return [
        blocks.around(_within(tile.core, shape, halo), shape, halo, tile.index, tile.number) for tile in every
    ]


def _within(box, shape, halo):
    """A box without a halo on the sides where it does not end with the volume."""
    cut = []
    for s, h, side in zip(box, halo, shape):
        if 4 * h <= TILE and s.stop - s.start > 2 * h:
            s = slice(s.start + h * (s.start > 0), s.stop - h * (s.stop < side))
        cut.append(s)
    return tuple(cut)


def scale(source, number):
    """Lowest value and width of a bin, from a coarse level: wide enough for what is brighter than its
    mean."""
    level = overview.whole(source, number)
    low, middle, high = (float(v) for v in np.percentile(level, [0, 50, 99.9]))
    if high <= low:
        raise UserError(f"{source.path} has the same value ({low:g}) everywhere: there is nothing to segment")
    span = ABOVE * max(high - low, (high - middle) * 2)
    return -span / 8, span / BINS * 9 / 8


def counted(source, tile, coarse, how, bins):
    """Histograms of a tile: of the voxels as they are (``raw``) and of the map in which cells are sought
    (``map``), in tissue only: two (BINS,) int64."""
    image = source.read(tile.outer)
    rising, tissue = segment.above_ground(image, coarse, tile.outer)
    found, inside = {}, tissue[tile.inner]
    outline, _ = segment.maps(rising, how)
    for name, values in (("raw", image), ("map", outline)):
        start, width = bins
        at = np.clip((values[tile.inner][inside].astype(np.float32) - start) / width, 0, BINS - 1)
        found[name] = np.bincount(at.astype(np.int64), minlength=BINS)
    return found


def values(bins):
    """The middle of each bin."""
    return bins[0] + (np.arange(BINS) + 0.5) * bins[1]


def percentile(counts, bins, share):
    """A percentile (0 to 100) of what was counted, between the edges of its bin linear."""
    total = np.cumsum(counts)
    target = share / 100 * total[-1]
    at = int(np.searchsorted(total, target))
    before = total[at - 1] if at else 0
    part = (target - before) / max(counts[at], 1)
    return float(bins[0] + (at + np.clip(part, 0, 1)) * bins[1])


def otsu(counts, bins):
    """Otsu's threshold over a histogram."""
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(hist=(counts.astype(float), values(bins))))


def noise(counts, bins):
    """Standard deviation of what was counted, were it noise alone: from its median absolute deviation."""
    middle = percentile(counts, bins, 50)
    away = np.abs(values(bins) - middle)
    order = np.argsort(away, kind="stable")
    total = np.cumsum(counts[order])
    return MAD * float(away[order][np.searchsorted(total, total[-1] / 2)])
