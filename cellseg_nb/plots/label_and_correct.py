"""Pictures of notebook 10: doubtful cells and why, edits before and after, F1 against minutes."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np

from cellseg_nb.plots.basic import BLUE, GREEN, ORANGE, STYLE, random_colours, rims


def _cut(image, labels, place, reach):
    """The slice through a place, as far as ``reach`` voxels around it: grey, labels, and where they lie."""
    z, y, x = place
    down, right = slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1)
    grey = image[z, down, right]
    extent = (right.start - 0.5, right.start + grey.shape[1] - 0.5, down.start + grey.shape[0] - 0.5)
    return grey, labels[z, down, right], (*extent, down.start - 0.5)


def _outlined(ax, grey, labels, extent, colours, limits):
    ax.imshow(grey, cmap="gray", vmin=limits[0], vmax=limits[1], extent=extent)
    ax.imshow(rims(labels), cmap=colours, vmin=0, vmax=max(1, colours.N - 1), extent=extent)
    ax.locator_params(nbins=4, integer=True)
    ax.set_xlabel("x (voxels)")


def doubtful(image, labels, items, reach=14):
    """Cells of a queue in two rows, each marked, with its doubt and the reason; (Z, Y, X) volume and
    labels."""
    colours, limits = random_colours(labels), np.percentile(image, (1, 99.7))
    rows = min(2, len(items))
    across = -(-len(items) // rows)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, across, figsize=(4.2 * across, 4.7 * rows), squeeze=False)
        for ax, item in zip(axes.flat, items):
            _outlined(ax, *_cut(image, labels, item.place, reach), colours, limits)
            ax.plot(item.place[2], item.place[1], "+", color="white", markersize=11, markeredgewidth=2)
            name = f"cell {item.number}" if item.number else "no label"
            why = textwrap.fill(item.why.split(";")[0], 32)
            ax.set_title(f"{name}, slice {item.place[0]}: doubt {item.doubt:.2f}\n{why}", fontsize=11)
        for ax in axes.flat[len(items) :]:
            ax.set_axis_off()
        for ax in axes[:, 0]:
            ax.set_ylabel("y (voxels)")
    return figure


def edited(image, stages, place, reach=22):
    """The same slice after each of several edits; ``stages`` is {what was done: labels (Z, Y, X)}."""
    limits = np.percentile(image, (1, 99.7))
    colours = random_colours(np.array([max(int(one.max()) for one in stages.values())]))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(stages), figsize=(3 * len(stages), 3.7), squeeze=False, sharey=True
        )
        for ax, (words, labels) in zip(axes[0], stages.items()):
            _outlined(ax, *_cut(image, labels, place, reach), colours, limits)
            ax.set_title(words, fontsize=12)
        axes[0, 0].set_ylabel("y (voxels)")
    return figure


def against_time(tables, enough=0.95):
    """F1 against the minutes of correcting, and against the cells looked at: the queue's order, and random
    ones."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(12, 4), sharey=True)
        for ax, column, words in zip(axes, ("minutes", "looked"), ("minutes (assumed)", "cells looked at")):
            for name, table in tables.items():
                queue = name == "queue"
                ax.step(
                    table[column],
                    table.f1,
                    where="post",
                    color=BLUE if queue else ORANGE,
                    linewidth=2.5 if queue else 1,
                    label="the queue's order" if queue else "random order" if name == "random 1" else None,
                )
            ax.axhline(enough, color="black", linestyle="--", linewidth=1, label=f"{enough:g}")
            ax.set(xlabel=words, ylabel="F1 at IoU 0.5" if column == "minutes" else "")
        axes[0].legend(frameon=False, loc="lower right")
    return figure


def gain(table):
    """What networks find that were trained on different labels: F1 at two IoU thresholds as bars."""
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(7, 3.4))
        for offset, column, colour in ((-0.2, "F1@0.5", BLUE), (0.2, "F1@0.7", GREEN)):
            bars = ax.bar(np.arange(len(table)) + offset, table[column], 0.38, color=colour, label=column)
            ax.bar_label(bars, fmt="%.2f", fontsize=10)
        ax.set(
            xticks=range(len(table)),
            xticklabels=table.index,
            ylim=(0, 1.3),  # above 1, where no F1 can be, is room for the legend
            yticks=np.linspace(0, 1, 6),
            ylabel="F1 on the held-out volume",
        )
        ax.legend(frameon=False, ncols=2, loc="upper left")
    return figure
