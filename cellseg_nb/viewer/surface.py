"""The surfaces of cells as points, for a view in 3D that needs no library."""

import numpy as np

from cellseg_nb.cells import background

MOST = 20000  # points sent to the front end
LARGEST = 4e7  # voxels looked at


def points(labels, voxel_size=None, most=MOST):
    """Voxels at the rims of cells: their places (n, 3) float32, z, y, x in µm, and labels (n,) int32.

    At most ``most``, evenly thinned out; of a large volume only every second voxel, or third, is looked at.
    """
    labels = np.asarray(labels)
    step = max(1, int(np.ceil((labels.size / LARGEST) ** (1 / 3))))
    labels = labels[::step, ::step, ::step]
    inner = labels > 0
    for axis in range(3):
        same = np.moveaxis(labels, axis, 0)[1:] == np.moveaxis(labels, axis, 0)[:-1]
        view = np.moveaxis(inner, axis, 0)
        view[1:] &= same
        view[:-1] &= same
        view[0] = view[-1] = False
    rim = np.flatnonzero((labels > 0) & ~inner)
    rim = rim[:: max(1, -(-len(rim) // most))]
    places = np.column_stack(np.unravel_index(rim, labels.shape))
    size = background.spacing(voxel_size) * step
    return (places * size).astype(np.float32), labels.reshape(-1)[rim].astype(np.int32)
