"""How many labels does a method need? Methods x held-out volumes x shares of the training cubes x seeds.

After Achard et al. 2024, Fig. 1e,f: whole volumes are held out in turn; of the cubes of the others, 10, 20,
60 or 80 % are learned from. Nothing is chosen on the cubes that are left over, nor on the held-out volume.
"""

import inspect
import os
from collections import namedtuple
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from cellseg_nb import __version__, methods, parameters, runtime
from cellseg_nb.data import artefacts, datasets, splitting
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import grid, metrics
from cellseg_nb.io import files, volumes
from cellseg_nb.learning import pairs
from cellseg_nb.lessons.common import LABEL_FREE, PROFILES as WNET3D, SELF_TUNING
from cellseg_nb.lessons.label_efficiency_results import labels_file

# images, labels: {volume: (Z, Y, X)}; cubes: see `splitting.cube_table`; clean: {volume: slices before its
# artefact}
Data = namedtuple("Data", "images labels cubes clean voxel_size")

SCALE = 0.4  # of the sides of the simulated volumes: a sixteenth of the voxels and of the cells
METHODS = {"demo": "otsu,wnet3d,segresnet", "paper": "otsu,wnet3d,segresnet,swinunetr,cellpose,stardist"}
PERCENTAGES = {"demo": "10,80", "paper": "10,20,60,80"}
SEEDS = {"demo": "0", "paper": "0,1,2"}
CUBES = {"demo": 32, "paper": 64}
DEMO = {
    "wnet3d": dict(channels=(16, 16, 32, 32), cube=16, epochs=20),
    "segresnet": dict(cube=16, batch=4, epochs=5, loss="dice_ce"),
}
PAPER = {"wnet3d": WNET3D["paper"]}
NEEDS = ("cellpose", "stardist")  # methods that are libraries of their own


def check(
    dataset="auto",
    method_names="auto",
    held_out="auto",
    percentages="auto",
    seeds="auto",
    cube=0,
    voxel_size="auto",
    artefact_from="auto",
    profile="demo",
    processes=0,
    device="auto",
    out="results/06_label_efficiency",
    cache="",
):
    """The notebook's parameters, checked, as a dict. Raises UserError naming the one that is wrong."""
    parameters.one_of("profile", profile, ("demo", "paper"))
    names = parameters.listed("methods", _auto(method_names, METHODS[profile]))
    for name in names:
        methods.kind(name)
        if name in NEEDS and find_spec(name) is None:
            raise UserError(
                f"the method {name!r} needs a library that is not installed: run  "
                f"{methods.install_words(name)}, or leave {name!r} out of methods"
            )
    shares = _numbers("percentages", _auto(percentages, PERCENTAGES[profile]), 0.001, 100)
    seeds = _numbers("seeds", _auto(seeds, SEEDS[profile]), 0, 2**31 - 1, whole=True)
    runtime.device(device)
    cube = parameters.number("cube", cube, 0, 1024, whole=True) or CUBES[profile]
    if cube < 8:
        raise UserError(f"cube must be 8 voxels or more, or 0 for what the profile says, not {cube}")
    return {
        "dataset": _auto(dataset, "simulated" if profile == "demo" else "cellseg3d"),
        "methods": names,
        "held_out": None if _auto(held_out, "auto") == "auto" else parameters.listed("held_out", held_out),
        "percentages": sorted(shares),
        "seeds": seeds,
        "cube": cube,
        "voxel_size": parameters.voxel_size(voxel_size),
        "artefact_from": _auto(artefact_from, "auto"),
        "profile": profile,
        "device": device,
        "processes": _processes(processes, device),
        "out": str(files.writable_folder(out)),
        "cache": cache or None,
    }


def _auto(value, usual):
    return usual if str(value).strip() in ("", "auto") else value


def _numbers(name, text, low, high, whole=False):
    found = []
    for word in parameters.listed(name, text):
        try:
            value = float(word)
        except ValueError:
            raise UserError(f"{name} must be numbers with commas between them, not {text!r}") from None
        parameters.number(name, value, low, high, whole)
        found.append(int(value) if value == int(value) else value)
    return list(dict.fromkeys(found))


def _processes(processes, device):
    """0: one process a core, at most 8; one alone where there is a GPU, which they would have to share."""
    processes = parameters.number("processes", processes, 0, 256, whole=True)
    if processes:
        return processes
    return min(8, os.cpu_count() or 1) if runtime.device(device).type == "cpu" else 1


# ---------------------------------------------------------------- volumes, and who learns from what


def load(choice):
    """Read all volumes with their labels, and divide them into cubes. Returns `Data`; says what was read.

    Raises UserError for volumes without labels, pairs that do not fit (`pairs.check`), different voxel sizes.
    """
    collection = datasets.collect(
        choice["dataset"], Path(choice["out"]) / "simulated", scale=SCALE, cache=choice["cache"]
    )
    without = [pair.name for pair in collection.pairs if pair.labels is None]
    if without:
        raise UserError(
            f"{collection.folder}: {', '.join(without)} has no labels: every volume needs some, to learn "
            "from or to test with"
        )
    read = {
        pair.name: datasets.load(pair, choice["voxel_size"] or collection.voxel_size)
        for pair in collection.pairs
    }
    if len({size for *_, size in read.values()}) > 1:
        raise UserError(
            f"{collection.folder}: the volumes have different voxel sizes: set voxel_size for all, or "
            "resample them to one"
        )
    images, labels = pairs.check(*zip(*[(image, label) for image, label, _ in read.values()]))
    images, labels = dict(zip(read, images)), dict(zip(read, labels))
    cubes = splitting.cube_table({name: image.shape for name, image in images.items()}, choice["cube"])
    clean = artefacts.clean_slices(
        choice["artefact_from"], images, artefacts.known_artefact(choice["dataset"])
    )
    found = Data(images, labels, cubes, clean, next(iter(read.values()))[2])
    for name, image in images.items():
        print(
            f"{name}: {' x '.join(map(str, image.shape))} voxels (Z, Y, X), {_cells(labels[name])} cells, "
            f"{(cubes.volume == name).sum()} cubes"
        )
    return found


