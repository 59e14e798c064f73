"""The six methods on the labelled embryos (BBBC050), each held out in turn: F1@0.5 and Dice, default and
tuned.

    CELLSEG_NB_REAL_DATA=folder python benchmarks/embryos.py [methods] [embryos held out] [out]

for example ``otsu,segresnet 11``. Runs that are done are kept in ``out``. The settings are laptop budgets: on
one core `segresnet` takes about 20 minutes an embryo, the other networks 5 to 15.
"""

import os
import sys
from pathlib import Path

from cellseg_nb import methods
from cellseg_nb.data import datasets
from cellseg_nb.io import files, volumes
from cellseg_nb.lessons import comparison

NAMES = ("01", "04", "09", "11")
SETTINGS = {  # flat cubes: the embryos have about 50 slices
    "wnet3d": dict(channels=(16, 32, 64, 128), cube=32, epochs=20),
    "segresnet": dict(
        cores=True,
        batch=4,
        share=0,
        epochs=180,
        average=0.98,
        init_filters=16,
        cube=(24, 48, 48),
        loss="dice_ce",
    ),
    "swinunetr": dict(epochs=12, batch=1, learning_rate=2e-3, cube=(32, 64, 64)),
    "cellpose": dict(epochs=14, slices=48, bsize=64),
    "stardist": dict(epochs=20, steps=30, patch=(16, 48, 48)),
}


def main():
    folder = Path(os.environ["CELLSEG_NB_REAL_DATA"]) / "bbbc050"
    chosen, held_out, out = [
        *sys.argv[1:],
        *[",".join(methods.usual()), ",".join(NAMES), "results/embryos"][len(sys.argv) - 1 :],
    ]
    embryos = [
        datasets.Volume(
            name,
            volumes.read(folder / f"emb{name}_image.tif")[0],
            volumes.read_labels(folder / f"emb{name}_labels.tif")[0],
            (1.75, 0.8, 0.8),
        )
        for name in NAMES
    ]
    choice = dict(
        dataset="bbbc050",
        methods=chosen.split(","),
        seeds=[0],
        profile="demo",
        epochs=0,
        processes=1,
        device="auto",
        out=files.writable_folder(out),
    )
    table = comparison.run(choice, embryos, held_out.split(","), SETTINGS)
    print(comparison.runs(table).round(3).to_string())


if __name__ == "__main__":
    main()
