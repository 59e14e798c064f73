"""Who learns from what: volumes cut into cubes, one volume held out in each fold, 10 to 80 % of the other
cubes to learn from.

After Achard et al. 2024, "Label efficiency comparison": 64-voxel cubes; visual, c3 or c5 held out; 10, 20, 60
and 80 %.
"""

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes

HELD_OUT = ("visual", "c3", "c5")
PERCENTAGES = (10, 20, 60, 80)
CORNER, SIDES = ["z", "y", "x"], ["depth", "height", "width"]


def cube_table(shapes, size=64, apart=False):
    """The cubes of several volumes as a table, one row a cube: volume, cube, z, y, x, depth, height, width.

    ``shapes`` is {name: (Z, Y, X)}; corners and sides are in voxels. A volume is covered whole: its last
    cubes are shifted inward, and share voxels with those before (see `shared`); with ``apart`` they end at
    the border instead, smaller than the others. Raises UserError for a size below 1.
    """
    import pandas

    rows = []
    for name, shape in shapes.items():
        for number, box in enumerate(volumes.cubes(np.broadcast_to(np.uint8(0), shape), size)):
            starts, stops = [s.start for s in box], [s.stop for s in box]
            if apart:
                starts = [-(-start // size) * size for start in starts]
            rows.append([name, number, *starts, *(stop - start for start, stop in zip(starts, stops))])
    return pandas.DataFrame(rows, columns=["volume", "cube", *CORNER, *SIDES])


def cut(volume, row):
    """The cube that a row of `cube_table` describes, as a view of its volume (or of the labels)."""
    return volume[tuple(slice(row[corner], row[corner] + row[side]) for corner, side in zip(CORNER, SIDES))]


def folds(names, held_out=None):
    """One row a fold: fold, held_out, training (the names of the others, as text with commas).

    ``held_out`` names the volumes, or a part of each name that no other has. None: the paper's three (visual,
    c3, c5) where they are there, else each volume in turn. Raises UserError for fewer than two volumes, and
    unknown or ambiguous names.
    """
    import pandas

    names = list(dict.fromkeys(names))
    if len(names) < 2:
        raise UserError(
            f"folds need two volumes or more, one to test on and one to learn from, not {len(names)}"
        )
    if held_out is None:
        held_out = HELD_OUT if all(len(matching(names, word)) == 1 for word in HELD_OUT) else names
    rows = []
    for number, word in enumerate(held_out, 1):
        name = the_one(names, word)
        rows.append([number, name, ", ".join(n for n in names if n != name)])
    return pandas.DataFrame(rows, columns=["fold", "held_out", "training"])


def matching(names, word):
    """The names that are this word; where none is, those that hold it, in capitals or not."""
    same = [name for name in names if name == word]
    return same or [name for name in names if str(word).lower() in name.lower()]


def the_one(names, word):
    """The one name of a volume that a word in ``held_out`` means. Raises UserError for none and several."""
    found = matching(names, word)
    if len(found) != 1:
        raise UserError(
            f"held_out names {word!r}, which is {'more than one' if found else 'no'} volume: choose among "
            f"{', '.join(names)}"
        )
    return found[0]


def draw(count, percentage, seed):
    """Which of ``count`` cubes to learn from: all are shuffled, the first are taken, one at least.

    ``seed`` is a number or a list of them. Returns their places, (n,) int; a smaller percentage takes a part
    of what a larger one takes.
    """
    order = np.random.default_rng(seed).permutation(count)
    return order[: max(1, round(count * percentage / 100))]


def splits(cubes, percentages=PERCENTAGES, seed=0, held_out=None, draw=draw):
    """Which cubes are for learning and which for validation, for each fold and percentage: a table, one row a
    cube.

    Parameters
    ----------
    cubes : table from `cube_table`, or a list of names of volumes (each then counts as one cube)
    percentages : how much of the cubes of a fold's training volumes is for learning; the rest is for
    validation
    seed : int
    held_out : see `folds`
    draw : function
        Another way to choose them, called as `draw` is, with [seed, fold] for the seed.

    The cubes of a fold are shuffled once; a percentage takes the first of them, at least one. So 10 % is part
    of 20 %, and so on: what changes from one to the next is the amount of data only. The same seed gives the
    same table.

    Returns a table: fold, held_out, percentage, role (training or validation), then the columns of ``cubes``.
    Raises UserError like `folds`, and for percentages outside 0 to 100.
    """
    import pandas

    if not isinstance(cubes, pandas.DataFrame):
        cubes = pandas.DataFrame({"volume": list(cubes), "cube": 0})
    if not len(percentages) or not all(0 < p <= 100 for p in percentages):
        raise UserError(f"percentages must lie above 0 and up to 100, not {list(percentages)}")
    parts = []
    for fold in folds(cubes.volume, held_out).itertuples():
        rows = cubes[cubes.volume != fold.held_out]
        for percentage in sorted(percentages):
            role = np.full(len(rows), "validation", object)
            role[draw(len(rows), percentage, [seed, fold.fold])] = "training"
            part = rows.reset_index(drop=True)
            for place, (column, value) in enumerate(
                {"fold": fold.fold, "held_out": fold.held_out, "percentage": percentage, "role": role}.items()
            ):
                part.insert(place, column, value)
            parts.append(part)
    return pandas.concat(parts, ignore_index=True)


def shared(table):
    """Share of the validation voxels of each fold and percentage that also lie in a training cube, in 0..1: a
    leak.

    Cubes overlap where they were shifted inward. Returns a table: fold, percentage, shared.
    """
    rows = []
    for (fold, percentage), part in table.groupby(["fold", "percentage"]):
        common = whole = 0
        for _, cubes in part.groupby("volume"):
            shape = tuple((cubes[c] + cubes[s]).max() for c, s in zip(CORNER, SIDES))
            learned, validated = np.zeros(shape, bool), np.zeros(shape, bool)
            for row in cubes.to_dict("records"):
                cut(learned if row["role"] == "training" else validated, row)[...] = True
            common += np.count_nonzero(learned & validated)
            whole += np.count_nonzero(validated)
        rows.append({"fold": fold, "percentage": percentage, "shared": common / whole if whole else 0.0})
    import pandas

    return pandas.DataFrame(rows)
