"""The cells of one block, a pure function of its voxels, the coarse maps, and numbers that hold everywhere.

Three ways to say where cells may be, and one to tell them apart (`cellseg_nb.brains.nearest`):

- ``otsu``: brightness above the ground, blurred, above Otsu's threshold over the whole volume;
- ``spots``: a difference of two blurs (0.2 and 1.0 cell diameters) above a multiple of its noise;
- ``network``: the probability of a network above its threshold.

``separate="connected"`` numbers the connected pieces of the mask instead (`cellseg_nb.brains.joins`).
"""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.brains import nearest, overview
from cellseg_nb.cells import background

MAPS = ("otsu", "spots", "network")
SEPARATE = ("nearest", "connected")
TRUNCATE = 3.0  # sigmas a blur looks far
BLUR = 0.15  # of the cell diameter, before maxima and thresholds
FINE, COARSE = 0.2, 1.0  # of the cell diameter: the blurs of ``spots``
APART = 0.5  # of the cell diameter: two centres are no closer
REACH = 1.0  # of the cell diameter: nothing farther from its centre belongs to a cell
SHARE = 0.5  # of its own height at which a spot ends


def recipe(kind, diameter, voxel_size=None, separate="nearest", **more):
    """Numbers that say how cells are found, all that a block needs beside its voxels: a dict.

    diameter : of a typical cell, µm. Everything else follows from it, unless given in ``more``: ``blur``,
    ``apart``, ``reach`` in µm, ``share``. ``threshold`` is found by `cellseg_nb.brains.statistics`.
    """
    how = {"kind": kind, "separate": separate, "diameter": float(diameter)}
    how["voxel_size"] = [float(s) for s in background.spacing(voxel_size)]
    how |= {"blur": BLUR * diameter, "apart": APART * diameter, "reach": REACH * diameter}
    how |= {"share": SHARE if kind == "spots" else 0.0, "threshold": None}
    return how | more


def blur_reach(how):
    """Voxels (z, y, x) that the blurs look far."""
    widest = COARSE * how["diameter"] if how["kind"] == "spots" else how["blur"]
    return tuple(int(TRUNCATE * widest / s + 0.5) for s in how["voxel_size"])


def halo(how):
    """Voxels (z, y, x) around a block that its cells depend on."""
    beyond = (1, 1, 1)
    if how["separate"] == "nearest":
        beyond = nearest.halo(how["reach"], how["apart"], how["voxel_size"])
    return tuple(a + b for a, b in zip(blur_reach(how), beyond))


def _blurred(volume, sigma, how, output=None):
    sigmas = [sigma / s for s in how["voxel_size"]]
    return ndi.gaussian_filter(volume, sigmas, mode="nearest", truncate=TRUNCATE, output=output)


def above_ground(image, coarse, box):
    """How far each voxel of a box rises above the ground, (Z, Y, X) float32, and whether it is tissue, bool.

    ``coarse``: ground and its factor, tissue and its factor (`cellseg_nb.brains.overview`).
    """
    return rise(image, coarse, box), overview.nearest(*coarse[2:], box)


def rise(image, coarse, box):
    """How far each voxel of a box rises above the ground, (Z, Y, X) float32."""
    rising = overview.linear(*coarse[:2], box)
    np.subtract(image, rising, out=rising, casting="unsafe")
    return rising


def maps(rising, how, probability=None):
    """Where cells may be, and where their centres are brightest: two (Z, Y, X) float32, one and the same for
    otsu and spots. ``rising`` is used up. ``probability``: 0..1, or uint8, where 255 is certain."""
    if how["kind"] == "spots":
        spots = _blurred(rising, FINE * how["diameter"], how)
        spots -= _blurred(rising, COARSE * how["diameter"], how, rising)
        return spots, spots
    spots = _blurred(rising, how["blur"], how, rising)
    if probability is None:
        return spots, spots
    outline = probability.astype(np.float32, copy=False)
    if probability.dtype == np.uint8:
        outline /= 255
    return outline, spots


def mask(outline, coarse, box, how):
    """Voxels that are cell, (Z, Y, X) bool: above the threshold, and tissue."""
    found = overview.nearest(*coarse[2:], box)
    for plane, flags in zip(outline, found):
        flags &= plane > how["threshold"]
    return found


def cells(image, block, coarse, how, shape, probability=None):
    """The cells of a block by the nearest centre.

    image : (Z, Y, X) of the block's outer box (`halo` around its core). shape : of the whole volume.

    Returns labels of the core, int32 from 1; and the names of these cells, (n,) int64.
    """
    return separated(rise(image, coarse, block.outer), block, coarse, how, shape, probability)


def separated(rising, block, coarse, how, shape, probability=None):
    """What `cells` returns, from what `rise` does. What is as large as the outer box is let go as soon as it
    has served, for a worker needs most memory for that: ``rising`` too, if the caller does not hold it."""
    outline, spots = maps(rising, how, probability)
    del rising, probability
    inside = mask(outline, coarse, block.outer, how)
    places = nearest.centres(spots, inside, how["apart"], how["voxel_size"])
    del spots
    inside = inside[block.inner].copy()
    least = None
    if how["share"]:
        least = outline[block.inner].copy(), how["share"] * outline[tuple(places.T)]
    del outline
    labels, places = nearest.to_nearest(places, inside, block.inner, how["reach"], how["voxel_size"], least)
    return labels, nearest.names(places, block.outer, shape)
