"""Notebook 04: its parameters, the volume and the weights to use, one row of scores, volumes to try out."""

from pathlib import Path

import numpy as np

from cellseg_nb import parameters
from cellseg_nb.cells import instances
from cellseg_nb.data import bundled, datasets, simulate
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import convert, folder as folders, volumes
from cellseg_nb.io.files import as_path
from cellseg_nb.methods import model_package, model_package_files, released

METHODS = ("voronoi_otsu", "watershed", "connected", "published", "auto")
BY_PROFILE = {"demo": "voronoi_otsu", "paper": "published"}
EMBEDSEG = ("platynereis_nuclei", "platynereis_ish", "mouse_skull_nuclei")  # scaled down by two in the paper
UNSEEN = (*EMBEDSEG, "delivr_cfos")  # of the data sets, those that no released network has learned from
ARCHITECTURES = ("auto", "wnet3d", "swinunetr", "segresnet")
EARLIER = ("02_wnet3d_training", "00_quickstart")  # whose results may lie beside ours
PARAMETERS = (
    parameters.common("voxel_size", "profile", "seed", "device", "cache", "out")
    | convert.PARTS
    | {
        "weights": parameters.text,
        "architecture": parameters.rule(parameters.one_of, ARCHITECTURES),
        "images": parameters.text,
        "threshold": parameters.rule(parameters.number, 0, 0.99),
        "method": parameters.rule(parameters.one_of, ("by_profile", *METHODS)),
        "postprocess": parameters.auto(parameters.one_of, released.CHAINS),
        "spot_sigma": parameters.rule(parameters.number, 0, 50),
        "slices": parameters.rule(parameters.span, -1),
        "sizes": parameters.rule(parameters.span, 0),
        "closing": parameters.rule(parameters.number, 0, whole=True),
        "flips": parameters.truth,
        "other": parameters.text,
        "folder": parameters.text,
        "hand_on": lambda name, value: _handed_on(name, value),
    }
)


def resolved(choice):
    """The choices with the method that the profile has. Raises UserError for what would only be missed after
    a training: a ``folder``, ``other``, what a package needs."""
    unseen(choice)
    if choice["hand_on"].get("authors"):
        model_package.needed(choice["hand_on"]["authors"], choice["hand_on"]["licence"])
    if choice["folder"]:
        folders.listed(choice["folder"])
    named = choice["method"] != "by_profile"
    return choice | {"method": choice["method"] if named else BY_PROFILE[choice["profile"]]}


def _handed_on(name, value):
    """'Jane Doe, John Roe; CC-BY-4.0; twelve brains' as authors, licence and training_data, a dict for
    `model_package.write`; 'onnx' without authors; '' as {}. Raises UserError."""
    words = [word.strip() for word in parameters.text(name, value).split(";")]
    if words == [""]:
        return {}
    if words[0].lower() == "onnx" and len(words) == 1:
        return {"authors": []}
    if len(words) > 3 or not all(words):
        raise UserError(
            f"{name} must be onnx, or your name, a licence, and what the network has learned from, with "
            f"semicolons between them, as in Jane Doe; CC-BY-4.0; twelve mouse brains; not {value!r}"
        )
    licence, training_data = [*words[1:], *["CC-BY-4.0", ""][len(words) - 1 :]]
    return {"authors": parameters.listed(name, words[0]), "licence": licence, "training_data": training_data}


def unseen(choice):
    """What ``other`` names, as a list of texts. Raises UserError for the data set that the released weights
    were trained on, and for what is nowhere; nothing is read."""
    found = [word.strip() for word in choice["other"].split(",") if word.strip()]
    known = datasets.registry() if found else ()
    for word in found:
        if word == "simulated":
            fault = " is not unseen: it is no data set of its own"
        elif word in known and word not in UNSEEN:
            fault = " is not unseen: the released networks learned from it"
        elif word not in known and not as_path(word).exists():
            fault = f": there is no data set {word!r} and no such file or folder"
        else:
            continue
        others = f"Choose among {', '.join(UNSEEN)}, or give the path of your own volumes"
        raise UserError(f"other = {word!r}{fault}. {others}")
    return found


# ---------------------------------------------------------------- volumes and weights


