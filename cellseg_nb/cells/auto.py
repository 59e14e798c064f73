"""``separate = "auto"``: cells from a prepared volume and a probability, by what their size allows."""

import numpy as np

from cellseg_nb.cells import background, instances, spots
from cellseg_nb.cells.separate import separate


def find_cells(
    volume, probability=None, voxel_size=None, diameter=None, *, min_size=0, threshold=0.5, clear=None
):
    """Labels of the cells, (Z, Y, X) int32, 0 is background.

    Cells under two and a half voxels along an axis are bright spots (`cellseg_nb.cells.spots`), which no
    mask tells apart; larger ones are hills of brightness that stay apart where the pass between them is deep
    or both are rounder alone (`cellseg_nb.cells.separate`), and that the probability has touched.

    Parameters
    ----------
    volume : (Z, Y, X) array, as `cellseg_nb.cells.prepare.prepare` gives it
    probability : (Z, Y, X) in 0..1 or None
    voxel_size : (z, y, x) in µm or None
    diameter : of a typical cell in µm, or None: estimated from the volume
    threshold : how probable a larger cell must be in one of its voxels; bright spots are taken without it
    clear : larger cells that rise so many times as far as noise are kept, however unlikely; see `separate`
    min_size : voxels; smaller objects are dropped
    """
    widths, volume = background.widths(voxel_size, diameter), np.asarray(volume, np.float32)
    if diameter and spots.small(widths):
        places, strength, _ = spots.find(volume, widths)
        return instances.filter_size(spots.labels(volume, places, strength, widths), min_size)
    first = volume if probability is None else probability
    labels = separate(
        first,
        voxel_size=voxel_size,
        volume=None if probability is None else volume,
        diameter=diameter,
        likely=threshold,
        clear=clear,
    )
    return instances.filter_size(labels, min_size)
