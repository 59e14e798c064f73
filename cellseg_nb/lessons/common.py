"""What several notebooks share: settings of WNet3D, volumes with labels of which one is held out, results
saved."""

import time
from pathlib import Path

import numpy as np
import pandas

from cellseg_nb import methods, parameters, runtime
from cellseg_nb.cells import instances
from cellseg_nb.data import datasets, simulate, splitting
from cellseg_nb.errors import UserError
from cellseg_nb.io import units, volumes
from cellseg_nb.io.files import atomic, writable_folder, write_json, write_table
from cellseg_nb.learning import pairs
from cellseg_nb.learning.loop import CHECKPOINT
from cellseg_nb.learning.validation import BEST
from cellseg_nb.methods import settings


def _methods(name, value):
    """Methods by name, with commas between them, as a list; None for "auto"."""
    words = None if str(value).strip() in ("", "auto") else parameters.listed(name, value)
    for word in words or ():
        methods.method_class(word)
    return words


GRID = {  # parameters of the notebooks that run a grid of methods
    "methods": _methods,
    "seeds": parameters.auto(parameters.numbers, 0, 2**31 - 1, whole=True),
    "processes": parameters.rule(parameters.number, 0, 256, whole=True),
}


def available(names):
    """Those methods whose libraries are installed; says in one line what to install for each of the others.

    Raises UserError when none is left.
    """
    lacking = {name: methods.lacking(name) for name in names}
    lines = [f"{name} is left out, since {words}" for name, words in lacking.items() if words]
    if len(lines) == len(names):
        raise UserError("; ".join(lines))
    print(*lines, sep="\n", end="\n" if lines else "")
    return [name for name in names if not lacking[name]]


def method(choice, name, notebook, options=None, **offered):
    """A method with its settings in a notebook ("05"), as the profile and ``epochs`` of the choice say.

    ``options`` go to its constructor as they are; what is ``offered`` (seed, voxel_size, share), and the
    device, only to methods that have such an option. Raises UserError like `methods.get`.
    """
    offered |= {"device": choice["device"], "epochs": choice.get("epochs") or None}
    offered = {key: value for key, value in offered.items() if value is not None}
    own = settings.of(name, choice["profile"], notebook) | methods.known_options(name, **offered)
    return methods.get(name, **{**own, **(options or {})})


def resolved(choice):
    """The choices of a notebook with its data set named: "auto" is ``simulated`` in the profile demo, the
    paper's ``cellseg3d`` in the profile paper."""
    auto = "simulated" if choice["profile"] == "demo" else "cellseg3d"
    return {**choice, "dataset": auto if choice["dataset"] in ("", "auto") else choice["dataset"]}


def load(choice):
    """Volumes with labels to learn from, and one held out to test on; says what was read.

    ``choice`` holds dataset, held_out, voxel_size, profile, seed, cache. ``held_out`` names the volume to
    hold out; "auto": the last. Of a single volume, the last third along its longest axis is held out.

    Returns (list of `datasets.Volume`, `datasets.Volume`). Raises UserError for pairs that do not fit (see
    `pairs.check`), and for names that do not exist.
    """
    choice = resolved(choice)
    every = simulated(choice["seed"]) if choice["dataset"] == "simulated" else read(choice)
    learned, held_out = hold_out(every if len(every) > 1 else cut(every[0]), choice["held_out"])
    for volume in (*learned, held_out):
        say(volume, "held out, only for the test" if volume is held_out else "for learning")
    return learned, held_out


def simulated(seed=0, **more):
    """Three small volumes with an artefact, like the paper's visual cortex: a bright sheet that is no cell.

    ``more`` goes to `simulate.volume`. Returns a list of `datasets.Volume`.
    """
    kind = {"artefact": True, "dim": 0.3, **more}
    made = [simulate.volume((64, 72, 72), 90, 3 * seed + number, **kind) for number in range(3)]
    return [datasets.Volume(f"simulated {n}", *pair, (5.0, 5.0, 5.0)) for n, pair in enumerate(made, 1)]


def read(choice):
    """All volumes of a data set with their labels: a list of `datasets.Volume`, of one voxel size.

    Raises UserError where labels are missing or voxel sizes differ, and see `pairs.check`.
    """
    collection = datasets.collect(choice["dataset"], cache=choice["cache"] or None, seed=choice["seed"])
    without = [pair.name for pair in collection.pairs if pair.labels is None]
    if without:
        raise UserError(
            f"{collection.folder}: {', '.join(without)} has no labels: supervised training needs "
            f"them for every volume"
        )
    size = choice["voxel_size"] or collection.voxel_size
    every = [datasets.Volume(pair.name, *datasets.load(pair, size)) for pair in collection.pairs]
    sizes = [volume.voxel_size for volume in every]
    if not units.agree(sizes):
        raise UserError(
            f"{collection.folder}: the files have different voxel sizes {sorted(set(map(str, sizes)))}: "
            "set voxel_size for all, or resample them to one"
        )
    pairs.check([volume.image for volume in every], [volume.labels for volume in every])
    return every


