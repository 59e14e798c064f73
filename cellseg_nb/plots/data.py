"""Figures of notebook 01: brightness, counts, sizes, where cubes lie, who learns from which."""

import matplotlib.pyplot as plt
import numpy as np

from cellseg_nb.data.splitting import CORNER, SIDES
from cellseg_nb.plots.basic import BLUE, GREEN, ORANGE, STYLE

GREY = "#BBBBBB"


def histograms(found):
    """Brightness of cell voxels and of all others, one panel a volume (at most 9), counted on a log scale."""
    names = list(found.histograms)[:9]
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(4.2 * columns, 0.6 + 2.5 * rows), squeeze=False, sharey=True
        )
        for ax, name in zip(axes.flat, names):
            edges, background, inside = found.histograms[name]
            ax.stairs(background, edges, fill=True, color=GREY, label="background")
            if inside.any():
                ax.stairs(inside, edges, color=BLUE, linewidth=2, label="inside cells")
            ax.set(title=name, yscale="log", ylim=(0.8, None))
        for ax in axes.flat[len(names) :]:
            ax.set_visible(False)
        figure.supxlabel("brightness (as in the file)", fontsize=12)
        figure.supylabel("voxels", fontsize=12)
        figure.legend(
            *axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False
        )
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
        boxes = left.boxplot(
            parts, whis=(5, 95), showfliers=False, patch_artist=True, medianprops={"color": "black"}
        )
        for box in boxes["boxes"]:
            box.set(facecolor=GREEN, alpha=0.6)
        left.set(
            ylabel=f"diameter ({unit})",
            title="Size of cells",
            ylim=(0, None),
            xlim=(0.3, max(3.7, len(table) + 0.7)),
        )
        left.set_xticklabels(table.volume, **slanted)
        places = np.arange(1, len(table) + 1)
        per_voxels = 1e5 * table.cells / (table.z * table.y * table.x)
        density = table.cells_per_mm3 / 1e3 if unit == "µm" else per_voxels
        right.bar(places, density.astype(float).fillna(0), 0.6, color=GREEN, alpha=0.8)
        right.set(
            xticks=places,
            xlim=(0.3, max(3.7, len(table) + 0.7)),
            ylabel="1000 cells per mm³" if unit == "µm" else "cells per 100,000 voxels",
            title="Density of cells",
        )
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
                ax.add_patch(
                    plt.Rectangle(
                        (left + inset, top + inset),
                        width - 2 * inset,
                        height - 2 * inset,
                        fill=False,
                        edgecolor=(ORANGE, BLUE, GREEN)[i % 3],
                        linewidth=2,
                    )
                )
            ax.set(
                xlabel="x (voxels)",
                ylabel=f"{'zyx'[down]} (voxels)",
                title=("seen from above", "seen from the side")[along],
            )
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
            grid = fold.pivot_table(
                index="percentage", columns=["volume", "cube"], values="role", aggfunc="first"
            )
            ax.pcolormesh(
                grid.eq("training").to_numpy(),
                cmap=plt.matplotlib.colors.ListedColormap([GREY, BLUE]),
                vmin=0,
                vmax=1,
                edgecolor="white",
                linewidth=1,
            )
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
        figure.legend(
            handles, ["for learning", "for validation"], loc="outside upper center", ncols=2, frameon=False
        )
    return figure
