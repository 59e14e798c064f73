"""Simulated tissues of many kinds, drawn at random: what the network of `cellseg_nb.methods.prior` has seen.

Everything is measured in the diameter of a typical cell. A tissue is made as a microscope makes it: cells of
one layout and shape, their brightness, what else shines, blur, noise, faults of the camera.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi

LAYOUTS = ("sparse", "scattered", "packed", "clump", "tiny")
END = 0.3  # a cell is drawn to where its blurred brightness has fallen to this share of its height
SEEN = 4.0  # times the noise, averaged over a third of a cell, that a cell must rise to be in the truth
FAINT = 0.12  # of a bright cell's height: what is fainter is not in the truth
THICK = 30  # voxels along each axis, at least


@dataclass
class Tissue:
    """``image`` (Z, Y, X) float32 on the grid of the microscope; ``labels`` (Z, Y, X) int32; ``width``: of a
    typical cell in voxels along (Z, Y, X)."""

    image: np.ndarray
    labels: np.ndarray
    width: np.ndarray


def draw(seed, side=9.0, layout=None):
    """One `Tissue`, the same for the same seed.

    side : of the volume, in cell diameters; along each axis at least `THICK` voxels
    layout : a name out of `LAYOUTS`; None: any
    """
    rng = np.random.default_rng([seed, 14])
    layout = layout or str(rng.choice(LAYOUTS, p=(0.15, 0.2, 0.2, 0.25, 0.2)))
    width = _width(rng, layout)
    side = np.maximum(side, THICK / width)
    shape = np.round(side * width).astype(int)
    centres, axes, turns = _cells(rng, layout, side)
    dome, labels, depth = _bodies(rng, shape, width, centres, axes, turns)
    share = 10 ** rng.uniform(-0.9, -0.05)
    heights = share ** rng.uniform(0, 1, len(centres))  # even in the logarithm, from the dimmest to 1
    blur = width * rng.uniform(0.03, 0.14) * (rng.uniform(1, 2.5), 1, 1)
    glow = np.concatenate([[0], heights]).astype(np.float32)
    signal = ndi.gaussian_filter(glow[labels] * dome, blur)
    solid = ndi.gaussian_filter(glow[labels] * (1 - 0.6 * depth), blur)
    other = _background(rng, shape, width, layout, centres)
    image, noise = _camera(rng, signal + other, width)
    truth = _truth(labels, solid, heights, noise)
    return Tissue(image, truth, width)


def _width(rng, layout):
    """Of a cell, in voxels along Z, Y, X."""
    if layout == "tiny":
        across = rng.uniform(3.5, 7.5)
        return np.array([across / rng.uniform(1, 4), across, across]).clip(1.4)
    across = np.exp(rng.uniform(np.log(4), np.log(12)))
    coarse = 1.0 if rng.random() < 0.3 else rng.uniform(1, 4)
    return np.array([max(across / coarse, 2.2), across, across])


# ---------------------------------------------------------------- cells


def _cells(rng, layout, side):
    """Centres (n, 3), half axes (n, 3), both in cell diameters, and rotations (n, 3, 3)."""
    spread = rng.uniform(0.03, 0.25)
    stretch = rng.uniform(0, 0.6) if rng.random() < 0.25 else rng.uniform(0, 0.2)
    two = rng.uniform(0.5, 0.75) if rng.random() < 0.2 else 1.0  # a second, smaller kind
    closest = {"sparse": 0.9, "scattered": 0.9, "packed": 0.75, "clump": 0.8, "tiny": 1.0}[layout]
    closest *= rng.uniform(0.8, 1.15)
    volume = side.prod()
    if layout == "clump":
        radii = side * rng.uniform(0.2, 0.45, 3)
        middle = side * rng.uniform(0.35, 0.65, 3)
        volume = 4.19 * radii.prod()
    most = {
        "sparse": rng.integers(1, 20),
        "scattered": volume * rng.uniform(0.03, 0.3),
        "packed": volume * rng.uniform(0.5, 2.0),
        "clump": volume * rng.uniform(0.3, 2.0),
        "tiny": volume * 10 ** rng.uniform(-2.5, -0.5),
    }[layout]
    centres, radii_now = np.zeros((0, 3)), np.zeros(0)
    touching = rng.uniform(0, 0.6) if layout in ("scattered", "sparse") else 0
    for _ in range(int(most * 6)):
        if len(centres) >= most:
            break
        radius = 0.5 * np.exp(rng.normal(0, spread)) * (two if rng.random() < 0.4 else 1)
        place = rng.uniform(-0.3, side + 0.3, 3)
        if layout == "clump":
            step = rng.normal(size=3)
            place = middle + radii * step / np.linalg.norm(step) * rng.uniform() ** (1 / 3)
        if len(centres) and rng.random() < touching:
            step = rng.normal(size=3)
            other = rng.integers(len(centres))
            place = centres[other] + step / np.linalg.norm(step) * (radius + radii_now[other]) * closest
        far = np.linalg.norm(centres - place, axis=1)
        if (far > closest * (radii_now + radius)).all():
            centres, radii_now = np.vstack([centres, place]), np.append(radii_now, radius)
    ratios = np.exp(rng.normal(0, 0.08, (len(centres), 3)) + stretch * np.array([1, -0.5, -0.5]))
    turns = np.linalg.qr(rng.normal(size=(max(1, len(centres)), 3, 3)))[0]
    if rng.random() < 0.3:
        turns[:] = turns[:1]  # all the same way, as in a layer
    return centres, radii_now[:, None] * ratios, turns


def _bodies(rng, shape, width, centres, axes, turns):
    """Brightness inside of the cells (0..1), their labels, and r² (0 in the middle of a cell, 1 at its
    edge)."""
    labels, nearest = np.zeros(shape, np.int32), np.ones(shape, np.float32)
    uneven = rng.uniform(0, 0.25) if rng.random() < 0.5 else 0
    for number, (centre, half, turn) in enumerate(zip(centres, axes, turns), 1):
        reach = half.max() * (1 + uneven)
        low = np.clip(np.floor((centre - reach) * width), 0, shape).astype(int)
        high = np.clip(np.ceil((centre + reach) * width) + 1, 0, shape).astype(int)
        if (high <= low).any():
            continue
        box = tuple(slice(a, b) for a, b in zip(low, high))
        grid = np.ogrid[box]
        away = np.stack(np.broadcast_arrays(*[(g + 0.5) / w - c for g, w, c in zip(grid, width, centre)]), -1)
        away = away @ turn / half
        far = np.sqrt((away**2).sum(-1))
        if uneven:  # dents and bulges, as a few waves over the directions
            waves = rng.normal(size=(3, 3)) * 2.5
            bumps = np.cos(away / np.maximum(far, 1e-3)[..., None] @ waves + rng.uniform(0, 6.3, 3)).sum(-1)
            far = far / (1 + uneven * bumps / 3)
        won = far < nearest[box]
        labels[box][won], nearest[box][won] = number, far[won]
    squared = nearest**2 * (labels > 0)
    kind = rng.choice(["dome", "flat", "hollow"], p=(0.55, 0.25, 0.2))
    inside = {
        "dome": 1 - rng.uniform(0.4, 0.9) * squared,
        "flat": np.ones(shape, np.float32),
        "hollow": 1 - rng.uniform(0.3, 0.8) * (squared < rng.uniform(0.25, 0.6)),
    }[kind]
    if rng.random() < 0.4:
        inside = inside * np.clip(1 + rng.uniform(0.1, 0.5) * _grain(rng, shape, 0.15 * width), 0, 2)
    return (inside * (labels > 0)).astype(np.float32), labels, squared


def _truth(labels, solid, heights, noise):
    """The cells that can be seen, each to `END` of its own height; blurred light belongs to the nearest
    cell."""
    if not len(heights):
        return labels
    numbers, peaks = np.unique(labels[labels > 0]), np.zeros(len(heights) + 1)
    if len(numbers):
        peaks[numbers] = ndi.maximum(solid, labels, numbers)
    keep = (peaks > SEEN * noise) & (peaks > FAINT * np.percentile(peaks[1:], 90))
    far, at = ndi.distance_transform_edt(labels == 0, return_indices=True)
    near = np.where(far <= 2, labels[tuple(at)], 0)
    grown = np.where(solid > END * peaks[near], near, 0)
    grown[~keep[grown]] = 0
    return grown.astype(np.int32)


# ---------------------------------------------------------------- what else shines


def _grain(rng, shape, sigma):
    """Smooth noise of standard deviation 1."""
    field = ndi.gaussian_filter(rng.normal(size=shape).astype(np.float32), sigma, mode="wrap")
    return field / max(float(field.std()), 1e-6)


def _background(rng, shape, width, layout, centres):
    """Haze, slopes, texture, glow of the tissue, vessels and fibres; bright cells have height 1."""
    grid = [np.linspace(0, 1, side).reshape([-1 if a == i else 1 for a in range(3)])
            for i, side in enumerate(shape)]  # fmt: skip
    field = np.zeros(shape, np.float32)
    if rng.random() < 0.5:
        field += rng.uniform(0, 1) * sum(float(w) * g for w, g in zip(rng.normal(size=3), grid))
    if rng.random() < 0.6:
        field += rng.uniform(0, 0.25) * _grain(rng, shape, width * rng.uniform(1, 3))
    if rng.random() < 0.5:  # blotches, dimmer than cells and of any size
        grain = _grain(rng, shape, width * rng.uniform(0.15, 0.8))
        field += rng.uniform(0.02, 0.12) * grain * (rng.uniform(0.3, 1) if layout != "tiny" else 1)
    if layout == "clump" and len(centres) and rng.random() < 0.7:  # light from above and below the clump
        seeds = np.zeros(shape, np.float32)
        at = np.clip((centres * width).astype(int), 0, np.array(shape) - 1)
        seeds[tuple(at.T)] = 1
        glow = ndi.gaussian_filter(seeds, width * rng.uniform(0.6, 1.2) * (1.5, 1, 1))
        field += rng.uniform(0.05, 0.4) * glow / max(float(glow.max()), 1e-6)
    for _ in range(rng.integers(1, 4) if rng.random() < 0.25 else 0):
        field += _tube(rng, shape, width)
    if rng.random() < 0.12:  # the edge of the tissue: outside it is dark, inside it glows
        edge = _grain(rng, shape, width * 3) > rng.uniform(-0.5, 0.5)
        field += rng.uniform(0.1, 0.6) * ndi.gaussian_filter(edge.astype(np.float32), 0.2 * width)
    return field - field.min() + rng.uniform(0, 1)


def _tube(rng, shape, width):
    """A vessel or a fibre from one side to the other, brighter or darker than the rest."""
    start, way = rng.uniform(0, 1, 3), rng.normal(size=3)
    way /= np.linalg.norm(way)
    grid = np.ogrid[tuple(slice(s) for s in shape)]
    away = [g / w - s * side / w for g, w, s, side in zip(grid, width, start, shape)]
    along = sum(a * v for a, v in zip(away, way))
    bend = rng.uniform(0, 1) * np.sin(along * rng.uniform(0.3, 1))
    squared = sum((a - along * v + bend * (i == 1)) ** 2 for i, (a, v) in enumerate(zip(away, way)))
    radius = np.exp(rng.uniform(np.log(0.06), np.log(0.8)))
    light = rng.uniform(0.2, 1.5) if rng.random() < 0.8 else -0.3
    return light * np.exp(-squared / radius**2).astype(np.float32)


# ---------------------------------------------------------------- camera


def _camera(rng, light, width):
    """The recorded image, and the noise that is left in the mean over a third of a cell."""
    photons = 10 ** rng.uniform(1.2, 3.3)
    read = 10 ** rng.uniform(-2.2, -1.0)
    image = rng.poisson(np.clip(light, 0, None) * photons) / photons + rng.normal(0, read, light.shape)
    sigma = np.sqrt(float(np.median(light)) / photons + read**2)
    if rng.random() < 0.3:  # neighbours share their noise, as after a deconvolution or a resampling
        soft = rng.uniform(0.4, 0.8)
        image = ndi.gaussian_filter(image, (0, soft, soft))
    voxels = max(1.0, float(np.prod(np.maximum(width / 3, 1))))
    if rng.random() < 0.2:
        end = rng.uniform(0.2, 0.8)
        image = image * end ** np.linspace(0, 1, len(image))[:: rng.choice([-1, 1]), None, None]
    if rng.random() < 0.2:
        lines = rng.normal(0, rng.uniform(0.2, 1) * sigma, (len(image), image.shape[1], 1))
        image = image + lines
    if rng.random() < 0.15:
        at = rng.integers(0, image.size, rng.integers(1, 8))
        image.ravel()[at] += rng.uniform(0.5, 5, len(at))
    return image.astype(np.float32), sigma / np.sqrt(voxels)