def cut(volume):
    """One volume as two: the first two thirds along its longest axis, and the last third."""
    axis = int(np.argmax(volume.image.shape))
    end = volume.image.shape[axis]
    spans = {"first two thirds": range(0, end * 2 // 3), "last third": range(end * 2 // 3, end)}
    return [
        volume._replace(
            name=f"{volume.name}, {words}",
            image=volume.image.take(span, axis),
            labels=volume.labels.take(span, axis),
        )
        for words, span in spans.items()
    ]


def hold_out(every, name="auto"):
    """Divide a list of `datasets.Volume` into those to learn from and the one of this name, or of a part of
    it; "auto": the last. Returns (list, `datasets.Volume`). Raises UserError for none and for several."""
    names = [volume.name for volume in every]
    place = len(every) - 1 if name in ("", "auto") else names.index(splitting.the_one(names, name))
    return [*every[:place], *every[place + 1 :]], every[place]


def all_held_out(names, word):
    """The volumes that are held out in turn, for `splitting.folds`: None for "auto"; "all": each of them."""
    words = {"": None, "auto": None, "all": names}
    return words[word] if word in words else parameters.listed("held_out", word)


def say(volume, role=""):
    """One line on a `datasets.Volume`: its name, sides, cells or voxel size, and what it is for."""
    words = [f"{volume.name}: {' x '.join(map(str, volume.image.shape))} voxels (Z, Y, X)"]
    if volume.labels is not None:
        words.append(f"{instances.count(volume.labels)} cells")
    print(", ".join([*words, role] if role else words))


def folder(choice, name, start_over=False):
    """Folder of a training's checkpoint; ``start_over`` throws away the one that is there."""
    place = writable_folder(Path(choice["out"]) / name)
    if start_over:
        for file in (CHECKPOINT, BEST):
            (place / file).unlink(missing_ok=True)
    return place


def save(
    out,
    choice,
    tables=None,
    figures=None,
    headline="",
    *,
    trained=None,
    history=None,
    arrays=None,
    voxel_size=None,
    started=None,
    **found,
):
    """Write what a notebook found into the folder ``out``, each file beside and renamed. Returns the folder.

    Parameters
    ----------
    choice : dict, the notebook's parameters; they go to ``config.json``
    tables, figures, arrays : {name: table}, {name: matplotlib figure}, {name: volume (Z, Y, X)}
        Written as ``name.csv``, ``name.png``, ``name.tif``; a ``name`` may hold a folder.
    headline : str
        What was found, in one line; it opens ``summary.json``.
    trained : a method after ``fit``, or None
        Its weights are saved, and its settings go to ``config.json``.
    history : list of dicts, one an epoch
        Becomes ``history.csv``; its seconds are those of the training.
    voxel_size : (z, y, x) in µm, or None
        Of the arrays.
    started : float, of ``time.time()``
        When the notebook began.
    found :
        Whatever else ``summary.json`` is to hold; a table becomes a list of its rows, and ``seconds={...}``
        joins those of the notebook and of the training.

    ``summary.json`` also says versions, device and seed. Raises UserError where nothing can be written.
    """
    out, config = writable_folder(out), {**choice, "versions": runtime.versions()}
    if trained is not None:
        trained.save(out)
        config["trained"] = {"method": trained.name, **trained.options, **trained.chosen}
    write_json(out / "config.json", config)
    tables = dict(tables or {}) | ({"history": pandas.DataFrame(history)} if history else {})
    for name, table in tables.items():
        write_table(out / f"{name}.csv", _flat(table))
    for name, figure in (figures or {}).items():
        with atomic(out / f"{name}.png") as beside:
            figure.savefig(beside, format="png", dpi=120)
    for name, array in (arrays or {}).items():
        volumes.write(out / f"{name.replace(' ', '_').replace(',', '')}.tif", array, voxel_size)
    summary = {"headline": headline, **{name: _plain(value) for name, value in found.items()}}
    if voxel_size:
        summary["voxel_size_um"] = voxel_size
    summary |= {name: choice[name] for name in ("seed",) if name in choice}
    if "device" in choice:
        summary["device"] = str(runtime.device(choice["device"]))
    spent = {"total": time.time() - started} if started else {}
    spent |= {"training": sum(row["seconds"] for row in history)} if history else {}
    spent |= summary.pop("seconds", {})
    write_json(out / "summary.json", summary | {"seconds": spent, "versions": runtime.versions()})
    return out


def _flat(table):
    """A table whose named index has become a column."""
    return table if table.index.name is None else table.reset_index()


def _plain(value):
    """A table as JSON can hold it: a list of its rows."""
    return _flat(value).to_dict("records") if isinstance(value, pandas.DataFrame) else value
