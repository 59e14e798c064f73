"""Train, segment and evaluate as three functions of files and folders, for a script and for the panels."""

from pathlib import Path

import pandas

from cellseg_nb import methods, parameters
from cellseg_nb.cells import instances
from cellseg_nb.data import pairing
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import files, volumes
from cellseg_nb.learning.loop import Stop
from cellseg_nb.methods import settings


def _read(images, voxel_size):
    paths = volumes.find(images)
    return paths, [volumes.read_one(path, "here", voxel_size=voxel_size) for path in paths]


def _label_files(labels):
    """A label file, or those of a folder, whatever their names."""
    return pairing.label_files(labels) if files.as_path(labels).is_dir() else volumes.find(labels)


def _labels(labels, paths):
    """Label files of these volumes, by name; one file for one volume needs no name in common."""
    found = _label_files(labels)
    return found if len(found) == len(paths) == 1 else pairing.matched(paths, found)


def train(
    images,
    out,
    labels="",
    method="wnet3d",
    epochs=0,
    voxel_size=None,
    profile="demo",
    seed=0,
    device="auto",
    watch=print,
    stop=lambda: False,
):
    """Train a method on a TIFF or a folder of TIFFs, and save it in ``out``. Returns its history.

    ``labels``: TIFFs of the same names, for methods that need them; ``epochs`` 0: what ``profile`` says;
    ``voxel_size`` (z, y, x) in µm. ``watch`` gets a line after each epoch; ``stop()`` True ends the training
    after the epoch, and what was learned is saved. It goes on from ``out`` when called again. Raises
    UserError.
    """
    paths, read = _read(images, voxel_size)
    chosen = methods.method_class(method)
    if chosen.needs_labels and not labels:
        raise UserError(f"{method} learns from labels: give them (WNet3D, wnet3d, needs none)")
    drawn = [volumes.read_labels(file)[0] for file in _labels(labels, paths)] if labels else None
    offered = {"seed": seed, "device": device, "epochs": epochs or None, "voxel_size": read[0][1]}
    offered = {name: value for name, value in offered.items() if value is not None}
    options = settings.of(method, profile) | methods.known_options(method, **offered)
    model = methods.get(method, **options)

    def tell(history, _):
        row = history[-1]
        numbers = {name: value for name, value in row.items() if name in ("loss", "n_cuts", "val_dice")}
        watch(f"epoch {row['epoch']}: " + ", ".join(f"{name} {value:.3f}" for name, value in numbers.items()))
        if stop():
            raise Stop("stopped")

    history = model.fit(
        [image for image, _ in read],
        drawn,
        folder=files.writable_folder(out),
        callbacks=[tell],
        progress=False,
    )
    model.save(out)
    if history:
        files.write_table(Path(out) / "history.csv", pandas.DataFrame(history))
    watch(f"trained on {len(read)} volumes, saved in {out}")
    return history


def segment(
    images,
    trained,
    out,
    method="wnet3d",
    min_size=0,
    voxel_size=None,
    device="auto",
    watch=print,
    stop=lambda: False,
):
    """Labels and a table of cells for a TIFF or a folder of TIFFs, into ``out``. Returns the labels' paths.

    ``trained``: the folder that `train` wrote, for ``method``; objects under ``min_size`` voxels are dropped.
    ``watch`` and ``stop`` as in `train`, after each volume. Raises UserError.
    """
    parameters.apart({"images": images, "out": out})
    model = methods.method_class(method).load(trained, device=device)
    written = []
    for path in volumes.find(images):
        image, size = volumes.read_one(path, "here", voxel_size=voxel_size)
        labels = model.segment(image, voxel_size=size)
        labels = instances.filter_size(labels, min_size) if min_size else labels
        written.append(Path(out) / f"{path.stem}_labels.tif")
        volumes.write(written[-1], labels, size)
        files.write_table(Path(out) / f"{path.stem}_cells.csv", instances.table(labels, image, size))
        watch(f"{path.name}: {instances.count(labels)} cells")
        if stop():
            break
    return written


def evaluate(labels, truth, out, iou=0.5, watch=print, stop=lambda: False):
    """Scores of labels against true ones, TIFFs or folders of TIFFs with the same names: a table, also in
    ``out``/scores.csv.

    One row a file: cells, true cells, F1, precision and recall at the ``iou``, Dice. Raises UserError.
    """
    paths, rows = _label_files(labels), []
    for path, file in zip(paths, _labels(truth, paths)):
        found, true = (volumes.read_labels(one)[0] for one in (path, file))
        at, dice = metrics.match(true, found, (iou,)).iloc[0], metrics.dice(true, found)
        names = {"cells": at.n_pred, "true": at.n_true, "F1": at.f1, "precision": at.precision}
        rows.append({"file": path.name, **names, "recall": at.recall, "Dice": dice})
        watch(f"{path.name}: F1 {at.f1:.3f}, Dice {dice:.3f}")
        if stop():
            break
    table = pandas.DataFrame(rows)
    files.write_table(Path(out) / "scores.csv", table)
    return table


TASKS = {"train": train, "segment": segment, "evaluate": evaluate}
