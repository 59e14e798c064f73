"""Notebook 05: the same volumes and the same rule of tuning for every method; each (method, fold, seed) is
run once and kept.

What makes it fair: in a run, `fit` and `tune` are given the volumes to learn from, as copies, and nothing
else. The volume held out is segmented afterwards, and its labels are only used to count.
"""

import contextlib
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pandas

from cellseg_nb import __version__, methods, parameters
from cellseg_nb.cells import instances
from cellseg_nb.data import bundled, splitting
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import grid, metrics, statistics, tables
from cellseg_nb.io import files, volumes
from cellseg_nb.learning import pairs
from cellseg_nb.lessons import common
from cellseg_nb.methods import settings

PARAMETERS = common.GRID | parameters.common(
    "dataset", "held_out", "voxel_size", "profile", "epochs", "device", "cache", "out"
)
VARIANTS, MATCHINGS = ("default", "tuned"), ("3d", "slicewise")
PUBLISHED = {
    "Otsu threshold": ("otsu", "default"),
    "WNet3D": ("wnet3d", "tuned"),
    "SegResNet": ("segresnet", "tuned"),
    "SwinUNetR": ("swinunetr", "tuned"),
    "Cellpose": ("cellpose", "tuned"),
    "Cellpose - default": ("cellpose", "default"),
    "StarDist": ("stardist", "tuned"),
    "StarDist - default": ("stardist_default", "default"),
}
SCORES = "threshold f1 precision recall panoptic_quality tp fp fn n_true n_pred".split()


def resolved(choice):
    """The choices with what "auto" stands for, and without the methods whose library is missing: a line each
    says what to install. Raises UserError when none is left."""
    return common.resolved(choice) | {
        "methods": common.available(choice["methods"] or usual(choice["profile"])),
        "seeds": choice["seeds"] or [0],
        "processes": grid.at_once(choice["processes"], choice["device"]),
    }


def usual(profile):
    """The names of the methods to compare; in paper StarDist twice, as it comes and tuned."""
    return [*methods.usual(), *(["stardist_default"] if profile == "paper" else [])]


def load(choice):
    """All volumes with their labels, and the names of those held out, one a fold; says what was read.

    Of a single volume, the last third along its longest axis becomes the volume to test on. Returns (list of
    `datasets.Volume`, list of str). Raises UserError for pairs that do not fit (see `pairs.check`), and names
    that do not exist.
    """
    # The seeds of a training must not change the data.
    every = simulated() if choice["dataset"] == "simulated" else common.read({**choice, "seed": 0})
    every = every if len(every) > 1 else common.cut(every[0])
    held_out = folds([volume.name for volume in every], choice["held_out"], choice["profile"])
    for volume in every:
        common.say(volume, "held out once" if volume.name in held_out else "only for learning")
    return every, held_out


def simulated():
    """Three volumes of the size of the bundled sample, harder than it: dimmer cells, uneven light, more that
    touch. A list of `datasets.Volume`."""
    return common.simulated(artefact=False, dim=0.2, uneven=0.4, touching=0.4)


def folds(names, held_out="auto", profile="demo"):
    """The names of the volumes held out, one a fold. "auto": the last one in demo; in paper the paper's three
    where they are there, else each in turn. "all": each in turn."""
    if held_out in ("auto", "") and profile == "demo":
        return [names[-1]]
    return list(splitting.folds(names, common.all_held_out(names, held_out)).held_out)


# ------------------------------------------------------------ one run


def method(choice, name, seed=0, voxel_size=None, options=None):
    """A method with its settings in this notebook, and ``options`` of its constructor in their place."""
    return common.method(choice, name, "05", options, seed=seed, voxel_size=voxel_size)


