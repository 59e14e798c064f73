"""Notebook 07: WNet3D makes labels without any, artefacts are filtered out, a network learns from them.

After Achard et al. 2024, Fig. 1g. The labels come from brightness alone, so what is bright and no cell is in
them; the network that learns from the filtered ones can also see shape and surroundings. Training and filters
stand in the notebook; here are the volumes, and the comparison on the one held out.
"""

import itertools

import numpy as np
import pandas

from cellseg_nb import parameters
from cellseg_nb.cells import instances
from cellseg_nb.data import artefacts, datasets, simulate
from cellseg_nb.data.artefacts import AWAY, INSIDE
from cellseg_nb.evaluation import metrics
from cellseg_nb.lessons import common

NETWORK = {"demo": "segresnet", "paper": "swinunetr"}
SHARED = "dataset held_out voxel_size min_size max_size epochs profile seed device cache out start_over"
PARAMETERS = parameters.common(*SHARED.split()) | {
    "artefact_from": parameters.text,
    "network": parameters.auto(parameters.one_of, tuple(NETWORK.values())),
    "filter_labels": parameters.truth,
}


def resolved(choice):
    """The choices with what "auto" stands for."""
    return common.resolved(choice) | {"network": choice["network"] or NETWORK[choice["profile"]]}


def load(choice):
    """Volumes to learn from, one held out, and where artefacts begin; says what was read.

    Returns (list of `datasets.Volume`, `datasets.Volume`, {name: slices before its artefact}). Raises
    UserError like `common.load`, and for an ``artefact_from`` that does not fit.
    """
    if choice["dataset"] == "simulated":
        learned, test = common.hold_out(simulated(choice["seed"]), choice["held_out"])
        known = lambda name, depth: depth * 3 // 4  # noqa: E731
        for volume in (*learned, test):
            common.say(volume, "held out, only for the test" if volume is test else "for learning")
    else:
        learned, test = common.load(choice)
        known = artefacts.known_artefact(choice["dataset"])
    images = {volume.name: volume.image for volume in (*learned, test)}
    clean = artefacts.clean_slices(choice["artefact_from"] or "auto", images, known)
    for name, first in clean.items():
        print(f"{name}: from slice {first} on there is an artefact")
    return learned, test, clean


def simulated(seed=0):
    """Three `datasets.Volume` with a bright sheet, which is no cell, in the last quarter."""
    made = [simulate.volume((56, 64, 64), 75, 3 * seed + number, artefact=True) for number in range(3)]
    return [
        datasets.Volume(f"simulated {number}", image.astype(np.float32), labels, (5.0, 5.0, 5.0))
        for number, (image, labels) in enumerate(made, 1)
    ]


# ---------------------------------------------------------------- the comparison, on the held-out volume


def scores(truth, found, trusted=None):
    """Dice and F1@0.5 in the slices before ``trusted``, and what was missed and invented before and after it.
    A table.

    ``found`` is {method: labels}, all (Z, Y, X). An object counts where its centre lies.
    """
    trusted = len(truth) if trusted is None else trusted
    rows = []
    for name, labels in found.items():
        cells = metrics.quality(truth, labels)
        inside = {
            "missed": _after(truth, cells.missed, trusted),
            "invented": _after(labels, cells.invented, trusted),
        }
        rows.append(
            {
                "method": name,
                f"Dice {AWAY}": metrics.dice(truth[:trusted], labels[:trusted]),
                f"F1 {AWAY}": float(metrics.match(truth[:trusted], labels[:trusted], (0.5,)).f1[0]),
                "Dice, whole": metrics.dice(truth, labels),
                f"invented {AWAY}": len(cells.invented) - inside["invented"],
                f"invented {INSIDE}": inside["invented"],
                f"missed {AWAY}": len(cells.missed) - inside["missed"],
                f"missed {INSIDE}": inside["missed"],
            }
        )
    return pandas.DataFrame(rows).set_index("method").round(3)


def _after(labels, ids, first):
    """How many of these objects have their centre in slice ``first`` or later."""
    z = np.broadcast_to(np.arange(len(labels))[:, None, None], labels.shape)[labels > 0]
    own = labels[labels > 0]
    counts = np.bincount(own, minlength=int(labels.max(initial=0)) + 1)
    centre = np.bincount(own, z, len(counts)) / np.maximum(counts, 1)
    return int((centre[np.asarray(ids, int)] >= first).sum())


def f1_curves(truth, found, trusted=None):
    """F1 at nine IoU thresholds: a table method, slices (away from the artefact, or all), threshold, f1."""
    parts = (
        {"all slices": slice(None)} if trusted is None else {AWAY: slice(trusted), "all slices": slice(None)}
    )
    rows = []
    for name, labels in found.items():
        for words, part in parts.items():
            at = metrics.match(truth[part], labels[part])
            rows += [[name, words, threshold, f1] for threshold, f1 in zip(at.thresh, at.f1)]
    return pandas.DataFrame(rows, columns=["method", "slices", "threshold", "f1"])


def cell_by_cell(truth, first, second, threshold=0.5):
    """McNemar's exact test: of the true cells that only one of two segmentations finds, is it mostly the same
    one?

    Returns a dict: both, only_first, only_second, neither (numbers of true cells), p (two-sided; 1 where the
    two find the same cells). Takes cells for independent of each other, which neighbours are not quite.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    a = set(metrics.quality(truth, first, threshold).matched_true.tolist())
    b = set(metrics.quality(truth, second, threshold).matched_true.tolist())
    both, only_a, only_b = len(a & b), len(a - b), len(b - a)
    neither = instances.count(truth) - len(a | b)
    p = mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue
    return {"both": both, "only_first": only_a, "only_second": only_b, "neither": neither, "p": float(p)}


def paired(truth, found, trusted=None):
    """`cell_by_cell` for every two methods, in the slices before ``trusted`` and in all: a table."""
    parts = (
        {"all slices": slice(None)} if trusted is None else {AWAY: slice(trusted), "all slices": slice(None)}
    )
    return pandas.DataFrame(
        [
            {
                "slices": words,
                "first": a,
                "second": b,
                **cell_by_cell(truth[part], found[a][part], found[b][part]),
            }
            for words, part in parts.items()
            for a, b in itertools.combinations(found, 2)
        ]
    )


def headline(scores):
    """The outcome in one line; ``scores`` is the table of `scores`."""
    return "; ".join(
        f"{name}: Dice {row[f'Dice {AWAY}']:.3f} {AWAY}, {row[f'invented {INSIDE}']:.0f} invented {INSIDE}"
        for name, row in scores.iterrows()
    )
