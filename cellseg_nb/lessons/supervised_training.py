"""The steps of notebook 03 that are longer than a cell: volumes with labels, what is held out, training,
comparison, saving."""

import time
from pathlib import Path

import numpy as np

from cellseg_nb import methods, parameters, runtime
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import files, volumes
from cellseg_nb.learning import pairs
from cellseg_nb.networks import losses

NETWORKS = ("segresnet", "swinunetr")


def check(
    dataset, held_out, voxel_size, network, loss, epochs, cores, start, profile, seed, device, out, cache=""
):
    """All parameters, checked, as a dict. Raises UserError in one line; creates the output folder."""
    choice = dict(
        dataset=dataset,
        held_out=held_out,
        voxel_size=parameters.voxel_size(voxel_size),
        network=parameters.one_of("network", network, NETWORKS),
        loss=parameters.one_of("loss", loss, tuple(losses.WORDS)),
        epochs=parameters.number("epochs", epochs, 0, 100000, whole=True),
        cores=bool(cores),
        start=start,
        profile=parameters.one_of("profile", profile, ("demo", "paper")),
        seed=parameters.number("seed", seed, 0, 2**31 - 1, whole=True),
        device=device,
        out=str(out),
        cache=cache,
    )
    runtime.device(device)
    files.writable_folder(out)
    if dataset == "auto":
        choice["dataset"] = "simulated" if profile == "demo" else "cellseg3d"
    return choice


def method(choice, network=None, **changes):
    """The network with the settings of the profile, the loss and maps chosen, and the weights to start
    from."""
    network = network or choice["network"]
    kind = methods.kind(network)
    settings = dict(kind.PAPER if choice["profile"] == "paper" else {})
    if choice["epochs"]:
        settings["epochs"] = choice["epochs"]
    settings |= dict(
        loss=choice["loss"],
        cores=choice["cores"],
        seed=choice["seed"],
        device=choice["device"],
        start=choice["start"] or None,
    )
    return kind(**{**settings, **changes})


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
    return (
        pandas.DataFrame(
            [
                {"weights": words, **{name: row[name] for name in ("epoch", "val_loss", "val_dice")}}
                for words, row in (("best", best), ("last", rows[-1]))
            ]
        )
        .set_index("weights")
        .round(3)
    )


def compare(data, found, baseline="otsu"):
    """Dice, and cells matched at IoU 0.5 and 0.7, on the held-out volume. ``found`` is {method: labels}. A
    table."""
    import pandas

    rows = []
    for name, labels in found.items():
        at = metrics.match(data.test.labels, labels, (0.5, 0.7))
        rows.append(
            {
                "method": name,
                "Dice": metrics.dice(data.test.labels, labels),
                "true cells": int(at.n_true[0]),
                "found": int(at.n_pred[0]),
                "missed": int(at.fn[0]),
                "invented": int(at.fp[0]),
                "F1@0.5": at.f1[0],
                "F1@0.7": at.f1[1],
            }
        )
    return pandas.DataFrame(rows).set_index("method").round(3)


def save(choice, data, trained, history, tables, found, started):
    """Write weights, tables, labels, summary and parameters into the output folder, each beside and
    renamed."""
    import pandas

    out = Path(choice["out"])
    trained.save(out)
    for name, table in {**tables, "history": pandas.DataFrame(history)}.items():
        files.write_table(out / f"{name}.csv", table.reset_index() if table.index.name else table)
    for name, labels in found.items():
        volumes.write(
            out / f"{data.test.name.replace(' ', '_').replace(',', '')}_{name}.tif", labels, data.voxel_size
        )
    files.write_json(
        out / "config.json", {**choice, "training": trained.training, "network_widths": trained.network}
    )
    scores = tables["scores"]
    files.write_json(
        out / "summary.json",
        {
            "headline": "; ".join(
                f"{name}: F1@0.5 {row['F1@0.5']:.2f}, Dice {row['Dice']:.2f}"
                for name, row in scores.iterrows()
            ),
            "held_out": data.test.name,
            "threshold": trained.threshold,
            "spots": trained.spots,
            "spot_sigma": trained.spot_sigma,
            "seconds": {"total": time.time() - started, "training": sum(row["seconds"] for row in history)},
            "scores": scores.reset_index().to_dict("records"),
            "versions": runtime.versions(),
            "device": str(runtime.device(choice["device"])),
        },
    )
