"""The steps of notebook 04 that are longer than a cell: find weights and volumes, label, compare, work
through a folder."""

from collections import namedtuple
from pathlib import Path

import numpy as np

from cellseg_nb import parameters, runtime
from cellseg_nb.cells import instances
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import files, volumes
from cellseg_nb.methods import weights

Volume = namedtuple("Volume", "name image truth voxel_size")  # truth: labels, or None where nobody drew any
METHODS = ("voronoi_otsu", "watershed", "connected")
EARLIER = ("02_wnet3d_training", "00_quickstart")  # whose results may lie beside ours


def check(
    weights,
    architecture,
    images,
    voxel_size,
    threshold,
    method,
    spot_sigma,
    first_slice,
    last_slice,
    min_size,
    max_size,
    closing,
    flips,
    other,
    folder,
    profile,
    seed,
    device,
    out,
    cache="",
):
    """All parameters, checked, as a dict. Raises UserError in one line; creates the output folder."""
    from cellseg_nb.plots import widgets

    whole = {
        name: parameters.number(name, value, low, whole=True)
        for name, value, low in (
            ("first_slice", first_slice, 0),
            ("last_slice", last_slice, -1),
            ("min_size", min_size, 0),
            ("max_size", max_size, 0),
            ("closing", closing, 0),
            ("seed", seed, 0),
        )
    }
    choice = dict(
        weights=weights,
        images=widgets.choose(images),
        voxel_size=parameters.voxel_size(voxel_size),
        architecture=parameters.one_of(
            "architecture", architecture, ("auto", "wnet3d", "swinunetr", "segresnet")
        ),
        threshold=parameters.number("threshold", threshold, 0, 0.99),
        method=parameters.one_of("method", method, METHODS),
        spot_sigma=parameters.number("spot_sigma", spot_sigma, 0, 50),
        **whole,
        flips=bool(flips),
        other=other,
        folder=folder,
        profile=parameters.one_of("profile", profile, ("demo", "paper")),
        device=device,
        out=str(out),
        cache=cache,
    )
    runtime.device(device)
    files.writable_folder(out)
    return choice


# ---------------------------------------------------------------- volumes and weights


def load(choice):
    """The volume to work on: your own (the first of a folder), the paper's c5, or the bundled sample. Returns
    `Volume`."""
    if choice["images"]:
        data = _read(volumes.find(choice["images"])[0], choice)
    elif choice["profile"] == "paper":
        data = next((v for v in _published(choice) if "c5" in v.name.lower()), None) or _published(choice)[0]
    else:
        from cellseg_nb.data.bundled import path

        image, size = volumes.read(path("sample/sample_image.tif"))
        data = Volume("sample", image, volumes.read_labels(path("sample/sample_labels.tif"))[0], size)
    words = (
        "unknown, µm below are voxels"
        if data.voxel_size is None
        else " x ".join(f"{s:g}" for s in data.voxel_size) + " µm"
    )
    print(f"{data.name}: {' x '.join(map(str, data.image.shape))} voxels (Z, Y, X), voxel size {words}")
    return data


def _read(path, choice):
    image, size = volumes.read(path, voxel_size=choice["voxel_size"])
    return Volume(path.stem, image, None, size)


def _published(choice):
    from cellseg_nb.data import datasets

    collection = datasets.collect("cellseg3d", cache=choice["cache"] or None)
    read = [
        (pair.name, *datasets.load(pair, choice["voxel_size"] or collection.voxel_size))
        for pair in collection.pairs
    ]
    return [Volume(*part) for part in read]


def find(choice, data):
    """The network to use. Returns a `cellseg_nb.methods.weights.Predictor`, and says where it came from.

    ``weights`` may be a released name, a file, a Hub repository or a folder. Empty: in the "paper" profile
    the released WNet3D; else what notebooks 02 or 00 left beside this one's results; else a short training on
    ``data``.
    """
    name = choice["weights"] or ("wnet3d" if choice["profile"] == "paper" else _earlier(choice))
    if name:
        architecture = None if choice["architecture"] == "auto" else choice["architecture"]
        found = weights.load(name, architecture, choice["device"], cache=choice["cache"] or None)
    else:
        found = weights.load(train(choice, data), device=choice["device"])
    size = sum(parameter.numel() for parameter in found.model.parameters())
    print(
        f"{found.architecture} with {size / 1e6:.1f} million weights from {found.source}, default threshold "
        f"{found.threshold:g}"
    )
    return found


def _earlier(choice):
    for parent in (Path(choice["out"]).parent, Path("results")):
        for name in EARLIER:
            if (parent / name / "wnet3d.pt").is_file():
                return str(parent / name)
    return ""


