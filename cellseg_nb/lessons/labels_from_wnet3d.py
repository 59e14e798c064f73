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
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.lessons import common

TEACHER = {"demo": "same", "paper": "delivr_cfos"}  # what WNet3D learns from; "same": what it labels
HELD_OUT = {"demo": "", "paper": "visual, c3, c5"}
NETWORK = {"demo": "segresnet", "paper": "swinunetr"}
SHARED = "dataset held_out voxel_size min_size max_size epochs profile seed device cache out start_over"
PARAMETERS = parameters.common(*SHARED.split()) | {
    "artefact_from": parameters.text,
    "teacher_data": parameters.text,
    "network": parameters.auto(parameters.one_of, tuple(NETWORK.values())),
    "filter_labels": parameters.truth,
}


def resolved(choice):
    """The choices with what "auto" stands for."""
    teacher = choice["teacher_data"] if choice["teacher_data"] != "auto" else TEACHER[choice["profile"]]
    network = choice["network"] or NETWORK[choice["profile"]]
    return common.resolved(choice) | {"network": network, "teacher_data": teacher}


def load(choice):
    """Volumes to learn from, those held out, and where artefacts begin; says what was read.

    ``held_out`` names one or several, with commas; "auto": the last, of the paper's visual, c3 and c5 in the
    profile paper. Returns (list of `datasets.Volume`, list of those held out, {name: slices before its
    artefact}). Raises UserError like `common.load`, for an ``artefact_from`` that does not fit, and when
    nothing is left to learn from.
    """
    known = artefacts.known_artefact(choice["dataset"])
    if choice["dataset"] == "simulated":
        learned, known = simulated(choice["seed"]), lambda name, depth: depth * 3 // 4
    else:
        learned = common.read(choice)
        learned = learned if len(learned) > 1 else common.cut(learned[0])
    word = choice["held_out"]
    if word in ("", "auto") and choice["dataset"] == "cellseg3d":
        word = HELD_OUT[choice["profile"]]
    tests = []
    for name in parameters.listed("held_out", word) if word else ["auto"]:
        learned, test = common.hold_out(learned, name)
        tests.append(test)
    if not learned:
        raise UserError("every volume is held out, and none is left to learn from: name fewer in held_out")
    for volume in (*learned, *tests):
        held = any(volume is test for test in tests)
        common.say(volume, "held out, only for the test" if held else "for learning")
    images = {volume.name: volume.image for volume in (*learned, *tests)}
    clean = artefacts.clean_slices(choice["artefact_from"] or "auto", images, known)
    for name, first in clean.items():
        print(f"{name}: from slice {first} on there is an artefact")
    return learned, tests, clean


def for_teacher(choice, images):
    """The volumes that WNet3D learns from, (Z, Y, X) each: ``images`` where ``teacher_data`` is "same", else
    those of another data set or folder, of which no label is read. Says which. Raises UserError."""
    if choice["teacher_data"] in ("", "same"):
        print("WNet3D learns from the volumes that it will label.")
        return images
    if choice["teacher_data"] == choice["dataset"]:
        raise UserError("teacher_data is the dataset itself: write same, or name another sample")
    collection = datasets.collect(choice["teacher_data"], cache=choice["cache"] or None)
    print(f"WNet3D learns from {len(collection.pairs)} volumes of another sample: {collection.title}.")
    return [datasets.load(pair._replace(labels=None))[0] for pair in collection.pairs]


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


def scores_of_all(tests, found, clean):
    """`scores` of every volume held out: Dice and F1 as means over them, what was missed and invented as
    sums. ``found`` is {volume: {method: labels}}."""
    each = [scores(test.labels, found[test.name], clean.get(test.name)) for test in tests]
    total = sum(each)
    means = [name for name in total if name.startswith(("Dice", "F1"))]
    total[means] = (total[means] / len(each)).round(3)
    return total


def curves_of_all(tests, found, clean):
    """`f1_curves` of every volume held out: a table with the column volume in front."""
    return _of_all(f1_curves, tests, found, clean)


def paired_of_all(tests, found, clean):
    """`paired` of every volume held out: a table with the column volume in front."""
    return _of_all(paired, tests, found, clean)


def _of_all(table, tests, found, clean):
    parts = {test.name: table(test.labels, found[test.name], clean.get(test.name)) for test in tests}
    return pandas.concat(parts, names=["volume"]).reset_index(level="volume").reset_index(drop=True)


def _parts(trusted):
    """The slices that are looked at by themselves: those before ``trusted``, where there is such, and all."""
    away = {} if trusted is None else {AWAY: slice(trusted)}
    return away | {"all slices": slice(None)}


def f1_curves(truth, found, trusted=None):
    """F1 at nine IoU thresholds: a table method, slices (away from the artefact, or all), threshold, f1."""
    rows = []
    for name, labels in found.items():
        for words, part in _parts(trusted).items():
            at = metrics.match(truth[part], labels[part])
            rows += [[name, words, threshold, f1] for threshold, f1 in zip(at.thresh, at.f1)]
    return pandas.DataFrame(rows, columns=["method", "slices", "threshold", "f1"])


def cell_by_cell(truth, first, second):
    """McNemar's exact test: of the true cells that only one of two segmentations finds, is it mostly the same
    one?

    Returns a dict: both, only_first, only_second, neither (numbers of true cells), p (two-sided; 1 where the
    two find the same cells). Takes cells for independent of each other, which neighbours are not quite.
    """
    from statsmodels.stats.contingency_tables import mcnemar

    a = set(metrics.quality(truth, first).matched_true.tolist())
    b = set(metrics.quality(truth, second).matched_true.tolist())
    both, only_a, only_b = len(a & b), len(a - b), len(b - a)
    neither = instances.count(truth) - len(a | b)
    p = mcnemar([[both, only_a], [only_b, neither]], exact=True).pvalue
    return {"both": both, "only_first": only_a, "only_second": only_b, "neither": neither, "p": float(p)}


def paired(truth, found, trusted=None):
    """`cell_by_cell` for every two methods, in the slices before ``trusted`` and in all: a table."""
    rows = []
    for words, part in _parts(trusted).items():
        for a, b in itertools.combinations(found, 2):
            test = cell_by_cell(truth[part], found[a][part], found[b][part])
            rows.append({"slices": words, "first": a, "second": b, **test})
    return pandas.DataFrame(rows)


def headline(scores):
    """The outcome in one line; ``scores`` is the table of `scores`."""
    return "; ".join(
        f"{name}: Dice {row[f'Dice {AWAY}']:.3f} {AWAY}, {row[f'invented {INSIDE}']:.0f} invented {INSIDE}"
        for name, row in scores.iterrows()
    )
