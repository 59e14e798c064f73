"""The steps of notebook 03 that are longer than a cell: volumes with labels, what is held out, training,
comparison, saving."""

import time
from collections import namedtuple
from pathlib import Path

import numpy as np

from . import checks, datasets, losses, methods, metrics, pairs, runtime, simulate, volumes
from .errors import UserError

# for learning; ``test``: the same of the held-out volume
Data = namedtuple("Data", "names images labels test voxel_size")
Test = namedtuple("Test", "name image labels")
NETWORKS = ("segresnet", "swinunetr")


def check(dataset, held_out, voxel_size, network, loss, epochs, cores, start, profile, seed, device, out,
          cache=""):
    """All parameters, checked, as a dict. Raises UserError in one line; creates the output folder."""
    choice = dict(
        dataset=dataset, held_out=held_out, voxel_size=checks.voxel_size(voxel_size),
        network=checks.one_of("network", network, NETWORKS), loss=checks.one_of("loss", loss,
                                                                                tuple(losses.WORDS)),
        epochs=checks.number("epochs", epochs, 0, 100000, whole=True), cores=bool(cores),
        start=start, profile=checks.one_of("profile", profile, ("demo", "paper")),
        seed=checks.number("seed", seed, 0, 2**31 - 1, whole=True), device=device, out=str(out), cache=cache)
    runtime.device(device)
    volumes.writable_folder(out)
    if dataset == "auto":
        choice["dataset"] = "simulated" if profile == "demo" else "cellseg3d"
    return choice


def load(choice):
    """Volumes to learn from, and one held out to test on. Returns `Data`; says what was read.

    ``held_out`` names the volume to hold out; "auto": the last. Of a single volume, the last third along its
    longest axis is held out. Raises UserError for pairs that do not fit (see `pairs.check`), and for names
    that do not exist.
    """
    found, size = _simulated(choice) if choice["dataset"] == "simulated" else read(choice)
    if len(found) == 1:
        found = cut(*found[0])
    test = _held_out([name for name, _, _ in found], choice["held_out"])
    images, labels = pairs.check(*zip(*[part[1:] for part in found]))
    names = [part[0] for part in found]
    for name, image, label in zip(names, images, labels):
        role = "held out, only for the test" if name == names[test] else "for learning"
        print(f"{name}: {' x '.join(map(str, image.shape))} voxels (Z, Y, X), "
              f"{len(np.unique(label[label > 0]))} cells, {role}")
    learn = [i for i in range(len(found)) if i != test]
    return Data([names[i] for i in learn], [images[i] for i in learn], [labels[i] for i in learn],
                Test(names[test], images[test], labels[test]), size)


def _simulated(choice):
    """Three small volumes with an artefact, like the paper's visual cortex: a bright sheet that is no cell.
    """
    made = [simulate.volume((64, 72, 72), 90, 3 * choice["seed"] + number, artefact=True, dim=0.3)
            for number in range(3)]
    return [(f"simulated {number}", *pair) for number, pair in enumerate(made, 1)], (5.0, 5.0, 5.0)


def read(choice):
    """All volumes of a data set with their labels: a list of (name, image, labels), and their one voxel size.

    Raises UserError where labels are missing or voxel sizes differ.
    """
    collection = datasets.collect(choice["dataset"], cache=choice["cache"] or None, seed=choice["seed"])
    without = [pair.name for pair in collection.pairs if pair.labels is None]
    if without:
        raise UserError(f"{collection.folder}: {', '.join(without)} has no labels: supervised training needs "
                        f"them for every volume")
    parts = [(pair.name, *datasets.load(pair, choice["voxel_size"] or collection.voxel_size))
             for pair in collection.pairs]
    sizes = {size for *_, size in parts}
    if len(sizes) > 1:
        raise UserError(f"{collection.folder}: the files have different voxel sizes {sorted(map(str, sizes))}: "
                        "set voxel_size for all, or resample them to one")
    return [part[:3] for part in parts], sizes.pop()


def cut(name, image, labels):
    """One volume as two: the first two thirds along its longest axis, and the last third."""
    axis = int(np.argmax(image.shape))
    place = image.shape[axis] * 2 // 3
    return [(f"{name}, {words}", *(side.take(range(*span), axis) for side in (image, labels)))
            for words, span in (("first two thirds", (0, place)), ("last third", (place, image.shape[axis])))]


def _held_out(names, word):
    if word in ("", "auto"):
        return len(names) - 1
    found = [i for i, name in enumerate(names) if name == word] or [i for i, name in enumerate(names)
                                                                    if word.lower() in name.lower()]
    if len(found) != 1:
        raise UserError(f"held_out names {word!r}, which is {'no' if not found else 'more than one'} volume: "
                        f"choose among "
                        f"{', '.join(names)}")
    return found[0]


