"""Bright spots of about a cell's size: evidence for cells that needs no network, and how many of them to
believe."""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells import background

ROSE = (
    5.0  # a spot is seen when it rises five times as far as noise does (Rose 1948, J. Opt. Soc. Am. 38, 196)
)
CLEAR = 15.0  # so far above the noise, a spot is beyond doubt
# or so many times as far as the strongest dark spot: in a volume without texture no bright spot is doubtful
OVER_DARK = 3.0
DOUBTFUL = 2.3  # at most so many doubtful spots are believed for each that is beyond doubt
# of the spots believed, so many may be texture: as many as there are in the volume turned to its negative
MIRRORED = 0.05
NARROW = 0.9  # of a cell's width: spots that touch are told apart at less than it
# from so many voxels of depth on, hills outline simulated cells better than spots do; with 2.2 they do not
FEW = 2.5
DIRECTIONS = np.array(
    [(0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, -1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 0, -1), (1, -1, 0)],
    float,
)


def small(diameter):
    """Whether cells are so small, under `FEW` voxels along one axis, that spots say more of them than a mask
    does."""
    return min(diameter) < FEW


def evidence(volume, diameter, valid, noise):
    """How far each place rises above what surrounds it *in every direction*, over the ``noise`` of one voxel.

    The smaller of two: a difference of two blurs (0.3 and 1.2 cell diameters), and 1.8 times the drop to the
    mean of two opposite points 1.1 diameters away, along the direction where it is least (stripes, edges and
    fibres do not drop along themselves; 1.8 makes both alike on a round spot). (Z, Y, X) float32.
    """
    diameter = np.asarray(diameter, float)
    fine = background.blur(volume, 0.3 * diameter, valid).astype(np.float32)
    drop = np.full(volume.shape, np.inf, np.float32)
    for direction in DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=1)[:, None]:
        step = 1.1 * direction * diameter
        drop = np.minimum(drop, fine - (_moved(fine, step) + _moved(fine, -step)) / 2)
    coarse = background.blur(volume, 1.2 * diameter, valid)
    return np.minimum(fine - coarse, 1.8 * drop) / noise


def _moved(volume, step):
    """Shifted, between voxels by linear interpolation; the edge is repeated."""
    for axis, s in enumerate(step):
        low = int(np.floor(s))
        part, side = s - low, volume.shape[axis]
        index = np.arange(side) - low
        volume = (1 - part) * volume.take(np.clip(index, 0, side - 1), axis) + part * volume.take(
            np.clip(index - 1, 0, side - 1), axis
        )
    return volume.astype(np.float32)


def find(volume, diameter, valid=None):
    """Spots that are believed: places (n, 3) in voxels, their evidence (n,), and the least evidence that was
    asked for.

    Volume (Z, Y, X) float32; ``diameter``: a cell's width in voxels along Z, Y, X; ``valid`` (Z, Y, X) bool
    or None.
    """
    narrow = NARROW * np.asarray(diameter, float)
    places, strength = bright(volume, narrow, valid)
    least = threshold(strength, dark(volume, narrow, valid))
    return places[strength > least], strength[strength > least], least


def bright(volume, diameter, valid=None):
    """Places (n, 3) of the bright spots and their evidence (n,), highest first."""
    noise = max(background.noise(volume, valid), 1e-6)
    rising = evidence(volume, diameter, valid, noise)
    return background.peaks(rising, 1.2 * np.asarray(diameter), valid, 1.0)


def dark(volume, diameter, valid=None):
    """Evidence (n,) of the dark spots, highest first: what texture alone gives."""
    noise = max(background.noise(volume, valid), 1e-6)
    everywhere = np.ones(volume.shape, bool) if valid is None else valid
    level = background.level(volume, everywhere, 2.4 * np.asarray(diameter))
    negative = -np.minimum(volume, level + 3 * noise)  # gaps between bright cells are no dark spots
    rising = evidence(negative, diameter, valid, noise)
    return background.peaks(rising, 1.2 * np.asarray(diameter), valid, 1.0)[1]


def threshold(strength, mirrored):
    """The least evidence to believe, from the evidence of bright spots and of dark ones, both (n,), highest
    first."""
    clear = int((strength > np.clip(OVER_DARK * mirrored[:1].max(initial=0), ROSE, CLEAR)).sum())
    most = int((1 + DOUBTFUL) * clear)
    least = max(ROSE, float(strength[most]) if clear and most < len(strength) else ROSE)
    for value in np.unique(np.round(strength[strength >= least], 1)):
        if (mirrored > value).sum() <= MIRRORED * max(1, (strength > value).sum()):
            return max(least, float(value))
    return least


def labels(volume, places, strength, diameter, valid=None):
    """Outlines of spots: each spot's basin, where the volume rises above half of the spot's own height.

    Returns (Z, Y, X) int32, numbered in the order of ``places``.
    """
    from skimage.segmentation import watershed

    diameter = np.asarray(diameter, float)
    rising = background.blur(volume, 0.15 * diameter, valid) - background.blur(volume, 1.2 * diameter, valid)
    seeds = np.zeros(volume.shape, np.int32)
    seeds[tuple(places.T)] = np.arange(1, len(places) + 1)
    near = ndi.distance_transform_edt(seeds == 0, sampling=1 / diameter) <= 0.8 if len(places) else seeds > 0
    height = ndi.maximum_filter(rising, [max(1, int(d / 4)) * 2 + 1 for d in diameter])[tuple(places.T)]
    basins = watershed(-rising, seeds, mask=near & (rising > 0))
    cut = np.concatenate([[np.inf], 0.5 * height])[basins]
    found = np.where(rising >= cut, basins, 0).astype(np.int32)
    found[tuple(places.T)] = np.arange(1, len(places) + 1)
    return found
