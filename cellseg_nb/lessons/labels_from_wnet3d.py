"""The steps of notebook 07: WNet3D makes labels without any, artefacts are filtered out, a network learns
from them.

After Achard et al. 2024, Fig. 1g. The labels come from brightness alone, so what is bright and no cell is in
them; the network that learns from the filtered ones can also see shape and surroundings.
"""

import inspect
import time
from pathlib import Path

import numpy as np

from cellseg_nb import methods, parameters, runtime
from cellseg_nb.cells import instances
from cellseg_nb.data import artefacts, simulate
from cellseg_nb.data.artefacts import AWAY, INSIDE
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import files, volumes
from cellseg_nb.lessons import common
from cellseg_nb.lessons.common import PROFILES as WNET3D

SHAPE, CELLS = (56, 64, 64), 75  # of a simulated volume
DEMO = {
    "wnet3d": dict(channels=(16, 16, 32, 32), cube=16, epochs=24),
    "segresnet": dict(cube=24, batch=4, epochs=16, loss="dice_ce"),
    "swinunetr": dict(loss="dice_ce"),
}
NETWORK = {"demo": "segresnet", "paper": "swinunetr"}


def check(
    dataset,
    held_out,
    voxel_size,
    artefact_from,
    network,
    filter_labels,
    min_size,
    max_size,
    epochs,
    profile,
    seed,
    device,
    out,
    cache="",
):
    """All parameters, checked, as a dict. Raises UserError in one line; creates the output folder."""
    parameters.one_of("profile", profile, ("demo", "paper"))
    network = NETWORK[profile] if network in ("", "auto") else network
    methods.kind(network)
    if network in (*common.LABEL_FREE, *common.SELF_TUNING):
        raise UserError(
            f"network must be a method that learns from labels, such as segresnet, not {network!r}"
        )
    if dataset in ("", "auto"):
        dataset = "simulated" if profile == "demo" else "cellseg3d"
    runtime.device(device)
    return {
        "dataset": dataset,
        "held_out": held_out,
        "voxel_size": parameters.voxel_size(voxel_size),
        "artefact_from": str(artefact_from).strip() or "auto",
        "network": network,
        "filter_labels": bool(filter_labels),
        "min_size": parameters.number("min_size", min_size, 0, whole=True),
        "max_size": parameters.number("max_size", max_size, 0, whole=True),
        "epochs": parameters.number("epochs", epochs, 0, 100000, whole=True),
        "profile": profile,
        "seed": parameters.number("seed", seed, 0, 2**31 - 1, whole=True),
        "device": device,
        "out": str(files.writable_folder(out)),
        "cache": cache,
    }


def load(choice):
    """The volumes (`common.Data`), and how many slices of each come before its artefact, {name: slices}."""
    if choice["dataset"] == "simulated":
        folder = simulated(Path(choice["out"]) / "with_artefact", choice["seed"])
        data = common.load({**choice, "dataset": str(folder)})
        known = lambda name, depth: depth * 3 // 4  # noqa: E731
    else:
        data = common.load(choice)
        known = artefacts.known_artefact(choice["dataset"])
    images = {**dict(zip(data.names, data.images)), data.test.name: data.test.image}
    clean = artefacts.clean_slices(choice["artefact_from"], images, known)
    for name, first in clean.items():
        print(f"{name}: from slice {first} on there is an artefact")
    return data, clean


def simulated(folder, seed=0, count=3):
    """Volumes with a bright sheet, which is no cell, in the last quarter: TIFFs in ``images`` and
    ``labels``."""
    folder = files.writable_folder(folder)
    for number in range(count):
        image, labels = simulate.volume(SHAPE, CELLS, 3 * seed + number, artefact=True)
        for part, array in (("images", image), ("labels", labels)):
            volumes.write(folder / part / f"simulated_{number + 1}.tif", array, (5.0, 5.0, 5.0))
    return folder


def teacher(choice):
    """WNet3D with the settings of the profile."""
    settings = WNET3D["paper"] if choice["profile"] == "paper" else DEMO["wnet3d"]
    return methods.get(
        "wnet3d", **{**settings, **_epochs(choice)}, seed=choice["seed"], device=choice["device"]
    )


