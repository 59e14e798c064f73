"""Figures of the comparison: scores against IoU, default against tuned, 3D against slice by slice, Dice,
counts, times, outlines."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from cellseg_nb.plots import basic

WORDS = {"f1": "F1", "precision": "precision", "recall": "recall", "panoptic_quality": "panoptic quality"}
COLOURS = {
    "otsu": "#666666",
    "wnet3d": basic.BLUE,
    "segresnet": basic.GREEN,
    "swinunetr": basic.ORANGE,
    "cellpose": basic.PURPLE,
    "stardist": basic.RED,
}
MARKERS = {"otsu": "x", "wnet3d": "o", "segresnet": "s", "swinunetr": "^", "cellpose": "D", "stardist": "*"}
OTHERS = (basic.SKY, "#000000", "#8c564b")


def _style(table):
    """Colour and marker of each method of the table; methods of your own get what is left."""
    names = list(table.method.unique())
    own = [name for name in names if name not in COLOURS]
    return {
        name: (COLOURS[name], MARKERS[name])
        if name in COLOURS
        else (OTHERS[own.index(name) % len(OTHERS)], "P")
        for name in names
    }


def against_iou(table, matching="3d", variant="tuned"):
    """F1, precision, recall and panoptic quality against the IoU threshold, one line a method, after Fig. 1b.
    Mean of folds and seeds; the band goes from the lowest to the highest."""
    part = table[(table.matching == matching) & (table.variant == variant)]
    styles = _style(table)
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(11, 7.6), sharex=True, sharey=True)
        for ax, (column, words) in zip(axes.flat, WORDS.items()):
            for name, (colour, marker) in styles.items():
                _line(ax, part[part.method == name], column, color=colour, marker=marker, label=name)
            ax.set(title=words, ylim=(-0.03, 1.05))
            ax.grid(alpha=0.3)
        for ax in axes[1]:
            ax.set_xlabel("IoU that a match must reach")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def _line(ax, part, column, **style):
    values = part.groupby("threshold")[column].agg(["mean", "min", "max"])
    ax.plot(values.index, values["mean"], markersize=6, linewidth=2, **style)
    if (values["max"] - values["min"]).max() > 0.005:
        ax.fill_between(
            values.index, values["min"], values["max"], color=style["color"], alpha=0.12, linewidth=0
        )


def median_and_half(table):
    """F1 against IoU as Fig. 1b has it: the median over the folds, and the middle half of them as a band;
    cells matched slice by slice, as in the published figure, and in 3D. Each method as tuned; dotted: as it
    comes, where that was counted too."""
    styles = _style(table)
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(12, 4.8), sharey=True)
        for ax, (matching, words) in zip(axes, {"slicewise": "slice by slice", "3d": "in 3D"}.items()):
            for name, (colour, marker) in styles.items():
                own = table[(table.matching == matching) & (table.method == name)]
                at = own[own.variant == "tuned"].groupby("threshold").f1.quantile([0.25, 0.5, 0.75]).unstack()
                ax.plot(at.index, at[0.5], marker=marker, color=colour, linewidth=2, label=name)
                ax.fill_between(at.index, at[0.25], at[0.75], color=colour, alpha=0.2, linewidth=0)
                plain = own[own.variant == "default"].groupby("threshold").f1.median()
                ax.plot(plain.index, plain, ":", color=colour, linewidth=1.5)
            ax.set(title=words, xlabel="IoU that a match must reach", ylim=(-0.03, 1.05))
            ax.grid(alpha=0.3)
        axes[0].set_ylabel("F1")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def default_against_tuned(table):
    """F1 against IoU, one panel a method: with default thresholds, and with those chosen on the training
    volumes."""
    return _panels(table[table.matching == "3d"], "variant", {"default": "--", "tuned": "-"})


def matchings(table):
    """F1 against IoU, one panel a method: cells matched in 3D, and slice by slice as in the published
    figure."""
    return _panels(table[table.variant == "tuned"], "matching", {"3d": "-", "slicewise": ":"})


def _panels(table, column, lines):
    styles = _style(table)
    columns = min(3, len(styles))
    rows = -(-len(styles) // columns)
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(3.9 * columns, 3.3 * rows + 0.6), sharex=True, sharey=True, squeeze=False
        )
        for ax in axes.flat[len(styles) :]:
            ax.set_axis_off()
        for ax, (name, (colour, marker)) in zip(axes.flat, styles.items()):
            for value, line in lines.items():
                part = table[(table.method == name) & (table[column] == value)]
                _line(ax, part, "f1", color=colour, linestyle=line, marker=marker if line == "-" else None)
            ax.set(title=name, ylim=(-0.03, 1.05))
            ax.grid(alpha=0.3)
        for ax in axes[:, 0]:
            ax.set_ylabel("F1")
        for ax in axes.flat[len(styles) - columns : len(styles)]:
            ax.set_xlabel("IoU that a match must reach")
            ax.tick_params(labelbottom=True)
        handles = [
            Line2D(
                [],
                [],
                color="black",
                linestyle=line,
                linewidth=2,
                label={"3d": "in 3D", "slicewise": "slice by slice"}.get(value, value),
            )
            for value, line in lines.items()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


def dice(table, published=None):
    """Dice of each method on each held-out volume: hollow with default thresholds, filled when tuned. Grey
    bars: the published values, for the rows of `comparison.published` that have a Dice of one's own beside
    them."""
    runs = table.drop_duplicates(["method", "fold", "seed", "variant"])
    styles, folds = _style(table), list(table.fold.unique())
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            1, len(folds), figsize=(max(7.0, 4.6 * len(folds)), 4.2), sharey=True, squeeze=False
        )
        for ax, fold in zip(axes[0], folds):
            for place, (name, (colour, marker)) in enumerate(styles.items()):
                for variant, shift in (("default", -0.16), ("tuned", 0.16)):
                    values = runs[
                        (runs.method == name) & (runs.fold == fold) & (runs.variant == variant)
                    ].dice
                    face = colour if variant == "tuned" or marker == "x" else "white"
                    ax.scatter(
                        [place + shift] * len(values),
                        values,
                        s=80,
                        marker=marker,
                        zorder=3,
                        linewidths=1.8,
                        **(
                            {"color": colour, "alpha": 1 if variant == "tuned" else 0.5}
                            if marker == "x"
                            else {"edgecolors": colour, "facecolors": face}
                        ),
                    )
                    _published(ax, published, name, fold, variant, place + shift)
            ax.set_xticks(range(len(styles)), styles, rotation=35, ha="right")
            ax.set(title=f"held out: {fold}", ylim=(0, 1.02))
            ax.grid(alpha=0.3, axis="y")
        axes[0, 0].set_ylabel("Dice of the cells' voxels")
        handles = [
            Line2D(
                [],
                [],
                color="black",
                marker="o",
                linestyle="",
                markersize=9,
                markerfacecolor=face,
                label=words,
            )
            for words, face in (("default", "white"), ("tuned", "black"))
        ]
        if published is not None and published.dice.notna().any():
            handles.append(Line2D([], [], color="grey", linewidth=4, alpha=0.6, label="published"))
        figure.legend(handles=handles, loc="outside right center", frameon=False)
    return figure


def _published(ax, published, name, fold, variant, place):
    if published is None:
        return
    rows = published[(published.method == name) & (published.variant == variant) & published.dice.notna()]
    for row in rows.itertuples():
        if row.fold in fold.lower():
            ax.plot(
                [place - 0.14, place + 0.14],
                [row.published] * 2,
                color="grey",
                linewidth=4,
                alpha=0.6,
                zorder=2,
            )


def counts(table):
    """Cells found by each method (tuned), as a share of the true number, one dot a fold and seed."""
    part = table[(table.matching == "3d") & (table.variant == "tuned")]
    part = part.drop_duplicates(["method", "fold", "seed"])
    styles = _style(table)
    with plt.rc_context(basic.STYLE):
        figure, ax = plt.subplots(figsize=(7.5, 0.55 * len(styles) + 1.2))
        for place, (name, (colour, marker)) in enumerate(styles.items()):
            own = part[part.method == name]
            ax.plot(own.cells / own.n_true, [place] * len(own), marker, color=colour, markersize=10)
            for row in own.itertuples():
                ax.annotate(
                    f"{row.cells}",
                    (row.cells / row.n_true, place),
                    xytext=(9, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=11,
                )
        ax.axvline(1, color="black", linestyle=":", zorder=0)
        low, high = ax.get_xlim()
        ax.set(
            xlim=(min(low, 0.9), max(high, 1.1)),
            ylim=(len(styles) - 0.4, -0.8),
            xlabel="cells found / true cells  (the number beside a mark: cells found)",
        )
        ax.set_yticks(range(len(styles)), styles)
        ax.grid(alpha=0.3, axis="x")
    return figure


def times(table):
    """Seconds for training, for tuning and for segmenting one volume; mean of folds and seeds."""
    part = table[table.variant == "tuned"].drop_duplicates(["method", "fold", "seed"])
    mean = part.groupby("method", sort=False)[["fit_seconds", "tune_seconds", "segment_seconds"]].mean()
    with plt.rc_context(basic.STYLE):
        figure, ax = plt.subplots(figsize=(8.5, 0.5 * len(mean) + 1.3))
        start = np.zeros(len(mean))
        for column, words, colour in (
            ("fit_seconds", "training", basic.BLUE),
            ("tune_seconds", "tuning", basic.ORANGE),
            ("segment_seconds", "one volume segmented", basic.GREEN),
        ):
            ax.barh(range(len(mean)), mean[column], left=start, color=colour, label=words)
            start += mean[column].to_numpy()
        for place, total in enumerate(start):
            ax.annotate(
                f"{total:.0f} s" if total >= 10 else f"{total:.1f} s",
                (total, place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
            )
        ax.set_yticks(range(len(mean)), mean.index)
        ax.set(ylim=(len(mean) - 0.5, -0.5), xlim=(0, 1.12 * max(start.max(), 0.1)), xlabel="seconds")
        figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure
