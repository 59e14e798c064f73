"""Cubes for training from where something was measured; where cells are rare, from where cells may be."""

import functools
from dataclasses import dataclass

import numpy as np

from cellseg_nb.learning import augmentation, cubes as sampling, loader

TRIES = 20  # places looked at for one cube
MEASURED = 0.7  # share of a cube that should have been measured
# share of the cubes that are drawn around cells where cells are rare; the others show the background
CELLS = 0.75
# cubes of half the side where cells are rare (and 8 times as many): a cell must fill a few percent of one
SMALLER = 2


@dataclass
class Guide:
    """Of one volume: ``valid`` (Z, Y, X) bool or None (all), ``focus`` (Z, Y, X) bool or None (anywhere)."""

    valid: np.ndarray | None = None
    focus: np.ndarray | None = None


def cube_batches(volumes, size=32, batch=2, steps=10, guides=None, remapped=False):
    """As `cellseg_nb.learning.cubes.cube_batches`, led by one `Guide` a volume; without, the same."""
    plain = sampling.cube_batches(volumes, size, batch, steps, remapped=remapped)  # checks the sizes
    guides = guides or [Guide()] * len(volumes)
    if all(guide.valid is None and guide.focus is None for guide in guides):
        return plain
    if any(guide.focus is not None for guide in guides):
        size, batch = max(8, size // SMALLER // 8 * 8), batch * SMALLER**3
    weights = np.array([v.size if g.valid is None else g.valid.sum() for v, g in zip(volumes, guides)], float)
    weights /= weights.sum()
    spots = [None if g.focus is None else np.argwhere(g.focus) for g in guides]

    def drawn(rng):
        for _ in range(steps):
            picks = rng.choice(len(volumes), size=batch, p=weights)
            yield [
                (i, _box(rng, volumes[i].shape, size, guides[i].valid, spots[i]), sampling.turn(rng))
                for i in picks
            ]

    return loader.Batches(drawn, functools.partial(sampling.cut, volumes, remapped))


def _box(rng, shape, size, valid, spots):
    """Slices of the first of some random cubes that is measured well enough, or the best of them."""
    near = spots is not None and len(spots) and rng.random() < CELLS
    best = None
    for _ in range(TRIES):
        box = sampling.random_box(rng, shape, size)
        if near:
            box = augmentation.centred_box(rng, shape, spots, (size,) * 3)
        share = 1.0 if valid is None else float(valid[box].mean())
        if best is None or share > best[0]:
            best = share, box
        if share >= MEASURED:
            break
    return best[1]


def guide(prepared, shape):
    """The `Guide` of a prepared volume, on the grid of the working volume of ``shape`` (it may have been
    resampled)."""

    def on_grid(mask):
        if mask is None or mask.shape == tuple(shape):
            return mask
        moved = np.zeros(shape, bool)
        places = np.argwhere(mask) * np.divide(shape, mask.shape)
        moved[tuple(places.astype(int).T)] = True
        return moved

    if prepared.valid.all():
        valid = None
    else:
        at = [(np.arange(side) * old / side).astype(int) for side, old in zip(shape, prepared.valid.shape)]
        valid = prepared.valid[np.ix_(*at)]
    return Guide(valid, on_grid(prepared.focus))
