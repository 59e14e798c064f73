"""Figures of the label-efficiency experiment: one's own values in front, the published ones behind."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cellseg_nb.data import published
from cellseg_nb.plots import basic

MARKERS = "os^DvP*X"
COLOURS = (basic.BLUE, basic.ORANGE, basic.GREEN, basic.RED, basic.PURPLE, basic.SKY, "black")
WORDS = {
    "dice": "Dice of the held-out volume",
    "f1": "F1 (IoU 0.5) of the held-out volume",
    "dice_without_artefact": "Dice of the held-out volume, cut off before its artefact",
}
PALE, GREY = "#E4E4E4", "#8C8C8C"


def boxes(table, value="dice", behind=True):
    """One panel a method, one box a percentage, one dot a run; with ``behind``, the published Dice in grey
    behind."""
    names = list(dict.fromkeys(table.method))
    known = published.label_efficiency() if behind else None
    known = known[known.method.isin(names)] if behind else None
    percents = sorted({*table.training_percent, *(known.training_percent.astype(int) if behind else ())})
    marker = dict(zip(sorted(set(table.volume)), MARKERS * 9))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(4.2 * columns, 0.9 + 3.6 * rows), squeeze=False, sharey=True
        )
        for ax, name in zip(axes.flat, names):
            if behind:
                _published(ax, known[known.method == name], percents)
            _own(ax, table[table.method == name], value, percents, marker)
            ax.set(title=name, xlabel="training cubes used (%)", ylim=(-0.02, 1.02))
            ax.grid(axis="y", alpha=0.3)
        for ax in axes.flat[len(names) :]:
            ax.set_visible(False)
        for ax in axes[:, 0]:
            ax.set_ylabel(WORDS.get(value, value).replace(" of the ", "\nof the ").replace(", cut", ",\ncut"))
        handles = [Patch(facecolor="#D6E6F2", edgecolor=basic.BLUE, label="yours")]
        handles += [Patch(facecolor=PALE, edgecolor=GREY, label="published (Dice)")] if behind else []
        handles += [
            Line2D(
                [],
                [],
                marker=shape,
                color="none",
                markerfacecolor=basic.ORANGE,
                markeredgecolor="black",
                markersize=8,
                label=f"{volume} held out",
            )
            for volume, shape in marker.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)), frameon=False)
    return figure


def _published(ax, known, percents):
    for place, percent in enumerate(percents):
        values = known.dice[known.training_percent == percent].to_numpy()
        if len(values):
            ax.boxplot(
                values,
                positions=[place],
                widths=0.86,
                showfliers=False,
                patch_artist=True,
                boxprops={"facecolor": PALE, "edgecolor": GREY},
                medianprops={"color": GREY, "lw": 2},
                whiskerprops={"color": GREY},
                capprops={"color": GREY},
                zorder=1,
            )
            ax.plot(np.full(len(values), place + 0.36), values, "o", color=GREY, markersize=4, zorder=1.5)


def _own(ax, part, value, percents, marker):
    rng = np.random.default_rng(0)
    for place, percent in enumerate(percents):
        rows = part[part.training_percent == percent]
        if len(rows):
            ax.boxplot(
                rows[value].to_numpy(),
                positions=[place],
                widths=0.46,
                showfliers=False,
                patch_artist=True,
                boxprops={"facecolor": "#D6E6F2", "edgecolor": basic.BLUE, "linewidth": 1.6},
                medianprops={"color": "black", "lw": 2},
                zorder=3,
            )
        for row in rows.to_dict("records"):
            ax.plot(
                place + rng.uniform(-0.15, 0.15),
                row[value],
                marker[row["volume"]],
                color=basic.ORANGE,
                mec="black",
                markersize=7,
                zorder=4,
            )
    ax.set_xticks(range(len(percents)), [f"{percent:g}" for percent in percents])
    ax.set_xlim(-0.6, len(percents) - 0.4)


def price(table, value="f1", label_free=()):
    """What labelled cells buy: mean and range of all runs against the cells there were to learn from.

    A method that needs no labels (``label_free``) is a line across.
    """
    with plt.rc_context(basic.STYLE):
        figure, ax = plt.subplots(figsize=(9.5, 4.4))
        for number, (name, part) in enumerate(table.groupby("method", sort=False)):
            colour, shape = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            if name in label_free:
                ax.axhline(
                    part[value].mean(), color=colour, linestyle="--", linewidth=2, label=f"{name} (no labels)"
                )
                continue
            found = part.groupby("training_percent")[[value, "cells"]].agg(["mean", "min", "max"])
            middle = found[value]["mean"]
            away = np.abs(found[value][["min", "max"]].to_numpy().T - middle.to_numpy())
            ax.errorbar(
                found["cells"]["mean"] * (1 + 0.02 * number),
                middle,
                away,
                color=colour,
                marker=shape,
                markersize=8,
                capsize=4,
                linewidth=2,
                label=name,
            )
        ax.set(
            xscale="log",
            xlabel="labelled cells to learn from (mean; log scale)",
            ylim=(-0.02, 1.02),
            ylabel=WORDS.get(value, value).replace(" of the ", "\nof the ").replace(", cut", ",\ncut"),
        )
        ticks = table[table.cells > 0].groupby("training_percent").cells.mean().round().astype(int).unique()
        ax.set_xticks(ticks, [f"{tick}" for tick in ticks])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        figure.legend(loc="outside right center", frameon=False)
    return figure


def volumes(table):
    """Dice of every run, one panel a held-out volume: whole, and without the slices that hold an artefact."""
    names, held_out = list(dict.fromkeys(table.method)), list(dict.fromkeys(table.volume))
    percents = sorted(set(table.training_percent))
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            1, len(held_out), figsize=(4.2 * len(held_out), 4.4), squeeze=False, sharey=True
        )
        for ax, volume in zip(axes[0], held_out):
            for row in table[table.volume == volume].to_dict("records"):
                shift = 0.5 * ((percents.index(row["training_percent"]) + 0.5) / len(percents) - 0.5)
                place = names.index(row["method"]) + shift
                ax.plot(
                    [place] * 2,
                    [row["dice"], row["dice_without_artefact"]],
                    color=GREY,
                    linewidth=1.5,
                    zorder=1,
                )
                ax.plot(
                    place,
                    row["dice_without_artefact"],
                    "s",
                    color="white",
                    mec=basic.ORANGE,
                    mew=2,
                    markersize=9,
                )
                ax.plot(place, row["dice"], "o", color=basic.BLUE, markersize=6)
            ax.set(title=f"{volume} held out", xlim=(-0.6, len(names) - 0.4), ylim=(-0.02, 1.02))
            if len(percents) > 1:
                ax.set_xlabel(f"each from left: {', '.join(f'{one:g}' for one in percents)} % of the cubes")
            ax.set_xticks(range(len(names)), names, rotation=25, ha="right", rotation_mode="anchor")
            ax.grid(axis="y", alpha=0.3)
        axes[0, 0].set_ylabel("Dice")
        handles = [
            Line2D(
                [],
                [],
                marker="o",
                color="none",
                markerfacecolor=basic.BLUE,
                markeredgecolor=basic.BLUE,
                label="whole volume",
            ),
            Line2D(
                [],
                [],
                marker="s",
                color="none",
                markerfacecolor="white",
                markeredgecolor=basic.ORANGE,
                markeredgewidth=2,
                markersize=9,
                label="cut off before its artefact",
            ),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure
