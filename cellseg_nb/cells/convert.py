"""Labels turned into classes and back, and whole folders of them; what is told of a volume in one row."""

from pathlib import Path

import numpy as np

from cellseg_nb import runtime
from cellseg_nb.cells import instances
from cellseg_nb.errors import UserError
from cellseg_nb.io import files, volumes

WAYS = ("cells to classes", "classes to cells")


def to_classes(labels):
    """1 where there is a cell, else 0: (Z, Y, X) int32 of the labels. Touching cells cannot be told apart any
    more."""
    return (np.asarray(labels) > 0).astype(np.int32)


def to_cells(classes, min_size=0):
    """One number for each piece of what is not 0, (Z, Y, X) int32; touching cells become one. Pieces under
    ``min_size`` voxels are dropped."""
    return instances.connected(np.asarray(classes) > 0, 0, min_size, connectivity=6)


def folder(source, target, way, min_size=0):
    """Every label file of a folder (or a single one) converted, written under its name into another folder.

    ``way`` is one of `WAYS`. Returns a table: file, objects before and after. Raises UserError for another
    way, a folder without TIFFs, or a target that is the source.
    """
    import pandas

    if way not in WAYS:
        raise UserError(f"way must be one of {', '.join(map(repr, WAYS))}, not {way!r}")
    paths, target = volumes.find(source), files.writable_folder(target)
    if any(path.parent.resolve() == Path(target).resolve() for path in paths):
        raise UserError(f"{target} holds the files themselves: choose another folder for what is converted")
    rows = []
    for path in runtime.progress(paths, desc="Conversion", unit="file"):
        labels, size = volumes.read_labels(path)
        made = to_classes(labels) if way == WAYS[0] else to_cells(labels, min_size)
        volumes.write(Path(target) / path.name, made, size)
        rows.append([path.name, instances.count(labels), instances.count(made)])
    return pandas.DataFrame(rows, columns=["file", "before", "after"])


def summary(table, shape, voxel_size=None):
    """A volume in one row (dict), from its `instances.table`: cells, share of the volume in cells (%), cells
    per mm³ (None without a voxel size), median diameter (µm, or voxels), median sphericity."""
    voxels = float(np.prod(shape))
    millimetres = None if voxel_size is None else voxels * float(np.prod(voxel_size)) * 1e-9
    median = table[["equivalent_diameter_um", "sphericity"]].median().fillna(0)
    return {
        "cells": len(table),
        "in cells (%)": round(100 * float(table.volume_voxels.sum()) / voxels, 2),
        "cells per mm³": None if millimetres is None else round(len(table) / millimetres, 1),
        "median diameter (µm)": round(float(median.equivalent_diameter_um), 2),
        "median sphericity": round(float(median.sphericity), 3),
    }
