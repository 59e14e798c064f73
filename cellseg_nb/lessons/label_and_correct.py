"""Notebook 10: its parameters, a volume with cells of many sizes that touch, orders of correcting side by
side, networks scored on a volume that nobody corrected."""

import numpy as np
import pandas

from cellseg_nb import parameters
from cellseg_nb.cells import instances
from cellseg_nb.data import datasets, simulate
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import volumes
from cellseg_nb.lessons import common
from cellseg_nb.viewer import corrector
from cellseg_nb.viewer.canvas import Canvas

NETWORKS = ("segresnet", "swinunetr")
SECONDS = parameters.rule(parameters.number, 0, 3600)
PARAMETERS = parameters.common(
    "voxel_size", "min_size", "epochs", "profile", "seed", "device", "out", "start_over"
) | {
    "images": parameters.text,
    "labels": parameters.text,
    "corrections": parameters.rule(parameters.one_of, ("script", "mine")),
    "minutes": parameters.rule(parameters.number, 0, 1e5),
    "seconds_a_look": SECONDS,
    "network": parameters.rule(parameters.one_of, NETWORKS),
}
SIZE = (2.0, 2.0, 2.0)
ENOUGH = 0.95  # F1 at which labels count as corrected
RANDOMS = 5  # random orders beside the queue's


def load(choice):
    """The volume to label, and one to test on: `datasets.Volume`; says what was read.

    Without ``images``, both are simulated: cells of many sizes, many of them touching, little light. Yours
    has no truth, and no test volume (None). Raises UserError for a file that cannot be read.
    """
    from cellseg_nb.plots import widgets

    images = widgets.choose(choice["images"])
    if images:
        path = volumes.find(images)[0]
        image, size = volumes.read_one(path, "here", voxel_size=choice["voxel_size"])
        found = [datasets.Volume(path.name, image, None, size), None]
    else:
        made = [_simulated(3 * choice["seed"] + number) for number in range(2)]
        found = [datasets.Volume(f"simulated {n}", *pair, SIZE) for n, pair in enumerate(made, 1)]
    roles = ("to be labelled", "held out, only for the test")
    for volume, role in zip(found, roles):
        if volume is not None:
            common.say(volume, role)
    return found


def _simulated(seed):
    kind = dict(touching=0.7, dim=0.2, radius=(3.0, 6.5), blur=(1.4, 0.8, 0.8), photons=0.5)
    image, labels = simulate.volume((48, 96, 96), 110, seed, **kind)
    return image.astype(np.float32), labels


def given_labels(choice, volume):
    """Labels to begin with out of a file; None where none is given. Raises UserError for another shape."""
    if not choice["labels"]:
        return None
    labels, _ = volumes.read_labels(volumes.find(choice["labels"])[0])
    if labels.shape != volume.image.shape:
        raise UserError(
            f"{choice['labels']} has shape {labels.shape}, the volume {volume.image.shape}: give the labels "
            "of this volume"
        )
    return labels


# ---------------------------------------------------------------- correcting by script


def orders(labels, truth, items, voxel_size, seconds):
    """The scripted corrector in the queue's order, which learns on the way, and in `RANDOMS` random orders:
    {order: its table}, and the labels that the queue's order leaves. See `corrector.correct`."""
    canvas = Canvas(labels, voxel_size)
    found = {"queue": corrector.correct(canvas, truth, items, seconds, learn=True)}
    for seed in range(RANDOMS):
        again, order = Canvas(labels, voxel_size), corrector.shuffled(items, seed)
        found[f"random {seed + 1}"] = corrector.correct(again, truth, order, seconds)
    return found, canvas.labels


def effort(tables):
    """What it takes in each order to reach an F1 of `ENOUGH`: a table with cells looked at, edits, minutes;
    NaN where it is not reached."""
    rows = {}
    for name, table in tables.items():
        there = table[table.f1 >= ENOUGH]
        columns = ["looked", "corrections", "minutes"]
        rows[name] = there[columns].iloc[0] if len(there) else pandas.Series(np.nan, columns)
    return pandas.DataFrame(rows).T


# ---------------------------------------------------------------- what it buys


def scores(truth, found):
    """F1 at IoU 0.5 and 0.7, Dice, and the number of cells of labels by name, a table; of a volume without
    truth, the number alone."""
    rows = {}
    for name, labels in found.items():
        rows[name] = {"cells": instances.count(labels)}
        if truth is not None:
            at = metrics.match(truth, labels, (0.5, 0.7)).f1
            rows[name] |= {"F1@0.5": at[0], "F1@0.7": at[1], "Dice": metrics.dice(truth, labels)}
    return pandas.DataFrame(rows).T.astype({"cells": int})


def headline(tables, table):
    """What was found, in one line."""
    words = []
    if tables:
        looked = effort(tables).looked
        queue, chance = looked["queue"], looked.drop("queue").mean()
        words.append(
            f"F1 {ENOUGH} is not reached by correcting"
            if np.isnan(queue)
            else f"F1 {ENOUGH} after {queue:.0f} cells in the queue's order, {chance:.0f} in random order"
        )
    if "F1@0.5" in table:
        words += [f"trained on {name} labels: F1@0.5 {row['F1@0.5']:.2f}" for name, row in table.iterrows()]
    return "; ".join(words) or f"{table.cells.iloc[0]} cells"
