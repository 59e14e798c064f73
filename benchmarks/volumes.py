"""Label-free methods on every volume at hand, with the defaults of notebook 00: one table, bad rows included.

    CELLSEG_NB_REAL_DATA=folder python benchmarks/volumes.py [folder of cases]
        [--only NAMES] [--methods NAMES] [--seed N] [--out FOLDER]

A case is a folder with ``image.tif`` and ``labels.tif``. Besides the files, a method is given the voxel size
(`KINDS`) and what notebook 00 finds out by itself: the cell diameter, and the volume as prepared. Labels are
looked at only to score. Rows are written as they are done (``volumes.csv``, ``volumes.md``) into ``out``,
beside those of earlier runs; a row of the same volume, method and seed is replaced.

* ``wnet3d``: the cells of notebook 00
* ``otsu``: its Otsu + Voronoi
* ``dog``: maxima of a difference of Gaussians as wide as a cell, each one a ball of the estimated diameter
"""

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas
from scipy import ndimage as ndi

from cellseg_nb import parameters, runs
from cellseg_nb.cells import background, instances
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import centres, metrics
from cellseg_nb.io import files
from cellseg_nb.learning import guided, monitor
from cellseg_nb.lessons import quickstart, quickstart_results as results
from cellseg_nb.methods.wnet3d import WNet3DMethod

KINDS = {  # folder of real volumes: voxel size (z, y, x) in µm, None where it is not published
    "mesospim": None,
    "bbbc050": (1.75, 0.8, 0.8),
    "bbbc050_earlier": (1.75, 0.8, 0.8),
    "arabidopsis": (0.284, 0.127, 0.127),
    "delivr": (6, 1.62, 1.62),
}
TOLERANCE = {"delivr": 6.0}  # µm between centres; elsewhere half the median true diameter
ANNOTATED = {"c5": 347}  # cells counted by people, where their labels are not at hand (Achard et al. 2024)
RATIO = 1.6  # between the two Gaussians, as in `skimage.feature.blob_dog`
KEYS = ["volume", "method", "seed"]


def data(cases=None):
    """(kind, name, image, labels or "", voxel size or None) of every volume: the sample, real ones,
    cases."""
    yield "sample", "sample", "", "", None
    folder = os.environ.get("CELLSEG_NB_REAL_DATA")
    for kind, size in KINDS.items() if folder else ():
        for image in sorted((Path(folder) / kind).glob("*_image.tif")):
            name = image.name.removesuffix("_image.tif")
            labels = image.with_name(f"{name}_labels.tif")
            yield kind, name, str(image), str(labels) if labels.exists() else "", size
    for labels in sorted(Path(cases).glob("*/labels.tif")) if cases else ():
        yield "case", labels.parent.name, str(labels.with_name("image.tif")), str(labels), None


# ---------------------------------------------------------------- methods


def wnet3d(choice, volume, seen, image, diameter):
    """Notebook 00, sections 3 to 7. Labels (Z, Y, X) int32, probability, history of the training."""
    working = quickstart.resampled([volume], [image], choice, diameter)[0]
    options = quickstart.settings(choice, volume.voxel_size, diameter, [working])
    method = WNet3DMethod(**options, seed=choice["seed"], device=choice["device"])
    guides = [guided.guide(seen, working.shape)]
    history = method.fit([working], callbacks=[monitor.stop_when_enough], guides=guides, progress=False)
    probability = quickstart.on_grid(method.predict(working, progress=False), volume.image.shape) * seen.valid
    hills = quickstart.to_separate([volume], [image], [seen], diameter)[0]
    return method.segment(hills, probability, volume.voxel_size), probability, history


def otsu(choice, volume, seen, image, diameter):
    """The baseline of notebook 00, section 9."""
    return results.plain([volume], [image], diameter)[0], None, None


def dog(choice, volume, seen, image, diameter):
    """Maxima that rise above the noise as far as notebook 00 asks of a cell (``min_contrast``), as balls.

    A ball of diameter d answers most at sigma = d / (2 sqrt 3) (Lindeberg 1998); noise is the median absolute
    deviation of the answer, times 1.4826.
    """
    widths = background.widths(volume.voxel_size, diameter or None)
    sigma = widths / (2 * np.sqrt(3))
    fine, coarse = (ndi.gaussian_filter(image.astype(np.float32), s) for s in (sigma, RATIO * sigma))
    answer = fine - coarse
    noise = background.MAD * np.median(np.abs(answer - np.median(answer)))
    places, _ = background.peaks(answer, widths, seen.valid, choice["min_contrast"] * noise)
    seeds = np.zeros(image.shape, np.int32)
    seeds[tuple(places.T)] = np.arange(1, len(places) + 1)
    if not len(places):
        return seeds, None, None
    far, nearest = ndi.distance_transform_edt(seeds == 0, sampling=1 / widths, return_indices=True)
    return np.where(far <= 0.5, seeds[tuple(nearest)], 0).astype(np.int32), None, None


