"""Figures of notebook 09: a brain from three sides, histogram and threshold, one chunk and its halo, labels
across a face, densities."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from cellseg_nb.plots import basic

SIDES = (("seen along z", "y", "x"), ("seen along y", "z", "x"), ("seen along x", "z", "y"))


def three_sides(level, mask=None, boxes=(), factor=(1, 1, 1), title="", voxel_size=None):
    """A coarse level from three sides: its middle slices, with the border of a mask on its grid; or, with
    ``boxes`` (three slices each, in voxels of the finest level), its means. ``factor``: voxels of the finest
    level in one of this one; ``voxel_size`` (z, y, x) of the finest in µm, or None."""
    unit, size = ("voxels", (1, 1, 1)) if voxel_size is None else ("µm", voxel_size)
    step = [f * s for f, s in zip(factor, size)]
    with plt.rc_context(basic.STYLE):
        figure, panels = plt.subplots(1, 3, figsize=(12.5, 4.6))
        for axis, (ax, (words, down, right)) in enumerate(zip(panels, SIDES)):
            plane = level.mean(axis) if boxes else level.take(level.shape[axis] // 2, axis)
            low, high = np.percentile(plane, [0.5, 99.8])
            tall, wide = (s for a, s in enumerate(step) if a != axis)
            extent = (0, plane.shape[1] * wide, plane.shape[0] * tall, 0)
            ax.imshow(plane, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), extent=extent)
            if mask is not None:
                there = mask.take(mask.shape[axis] // 2, axis)
                if there.any() and not there.all():
                    ax.contour(there, [0.5], colors=basic.ORANGE, extent=extent, origin="upper", linewidths=2)
            for number, box in enumerate(boxes, 1):
                sides = [(b.start * s, b.stop * s) for b, s in zip(box, size)]
                _numbered(ax, number, len(boxes), *(side for a, side in enumerate(sides) if a != axis))
            what = "mean" if boxes else "middle slice"
            ax.set(title=f"{what}, {words}", xlabel=f"{right} ({unit})", ylabel=f"{down} ({unit})")
        figure.suptitle(title, fontsize=13)
    return figure


def _numbered(ax, number, of, down, right):
    """A box, (from, to) along both axes, and its number: boxes behind each other show theirs side by side."""
    tall, wide = down[1] - down[0], right[1] - right[0]
    ax.add_patch(Rectangle((right[0], down[0]), wide, tall, fill=False, color=basic.SKY, linewidth=2))
    place = right[0] + wide * (number - 0.5) / of, down[0] + 0.04 * tall
    behind = dict(facecolor="black", edgecolor="none", pad=1.5)
    ax.text(*place, str(number), color=basic.SKY, ha="center", va="top", bbox=behind)


def cubes(images, boxes):
    """The middle slice of each cube, with where it begins."""
    with plt.rc_context(basic.STYLE):
        figure, panels = plt.subplots(
            1, len(images), figsize=(3.1 * len(images), 3.7), squeeze=False, sharey=True
        )
        low, high = np.percentile(np.concatenate([image.ravel() for image in images]), [1, 99.8])
        for number, (ax, image, box) in enumerate(zip(panels[0], images, boxes), 1):
            ax.imshow(image[len(image) // 2], cmap="gray", vmin=low, vmax=high)
            ax.set(title=f"{number}: from {', '.join(str(s.start) for s in box)}", xlabel="x (voxels)")
        panels[0, 0].set_ylabel("y (voxels)")
        figure.suptitle("middle slice of each cube, and where it begins: z, y, x (voxels)", fontsize=13)
    return figure


def threshold(values, counts, cut, name="threshold"):
    """A streamed histogram with the threshold that follows from it, and what that is called."""
    there = np.flatnonzero(counts)
    last = there[np.searchsorted(np.cumsum(counts[there]), 0.9995 * counts.sum())]
    last = max(last, np.searchsorted(values, 1.3 * cut))
    together = max(1, (last - there[0]) // 120)  # whole bins, or bars would differ where bins do not
    with plt.rc_context(basic.STYLE):
        figure, ax = plt.subplots(figsize=(8, 3.6))
        starts = np.arange(there[0], last, together)
        held = np.add.reduceat(counts, starts)[:-1]
        ax.stairs(np.maximum(held, 0.5), values[starts], fill=True, color=basic.SKY)
        ax.axvline(cut, color=basic.ORANGE, linewidth=2.5, linestyle="--", label=f"{name} {cut:.3g}")
        ax.legend(frameon=False, loc="upper right")
        title = f"{counts.sum():,} voxels of tissue"
        ax.set(yscale="log", xlabel="brightness above the ground (grey values)", ylabel="voxels", title=title)
    return figure


def halo(image, inner, labels, title=""):
    """The middle slice of what a chunk is computed from, its core framed; beside it the cells of the core."""
    z = (inner[0].start + inner[0].stop) // 2
    corner, size = (inner[2].start - 0.5, inner[1].start - 0.5), (labels.shape[2], labels.shape[1])
    with plt.rc_context(basic.STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(10, 4.9), sharex=True, sharey=True)
        low, high = np.percentile(image, [1, 99.8])
        for ax in panels:
            ax.imshow(image[z], cmap="gray", vmin=low, vmax=high)
            ax.add_patch(Rectangle(corner, *size, fill=False, color=basic.ORANGE, linewidth=2.5))
            ax.set(xlabel="x (voxels)")
        sides = image.shape[2] - 0.5, image.shape[1] - 0.5
        extent = (corner[0], corner[0] + size[0], corner[1] + size[1], corner[1])
        _coloured(panels[1], labels[labels.shape[0] // 2], extent)
        panels[0].set(xlim=(-0.5, sides[0]), ylim=(sides[1], -0.5))
        panels[0].set(ylabel="y (voxels)", title="what it reads: the core (framed) and a halo")
        panels[1].set(title="what it gives: cells of the core")
        figure.suptitle(title, fontsize=12)
    return figure


def _coloured(ax, plane, extent=None, seed=1):
    """Labels of a slice in colours, see-through where there is none."""
    numbers = np.unique(plane)
    small = np.searchsorted(numbers, plane)
    small = small + (numbers[0] != 0) if len(numbers) else small
    colours = basic.random_colours(small, seed)
    shown = np.ma.masked_equal(small, 0)
    ax.imshow(shown, cmap=colours, vmin=0, vmax=max(1, colours.N - 1), extent=extent, interpolation="nearest")


def across(image, panels, face, title=""):
    """A slice with a chunk's face in the middle (dashed, at this x), one panel for each {words: labels}."""
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            1, len(panels), figsize=(5.2 * len(panels), 5), squeeze=False, sharey=True
        )
        low, high = np.percentile(image, [1, 99.8])
        for ax, (words, labels) in zip(axes[0], panels.items()):
            ax.imshow(image, cmap="gray", vmin=low, vmax=high)
            _coloured(ax, labels)
            ax.axvline(face - 0.5, color=basic.ORANGE, linewidth=2, linestyle="--")
            ax.set(title=words, xlabel="x (voxels)")
        axes[0, 0].set_ylabel("y (voxels)")
        figure.suptitle(title, fontsize=12)
    return figure


def density(values, width, title="Cells per mm³"):
    """A density map (Z, Y, X) from three sides, means along the line of sight."""
    with plt.rc_context(basic.STYLE):
        figure, panels = plt.subplots(1, 3, figsize=(12.5, 4.2))
        high = max(float(np.percentile(values.mean(0), 99.5)), 1e-9)
        for axis, (ax, (words, down, right)) in enumerate(zip(panels, SIDES)):
            plane = values.mean(axis)
            extent = (0, plane.shape[1] * width, plane.shape[0] * width, 0)
            shown = ax.imshow(plane, cmap="magma", vmin=0, vmax=high, extent=extent)
            ax.set(title=words, xlabel=f"{right} (µm)", ylabel=f"{down} (µm)")
        figure.colorbar(shown, ax=panels, label="mean along the line of sight", shrink=0.8)
        figure.suptitle(f"{title}, boxes of {width:g} µm", fontsize=12)
    return figure
