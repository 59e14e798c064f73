"""What came out of notebook 06's grid, as tables and words."""

import re
from pathlib import Path

from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.lessons.common import LABEL_FREE


def labels_file(choice, job):
    """Where a run leaves the labels of its held-out volume."""
    name = "_".join(str(job[key]) for key in ("method", "volume", "training_percent", "seed"))
    return Path(choice["out"]) / "labels" / (re.sub(r"[^\w.-]+", "-", name) + ".tif")


def summary(table, value="dice"):
    """Mean, SD and number of values for each method and percentage."""
    found = table.groupby(["method", "training_percent"], sort=False)[value].agg(["mean", "std", "count"])
    return found.round(3)


def effort(table):
    """Cubes and cells there were to learn from, and seconds a run took, for each percentage: means. A
    table."""
    amounts = table.groupby("training_percent")[["cubes", "cells"]].mean().round(0).astype(int)
    seconds = table.pivot_table(index="training_percent", columns="method", values="seconds", sort=False)
    return amounts.join(seconds.add_prefix("seconds, ").round(1))


def headline(table):
    """The outcome in one line."""
    means = table.groupby(["method", "training_percent"], sort=False).dice.mean().unstack()
    low, high = means.columns.min(), means.columns.max()
    return "; ".join(
        f"{name}: Dice {row[low]:.2f} with {low} % of the cubes, {row[high]:.2f} with {high} %"
        for name, row in means.iterrows()
    )


def learners(choice):
    """The methods that learn from labels; all of them where none does."""
    return [name for name in choice["methods"] if name not in LABEL_FREE] or choice["methods"]


def segmentations(choice, found, method_names, volume, seed):
    """{words: labels} of the smallest and largest percentage of some methods, for a picture. Raises
    UserError."""
    shown = {}
    for name in method_names:
        for percent in sorted({choice["percentages"][0], choice["percentages"][-1]}):
            job = {"method": name, "volume": volume, "training_percent": percent, "seed": seed}
            path = labels_file(choice, job)
            if not path.is_file():
                raise UserError(f"{path} is missing: run the grid again with start_over ticked")
            shown[f"{name}, {percent} %"] = volumes.read_labels(path)[0]
    return shown
