"""Pictures of notebook 00: what disturbs a volume and what is left of it, and how large cells are."""

import matplotlib.pyplot as plt
import numpy as np

from cellseg_nb.plots.basic import ORANGE, RED, STYLE


def _limits(volume):
    return np.percentile(volume, (0.5, 99.8))


def mended(image, prepared, voxel_size=None):
    """A slice as in the file and as prepared, side by side; shaded what was left out.

    ``image`` (Z, Y, X); ``prepared``: a `cellseg_nb.cells.prepare.Prepared` of its shape.
    The slice is the one of which most was left out, else the middle one.
    """
    left_out = ~prepared.valid
    changed = left_out.sum((1, 2))
    z = int(np.argmax(changed)) if changed.any() and not changed.min() else image.shape[0] // 2
    size = voxel_size or (1.0, 1.0, 1.0)
    unit = "µm" if voxel_size else "voxels"
    extent = (0, image.shape[2] * size[2], image.shape[1] * size[1], 0)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
        for ax, volume, title in zip(
            axes, (image, prepared.volume), ("as in the file", "as it is learned from")
        ):
            low, high = _limits(volume)
            ax.imshow(volume[z], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=extent)
            ax.set(title=f"{title}, slice z = {z}", xlabel=f"x ({unit})", ylabel=f"y ({unit})")
        if left_out[z].any():
            red = np.zeros((*left_out[z].shape, 4))
            red[left_out[z]] = (*plt.matplotlib.colors.to_rgb(RED), 0.45)
            axes[1].imshow(red, extent=extent)
            axes[1].set(title=f"{axes[1].get_title()}; shaded: left out")
    return figure


def cell_size(image, diameter, places, voxel_size=None):
    """The brightest voxel along z, and circles as wide as a cell is taken to be (``diameter`` in µm).

    ``places`` (n, 3): the centres of the circles, z, y, x in voxels.
    """
    size = voxel_size or (1.0, 1.0, 1.0)
    unit = "µm" if voxel_size else "voxels"
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(6.4, 6.4), layout="constrained")
        top = image.max(0)
        low, high = _limits(top)
        extent = (0, image.shape[2] * size[2], image.shape[1] * size[1], 0)
        ax.imshow(top, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=extent)
        for _, y, x in places:
            place = ((x + 0.5) * size[2], (y + 0.5) * size[1])
            ax.add_patch(plt.Circle(place, diameter / 2, fill=False, color=ORANGE, linewidth=2))
        ax.set(title=f"circles: {diameter:.3g} {unit} across", xlabel=f"x ({unit})", ylabel=f"y ({unit})")
    return figure
