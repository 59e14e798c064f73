"""Labels out of files: one whole number a cell, 0 is background; anything else is told in one line."""

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import tiff
from cellseg_nb.io.axes import three_axes
from cellseg_nb.io.files import as_path


def read_labels(path):
    """Read labels from a TIFF: (Z, Y, X) int32, 0 = background, and the voxel size (z, y, x) in µm or None.

    More than 65,535 cells are fine; so are whole numbers stored as float. Raises UserError like `read`, and
    for labels that are fractions, negative or above 2,147,483,647.
    """
    path = as_path(path)
    labels, voxel_size = tiff.load(path, None, quiet=True, turn=False)
    labels = three_axes(labels, path, 1)
    if labels.dtype.kind not in "buif":
        raise UserError(
            f"{path} holds {labels.dtype} values: labels must be whole numbers; save them as 16-bit or 32-bit"
        )
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
        raise UserError(
            f"{path} holds numbers that are not whole, so these are not labels: give the label "
            "file, not the image or the probability"
        )
    if labels.min() < 0:
        raise UserError(
            f"{path} holds negative labels (down to {labels.min():g}): set them to 0, the background"
        )
    if labels.max() > 2**31 - 1:
        raise UserError(
            f"{path} holds labels up to {labels.max():g}, above 2147483647: number the cells from 1 again"
        )
    return np.ascontiguousarray(labels, dtype=np.int32), voxel_size
