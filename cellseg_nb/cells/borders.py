"""The paper's steps for the mouse skull: hollow predictions closed, cells cut by mistake joined."""

import numpy as np

from cellseg_nb.cells import instances
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes

RADIUS, DARKEST, BRIGHTEST = 8, 35.0, 100.0


def closed(prediction, radius=RADIUS):
    """A prediction (Z, Y, X) after a grey closing with a ball of ``radius`` voxels: dark holes and gaps
    narrower than it are filled. float32 of the same shape.

    The ball is made of small steps (scikit-image), which takes a fraction of the time.
    """
    from skimage.morphology import ball, closing

    prediction = np.asarray(prediction, np.float32)
    if prediction.ndim != 3:
        raise UserError(f"the prediction has shape {prediction.shape}: (Z, Y, X) is needed")
    padded = np.pad(prediction, radius, mode="edge")  # else the border of the volume counts as dark
    inner = tuple(slice(radius, radius + side) for side in prediction.shape)
    return closing(padded, ball(radius, decomposition="sequence"))[inner] if radius else prediction


def merged(labels, image, darkest=DARKEST, brightest=BRIGHTEST):
    """Labels (Z, Y, X) int32 where touching cells are one when their border is bright: when the mean of
    ``image`` over the voxels on both sides of it lies from ``darkest`` to ``brightest``.

    Raises UserError for shapes that differ.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    labels, image = np.asarray(labels), np.asarray(image, np.float64)
    if labels.shape != image.shape:
        raise UserError(
            f"the labels have shape {labels.shape}, the image {image.shape}: they must be the same"
        )
    pairs, light = [], []
    for axis in range(3):
        first, second = (np.take(labels, range(*ends), axis) for ends in _sides(labels.shape[axis]))
        touch = (first != second) & (first > 0) & (second > 0)
        pairs.append(np.sort(np.stack([first[touch], second[touch]], 1), axis=1))
        mean = sum(np.take(image, range(*ends), axis)[touch] for ends in _sides(labels.shape[axis])) / 2
        light.append(mean)
    pairs, light = np.concatenate(pairs), np.concatenate(light)
    count = int(labels.max(initial=0)) + 1
    edges, which = np.unique(pairs, axis=0, return_inverse=True)
    level = np.bincount(which.ravel(), light, len(edges)) / np.maximum(np.bincount(which.ravel()), 1)
    a, b = edges[(level >= darkest) & (level <= brightest)].T
    graph = coo_matrix((np.ones(len(a)), (a, b)), (count, count))
    group = connected_components(graph, directed=False)[1]
    group[0] = 0
    return instances.consecutive((group + 1)[labels] * (labels > 0), np.ones(group.max() + 2, bool))


def _sides(length):
    """Where the voxels before and after each border along an axis are."""
    return (0, length - 1), (1, length)


def skull(prediction, min_size=5):
    """Cells of the mouse skull as the paper has them: closing with radius 8, remapping to 0..100,
    Voronoi-Otsu on that, touching cells with a bright border joined. Labels (Z, Y, X) int32."""
    bright = volumes.remap(closed(prediction))
    return merged(instances.published(bright, 0, min_size), bright)
