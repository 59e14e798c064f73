"""The steps of notebook 05 that are longer than a cell: the same folds, volumes and tuning rule for every
method, each (method, fold, seed) run once and kept.

The rule that makes it fair: in a run, `fit` and `tune` are given the training volumes of the fold, as copies,
and nothing else. The held-out volume is segmented afterwards, and its labels are only used to count.
"""

import contextlib
import importlib.util
import inspect
import json
import re
import shutil
import time
from collections import namedtuple
from pathlib import Path

import numpy as np

from cellseg_nb import __version__, methods, parameters, runtime
from cellseg_nb.data import simulate, splitting
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import grid, metrics, tables
from cellseg_nb.io import files, volumes
from cellseg_nb.learning import pairs
from cellseg_nb.lessons import common as lessons_common

Data = namedtuple("Data", "names images labels voxel_size")
VARIANTS, MATCHINGS = ("default", "tuned"), ("3d", "slicewise")
LIBRARIES = {"cellpose": ("cellpose",), "stardist": ("stardist", "tensorflow")}
UNTAUGHT = ("otsu", "wnet3d")  # labels are given to their `tune` only
# Demo: what one core does in less than a minute each. Paper: the rest of the settings is each method's PAPER.
DEMO = {
    "wnet3d": dict(channels=(16, 16, 32, 32), cube=16, epochs=24),
    "segresnet": dict(cube=24, epochs=12),
    "swinunetr": dict(epochs=5, batch=1, learning_rate=2e-3),
    "cellpose": dict(bsize=32, slices=64),
    "stardist": dict(epochs=18, rays=32, filters=16, features=32),
}
PAPER = {"wnet3d": lessons_common.PROFILES["paper"]}
PUBLISHED = {
    "Otsu threshold": ("otsu", "default"),
    "WNet3D": ("wnet3d", "tuned"),
    "SegResNet": ("segresnet", "tuned"),
    "SwinUNetR": ("swinunetr", "tuned"),
    "Cellpose": ("cellpose", "tuned"),
    "Cellpose - default": ("cellpose", "default"),
    "StarDist": ("stardist", "tuned"),
    "StarDist - default": ("stardist", "default"),
}


# ------------------------------------------------------------ choices and data


def check(dataset, method_names, folds, seeds, voxel_size, profile, epochs, processes, device, out, cache=""):
    """All parameters, checked, as a dict. Methods whose library is missing are left out, with a line that
    says what to install. Raises UserError in one line; creates the output folder."""
    choice = dict(
        dataset=dataset,
        methods=installed(_listed("methods", method_names)),
        folds=folds,
        seeds=[
            parameters.number("seeds", _whole(seed), 0, 2**31 - 1, whole=True)
            for seed in _listed("seeds", seeds)
        ],
        voxel_size=parameters.voxel_size(voxel_size),
        profile=parameters.one_of("profile", profile, ("demo", "paper")),
        epochs=parameters.number("epochs", epochs, 0, 100000, whole=True),
        processes=parameters.number("processes", processes, 1, 64, whole=True),
        device=device,
        out=str(out),
        cache=cache,
    )
    runtime.device(device)
    files.writable_folder(out)
    if dataset == "auto":
        choice["dataset"] = "simulated" if profile == "demo" else "cellseg3d"
    return choice


def _listed(name, text):
    found = [part.strip() for part in text.split(",")] if isinstance(text, str) else [*np.atleast_1d(text)]
    found = list(dict.fromkeys(part for part in found if part != ""))
    if not found:
        raise UserError(f"{name} is empty: give one or more, with commas between them")
    return found


def _whole(text):
    try:
        return int(text)
    except ValueError:
        return text


