"""Notebook 06: how many labels does a method need? Methods x volumes held out x shares of the cubes x seeds.

After Achard et al. 2024, Fig. 1e,f: whole volumes are held out in turn; of the cubes of the others, 10, 20,
60 or 80 % are learned from. Nothing is chosen on the cubes that are left over, nor on the held-out volume.

In the profile paper nothing is chosen at all (thresholds are those found for Fig. 1b), and WNet3D learns from
the first subset alone, with three seeds, and never from a cube that touches an artefact.
"""

import re
from pathlib import Path

import numpy as np
import pandas

from cellseg_nb import __version__, methods, parameters
from cellseg_nb.data import artefacts, datasets, splitting
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import grid, metrics
from cellseg_nb.io import files, volumes
from cellseg_nb.learning import augmentation, pairs
from cellseg_nb.lessons import common
from cellseg_nb.lessons.label_efficiency_plan import SEEDS, jobs, training_cubes
from cellseg_nb.methods import settings

SCALE = 0.4  # of the sides of the simulated volumes: a sixteenth of the voxels and of the cells
AUTO = {
    "demo": {"methods": ["otsu", "wnet3d", "segresnet"], "percentages": [10, 80], "seeds": [0], "cube": 32},
    "paper": {
        "methods": [
            *("swinunetr", "cellpose", "cellpose_default", "segresnet", "stardist", "stardist_default"),
            *("wnet3d", "wnet3d_pretrained"),
        ],
        "percentages": [10, 20, 60, 80],
        "seeds": SEEDS,
        "cube": 64,
    },
}


def _cube(name, value):
    """The side of the cubes in voxels, None for 0."""
    side = parameters.number(name, value, 0, 1024, whole=True)
    if 0 < side < 8:
        raise UserError(f"cube must be 8 voxels or more, or 0 for what the profile says, not {side}")
    return side or None


PARAMETERS = (
    common.GRID
    | parameters.common(
        "dataset", "held_out", "voxel_size", "profile", "device", "cache", "out", "start_over"
    )
    | {
        "percentages": parameters.auto(parameters.numbers, 0.001, 100),
        "cube": _cube,
        "artefact_from": parameters.text,
    }
)


def resolved(choice):
    """The choices with what "auto" stands for, and without the methods whose library is missing: a line each
    says what to install. Raises UserError when none is left."""
    auto = AUTO[choice["profile"]]
    choice = common.resolved(choice) | {name: choice[name] or usual for name, usual in auto.items()}
    return choice | {
        "methods": common.available(choice["methods"]),
        "percentages": sorted(choice["percentages"]),
        "processes": grid.at_once(choice["processes"], choice["device"]),
    }


# ---------------------------------------------------------------- volumes, and who learns from what


def load(choice):
    """Read all volumes with their labels; says what was read.

    Returns (list of `datasets.Volume`, {name: slices before its artefact}; volumes without one are left out).
    Raises UserError like `common.read`, and for an ``artefact_from`` that does not fit.
    """
    if choice["dataset"] == "simulated":
        folder = datasets.simulated(Path(choice["out"]) / "simulated", scale=SCALE)
        every = common.read({**choice, "dataset": str(folder), "seed": 0})
    else:
        every = common.read({**choice, "seed": 0})
    for volume in every:
        common.say(volume)
    images = {volume.name: volume.image for volume in every}
    known = artefacts.known_artefact(choice["dataset"])
    return every, artefacts.clean_slices(choice["artefact_from"] or "auto", images, known)


def plan(choice, every, draw=splitting.draw):
    """Which cubes are for learning, for all seeds, folds and percentages: the table of `splitting.splits`,
    with a column seed in front.

    ``draw(count, percentage, seed)`` chooses them. Raises UserError for names that do not exist.
    """
    cubes = splitting.cube_table({volume.name: volume.image.shape for volume in every}, choice["cube"])
    held_out = common.all_held_out([volume.name for volume in every], choice["held_out"])
    parts = []
    for seed in choice["seeds"]:
        part = splitting.splits(cubes, choice["percentages"], seed, held_out, draw)
        part.insert(0, "seed", seed)
        parts.append(part)
    return pandas.concat(parts, ignore_index=True)


# ---------------------------------------------------------------- a run


