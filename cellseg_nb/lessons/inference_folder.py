"""Notebook 04 on a whole folder: each volume done once, with a table of all."""

import hashlib
import json
import time
from pathlib import Path

from cellseg_nb import runtime
from cellseg_nb.cells import instances
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import files, volumes
from cellseg_nb.lessons.inference import _read, clean, label, threshold


def folder(choice):
    """The folder to work through: yours, or one with three small simulated volumes and one broken file."""
    if choice["folder"]:
        return choice["folder"]
    place = files.writable_folder(Path(choice["out"]) / "incoming")
    for number in range(3):
        image, _ = simulate.volume((40, 56, 56), 20 + 10 * number, choice["seed"] + 41 + number)
        volumes.write(place / f"slab_{number + 1}.tif", image, (5.0, 5.0, 5.0))
    half = (place / "slab_1.tif").read_bytes()[:40_000]
    with files.atomic(place / "slab_4_broken.tif") as beside:
        beside.write_bytes(half)
    return place


def batch(choice, find_cells, place):
    """Every volume of a folder: labels and table of cells into ``out``/batch. Returns a table, one row a
    file.

    What was done with the same settings is not done again, so an interrupted batch carries on; a file that
    cannot be read gets a row that says why, and the others go on.
    """
    import pandas

    done = []
    for path in runtime.progress(volumes.find(place), desc="Volumes", unit="volume"):
        start = time.perf_counter()
        try:
            done.append({"file": path.name, **_one(choice, find_cells, path), "problem": ""})
        except UserError as error:
            done.append(
                {"file": path.name, "cells": None, "problem": str(error).replace(str(path), path.name)}
            )
        done[-1]["seconds"] = round(time.perf_counter() - start, 1)
    table = pandas.DataFrame(done).astype({"cells": "Int64"})
    files.write_table(Path(choice["out"]) / "batch" / "batch.csv", table)
    return table


def _one(choice, find_cells, path):
    place = Path(choice["out"]) / "batch"
    note = place / f"{path.stem}.json"
    settings = {
        name: value
        for name, value in choice.items()
        if name not in ("images", "other", "folder", "out", "cache")
    }
    with open(path, "rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    settings = json.loads(json.dumps({**settings, "source": find_cells.source, "sha256": content}))
    if note.is_file() and (before := json.loads(note.read_text()))["settings"] == settings:
        return before["found"]
    volume = _read(path, choice)
    probability = find_cells(volume.image, flips=choice["flips"], progress=False)
    labels = clean(choice, label(choice, volume, probability, threshold(choice, find_cells)))
    table = instances.table(labels, volume.image, volume.voxel_size)
    volumes.write(place / f"{path.stem}_labels.tif", labels, volume.voxel_size)
    files.write_table(place / f"{path.stem}_cells.csv", table)
    found = {
        "cells": len(table),
        "median diameter (µm)": round(float(table.equivalent_diameter_um.median()), 2),
    }
    files.write_json(note, {"settings": settings, "found": found})
    return found
