"""One run of notebook 05: fit and tune on the training volumes, segment the held-out one, count."""

import inspect
import re
import shutil
import time
from pathlib import Path

import numpy as np

from cellseg_nb import methods
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import files, volumes

VARIANTS, MATCHINGS = ("default", "tuned"), ("3d", "slicewise")


UNTAUGHT = ("otsu", "wnet3d")  # labels are given to their `tune` only


def work(job, context):
    """One run: fit and tune on the training volumes, segment the held-out one, count. Returns the rows."""
    data, test = context["data"], context["data"].names.index(job["fold"])
    learn = [i for i in range(len(data.names)) if i != test]
    images, labels = ([side[i].copy() for i in learn] for side in (data.images, data.labels))
    method = _make(job, context, data.voxel_size)
    place = Path(context["out"]) / "training" / _name(job)
    seconds = {
        "fit_seconds": _timed(
            method.fit,
            images,
            None if job["method"] in UNTAUGHT else labels,
            folder=files.writable_folder(place),
            progress=False,
        )[1],
        "tune_seconds": 0.0,
    }
    # What the network says does not depend on what is tuned: it is asked once.
    maps, looking = _timed(method.maps, data.images[test].copy()) if hasattr(method, "maps") else (None, 0.0)
    rows, chosen = [], ""
    for variant in VARIANTS:
        if variant == "tuned":
            before = _plain(method)
            seconds["tune_seconds"] = _timed(method.tune, images, labels, voxel_size=data.voxel_size)[1]
            chosen = ", ".join(
                f"{name} {value if isinstance(value, str) else f'{value:.3g}'}"
                for name, value in _plain(method).items()
                if value != before.get(name)
            )
        found, labelling = _timed(
            method.segment, data.images[test].copy(), probability=maps, voxel_size=data.voxel_size
        )
        seconds["segment_seconds"] = round(looking + labelling, 2)
        volumes.write(labels_file(context["out"], job, variant), found, data.voxel_size)
        rows += [
            {"variant": variant, **row, "chosen": chosen, **seconds}
            for row in score(data.labels[test], found)
        ]
    method.save(files.writable_folder(Path(context["out"]) / "models" / _name(job)))
    shutil.rmtree(place, ignore_errors=True)  # only needed to carry on when a run is interrupted
    return rows


def score(truth, found):
    """All measures of one segmentation: a list of rows, one for each matching and IoU threshold."""
    dice, rows = metrics.dice(truth, found), []
    cells = len(np.unique(found[found > 0]))
    for matching in MATCHINGS:
        table = metrics.match(truth, found, slicewise=matching == "slicewise").rename(
            columns={"thresh": "threshold"}
        )
        names = [
            "threshold",
            "f1",
            "precision",
            "recall",
            "panoptic_quality",
            "tp",
            "fp",
            "fn",
            "n_true",
            "n_pred",
        ]
        rows += [
            {"matching": matching, **{name: row[name] for name in names}, "dice": dice, "cells": cells}
            for row in table.to_dict("records")
        ]
    return rows


def _make(job, context, size):
    known = inspect.signature(methods.kind(job["method"])).parameters
    common = {"voxel_size": size, "seed": job["seed"], "device": context["device"]}
    common = {name: value for name, value in common.items() if name in known}
    return methods.get(job["method"], **{**common, **context["options"][job["method"]]})


def _timed(function, *args, **optional):
    """What a method returns, and the seconds it took; options that this method does not have are left out."""
    known = inspect.signature(function).parameters
    start = time.perf_counter()
    found = function(*args, **{name: value for name, value in optional.items() if name in known})
    return found, round(time.perf_counter() - start, 2)


def _plain(method):
    return {name: value for name, value in vars(method).items() if isinstance(value, (int, float, str))}


def _name(job):
    return re.sub(r"[^\w.-]+", "-", f"{job['method']}_{job['fold']}_{job['seed']}")


def labels_file(out, job, variant="tuned"):
    """Where the labels of a run are kept; ``job`` has method, fold, seed."""
    return Path(out) / "labels" / f"{_name(job)}_{variant}.tif"
