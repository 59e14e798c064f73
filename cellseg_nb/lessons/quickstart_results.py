"""Results of notebook 00: a table of cells, a fair baseline, a verdict, files."""

import time
from pathlib import Path

from cellseg_nb import runtime
from cellseg_nb.cells import background, instances, verdict
from cellseg_nb.io import files as io_files, folder, volumes as io_volumes


def plain(volumes, images, diameter):
    """Otsu + Voronoi, given all that WNet3D was given: the prepared images, and the cell ``diameter`` in µm.

    Returns a list of labels (Z, Y, X) int32: spots after a blur of a quarter of the diameter, objects that
    hardly rise above the noise dropped, as `cellseg_nb.methods.wnet3d` does.
    """
    found = []
    for (_, _, _, size), image in zip(volumes, images):
        sigma = diameter / min(size or (1.0,)) / 4 if diameter else 1.0
        labels = instances.voronoi_otsu(image, sigma, sigma / 2, size, spots=image)
        labels = instances.filter_contrast(labels, image, 6.0, sigma, size)
        found.append(instances.filter_size(labels, 5))
    return found


def judged(volumes, seen, probabilities, found, diameter, history):
    """Did it work? One `cellseg_nb.cells.verdict.Verdict` a volume, said without labels."""
    return [
        verdict.judge(
            one.volume,
            labels,
            probability,
            one.valid,
            background.widths(volume.voxel_size, diameter or None),
            history,
        )
        for volume, one, probability, labels in zip(volumes, seen, probabilities, found)
    ]


def headline(verdicts, found, remedy=""):
    """The first line of the report: the worst verdict, what helped to it, and how many cells."""
    worst = min(verdicts, key=lambda one: ("failed", "doubtful", "ok").index(one.level))
    words = {"ok": "It looks right", "doubtful": "Doubtful", "failed": "It did not work"}[worst.level]
    cells = sum(instances.count(labels) for labels in found)
    return f"{words}{f' (with {remedy})' if remedy else ''}: {cells} cells; {worst.text}."


def table(volumes, found):
    """One row a cell (see `cellseg_nb.cells.instances.table`); a first column says which file when there are
    several."""
    import pandas

    tables = [
        instances.table(labels, volume.image, volume.voxel_size or (1.0, 1.0, 1.0))
        for labels, volume in zip(found, volumes)
    ]
    if len(tables) > 1:
        for part, volume in zip(tables, volumes):
            part.insert(0, "file", volume.name)
    return pandas.concat(tables, ignore_index=True)


def compare(volumes, methods):
    """How many cells each method found; with true labels also F1, precision, recall at IoU 0.5.

    ``methods``: {name: list of labels (Z, Y, X), one for each volume}. Returns a table, one row a method.
    """
    import pandas

    rows = [{"method": name, **_score(volumes, found)} for name, found in methods.items()]
    return pandas.DataFrame(rows).set_index("method").round(3)


def _score(volumes, found):
    from cellseg_nb.evaluation import metrics

    row = {"cells": sum(instances.count(labels) for labels in found)}
    if volumes[0].labels is None:
        return row
    each = [metrics.match(volume.labels, labels, (0.5,)).iloc[0] for volume, labels in zip(volumes, found)]
    tp, fp, fn = (sum(int(one[key]) for one in each) for key in ("tp", "fp", "fn"))
    return row | {
        "true cells": sum(instances.count(volume.labels) for volume in volumes),
        "F1": 2 * tp / max(1, 2 * tp + fp + fn),
        "precision": tp / max(1, tp + fp),
        "recall": tp / max(1, tp + fn),
    }


def save(choice, volumes, best, table, scores, started, seen, tried):
    """Write volumes, table, weights, summary and parameters into the output folder, each beside and
    renamed.

    ``best`` and ``tried``: what `cellseg_nb.lessons.quickstart_remedies.best` returned.
    """
    out, (remedy, method, history, probabilities, found, verdicts) = Path(choice["out"]), best
    for volume, probability, labels in zip(volumes, probabilities, found):
        prefix = f"{folder.bare(Path(volume.name))}_" if len(volumes) > 1 else ""
        io_volumes.write(out / f"{prefix}probability.tif", probability, volume.voxel_size)
        io_volumes.write(out / f"{prefix}labels.tif", labels, volume.voxel_size)
    io_files.write_table(out / "cells.csv", table)
    method.save(out)
    io_files.write_json(
        out / "config.json",
        {**choice, "training": method.training, "network": method.network, "loss": method.loss},
    )
    summary = {
        "headline": headline(verdicts, found, remedy),
        "remedies": tried,
        "cells": len(table),
        "files": [volume.name for volume in volumes],
        "voxel_size_um": volumes[0].voxel_size,
        "seconds": {"total": time.time() - started, "training": sum(row["seconds"] for row in history)},
        "comparison": scores.reset_index().to_dict("records"),
        "seed": choice["seed"],
        "versions": runtime.versions(),
        "device": str(runtime.device(choice["device"])),
        "cell_diameter": method.options["cell_diameter"],
        "prepared": [one.record for one in seen],
        "verdict": [{"level": one.level, "text": one.text, **one.numbers} for one in verdicts],
        "history": history,
    }
    if "F1" in scores:
        summary["f1_at_0.5"] = float(scores["F1"].iloc[0])
    io_files.write_json(out / "summary.json", summary)
