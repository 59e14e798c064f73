"""Which label file belongs to which volume of a folder."""

import filecmp
import functools
import itertools
import re
from collections import namedtuple

from cellseg_nb.data import places
from cellseg_nb.errors import UserError
from cellseg_nb.io import axes, folder as folders, formats, ngff, planes, volumes
from cellseg_nb.io.files import as_path, typed

Pair = namedtuple("Pair", "name image labels")  # labels is None where there are none
ONE_SLICE = re.compile(r"^man_seg_\d+_\d+$")
PARTS = {"train", "test", "val", "validation"}
FIRST_CHANNEL = re.compile(r"_0000$")  # of nnU-Net
# How names are compared, the strictest first.
WAYS = (folders.bare, folders.stem, folders.key, lambda file: FIRST_CHANNEL.sub("", folders.key(file)))


def pairs(folder, in_order=False):
    """Find the volumes of a folder and the labels that belong to them.

    Understood are: a folder ``labels`` or ``masks`` beside a folder ``images``, or inside the folder of the
    images, at any depth; files side by side, such as c5_image.tif and c5_labels.tif; images alone.
    Which labels belong to which volume, their names say (see `matched`); ``in_order``: where these do not,
    their order does, as in an archive that was published so.

    Returns a list of Pairs, by name. Raises UserError when there is no volume, a volume has no labels, or the
    labels have another shape or are no whole numbers.
    """
    folder = as_path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give the folder that holds the volumes")
    where = places.inside(folder)
    found = []
    labelled = {}  # folders of volumes, and that of their labels
    for place in sorted(where, key=lambda one: one.name.lower() not in places.LABELS):
        if place.name == "SEG" and places.TRACKED.fullmatch(place.parent.name):
            images = place.parent.with_name(place.parent.name[:-3])
            if any(pair.image.parent == images for pair in found):  # 01_GT comes before 01_ST
                print(f"{place}: the other truth is taken, left out")
                continue
            found += _tracked(place, folder)
        elif places.of_labels(place) and place != folder:
            images = places.of_images(place)
            if place.name.lower() not in places.LABELS and labelled.get(images, "").lower() in places.LABELS:
                print(f"{place}: {labelled[images]} holds the labels of its volumes, left out")
                continue
            labelled[images] = place.name
            found += _two_folders(images, place, folder, in_order)
    if not found:
        found = [pair for place in where for pair in _side_by_side(place, folder)]
        _refuse_labels_alone(where, found, folder)
    if not found:
        raise UserError(
            f"{folder} holds no volume: put TIFFs (.tif), or other files that are read, into it, or into "
            f"{folder / 'images'} with their labels in {folder / 'labels'}"
        )
    if len({pair.name for pair in found}) < len(found):
        found = _told_apart(found, folder)
    for pair in found:
        _check(pair)
    return found


def _told_apart(found, folder):
    """Pairs of the same name in several folders, such as a folder for each sample: these become part of it.

    Raises UserError where no labels show that they are volumes, as one folder may hold those of another.
    """
    names = [pair.name for pair in found]
    twice = [pair for pair in found if names.count(pair.name) > 1]
    for one, other in itertools.combinations((pair.image for pair in twice), 2):
        if one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False):
            raise UserError(f"{one} and {other} are the same file: move one of them to another folder")
    without = [pair.image for pair in twice if pair.labels is None]
    if without and len(without) < len(twice):
        raise UserError(
            f"{without[0]} has no labels, though others of its name have: put them beside it, as "
            f"{folders.bare(without[0])}_labels.tif, or move it to another folder"
        )
    if without:
        same = [pair.image for pair in twice if pair.name == twice[0].name][:2]
        raise UserError(
            f"{folder} holds several volumes of the same name ({' and '.join(map(str, same))}): rename them, "
            "or, if one folder holds the labels of the other, call it labels and the other images"
        )
    apart = []
    for pair in found:
        parts = [p for p in pair.image.relative_to(folder).parts[:-1] if p.lower() not in places.IMAGES]
        apart.append(pair._replace(name="/".join([*parts, pair.name.rpartition("/")[2]])))
    if len({pair.name for pair in apart}) < len(apart):
        raise UserError(f"{folder} holds several volumes of the same name: rename them")
    return apart


