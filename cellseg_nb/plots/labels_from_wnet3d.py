"""Figures of notebook 07: labels before and after the filters, F1 against IoU, objects invented inside an
artefact."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from cellseg_nb.data.artefacts import AWAY, INSIDE
from cellseg_nb.plots import basic

STYLES = (
    (basic.BLUE, "o", "-"),
    (basic.ORANGE, "s", "--"),
    (basic.GREEN, "^", "-."),
    (basic.PURPLE, "D", ":"),
)


def side_view(image, panels, trusted=None, voxel_size=None, position=None):
    """A volume seen from the side (x-z), one panel for each {words: labels}; a line where the artefact
    begins.

    ``position`` is the slice along y, the middle by default.
    """
    y = image.shape[1] // 2 if position is None else int(position)
    size, unit = voxel_size or (1.0, 1.0, 1.0), "µm" if voxel_size else "voxels"
    extent = (0, image.shape[2] * size[2], image.shape[0] * size[0], 0)
    low, high = np.percentile(image, [1, 99.7])
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(4.8 * len(panels), 4.9), squeeze=False, sharey=True
        )
        for ax, (words, labels) in zip(axes[0], panels.items()):
            ax.imshow(image[:, y], cmap="gray", vmin=low, vmax=high, extent=extent)
            if labels is not None:
                colours = basic.random_colours(labels)
                shown = dict(cmap=colours, vmin=0, vmax=max(1, colours.N - 1), extent=extent)
                ax.imshow(basic.rims(labels[:, y]), **shown)
                words = f"{words}: {len(np.unique(labels)) - 1} objects"
            if trusted is not None:
                ax.axhline(trusted * size[0], color=basic.ORANGE, linewidth=2.5, linestyle="--")
            ax.set(title=words, xlabel=f"x ({unit})")
        axes[0, 0].set_ylabel(f"z ({unit})")
        below = "; below the dashed line: slices with the artefact" if trusted is not None else ""
        figure.suptitle(f"seen from the side, y = {y}; counts are of the whole volume{below}", fontsize=12)
    return figure


def losses(histories):
    """The loss over the epochs, one line for each {words: history}."""
    with plt.rc_context(basic.STYLE):
        figure, ax = plt.subplots(figsize=(8, 3.6))
        for (words, history), (colour, shape, line) in zip(histories.items(), STYLES[1:]):
            ax.plot(
                [row["epoch"] for row in history],
                [row["loss"] for row in history],
                line,
                marker=shape,
                color=colour,
                linewidth=2,
                markersize=5,
                label=words,
            )
        ax.set(xlabel="epoch", ylabel="loss")
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
        figure.legend(loc="outside right center", frameon=False)
    return figure


def f1_curves(table):
    """F1 against the IoU threshold, one panel for each choice of slices, one line a method (after Fig. 1g):
    the mean over the volumes held out."""
    keys = ["method", "slices", "threshold"]
    table = table.groupby(keys, as_index=False, sort=False).f1.mean()
    parts = list(dict.fromkeys(table.slices))
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            1, len(parts), figsize=(5.4 * len(parts), 4.6), squeeze=False, sharey=True
        )
        for ax, words in zip(axes[0], parts):
            rows = table[table.slices == words]
            for (name, part), (colour, shape, line) in zip(rows.groupby("method", sort=False), STYLES * 9):
                ax.plot(
                    part.threshold,
                    part.f1,
                    line,
                    marker=shape,
                    color=colour,
                    linewidth=2,
                    markersize=7,
                    label=name,
                )
            ax.set(title=words, xlabel="IoU a cell must reach to count", ylim=(-0.02, 1.02))
            ax.grid(alpha=0.3)
        axes[0, 0].set_ylabel("F1")
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
        )
    return figure


def invented(scores):
    """How many objects each method invents, away from the artefact and inside it: two bars each, with
    numbers."""
    with plt.rc_context(basic.STYLE):
        figure, ax = plt.subplots(figsize=(9, 0.9 + 0.95 * len(scores)))
        rows = np.arange(len(scores))[::-1]
        for shift, where, colour, hatch in ((0.2, AWAY, basic.SKY, ""), (-0.2, INSIDE, basic.ORANGE, "//")):
            bars = ax.barh(
                rows + shift,
                scores[f"invented {where}"],
                0.38,
                color=colour,
                hatch=hatch,
                edgecolor="black",
                label=where,
            )
            ax.bar_label(bars, padding=4, fontsize=12)
        ax.set_yticks(rows, scores.index)
        ax.set(xlabel="objects that match no true cell (IoU 0.5)")
        ax.margins(x=0.1)
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure
