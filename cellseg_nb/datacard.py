"""A data set, looked at: one pass over its volumes for counts, sizes and brightness, and their figures."""

from collections import namedtuple
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas

from . import checks, data, datasets, runtime, splitting
from .errors import UserError
from .files import atomic, writable_folder, write_json, write_table
from .plots import BLUE, GREEN, ORANGE, STYLE
from .splitting import CORNER, SIDES

Survey = namedtuple("Survey", "volumes cells histograms")
Division = namedtuple("Division", "folds splits shared")
GREY = "#BBBBBB"


def survey(collection, voxel_size=None):
    """Read every volume of a `datasets.Collection` once and measure it; one volume is in memory at a time.

    ``voxel_size`` (z, y, x) in µm counts more than the collection's. Returns a Survey of

    * volumes, a table: volume, z, y, x (voxels), voxel_z, voxel_y, voxel_x (µm), cells, published count,
      foreground (share of voxels in cells), cells_per_mm3
    * cells, a table: volume, label, volume_voxels, diameter (of a ball of that size, in µm, or in voxels
      where the voxel size is unknown)
    * histograms: {volume: (edges, background voxels, cell voxels)}

    What needs labels or voxel sizes that are not there is empty. Raises UserError for what cannot be read.
    """
    counts = published(collection.name)
    rows, cells, histograms = [], [], {}
    for pair in runtime.progress(collection.pairs, desc="volumes"):
        image, labels, size = datasets.load(pair, voxel_size or collection.voxel_size)
        histograms[pair.name] = _histogram(image, labels)
        row = {"volume": pair.name, **dict(zip("zyx", image.shape)),
               **dict(zip(("voxel_z", "voxel_y", "voxel_x"), size or (None,) * 3)),
               "published": counts.get(pair.name)}
        if labels is not None:
            found = _cells(labels, size)
            cells.append(found.assign(volume=pair.name))
            row |= {"cells": len(found), "foreground": np.count_nonzero(labels) / labels.size}
            if size:
                row["cells_per_mm3"] = len(found) / (image.size * np.prod(size) * 1e-9)
        rows.append(row)
    order = ["volume", *"zyx", "voxel_z", "voxel_y", "voxel_x", "cells", "published", "foreground",
             "cells_per_mm3"]
    none = pandas.DataFrame(columns=["volume", "label", "volume_voxels", "diameter"])
    table = pandas.DataFrame(rows).reindex(columns=order)
    for column in ("cells", "published"):
        table[column] = table[column].astype("Int64")
    return Survey(table, pandas.concat(cells, ignore_index=True)[none.columns] if cells else none, histograms)


def published(name):
    """Published cell counts {volume: cells}, of the paper's volumes and the simulated ones; else empty."""
    if name not in ("cellseg3d", "simulated"):
        return {}
    return pandas.read_csv(data.path("published/cell_counts.csv")).set_index("volume").cells.to_dict()


def _cells(labels, size):
    counts = np.bincount(labels.ravel())
    numbers = np.flatnonzero(counts)
    numbers = numbers[numbers > 0]
    volume = counts[numbers] * float(np.prod(size or 1.0))
    return pandas.DataFrame({"label": numbers, "volume_voxels": counts[numbers],
                             "diameter": np.cbrt(6 * volume / np.pi)})


def _histogram(image, labels, bins=120):
    # Without the 0.01 % brightest voxels: a single one of them can squeeze all others into the first bin.
    edges = np.linspace(float(image.min()), float(np.percentile(image, 99.99)), bins + 1)
    whole = np.histogram(image, edges)[0]
    inside = np.histogram(image[labels > 0], edges)[0] if labels is not None else np.zeros_like(whole)
    return edges, whole - inside, inside


# ---------------------------------------------------------------- figures

def histograms(found):
    """Brightness of cell voxels and of all others, one panel a volume (at most 9), counted on a log scale."""
    names = list(found.histograms)[:9]
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 0.6 + 2.5 * rows), squeeze=False,
                                    sharey=True)
        for ax, name in zip(axes.flat, names):
            edges, background, inside = found.histograms[name]
            ax.stairs(background, edges, fill=True, color=GREY, label="background")
            if inside.any():
                ax.stairs(inside, edges, color=BLUE, linewidth=2, label="inside cells")
            ax.set(title=name, yscale="log", ylim=(0.8, None))
        for ax in axes.flat[len(names):]:
            ax.set_visible(False)
        figure.supxlabel("brightness (as in the file)", fontsize=12)
        figure.supylabel("voxels", fontsize=12)
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=2,
                      frameon=False)
    return figure


def counts(found):
    """Cells counted in each volume beside the published number."""
    table = found.volumes
    places = np.arange(len(table))
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(9, 3.8))
        if table.cells.isna().all():
            ax.text(0.5, 0.5, "no labels, nothing to count", transform=ax.transAxes, ha="center")
        aside = 0.2 if table.published.notna().any() else 0.0
        for shift, column, colour in ((-aside, "cells", BLUE), (aside, "published", ORANGE)):
            if table[column].notna().any():
                label = "counted here" if column == "cells" else "published"
                bars = ax.bar(places + shift, table[column].fillna(0), 0.38, color=colour, label=label)
                ax.bar_label(bars, table[column].map(str), padding=2, fontsize=11)
        ax.set(xticks=places, ylabel="cells", xlim=(-0.7, max(2.7, len(table) - 0.3)))
        ax.set_xticklabels(table.volume, **({"rotation": 30, "ha": "right"} if len(table) > 7 else {}))
        if ax.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def sizes(found):
    """Cell diameters of each volume (box: middle half; line: median; whiskers: 5 to 95 %); density."""
    table = found.volumes
    unit = "µm" if table.voxel_z.notna().all() else "voxels"
    parts = [found.cells.diameter[found.cells.volume == name].to_numpy() for name in table.volume]
    slanted = {"rotation": 30, "ha": "right"} if len(table) > 7 else {}
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.9))
        boxes = left.boxplot(parts, whis=(5, 95), showfliers=False, patch_artist=True,
                             medianprops={"color": "black"})
        for box in boxes["boxes"]:
            box.set(facecolor=GREEN, alpha=0.6)
        left.set(ylabel=f"diameter ({unit})", title="Size of cells", ylim=(0, None),
                 xlim=(0.3, max(3.7, len(table) + 0.7)))
        left.set_xticklabels(table.volume, **slanted)
        places = np.arange(1, len(table) + 1)
        per_voxels = 1e5 * table.cells / (table.z * table.y * table.x)
        density = table.cells_per_mm3 / 1e3 if unit == "µm" else per_voxels
        right.bar(places, density.astype(float).fillna(0), 0.6, color=GREEN, alpha=0.8)
        right.set(xticks=places, xlim=(0.3, max(3.7, len(table) + 0.7)), ylabel="1000 cells per mm³"
                  if unit == "µm" else "cells per 100,000 voxels",
                  title="Density of cells")
        right.set_xticklabels(table.volume, **slanted)
    return figure


def cubes(volume, table, title=None):
    """Where the cubes of `splitting.cube_table` lie, on the brightest voxels from above and from the side."""
    low, high = np.percentile(volume.max(0), [1, 99.7])
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 4.4))
        for ax, along, (down, across) in ((axes[0], 0, (1, 2)), (axes[1], 1, (0, 2))):
            ax.imshow(volume.max(along), cmap="gray", vmin=low, vmax=high)
            seen = table[[CORNER[down], CORNER[across], SIDES[down], SIDES[across]]].drop_duplicates()
            for i, (top, left, height, width) in enumerate(seen.to_numpy()):
                inset = 1 + i % 3  # cubes that overlap stay apart to the eye
                ax.add_patch(plt.Rectangle((left + inset, top + inset), width - 2 * inset, height - 2 * inset,
                                           fill=False,
                                           edgecolor=(ORANGE, BLUE, GREEN)[i % 3], linewidth=2))
            ax.set(xlabel="x (voxels)", ylabel=f"{'zyx'[down]} (voxels)",
                   title=("seen from above", "seen from the side")[along])
        if title:
            figure.suptitle(title, fontsize=14)
    return figure


