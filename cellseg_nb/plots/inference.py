"""Figures of notebook 04: probabilities compared, methods side by side, before and after, cells in numbers, a
turntable."""

import base64
import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cellseg_nb.io.files import atomic
from cellseg_nb.plots import basic


def _grey(ax, plane, title, size=None):
    """A slice in grey, in µm where the voxel size is known."""
    low, high = basic._limits(plane)
    extent, unit = _extent(plane.shape, size)
    ax.imshow(plane, cmap="gray", vmin=low, vmax=high, extent=extent)
    ax.set(title=title, xlabel=f"x ({unit})")
    return extent, unit


def _extent(shape, size):
    y, x = (1.0, 1.0) if size is None else size[1:]
    return (0, shape[1] * x, shape[0] * y, 0), "voxels" if size is None else "µm"


def _outlines(ax, plane, extent, colour):
    edges = np.ma.masked_equal((basic.rims(plane) > 0).astype(float), 0)
    ax.imshow(edges, cmap=plt.matplotlib.colors.ListedColormap([colour]), extent=extent)


def differences(one, other, names, z=None):
    """One slice of two probabilities and of their difference."""
    z = len(one) // 2 if z is None else z
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), sharey=True)
        for ax, plane, name in zip(axes, (one[z], other[z]), names):
            shown = ax.imshow(plane, cmap="viridis", vmin=0, vmax=1)
            ax.set(title=name, xlabel="x (voxels)")
        axes[0].set_ylabel("y (voxels)")
        figure.colorbar(shown, ax=axes[:2], label="probability", shrink=0.85)
        gap = one[z] - other[z]
        reach = max(0.05, np.abs(gap).max())
        shown = axes[2].imshow(gap, cmap="PuOr", vmin=-reach, vmax=reach)
        axes[2].set(title=f"{names[0]} minus {names[1]}", xlabel="x (voxels)")
        figure.colorbar(shown, ax=axes[2], label="difference", shrink=0.85)
    return figure


def thresholds(table, used):
    """How much of the volume is above each threshold, in how many pieces it falls, and Dice where there is a
    truth."""
    known = table.dice.notna().all()
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, 2 + known, figsize=(13, 3.4))
        panels = [
            ("share", "share of the volume (%)", basic.BLUE, 100),
            ("pieces", "connected pieces", basic.ORANGE, 1),
        ]
        panels += [("dice", "Dice with the truth", basic.GREEN, 1)] if known else []
        for ax, (column, words, colour, factor) in zip(axes, panels):
            ax.plot(table.threshold, factor * table[column], color=colour, marker="o", markersize=4)
            ax.axvline(used, color="black", linestyle="--", linewidth=1)
            ax.set(xlabel="threshold", ylabel=words, xlim=(0, 1), ylim=(0, None))
            ax.grid(alpha=0.3)
        axes[0].set_title(f"dashed: the threshold used, {used:g}", loc="left")
    return figure


def side_by_side(volume, found, z=None):
    """One slice, and over it the outlines of several label volumes. ``found``: {name: labels}."""
    z = len(volume.image) // 2 if z is None else z
    with plt.rc_context(basic.STYLE):
        columns = min(3, 1 + len(found))  # more in a row are too small for a projector
        rows = -(-(1 + len(found)) // columns)
        size = (4.2 * columns, 4.6 * rows)
        figure, axes = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False)
        _, unit = _grey(axes[0, 0], volume.image[z], f"slice z = {z}", volume.voxel_size)
        for ax in axes[:, 0]:
            ax.set_ylabel(f"y ({unit})")
        for ax in axes.flat[1 + len(found) :]:
            ax.set_axis_off()
        for ax, (name, labels) in zip(axes.flat[1:], found.items()):
            extent, _ = _grey(ax, volume.image[z], f"{name}: {labels.max()} cells", volume.voxel_size)
            _outlines(ax, labels[z], extent, basic.ORANGE)
    return figure