def _tracked(labels, folder):
    """Pairs of a Cell Tracking Challenge set: 01/t000.tif, 01_GT/SEG/man_seg000.tif.

    Of most time points there are no labels; files such as man_seg_000_005.tif hold those of one slice. Both
    are left out, with a word.
    """
    images = labels.parent.with_name(places.TRACKED.fullmatch(labels.parent.name)[1])
    if not images.is_dir() or not places.holds_volumes(images) or not places.holds_volumes(labels):
        return []
    files = {folders.key(f): f for f in folders.listed(labels) if not ONE_SLICE.search(f.stem)}
    every = {folders.key(f): f for f in folders.listed(images)}
    both = [number for number in every if number in files]
    if len(both) < len(every) or len(files) < len(folders.listed(labels)):
        print(
            f"{images}: {len(both)} of {len(every)} time points have labels of the whole volume; the others "
            "are left out"
        )
    return [Pair(f"{images.name}/{number}", every[number], files[number]) for number in both]


def matched(images, labels):
    """Which label file belongs to which volume, by name: a list of paths, in the order of ``images``.

    The names are the same but for endings such as _image, _labels and _cp_masks, or consist of the same words
    in another order (ctrl_m2, m2_ctrl_mask), which is said. Labels that are left over are named. Raises
    UserError, with both lists, where a volume has no labels or more than one file of them.
    """
    if not labels:
        raise UserError(
            f"no label file was found for {images[0]}: give the folder that holds the labels of its volumes"
        )
    found, said = [], []
    for image in images:
        same = ([file for file in labels if way(file) == way(image)] for way in WAYS)
        exact = next(filter(None, same), [])
        words = _words(folders.key(image))
        files = exact or [file for file in labels if _words(folders.key(file)) == words]
        if len(files) > 1:
            several = f"{len(files)} files of labels for {image.name} ({folders.names(files)})"
            raise UserError(f"{files[0].parent} holds {several}: keep one of them in the folder")
        if not files or files[0] in found:
            raise UserError(
                f"{image.parent} holds {len(images)} volumes ({folders.names(images)}), "
                f"{labels[0].parent} {len(labels)} label files ({folders.names(labels)}), and the names do "
                f"not match (look at {image.name}): give the labels of each volume its name, such as "
                f"{folders.bare(image)}_labels.tif, once, or give one volume and its label file"
            )
        found.append(files[0])
        if not exact:
            said.append(f"{files[0].name} is taken as the labels of {image.name}: the same words")
    left = [file for file in labels if file not in found]
    if left:
        said.append(f"{folders.names(left)}: no volume of this name, left out")
    print(*said, sep="\n", end="\n" if said else "")
    return found


@functools.cache
def _words(name):
    words = re.findall(r"[^\W_]+", name.casefold())
    return sorted(str(int(word)) if word.isdecimal() else word for word in words)


def label_files(place):
    """The files of a folder that may be labels: each OME-TIFF once."""
    place = as_path(place)
    if planes.only(place):
        return [place]
    files = folders.listed(place)
    other = folders.parts(files)
    return [file for file in files if file not in other and not ONE_SLICE.search(folders.bare(file))]


def _refuse_labels_alone(where, found, folder):
    """UserError where volumes come from a folder that is named as one of labels, beside other volumes."""
    of_labels = [p for p in where if p != folder and places.of_labels(p)]
    inside = [
        (p, pair.image)
        for pair in found
        for p in of_labels
        if p == pair.image.parent or pair.labels is None and p in pair.image.parents
    ]
    if not inside or len({image for _, image in inside}) == len(found):
        return
    place, image = inside[0]
    if image.parent == place and not image.is_dir():
        raise UserError(
            f"{place} is named as a folder of labels, and of which volumes is not clear: call it labels, and "
            "the folder of its volumes images, both in one folder; or, if it holds volumes, give it another "
            "name"
        )
    raise UserError(
        f"{image} lies within {place}, which is named as one of labels, and of which volume is not "
        "clear: give each sample a folder, with its volume in images and its labels in labels; or, if it "
        "holds volumes, give it another name"
    )


