"""The steps of notebook 00 that are longer than a cell: read, look, mend, resample, settings.

What becomes of the results is in `quickstart_results`.
"""

from pathlib import Path

import numpy as np

from cellseg_nb import parameters
from cellseg_nb.cells import background, prepare as mending, scale, spots
from cellseg_nb.data import pairing
from cellseg_nb.data.bundled import path as bundled
from cellseg_nb.data.datasets import Volume
from cellseg_nb.errors import UserError
from cellseg_nb.io import convert, files as io_files, units, volumes as io_volumes
from cellseg_nb.methods import settings as table_of_settings

TARGET_DIAMETER = 8.0  # voxels: as wide as the network and its neighbourhood of 5 voxels see cells best
LEFT = (3.5, 12.0)  # voxels: cells so wide are learned from as they are, unless you give their diameter
SMALLEST = 16  # voxels a side of a training cube: where a volume is thinner than the cube of the profile
LARGEST = 2.0  # times the voxels of the file: no finer than this where the diameter is an estimate


def _diameter(name, value):
    """ "auto" as None; 0 (leave the volume as it is) or µm as a number."""
    if str(value).strip() in ("", "auto"):
        return None
    try:
        return parameters.number(name, float(value), 0, 10000)
    except (TypeError, ValueError):
        raise UserError(f"{name} must be a number in µm, 0, or auto, not {value!r}") from None


def _steps(name, value):
    """What `cellseg_nb.cells.prepare.prepare` takes as its steps."""
    mending.chosen(value)
    return value


PARAMETERS = (
    parameters.common("voxel_size", "profile", "epochs", "min_size", "seed", "device", "out", "start_over")
    | convert.PARTS
    | {
        "images": parameters.text,
        "labels": parameters.text,
        "cell_diameter": _diameter,
        "preprocess": _steps,
        "separate": parameters.rule(parameters.one_of, ("auto", "voronoi_otsu")),
        "threshold": parameters.rule(parameters.number, 0.01, 0.99),
        "min_contrast": parameters.rule(parameters.number, 0, 1000),
        "minutes": parameters.rule(parameters.number, 0, 10000),
    }
)


def resolved(choice):
    """The choice, with what "auto" means in the profile ``paper``: as published, nothing mended."""
    if choice["profile"] == "demo":
        return choice
    published = {"preprocess": "paper", "separate": "published"}
    meant = {name: value for name, value in published.items() if choice[name] == "auto"}
    return choice | meant | {"cell_diameter": choice["cell_diameter"] or 0}


# ---------------------------------------------------------------- volumes


def load(choice):
    """Read the volumes, with their true labels where given, and say what was read.

    Returns a list of `cellseg_nb.data.datasets.Volume`: name of the file, image (Z, Y, X), labels (Z, Y, X)
    int32 or None, voxel size (z, y, x) in µm or None. Images are float32, or whole numbers of 8 and 16 bits
    as in the file, which take less memory; every step makes float32 of them. Makes the output folder; asks
    for a file where ``images`` is "upload" (Colab). Raises UserError for files that cannot be read, volumes
    smaller than a training cube, labels that do not fit, and files of different voxel sizes.
    """
    from cellseg_nb.plots import widgets

    io_files.writable_folder(choice["out"])
    images, truth = widgets.choose(choice["images"]), choice["labels"]
    if not images:
        images, truth = bundled("sample/sample_image.tif"), truth or bundled("sample/sample_labels.tif")
    paths = io_volumes.find(images)
    part = convert.part(choice)
    # volumes to be resampled are measured afterwards
    least = 8 if choice["cell_diameter"] != 0 else min(SMALLEST, settings(choice)["cube"])
    part |= {"voxel_size": choice["voxel_size"], "minimum": least, "narrow": True}
    read = [io_volumes.read(path, **part) for path in paths]
    sizes = [size for _, size in read]
    if not units.agree(sizes):
        raise UserError(
            f"{images}: the files have different voxel sizes {sorted(set(map(str, sizes)))}: "
            "run them one at a time, or set voxel_size for all"
        )
    labels = _truth(truth, paths, read)
    found = [Volume(path.name, image, label, size) for path, (image, size), label in zip(paths, read, labels)]
    for name, image, _, size in found:
        words = "unknown, µm below are voxels" if size is None else " x ".join(f"{s:g}" for s in size) + " µm"
        print(f"{name}: {' x '.join(map(str, image.shape))} voxels (Z, Y, X), voxel size {words}")
    return found


