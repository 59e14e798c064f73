"""Rows of speed.py that need the real volumes (``CELLSEG_NB_REAL_DATA``), and those with a limit of
seconds in the place of a peer."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from speed_rows import row

SOMA, VOXEL = 16.0, (5.0, 2.0, 2.0)  # µm


def real(name):
    return Path(os.environ["CELLSEG_NB_REAL_DATA"]) / name


@row(
    "prediction, full-width encoder, c5 (124 x 86 x 94)",
    "MONAI's windows of 64 at 25 % overlap",
    2.5,
    slow=True,
    real=True,
    pairs=3,
)
def prediction(short):
    """How alike they are is told, not asked: no trained weights of this width are at hand, and an untrained
    network that normalises each window by itself finds other things in windows than in the whole."""
    import torch
    from monai.inferers import sliding_window_inference

    from cellseg_nb.cells import inference
    from cellseg_nb.evaluation import metrics
    from cellseg_nb.io import volumes
    from cellseg_nb.networks.wnet3d import PAPER_CHANNELS, UNet

    torch.manual_seed(0)
    network = UNet(1, 2, PAPER_CHANNELS, softmax=True).eval()
    volume = volumes.remap(volumes.read(real("mesospim/c5_image.tif"))[0])

    def peer():
        with torch.inference_mode():
            whole = torch.from_numpy(volume)[None, None]
            return sliding_window_inference(whole, (64, 64, 64), 1, network, overlap=0.25)[0, 0].numpy()

    def ours():
        return inference.predict(network, volume, device="cpu", progress=False)[0]

    def same(a, b):
        dice = metrics.dice(a > np.median(a), b > np.median(a))
        print(f"prediction: Dice {dice:.2f} of what is above the peer's median", file=sys.stderr)
        return a.shape == b.shape and 0 <= b.min() and b.max() <= 1

    return peer, ours, same


@row(
    "cells of a cleared brain without labels, 30 x 510 x 667 voxels: notebook 09, from planes to table",
    "cellfinder's detection with its defaults, of an array in memory",
    1,
    slow=True,
    real=True,
    needs="cellfinder",
    pairs=3,
)
def cellfinder(short):
    """Places of cells, (n, 3) in voxels. Ours is given the voxel size, cellfinder the width of a cell too.
    cellfinder's published points are found where a cell lies within that width."""
    import tifffile
    from cellfinder.core.detect.detect import main

    from cellseg_nb.brains import convert, run, sources
    from cellseg_nb.lessons import whole_brain

    folder = real("cellfinder/planes")
    planes = np.stack([tifffile.imread(path) for path in sorted(folder.glob("*.tif"))])
    words = real("cellfinder/cells.xml").read_text()
    known = np.transpose([[int(n) for n in re.findall(f"<Marker{axis}>(\\d+)<", words)] for axis in "ZYX"])
    choice = dict(cell_diameter=0, tissue=None, min_size=None, method="otsu", separate="nearest", chunk=128)

    def peer():
        cells = main(planes, voxel_sizes=VOXEL, soma_diameter=SOMA, n_free_cpus=os.cpu_count() - 1)
        return np.array([[cell.z, cell.y, cell.x] for cell in cells])

    def ours():
        with tempfile.TemporaryDirectory() as out:
            source = convert.run(None, sources.find(folder, VOXEL), out, "0.4")
            width = whole_brain.diameter(choice, source)
            how = whole_brain.recipe(choice, source, width)
            job, _ = run.measure(None, run.begin(source, out, run.look(source, width), how, choice["chunk"]))
            run.segment_all(None, job)
            cells = run.number(job, whole_brain.smallest(choice, source, width))
        return cells[["z", "y", "x"]].to_numpy()

    def near(places, found, reach):
        return int((np.linalg.norm((places[:, None] - found) * VOXEL, axis=2).min(1) <= reach).sum())

    def same(a, b):
        anywhere = np.random.default_rng(0).uniform(0, planes.shape, (50 * len(known), 3))
        for reach in (SOMA, 10.0):
            found, chance = (
                [near(known, c, reach) for c in (a, b)],
                [near(anywhere, c, reach) / 50 for c in (a, b)],
            )
            print(
                f"cellfinder: {found} of {len(known)} points within {reach:g} µm, of random places {chance}; "
                f"{len(a)} and {len(b)} cells",
                file=sys.stderr,
            )
        return near(known, b, SOMA) >= near(known, a, SOMA)

    return peer, ours, same


@row("`cellseg-nb list`, from its start to its end", "a limit of 0.5 s", 1, limit=0.5)
def start(short):
    def ours():
        return subprocess.run([sys.executable, "-m", "cellseg_nb", "list"], capture_output=True).returncode

    return None, ours, lambda a, b: b == 0


@row("raw c5 to `report.html`", "a limit of 60 s", 1, slow=True, real=True, limit=60.0, pairs=1)
def report(short):
    def ours():
        command = [sys.executable, "-m", "cellseg_nb", "run", "00_quickstart", "-p", "images"]
        typed = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}  # all cores
        with tempfile.TemporaryDirectory() as out:
            command += [str(real("mesospim/c5_image.tif")), "-o", out]
            subprocess.run(command, capture_output=True, env=typed)
            return (Path(out) / "report.html").is_file()

    return None, ours, lambda a, b: b
