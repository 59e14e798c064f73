"""Cells without labels and without sigmas: `separate` and `cell_diameter` on labelled volumes, one set of
defaults for all.

    CELLSEG_NB_REAL_DATA=folder python benchmarks/separation.py [folder of probabilities]

For each volume under the folder (``*_image.tif`` beside ``*_labels.tif``): the true and the estimated cell
diameter, F1 at IoU 0.5, cells found and labelled, seconds. With a folder of probabilities (``NAME.npy`` or
``NAME_seedN.npy``, from any network) also with these. Nothing is picked on the truth. Without the variable:
the bundled sample and simulated volumes. Speed: ``python benchmarks/separation.py speed``, 256 x 256 x 256
voxels with about 5,000 cells.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from cellseg_nb import instances, metrics, simulate, volumes
from cellseg_nb.cells.scale import cell_diameter
from cellseg_nb.cells.separate import separate
from cellseg_nb.data.bundled import path as bundled

SIZES = {
    "bbbc050": (1.75, 0.8, 0.8),
    "bbbc050_earlier": (1.75, 0.8, 0.8),
    "arabidopsis": (0.284, 0.127, 0.127),
    "delivr": (6, 1.62, 1.62),
}


def data():
    """Name, image, labels or None, voxel size or None, of every volume."""
    sample = bundled("sample/sample_image.tif")
    yield "sample", volumes.read(sample)[0], volumes.read_labels(bundled("sample/sample_labels.tif"))[0], None
    for seed in range(3):
        yield f"simulated_{seed}", *simulate.volume(seed=100 + seed, radius=(2.5, 6.5), cells=60), None
    folder = os.environ.get("CELLSEG_NB_REAL_DATA")
    for image in sorted(Path(folder).glob("*/*_image.tif")) if folder else []:
        labels = image.with_name(image.name.replace("_image", "_labels"))
        truth = volumes.read_labels(labels)[0] if labels.exists() else None
        yield (
            image.name.removesuffix("_image.tif"),
            volumes.read(image)[0],
            truth,
            SIZES.get(image.parent.name),
        )


def row(name, found, truth, seconds, diameter, size):
    if truth is None:
        return print(
            f"{name:22} {diameter:7.2f} {'':7} {'':5} {found.max():6} {'':6} {seconds:6.1f}", flush=True
        )
    voxels = np.bincount(truth.ravel())[1:]
    true = float(np.median(np.cbrt(6 * voxels[voxels > 0] * np.prod(size or 1) / np.pi)))
    score = metrics.match(truth, found, (0.5,)).iloc[0]
    print(
        f"{name:22} {diameter:7.2f} {true:7.2f} {score.f1:5.2f} {score.n_pred:6} {score.n_true:6} "
        f"{seconds:6.1f}",
        flush=True,
    )


def table(probabilities):
    print(f"{'volume':22} {'est. µm':>7} {'true µm':>7} {'F1':>5} {'found':>6} {'true':>6} {'s':>6}")
    for name, image, truth, size in data():
        start = time.perf_counter()
        diameter = cell_diameter(image, size)
        found = separate(image, voxel_size=size, diameter=diameter)
        row(name, found, truth, time.perf_counter() - start, diameter, size)
        files = sorted(Path(probabilities).glob(f"{name}*.npy")) if probabilities else []
        for file in files:
            start = time.perf_counter()
            found = separate(np.load(file), voxel_size=size, diameter=diameter, volume=image)
            row(f"  + {file.stem}", found, truth, time.perf_counter() - start, diameter, size)


def speed():
    image, truth = simulate.volume((256, 256, 256), 5000, seed=0)
    for name, call in (
        ("separate", lambda: separate(image, diameter=8.0)),
        ("Voronoi-Otsu", lambda: instances.voronoi_otsu(image, 1, 1)),
    ):
        start = time.perf_counter()
        found = call()
        print(f"{name}: {time.perf_counter() - start:.1f} s, {found.max()} of {truth.max()} cells")


if sys.argv[1:] == ["speed"]:
    speed()
else:
    table(sys.argv[1] if sys.argv[1:] else None)
