"""A data set, looked at: one pass over its volumes for counts, sizes and brightness; its cubes and folds."""

from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas

from cellseg_nb import parameters, runtime
from cellseg_nb.data import bundled, datasets, splitting
from cellseg_nb.errors import UserError
from cellseg_nb.io.files import writable_folder

Survey = namedtuple("Survey", "volumes cells histograms")
Division = namedtuple("Division", "folds splits shared")


def survey(collection, voxel_size=None):
    """Read every volume of a `datasets.Collection` once and measure it; one volume is in memory at a time.

    ``voxel_size`` (z, y, x) in µm counts more than the collection's. Returns a Survey of

    * volumes, a table: volume, z, y, x (voxels), voxel_z, voxel_y, voxel_x (µm), cells, published count,
      foreground (share of voxels in cells), cells_per_mm3
    * cells, a table: volume, label, volume_voxels, diameter (of a ball of that size, in µm, or in voxels
      where the voxel size is unknown)
    * histograms: {volume: (edges, background voxels, cell voxels)}

    What needs labels or voxel sizes that are not there is empty. Raises UserError for what cannot be read.
    """
    counts = published(collection.name)
    rows, cells, histograms = [], [], {}
    for pair in runtime.progress(collection.pairs, desc="volumes"):
        image, labels, size = datasets.load(pair, voxel_size or collection.voxel_size)
        histograms[pair.name] = _histogram(image, labels)
        row = {
            "volume": pair.name,
            **dict(zip("zyx", image.shape)),
            **dict(zip(("voxel_z", "voxel_y", "voxel_x"), size or (None,) * 3)),
            "published": counts.get(pair.name),
        }
        if labels is not None:
            found = _cells(labels, size)
            cells.append(found.assign(volume=pair.name))
            row |= {"cells": len(found), "foreground": np.count_nonzero(labels) / labels.size}
            if size:
                row["cells_per_mm3"] = len(found) / (image.size * np.prod(size) * 1e-9)
        rows.append(row)
    order = [
        "volume",
        *"zyx",
        "voxel_z",
        "voxel_y",
        "voxel_x",
        "cells",
        "published",
        "foreground",
        "cells_per_mm3",
    ]
    none = pandas.DataFrame(columns=["volume", "label", "volume_voxels", "diameter"])
    table = pandas.DataFrame(rows).reindex(columns=order)
    for column in ("cells", "published"):
        table[column] = table[column].astype("Int64")
    return Survey(table, pandas.concat(cells, ignore_index=True)[none.columns] if cells else none, histograms)


def published(name):
    """Published cell counts {volume: cells}, of the paper's volumes and the simulated ones; else empty."""
    if name not in ("cellseg3d", "simulated"):
        return {}
    return pandas.read_csv(bundled.path("published/cell_counts.csv")).set_index("volume").cells.to_dict()


def _cells(labels, size):
    counts = np.bincount(labels.ravel())
    numbers = np.flatnonzero(counts)
    numbers = numbers[numbers > 0]
    volume = counts[numbers] * float(np.prod(size or 1.0))
    return pandas.DataFrame(
        {"label": numbers, "volume_voxels": counts[numbers], "diameter": np.cbrt(6 * volume / np.pi)}
    )


def _histogram(image, labels, bins=120):
    # Without the 0.01 % brightest voxels: a single one of them can squeeze all others into the first bin.
    edges = np.linspace(float(image.min()), float(np.percentile(image, 99.99)), bins + 1)
    whole = np.histogram(image, edges)[0]
    inside = np.histogram(image[labels > 0], edges)[0] if labels is not None else np.zeros_like(whole)
    return edges, whole - inside, inside


# ---------------------------------------------------------------- the notebook's choices and results


def check(
    dataset="auto",
    profile="demo",
    voxel_size="auto",
    cube=64,
    held_out="auto",
    percentages="10,20,60,80",
    apart=False,
    seed=0,
    out="results/01_data",
    cache="",
    base_url="",
):
    """The notebook's parameters, checked and put into a dict. Raises UserError naming the one that is wrong.

    ``dataset="auto"`` is the simulated volumes in the profile demo, the paper's data set in the profile
    paper.
    """
    parameters.one_of("profile", profile, ("demo", "paper"))
    if dataset in ("", "auto"):
        dataset = "simulated" if profile == "demo" else "cellseg3d"
    try:
        shares = [float(part) for part in str(percentages).split(",")]
    except ValueError:
        raise UserError(
            f"percentages must be numbers with commas between them, such as 10,20,60,80, not {percentages!r}"
        ) from None
    words = [word.strip() for word in held_out.split(",") if word.strip()]
    return {
        "dataset": dataset,
        "profile": profile,
        "voxel_size": parameters.voxel_size(voxel_size),
        "cube": parameters.number("cube", cube, low=8, high=1024, whole=True),
        "apart": bool(apart),
        "held_out": None if words in ([], ["auto"]) else words,
        "percentages": [int(s) if s == int(s) else s for s in shares],
        "seed": parameters.number("seed", seed, low=0, whole=True),
        "out": str(writable_folder(out)),
        "cache": cache or None,
        "base_url": base_url or None,
    }


def collect(choice):
    """The data set of the choices, downloaded or simulated where need be. Says what was found."""
    collection = datasets.collect(
        choice["dataset"],
        Path(choice["out"]) / "simulated",
        choice["seed"],
        cache=choice["cache"],
        base_url=choice["base_url"],
    )
    with_labels = sum(pair.labels is not None for pair in collection.pairs)
    print(
        f"{collection.title}\n{len(collection.pairs)} volumes, {with_labels} with labels, in "
        f"{collection.folder}"
    )
    return collection


def pair_table(collection):
    """Which label file belongs to which volume: a table to look over."""
    rows = [
        [pair.name, pair.image.name, pair.labels.name if pair.labels else "none"] for pair in collection.pairs
    ]
    return pandas.DataFrame(rows, columns=["volume", "image file", "label file"])


def divide(choice, cubes):
    """Folds, splits and shared voxels of the choices: three tables (see `splitting`), or empty ones."""
    if cubes.volume.nunique() < 2:
        print(
            "This data set has one volume only: none can be held out, so there are no folds. To compare "
            "methods, add a second."
        )
        return Division(
            *(
                pandas.DataFrame(columns=c)
                for c in (
                    ["fold", "held_out", "training"],
                    ["fold", "held_out", "percentage", "role", *cubes.columns],
                    ["fold", "percentage", "shared"],
                )
            )
        )
    table = splitting.splits(cubes, choice["percentages"], choice["seed"], choice["held_out"])
    return Division(splitting.folds(cubes.volume, choice["held_out"]), table, splitting.shared(table))


def headline(found):
    """How many volumes and cells, in words."""
    table = found.volumes
    return f"{len(table)} volume{'s'[len(table) == 1 :]}" + (
        f", {table.cells.sum()} cells" if table.cells.notna().any() else ""
    )
