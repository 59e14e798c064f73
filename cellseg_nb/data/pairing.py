"""Which label file belongs to which volume of a folder."""

import re
from collections import namedtuple

from cellseg_nb.errors import UserError
from cellseg_nb.io import tiff, volumes
from cellseg_nb.io.files import as_path

Pair = namedtuple("Pair", "name image labels")  # labels is None where there are none


IMAGES = {"images", "image", "imgs", "raw", "volumes"}


LABELS = {"labels", "label", "masks", "mask", "gt", "ground_truth", "groundtruth", "annotations"}


PARTS = {"train", "test", "val", "validation"}


IMAGE_ENDING = re.compile(r"[ _.-]*(images?|img|raw|volume)$", re.IGNORECASE)


LABEL_ENDING = re.compile(r"[ _.-]+(labels?|masks?|gt|truth|annotations?)$", re.IGNORECASE)


def pairs(folder):
    """Find the volumes of a folder and the labels that belong to them.

    Understood are: a folder ``labels`` or ``masks`` beside a folder ``images``, or inside the folder of the
    images, at any depth; files side by side, such as c5_image.tif and c5_labels.tif; images alone. In two
    folders, files belong together when they have the same name (but for endings such as _image and _labels),
    else by their order.

    Returns a list of Pairs, by name. Raises UserError when there is no volume, a volume has no labels, or the
    labels have another shape or are no whole numbers.
    """
    folder = as_path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give the folder that holds the volumes")
    where = [
        folder,
        *sorted(p for p in folder.rglob("*") if p.is_dir() and not p.name.startswith((".", "__MACOSX"))),
    ]
    found = []
    for place in where:
        if place.name.lower() in LABELS and place != folder:
            found += _two_folders(_images_beside(place), place, folder)
    if not found:
        found = [pair for place in where for pair in _side_by_side(place, folder)]
    if not found:
        raise UserError(
            f"{folder} holds no volume: put TIFFs (.tif) into it, or into {folder / 'images'} "
            f"with their labels in {folder / 'labels'}"
        )
    if len({pair.name for pair in found}) < len(found):
        raise UserError(f"{folder} holds several volumes of the same name: rename them")
    for pair in found:
        _check(pair)
    return found


def _tiffs(place):
    return volumes.find(place) if any(f.suffix.lower() in (".tif", ".tiff") for f in place.iterdir()) else []


def _images_beside(labels):
    beside = [p for p in sorted(labels.parent.iterdir()) if p.is_dir() and p.name.lower() in IMAGES]
    return beside[0] if beside else labels.parent


def _name(path, folder):
    """c5_image.tif is c5; test/images/c5.tif is test/c5: the folders count where they tell volumes apart."""
    stem = IMAGE_ENDING.sub("", path.stem) or path.stem
    parts = [p for p in path.parent.relative_to(folder).parts if p.lower() in PARTS]
    return "/".join([*parts, stem])


def _two_folders(images, labels, folder):
    image_files, label_files = _tiffs(images), _tiffs(labels)
    plain = {LABEL_ENDING.sub("", f.stem): f for f in label_files}
    names = [IMAGE_ENDING.sub("", f.stem) or f.stem for f in image_files]
    if len(plain) == len(label_files) and set(names) <= set(plain):
        label_files = [plain[name] for name in names]
    elif len(image_files) != len(label_files):
        lonely = sorted(set(names) - set(plain)) or sorted(set(plain) - set(names))
        raise UserError(
            f"{images} holds {len(image_files)} volumes, but {labels} {len(label_files)} label "
            f"files (look at {lonely[0]}): each volume needs one of the same name"
        )
    return [Pair(_name(i, folder), i, m) for i, m in zip(image_files, label_files)]


def _side_by_side(place, folder):
    files = _tiffs(place)
    labels = {LABEL_ENDING.sub("", f.stem): f for f in files if LABEL_ENDING.search(f.stem)}
    images = [f for f in files if f not in labels.values()]
    found = [
        Pair(_name(f, folder), f, labels.pop(IMAGE_ENDING.sub("", f.stem), labels.pop(f.stem, None)))
        for f in images
    ]
    without = [pair for pair in found if pair.labels is None]
    if labels and images:
        raise UserError(
            f"{next(iter(labels.values()))} belongs to no volume: give it the name of its volume and _labels"
        )
    if without and len(without) < len(found):
        raise UserError(
            f"{without[0].image} has no labels, though others in its folder have: add "
            f"{without[0].name}_labels.tif, or move it to another folder"
        )
    return found


def _check(pair):
    if pair.labels is None:
        return
    (image, _), (labels, kind) = _glance(pair.image), _glance(pair.labels)
    if image != labels:
        raise UserError(
            f"{pair.labels} has shape {labels}, but {pair.image} has {image}: labels must have "
            f"the shape of their "
            "volume; are these two a pair?"
        )
    if kind not in "bui":
        volumes.read_labels(pair.labels)  # whole numbers stored as float are fine: only the values tell


def _glance(path):
    """Shape and kind of number of a TIFF, from its header where that is clear: reading takes seconds."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            shape = tuple(n for n in tif.series[0].shape if n != 1)
            if len(tif.series) == 1 and len(shape) == 3:
                return shape, tif.series[0].dtype.kind
    except Exception:  # what is wrong with the file, tiff.load says best
        pass
    array, _ = tiff.load(path, None)
    return array.shape, array.dtype.kind
