"""What notebook 04 tries out: other thresholds, artefacts, hollow cells, other volumes and networks."""

import numpy as np

from cellseg_nb.cells import instances
from cellseg_nb.data import simulate
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import volumes
from cellseg_nb.lessons.inference import Volume, _published, _read, label, rows, score, threshold


def over_thresholds(probability, truth=None, steps=np.linspace(0.05, 0.95, 19)):
    """Share of the volume above each threshold, cells (connected components of 5 voxels or more), Dice with a
    truth."""
    import pandas

    return pandas.DataFrame(
        [
            {
                "threshold": cut,
                "share": (probability > cut).mean(),
                "pieces": int(instances.connected(probability, cut, 5).max()),
                "dice": np.nan if truth is None else metrics.dice(truth, probability > cut),
            }
            for cut in steps
        ]
    )


def with_artefact(choice):
    """A simulated volume whose last slices hold a bright, ragged sheet that is no cell."""
    image, truth = simulate.volume((64, 72, 72), 75, choice["seed"] + 21, artefact=True)
    return Volume("with an artefact", image.astype(np.float32), truth, (5.0, 5.0, 5.0))


def hollow(choice):
    """A simulated volume of nuclei whose stain sits at the rim, and dims towards the middle."""
    from scipy import ndimage as ndi

    _, truth = simulate.volume((48, 72, 72), 30, choice["seed"] + 31, radius=(5.0, 6.0), touching=0.1)
    depth = ndi.distance_transform_edt(truth > 0)
    rim = np.where((truth > 0) & (depth <= 2), 900.0, 0) + 100
    rng = np.random.default_rng(choice["seed"])
    image = rng.poisson(ndi.gaussian_filter(rim, 0.5)) + rng.normal(0, 4, truth.shape)
    return Volume("hollow nuclei", image.astype(np.float32), truth, (1.0, 1.0, 1.0))


def others(choice):
    """Volumes the network was not trained on: yours, the paper's other two, or simulated ones that differ
    each in one way."""
    if choice["other"]:
        return [_read(path, choice) for path in volumes.find(choice["other"])]
    if choice["profile"] == "paper":
        return _published(choice)
    seed = choice["seed"] + 11
    kinds = {
        "new cells, same microscope": {},
        "few photons": dict(photons=0.15, camera=15.0),
        "strong blur along z": dict(blur=(2.5, 0.8, 0.8)),
        "cells twice as wide": dict(shape=(64, 96, 96), cells=22, radius=(6.4, 9.2)),
    }
    made = {
        name: simulate.volume(**{"shape": (48, 72, 72), "cells": 45, "seed": seed, **kind})
        for name, kind in kinds.items()
    }
    found = [
        Volume(name, image.astype(np.float32), truth, (5.0, 5.0, 5.0))
        for name, (image, truth) in made.items()
    ]
    return [*found, halved(found[-1])]


def halved(volume):
    """The same volume with voxels twice as wide: its cells are as wide in voxels as those the network
    knows."""
    size = volume.voxel_size
    target = tuple(2 * s for s in size)
    truth = volumes.rescale(volume.truth, size, target, order=0)
    return Volume(
        f"{volume.name}, shrunk by half", volumes.rescale(volume.image, size, target), truth, target
    )


def zero_shot(choice, find_cells, many):
    """Each volume through the same network and threshold. Returns a list of labels and a table."""
    cut, found, scores = threshold(choice, find_cells), [], []
    for volume in many:
        probability = find_cells(volume.image, progress=False)
        labels = instances.filter_size(label(choice, volume, probability, cut), choice["min_size"])
        found.append(labels)
        scores.append(score(volume.name, labels, volume.truth, probability, cut))
    return found, rows(scores)