def _truth(labels, paths, read):
    if not labels:
        return [None] * len(paths)
    if Path(labels).expanduser().is_dir():  # one file for one volume needs no name in common
        files = pairing.matched(paths, [f for f in pairing.label_files(labels) if f not in paths])
    else:
        files = io_volumes.find(labels)
    if len(files) != len(paths):
        raise UserError(
            f"{labels} is one label file for {len(paths)} volumes: give the folder of all label files"
        )
    truth = [io_volumes.read_labels(file)[0] for file in files]
    for file, label, (volume, _) in zip(files, truth, read):
        if label.shape != volume.shape:
            raise UserError(
                f"{file} has shape {label.shape}, its volume {volume.shape}: give the labels of this volume"
            )
    return truth


def cell_size(choice, volumes):
    """Diameter of a typical cell in µm (voxels where their size is unknown): yours, or the median over the
    volumes of `cellseg_nb.cells.scale.cell_diameter`; 0.0 where you said 0, or no blob stands out."""
    if choice["cell_diameter"] is not None:
        return choice["cell_diameter"]
    estimates = []
    for volume in volumes:
        try:
            bright = mending.bright_side(volume.image, volume.voxel_size, choice["preprocess"])
            estimates.append(scale.cell_diameter(bright, volume.voxel_size))
        except UserError as error:
            print(f"{volume.name}: {error}")
    return float(np.median(estimates)) if estimates else 0.0


def prepared(choice, volumes, diameter):
    """What disturbs, seen and mended: one `cellseg_nb.cells.prepare.Prepared` a volume; says what was
    seen."""
    found = []
    for volume in volumes:
        found.append(mending.prepare(volume.image, volume.voxel_size, diameter or None, choice["preprocess"]))
        for one in found[-1].findings:
            left = "" if one.switch in found[-1].steps else " (left as it is)"
            step = f"[{one.switch}] " if one.switch else ""
            print(f"{volume.name}: {step}{one.text}{left}")
        if not found[-1].findings:
            print(f"{volume.name}: nothing that disturbs was seen")
    return found


def to_separate(volumes, images, seen, diameter):
    """The images on which cells are told apart: as in the file but for faults of the recording.

    ``images`` as `prepared` makes them, ``seen`` what it returned. Evened decay and background help the
    network; the separation has its own background, and the slopes of a cell are best left as they are.
    Returns a list of (Z, Y, X) arrays.
    """
    found = []
    for volume, image, one in zip(volumes, images, seen):
        faults = [step for step in one.steps if step in mending.FAULTS]
        if faults == [step for step in one.steps if step != "sampling"]:
            found.append(image)
        else:
            found.append(mending.prepare(volume.image, volume.voxel_size, diameter or None, faults).volume)
    return found