def along_z(volume, before, after):
    """A slice from the side with cells kept and cells dropped, and cells per slice before and after a
    filter."""
    y = volume.image.shape[1] // 2
    size = volume.voxel_size or (1.0, 1.0, 1.0)
    extent, unit = _extent(volume.image[:, y].shape, (None, size[0], size[2]) if volume.voxel_size else None)
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(12.5, 4.4))
        low, high = basic._limits(volume.image[:, y])
        axes[0].imshow(volume.image[:, y], cmap="gray", vmin=low, vmax=high, extent=extent)
        _outlines(axes[0], np.where(after[:, y] > 0, 0, before[:, y]), extent, basic.RED)
        _outlines(axes[0], after[:, y], extent, basic.SKY)
        axes[0].set(title="from the side: blue kept, red dropped", xlabel=f"x ({unit})", ylabel=f"z ({unit})")
        for labels, name, colour, style in (
            (before, "before", basic.RED, "--"),
            (after, "after", basic.BLUE, "-"),
        ):
            axes[1].plot(
                [len(np.unique(plane[plane > 0])) for plane in labels],
                style,
                color=colour,
                linewidth=2,
                label=name,
            )
        if volume.labels is not None:
            axes[1].plot(
                [len(np.unique(plane[plane > 0])) for plane in volume.labels],
                ":",
                color="black",
                label="truth",
            )
        axes[1].set(xlabel="slice z", ylabel="cells cut by the slice", ylim=(0, None))
        figure.legend(*axes[1].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def numbers(table, unit="µm"):
    """Where cells are along z, how large and how bright, one dot a cell."""
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(13, 3.6))
        pairs = (
            ("z", "mean_intensity", "slice z", "mean brightness"),
            ("equivalent_diameter_um", "mean_intensity", f"diameter ({unit})", "mean brightness"),
            ("equivalent_diameter_um", "sphericity", f"diameter ({unit})", "sphericity (1: a ball)"),
        )
        for ax, (x, y, across, up), colour in zip(axes, pairs, (basic.BLUE, basic.ORANGE, basic.GREEN)):
            ax.scatter(table[x], table[y], s=22, color=colour, alpha=0.7, edgecolor="white", linewidth=0.5)
            ax.set(xlabel=across, ylabel=up)
            ax.grid(alpha=0.3)
    return figure


