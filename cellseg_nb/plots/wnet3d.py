"""Figures of notebook 02: edge weights in numbers, what trainings found side by side, reconstructions, the
grid of parameters, curves and class maps over time."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from cellseg_nb.cells.inference import brightest
from cellseg_nb.io import volumes
from cellseg_nb.learning.monitor import ARRIVED
from cellseg_nb.plots import basic

MAP = dict(cmap="viridis", vmin=0, vmax=1)


# ---------------------------------------------------------------- what trainings found


def _grey(ax, plane, title):
    low, high = basic._limits(plane)
    ax.imshow(plane, cmap="gray", vmin=low, vmax=high)
    ax.set(title=title, xlabel="x (voxels)")


def _words(lesson):
    dice = "" if lesson.dice is None else f", Dice {lesson.dice:.2f}"
    return f"{_percent(lesson.foreground)} foreground{dice}"


def _percent(share):
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def side_by_side(lessons, titles, truth=None, z=None):
    """One slice, the true cells where they are known, and the probability of being a cell after each
    training."""
    image = lessons[0].image
    z = len(image) // 2 if z is None else z
    extra = 1 if truth is None else 2
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            1, extra + len(lessons), figsize=(4.1 * (extra + len(lessons)), 4.3), sharey=True
        )
        _grey(axes[0], image[z], f"slice z = {z}")
        axes[0].set_ylabel("y (voxels)")
        if truth is not None:
            axes[1].imshow(truth[z] > 0, **MAP)
            axes[1].set(title=f"truth: {_percent((truth > 0).mean())} foreground", xlabel="x (voxels)")
        for ax, lesson, title in zip(axes[extra:], lessons, titles):
            shown = ax.imshow(lesson.probability[z], **MAP)
            ax.set(title=f"{title}\n{_words(lesson)}", xlabel="x (voxels)")
        figure.colorbar(shown, ax=axes, label="probability of cell", shrink=0.8)
    return figure


def decoder(lessons, titles, rebuilt, z=None):
    """A row for each training: the slice, its classes, and what the decoder makes of these."""
    image = volumes.remap(lessons[0].image)
    z = len(image) // 2 if z is None else z
    low, high = basic._limits(image)
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            len(lessons), 3, figsize=(13, 4.1 * len(lessons)), squeeze=False, sharex=True, sharey=True
        )
        for row, lesson, title, again in zip(axes, lessons, titles, rebuilt):
            grey = row[0].imshow(image[z], cmap="gray", vmin=low, vmax=high)
            shown = row[1].imshow(lesson.probability[z], **MAP)
            row[2].imshow(again[z], cmap="gray", vmin=low, vmax=high)
            row[0].set(title=f"slice z = {z}", ylabel=f"{title}\ny (voxels)")
            row[1].set_title(_words(lesson))
            row[2].set_title("rebuilt from the classes")
            figure.colorbar(shown, ax=row[1], label="probability of cell", shrink=0.8)
            figure.colorbar(grey, ax=row[2], label="brightness (0 to 100)", shrink=0.8)
        for ax in axes[-1]:
            ax.set_xlabel("x (voxels)")
        figure.get_layout_engine().set(wspace=0.08)  # a bar's words are no part of the next picture
    return figure


def grid(lessons, z=None):
    """Probability of being a cell for each learning rate (rows) and reconstruction weight (columns), as given
    by `wnet3d_training_lessons.over_grid`; above each, SoftNCuts and the share of foreground."""
    rates, weights = (list(dict.fromkeys(key[i] for key in lessons)) for i in (0, 1))
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            len(rates),
            len(weights),
            figsize=(4.3 * len(weights) + 1, 4.1 * len(rates)),
            sharex=True,
            sharey=True,
            squeeze=False,
        )
        for (rate, weight), lesson in lessons.items():
            i, j = rates.index(rate), weights.index(weight)
            ax = axes[i, j]
            plane = len(lesson.probability) // 2 if z is None else z
            shown = ax.imshow(lesson.probability[plane], **MAP)
            cut = np.mean([row["n_cuts"] for row in lesson.history[-3:]])
            ax.set_title(f"SoftNCuts {cut:.3f}\n{_words(lesson)}")
            if i == len(rates) - 1:
                ax.set_xlabel(f"x (voxels)\nreconstruction weight {weight:g}")
            if j == 0:
                ax.set_ylabel(f"learning rate {rate:g}\ny (voxels)")
        figure.colorbar(shown, ax=axes, label="probability of cell", shrink=0.5)
    return figure


def falling(lessons, titles):
    """SoftNCuts over the epochs of several trainings, and the value below which the classes follow the
    cells."""
    with plt.rc_context(basic.STYLE):
        figure, ax = plt.subplots(figsize=(9, 3.8))
        colours = (basic.BLUE, basic.GREEN, basic.ORANGE, basic.RED)
        for lesson, title, colour, mark in zip(lessons, titles, colours, "os^D"):
            ax.plot(
                [row["epoch"] for row in lesson.history],
                [row["n_cuts"] for row in lesson.history],
                color=colour,
                marker=mark,
                label=title,
            )
        ax.axhline(ARRIVED, color="black", linestyle=":", label=f"arrived: {ARRIVED:g}")
        ax.set(xlabel="epoch", ylabel="SoftNCuts", yscale="log")
        ax.grid(alpha=0.3)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(*ax.get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def classes(image, found, titles, z=None):
    """One slice, and below each other the classes of several trainings; the brightest class is framed.

    ``found``: list of (K, Z, Y, X).
    """
    z = len(image) // 2 if z is None else z
    columns = 1 + max(len(one) for one in found)
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            len(found), columns, figsize=(4.1 * columns, 4.2 * len(found)), squeeze=False
        )
        for row, one, title in zip(axes, found, titles):
            _grey(row[0], image[z], f"{title}: slice z = {z}")
            row[0].set_ylabel("y (voxels)")
            for k, ax in enumerate(row[1:]):
                if k >= len(one):
                    ax.set_axis_off()
                    continue
                shown = ax.imshow(one[k, z], **MAP)
                ax.set(title=f"class {k}: {_percent(one[k].mean())} of the volume", xlabel="x (voxels)")
                if k == brightest([(one, image)]):
                    ax.spines[:].set(visible=True, color=basic.RED, linewidth=4)
        figure.colorbar(shown, ax=axes, label="probability", shrink=0.6)
    return figure


# ---------------------------------------------------------------- the real training


def curves(history, title=None):
    """SoftNCuts, reconstruction loss and, where there are labels, validation Dice over the epochs."""
    epochs = [row["epoch"] for row in history]
    validated = [row for row in history if "val_dice" in row]
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, 3 if validated else 2, figsize=(13, 3.6))
        for ax, term, words, colour in zip(
            axes,
            ("n_cuts", "reconstruction"),
            ("SoftNCuts", "reconstruction loss"),
            (basic.BLUE, basic.ORANGE),
        ):
            ax.plot(epochs, [row[term] for row in history], "o-", markersize=3, color=colour)
            ax.set(ylabel=words, yscale="log" if term == "n_cuts" else "linear")
        if validated:
            axes[2].plot(
                [row["epoch"] for row in validated],
                [row["val_dice"] for row in validated],
                "s-",
                markersize=4,
                color=basic.GREEN,
            )
            axes[2].set(ylabel="Dice with the labels", ylim=(0, 1.03))
        for ax in axes:
            ax.set_xlabel("epoch")
            ax.grid(alpha=0.3)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if title:
            figure.suptitle(title)
    return figure


def live():
    """As `basic.live`, with the curves of this notebook."""
    return basic.live(curves)


def over_time(plane, pictures, foreground):
    """The same slice after some epochs, like Suppl. Fig. S2a.

    ``pictures``: {epoch: (K, Y, X)}; ``foreground``: the class to show.
    """
    columns = min(4, 1 + len(pictures))
    lines = -(-(1 + len(pictures)) // columns)
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            lines, columns, figsize=(4.0 * columns + 1, 4.3 * lines), squeeze=False, sharex=True, sharey=True
        )
        _grey(axes.flat[0], plane, "the slice")
        for ax, (epoch, found) in zip(axes.flat[1:], pictures.items()):
            shown = ax.imshow(found[foreground], **MAP)
            ax.set(title=f"after epoch {epoch}", xlabel="x (voxels)")
        for ax in axes.flat[1 + len(pictures) :]:
            ax.set_axis_off()
        for ax in axes[:, 0]:
            ax.set_ylabel("y (voxels)")
        if pictures:
            figure.colorbar(shown, ax=axes, label="probability of cell", shrink=0.7)
    return figure