def method(name, choice, seed=0, voxel_size=None):
    """The method with its settings in this notebook; nothing of what it is given is put aside for
    validation."""
    own = settings.of(name, choice["profile"], "06")
    smaller = {}
    if np.isscalar(own.get("cube")):
        smaller["cube"] = min(own["cube"], max(8, choice["cube"] // 8 * 8))
    if "scaling" in methods.method_class(name).settings and own.get("scaling") != "cube":
        smaller["scaling"] = "none"  # `scaled` does that for whole volumes, before cubes are cut out of them
    return common.method(choice, name, "06", smaller, seed=seed, voxel_size=voxel_size, share=0.0)


def scaled(image, name, choice):
    """A whole volume as the method wants to see it, (Z, Y, X): so cubes are scaled in training as the volume
    is at prediction. Methods that scale nothing, or each cube and window by itself, get it as it is."""
    known = methods.method_class(name).settings
    scaling = settings.of(name, choice["profile"], "06").get("scaling", known.get("scaling"))
    if scaling == "volume":
        return volumes.remap(image)
    return augmentation.prepare(image, scaling) if scaling in ("unit", "clipped") else image


def work(job, context):
    """One run: learn from the cubes, then segment the held-out volume. Returns one row of the table."""
    choice, every = context["choice"], context["volumes"]
    methods.TARGETS.update(context["targets"])
    clean = context["clean"] if choice["profile"] == "paper" else None
    test = next(volume for volume in every if volume.name == job["volume"])
    seen = [one._replace(image=scaled(one.image, job["method"], choice)) for one in every if one is not test]
    images, labels, rows = training_cubes(seen, context["plan"], job, clean)
    model = method(job["method"], choice, job["seed"], test.voxel_size)
    model.fit(images, labels if model.needs_labels or model.self_tuning else None, progress=False)
    if choice["profile"] == "demo" and model.tunes_on_labels and not model.self_tuning:
        model.tune(images, labels, progress=False)
    image = scaled(test.image, job["method"], choice)
    cells = model.segment(image, voxel_size=test.voxel_size)
    volumes.write(labels_file(choice, job), cells, test.voxel_size, compress=True)
    learned = {
        (volume, cell) for volume, label in zip(rows.volume, labels) for cell in np.unique(label[label > 0])
    }
    at = metrics.match(test.labels, cells, (0.5,)).iloc[0]
    clean = slice(context["clean"].get(job["volume"]))
    # Cut off before it is segmented: methods scale the brightness by what they see, and an artefact is
    # bright.
    part = scaled(test.image[clean], job["method"], choice)
    cropped = model.segment(part, voxel_size=test.voxel_size) if clean.stop else cells
    return [
        {
            "cubes": len(rows),
            "cells": len(learned),
            "dice": metrics.dice(test.labels, cells),
            "dice_without_artefact": metrics.dice(test.labels[clean], cropped),
            **{name: float(at[name]) for name in ("f1", "precision", "recall")},
            **{name: int(at[name]) for name in ("n_true", "n_pred")},
            "probability_threshold": model.chosen.get("threshold"),
        }
    ]


def labels_file(choice, job):
    """Where a run leaves the labels of its held-out volume."""
    name = "_".join(str(job[key]) for key in ("method", "volume", "training_percent", "seed"))
    return Path(choice["out"]) / "labels" / (re.sub(r"[^\w.-]+", "-", name) + ".tif")


def run(choice, every, plan, clean=None, start_over=False):
    """All runs of the grid that are not done yet. Returns the tidy table, one row a run.

    ``every`` is a list of `datasets.Volume`; ``plan`` and ``clean`` are of `plan` and `load`. Columns:
    method, fold, volume (held out), training_percent, seed; cubes and cells learned from; dice (of the whole
    volume), dice_without_artefact (of the volume cut off before it, as in the paper); f1, precision, recall
    at IoU 0.5, n_true, n_pred; probability_threshold (chosen on the training cubes); seconds. Raises
    UserError when no run gives a result.
    """
    folder, clean = files.writable_folder(Path(choice["out"]) / "runs"), clean or {}
    for file in folder.glob("*.json") if start_over else []:
        file.unlink()
    same = {key: choice[key] for key in ("profile", "cube")} | {
        "data": pairs.fingerprint(*(side for volume in every for side in (volume.image, volume.labels))),
        "clean": clean,
        "voxel_size": every[0].voxel_size,
        "version": __version__,
    }

    def depends(job):  # on its own cubes and its method's settings: other runs are kept when these change
        rows = training_cubes(every, plan, {**job, "method": ""})[2]
        cubes = {name: part.tolist() for name, part in rows.groupby("volume").cube}
        return {**same, "cubes": cubes, "options": settings.of(job["method"], choice["profile"], "06")}

    targets = {name: target for name, target in methods.TARGETS.items() if isinstance(target, str)}
    context = {"choice": choice, "volumes": every, "plan": plan, "clean": clean, "targets": targets}
    every_job = jobs(choice, plan)
    table = grid.run(every_job, work, context, folder, depends, choice["processes"], desc="Label efficiency")
    if table.empty:
        raise UserError("no run of the grid gave a result: the lines above say why")
    return table


# ---------------------------------------------------------------- what came out


def summary(table, value="dice"):
    """Mean, SD and number of values for each method and percentage."""
    found = table.groupby(["method", "training_percent"], sort=False)[value].agg(["mean", "std", "count"])
    return found.round(3)


def effort(table):
    """Cubes and cells there were to learn from, and seconds a run took, for each percentage: means. A
    table."""
    table = table[table.training_percent > 0]  # not what was trained already
    amounts = table.groupby("training_percent")[["cubes", "cells"]].mean().round(0).astype(int)
    seconds = table.pivot_table(index="training_percent", columns="method", values="seconds", sort=False)
    return amounts.join(seconds.add_prefix("seconds, ").round(1))


def headline(table):
    """The outcome in one line."""
    means = table.groupby(["method", "training_percent"], sort=False).dice.mean().unstack()
    low, high = means.columns.min(), means.columns.max()
    return "; ".join(
        f"{name}: Dice {row[low]:.2f} with {low} % of the cubes, {row[high]:.2f} with {high} %"
        for name, row in means.iterrows()
    )


def label_free(choice):
    """The methods that no labels are shown to, neither to train nor to tune."""
    known = {name: methods.method_class(name) for name in choice["methods"]}
    return [name for name, one in known.items() if not (one.tunes_on_labels or one.needs_labels)]


def segmentations(choice, names, volume, seed):
    """{words: labels} of the smallest and largest percentage of some methods, for a picture. Raises
    UserError."""
    shown = {}
    for name in names:
        for percent in sorted({choice["percentages"][0], choice["percentages"][-1]}):
            path = labels_file(
                choice, {"method": name, "volume": volume, "training_percent": percent, "seed": seed}
            )
            if not path.is_file():
                raise UserError(f"{path} is missing: run the grid again with start_over ticked")
            shown[f"{name}, {percent} %"] = volumes.read_labels(path, own=True)[0]
    return shown
