"""Pictures of notebook 10: doubtful cells and why, edits before and after, F1 against minutes."""

import matplotlib.pyplot as plt
import numpy as np

from cellseg_nb.plots.basic import BLUE, GREEN, ORANGE, STYLE, random_colours


def _cut(image, labels, place, reach):
    """The slice through a place, as far as ``reach`` voxels around it: grey, labels."""
    z, y, x = place
    part = (z, slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1))
    return image[part], labels[part]


def _outlined(ax, grey, labels, colours, limits):
    from skimage.segmentation import find_boundaries

    ax.imshow(grey, cmap="gray", vmin=limits[0], vmax=limits[1])
    edges = np.where(find_boundaries(labels, mode="inner"), labels, 0)
    ax.imshow(edges, cmap=colours, vmin=0, vmax=max(1, colours.N - 1))
    ax.set(xticks=[], yticks=[])


def doubtful(image, labels, items, reach=14):
    """Cells of a queue in a row, each with its doubt and the reason; (Z, Y, X) volume and labels."""
    colours, limits = random_colours(labels), np.percentile(image, (1, 99.7))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(items), figsize=(2.6 * len(items), 3.6), squeeze=False)
        for ax, item in zip(axes[0], items):
            _outlined(ax, *_cut(image, labels, item.place, reach), colours, limits)
            why = item.why.split(";")[0]
            words = (
                why
                if len(why) < 26
                else why[: why.rfind(" ", 0, 26)] + "\n" + why[why.rfind(" ", 0, 26) + 1 :]
            )
            ax.set_title(f"doubt {item.doubt:.2f}\n{words}", fontsize=9)
    return figure


def edited(image, stages, place, reach=22):
    """The same slice after each of several edits; ``stages`` is {what was done: labels (Z, Y, X)}."""
    limits = np.percentile(image, (1, 99.7))
    colours = random_colours(np.array([max(int(one.max()) for one in stages.values())]))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(stages), figsize=(3 * len(stages), 3.3), squeeze=False)
        for ax, (words, labels) in zip(axes[0], stages.items()):
            _outlined(ax, *_cut(image, labels, place, reach), colours, limits)
            ax.set_title(words, fontsize=11)
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
            ax.axhline(enough, color="black", linestyle="--", linewidth=1)
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
            xticks=range(len(table)), xticklabels=table.index, ylim=(0, 1.3), ylabel="on the held-out volume"
        )
        ax.legend(frameon=False, ncols=2, loc="upper left")
    return figure
