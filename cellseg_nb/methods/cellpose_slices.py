"""The 2D slices that Cellpose learns from, and volumes back in their own shape."""

import numpy as np
from scipy import ndimage as ndi


def slices(images, labels, settings):
    """2D slices that hold a cell, and their labels: two lists. The volumes (Z, Y, X) have cubic voxels;
    ``settings`` say which directions to cut along (``planes``) and how many slices to draw (``slices``)."""
    found = []
    for scaled, label in zip(images, labels):
        for axis in (0, 1, 2) if settings["planes"] == "all" else (0,):
            found += [
                (scaled.take(i, axis), label.take(i, axis))
                for i in range(label.shape[axis])
                if label.take(i, axis).any()
            ]
    wanted = settings["slices"] or len(found)
    if len(found) > wanted:
        rng = np.random.default_rng(settings["seed"])
        found = [found[i] for i in sorted(rng.choice(len(found), wanted, replace=False))]
    return [plane for plane, _ in found], [mask for _, mask in found]


def mean_diameter(masks):
    """Mean over the slices of the median diameter of their cells (of the disc with as many pixels), in
    pixels."""
    sizes = [np.bincount(mask.ravel())[1:] for mask in masks]
    return float(np.mean([np.median(np.sqrt(4 * size[size > 0] / np.pi)) for size in sizes if size.any()]))


def to_shape(volume, shape, order):
    """Resampled to a shape, where it has another one."""
    if volume.shape == tuple(shape):
        return volume
    return ndi.zoom(
        volume, [b / a for a, b in zip(volume.shape, shape)], order=order, mode="nearest", grid_mode=True
    )
