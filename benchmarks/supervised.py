"""Learned from labels, scored on volumes held out, with one set of defaults: embryos (BBBC050) and c-FOS.

    CELLSEG_NB_REAL_DATA=folder python benchmarks/supervised.py [embryos or cfos ...]
        [--methods NAMES] [--held-out NAMES] [--tune] [--out FOLDER]

Embryos at t501: each is held out in turn, the other four are learned from. c-FOS: two brains are learned
from, the patches of the other two held out. Labels of what is held out are looked at only to score; with
``--tune`` the instance step is chosen on what is learned from. Rows are written as they are done.
"""

import argparse
import os
import time
from pathlib import Path

import pandas
from embryos import SETTINGS

from cellseg_nb import methods
from cellseg_nb.cells import instances
from cellseg_nb.evaluation import centres, metrics
from cellseg_nb.io import files, volumes
from cellseg_nb.learning import augmentation
from cellseg_nb.methods import settings, tuning

EMBRYOS = {
    "01": "bbbc050/emb01",
    "04": "bbbc050/emb04",
    "07": "bbbc050_earlier/emb07_t501",
    "09": "bbbc050/emb09",
    "11": "bbbc050/emb11",
}
CFOS = ("969_0", "969_1", "969_2", "1147_0", "1147_1", "695_0", "695_4", "753_0")
BRAINS = (("969", "1147"), ("695", "753"))  # learned from by turns
OWN = {  # what is not as in `embryos.SETTINGS`
    "embryos": {
        "segresnet": dict(
            augment=(*augmentation.STEPS, *augmentation.MORE), flips=True, batch=2, epochs=100, init_filters=8
        )
    },
    # c-FOS: cells of five voxels, at most one in a hundred of all voxels
    "cfos": {
        "segresnet": dict(
            cores=False, scaling="contrast", flips=True, epochs=70, cube=(16, 48, 48), init_filters=8
        )
    },
}
# what belongs to the volumes: voxel size (z, y, x) in µm, tolerance of centres in µm (None: half a diameter)
KINDS = {"embryos": ((1.75, 0.8, 0.8), None), "cfos": ((6, 1.62, 1.62), 6.0)}


def splits(kind):
    """(held out, learned from), names of volumes."""
    if kind == "embryos":
        return [([name], [other for other in EMBRYOS if other != name]) for name in EMBRYOS]
    found = []
    for brains in BRAINS:
        learned = [name for name in CFOS if name.split("_")[0] in brains]
        found.append(([name for name in CFOS if name not in learned], learned))
    return found


def read(folder, kind, name):
    path = folder / (EMBRYOS[name] if kind == "embryos" else f"delivr/{name}")
    return volumes.read(f"{path}_image.tif")[0], volumes.read_labels(f"{path}_labels.tif")[0]


def score(kind, truth, found):
    """Cells found and true, F1 at IoU 0.5, F1 of centres."""
    size, near = KINDS[kind]
    near = near or tuning.diameter([truth]) * float(size[0] * size[1] * size[2]) ** (1 / 3) / 2
    return {
        "cells": instances.count(found),
        "true cells": instances.count(truth),
        "F1@0.5": round(float(metrics.match(truth, found, (0.5,)).f1[0]), 3),
        "F1 of centres": round(centres.match_centres(truth, found, size, near)["f1"], 3),
    }


def train(kind, name, images, labels, folder):
    """The method after its training; one that was finished in ``folder`` before is not run again."""
    own = settings.shrunk(name, {**SETTINGS[name], **OWN[kind].get(name, {})})
    method = methods.get(name, **own, voxel_size=KINDS[kind][0])
    method.fit(images, labels, folder=files.writable_folder(folder), progress=False)
    return method


def run(folder, kind, name, held_out, learned, tune, out):
    """One training: a row for each volume held out."""
    start, size = time.process_time(), KINDS[kind][0]
    images, labels = (list(part) for part in zip(*(read(folder, kind, one) for one in learned)))
    method = train(kind, name, images, labels, out / f"{kind}-{name}-{'-'.join(held_out)}")
    if tune:
        method.tune(images, labels, voxel_size=size, progress=False)
        print(method.chosen, flush=True)
    seconds = round(time.process_time() - start)
    for one in held_out:
        image, truth = read(folder, kind, one)
        found = method.segment(image, voxel_size=size)
        about = {"kind": kind, "method": name, "held out": one, "tuned": tune, "CPU seconds": seconds}
        yield about | score(kind, truth, found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="embryos or cfos")
    parser.add_argument("--methods", nargs="+", choices=SETTINGS, default=["segresnet"])
    parser.add_argument("--held-out", nargs="+", metavar="NAME", help="only trainings that hold these out")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument(
        "--out", default="results/supervised", help="a training that is there is not repeated"
    )
    chosen = parser.parse_args()
    out, rows = files.writable_folder(chosen.out), []
    folder = Path(os.environ["CELLSEG_NB_REAL_DATA"])
    for kind in chosen.kinds or KINDS:
        for held_out, learned in splits(kind):
            if chosen.held_out and not {*chosen.held_out} & {*held_out}:
                continue
            for name in chosen.methods:
                for row in run(folder, kind, name, held_out, learned, chosen.tune, out):
                    rows.append(row)
                    print(*row.values(), flush=True)
                    files.write_table(out / "supervised.csv", pandas.DataFrame(rows))


if __name__ == "__main__":
    main()