def resampled(volumes, images, choice, diameter):
    """The images as the network sees them: voxels as long in all directions, a cell 8 of them wide.

    ``volumes`` as `load` returns them, ``images`` as prepared, ``diameter`` in µm. Returns a list of (Z, Y,
    X), float32 where resampled; unchanged for 0, and, where the diameter is an estimate, for cells of `LEFT`
    voxels in voxels about as long as wide. Raises UserError where one becomes smaller than the smallest
    training cube.
    """
    working = []
    for (name, image, _, size), shown in zip(volumes, images):
        target = target_voxel(image.shape, size, diameter, choice["cell_diameter"] is None)
        if target is not None:
            shown = io_volumes.rescale(np.asarray(shown, np.float32), size or (1,) * 3, (target,) * 3)
        working.append(shown)
        if working[-1].shape != image.shape:
            print(f"{name}: the network sees it as {' x '.join(map(str, working[-1].shape))} voxels")
        if min(working[-1].shape) < SMALLEST:
            why = "" if target is None else f" when cells are made {TARGET_DIAMETER:g} voxels wide"
            raise UserError(
                f"{name} has {working[-1].shape} voxels{why}, and a side under {SMALLEST} voxels is too "
                "short to learn from: check cell_diameter and voxel_size, or give a larger volume"
            )
    return working


def target_voxel(shape, voxel_size, diameter, estimated):
    """Side in µm of the voxels that the network should see; None: those of the file.

    A cell becomes `TARGET_DIAMETER` voxels wide. An ``estimated`` diameter changes nothing where cells are
    `LEFT` voxels wide and voxels at most half again as long as wide, never makes more than `LARGEST` times
    the voxels, and nothing under `SMALLEST` voxels a side.
    """
    if not diameter:
        return None
    size = np.array(voxel_size or (1.0, 1.0, 1.0))
    target = diameter / TARGET_DIAMETER
    if not estimated:
        return target
    if size.max() <= 1.5 * size.min() and LEFT[0] <= diameter / size.min() <= LEFT[1]:
        return None
    target = max(target, float(np.cbrt(size.prod() / LARGEST)))
    return None if min(np.array(shape) * size / target) < SMALLEST + 0.5 else target


def on_grid(probability, shape):
    """A probability (Z, Y, X) on the grid of the file, ``shape``, by linear interpolation: float32 in
    0..1."""
    from skimage.transform import resize

    if probability.shape != shape:
        probability = resize(probability, shape, order=1, mode="edge", anti_aliasing=False)
    return np.clip(probability, 0, 1).astype(np.float32)


# ---------------------------------------------------------------- training


def _cube(side, images):
    """Side of the training cube: that of the profile, or, for thin volumes, a multiple of 8 that fits in."""
    thinnest = min((min(np.shape(getattr(one, "image", one))) for one in images), default=side)
    return min(side, max(SMALLEST, thinnest // 8 * 8))


def settings(choice, voxel_size=None, diameter=None, images=()):
    """Settings of `cellseg_nb.methods.wnet3d.WNet3DMethod` for the profile, with what you chose: a dict.

    Those of the profile, and their sources, are in `cellseg_nb.methods.settings`; where ``images`` (as the
    network sees them) are thinner than its training cube, the cube is smaller (`SMALLEST` and above). With
    "voronoi_otsu", spots are looked for after a blur of a quarter of the cell ``diameter`` (µm).
    """
    found = table_of_settings.of("wnet3d", choice["profile"], "00")
    found["cube"] = _cube(found["cube"], images)
    if choice["epochs"]:
        found.update(epochs=choice["epochs"], restarts=0)
    if diameter and choice["separate"] == "auto" and spots.small(background.widths(voxel_size, diameter)):
        words = f"Cells are less than {spots.FEW:g} voxels wide along an axis"
        print(f"{words}: they are looked for as bright spots.")
    if diameter:
        found["spot_sigma"] = diameter / min(voxel_size or (1.0,)) / 4
    chosen = {name: choice[name] for name in ("threshold", "min_size", "min_contrast", "separate")}
    return found | chosen | {"cell_diameter": diameter or None}


def training_folder(choice):
    """Folder for the checkpoints; ``start_over`` throws away those that are there."""
    from cellseg_nb.learning.loop import CHECKPOINT

    folder = io_files.writable_folder(Path(choice["out"]) / "training")
    for file in folder.rglob(CHECKPOINT) if choice["start_over"] else []:
        file.unlink()
    return folder