def work(job, context):
    """One run: fit and tune on the volumes to learn from, segment the one held out, count. Returns rows."""
    methods.TARGETS.update(context["targets"])
    choice, size = context["choice"], context["volumes"][0].voxel_size
    learn = [volume for volume in context["volumes"] if volume.name != job["fold"]]
    test = next(volume for volume in context["volumes"] if volume.name == job["fold"])
    images, labels = [v.image.copy() for v in learn], [v.labels.copy() for v in learn]
    model = method(choice, job["method"], job["seed"], size, context["given"].get(job["method"]))
    place = files.writable_folder(Path(choice["out"]) / "training" / _name(job))
    taught = labels if model.needs_labels else None
    _, fitting = _timed(model.fit, images, taught, folder=place, progress=False)
    seconds = {"fit_seconds": fitting, "tune_seconds": 0.0}
    # What the network says does not depend on what is tuned: it is asked once.
    maps, looking = _timed(model.maps, test.image.copy())
    rows, chosen = [], ""
    for variant in VARIANTS:
        if variant == "tuned":
            before = model.chosen
            tried, seconds["tune_seconds"] = _timed(model.tune, images, labels, voxel_size=size)
            files.write_table(tuning_file(choice["out"], job), tried)
            chosen = _words({key: value for key, value in model.chosen.items() if value != before.get(key)})
        cells, labelling = _timed(model.segment, test.image.copy(), probability=maps, voxel_size=size)
        seconds["segment_seconds"] = round(looking + labelling, 2)
        volumes.write(labels_file(choice["out"], job, variant), cells, size)
        rows += [
            {"variant": variant, **row, "chosen": chosen, **seconds} for row in score(test.labels, cells)
        ]
    model.save(files.writable_folder(Path(choice["out"]) / "models" / _name(job)))
    shutil.rmtree(place, ignore_errors=True)  # only needed to carry on when a run is interrupted
    return rows


def score(truth, cells):
    """All measures of one segmentation: a list of rows, one for each matching and IoU threshold."""
    shared = {"dice": metrics.dice(truth, cells), "cells": instances.count(cells)}
    return [
        {"matching": matching, **{name: row[name] for name in SCORES}, **shared}
        for matching in MATCHINGS
        for row in metrics.match(truth, cells, slicewise=matching == "slicewise")
        .rename(columns={"thresh": "threshold"})
        .to_dict("records")
    ]


def _timed(function, *args, **options):
    start = time.perf_counter()
    return function(*args, **options), round(time.perf_counter() - start, 2)


def _words(values):
    texts = {key: value if isinstance(value, str) else f"{value:.3g}" for key, value in values.items()}
    return ", ".join(f"{key} {text}" for key, text in texts.items())


def _name(job):
    return re.sub(r"[^\w.-]+", "-", f"{job['method']}_{job['fold']}_{job['seed']}")


def labels_file(out, job, variant="tuned"):
    """Where the labels of a run are kept; ``job`` has method, fold, seed."""
    return Path(out) / "labels" / f"{_name(job)}_{variant}.tif"


def tuning_file(out, job):
    """Where the settings that a run has tried are kept, with their score on the training volumes."""
    return files.writable_folder(Path(out) / "tuning") / f"{_name(job)}.csv"


def tuning(choice, name, held_out):
    """What tuning a method has tried, for each fold of the first seed: one table, fold in front; None where
    no run of it was kept."""
    parts = []
    for fold in held_out:
        path = tuning_file(choice["out"], dict(method=name, fold=fold, seed=choice["seeds"][0]))
        if path.is_file():
            parts.append(pandas.read_csv(path).assign(fold=fold))
    return pandas.concat(parts, ignore_index=True) if parts else None


def pooled(table):
    """The published test of Fig. 1b: Kruskal-Wallis and Conover-Iman over the F1 of all IoU thresholds and
    folds together, each method as tuned. Repeats are averaged first. See `statistics.compare`."""
    part = table[(table.variant == "tuned") & (table.matching == "slicewise")]
    return statistics.compare(part, "f1", "method", resamples=200, unit="fold, threshold")


# ------------------------------------------------------------ all runs


