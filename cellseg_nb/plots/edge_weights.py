"""Figures of SoftNCuts' edge weights, in numbers and as curves."""

import matplotlib.pyplot as plt
import numpy as np

from cellseg_nb.io import volumes
from cellseg_nb.plots import basic


def rim(volume, half=2):
    """A voxel (z, y, x) just outside a cell, so that a small patch around it shows the cell and the
    background.

    Of the voxels of the middle slice with an ordinary brightness (30th to 60th percentile), the one that has
    the brightest voxel of all within ``half`` voxels.
    """
    from scipy import ndimage

    z = len(volume) // 2
    plane = volumes.remap(volume)[z]
    low, high = np.percentile(plane, (30, 60))
    around = ndimage.maximum_filter(plane, 2 * half + 1)
    score = np.where((plane >= low) & (plane <= high), around, -1)
    score[:half], score[-half:], score[:, :half], score[:, -half:] = -1, -1, -1, -1
    return (z, *(int(i) for i in np.unravel_index(int(np.argmax(score)), plane.shape)))


def in_numbers(patch, bright, near, weight, place):
    """A voxel and its neighbours in the slice, and the weight of the edge to each: brightness part, distance
    part, and their product, as numbers.

    All are (n, n) arrays or tensors, n odd, with the voxel in the middle: ``patch`` on the scale 0 to 100,
    the others 0 to 1; ``place`` is the voxel (z, y, x). Returns the figure.
    """
    z, y, x = place
    half = len(patch) // 2
    panels = (
        ("brightness (0 to 100)", patch, "gray", None, "{:.1f}"),
        ("equally bright?", bright, "viridis", 1, "{:.2f}"),
        ("close by?", near, "viridis", 1, "{:.2f}"),
        ("edge weight: the product", weight, "viridis", 1, "{:.2f}"),
    )
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, 4, figsize=(15, 4.3))
        for ax, (title, values, colours, top, words) in zip(axes, panels):
            values = np.asarray(values)
            low, high = (0, top) if top else (0, max(30.0, float(values.max())))
            ax.imshow(values, cmap=colours, vmin=low, vmax=high)
            for (i, j), value in np.ndenumerate(values):
                ink = "black" if value > low + 0.6 * (high - low) else "white"
                ax.text(j, i, words.format(value), ha="center", va="center", color=ink, fontsize=14)
            ax.add_patch(
                plt.Rectangle((half - 0.5, half - 0.5), 1, 1, fill=False, edgecolor=basic.RED, linewidth=3)
            )
            ax.set(title=title, xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        figure.suptitle(f"the voxel framed in red (z {z}, y {y}, x {x}) and its neighbours in the slice")
    return figure


def weight_curves(weight, radius=2):
    """How fast a weight falls with the difference in brightness (both forms), and with the distance.

    ``weight(difference, distance)`` of tensors, as in notebook 02, section 4. Returns the figure.
    """
    import torch

    gap, distance = torch.linspace(0, 3, 200), torch.linspace(0, 6, 200)
    curves = (
        (weight(gap, 0), "-", basic.BLUE, "pairwise: two voxels"),
        (weight(gap**2, 0), "--", basic.ORANGE, "class mean: a voxel and its class"),
    )
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(12, 3.6))
        for values, line, colour, words in curves:
            axes[0].plot(gap, values, line, color=colour, linewidth=2, label=words)
        axes[0].set(xlabel="difference in brightness (of 100)", ylabel="weight", ylim=(0, 1.05))
        axes[0].legend(frameon=False)
        axes[1].plot(distance, weight(0, distance), color=basic.GREEN, linewidth=2)
        axes[1].axvline(radius, color="black", linestyle=":")
        axes[1].annotate(
            f"radius {radius}: beyond it,\nno edge", (radius, 0.25), xytext=(6, 0), textcoords="offset points"
        )
        axes[1].set(xlabel="distance (voxels)", ylabel="weight", ylim=(0, 1.05))
        for ax in axes:
            ax.grid(alpha=0.3)
    return figure
