"""Train, segment and evaluate as three functions of files and folders, for a script and for the panels."""

import contextlib
from pathlib import Path

import pandas

from cellseg_nb import methods, parameters
from cellseg_nb.cells import instances
from cellseg_nb.data import pairing
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import files, volumes
from cellseg_nb.learning.loop import Pause, Stop
from cellseg_nb.lessons import common


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
    after the epoch, and what was learned is saved. It goes on from ``out`` when called again, stopped or
    killed. Raises UserError.
    """
    paths, read = _read(images, voxel_size)
    chosen = methods.method_class(method)
    if chosen.needs_labels and not labels:
        raise UserError(f"{method} learns from labels: give them (WNet3D, wnet3d, needs none)")
    drawn = [volumes.read_labels(file)[0] for file in _labels(labels, paths)] if labels else None
    choice = {"profile": profile, "epochs": epochs, "device": device}
    model = common.method(choice, method, "", seed=seed, voxel_size=read[0][1])

    def tell(history, _):
        row = history[-1]
        numbers = {name: value for name, value in row.items() if name in ("loss", "n_cuts", "val_dice")}
        watch(f"epoch {row['epoch']}: " + ", ".join(f"{name} {value:.3f}" for name, value in numbers.items()))
        if stop():
            raise Pause("stopped")

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
    ``watch`` gets a line before and after each volume; ``stop()`` True ends it in the midst of one, before
    the next layer of the network or the next step: of that volume nothing is written, what is done stays.
    Raises UserError.
    """
    parameters.apart({"images": images, "out": out})
    model = methods.method_class(method).load(trained, device=device)
    paths, written = volumes.find(images), []
    for number, path in enumerate(paths, 1):
        image, size = volumes.read_one(path, "here", voxel_size=voxel_size)
        watch(f"{path.name}, {number} of {len(paths)}: {' x '.join(map(str, image.shape))} voxels …")
        try:
            with _stoppable(model, stop) as check:
                maps = model.maps(image, progress=False)
                check()
                labels = model.segment(image, maps, size)
                check()
        except Stop:
            watch(f"{path.name}: stopped, nothing of it is written")
            break
        labels = instances.filter_size(labels, min_size) if min_size else labels
        written.append(Path(out) / f"{path.stem}_labels.tif")
        volumes.write(written[-1], labels, size)
        files.write_table(Path(out) / f"{path.stem}_cells.csv", instances.table(labels, image, size))
        watch(f"{path.name}: {instances.count(labels)} cells")
    return written


@contextlib.contextmanager
def _stoppable(model, stop):
    """Within it, a method's network raises `Stop` before its next layer when ``stop()`` is True. Gives the
    function that does so, for between the steps that have no network."""

    def check(*_):
        if stop():
            raise Stop("stopped")

    check()
    network = getattr(model, "network_now", None)  # of torch; other methods stop between the steps
    hooks = [layer.register_forward_pre_hook(check) for layer in network().modules()] if network else []
    try:
        yield check
    finally:
        for hook in hooks:
            hook.remove()


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