def train(choice, data):
    """A short WNet3D on the volume itself, narrower than that of notebook 00. Returns the folder of the
    weights."""
    from cellseg_nb.methods.wnet3d import WNet3DMethod

    print(
        "No weights were named and none were found: a WNet3D is trained on this volume first (notebook 00 "
        "shows how)."
    )
    method = WNet3DMethod(
        channels=(16, 16, 32, 32), cube=16, epochs=16, seed=choice["seed"], device=choice["device"]
    )
    method.fit([data.image], folder=files.writable_folder(Path(choice["out"]) / "training"))
    return method.save(Path(choice["out"]) / "weights").parent


def threshold(choice, find_cells):
    """The threshold to use: yours, or the one that belongs to the weights."""
    return choice["threshold"] or find_cells.threshold


def middle(image, side=64):
    """The central part of a volume, at most ``side`` voxels a side: enough to compare on, quick for any
    volume."""
    return image[tuple(slice((n - min(n, side)) // 2, (n - min(n, side)) // 2 + side) for n in image.shape)]


# ---------------------------------------------------------------- labels


def label(choice, volume, probability, cut, method=None):
    """Labels by one of the three methods, hollow nuclei closed if so chosen, without any filter, (Z, Y, X)
    int32."""
    method, size = method or choice["method"], volume.voxel_size
    if choice["closing"]:
        probability = np.maximum(probability, instances.solid(probability > cut, choice["closing"], size))
    if method == "connected":
        return instances.connected(probability, cut)
    if method == "watershed":
        return instances.watershed(probability, cut, choice["spot_sigma"], size)
    return instances.voronoi_otsu(probability, choice["spot_sigma"], 0.5, size, cut, spots=volume.image)


def clean(choice, labels):
    """Only the slices and sizes that the parameters say."""
    last = None if choice["last_slice"] < 0 else choice["last_slice"]
    labels = instances.filter_slices(labels, choice["first_slice"] or None, last)
    return instances.filter_size(labels, choice["min_size"], choice["max_size"] or None)


def score(name, labels, truth=None, probability=None, cut=None):
    """One row about a segmentation: cells; with a truth F1, precision and recall at IoU 0.5 and, of the mask,
    Dice."""
    row = {"": name, "cells": int(labels.max(initial=0))}
    if truth is not None:
        match = metrics.match(truth, labels, (0.5,)).iloc[0]
        row |= {
            "true cells": int(match.n_true),
            "F1": match.f1,
            "precision": match.precision,
            "recall": match.recall,
            "Dice": metrics.dice(truth, labels if probability is None else probability > cut),
        }
    return row


def rows(scores):
    import pandas

    return pandas.DataFrame(scores).set_index("").round(3)


def compare(choice, volume, probability, cut):
    """The three methods on the same probability. Returns {method: labels} and a table."""
    found = {method: clean(choice, label(choice, volume, probability, cut, method)) for method in METHODS}
    return found, rows([score(name, labels, volume.truth) for name, labels in found.items()])


def agree(one, other, cut, names):
    """Do two ways to compute a probability agree? A table of one row."""
    import pandas

    return (
        pandas.DataFrame(
            [
                {
                    "compared": " and ".join(names),
                    "largest difference": np.abs(one - other).max(),
                    "mean difference": np.abs(one - other).mean(),
                    "voxels that change sides (%)": 100 * ((one > cut) != (other > cut)).mean(),
                    "Dice of the two masks": metrics.dice(one > cut, other > cut),
                }
            ]
        )
        .set_index("compared")
        .round(4)
    )


# ---------------------------------------------------------------- a folder of volumes


def save(choice, find_cells, volume, probability, labels, table, scores):
    """Volumes, table, settings and summary into the output folder."""
    out = Path(choice["out"])
    volumes.write(out / "probability.tif", probability, volume.voxel_size)
    volumes.write(out / "labels.tif", labels, volume.voxel_size)
    files.write_table(out / "cells.csv", table)
    files.write_json(out / "config.json", choice)
    summary = {
        "cells": len(table),
        "volume": volume.name,
        "voxel_size_um": volume.voxel_size,
        "weights": find_cells.source,
        "architecture": find_cells.architecture,
        "threshold": threshold(choice, find_cells),
        "comparison": scores.reset_index().to_dict("records"),
        "versions": runtime.versions(),
    }
    if volume.truth is not None:
        summary["f1_at_0.5"] = float(metrics.match(volume.truth, labels, (0.5,)).f1.iloc[0])
    files.write_json(out / "summary.json", summary)