def gallery(many, found):
    """The middle slice of several volumes with what was found in them; green: the truth, where there is
    one."""
    columns = min(3, len(many))
    lines = -(-len(many) // columns)
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(lines, columns, figsize=(4.3 * columns, 4.4 * lines), squeeze=False)
        for ax in axes.flat[len(many) :]:
            ax.axis("off")
        for ax, volume, labels in zip(axes.flat, many, found):
            z = len(volume.image) // 2
            extent, unit = _grey(
                ax, volume.image[z], f"{volume.name}\n{labels.max()} cells found", volume.voxel_size
            )
            ax.set_ylabel(f"y ({unit})")
            if volume.labels is not None:
                _outlines(ax, volume.labels[z], extent, basic.GREEN)
            _outlines(ax, labels[z], extent, basic.ORANGE)
    return figure


# ---------------------------------------------------------------- turntable


def f1_curves(curves):
    """F1 against IoU, one line a volume; ``curves`` has the columns volume, threshold, f1. Of many volumes of
    one data set (named "set: volume") the median, and the middle half as a band."""
    sets = curves.assign(set=curves.volume.str.split(": ").str[0])
    with plt.rc_context(basic.STYLE):
        figure, ax = plt.subplots(figsize=(9.5, 4.4))
        for number, (name, part) in enumerate(sets.groupby("set", sort=False)):
            at = part.groupby("threshold").f1.quantile([0.25, 0.5, 0.75]).unstack()
            count = part.volume.nunique()
            words = f"{name} ({count} volumes)" if count > 1 else name
            ax.plot(at.index, at[0.5], "osD^vP*X"[number % 8] + "-", label=words)
            ax.fill_between(at.index, at[0.25], at[0.75], alpha=0.2, linewidth=0)
        ax.set(xlabel="IoU threshold", ylabel="F1", ylim=(-0.02, 1.02))
        ax.grid(alpha=0.3)
        figure.legend(loc="outside right center", frameon=False)
    return figure


def turntable(volume, labels, path, frames=36, side=96, zoom=4, pause=110):
    """Cells on a turntable: they spin about the z axis, nearer ones brighter. An animated GIF, no script, so
    it plays in Colab, Jupyter and saved reports. Writes ``path`` and returns the picture to be shown.

    ``side``: longest side in voxels after shrinking to cubic voxels; ``zoom``: screen pixels a voxel;
    ``pause`` in ms.
    """
    from IPython.display import HTML
    from PIL import Image

    image, cells = _cubic(volume, labels, side)
    palette = basic.random_colours(cells)(np.arange(cells.max() + 1))[:, :3]
    palette[0] = 0.55  # tissue without a cell: grey
    low, high = basic._limits(image)
    bright = np.clip((image - low) / (high - low), 0, 1)
    pictures = [_frame(bright, cells, palette, 360 * i / frames, zoom) for i in range(frames)]
    shared = Image.fromarray(
        np.concatenate([np.asarray(p) for p in pictures[:: max(1, frames // 4)]])
    ).quantize(128)
    pictures = [picture.quantize(palette=shared, dither=Image.Dither.NONE) for picture in pictures]
    held = io.BytesIO()
    pictures[0].save(held, "GIF", save_all=True, append_images=pictures[1:], duration=pause, loop=0)
    with atomic(Path(path)) as beside:
        beside.write_bytes(held.getvalue())
    code = base64.b64encode(held.getvalue()).decode()
    return HTML(f'<img alt="the cells, turning about the z axis" src="data:image/gif;base64,{code}">')


def _cubic(volume, labels, side):
    """Volume and labels with cubic voxels, small enough to turn quickly; labels by nearest neighbour."""
    from scipy import ndimage as ndi

    size = np.asarray(volume.voxel_size or (1.0, 1.0, 1.0))
    extent = size * volume.image.shape
    factor = size / max(size.min(), extent.max() / side)
    return (
        ndi.zoom(volume.image.astype(np.float32), factor, order=1, grid_mode=True, mode="nearest"),
        ndi.zoom(labels, factor, order=0, grid_mode=True, mode="nearest"),
    )


def _frame(bright, cells, palette, angle, zoom):
    """One view from the front: of each line of sight, the voxel that is brightest, dimmed with its depth."""
    from PIL import Image
    from scipy import ndimage as ndi

    across = int(np.ceil(np.hypot(*bright.shape[1:])))
    pads = [(0, 0), *[((across - n) // 2, across - n - (across - n) // 2) for n in bright.shape[1:]]]
    turned = ndi.rotate(np.pad(bright, pads), angle, (1, 2), reshape=False, order=1)
    names = ndi.rotate(np.pad(cells, pads), angle, (1, 2), reshape=False, order=0)
    depth = np.linspace(0.45, 1, across)[None, :, None]  # the last y is nearest
    seen = np.where(names > 0, 0.35 + 0.65 * turned, 0.25 * turned) * depth
    nearest = seen.argmax(1)[:, None]
    value = np.take_along_axis(seen, nearest, 1)[:, 0]
    name = np.take_along_axis(names, nearest, 1)[:, 0]
    picture = (255 * np.clip(palette[name] * value[..., None] * 1.3, 0, 1)).astype(np.uint8)
    return Image.fromarray(picture).resize(
        (picture.shape[1] * zoom, picture.shape[0] * zoom), Image.Resampling.BILINEAR
    )
