"""What several notebooks share: settings of WNet3D, volumes with labels of which one is held out, results
saved."""

from collections import namedtuple
from pathlib import Path

import numpy as np

from cellseg_nb import runtime
from cellseg_nb.data import datasets, simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io.files import atomic, writable_folder, write_json, write_table
from cellseg_nb.learning import pairs
from cellseg_nb.learning.loop import CHECKPOINT
from cellseg_nb.learning.validation import BEST
from cellseg_nb.methods import settings

PROFILES = {  # of WNet3D, on a volume of one's own
    "demo": settings.of("wnet3d", "demo", "00"),
    "paper": settings.of("wnet3d", "paper"),
}
LABEL_FREE = ("wnet3d",)  # sees no labels at all, so it is not tuned on them either
SELF_TUNING = ("otsu",)  # its fit chooses its parameters
# for learning; ``test``: the same of the held-out volume
Data = namedtuple("Data", "names images labels test voxel_size")
Test = namedtuple("Test", "name image labels")


def load(choice):
    """Volumes to learn from, and one held out to test on. Returns `Data`; says what was read.

    ``held_out`` names the volume to hold out; "auto": the last. Of a single volume, the last third along its
    longest axis is held out. Raises UserError for pairs that do not fit (see `pairs.check`), and for names
    that do not exist.
    """
    found, size = _simulated(choice) if choice["dataset"] == "simulated" else read(choice)
    if len(found) == 1:
        found = cut(*found[0])
    test = _held_out([name for name, _, _ in found], choice["held_out"])
    images, labels = pairs.check(*zip(*[part[1:] for part in found]))
    names = [part[0] for part in found]
    for name, image, label in zip(names, images, labels):
        role = "held out, only for the test" if name == names[test] else "for learning"
        print(
            f"{name}: {' x '.join(map(str, image.shape))} voxels (Z, Y, X), "
            f"{len(np.unique(label[label > 0]))} cells, {role}"
        )
    learn = [i for i in range(len(found)) if i != test]
    return Data(
        [names[i] for i in learn],
        [images[i] for i in learn],
        [labels[i] for i in learn],
        Test(names[test], images[test], labels[test]),
        size,
    )


def _simulated(choice):
    """Three small volumes with an artefact, like the paper's visual cortex: a bright sheet that is no
    cell."""
    made = [
        simulate.volume((64, 72, 72), 90, 3 * choice["seed"] + number, artefact=True, dim=0.3)
        for number in range(3)
    ]
    return [(f"simulated {number}", *pair) for number, pair in enumerate(made, 1)], (5.0, 5.0, 5.0)


def read(choice):
    """All volumes of a data set with their labels: a list of (name, image, labels), and their one voxel size.

    Raises UserError where labels are missing or voxel sizes differ.
    """
    collection = datasets.collect(choice["dataset"], cache=choice["cache"] or None, seed=choice["seed"])
    without = [pair.name for pair in collection.pairs if pair.labels is None]
    if without:
        raise UserError(
            f"{collection.folder}: {', '.join(without)} has no labels: supervised training needs "
            f"them for every volume"
        )
    parts = [
        (pair.name, *datasets.load(pair, choice["voxel_size"] or collection.voxel_size))
        for pair in collection.pairs
    ]
    sizes = {size for *_, size in parts}
    if len(sizes) > 1:
        raise UserError(
            f"{collection.folder}: the files have different voxel sizes {sorted(map(str, sizes))}: "
            "set voxel_size for all, or resample them to one"
        )
    return [part[:3] for part in parts], sizes.pop()


def cut(name, image, labels):
    """One volume as two: the first two thirds along its longest axis, and the last third."""
    axis = int(np.argmax(image.shape))
    place = image.shape[axis] * 2 // 3
    return [
        (f"{name}, {words}", *(side.take(range(*span), axis) for side in (image, labels)))
        for words, span in (("first two thirds", (0, place)), ("last third", (place, image.shape[axis])))
    ]


def _held_out(names, word):
    if word in ("", "auto"):
        return len(names) - 1
    found = [i for i, name in enumerate(names) if name == word] or [
        i for i, name in enumerate(names) if word.lower() in name.lower()
    ]
    if len(found) != 1:
        raise UserError(
            f"held_out names {word!r}, which is {'no' if not found else 'more than one'} volume: "
            f"choose among "
            f"{', '.join(names)}"
        )
    return found[0]


def folder(choice, name, start_over=False):
    """Folder of a training's checkpoint; ``start_over`` throws away the one that is there."""
    place = writable_folder(Path(choice["out"]) / name)
    if start_over:
        for file in (CHECKPOINT, BEST):
            (place / file).unlink(missing_ok=True)
    return place


def save(out, choice, tables, figures, headline):
    """Write ``config.json``, each table as CSV, each figure as PNG, ``summary.json`` with the headline."""
    out = writable_folder(out)
    write_json(out / "config.json", {**choice, "versions": runtime.versions()})
    write_json(out / "summary.json", {"headline": headline})
    for name, table in tables.items():
        write_table(out / f"{name}.csv", table)
    for name, figure in figures.items():
        with atomic(out / f"{name}.png") as beside:
            figure.savefig(beside, format="png", dpi=120)
    return out