def student(choice):
    """The network that learns from labels, with the settings of the profile. Nothing is put aside for
    validation, so that all trainings see all they are given; the threshold stays at 0.5."""
    kind = methods.kind(choice["network"])
    settings = getattr(kind, "PAPER", {}) if choice["profile"] == "paper" else DEMO.get(choice["network"], {})
    offered = {**_epochs(choice), "share": 0.0, "seed": choice["seed"], "device": choice["device"]}
    known = inspect.signature(kind).parameters
    return kind(**{**settings, **{key: value for key, value in offered.items() if key in known}})


def _epochs(choice):
    return {"epochs": choice["epochs"]} if choice["epochs"] else {}


def folder(choice, name, start_over=False):
    """Folder of a training's checkpoint; ``start_over`` throws away what is there."""
    return common.folder(choice, name, start_over)


def clean_labels(labels, trusted=None, min_size=0, max_size=0):
    """Labels without artefacts: objects with their centre before slice ``trusted``, of ``min_size`` to
    ``max_size`` voxels (0: no limit). (Z, Y, X) int32. What is dropped becomes background."""
    labels = instances.filter_slices(labels, last=None if trusted is None else trusted - 1)
    return instances.filter_size(labels, min_size, max_size or None)


def lessons(choice, data, made, clean):
    """What the network is to learn from: WNet3D's labels, filtered unless ``filter_labels`` is off.

    Returns the list of labels, and a table of how many objects were there, and are left, in each volume.
    """
    import pandas

    rows, kept = [], []
    for name, labels, truth in zip(data.names, made, data.labels):
        by_slice = clean_labels(labels, clean.get(name))
        left = clean_labels(by_slice, None, choice["min_size"], choice["max_size"])
        kept.append(left if choice["filter_labels"] else labels)
        rows.append([name, *(len(np.unique(found[found > 0])) for found in (labels, by_slice, left, truth))])
    columns = ["volume", "objects of WNet3D", "in trusted slices", "and of fitting size", "true cells"]
    return kept, pandas.DataFrame(rows, columns=columns).set_index("volume")


# ---------------------------------------------------------------- the comparison, on the held-out volume


def scores(truth, found, trusted=None):
    """Dice and F1@0.5 in the slices before ``trusted``, and what was missed and invented before and after it.
    A table.

    ``found`` is {method: labels}, all (Z, Y, X). An object counts where its centre lies.
    """
    import pandas

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
    import pandas

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
    import scipy.stats

    a = set(metrics.quality(truth, first, threshold).matched_true.tolist())
    b = set(metrics.quality(truth, second, threshold).matched_true.tolist())
    only_a, only_b = len(a - b), len(b - a)
    p = scipy.stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return {
        "both": len(a & b),
        "only_first": only_a,
        "only_second": only_b,
        "neither": len(np.unique(truth[truth > 0])) - len(a | b),
        "p": float(p),
    }


def paired(truth, found, trusted=None):
    """`cell_by_cell` for every two methods, in the slices before ``trusted`` and in all: a table."""
    import itertools

    import pandas

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


def save(choice, data, trained, lesson, found, tables, figures, started):
    """Write weights, tables, pictures, labels of the held-out volume, and volumes with the labels WNet3D
    made, in the layout that notebook 03 opens as a data set (``for_training``). Returns the folder."""
    from cellseg_nb.lessons import common

    out = Path(choice["out"])
    trained.save(out)
    for name, image, labels in zip(data.names, data.images, lesson):
        stem = Path(name).name.replace(" ", "_").replace(",", "")
        volumes.write(out / "for_training" / "images" / f"{stem}.tif", image, data.voxel_size)
        volumes.write(out / "for_training" / "labels" / f"{stem}.tif", labels, data.voxel_size)
    for name, labels in found.items():
        volumes.write(out / f"held_out_{name.replace(' ', '_')}.tif", labels, data.voxel_size)
    score = tables["scores"]
    words = "; ".join(
        f"{name}: Dice {row[f'Dice {AWAY}']:.3f} {AWAY}, {row[f'invented {INSIDE}']:.0f} invented {INSIDE}"
        for name, row in score.iterrows()
    )
    tables = {name: table.reset_index() if table.index.name else table for name, table in tables.items()}
    common.save(out, choice, tables, figures, words)
    files.write_json(
        out / "summary.json",
        {
            "headline": words,
            "scores": score.reset_index().to_dict("records"),
            "held_out": data.test.name,
            "seconds": time.time() - started,
        },
    )
    return out