def load(choice):
    """The volume to work on: yours (the first of a folder), the paper's c5, or the bundled sample.

    Returns a `datasets.Volume`, with labels where there are some, and says what was read. Raises UserError.
    """
    from cellseg_nb.plots import widgets

    images = widgets.choose(choice["images"])
    if images:
        volume = read(volumes.find(images)[0], choice)
    elif choice["profile"] == "paper":
        every = published(choice)
        volume = next((one for one in every if "c5" in one.name.lower()), every[0])
    else:
        image, size = volumes.read(bundled.path("sample/sample_image.tif"))
        labels, _ = volumes.read_labels(bundled.path("sample/sample_labels.tif"))
        volume = datasets.Volume("sample", image, labels, size)
    size = volume.voxel_size
    words = "unknown, µm below are voxels" if size is None else " x ".join(f"{s:g}" for s in size) + " µm"
    print(f"{volume.name}: {' x '.join(map(str, volume.image.shape))} voxels (Z, Y, X), voxel size {words}")
    return volume


def read(path, choice):
    """The part of a file that the choice means, as a `datasets.Volume` without labels, named after the file;
    8 and 16 bits as they are stored.

    Raises UserError."""
    image, size = volumes.read(path, voxel_size=choice["voxel_size"], narrow=True, **convert.part(choice))
    return datasets.Volume(folders.bare(path), image, None, size)


def published(choice):
    """The paper's volumes, downloaded once: a list of `datasets.Volume`. Raises UserError."""
    collection = datasets.collect("cellseg3d", cache=choice["cache"] or None)
    size = choice["voxel_size"] or collection.voxel_size
    return [datasets.Volume(pair.name, *datasets.load(pair, size)) for pair in collection.pairs]


def source(choice):
    """Which weights to load: those chosen, in the profile paper the released WNet3D, else what notebooks 02
    or 00 left beside this one's results; "" where there are none."""
    if choice["weights"] or choice["profile"] == "paper":
        return choice["weights"] or "wnet3d"
    for parent in (Path(choice["out"]).parent, Path("results")):
        for name in EARLIER:
            if (parent / name / "wnet3d.pt").is_file():
                return str(parent / name)
    return ""


def postprocess(choice, source):
    """Which chain belongs to the weights, unless you chose: to released ones the published one, to a package
    what it says."""
    path = as_path(source)
    if not choice["postprocess"] and path.exists() and model_package_files.is_package(path):
        return model_package_files.about(path)["postprocess"]
    return choice["postprocess"] or ("released" if source in released.THRESHOLDS else "probability")


def threshold(choice, find_cells):
    """Yours; else that of the weights; 0.5 for released weights without their chain, where theirs means
    nothing."""
    bare = find_cells.source in released.THRESHOLDS and find_cells.postprocess != "released"
    return choice["threshold"] or (0.5 if bare else find_cells.threshold)


def middle(image, side=64):
    """The central part of a volume (Z, Y, X), at most ``side`` voxels a side: quick to compare on."""
    return image[tuple(slice((n - min(n, side)) // 2, (n - min(n, side)) // 2 + side) for n in image.shape)]


def score(name, found, volume, mask=None):
    """One row about labels found in a `datasets.Volume`: how many cells; where its labels are known, F1,
    precision and recall at IoU 0.5, and the Dice of ``mask`` (None: of all that is labelled)."""
    row = {"": name, "cells": instances.count(found)}
    if volume.labels is None:
        return row
    match = metrics.match(volume.labels, found, (0.5,)).iloc[0]
    row |= {"true cells": int(match.n_true), "F1": match.f1}
    row |= {"precision": match.precision, "recall": match.recall}
    row |= {"Dice": metrics.dice(volume.labels, found if mask is None else mask)}
    return row


# ---------------------------------------------------------------- volumes to try out


def with_artefact(seed=0):
    """A simulated `datasets.Volume` whose last slices hold a bright, ragged sheet that is no cell."""
    image, labels = simulate.volume((64, 72, 72), 75, seed + 21, artefact=True)
    return datasets.Volume("with an artefact", image.astype(np.float32), labels, (5.0, 5.0, 5.0))


def hollow(seed=0):
    """A simulated `datasets.Volume` of nuclei whose stain sits at the rim, and dims towards the middle."""
    from scipy import ndimage as ndi

    _, labels = simulate.volume((48, 72, 72), 30, seed + 31, radius=(5.0, 6.0), touching=0.1)
    depth = ndi.distance_transform_edt(labels > 0)
    rim = np.where((labels > 0) & (depth <= 2), 900.0, 0) + 100
    rng = np.random.default_rng(seed)
    image = rng.poisson(ndi.gaussian_filter(rim, 0.5)) + rng.normal(0, 4, labels.shape)
    return datasets.Volume("hollow nuclei", image.astype(np.float32), labels, (1.0, 1.0, 1.0))
