"""Notebook 04 on a whole folder: each volume done once, with a table of all."""

import inspect
import time
from pathlib import Path

from cellseg_nb import runtime
from cellseg_nb.cells import classes, instances
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import grid
from cellseg_nb.io import files, folder as folders, volumes
from cellseg_nb.lessons.inference import read

NO_MATTER = "images other folder out cache device hand_on".split()  # of the choices, to what is found


def folder(choice):
    """The folder to work through: yours, or one with three small simulated volumes and one broken file."""
    if choice["folder"]:
        return choice["folder"]
    place = files.writable_folder(Path(choice["out"]) / "incoming")
    for number in range(3):
        image, _ = simulate.volume((40, 56, 56), 20 + 10 * number, choice["seed"] + 41 + number)
        volumes.write(place / f"slab_{number + 1}.tif", image, (5.0, 5.0, 5.0))
    short = (place / "slab_1.tif").read_bytes()[:-500]  # as a copy that broke off
    with files.atomic(place / "slab_4_broken.tif") as beside:
        beside.write_bytes(short)
    return place


def batch(choice, segment, place, source=""):
    """Every volume of a folder: labels and table of cells into ``out``/batch. Returns a table, one row a
    file.

    Parameters
    ----------
    segment : callable
        ``segment(image, voxel_size)`` gives labels (Z, Y, X) int32 of an image (Z, Y, X).
    place : path of the folder
    source : str
        Which weights ``segment`` uses.

    What was done with the same choices, weights and code of ``segment`` is not done again, so an interrupted
    batch carries on; a file that cannot be read gets a row that says why, and the others go on.
    """
    import pandas

    settings = {name: value for name, value in choice.items() if name not in NO_MATTER}
    settings |= {"source": source, "code": _code(segment)}
    done = []
    for path in runtime.progress(volumes.find(place), desc="Volumes", unit="volume"):
        start = time.perf_counter()
        try:
            done.append({"file": path.name, **_one(choice, segment, path, settings), "problem": ""})
        except UserError as error:
            done.append(
                {"file": path.name, "cells": None, "problem": str(error).replace(str(path), path.name)}
            )
        done[-1]["seconds"] = round(time.perf_counter() - start, 1)
    table = pandas.DataFrame(done).astype({"cells": "Int64"})
    files.write_table(Path(choice["out"]) / "batch" / "batch.csv", table)
    return table


def _code(function):
    """The text of a function, of the notebook's functions that it calls, and the numbers and words that they
    use: who changes one of them wants new results."""
    try:
        text, used = inspect.getsource(function), inspect.getclosurevars(function)
    except (OSError, TypeError):  # made without a file or a cell
        return ""
    for name, value in sorted({**used.globals, **used.nonlocals}.items()):
        if inspect.isfunction(value) and value.__module__ == function.__module__ and value is not function:
            text += _code(value)
        elif isinstance(value, str | int | float | None):
            text += f"{name} = {value!r}\n"
    return text


def _one(choice, segment, path, settings):
    place, name = Path(choice["out"]) / "batch", folders.bare(path)
    note = place / f"{name}.json"
    settings = {**settings, "sha256": files.digest(path)}
    if before := grid.kept(note, settings):
        return before["found"]
    volume = read(path, choice)
    labels = segment(volume.image, volume.voxel_size)
    table = instances.table(labels, volume.image, volume.voxel_size)
    volumes.write(place / f"{name}_labels.tif", labels, volume.voxel_size)
    files.write_table(place / f"{name}_cells.csv", table)
    found = classes.summary(table, labels.shape, volume.voxel_size)
    grid.keep(note, settings, found=found)
    return found
