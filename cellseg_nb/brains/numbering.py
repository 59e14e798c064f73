"""From the blocks' sums to cells: one row each, one number each, in reading order of their names."""

import numpy as np

from cellseg_nb.brains import engine, joins
from cellseg_nb.cells import background


def gathered(folder, every):
    """What the markers of all blocks hold, in the blocks' order: names, voxels, places, light, concatenated;
    and where each block begins. A block without a marker has no cells."""
    parts = {name: [] for name in ("names", "voxels", "places", "light")}
    counts = []
    for block in every:
        path = engine.marker(folder, block)
        if not path.is_file():
            counts.append(0)
            continue
        with np.load(path) as found:
            for name, part in parts.items():
                part.append(found[name])
        counts.append(len(parts["names"][-1]))
    empty = {"names": (0,), "voxels": (0,), "places": (0, 3), "light": (0,)}
    joined = {
        name: np.concatenate(part) if part else np.zeros(empty[name], np.int64)
        for name, part in parts.items()
    }
    return joined, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def join(folder, every, names, starts):
    """Names after pieces are joined over the faces of neighbours: each piece takes its smallest."""
    by_index = {block.index: block for block in every}
    pairs = [np.zeros((0, 2), np.int64)]
    for block in every:
        for axis in range(3):
            other = by_index.get(tuple(i + (a == axis) for a, i in enumerate(block.index)))
            if other is None:
                continue
            low, high = engine.marker(folder, block), engine.marker(folder, other)
            if not (low.is_file() and high.is_file()):
                continue
            with np.load(low) as one, np.load(high) as two:
                found = joins.shared(one[f"face_{axis}_1"], two[f"face_{axis}_0"], block.number, other.number)
            pairs.append(starts[found >> 32] + (found & 0xFFFFFFFF) - 1)
    return joins.union(np.concatenate(pairs), names)


def cells(found, names, min_size=0, max_size=0):
    """Sums of all that has one name, and the final number of every entry.

    Returns a dict of arrays, one entry a cell (``names`` ascending, ``voxels``, ``places``, ``light``), and
    numbers (n,) uint32: 0 for what is smaller than ``min_size`` or larger than ``max_size`` (0: no limit).
    """
    every, own = np.unique(names, return_inverse=True)
    voxels = np.zeros(len(every), np.int64)
    np.add.at(voxels, own, found["voxels"])
    keep = (voxels >= max(1, min_size)) & (voxels <= (max_size or np.inf))
    number = np.where(keep, np.cumsum(keep), 0).astype(np.uint32)
    places = np.zeros((len(every), 3), np.int64)
    np.add.at(places, own, found["places"])
    light = np.zeros(len(every), found["light"].dtype)
    np.add.at(light, own, found["light"])
    kept = {"names": every, "voxels": voxels, "places": places, "light": light}
    return {name: values[keep] for name, values in kept.items()}, number[own]


def table(kept, voxel_size=None):
    """One row a cell: label; z, y, x (centre, voxels of the whole volume); volume_voxels; volume_um3;
    equivalent_diameter_um; mean_intensity. Without a voxel size, µm are voxels."""
    import pandas

    size = background.spacing(voxel_size)
    voxels = kept["voxels"]
    volume = voxels * size.prod()
    columns = {"label": np.arange(1, len(voxels) + 1, dtype=np.int64)}
    columns |= {axis: kept["places"][:, i] / np.maximum(voxels, 1) for i, axis in enumerate("zyx")}
    columns |= {"volume_voxels": voxels, "volume_um3": volume}
    columns |= {"equivalent_diameter_um": np.cbrt(6 * volume / np.pi)}
    return pandas.DataFrame(columns | {"mean_intensity": kept["light"] / np.maximum(voxels, 1)})
