"""Which folders hold volumes, and which labels, by their names."""

import re

from cellseg_nb.errors import UserError
from cellseg_nb.io import folder as folders, formats, ngff
from cellseg_nb.io.files import reason

IMAGES = {"images", "image", "imgs", "img", "raw", "volumes"}
LABELS = {"labels", "label", "masks", "mask", "gt", "ground_truth", "groundtruth", "annotations"}
LABELS |= {"seg", "segs", "segmentation", "segmentations", "truth", "lbl", "lbls"}
TRACKED = re.compile(r"(\d\d+)_(GT|ST)")  # of the Cell Tracking Challenge: gold or silver truth
# What network drives and systems keep: previews, and what was deleted.
BINS = {"@eadir", "#recycle", "$recycle.bin", "__macosx", "system volume information", "lost+found"}
PART = r"(?:tr|ts|val|train|test)"  # as nnU-Net names its folders: imagesTr, labelsTr


def inside(top):
    """A folder and those in it at any depth, without hidden ones and OME-Zarr."""
    found = [top]
    try:
        inner = sorted(p for p in top.iterdir() if p.is_dir())
    except OSError as error:
        raise UserError(
            f"{top} cannot be read ({reason(error)}): check its permissions, or move it away"
        ) from error
    for place in inner:
        if place.name[0] != "." and place.name.lower() not in BINS and not ngff.is_zarr(place):
            found += inside(place)
    return found


def holds_volumes(place):
    """Whether a folder itself holds files of a format that is read."""
    return any(formats.listed(f) for f in place.iterdir())


def of_labels(place):
    """Whether a folder is named as one of labels (labels, masks), or is so and holds some (labelsTr,
    nuclei_masks)."""
    name = place.name.lower()
    if name in LABELS:
        return True
    if folders.NONE.search(name):
        return False
    named = re.fullmatch("labels?" + PART, name) or folders.LABEL_ENDING.search(name)
    return bool(named) and not TRACKED.fullmatch(place.name) and holds_volumes(place)


def of_images(labels):
    """The folder of the volumes that a folder of labels belongs to: beside it, or that in which it lies."""
    beside = [p for p in sorted(labels.parent.iterdir()) if p.is_dir() and not of_labels(p)]
    name = re.fullmatch(f"labels?({PART})", labels.name.lower())
    if name:
        wanted = {f"images{name[1]}", f"image{name[1]}"}
    else:
        wanted = IMAGES
    found = [p for p in beside if p.name.lower() in wanted]
    # nuclei_masks beside nuclei_images, or beside nuclei
    key = folders.LABEL_ENDING.sub("", labels.name.lower())
    found = found or [p for p in beside if key and folders.IMAGE_ENDING.sub("", p.name.lower()) == key]
    return found[0] if found else labels.parent
