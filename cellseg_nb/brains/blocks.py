"""A volume cut into blocks, and what each is computed from: the block and a halo around it.

A block's *core* is its own; its *outer* box is what is read. Cores cover the volume once; outer boxes overlap
and end where the volume ends.
"""

from dataclasses import dataclass

import numpy as np

from cellseg_nb.errors import UserError


@dataclass(frozen=True)
class Block:
    """``index`` (i, j, k) in the grid, ``number`` in reading order; ``core`` and ``outer`` as three slices of
    the volume, ``inner``: the core as three slices of the outer box."""

    index: tuple
    number: int
    core: tuple
    outer: tuple
    inner: tuple

    @property
    def corner(self):
        """Where the core begins, (z, y, x) in voxels."""
        return tuple(side.start for side in self.core)

    @property
    def shape(self):
        """Sides of the core."""
        return tuple(side.stop - side.start for side in self.core)

    @property
    def name(self):
        return "-".join(map(str, self.index))


def three(number, name="chunk", least=1):
    """One number or three as a tuple of three ints. Raises UserError for anything below ``least``."""
    sides = (number,) * 3 if np.isscalar(number) else tuple(number)
    if len(sides) != 3 or any(int(side) != side or side < least for side in sides):
        raise UserError(f"{name} must be a whole number of voxels from {least}, or three, not {number!r}")
    return tuple(int(side) for side in sides)


def grid_shape(shape, chunk):
    """How many blocks there are along each axis."""
    return tuple(-(-side // c) for side, c in zip(shape, three(chunk)))


def block(shape, chunk, index, halo=0):
    """The `Block` at a place of the grid."""
    chunk = three(chunk)
    core = tuple(slice(i * c, min((i + 1) * c, side)) for i, c, side in zip(index, chunk, shape))
    number = int(np.ravel_multi_index(index, grid_shape(shape, chunk)))
    return around(core, shape, halo, tuple(index), number)


def around(core, shape, halo=0, index=(0, 0, 0), number=0):
    """A `Block` with any box of the volume, three slices, as its core."""
    halo = three(halo, "halo", 0)
    outer = tuple(slice(max(0, s.start - h), min(side, s.stop + h)) for s, h, side in zip(core, halo, shape))
    inner = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(core, outer))
    return Block(index, number, tuple(core), outer, inner)


def grid(shape, chunk, halo=0):
    """All blocks of a volume in reading order: a list of `Block`."""
    return [block(shape, chunk, index, halo) for index in np.ndindex(*grid_shape(shape, chunk))]