def splits(table):
    """Which cubes are for learning: one panel a fold, one row a percentage, one column a cube."""
    folds = list(table.groupby("fold"))[:6]
    if not folds:
        return plt.figure(figsize=(1, 0.1))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(len(folds), 1, figsize=(12, 0.7 + 1.9 * len(folds)), squeeze=False)
        for ax, (_, fold) in zip(axes[:, 0], folds):
            grid = fold.pivot_table(index="percentage", columns=["volume", "cube"], values="role",
                                    aggfunc="first")
            ax.pcolormesh(grid.eq("training").to_numpy(),
                          cmap=plt.matplotlib.colors.ListedColormap([GREY, BLUE]), vmin=0,
                          vmax=1, edgecolor="white", linewidth=1)
            names = grid.columns.get_level_values("volume")
            starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
            for start in starts[1:]:
                ax.axvline(start, color="black", linewidth=2)
            middles = (starts + np.r_[starts[1:], len(names)]) / 2
            ax.set_xticks(middles, names[starts])
            ax.set_yticks(np.arange(len(grid)) + 0.5, [f"{p} %" for p in grid.index])
            ax.tick_params(length=0)
            ax.set_title(f"held out: {fold.held_out.iloc[0]}")
        handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in (BLUE, GREY)]
        figure.legend(handles, ["for learning", "for validation"], loc="outside upper center", ncols=2,
                      frameon=False)
    return figure


# ---------------------------------------------------------------- the notebook's choices and results

def check(dataset="auto", profile="demo", voxel_size="auto", cube=64, held_out="auto",
          percentages="10,20,60,80", apart=False,
          seed=0, out="results/01_data", cache="", base_url=""):
    """The notebook's parameters, checked and put into a dict. Raises UserError naming the one that is wrong.

    ``dataset="auto"`` is the simulated volumes in the profile demo, the paper's data set in the profile
    paper.
    """
    checks.one_of("profile", profile, ("demo", "paper"))
    if dataset in ("", "auto"):
        dataset = "simulated" if profile == "demo" else "cellseg3d"
    try:
        shares = [float(part) for part in str(percentages).split(",")]
    except ValueError:
        raise UserError(f"percentages must be numbers with commas between them, such as 10,20,60,80, not "
                        f"{percentages!r}") from None
    words = [word.strip() for word in held_out.split(",") if word.strip()]
    return {"dataset": dataset, "profile": profile, "voxel_size": checks.voxel_size(voxel_size),
            "cube": checks.number("cube", cube, low=8, high=1024, whole=True), "apart": bool(apart),
            "held_out": None if words in ([], ["auto"]) else words,
            "percentages": [int(s) if s == int(s) else s for s in shares],
            "seed": checks.number("seed", seed, low=0, whole=True), "out": str(writable_folder(out)),
            "cache": cache or None,
            "base_url": base_url or None}


def collect(choice):
    """The data set of the choices, downloaded or simulated where need be. Says what was found."""
    collection = datasets.collect(choice["dataset"], Path(choice["out"]) / "simulated", choice["seed"],
                                  cache=choice["cache"], base_url=choice["base_url"])
    with_labels = sum(pair.labels is not None for pair in collection.pairs)
    print(f"{collection.title}\n{len(collection.pairs)} volumes, {with_labels} with labels, in "
          f"{collection.folder}")
    return collection


def pair_table(collection):
    """Which label file belongs to which volume: a table to look over."""
    rows = [[pair.name, pair.image.name, pair.labels.name if pair.labels else "none"]
            for pair in collection.pairs]
    return pandas.DataFrame(rows, columns=["volume", "image file", "label file"])


def divide(choice, cubes):
    """Folds, splits and shared voxels of the choices: three tables (see `splitting`), or empty ones."""
    if cubes.volume.nunique() < 2:
        print("This data set has one volume only: none can be held out, so there are no folds. To compare "
              "methods, add a second.")
        return Division(*(pandas.DataFrame(columns=c) for c in (["fold", "held_out", "training"],
                        ["fold", "held_out", "percentage", "role", *cubes.columns],
                                                                ["fold", "percentage", "shared"])))
    table = splitting.splits(cubes, choice["percentages"], choice["seed"], choice["held_out"])
    return Division(splitting.folds(cubes.volume, choice["held_out"]), table, splitting.shared(table))


def save(out, choice, tables, figures, headline):
    """Write ``config.json``, each table as CSV, each figure as PNG, ``summary.json`` with the headline."""
    out = writable_folder(out)
    write_json(out / "config.json", {**choice, "versions": runtime.versions()})
    write_json(out / "summary.json", {"headline": headline})
    for name, table in tables.items():
        write_table(out / f"{name}.csv", table)
    for name, figure in figures.items():
        with atomic(out / f"{name}.png") as beside:
            figure.savefig(beside, format="png", dpi=120)
    return out


def headline(found):
    """How many volumes and cells, in words."""
    table = found.volumes
    return f"{len(table)} volume{'s'[len(table) == 1:]}" + (f", {table.cells.sum()} cells"
                                                            if table.cells.notna().any() else "")
