"""Notebook 04 on data sets that the network has not seen: which they are, and what is made of them."""

from pathlib import Path

import numpy as np
import pandas

from cellseg_nb.cells import borders
from cellseg_nb.data import datasets, simulate
from cellseg_nb.evaluation import centres, metrics
from cellseg_nb.io import volumes
from cellseg_nb.io.ngff import is_zarr
from cellseg_nb.lessons.inference import EMBEDSEG, UNSEEN, other_words, read

SMALL = "small cells, as c-FOS"
REACH = 6.0  # µm between the centres of a true and a found cell


def others(choice):
    """Volumes of data sets that the network was not trained on: a list of `datasets.Volume`.

    ``other`` names them, with commas between: those in `UNSEEN`, or paths of your own. "": all of `UNSEEN` in
    the profile paper, in demo simulated volumes that differ each in one way. Raises UserError for the data
    set that the released weights were trained on, and whatever else is no other one.
    """
    named = other_words(choice)
    if not named and choice["profile"] == "demo":
        return simulated(choice["seed"])
    found = []
    for word in named or UNSEEN:
        found += _file(choice, word) if Path(word).is_file() or is_zarr(Path(word)) else _set(choice, word)
    return found


def _file(choice, path):
    return [read(Path(path), choice)]


def _set(choice, name):
    """The volumes of a data set, with labels where there are some; of a downloaded set those with labels
    alone."""
    collection = datasets.collect(name, cache=choice["cache"] or None)
    found = []
    for pair in collection.pairs:
        if pair.labels is not None or name not in UNSEEN:
            image, labels, size = datasets.load(pair, collection.voxel_size or choice["voxel_size"])
            volume = datasets.Volume(f"{collection.name}: {pair.name}", image, labels, size)
            found.append(halved(volume) if name in EMBEDSEG else volume)
    return found


def simulated(seed=0):
    """Volumes that differ each in one way from the bundled sample: a list of `datasets.Volume`."""
    kinds = {
        "new cells, same microscope": {},
        "few photons": dict(photons=0.15, camera=15.0),
        "strong blur along z": dict(blur=(2.5, 0.8, 0.8)),
        SMALL: dict(cells=110, radius=(1.6, 2.0)),
        "cells twice as wide": dict(shape=(64, 96, 96), cells=22, radius=(6.4, 9.2)),
    }
    made = []
    for name, kind in kinds.items():
        usual = {"shape": (48, 72, 72), "cells": 45, "seed": seed + 11}
        image, labels = simulate.volume(**{**usual, **kind})
        made.append(datasets.Volume(name, image.astype(np.float32), labels, (5.0, 5.0, 5.0)))
    return [*made, halved(made[-1])]


def halved(volume):
    """The same `datasets.Volume` with voxels twice as wide: its cells are half as wide in voxels."""
    size = volume.voxel_size
    target = tuple(2 * side for side in size)
    image = volumes.rescale(volume.image, size, target)
    labels = volumes.rescale(volume.labels, size, target, order=0)
    return datasets.Volume(f"{volume.name}, shrunk by half", image, labels, target)


# ---------------------------------------------------------------- what is made of them


def cells_of(volume, probability, separate, choice):
    """Labels of an unseen `datasets.Volume`: by ``separate(method, probability, image, voxel_size)`` with the
    method of the choice; in the profile paper, of the mouse skull by `borders.skull`."""
    if choice["profile"] == "paper" and volume.name.startswith("mouse_skull_nuclei"):
        return borders.skull(probability)
    return separate(choice["method"], probability, volume.image, volume.voxel_size)


def by_centres(volume, labels):
    """F1 of cell centres no more than `REACH` µm apart, and how many cells there are: a row (dict)."""
    found = centres.match_centres(volume.labels, labels, volume.voxel_size, REACH)
    about = {"true cells": found["tp"] + found["fn"], "found": found["tp"] + found["fp"]}
    return {"": volume.name, **about, "F1 of centres": found["f1"], "precision": found["precision"]} | {
        "recall": found["recall"]
    }


def f1_curves(many, found):
    """F1 at nine IoU thresholds of each labelled volume: a table, columns volume, threshold, f1."""
    rows = []
    for volume, labels in zip(many, found):
        if volume.labels is not None:
            at = metrics.match(volume.labels, labels)
            rows += [[volume.name, threshold, f1] for threshold, f1 in zip(at.thresh, at.f1)]
    return pandas.DataFrame(rows, columns=["volume", "threshold", "f1"])