def installed(names):
    """The methods that can run here; says in one line what to install for each other. Raises UserError for
    names that do not exist, and when none can run."""
    unknown = [name for name in names if name not in methods.names()]
    if unknown:
        raise UserError(f"there is no method {unknown[0]!r}: choose among {', '.join(methods.names())}")
    missing = {
        name: [lib for lib in LIBRARIES.get(name, ()) if importlib.util.find_spec(lib) is None]
        for name in names
    }
    lines = [
        f"{name} is left out, since {' and '.join(libs)} is not installed: run  "
        f"{methods.install_words(libs[0])}  and restart the kernel"
        for name, libs in missing.items()
        if libs
    ]
    if len(lines) == len(names):
        raise UserError("; ".join(lines))
    print(*lines, sep="\n", end="\n" if lines else "")
    return [name for name in names if not missing[name]]


def load(choice):
    """All volumes and labels, and the names held out in turn. Returns (`Data`, list of names); says what was
    read.

    Of a single volume, the last third along its longest axis becomes the volume to test on. Raises UserError
    for pairs that do not fit (see `pairs.check`), and names that do not exist.
    """
    source = {**choice, "seed": 0}  # the seeds of a training must not change the data
    found, size = _simulated() if choice["dataset"] == "simulated" else lessons_common.read(source)
    if len(found) == 1:
        found = lessons_common.cut(*found[0])
    names = [part[0] for part in found]
    images, labels = pairs.check(*zip(*[part[1:] for part in found]))
    held_out = folds(names, choice["folds"], choice["profile"])
    for name, image, label in zip(names, images, labels):
        print(
            f"{name}: {' x '.join(map(str, image.shape))} voxels (Z, Y, X), "
            f"{len(np.unique(label[label > 0]))} cells"
            + (", held out once" if name in held_out else ", only for learning")
        )
    return Data(names, images, labels, size), held_out


def _simulated():
    """Three volumes of the size of the bundled sample, harder than it: dimmer cells, uneven light, more that
    touch."""
    return [
        (
            f"simulated {number + 1}",
            *simulate.volume((64, 72, 72), 90, number, dim=0.2, uneven=0.4, touching=0.4),
        )
        for number in range(3)
    ], (5.0, 5.0, 5.0)


def folds(names, wanted="auto", profile="demo"):
    """The names of the volumes held out, one a fold. "auto": the last one in demo; in paper the paper's three
    where they are there, else each in turn. "all": each in turn."""
    if wanted in ("auto", "all", "", None):
        if wanted != "all" and profile == "demo":
            return [names[-1]]
        chosen = splitting.folds(names, list(names) if wanted == "all" else None)
    else:
        chosen = splitting.folds(names, _listed("folds", wanted))
    return list(chosen.held_out)


# ------------------------------------------------------------ running


def options(choice, name, given=None):
    """Settings of a method: those of the profile, the epochs asked for, then what is given for this
    method."""
    kind = methods.kind(name)
    if choice["profile"] == "paper":
        settings = {**getattr(kind, "PAPER", {}), **PAPER.get(name, {})}
    else:
        settings = dict(DEMO.get(name, {}))
    if choice["epochs"] and "epochs" in inspect.signature(kind.__init__).parameters:
        settings["epochs"] = choice["epochs"]
    return {**settings, **(given or {})}


def run(choice, data, held_out, given=None):
    """Every method on every fold with every seed. Returns a tidy table; finished runs are read, not run
    again.

    ``given`` may hold settings of your own, {method: {option: value}}. Columns: method, fold (the volume held
    out), seed, variant (default or tuned), matching (3d or slicewise), threshold (IoU), f1, precision,
    recall, panoptic_quality, tp, fp, fn, n_true, n_pred, dice, cells (found in 3D), chosen (what tuning
    changed), fit_seconds, tune_seconds, segment_seconds, seconds. One file a run lies in ``runs``, its labels
    in ``labels``, its weights in ``models``, all in the output folder.
    """
    import pandas

    given, out = given or {}, Path(choice["out"])
    context = {
        "data": data,
        "out": str(out),
        "device": choice["device"],
        "options": {name: options(choice, name, given.get(name)) for name in choice["methods"]},
    }
    common = {
        "version": __version__,
        "voxel_size": data.voxel_size,
        "options": PAPER if choice["profile"] == "paper" else DEMO,
        "data": {name: pairs.fingerprint(*pair) for name, *pair in zip(data.names, data.images, data.labels)},
    }
    jobs = [
        {"method": name, "fold": fold, "seed": seed}
        for name in choice["methods"]
        for fold in held_out
        for seed in choice["seeds"]
    ]
    # one call for all, but for methods with settings of their own: changing one keeps the others' runs
    alike = {}
    for job in jobs:
        own = [choice["profile"], choice["epochs"], given.get(job["method"], {})]
        key = json.dumps(own, sort_keys=True, default=str)
        alike.setdefault(key, []).append(job)
    parts = [
        grid.run(
            part,
            work,
            context,
            out / "runs",
            {**common, "settings": key},
            choice["processes"],
            desc="Comparison",
        )
        for key, part in alike.items()
    ]
    table = pandas.concat(parts, ignore_index=True)
    if table.empty:
        raise UserError("no method came to a result: the lines above say why")
    order = {name: place for place, name in enumerate(choice["methods"])}
    return table.sort_values("method", key=lambda names: names.map(order), kind="stable", ignore_index=True)


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


