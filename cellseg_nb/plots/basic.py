"""Figures. Every function draws on given axes or makes its own, and returns the matplotlib figure.

Grey volumes, colours that colour-blind readers can tell apart (Okabe & Ito 2008), text that a projector can
show.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
STYLE = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 80,
    "figure.constrained_layout.use": True,
    "image.interpolation": "nearest",
}


def random_colours(labels, seed=1):
    """A colour map that gives each label its own bright colour and the background none."""
    rng = np.random.default_rng(seed)
    hues = rng.permutation(int(np.max(labels, initial=0)))
    colours = plt.get_cmap("hsv")(hues / max(1, len(hues)))
    colours[:, :3] = 0.25 + 0.75 * colours[:, :3]
    return ListedColormap(np.vstack([[0, 0, 0, 0], colours]) if len(hues) else [[0, 0, 0, 0]])


def _limits(volume):
    if hasattr(volume, "limits"):
        return volume.limits()
    low, high = np.percentile(volume, [1, 99.7])
    return float(low), float(high if high > low else low + 1)


def rims(cut):
    """A slice of labels of which only the rims of the cells are left: part of a voxel wide where voxels are
    drawn large, so that a rim hides little of a small cell. The array is then larger than the slice."""
    from skimage.segmentation import find_boundaries

    finer = max(1, 500 // max(cut.shape))
    cut = np.asarray(cut).repeat(finer, 0).repeat(finer, 1)
    inside = cut.copy()
    for _ in range(min(3, finer)):
        inside[find_boundaries(inside, mode="inner")] = 0
    return np.where(inside == 0, cut, 0)


def _planes(volume, position):
    if hasattr(volume, "plane"):
        return [volume.plane(axis, index) for axis, index in enumerate(position)]
    z, y, x = position
    return volume[z], volume[:, y], volume[:, :, x]


def orthogonal(volume, labels=None, position=None, voxel_size=None, title=None, limits=None):
    """Three slices through a (Z, Y, X) volume that meet in one point, drawn to scale; labels as coloured
    outlines.

    Both may be a `cellseg_nb.viewer.source.Source`, of which only these slices are read. ``position`` is
    (z, y, x) in voxels, the middle by default; ``voxel_size`` in µm; ``limits`` (dark, bright) of the grey.
    """
    position = [
        int(np.clip(p, 0, s - 1)) for p, s in zip(position or [s // 2 for s in volume.shape], volume.shape)
    ]
    size = voxel_size or (1.0, 1.0, 1.0)
    unit = "µm" if voxel_size else "voxels"
    low, high = limits or _limits(volume)
    cuts, colours = _coloured(labels, position) if labels is not None else ((), None)
    names = (("x", "y"), ("x", "z"), ("y", "z"))
    steps = ((2, 1), (2, 0), (1, 0))
    extents = [(0, volume.shape[a] * size[a], volume.shape[b] * size[b], 0) for a, b in steps]
    tall = max(extent[2] / extent[1] for extent in extents)  # a flat volume needs no tall figure
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(13, min(4.6, 1.2 + 3.6 * tall)))
        for i, (ax, plane) in enumerate(zip(axes, _planes(volume, position))):
            ax.imshow(plane, cmap="gray", vmin=low, vmax=high, extent=extents[i])
            if labels is not None:
                ax.imshow(rims(cuts[i]), cmap=colours, vmin=0, vmax=max(1, colours.N - 1), extent=extents[i])
            across = "zyx"[i]
            ax.set(
                xlabel=f"{names[i][0]} ({unit})",
                ylabel=f"{names[i][1]} ({unit})",
                title=f"slice {across} = {position[i]}",
            )
        if title:
            figure.suptitle(title, fontsize=14)
    return figure


def _coloured(labels, position):
    """Slices of labels that meet in a point, and their colours; on disk nobody knows the highest number."""
    cuts = _planes(labels, position)
    if isinstance(labels, np.ndarray):
        return cuts, random_colours(labels)
    return [np.where(cut > 0, (cut.astype(np.int64) - 1) % 255 + 1, 0) for cut in cuts], random_colours(255)


def projection(volume, labels=None, voxel_size=None, title="Maximum projection along z"):
    """Brightest voxel along z, next to it the labels in colour where there are any."""
    size = voxel_size or (1.0, 1.0, 1.0)
    unit = "µm" if voxel_size else "voxels"
    extent = (0, volume.shape[2] * size[2], volume.shape[1] * size[1], 0)
    low, high = _limits(volume.max(0))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1,
            1 if labels is None else 2,
            figsize=(6 if labels is None else 11.5, 5.2),
            squeeze=False,
            sharey=True,
        )
        axes[0, 0].imshow(volume.max(0), cmap="gray", vmin=low, vmax=high, extent=extent)
        axes[0, 0].set(title=title, xlabel=f"x ({unit})", ylabel=f"y ({unit})")
        if labels is not None:
            axes[0, 1].imshow(volume.max(0), cmap="gray", vmin=low, vmax=high, extent=extent)
            axes[0, 1].imshow(
                labels.max(0),
                cmap=random_colours(labels),
                vmin=0,
                vmax=max(1, labels.max()),
                extent=extent,
                alpha=0.75,
            )
            axes[0, 1].set(title=f"{len(np.unique(labels)) - 1} cells, one colour each", xlabel=f"x ({unit})")
    return figure


def histogram(volume, title="How bright the voxels are"):
    """Brightness of all voxels, counted on a log scale: cells are the long tail on the right."""
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(7, 3.4))
        ax.hist(np.ravel(volume), bins=200, color=BLUE)
        ax.set(yscale="log", xlabel="brightness (as in the file)", ylabel="voxels", title=title)
    return figure


def curves(history, terms=("n_cuts", "reconstruction"), figure=None):
    """Loss terms over the epochs, one panel each, on a log scale."""
    with plt.rc_context(STYLE):
        figure = figure or plt.figure(figsize=(11, 3.4))
        axes = figure.subplots(1, len(terms), squeeze=False)[0]
        for ax, term, colour in zip(axes, terms, (BLUE, ORANGE, GREEN, RED)):
            epochs = [row["epoch"] for row in history]
            ax.plot(epochs, [row[term] for row in history], color=colour, marker="o", markersize=3)
            ax.set(xlabel="epoch", ylabel=term.replace("_", " "), yscale="log")
            low, high = ax.get_ylim()
            ax.yaxis.set_major_formatter("{x:g}")  # 240 and 0.01, no powers of ten
            ax.yaxis.set_minor_formatter("{x:g}" if high < 10 * low else "")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.grid(alpha=0.3)
    return figure


def class_map(plane, classes, title=None):
    """A slice beside the probability of each class in it. plane (Y, X), classes (K, Y, X)."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 1 + len(classes), figsize=(4 * (1 + len(classes)), 3.9))
        low, high = _limits(plane)
        axes[0].imshow(plane, cmap="gray", vmin=low, vmax=high)
        axes[0].set_title("the slice")
        for k, (ax, share) in enumerate(zip(axes[1:], classes)):
            shown = ax.imshow(share, cmap="viridis", vmin=0, vmax=1)
            ax.set_title(f"class {k}")
        for ax in axes:
            ax.set(xlabel="x (voxels)", ylabel="y (voxels)" if ax is axes[0] else "")
        figure.colorbar(shown, ax=axes, label="probability", shrink=0.8)
        if title:
            figure.suptitle(title)
    return figure