def _name(path, folder):
    """c5_image.tif is c5; test/images/c5.tif is test/c5: the folders count where they tell volumes apart."""
    name = folders.bare(path)
    stem = folders.IMAGE_ENDING.sub("", name) or name
    parts = [p for p in path.parent.relative_to(folder).parts if p.lower() in PARTS]
    return "/".join([*parts, stem])


def _two_folders(images, labels, folder, in_order):
    if not places.holds_volumes(images):
        return []
    image_files, files = volumes.find(images), label_files(labels) if places.holds_volumes(labels) else []
    other = folders.foreign(labels) if not files else ()
    if other:
        what = f"labels of a format that is not read, such as {other[0].name}"
        raise UserError(f"{labels} holds {what}: {formats.as_tiff(other[0])}")
    if not files:
        empty = "is empty" if not any(labels.glob("[!.]*")) else "holds no label file of a whole volume"
        raise UserError(
            f"{labels} {empty}: put a label file for each volume of {images} into it, or, to go on without "
            "labels where a notebook can, move the folder away"
        )
    try:
        found = matched(image_files, files)
    except UserError:
        if not in_order or len(image_files) != len(files):
            raise
        found = files
    return [Pair(_name(i, folder), i, m) for i, m in zip(image_files, found)]


def _side_by_side(place, folder):
    if planes.only(place):
        for file in sorted({*folders.listed(place)} - {*planes.files(place)[0]}):
            print(f"{file}: among the planes of a stack, left out")
        return [Pair(place.name, place, None)]
    if not places.holds_volumes(place):
        return []
    kinds = folders.sort(folders.listed(place))
    images = [file for file, kind in kinds.items() if kind == folders.VOLUME]
    labels = [file for file, kind in kinds.items() if kind.startswith("labels")]
    images, labels = sorted(images, key=folders.natural), sorted(labels, key=folders.natural)
    if labels:  # without them, planes are told where they are read
        images, small = folders.flat_left_out(images)
        kinds |= small
    for file, kind in kinds.items():
        if file not in (*images, *labels):
            print(f"{file}: {kind}, left out")
    for word in _unread(place, images) if not labels else ():
        print(word)
    if not images:  # such as the output folder of an earlier run
        if labels:
            print(f"{place}: no volume beside {folders.names(labels)}, left out")
        return []
    keys = [_words(folders.key(file)) for file in images]
    lonely = [file for file in labels if _words(folders.key(file)) not in keys]
    if lonely:
        raise UserError(
            f"{lonely[0]} belongs to no volume: give it the name of its volume and _labels, or move it to "
            "another folder"
        )
    folders.refuse_twins(images)
    known = [_words(folders.key(file)) for file in labels]
    without = [file for file in images if _words(folders.key(file)) not in known]
    if without and labels:
        raise UserError(
            f"{without[0]} has no labels, though others in its folder have: add "
            f"{_name(without[0], folder)}_labels.tif, or move it to another folder"
        )
    found = matched(images, labels) if labels else [None] * len(images)
    return [Pair(_name(image, folder), image, file) for image, file in zip(images, found)]


def _unread(place, images):
    """Lines on labels beside volumes, or within OME-Zarr, that are not read there."""
    for file in filter(folders.is_label, folders.foreign(place)):
        yield f"{file}: labels of a format that is not read, left out: {formats.as_tiff(file)}"
    for image in images:
        inner = image / "labels"
        for labels in sorted(filter(ngff.is_zarr, inner.iterdir() if inner.is_dir() else ())):
            beside = image.parent / f"{folders.bare(image)}_labels.tif"
            yield (
                f"{labels}: not used; if these are its labels, write them beside it, as in: "
                f"cellseg-nb convert {typed(labels)} {typed(beside)}"
            )


def _check(pair):
    if pair.labels is None:
        return
    try:
        (image, _), (labels, kind) = folders.glance(pair.image), folders.glance(pair.labels)
    except axes.Several as error:
        raise error.alone() from error
    if image != labels:
        raise UserError(
            f"{pair.labels} has shape {labels}, but {pair.image} has {image}: labels must have "
            "the shape of their volume; are these two a pair?"
        )
    if kind not in "bui":
        volumes.read_labels(pair.labels)  # whole numbers stored as float are fine: only the values tell
