"""A simulated brain of any size, made piece by piece, with exact truth: no piece needs another.

An ellipsoid of tissue in an empty, dark border; two ventricles without cells; a dense outer layer, a sparser
inside, a dense band; light that fades to one side. Cells stand on a jittered lattice, so that many touch.
Every number follows from the place and the seed alone.
"""

import numpy as np

from cellseg_nb.errors import UserError

TILE = 64  # voxels: noise is drawn in cubes of this side
STEP = 12  # voxels between places of the lattice
JITTER = 3.4  # voxels a cell may lie off its place, along each axis
RADIUS = (3.0, 4.4)  # voxels
WIDER = 1.35  # radii up to which a cell's soft edge is bright
OFFSET, TISSUE, BRIGHT, CAMERA = 90.0, 60.0, 420.0, 5.0  # grey values


def regions(places, shape):
    """What lies at places (z, y, x), three arrays in voxels: 0 empty, 1 ventricle, 2 inside, 3 outer layer, 4
    dense band."""
    z, y, x = (np.float32(2 / (side - 1)) * at - np.float32(1) for at, side in zip(places, shape))
    r = np.sqrt((z / 0.86) ** 2 + (y / 0.8) ** 2 + (x / 0.88) ** 2)
    found = np.where(r < 1, np.int8(2), np.int8(0))
    found[(r < 1) & (r > 0.8)] = 3
    found[(r < 0.8) & (np.abs(r - 0.45) < 0.06) & (y < 0)] = 4
    for side in (-1, 1):
        hole = (z / 0.35) ** 2 + ((y + 0.05) / 0.12) ** 2 + ((x - side * 0.3) / 0.14) ** 2 < 1
        found[hole] = 1
    return found


DENSITY = np.array([0.0, 0.0, 0.5, 0.75, 0.95])  # share of the lattice's places with a cell


def _uniform(number, channel, seed):
    """Numbers in 0..1 that follow from a place of the lattice: splitmix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        x = (
            number.astype(np.uint64) * np.uint64(16)
            + np.uint64(channel)
            + np.uint64(seed) * np.uint64(1 << 40)
        )
        x = (x + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = (x ^ (x >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return ((x ^ (x >> np.uint64(30))) >> np.uint64(11)).astype(float) / 2**53


def cells(box, shape, seed=0):
    """The cells whose soft edge may reach into a box (three slices): numbers (n,) int64 from 1, centres and
    radii (n, 3), brightness (n,)."""
    far = JITTER + RADIUS[1] * 1.15 * WIDER
    steps = [-(-side // STEP) for side in shape]
    ranges = [
        np.arange(max(0, int((s.start - far) // STEP)), min(n, int((s.stop + far) // STEP) + 1))
        for s, n in zip(box, steps)
    ]
    at = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3)
    number = np.ravel_multi_index(tuple(at.T), steps) if len(at) else np.zeros(0, int)
    jitter = np.stack([_uniform(number, c, seed) for c in range(3)], -1) * 2 - 1
    centres = (at + 0.5) * STEP + jitter * JITTER
    there = _uniform(number, 3, seed) < DENSITY[regions(centres.T, shape)]
    radius = RADIUS[0] + _uniform(number, 4, seed) * (RADIUS[1] - RADIUS[0])
    squeeze = np.stack([0.85 + 0.3 * _uniform(number, c, seed) for c in (5, 6, 7)], -1)
    radii = radius[:, None] * squeeze
    there &= ((centres - radii > 1) & (centres + radii < np.array(shape) - 1)).all(1)
    bright = 0.45 + 0.55 * _uniform(number, 8, seed)
    return number[there] + 1, centres[there], radii[there], bright[there]


def render(box, shape, seed=0):
    """A box of the brain, three slices: image (Z, Y, X) uint16 and labels uint32, 0 is background, numbers as
    in `cells`. Raises UserError for a shape that is none."""
    shape = tuple(int(side) for side in shape)
    if len(shape) != 3 or min(shape) < 32:
        raise UserError(f"shape must be three sides (Z, Y, X) of 32 voxels or more, not {shape}")
    box = tuple(slice(*one.indices(side)[:2]) for one, side in zip(box, shape))
    start = np.array([s.start for s in box])
    sides = tuple(s.stop - s.start for s in box)
    labels, nearest = np.zeros(sides, np.uint32), np.full(sides, WIDER**2, np.float32)
    signal = np.zeros(sides, np.float32)
    for number, centre, radii, bright in zip(*cells(box, shape, seed)):
        low = np.maximum(np.floor(centre - radii * WIDER).astype(int) - start, 0)
        high = np.minimum(np.ceil(centre + radii * WIDER).astype(int) + 1 - start, sides)
        if (low >= high).any():
            continue
        part = tuple(slice(a, b) for a, b in zip(low, high))
        grid = np.ogrid[part]
        squared = sum(((g + s - c) / r) ** 2 for g, s, c, r in zip(grid, start, centre, radii)).astype(
            np.float32
        )
        closer = squared < nearest[part]
        nearest[part][closer] = squared[closer]
        signal[part][closer] = (bright * (1 - squared[closer] / WIDER**2)).astype(np.float32)
        labels[part][closer] = np.where(squared[closer] <= 1, number, 0)
    return _seen(signal, box, shape, seed), labels


def _seen(signal, box, shape, seed):
    """Tissue around the cells, light that fades, and the noise of photons and camera."""
    tissue = regions([axis.astype(np.float32) for axis in np.ogrid[box]], shape)
    ground = np.array([0, 0.35, 1.0, 0.85, 1.1], np.float32)[tissue] * TISSUE
    light = 1 - 0.45 * (np.arange(box[2].start, box[2].stop, dtype=np.float32) / shape[2])
    expected = OFFSET + (ground + BRIGHT * signal) * light
    noise = np.empty(signal.shape, np.float32)
    for index in np.ndindex(*[(s.stop - 1) // TILE - s.start // TILE + 1 for s in box]):
        tile = [i + s.start // TILE for i, s in zip(index, box)]
        drawn = np.random.default_rng([seed, *tile]).standard_normal((TILE,) * 3, dtype=np.float32)
        inside = [(max(s.start, t * TILE), min(s.stop, (t + 1) * TILE)) for s, t in zip(box, tile)]
        to = tuple(slice(a - s.start, b - s.start) for (a, b), s in zip(inside, box))
        noise[to] = drawn[tuple(slice(a - t * TILE, b - t * TILE) for (a, b), t in zip(inside, tile))]
    image = expected + noise * np.sqrt(CAMERA**2 + (expected - OFFSET) / 2)
    return np.clip(np.rint(image), 0, 65535).astype(np.uint16)
