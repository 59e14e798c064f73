"""Light-sheet-like volumes with exact truth, to learn on and to test with: bright cell bodies on a dim,
uneven background.

Made in the order a microscope makes them: cells of varied size and brightness, some of them touching; blur,
stronger along z; uneven illumination; photons (Poisson noise) and camera (Gaussian noise).
"""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.errors import UserError


def volume(
    shape=(64, 80, 80),
    cells=80,
    seed=0,
    radius=(3.2, 4.6),
    voxel_size=(1.0, 1.0, 1.0),
    touching=0.25,
    dim=0.36,
    uneven=0.2,
    background=100.0,
    brightness=900.0,
    blur=(0.9, 0.5, 0.5),
    photons=2.0,
    camera=4.0,
    artefact=False,
):
    """Simulate a volume.

    Parameters
    ----------
    shape : (Z, Y, X)
    cells : int
        How many to place; fewer fit when the volume is too small.
    radius : (smallest, largest), in units of ``voxel_size`` (voxels by default)
    voxel_size : (z, y, x)
        Only the proportions matter: cells are as round in µm as ``radius`` says, hence flat in voxels along a
        coarse axis.
    touching : float
        Share of the cells placed right beside another one.
    dim : float
        Brightness of the dimmest cell as a share of ``brightness``.
    uneven : float
        How much the illumination changes across the volume; 0: not at all.
    blur : (z, y, x) sigma in voxels
    photons : float
        Photons per grey value: fewer make more shot noise.
    camera : float
        Standard deviation of the camera's noise, in grey values.
    artefact : bool
        Add a bright, ragged sheet without cells in the last quarter of the slices, like the edge of a tissue.

    Returns
    -------
    image : (Z, Y, X) uint16
    labels : (Z, Y, X) int32, 0 is background, cells are 1..n, each present
    """
    shape = tuple(int(side) for side in shape)
    if len(shape) != 3 or min(shape) < 8:
        raise UserError(f"shape must be three sides (Z, Y, X) of 8 voxels or more, not {shape}")
    rng = np.random.default_rng(seed)
    size = np.asarray(voxel_size, float)
    labels, dome = _place(rng, shape, cells, radius, size, touching)
    glow = np.concatenate([[0.0], rng.uniform(dim, 1.0, labels.max()) * brightness]).astype(np.float32)
    light = _smooth_field(rng, shape, 0.5)
    signal = glow[labels] * dome
    haze = background * (1 + 0.25 * _smooth_field(rng, shape, 0.25))
    if artefact:
        signal = np.maximum(signal, _sheet(rng, shape, labels) * brightness)
    signal = ndi.gaussian_filter(signal, blur)
    expected = np.clip((signal + haze) * (1 + uneven * light), 1, None)
    image = rng.poisson(expected * photons) / photons + rng.normal(0, camera, shape)
    return np.clip(np.round(image), 0, 65535).astype(np.uint16), labels


def _place(rng, shape, cells, radius, size, touching):
    """Ellipsoids that never overlap: each is tried at random places until it fits beside those that are
    there."""
    labels, dome = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    centres, radii = [], []
    for _ in range(cells * 60):
        if len(centres) == cells:
            break
        axes = rng.uniform(*radius) * rng.uniform(0.85, 1.15, 3)
        if centres and rng.random() < touching:
            other = rng.integers(len(centres))
            direction = rng.normal(size=3)
            direction /= np.linalg.norm(direction)
            centre = centres[other] + direction * (radii[other] + axes.mean()) * 1.02
        else:
            centre = rng.uniform(0, 1, 3) * (np.array(shape) - 1) * size
        if _draw(labels, dome, centre, axes, size, len(centres) + 1):
            centres.append(centre)
            radii.append(float(axes.mean()))
    return labels, dome


def _draw(labels, dome, centre, axes, size, number):
    """Draw one ellipsoid, brightest in its middle, if it is inside the volume and takes no voxel of another
    cell."""
    low = np.floor((centre - axes) / size).astype(int)
    high = np.ceil((centre + axes) / size).astype(int) + 1
    if (low < 0).any() or (high > labels.shape).any():
        return False
    box = tuple(slice(a, b) for a, b in zip(low, high))
    squared = sum(((g * s - c) / a) ** 2 for g, s, c, a in zip(np.ogrid[box], size, centre, axes))
    inside = squared <= 1
    if not inside.any() or labels[box][inside].any():
        return False
    labels[box][inside] = number
    dome[box][inside] = 1 - 0.6 * squared[inside]
    return True


def _smooth_field(rng, shape, scale):
    """A smooth random field, about -1 to 1, that changes over ``scale`` of the volume's sides."""
    coarse = rng.uniform(-1, 1, [max(2, round(1 / scale) + 1)] * 3)
    field = ndi.zoom(
        coarse, [side / c for side, c in zip(shape, coarse.shape)], order=3, mode="nearest", grid_mode=True
    )
    return np.clip(field, -1, 1)


def _sheet(rng, shape, labels):
    """A ragged bright sheet in the last quarter of the slices that spares the cells."""
    rough = ndi.gaussian_filter(rng.normal(size=shape), (1.5, 4, 4))
    sheet = rough > np.quantile(rough, 0.55)
    sheet[: shape[0] * 3 // 4] = False
    sheet &= ndi.binary_dilation(labels > 0, iterations=2) == 0
    return sheet * rng.uniform(0.7, 1.1)
