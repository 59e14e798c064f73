"""The steps of notebook 05 that are longer than a cell: the same folds, volumes and tuning rule for every
method, each (method, fold, seed) run once and kept.

The rule that makes it fair: in a run, `fit` and `tune` are given the training volumes of the fold, as copies,
and nothing else. The held-out volume is segmented afterwards, and its labels are only used to count.
"""

import contextlib
import importlib.util
import inspect
import json
from collections import namedtuple
from pathlib import Path

import numpy as np

from cellseg_nb import __version__, methods, parameters, runtime
from cellseg_nb.data import simulate, splitting
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import grid
from cellseg_nb.io import files, volumes
from cellseg_nb.learning import pairs
from cellseg_nb.lessons import common as lessons_common
from cellseg_nb.lessons.comparison_runs import labels_file, work

Data = namedtuple("Data", "names images labels voxel_size")
LIBRARIES = {"cellpose": ("cellpose",), "stardist": ("stardist", "tensorflow")}
# Demo: what one core does in less than a minute each. Paper: the rest of the settings is each method's PAPER.
DEMO = {
    "wnet3d": dict(channels=(16, 16, 32, 32), cube=16, epochs=24),
    "segresnet": dict(cube=24, epochs=12),
    "swinunetr": dict(epochs=5, batch=1, learning_rate=2e-3),
    "cellpose": dict(bsize=32, slices=64),
    "stardist": dict(epochs=18, rays=32, filters=16, features=32),
}
PAPER = {"wnet3d": lessons_common.PROFILES["paper"]}


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


def found(choice, fold, seed=None, variant="tuned"):
    """{method: labels} of the held-out volume, as far as they were kept."""
    seed, kept = choice["seeds"][0] if seed is None else seed, {}
    for name in choice["methods"]:
        with contextlib.suppress(UserError):
            file = labels_file(choice["out"], dict(method=name, fold=fold, seed=seed), variant)
            kept[name] = volumes.read_labels(file)[0]
    return kept
