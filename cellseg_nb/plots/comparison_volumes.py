"""Figures of notebook 05 that show volumes: what each method found, and what each is taught."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from skimage.segmentation import find_boundaries

from cellseg_nb.evaluation import metrics
from cellseg_nb.plots import basic


def slices(image, truth, found, position=None, voxel_size=None, threshold=0.5):
    """Outlines in one slice, one panel a method, after Fig. 1c. ``found`` is {method: labels}; ids match at
    IoU 0.5."""
    z = truth.shape[0] // 2 if position is None else int(position)
    size, unit = voxel_size or (1.0, 1.0, 1.0), "µm" if voxel_size else "voxels"
    extent = (0, truth.shape[2] * size[2], truth.shape[1] * size[1], 0)
    low, high = np.percentile(image, [1, 99.7])
    rows = -(-len(found) // 3)
    outlines = (
        ("right, as found", basic.SKY),
        ("missed, as labelled", basic.ORANGE),
        ("invented", basic.PURPLE),
    )
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(
            rows,
            min(3, len(found)),
            figsize=(4.2 * min(3, len(found)), 4.5 * rows + 0.7),
            squeeze=False,
            sharex=True,
            sharey=True,
        )
        for ax in axes.flat[len(found) :]:
            ax.set_axis_off()
        for ax, (name, labels) in zip(axes.flat, found.items()):
            cells = metrics.quality(truth, labels, threshold)
            ax.imshow(image[z], cmap="gray", vmin=low, vmax=high, extent=extent)
            kinds = ((cells.matched_predicted, labels), (cells.missed, truth), (cells.invented, labels))
            for (ids, source), (_, colour) in zip(kinds, outlines):
                _outline(ax, np.where(np.isin(source[z], ids), source[z], 0), extent, colour)
            ax.set(
                title=f"{name}: {len(cells.matched_true)} right,\n{len(cells.missed)} missed, "
                f"{len(cells.invented)} invented"
            )
        for ax in axes[:, 0]:
            ax.set_ylabel(f"y ({unit})")
        for ax in axes[-1]:
            ax.set_xlabel(f"x ({unit})")
        figure.legend(
            handles=[Line2D([], [], color=colour, linewidth=3, label=words) for words, colour in outlines],
            loc="outside lower center",
            ncols=3,
            frameon=False,
        )
        figure.suptitle(f"slice z = {z}; the numbers are of the whole volume")
    return figure


def _outline(ax, plane, extent, colour):
    """The outermost pixels of each cell of a plane, in one colour."""
    fine = plane.repeat(4, 0).repeat(4, 1)
    edges = find_boundaries(fine, mode="inner")
    rgba = np.zeros((*fine.shape, 4))
    rgba[edges] = plt.matplotlib.colors.to_rgba(colour)
    ax.imshow(rgba, extent=extent)


def targets(image, labels, voxel_size=None):
    """What Cellpose and StarDist are asked to learn from the labels, in the most crowded slice: an arrow
    towards the middle of the cell (here: straight), and the distance to the surface (here: to the nearest
    point of it)."""
    from scipy import ndimage as ndi

    size, unit = voxel_size or (1.0, 1.0, 1.0), "µm" if voxel_size else "voxels"
    z = int((labels > 0).sum((1, 2)).argmax())
    side = [slice(0, min(40, whole)) for whole in labels.shape[1:]]
    plane, cells = image[(z, *side)], labels[(z, *side)]
    extent = (0, cells.shape[1] * size[2], cells.shape[0] * size[1], 0)
    ids = np.unique(cells[cells > 0])
    middle = dict(zip(ids, ndi.center_of_mass(cells > 0, cells, ids)))
    depth = np.zeros(cells.shape)
    for cell in ids:
        depth += ndi.distance_transform_edt(np.pad(cells == cell, 1), sampling=size[1:])[1:-1, 1:-1]
    where = np.argwhere(cells > 0)[::2]
    arrows = np.array([np.subtract(middle[cells[tuple(p)]], p) for p in where]).reshape(-1, 2)
    arrows = arrows / np.maximum(np.linalg.norm(arrows, axis=1, keepdims=True), 1e-9)
    with plt.rc_context(basic.STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(12.5, 4.3), sharey=True)
        for ax in axes[:2]:
            ax.imshow(
                plane,
                cmap="gray",
                vmin=np.percentile(plane, 1),
                vmax=np.percentile(plane, 99.7),
                extent=extent,
            )
            _outline(ax, cells, extent, basic.SKY)
        axes[1].quiver(
            (where[:, 1] + 0.5) * size[2],
            (where[:, 0] + 0.5) * size[1],
            arrows[:, 1],
            -arrows[:, 0],
            color=basic.ORANGE,
            scale=28,
            width=0.006,
        )
        shown = axes[2].imshow(depth, cmap="viridis", extent=extent)
        figure.colorbar(shown, ax=axes[2], label=f"distance ({unit})", shrink=0.85)
        for ax, words in zip(axes, ("the labels of one slice", "Cellpose: arrows", "StarDist: distances")):
            ax.set(title=words, xlabel=f"x ({unit})")
        axes[0].set_ylabel(f"y ({unit})")
    return figure
