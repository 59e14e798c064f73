"""Figures of supervised training: losses, cubes, curves, the threshold search, true, missed and invented
cells."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import MaxNLocator

from cellseg_nb.evaluation import metrics
from cellseg_nb.learning import augmentation
from cellseg_nb.networks import losses
from cellseg_nb.plots import basic


def loss_shapes(side=24, radius=6):
    """What each loss says of a ball that was found too small (cells missed) or too large (cells invented)."""
    import torch

    grid = np.indices((side,) * 3) - (side - 1) / 2
    distance = torch.from_numpy(np.sqrt((grid**2).sum(0))).float()[None, None]
    target = (distance <= radius).float()
    radii = np.linspace(3, 9, 25)
    styles = zip(
        losses.WORDS,
        (basic.BLUE, basic.ORANGE, basic.GREEN, basic.RED, basic.PURPLE),
        ("-", "--", "-", "-", "-"),
    )
    with plt.rc_context(basic.STYLE):
        figure, ax = plt.subplots(figsize=(9, 3.8))
        for name, colour, line in styles:
            term = losses.loss(name)
            values = np.array([float(term(4 * (r - distance).clamp(-1, 1), target)) for r in radii])
            ax.plot(
                radii, values / values.max(), line, color=colour, linewidth=2, label=name.replace("_", " ")
            )
        ax.axvline(radius, color="black", linewidth=1, linestyle=":")
        ax.annotate("true radius", (radius, 1.0), xytext=(4, 0), textcoords="offset points", va="top")
        ax.set(
            xlabel="radius of the cell that the network found (voxels)   too small < > too large",
            ylabel="loss (share of its largest)",
            ylim=(0, 1.03),
        )
        ax.grid(alpha=0.3)
        figure.legend(*ax.get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def cubes(table):
    """How much of each cube is cell, drawn anywhere and class-balanced; the share of batches without any
    cell."""
    colours = {"anywhere": basic.ORANGE, "class-balanced": basic.BLUE}
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 3.4), sharey=True)
        bins = np.linspace(0, max(0.01, table.share.max()), 26)
        for ax, (draw, part) in zip(axes, table.groupby("draw", sort=False)):
            ax.hist(100 * part.share, 100 * bins, color=colours[draw], edgecolor="white")
            none = (part.groupby("batch").share.max() == 0).mean()
            ax.set(
                title=f"{draw}: {100 * (part.share == 0).mean():.0f} % of cubes, {100 * none:.0f} % of "
                f"batches empty",
                xlabel="voxels of the cube that are cell (%)",
            )
        axes[0].set_ylabel("cubes")
    return figure


def batch(image, cells, most=6):
    """The middle slices of the cubes of a batch with the outlines of their cells: tensors (B, 1, Z, Y, X) and
    (B, C, Z, Y, X), of which the first channel is drawn; at most ``most`` cubes."""
    count = min(most, len(image))
    low, high = np.percentile(image[:count], (1, 99.8))
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, count, figsize=(2.6 * count, 3.0), squeeze=False)
        for number, ax in enumerate(axes[0]):
            z = image.shape[2] // 2
            ax.imshow(image[number, 0, z], cmap="gray", vmin=low, vmax=high)
            if cells[number, 0, z].any():
                ax.contour(cells[number, 0, z], [0.5], colors=[basic.ORANGE], linewidths=1.2)
            share = 100 * float(cells[number, 0].mean())
            ax.set(title=f"cube {number + 1}: {share:.1f} %", xticks=[], yticks=[])
        axes[0, 0].set(xlabel="x", ylabel="y")
    return figure


def curves(history, title=None):
    """Loss and Dice over the epochs, for training and validation; the best epoch marked."""
    epochs = [row["epoch"] for row in history]
    validated = [row for row in history if "val_dice" in row]
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 3.6))
        axes[0].plot(
            epochs, [row["loss"] for row in history], "o-", markersize=3, color=basic.BLUE, label="training"
        )
        axes[0].set(xlabel="epoch", ylabel="loss")
        axes[1].set(xlabel="epoch", ylabel="Dice of the validation cubes", ylim=(0, 1.03))
        if validated:
            at = [row["epoch"] for row in validated]
            axes[0].plot(
                at,
                [row["val_loss"] for row in validated],
                "s--",
                markersize=3,
                color=basic.ORANGE,
                label="validation",
            )
            axes[1].plot(at, [row["val_dice"] for row in validated], "s--", markersize=3, color=basic.ORANGE)
            best = max(validated, key=lambda row: row["val_dice"])
            axes[1].plot(best["epoch"], best["val_dice"], "*", markersize=16, color=basic.RED)
            axes[1].set_title(f"best: {best['val_dice']:.3f} in epoch {best['epoch']}", fontsize="medium")
        for ax in axes:
            ax.grid(alpha=0.3)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].legend(frameon=False)
        if title:
            figure.suptitle(title)
    return figure


def live(epochs, every=1):
    """A callback that draws the curves in one place of the notebook, redrawn every few epochs, and taken away
    after the last of ``epochs``: then `curves` draws them all."""
    from IPython.display import HTML, display

    places = []

    def callback(history, model):
        if len(history) >= epochs:
            for place in places:
                place.update(HTML(""))
            return
        if len(history) % every:
            return
        figure = curves(history)
        if places:
            places[0].update(figure)
        else:
            places.append(display(figure, display_id=True))
        plt.close(figure)

    return callback


def threshold_search(table, chosen, title="Threshold search on the training data"):
    """Dice against the threshold, after Suppl. Fig. S1; the best one marked."""
    with plt.rc_context(basic.STYLE):
        figure, ax = plt.subplots(figsize=(7.5, 3.6))
        ax.plot(table.threshold, table.dice, "o-", color=basic.BLUE)
        top = float(table.dice.max())
        ax.plot(chosen, top, "*", markersize=16, color=basic.RED)
        words = f"{title}: best {chosen:.2f}, Dice {top:.3f}"
        ax.set(xlabel="threshold on the probability", ylabel="Dice", title=words, xlim=(0, 1))
        ax.set_ylim(top=min(1.01, top + 0.05))
        ax.grid(alpha=0.3)
    return figure


def quality(image, truth, found, position=None, voxel_size=None, threshold=0.5):
    """Right, missed and invented cells in a slice, one panel a method. ``found`` is {method: labels}; ids
    need IoU 0.5.

    Blue outline: a true cell that was found. Orange: a true cell that was missed. Purple, dashed: an invented
    cell.
    """
    from matplotlib.lines import Line2D

    z = truth.shape[0] // 2 if position is None else int(position)
    size = voxel_size or (1.0, 1.0, 1.0)
    extent = (0, truth.shape[2] * size[2], truth.shape[1] * size[1], 0)
    unit = "µm" if voxel_size else "voxels"
    low, high = np.percentile(image, [1, 99.7])
    with plt.rc_context(basic.STYLE):
        high_as_wide = extent[2] / extent[1]
        figure, axes = plt.subplots(
            1, len(found), figsize=(4.7 * len(found), 4.4 * high_as_wide + 1.5), squeeze=False, sharey=True
        )
        for ax, (name, labels) in zip(axes[0], found.items()):
            found_cells = metrics.quality(truth, labels, threshold)
            ax.imshow(image[z], cmap="gray", vmin=low, vmax=high, extent=extent)
            for ids, source, colour, line in (
                (found_cells.matched_true, truth, basic.SKY, "-"),
                (found_cells.missed, truth, basic.ORANGE, "-"),
                (found_cells.invented, labels, basic.PURPLE, "--"),
            ):
                _outlines(ax, source[z], ids, size, colour, line)
            ax.set(
                title=f"{name}\n{len(found_cells.matched_true)} right, {len(found_cells.missed)} missed, "
                f"{len(found_cells.invented)} invented",
                xlabel=f"x ({unit})",
            )
        axes[0, 0].set_ylabel(f"y ({unit})")
        handles = [
            Line2D([], [], color=colour, linestyle=line, linewidth=2, label=words)
            for words, colour, line in (
                ("true cell, found", basic.SKY, "-"),
                ("true cell, missed", basic.ORANGE, "-"),
                ("invented", basic.PURPLE, "--"),
            )
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
        figure.suptitle(f"slice z = {z}; the numbers are of the whole volume")
    return figure


def _outlines(ax, plane, ids, size, colour, line):
    y = (np.arange(plane.shape[0]) + 0.5) * size[1]
    x = (np.arange(plane.shape[1]) + 0.5) * size[2]
    for cell in np.intersect1d(ids, plane):
        ax.contour(x, y, plane == cell, [0.5], colors=[colour], linewidths=1.8, linestyles=[line])


def preview(image, labels, seed=0, cube=(32, 64, 64), strength=1.0):
    """One cube, as it is and after each step alone, then after all: a figure. Outlines: the target, which
    must follow."""
    rng = np.random.default_rng(seed)
    cube = [min(side, whole) for side, whole in zip(cube, image.shape)]
    box = augmentation.centred_box(rng, image.shape, np.argwhere(labels > 0), cube)
    image, target = (
        torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32))[None]
        for part in (augmentation.prepare(image)[box], labels[box] > 0)
    )
    shown = [("as it is", image, target)]
    for name, steps in [(step, (step,)) for step in augmentation.STEPS] + [
        ("all together", augmentation.STEPS)
    ]:
        transform = augmentation.pipeline(steps, strength, square=cube[1] == cube[2])
        for part in transform.transforms:  # always, so that there is something to see
            part.prob = 1.0
            if hasattr(part, "rand_affine"):
                part.rand_affine.prob = 1.0
        shown.append(
            (name, *augmentation.augment(transform, image, target, torch.ones_like(target), seed)[:2])
        )
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, len(shown), figsize=(2.35 * len(shown), 2.9))
        for ax, (name, cube_image, cube_target) in zip(axes, shown):
            z = cube_image.shape[1] // 2
            ax.imshow(cube_image[0, z], cmap="gray", vmin=0, vmax=1)
            if cube_target[0, z].any():
                ax.contour(cube_target[0, z], [0.5], colors=[basic.ORANGE], linewidths=1.2)
            ax.set(title=name, xticks=[], yticks=[])
        axes[0].set(xlabel="x", ylabel="y")
    return figure