def sizes(cells, unit="µm"):
    """Histogram of cell diameters and of volumes from a table of cells."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 3.6))
        for ax, column, label in zip(
            axes,
            ("equivalent_diameter_um", "volume_um3"),
            (f"diameter of a ball of the same volume ({unit})", f"volume ({unit}³)"),
        ):
            values = cells[column]
            ax.hist(values, bins=min(40, max(5, len(values) // 5)), color=GREEN, edgecolor="white")
            if len(values):
                middle = values.median()
                ax.axvline(
                    middle,
                    color="black",
                    linestyle="--",
                    label=f"median {middle:,.0f}" if middle >= 1000 else f"median {middle:.3g}",
                )
                ax.legend(frameon=False)
            ax.set(xlabel=label, ylabel="cells")
    return figure


def live(curves=curves):
    """A ``show`` function for `cellseg_nb.learning.monitor.Watch`: curves and class maps in one place of the
    notebook, redrawn as they form. ``curves`` draws a history."""
    from IPython.display import display

    places = {}

    def show(history, plane, classes):
        figures = {
            "curves": curves(history),
            "classes": class_map(plane, classes, f"classes after epoch {history[-1]['epoch']}"),
        }
        for name, figure in figures.items():
            if name in places:
                places[name].update(figure)
            else:
                places[name] = display(figure, display_id=True)
            plt.close(figure)

    return show