def found(choice, fold, seed=None, variant="tuned"):
    """{method: labels} of the held-out volume, as far as they were kept."""
    seed, kept = choice["seeds"][0] if seed is None else seed, {}
    for name in choice["methods"]:
        with contextlib.suppress(UserError):
            file = labels_file(choice["out"], dict(method=name, fold=fold, seed=seed), variant)
            kept[name] = volumes.read_labels(file)[0]
    return kept


# ------------------------------------------------------------ tables


def runs(table, threshold=0.5, matching="3d"):
    """One row a run and variant: what is worth a look, at one IoU threshold."""
    part = table[np.isclose(table.threshold, threshold) & (table.matching == matching)]
    columns = [
        "method",
        "fold",
        "seed",
        "variant",
        "dice",
        "f1",
        "precision",
        "recall",
        "n_true",
        "cells",
        "chosen",
    ]
    return part[columns].reset_index(drop=True)


def published(choice, table):
    """The published Dice beside one's own, where the data are the paper's: method, variant, fold, published,
    dice.

    ``dice`` (mean over the seeds) is empty for other data: those numbers must not be compared.
    """
    import pandas

    from cellseg_nb.data import bundled

    theirs = tables.read(bundled.path("published/benchmark_dice.csv"))
    known = [PUBLISHED[model] for model in theirs.model]
    theirs = pandas.DataFrame(
        {
            "method": [m for m, _ in known],
            "variant": [v for _, v in known],
            "fold": theirs.volume,
            "published": theirs.dice,
        }
    )
    if choice["dataset"] != "cellseg3d":
        return theirs.assign(dice=np.nan)
    own = table.drop_duplicates(["method", "fold", "seed", "variant"])
    own = own.assign(
        fold=own.fold.map(lambda name: next((w for w in splitting.HELD_OUT if w in name.lower()), name))
    )
    return theirs.merge(own.groupby(["method", "variant", "fold"], as_index=False).dice.mean(), "left")


def save(choice, data, table, started):
    """Write the table (for notebook 08), the summary and the parameters into the output folder."""
    out, at = Path(choice["out"]), runs(table)
    files.write_table(out / "comparison.csv", table)
    files.write_table(out / "f1_at_0.5.csv", at)
    tuned = at[at.variant == "tuned"].groupby("method", sort=False)[["f1", "dice"]].mean()
    best = tuned.f1.idxmax()
    files.write_json(
        out / "config.json",
        {**choice, "settings": {name: options(choice, name) for name in choice["methods"]}},
    )
    files.write_json(
        out / "summary.json",
        {
            "headline": f"best F1@0.5: {best} ({tuned.f1[best]:.2f}); "
            + ", ".join(f"{name} {value:.2f}" for name, value in tuned.f1.items() if name != best),
            "scores": tuned.reset_index().to_dict("records"),
            "voxel_size": data.voxel_size,
            "seconds": {
                "total": time.time() - started,
                "runs": float(table.drop_duplicates(["method", "fold", "seed"]).seconds.sum()),
            },
            "versions": runtime.versions(),
            "device": str(runtime.device(choice["device"])),
        },
    )