def method(choice, network=None, **changes):
    """The network with the settings of the profile, the loss and maps chosen, and the weights to start from.
    """
    network = network or choice["network"]
    kind = methods.kind(network)
    settings = dict(kind.PAPER if choice["profile"] == "paper" else {})
    if choice["epochs"]:
        settings["epochs"] = choice["epochs"]
    settings |= dict(loss=choice["loss"], cores=choice["cores"], seed=choice["seed"], device=choice["device"],
                     start=choice["start"] or None)
    return kind(**{**settings, **changes})


def folder(choice, name, start_over=False):
    """Folder of a training's checkpoint; ``start_over`` throws away the one that is there."""
    from .methods.validation import BEST
    from .training import CHECKPOINT

    place = volumes.writable_folder(Path(choice["out"]) / name)
    if start_over:
        for file in (CHECKPOINT, BEST):
            (place / file).unlink(missing_ok=True)
    return place


def empty_cubes(data, cube, batch=4, batches=200, seed=0, keep=30):
    """Share of cell voxels in cubes drawn anywhere and drawn class-balanced: a table draw, batch, share (one
    row a cube).

    Only every ``keep``-th cell is left in the labels, as in sparse tissue.
    """
    import pandas

    rng = np.random.default_rng(seed)
    labels = [np.where(label % keep == 1 % keep, label, 0) for label in data.labels]
    cubes = pairs.Cubes(data.images, labels, cube, batch, batches)
    rows = []
    for draw in ("anywhere", "class-balanced"):
        for number in range(batches):
            for place in range(batch):
                around = draw == "class-balanced" and place < -(-batch // 2)
                rows.append([draw, number, float(cubes.draw(rng, around)[1].mean())])
    return pandas.DataFrame(rows, columns=["draw", "batch", "share"])


def best_and_last(trained, history):
    """Validation loss and Dice of the best and the last epoch: a table."""
    import pandas

    rows = [row for row in history if "val_dice" in row]
    if not rows:
        return pandas.DataFrame(columns=["weights", "epoch", "val_loss", "val_dice"])
    best = max(rows, key=lambda row: row["val_dice"])
    return pandas.DataFrame([{"weights": words, **{name: row[name] for name in ("epoch", "val_loss",
                                                                                "val_dice")}}
                             for words, row in (("best", best),
                                                ("last", rows[-1]))]).set_index("weights").round(3)


def compare(data, found, baseline="otsu"):
    """Dice, and cells matched at IoU 0.5 and 0.7, on the held-out volume. ``found`` is {method: labels}. A
    table."""
    import pandas

    rows = []
    for name, labels in found.items():
        at = metrics.match(data.test.labels, labels, (0.5, 0.7))
        rows.append({"method": name, "Dice": metrics.dice(data.test.labels, labels),
                     "true cells": int(at.n_true[0]),
                     "found": int(at.n_pred[0]), "missed": int(at.fn[0]), "invented": int(at.fp[0]),
                     "F1@0.5": at.f1[0],
                     "F1@0.7": at.f1[1]})
    return pandas.DataFrame(rows).set_index("method").round(3)


def save(choice, data, trained, history, tables, found, started):
    """Write weights, tables, labels, summary and parameters into the output folder, each beside and renamed.
    """
    import pandas

    out = Path(choice["out"])
    trained.save(out)
    for name, table in {**tables, "history": pandas.DataFrame(history)}.items():
        volumes.write_table(out / f"{name}.csv", table.reset_index() if table.index.name else table)
    for name, labels in found.items():
        volumes.write(out / f"{data.test.name.replace(' ', '_').replace(',', '')}_{name}.tif", labels,
                      data.voxel_size)
    volumes.write_json(out / "config.json", {**choice, "training": trained.training,
                                             "network_widths": trained.network})
    scores = tables["scores"]
    volumes.write_json(out / "summary.json", {
        "headline": "; ".join(f"{name}: F1@0.5 {row['F1@0.5']:.2f}, Dice {row['Dice']:.2f}" for name,
                              row in scores.iterrows()),
        "held_out": data.test.name, "threshold": trained.threshold, "spots": trained.spots,
                                              "spot_sigma": trained.spot_sigma,
        "seconds": {"total": time.time() - started, "training": sum(row["seconds"] for row in history)},
        "scores": scores.reset_index().to_dict("records"), "versions": runtime.versions(),
        "device": str(runtime.device(choice["device"]))})
