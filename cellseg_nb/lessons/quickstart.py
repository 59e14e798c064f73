"""The steps of notebook 00 that are longer than a cell: open, train on your volumes, label, measure, save."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cellseg_nb import parameters, runtime
from cellseg_nb.errors import UserError
from cellseg_nb.io import files as io_files, volumes
from cellseg_nb.lessons.common import PROFILES

TARGET_DIAMETER = 8.0  # voxels: as wide as the network and its neighbourhood of 5 voxels see cells best


@dataclass
class Data:
    """Volumes as in the files, and as the network sees them (resampled so that a cell is about 8 voxels
    wide)."""

    paths: list
    volumes: list
    working: list
    voxel_size: tuple | None
    truth: list = field(default_factory=list)
    started: float = field(default_factory=time.time)


def check(
    images,
    labels,
    voxel_size,
    cell_diameter,
    channel,
    profile,
    epochs,
    threshold,
    min_size,
    min_contrast,
    seed,
    device,
    out,
):
    """All parameters, checked, as a dict. Raises UserError in one line; creates the output folder."""
    from cellseg_nb.plots import widgets

    choice = dict(
        images=widgets.choose(images),
        labels=labels,
        voxel_size=parameters.voxel_size(voxel_size),
        cell_diameter=parameters.number("cell_diameter", cell_diameter, 0, 10000),
        channel=parameters.number("channel", channel, -1, 100, whole=True),
        profile=parameters.one_of("profile", profile, PROFILES),
        epochs=parameters.number("epochs", epochs, 0, 100000, whole=True),
        threshold=parameters.number("threshold", threshold, 0.01, 0.99),
        min_size=parameters.number("min_size", min_size, 0, whole=True),
        min_contrast=parameters.number("min_contrast", min_contrast, 0, 1000),
        seed=parameters.number("seed", seed, 0, 2**31 - 1, whole=True),
        device=device,
        out=str(out),
    )
    runtime.device(device)
    io_files.writable_folder(out)
    return choice


def load(choice):
    """Read the volumes (and true labels, where given) and say what was read. Returns `Data`."""
    from cellseg_nb.data.bundled import path as bundled

    truth = choice["labels"]
    images = choice["images"]
    if not images:
        images, truth = bundled("sample/sample_image.tif"), truth or bundled("sample/sample_labels.tif")
    paths = volumes.find(images)
    channel = None if choice["channel"] < 0 else choice["channel"]
    # resampled volumes are checked below
    least = 8 if choice["cell_diameter"] else PROFILES[choice["profile"]]["cube"]
    read = [volumes.read(path, channel, choice["voxel_size"], minimum=least) for path in paths]
    sizes = {size for _, size in read}
    if len(sizes) > 1:
        raise UserError(
            f"{images}: the files have different voxel sizes {sorted(map(str, sizes))}: "
            "run them one at a time, or set voxel_size for all"
        )
    size = sizes.pop()
    data = Data(paths, [volume for volume, _ in read], [], size, _truth(truth, paths, read))
    data.working = [resample(volume, size, choice["cell_diameter"]) for volume in data.volumes]
    for path, volume, working in zip(paths, data.volumes, data.working):
        words = "unknown, µm below are voxels" if size is None else " x ".join(f"{s:g}" for s in size) + " µm"
        print(f"{path.name}: {' x '.join(map(str, volume.shape))} voxels (Z, Y, X), voxel size {words}")
        if working.shape != volume.shape:
            print(f"   the network sees it as {' x '.join(map(str, working.shape))} voxels")
        if min(working.shape) < PROFILES[choice["profile"]]["cube"]:
            raise UserError(
                f"{path} becomes {working.shape} voxels when cells are made {TARGET_DIAMETER:g} voxels wide, "
                "smaller than one training cube: check cell_diameter and voxel_size, or give a larger volume"
            )
    return data


def _truth(labels, paths, read):
    if not labels:
        return []
    files = volumes.find(labels)
    if len(files) != len(paths):
        raise UserError(
            f"{labels}: {len(files)} label files for {len(paths)} volumes; one for each is needed"
        )
    truth = [volumes.read_labels(file)[0] for file in files]
    for file, label, (volume, _) in zip(files, truth, read):
        if label.shape != volume.shape:
            raise UserError(
                f"{file} has shape {label.shape}, its volume {volume.shape}: give the labels of this volume"
            )
    return truth


def resample(volume, voxel_size, cell_diameter):
    """The volume with isotropic voxels in which a cell of ``cell_diameter`` µm is 8 voxels wide; unchanged
    for 0."""
    if not cell_diameter:
        return volume
    size = voxel_size or (1.0, 1.0, 1.0)
    target = cell_diameter / TARGET_DIAMETER
    return volumes.rescale(volume, size, (target,) * 3)


def method(choice, data):
    """WNet3D with the settings of the profile.

    Spots are looked for after a blur of a quarter of the cell diameter, where that is known.
    """
    from cellseg_nb.methods.wnet3d import WNet3DMethod

    settings = dict(PROFILES[choice["profile"]])
    if choice["epochs"]:
        settings.update(epochs=choice["epochs"], restarts=0)
    if choice["cell_diameter"]:
        settings["spot_sigma"] = choice["cell_diameter"] / min(data.voxel_size or (1.0,)) / 4
    return WNet3DMethod(
        **settings,
        threshold=choice["threshold"],
        min_size=choice["min_size"],
        min_contrast=choice["min_contrast"],
        seed=choice["seed"],
        device=choice["device"],
    )


def callbacks(choice, watch):
    """``watch``, and in the demo profile an end as soon as the classes have arrived, unless you chose the
    epochs."""
    from cellseg_nb.learning import monitor

    return [watch] if choice["epochs"] or choice["profile"] == "paper" else [watch, monitor.stop_when_enough]


def training_folder(choice, start_over=False):
    """Folder for the checkpoints; ``start_over`` throws away those that are there."""
    from cellseg_nb.learning.loop import CHECKPOINT

    folder = io_files.writable_folder(Path(choice["out"]) / "training")
    for file in folder.rglob(CHECKPOINT) if start_over else []:
        file.unlink()
    return folder


def predict(method, data):
    """Probability of being a cell for each volume, on the grid of the file, (Z, Y, X) float32."""
    from skimage.transform import resize

    found = []
    for volume, working in zip(data.volumes, data.working):
        probability = method.predict(working)
        if probability.shape != volume.shape:
            probability = resize(probability, volume.shape, order=1, mode="edge", anti_aliasing=False)
        found.append(np.clip(probability, 0, 1).astype(np.float32))
    return found


def segment(method, data, probabilities):
    """Labels for each volume, (Z, Y, X) int32, on the grid of the file."""
    return [
        method.segment(volume, probability, data.voxel_size)
        for volume, probability in zip(data.volumes, probabilities)
    ]


def table(data, cells):
    """One row a cell (see `cellseg_nb.cells.instances.table`); a first column says which file when there are
    several."""
    import pandas

    from cellseg_nb.cells import instances

    size = data.voxel_size or (1.0, 1.0, 1.0)
    tables = [instances.table(labels, volume, size) for labels, volume in zip(cells, data.volumes)]
    if len(tables) > 1:
        for part, path in zip(tables, data.paths):
            part.insert(0, "file", path.name)
    return pandas.concat(tables, ignore_index=True)


def compare(data, cells):
    """Cells found by WNet3D and by plain Otsu + Voronoi; with true labels also F1, precision, recall at IoU
    0.5."""
    import pandas

    from cellseg_nb.cells import instances

    plain = [
        instances.filter_size(instances.voronoi_otsu(volume, voxel_size=data.voxel_size), 5)
        for volume in data.volumes
    ]
    rows = []
    for name, found in (("WNet3D", cells), ("Otsu + Voronoi", plain)):
        row = {"method": name, "cells": int(sum(labels.max() for labels in found))}
        if data.truth:
            from cellseg_nb.evaluation import metrics

            each = [metrics.match(truth, labels, (0.5,)).iloc[0] for truth, labels in zip(data.truth, found)]
            tp, fp, fn = (sum(int(one[key]) for one in each) for key in ("tp", "fp", "fn"))
            row |= {
                "true cells": sum(len(np.unique(truth)) - 1 for truth in data.truth),
                "F1": 2 * tp / max(1, 2 * tp + fp + fn),
                "precision": tp / max(1, tp + fp),
                "recall": tp / max(1, tp + fn),
            }
        rows.append(row)
    return pandas.DataFrame(rows).set_index("method").round(3)


def save(choice, data, method, history, probabilities, cells, table, scores):
    """Write volumes, table, weights, summary and parameters into the output folder, each beside and
    renamed."""
    out = Path(choice["out"])
    for path, probability, labels in zip(data.paths, probabilities, cells):
        prefix = f"{path.stem}_" if len(data.paths) > 1 else ""
        volumes.write(out / f"{prefix}probability.tif", probability, data.voxel_size)
        volumes.write(out / f"{prefix}labels.tif", labels, data.voxel_size)
    io_files.write_table(out / "cells.csv", table)
    method.save(out)
    io_files.write_json(
        out / "config.json",
        {**choice, "training": method.training, "network": method.network, "loss": method.loss},
    )
    summary = {
        "cells": len(table),
        "files": [str(path) for path in data.paths],
        "voxel_size_um": data.voxel_size,
        "seconds": {"total": time.time() - data.started, "training": sum(row["seconds"] for row in history)},
        "comparison": scores.reset_index().to_dict("records"),
        "seed": choice["seed"],
        "versions": runtime.versions(),
        "device": str(runtime.device(choice["device"])),
        "history": history,
    }
    if data.truth:
        summary["f1_at_0.5"] = float(scores.loc["WNet3D", "F1"])
    io_files.write_json(out / "summary.json", summary)
