"""What came out of notebook 05's runs: tables, and the summary."""

import time
from pathlib import Path

import numpy as np

from cellseg_nb import runtime
from cellseg_nb.data import splitting
from cellseg_nb.evaluation import tables
from cellseg_nb.io import files
from cellseg_nb.lessons.comparison import options

PUBLISHED = {
    "Otsu threshold": ("otsu", "default"),
    "WNet3D": ("wnet3d", "tuned"),
    "SegResNet": ("segresnet", "tuned"),
    "SwinUNetR": ("swinunetr", "tuned"),
    "Cellpose": ("cellpose", "tuned"),
    "Cellpose - default": ("cellpose", "default"),
    "StarDist": ("stardist", "tuned"),
    "StarDist - default": ("stardist", "default"),
}


def runs(table, threshold=0.5, matching="3d"):
    """One row a run and variant: what is worth a look, at one IoU threshold."""
    part = table[np.isclose(table.threshold, threshold) & (table.matching == matching)]
    columns = [
        "method",
        "fold",
        "seed",
        "variant",
        "dice",
        "f1",
        "precision",
        "recall",
        "n_true",
        "cells",
        "chosen",
    ]
    return part[columns].reset_index(drop=True)


def published(choice, table):
    """The published Dice beside one's own, where the data are the paper's: method, variant, fold, published,
    dice.

    ``dice`` (mean over the seeds) is empty for other data: those numbers must not be compared.
    """
    import pandas

    from cellseg_nb.data import bundled

    theirs = tables.read(bundled.path("published/benchmark_dice.csv"))
    known = [PUBLISHED[model] for model in theirs.model]
    theirs = pandas.DataFrame(
        {
            "method": [m for m, _ in known],
            "variant": [v for _, v in known],
            "fold": theirs.volume,
            "published": theirs.dice,
        }
    )
    if choice["dataset"] != "cellseg3d":
        return theirs.assign(dice=np.nan)
    own = table.drop_duplicates(["method", "fold", "seed", "variant"])
    own = own.assign(
        fold=own.fold.map(lambda name: next((w for w in splitting.HELD_OUT if w in name.lower()), name))
    )
    return theirs.merge(own.groupby(["method", "variant", "fold"], as_index=False).dice.mean(), "left")


def save(choice, data, table, started):
    """Write the table (for notebook 08), the summary and the parameters into the output folder."""
    out, at = Path(choice["out"]), runs(table)
    files.write_table(out / "comparison.csv", table)
    files.write_table(out / "f1_at_0.5.csv", at)
    tuned = at[at.variant == "tuned"].groupby("method", sort=False)[["f1", "dice"]].mean()
    best = tuned.f1.idxmax()
    files.write_json(
        out / "config.json",
        {**choice, "settings": {name: options(choice, name) for name in choice["methods"]}},
    )
    files.write_json(
        out / "summary.json",
        {
            "headline": f"best F1@0.5: {best} ({tuned.f1[best]:.2f}); "
            + ", ".join(f"{name} {value:.2f}" for name, value in tuned.f1.items() if name != best),
            "scores": tuned.reset_index().to_dict("records"),
            "voxel_size": data.voxel_size,
            "seconds": {
                "total": time.time() - started,
                "runs": float(table.drop_duplicates(["method", "fold", "seed"]).seconds.sum()),
            },
            "versions": runtime.versions(),
            "device": str(runtime.device(choice["device"])),
        },
    )
