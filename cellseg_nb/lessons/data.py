"""Notebook 01: its parameters, one pass over a data set for counts, sizes and brightness, its folds."""

from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas

from cellseg_nb import parameters, runtime
from cellseg_nb.data import bundled, datasets, splitting
from cellseg_nb.io import files, volumes

Survey = namedtuple("Survey", "volumes cells histograms")
Division = namedtuple("Division", "folds splits shared")
EMPTY = (
    ["fold", "held_out", "training"],
    ["fold", "held_out", "percentage", "role", "volume", "cube", *splitting.CORNER, *splitting.SIDES],
    ["fold", "percentage", "shared"],
)

PARAMETERS = parameters.common("dataset", "profile", "voxel_size", "seed", "cache", "out") | {
    "cube": parameters.rule(parameters.number, 8, 1024, whole=True),
    "apart": parameters.truth,
    "held_out": parameters.auto(parameters.listed),
    "percentages": parameters.rule(parameters.numbers, 0, 100),
    "base_url": parameters.text,
    "write_cubes": parameters.truth,
}


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
    order = "volume z y x voxel_z voxel_y voxel_x cells published foreground cells_per_mm3".split()
    none = pandas.DataFrame(columns=["volume", "label", "volume_voxels", "diameter"])
    table = pandas.DataFrame(rows).reindex(columns=order)
    for column in ("cells", "published"):
        table[column] = table[column].astype("Int64")
    return Survey(table, pandas.concat(cells, ignore_index=True)[none.columns] if cells else none, histograms)


def write_cubes(out, collection, cubes):
    """The cubes of a table (volume, cube, z, y, x, depth, height, width) as TIFFs: ``out``/cubes/images and,
    where there are labels, ``out``/cubes/labels, numbered anew in each. A folder that every notebook takes as
    its ``dataset``. Returns its path."""
    place = files.writable_folder(Path(out) / "cubes")
    for pair in runtime.progress(collection.pairs, desc="cubes"):
        image, labels, size = datasets.load(pair, collection.voxel_size)
        for row in cubes[cubes.volume == pair.name].to_dict("records"):
            name = f"{pair.name.replace('/', '_')}_{row['cube']:03d}.tif"
            volumes.write(place / "images" / name, splitting.cut(image, row), size)
            if labels is not None:
                own = np.unique(splitting.cut(labels, row), return_inverse=True)
                part = own[1].reshape(splitting.cut(labels, row).shape) + (own[0][0] > 0)
                volumes.write(place / "labels" / name, part.astype(np.int32), size)
    return place


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


def _histogram(image, labels):
    # Without the 0.01 % brightest voxels: a single one of them can squeeze all others into the first bin.
    edges = np.linspace(float(image.min()), float(np.percentile(image, 99.99)), 121)
    whole = np.histogram(image, edges)[0]
    inside = np.histogram(image[labels > 0], edges)[0] if labels is not None else np.zeros_like(whole)
    return edges, whole - inside, inside


def divide(choice, cubes):
    """Folds, splits and shared voxels of the choices: three tables (see `splitting`), or empty ones."""
    if cubes.volume.nunique() < 2:
        print(
            "This data set has one volume only: none can be held out, so there are no folds. To compare "
            "methods, add a second."
        )
        return Division(*(cubes.head(0).reindex(columns=columns) for columns in EMPTY))
    table = splitting.splits(cubes, choice["percentages"], choice["seed"], choice["held_out"])
    return Division(splitting.folds(cubes.volume, choice["held_out"]), table, splitting.shared(table))


def headline(found):
    """How many volumes and cells, in words."""
    table = found.volumes
    return f"{len(table)} volume{'s'[len(table) == 1 :]}" + (
        f", {table.cells.sum()} cells" if table.cells.notna().any() else ""
    )