def run(choice, every, held_out, given=None):
    """Every method on every fold with every seed. Returns a tidy table; finished runs are read, not run
    again.

    ``every`` is a list of `datasets.Volume`, ``held_out`` the names of those held out in turn; ``given`` may
    hold settings of your own, {method: {option: value}}. Columns: method, fold (the volume held out), seed,
    variant (default or tuned), matching (3d or slicewise), threshold (IoU), f1, precision, recall,
    panoptic_quality, tp, fp, fn, n_true, n_pred, dice, cells (found in 3D), chosen (what tuning changed),
    fit_seconds, tune_seconds, segment_seconds, seconds. One file a run lies in ``runs``, its labels in
    ``labels``, its weights in ``models``, all in the output folder. Raises UserError when no run has a
    result.
    """
    given, size = given or {}, every[0].voxel_size
    targets = {name: target for name, target in methods.TARGETS.items() if isinstance(target, str)}
    context = {"choice": choice, "volumes": every, "given": given, "targets": targets}
    same = {"version": __version__, "voxel_size": size, "profile": choice["profile"]}
    same["data"] = {volume.name: pairs.fingerprint(volume.image, volume.labels) for volume in every}
    own = {
        name: {"epochs": choice["epochs"], "given": given.get(name, {})}
        | {"options": settings.of(name, choice["profile"], "05")}
        for name in choice["methods"]
    }
    jobs = [
        {"method": name, "fold": fold, "seed": seed}
        for name in choice["methods"]
        for fold in held_out
        for seed in choice["seeds"]
    ]

    def depends(job):  # on its own method's settings only: changing these keeps the others' runs
        return {**same, **own[job["method"]]}

    folder = Path(choice["out"]) / "runs"
    table = grid.run(jobs, work, context, folder, depends, choice["processes"], desc="Comparison")
    if table.empty:
        raise UserError("no method came to a result: the lines above say why")
    return table


def found(choice, fold):
    """{method: labels} of the volume held out, as tuned and with the first seed, (Z, Y, X) int32 each, as far
    as they were kept."""
    kept = {}
    for name in choice["methods"]:
        with contextlib.suppress(UserError):
            file = labels_file(choice["out"], dict(method=name, fold=fold, seed=choice["seeds"][0]))
            kept[name] = volumes.read_labels(file, own=True)[0]
    return kept


# ------------------------------------------------------------ what came out


def runs(table):
    """One row a run and variant: what is worth a look, in 3D at an IoU of 0.5; with the column ``caution``
    where a method has one."""
    part = table[np.isclose(table.threshold, 0.5) & (table.matching == "3d")]
    columns = "method fold seed variant dice f1 precision recall n_true cells chosen"
    part = part[columns.split()].reset_index(drop=True)
    known = cautions(part.method.unique())
    return part.assign(caution=part.method.map(known).fillna("")) if known else part


def cautions(names):
    """What must be said beside the scores of some methods: {name: words}."""
    found = {name: methods.method_class(name).caution for name in names if name in methods.TARGETS}
    return {name: words for name, words in found.items() if words}


def published(choice, table):
    """The published Dice beside one's own, where the data are the paper's: method, variant, fold, published,
    dice.

    ``dice`` (mean over the seeds) is empty for other data: those numbers must not be compared.
    """
    theirs = tables.read(bundled.path("published/benchmark_dice.csv"))
    known = [PUBLISHED[model] for model in theirs.model]
    theirs = pandas.DataFrame(known, columns=["method", "variant"]).assign(
        fold=theirs.volume.to_list(), published=theirs.dice.to_list()
    )
    if choice["dataset"] != "cellseg3d":
        return theirs.assign(dice=np.nan)
    own = table.drop_duplicates(["method", "fold", "seed", "variant"])
    own = own.assign(
        fold=own.fold.map(lambda name: next((w for w in splitting.HELD_OUT if w in name.lower()), name))
    )
    return theirs.merge(own.groupby(["method", "variant", "fold"], as_index=False).dice.mean(), "left")


def scores(table):
    """Mean F1@0.5 and Dice of each method as tuned, over folds and seeds: a table, one row a method."""
    return runs(table).query("variant == 'tuned'").groupby("method", sort=False)[["f1", "dice"]].mean()


def headline(table):
    """The outcome in one line."""
    f1 = scores(table).f1
    others = ", ".join(f"{name} {value:.2f}" for name, value in f1.drop(f1.idxmax()).items())
    others = f"; {others}" if others else ""
    beside = "".join(f". {name}: {words}" for name, words in cautions(f1.index).items())
    return f"best F1@0.5: {f1.idxmax()} ({f1.max():.2f}){others}{beside}"


def seconds(table):
    """Seconds of all runs together."""
    return float(table.drop_duplicates(["method", "fold", "seed"]).seconds.sum())
