"""What a volume's brightness says before anything is learned: faulty voxels out, background flat, noise
known."""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells.background import maxima, of_the_data, spread
from cellseg_nb.errors import UserError


def three(volume, name="the volume"):
    """The volume as (Z, Y, X) float32, NaN and infinity as its median. Raises UserError for other numbers of
    axes."""
    volume = np.asarray(volume)
    if volume.ndim != 3 or not volume.size:
        raise UserError(f"{name} has shape {volume.shape}: three dimensions (Z, Y, X) are needed")
    volume = volume.astype(np.float32)
    finite = np.isfinite(volume)
    if not finite.all():
        volume[~finite] = np.median(volume[finite]) if finite.any() else 0
    return volume


def clean(volume):
    """The volume without faulty voxels. Returns (volume, real), float32 and bool.

    Blank slices (all the same) are filled in from the slices beside them. Padding, where whole cubes of 3 x 3
    x 3 voxels have exactly the lowest value of all, gets the background's value; ``real`` is False there. A
    hot voxel stands alone: above the background it is twice as bright as all of its 26 neighbours but one,
    which no optics makes of a cell; it takes their median.
    """
    volume = _fill_blank(volume.copy())
    real = ~_padding(volume)
    values = volume[real]
    base = float(np.median(values)) if values.size else 0.0
    volume[~real] = base
    noise = spread(values[:: max(1, values.size // 10**6)], base)
    spots = np.stack(np.unravel_index(maxima(volume, volume > base + 6 * noise), volume.shape), 1)
    around = np.array([o for o in np.ndindex(3, 3, 3) if o != (1, 1, 1)]) - 1
    for part in np.array_split(spots, max(1, len(spots) // 10**5)):
        places = np.clip(part[:, None] + around, 0, np.array(volume.shape) - 1)
        near = np.sort(volume[tuple(np.moveaxis(places, -1, 0))], axis=1)
        own = volume[tuple(part.T)]
        hot = own - base > 2 * (near[:, -2] - base) + 6 * noise
        volume[tuple(part[hot].T)] = near[hot, 13]
    return volume, real


def _fill_blank(volume):
    blank = volume.max((1, 2)) == volume.min((1, 2))
    inner = np.flatnonzero(~blank)
    for z in np.flatnonzero(blank):
        below, above = inner[inner < z], inner[inner > z]
        if len(below) and len(above):  # at an end of the volume it is padding
            low, high = below[-1], above[0]
            share = (z - low) / (high - low)
            volume[z] = (1 - share) * volume[low] + share * volume[high]
    return volume


def _padding(volume):
    lowest = volume == volume.min()
    if lowest.mean() < 0.005 or lowest.all():
        return np.zeros(volume.shape, bool)
    cubes = ndi.binary_opening(np.pad(lowest, 1, mode="edge"), np.ones((3, 3, 3)))[1:-1, 1:-1, 1:-1]
    return np.zeros(volume.shape, bool) if cubes.any() and of_the_data(volume, cubes) else cubes


def background(volume, size, diameter):
    """What cells of about ``diameter`` µm stand on: a low percentile over three diameters, smooth. (Z, Y, X)
    float32."""
    step = np.maximum(size, diameter / 1.5)
    coarse = ndi.zoom(
        ndi.gaussian_filter(volume, step / size / 3),
        _to(volume.shape, step / size),
        order=1,
        mode="nearest",
        grid_mode=True,
    )
    low = ndi.percentile_filter(coarse, 20, [2 * round(1.5 * diameter / s) + 1 for s in step], mode="nearest")
    low = ndi.gaussian_filter(low, diameter / 2 / step)
    return ndi.zoom(low, np.array(volume.shape) / low.shape, order=1, mode="nearest", grid_mode=True)


def _to(shape, factor):
    return [max(1, round(side / f)) / side for side, f in zip(shape, factor)]