def _cells(labels):
    return len(np.unique(labels[labels > 0]))


def jobs(choice, found):
    """Every run of the grid as a dict: method, fold, volume (held out), training_percent, seed.

    In an order that finishes a first complete comparison early, and lets the time left be estimated.
    """
    folds = splitting.folds(found.images, choice["held_out"])
    return [
        {
            "method": name,
            "fold": fold.fold,
            "volume": fold.held_out,
            "training_percent": percent,
            "seed": seed,
        }
        for seed in choice["seeds"]
        for fold in folds.itertuples()
        for percent in choice["percentages"]
        for name in choice["methods"]
    ]


def division(choice, found, seed):
    """Which cubes are for learning, for all folds and percentages of a seed (see `splitting.splits`): a
    table."""
    return splitting.splits(found.cubes, choice["percentages"], seed, choice["held_out"])


def training_cubes(found, job, held_out=None):
    """The cubes a run may learn from: images, labels (lists of (z, y, x)), and their rows of the table of
    cubes.

    They depend on the fold, the percentage and the seed only: every method gets the same ones.
    """
    table = splitting.splits(found.cubes, [job["training_percent"]], job["seed"], held_out)
    rows = table[(table.fold == job["fold"]) & (table.role == "training")]
    assert not (rows.volume == job["volume"]).any()
    images = [splitting.cut(found.images[row["volume"]], row) for row in rows.to_dict("records")]
    labels = [splitting.cut(found.labels[row["volume"]], row) for row in rows.to_dict("records")]
    return images, labels, rows


# ---------------------------------------------------------------- a run


def method(name, choice, seed, voxel_size=None):
    """The method with the settings of the profile; nothing of what it is given is put aside for
    validation."""
    kind = methods.kind(name)
    settings = dict(DEMO.get(name, {}))
    if choice["profile"] == "paper":
        settings = dict(PAPER.get(name, getattr(kind, "PAPER", {})))
    if np.isscalar(settings.get("cube")):
        settings["cube"] = min(settings["cube"], max(8, choice["cube"] // 8 * 8))
    known = inspect.signature(kind).parameters
    offered = {"seed": seed, "device": choice["device"], "share": 0.0, "voxel_size": voxel_size}
    return kind(**settings, **{key: value for key, value in offered.items() if key in known})


def work(job, context):
    """One run: learn from the cubes, then segment the held-out volume. Returns one row of the table."""
    choice, found = context["choice"], context["data"]
    methods.TARGETS.update(context["targets"])
    images, labels, rows = training_cubes(found, job, choice["held_out"])
    model = method(job["method"], choice, job["seed"], found.voxel_size)
    if job["method"] in LABEL_FREE:
        model.fit(images, progress=False)
    else:
        model.fit(images, labels, progress=False)
        if job["method"] not in SELF_TUNING:
            model.tune(images, labels)
    image, truth = found.images[job["volume"]], found.labels[job["volume"]]
    cells = model.segment(image, voxel_size=found.voxel_size)
    volumes.write(labels_file(choice, job), cells, found.voxel_size, compress=True)
    learned = {
        (volume, cell) for volume, label in zip(rows.volume, labels) for cell in np.unique(label[label > 0])
    }
    at = metrics.match(truth, cells, (0.5,)).iloc[0]
    clean = slice(found.clean.get(job["volume"]))
    # Cut off before it is segmented: methods scale the brightness by what they see, and an artefact is
    # bright.
    cropped = model.segment(image[clean], voxel_size=found.voxel_size) if clean.stop else cells
    return [
        {
            "cubes": len(rows),
            "cells": len(learned),
            "dice": metrics.dice(truth, cells),
            "dice_without_artefact": metrics.dice(truth[clean], cropped),
            "f1": float(at.f1),
            "precision": float(at.precision),
            "recall": float(at.recall),
            "n_true": int(at.n_true),
            "n_pred": int(at.n_pred),
            "probability_threshold": getattr(model, "threshold", None),
        }
    ]


def run(choice, found, start_over=False):
    """All runs of the grid that are not done yet. Returns the tidy table, one row a run.

    Columns: method, fold, volume (held out), training_percent, seed; cubes and cells learned from; dice (of
    the whole volume), dice_without_artefact (of the volume cut off before it, as in the paper);
    f1, precision, recall at IoU 0.5, n_true, n_pred; probability_threshold (chosen on the training cubes);
    seconds.
    """
    folder = files.writable_folder(Path(choice["out"]) / "runs")
    for file in folder.glob("*.json") if start_over else []:
        file.unlink()
    settings = {key: choice[key] for key in ("profile", "cube", "held_out")} | {
        "data": pairs.fingerprint(*found.images.values(), *found.labels.values()),
        "clean": found.clean,
        "voxel_size": found.voxel_size,
        "version": __version__,
        "options": PAPER if choice["profile"] == "paper" else DEMO,
    }
    targets = {name: target for name, target in methods.TARGETS.items() if isinstance(target, str)}
    context = {"choice": choice, "data": found, "targets": targets}
    table = grid.run(
        jobs(choice, found), work, context, folder, settings, choice["processes"], desc="Label efficiency"
    )
    if table.empty:
        raise UserError("no run of the grid gave a result: the lines above say why")
    return table
