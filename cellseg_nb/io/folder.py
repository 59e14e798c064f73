"""What lies in a folder: volumes, labels of them, results of earlier runs, other parts of one OME-TIFF.

`cellseg_nb.io.volumes.find` is the door to this module.
"""

import re
from xml.etree import ElementTree

from cellseg_nb.errors import UserError
from cellseg_nb.io import tiff
from cellseg_nb.io.files import as_path, reason

BETWEEN = r"(?:^|[ _.-]+)"
IMAGE_ENDING = re.compile(r"[ _.-]*(images?|img|raw|volume)$", re.IGNORECASE)
LABEL_ENDING = re.compile(
    BETWEEN + r"(cp[ _.-]?masks?|labels?|masks?|gt|(ground[ _.-]?)?truth|annotations?"
    r"|(simple[ _.-]?)?seg(mentation)?|object[ _.-]?(predictions?|identities))$",
    re.IGNORECASE,
)
RESULT_ENDING = re.compile(BETWEEN + r"(prob(abilit(y|ies))?s?|predictions?)$", re.IGNORECASE)
VOLUME = "volume"


def bare(path):
    """Name of a file without .tif, .tiff, .ome.tif."""
    return re.sub(r"(\.ome)?\.tiff?$", "", path.name, flags=re.IGNORECASE)


def key(path):
    """What volume and labels of one name share: c5_image.tif, c5_labels.tif, c5_cp_masks.tif are all c5."""
    return IMAGE_ENDING.sub("", LABEL_ENDING.sub("", bare(path)))


def listed(path):
    """The TIFFs at a path: the file itself, or every .tif and .tiff of a folder in natural order (c2, c10).

    Subfolders and hidden files are left out, nothing else is. Returns a list of Paths. Raises UserError for a
    missing path and for a folder without TIFFs.
    """
    path = as_path(path)
    try:
        if path.is_file():
            return [path]
        if not path.exists():
            raise UserError(f"{path} does not exist: check the spelling, or upload the file first")
        files = [
            f
            for f in path.iterdir()
            if f.suffix.lower() in (".tif", ".tiff") and not f.name.startswith(".") and f.is_file()
        ]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): check its permissions") from error
    if not files:
        raise UserError(
            f"{path} holds no TIFF (.tif or .tiff): give a TIFF file, or the folder that holds them"
        )
    return sorted(files, key=natural)


def natural(path):
    """For sorting: c2 before c10."""
    return [int(part) if i % 2 else part.lower() for i, part in enumerate(re.split(r"(\d+)", path.name))]


def find(path):
    """The volumes at a path: the file itself, or those of a folder, in natural order.

    Left out of a folder, with a table that says why, are labels (x_masks.tif, labels.tif), results
    (probability.tif) and further parts of one OME-TIFF. Returns a list of Paths. Raises UserError like
    `listed`, where no volume is left, and where results of two files would have one name (a.tif, a.tiff).
    """
    files = listed(path)
    if as_path(path).is_file():
        return files
    kinds = sort(files)
    found = [file for file in files if kinds[file] == VOLUME]
    if not found:
        named = names(files)
        raise UserError(
            f"{path} holds only what is named like labels or results ({named}): give the folder of the "
            "volumes, or rename what is a volume"
        )
    refuse_twins(found)
    others = {file.name: "labels (Cellpose)" for file in as_path(path).glob("[!.]*_seg.npy")}
    others |= {file.name: kinds[file] for file in files if kinds[file] != VOLUME}
    if others:
        table = {file.name: VOLUME for file in found} | others
        width = max(map(len, table))
        print(f"{path}: {len(found)} of {len(table)} files read as volumes (rename what is named wrongly)")
        for name, kind in table.items():
            print(f"  {name:{width}}  {kind}" + ("" if kind == VOLUME else ": left out"))
    return found


def names(files, most=8):
    """Names of files for a message, not too many of them."""
    listed_names = [file.name for file in files]
    return ", ".join(listed_names[:most]) + (", ..." if len(listed_names) > most else "")


def refuse_twins(files):
    """UserError for two files whose results would have one name and overwrite each other."""
    seen = {}
    for file in files:
        other = seen.setdefault(file.stem, file)
        if other != file:
            raise UserError(
                f"{file.parent} holds {other.name} and {file.name}, whose results would overwrite each "
                "other: rename one of them, or move it to another folder"
            )


def sort(files):
    """What each file of a folder is, by its name and, for OME-TIFF, its head: {Path: text}."""
    kinds = parts(files)
    keys = {key(file): file for file in files if not LABEL_ENDING.search(bare(file)) and file not in kinds}
    for file in files:
        name = bare(file)
        if file in kinds:
            continue
        if RESULT_ENDING.search(name):
            kinds[file] = "result of an earlier run"
        elif LABEL_ENDING.search(name):
            owner = keys.get(key(file))
            kinds[file] = f"labels of {owner.name}" if owner else "labels, or the result of an earlier run"
        else:
            kinds[file] = VOLUME
    return kinds


def parts(files):
    """Those files that another file of the list reads as a part of its OME-TIFF: {Path: text}."""
    if len(files) < 2:
        return {}
    heads = {file: _ome_set(file) for file in files}
    found = {}
    for file in sorted(files, key=lambda f: heads[f][1]):  # those that hold the description first
        for other in files if file not in found else ():
            if other != file and other.name in heads[file][0]:
                found[other] = f"another part of {file.name}"
    return found


def _ome_set(path):
    """Names of the files of the OME-TIFF that a file belongs to, and whether the description is elsewhere."""
    import tifffile

    try:
        with tiff.quiet_tifffile(), tifffile.TiffFile(path) as tif:
            if not tif.is_ome:
                return set(), False
            head = ElementTree.fromstring(tif.ome_metadata)
    except Exception:  # what is wrong with a file is said when it is read
        return set(), False
    only = head.find("{*}BinaryOnly")
    if only is not None:
        return {only.get("MetadataFile")}, True
    own = head.get("UUID")
    return {one.get("FileName") for one in head.iterfind(".//{*}TiffData/{*}UUID") if one.text != own}, False