METHODS = {"otsu": otsu, "dog": dog, "wnet3d": wnet3d}


# ---------------------------------------------------------------- table


def defaults(seed, out):
    """The choice of notebook 00 with nothing chosen."""
    given = runs.parameters(runs.find("00_quickstart")) | {"seed": seed, "out": str(out)}
    return quickstart.resolved(parameters.check(quickstart.PARAMETERS, given))


def clocks():
    """Seconds on the wall, and of processor time: the second is the fairer on a machine that is shared."""
    return np.array([time.perf_counter(), time.process_time()])


def rows(choice, kind, name, image, labels, size, methods):
    """One row a method, as a dict, as soon as it is done; seconds include estimating the size and mending."""
    files_given = {"images": image, "labels": labels, "voxel_size": size}
    with contextlib.redirect_stdout(sys.stderr):
        volume = quickstart.load(choice | files_given)[0]
        start = clocks()
        diameter = quickstart.cell_size(choice, [volume])
        seen = quickstart.prepared(choice, [volume], diameter)[0]
        shown = seen.volume if seen.changed else volume.image
        before = clocks() - start
    for method in methods:
        row = {"kind": kind, "volume": name, "method": method, "seed": choice["seed"]}
        start = clocks()
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found, probability, history = METHODS[method](choice, volume, seen, shown, diameter)
        except UserError as error:
            yield row | {"verdict": "refused", "said": str(error)}
            continue
        row["seconds"], row["CPU seconds"] = (before + clocks() - start).round(1)
        verdict = results.judged([volume], [seen], [probability], [found], diameter, history)[0]
        row |= score(kind, name, volume, found) | {"verdict": verdict.level, "said": verdict.text}
        yield row | {"diameter": round(diameter, 2)}


def score(kind, name, volume, found):
    """Cells found and true, F1 at IoU 0.5, F1 of centres, Dice, and the true diameter in µm."""
    row, truth = {"cells": instances.count(found)}, volume.labels
    if truth is None:
        return row | ({"true cells": ANNOTATED[name]} if name in ANNOTATED else {})
    voxels = np.bincount(truth.ravel())[1:]
    true = float(np.median(np.cbrt(6 * voxels[voxels > 0] * np.prod(volume.voxel_size or 1) / np.pi)))
    near = centres.match_centres(truth, found, volume.voxel_size, TOLERANCE.get(kind, true / 2))
    return row | {
        "true cells": instances.count(truth),
        "F1@0.5": round(float(metrics.match(truth, found, (0.5,)).f1[0]), 3),
        "F1 of centres": round(near["f1"], 3),
        "Dice": round(metrics.dice(truth, found), 3),
        "true diameter": round(true, 2),
    }


COLUMNS = [
    *("kind", "volume", "method", "seed", "cells", "true cells", "F1@0.5", "F1 of centres", "Dice"),
    *("verdict", "seconds", "CPU seconds", "diameter", "true diameter", "said"),
]


def keep(out, row):
    """Put a row into ``volumes.csv`` and ``volumes.md``."""
    path, new = out / "volumes.csv", pandas.DataFrame([row], columns=COLUMNS)
    if path.exists():
        old = pandas.read_csv(path, dtype={"volume": str, "kind": str})
        new = pandas.concat([old, new.dropna(axis=1)]).drop_duplicates(KEYS, keep="last")
        new = new.reindex(columns=COLUMNS)  # of an older table, too
    new = new.astype({"cells": "Int64", "true cells": "Int64"})
    files.write_table(path, new)
    with files.atomic(out / "volumes.md") as beside:
        beside.write_text(markdown(new), encoding="utf-8")


def markdown(table):
    """The table without the words of the verdict, the methods of a volume below each other."""
    order = {name: number for number, name in enumerate(dict.fromkeys(table.volume))}
    table = table.sort_values("volume", key=lambda names: names.map(order), kind="stable")
    names = COLUMNS[1:-1]
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [
        " | ".join("" if pandas.isna(x) else f"{x:g}" if isinstance(x, float) else str(x) for x in values)
        for values in table[names].itertuples(index=False)
    ]
    return "".join(f"| {line} |\n" for line in lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="?", help="a folder of folders, each with image.tif and labels.tif")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these volumes, in this order")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="results/volumes")
    chosen = parser.parse_args(arguments)
    out = files.writable_folder(chosen.out)
    found = {one[1]: one for one in data(chosen.cases)}
    missing = [name for name in chosen.only or () if name not in found]
    if missing:
        parser.error(f"there is no volume {missing[0]}: choose from {', '.join(found)}")
    for name in chosen.only or found:
        for row in rows(defaults(chosen.seed, out), *found[name], chosen.methods):
            keep(out, row)
            print(" ".join(f"{str(row.get(column, '')):>14}" for column in COLUMNS[1:-1]), flush=True)


if __name__ == "__main__":
    main()
