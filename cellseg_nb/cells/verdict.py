"""Did it work? Said without labels, from the volume, the probability and the cells found in it.

Ten questions, each with a number between them and a bad result:

* are the cells bright where they are outlined (`lit`)? Broad regions and halos are not;
* is the edge of a cell above the background (`rim`)? That of a halo is not;
* does each cell rise above what is around it (`risen`)? Noise does not;
* are the bright spots of the volume in cells (`covered`)?
* has each cell one spot (`alone`)? Glued cells have several;
* are there hardly more cells than spots, or are most about as large as a cell (`cells`, `spots`, `size`)?
  Fragments are neither;
* is a share of the volume called cell that cells can fill (`share`)?
* are the classes clear (SoftNCuts, where there is the history of a training)?
* of cells as narrow as points: are there no few far larger ones, beside which they may be specks (`bulk`)?
* of small cells: are there far fewer dark spots, which texture makes, than bright ones (`texture`)?
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells import background, instances, spots

BROAD = 0.35  # share of the volume
LIT, DIM = 0.75, 0.5  # share of the labelled voxels that are brighter than the background and its noise
RIM, WIDE = 0.15, 0.10  # brightness of the outermost voxels of a cell, as a share of its own height
FILLED = 1.5  # times what the cells fill: what is called cell beyond that is not in them
STEEP = 0.9, 0.2  # lit and rim from which outlines are beyond doubt: crowded or large cells may fill so much
RISEN, FLAT = 0.8, 0.5  # share of the cells that rise above their surroundings
COVERED, MISSED = 0.8, 0.5  # share of the clear spots that lie in a cell
ALONE, GLUED = 0.7, 0.4  # share of the clear spots in cells that are the only one of their cell
MANY, CRUMBS = 1.8, 4  # cells for each clear spot, where the median cell is `SMALL`
SMALL = 0.25  # volume of a cell, as a share of a ball of the cell diameter
# where most cells are hardly wider than a point, under so many voxels, specks may be taken for them: so much
# of what is outlined is in a few that are so many times as large
POINT, BULK, TIMES = 6.0, 0.5, 8.0
GRAINY = 0.2  # clear dark spots for each clear bright one
UNCLEAR = 0.06  # SoftNCuts of the last epochs; that of clear classes is near 0


@dataclass
class Verdict:
    """``level``: "ok", "doubtful" or "failed"; ``text``: one line, what was seen and what may help;
    ``numbers``."""

    level: str
    text: str
    numbers: dict = field(default_factory=dict)

    def __str__(self):
        return f"{self.level}: {self.text}"


def judge(volume, labels, probability=None, valid=None, diameter=(8.0, 8.0, 8.0), history=None):
    """A verdict on cells found without labels.

    Parameters
    ----------
    volume : (Z, Y, X) array, as prepared
    labels : (Z, Y, X) integers
    probability : (Z, Y, X) in 0..1 or None
    valid : (Z, Y, X) bool or None, false where nothing was measured
    diameter : a cell's width in voxels along Z, Y, X
    history : of the training, or None

    Returns `Verdict`.
    """
    volume = np.asarray(volume, np.float32)
    valid = np.ones(volume.shape, bool) if valid is None else valid
    numbers = measure(volume, labels, probability, valid, diameter)
    if not numbers["cells"]:
        return _none(numbers)
    failed, doubtful = [], []
    for name, good, bad, text in (
        (
            "lit",
            LIT,
            DIM,
            "of what is outlined is brighter than the background: outlines are too wide, or of noise; a "
            "larger min_size, a flattened background or another seed may help",
        ),
        (
            "rim",
            RIM,
            WIDE,
            "of a cell's height is left at its outline: outlines are too wide; the cell diameter, or "
            "another seed, may help",
        ),
        (
            "risen",
            RISEN,
            FLAT,
            "of the cells rise above what is around them: noise is taken for cells; give the cell "
            "diameter, or a larger min_size",
        ),
        (
            "covered",
            COVERED,
            MISSED,
            "of the clear bright spots lie in a cell: cells are missed; lower the threshold, or "
            "train from another seed",
        ),
    ):
        if name in numbers and numbers[name] < good:
            (failed if numbers[name] < bad else doubtful).append(f"only {100 * numbers[name]:.0f} % {text}")
    if numbers["share"] > BROAD and not _steep(numbers):
        failed.insert(
            0,
            f"{100 * numbers['share']:.0f} % of the volume is called cell: broad regions; flatten the "
            "background, give the cell diameter, or try another seed",
        )
    if numbers.get("alone", 1) < ALONE:
        (failed if numbers["alone"] < GLUED else doubtful).append(
            f"{100 - 100 * numbers['alone']:.0f} % of the clear spots share their cell with another: cells "
            "are glued; give the cell diameter, or another way to separate"
        )
    if numbers["cells"] > MANY * numbers["spots"] and numbers["size"] < SMALL:
        (failed if numbers["cells"] > CRUMBS * numbers["spots"] else doubtful).append(
            f"{numbers['cells']} cells, most of them far smaller than a cell, for {numbers['spots']} clear "
            "spots: fragments; give the cell diameter, or another way to separate"
        )
    if numbers.get("bulk", 0) > BULK:
        doubtful.append(
            f"most cells are hardly wider than a point, but {100 * numbers['bulk']:.0f} % of the outlined "
            f"is in a few over {TIMES:g} times as large: if these are the cells and the others specks, give "
            "the cell diameter, or a larger min_size"
        )
    if numbers.get("texture", 0) > GRAINY:
        doubtful.append(
            f"the tissue has dark spots as clear as its bright ones, {100 * numbers['texture']:.0f} for 100 "
            "of them: some of the cells are texture; give the cell diameter, and look at the dim ones"
        )
    if history:
        cut = float(np.mean([row["n_cuts"] for row in history[-3:]]))
        if cut > UNCLEAR:
            doubtful.append(
                f"SoftNCuts stands at {cut:.2f}: the classes are not clear; more epochs, or another seed"
            )
    if failed or doubtful:
        return Verdict("failed" if failed else "doubtful", (failed + doubtful)[0], numbers)
    return Verdict(
        "ok",
        "the cells are bright where they are outlined, and no clear spot lies outside them"
        if numbers.get("covered", 0) == 1
        else "the cells are bright where they are outlined",
        numbers,
    )


def _steep(numbers):
    """Whether it is the cells themselves that fill so much, with outlines beyond doubt."""
    narrow = numbers["share"] <= FILLED * numbers["filled"]
    return narrow and numbers.get("lit", 0) >= STEEP[0] and numbers.get("rim", 0) >= STEEP[1]


def _none(numbers):
    if numbers["spots"]:
        return Verdict(
            "failed",
            f"no cells, though {numbers['spots']} spots rise clearly above the noise: lower the threshold, "
            "or train from another seed",
            numbers,
        )
    return Verdict(
        "failed",
        "no cells, and nothing in the volume rises clearly above the noise: is it empty, or are the cells "
        "dark on a bright ground?",
        numbers,
    )


def measure(volume, labels, probability, valid, diameter):
    """The numbers of the verdict: cells, spots, share (called cell), filled (by cells); with cells lit, rim,
    risen, size; with spots in addition covered, alone; for cells that are spots, texture; for cells as narrow
    as points, bulk."""
    labels = np.asarray(labels)
    diameter = np.asarray(diameter, float)
    inside = valid.sum() or 1
    called = labels > 0 if probability is None else np.asarray(probability) > 0.5
    numbers = {"cells": instances.count(labels), "share": float((called & valid).sum() / inside)}
    numbers["filled"] = float(((labels > 0) & valid).sum() / inside)
    filled = background.filled(volume, valid)
    rising, least, places = _spots(filled, labels, valid, diameter)
    numbers["spots"] = len(places)
    if spots.small(diameter) and len(places):
        numbers["texture"] = float((spots.dark(filled, diameter, valid) > spots.CLEAR).sum() / len(places))
    if numbers["cells"]:
        numbers |= _outlines(filled, labels, valid, diameter)
        highest = ndi.maximum(rising, labels, np.unique(labels[labels > 0]))
        numbers["risen"] = float(np.mean(np.asarray(highest) > least))
        sizes = np.bincount(labels[labels > 0])
        usual = np.median(sizes[sizes > 0])
        numbers["size"] = float(usual / (np.pi / 6 * diameter.prod()))
        if usual < np.pi / 6 * POINT**3:
            numbers["bulk"] = float(sizes[sizes > TIMES * usual].sum() / sizes.sum())
        if len(places):
            at = labels[tuple(places.T)]
            numbers["covered"] = float((at > 0).mean())
            counts = np.bincount(at[at > 0], minlength=1)
            numbers["alone"] = float((counts == 1).sum() / max(1, counts.sum()))
    return numbers


def _spots(volume, labels, valid, diameter):
    """How far each place rises, how far a cell must, and the clear spots (n, 3).

    For cells that are spots (`spots.small`) the evidence of `spots.evidence`: fibres and edges, which rise as
    far, are no cells.
    """
    if spots.small(diameter):
        rising = spots.evidence(volume, diameter, valid, max(background.noise(volume, valid), 1e-6))
        places, _ = background.peaks(rising, 1.2 * diameter, valid, spots.CLEAR)
        return rising, spots.ROSE, places
    rising = background.rise(volume, diameter, valid)
    noise = background.rise_noise(rising, volume, diameter, valid, valid & (labels == 0))
    places, _ = background.peaks(rising, diameter, valid, background.CLEAR * noise)
    return rising, spots.ROSE * noise, places


def _outlines(volume, labels, valid, diameter):
    """``lit``: share of the labelled voxels brighter than the background around them by twice its noise,
    lightly blurred; ``rim``: how bright the outermost voxels of a cell are, as a share of its height (median
    over the cells)."""
    smooth = ndi.gaussian_filter(volume, np.minimum(0.1 * diameter, 1))
    free = valid & (labels == 0)
    if free.mean() < 0.02:
        return {"lit": 0.0, "rim": 0.0}
    above = smooth - background.level(smooth, free, background.step(volume.shape, diameter))
    rest = above[free]
    noise = background.spread(rest)
    cells = np.unique(labels[labels > 0])
    edge = (labels > 0) & (
        (ndi.minimum_filter(labels, 3) != labels) | (ndi.maximum_filter(labels, 3) != labels)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        rim = ndi.mean(volume - smooth + above, np.where(edge, labels, 0), cells) / ndi.maximum(
            above, labels, cells
        )
    return {"lit": float(np.mean(above[labels > 0] > 2 * noise)), "rim": float(np.nanmedian(rim))}
