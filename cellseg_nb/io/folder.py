"""What lies in a folder: volumes, labels of them, results of earlier runs, parts of one OME-TIFF, planes.

`cellseg_nb.io.volumes.find` is the door to this module.
"""

import re
import unicodedata

from cellseg_nb.errors import UserError
from cellseg_nb.io import formats, loading, ngff, ome, parts as parts_of, planes, tiff
from cellseg_nb.io.files import as_path, copies, reason

BETWEEN = r"(?:^|[ _.-]+)"
IMAGE_ENDING = re.compile(r"[ _.-]*(images?|img|raw|volume)$", re.IGNORECASE)
IMAGE_START = re.compile(r"^(images?|img|im|raw|volume|vol)[ _.-]+(?=.)", re.IGNORECASE)
LABEL_WORDS = (
    r"(cp[ _.-]?(masks?|output)"
    r"|(labell?(ed)?|labels|lbls?|masks?|msk|segm)([ _.-]?(image|img|map|volume|stack)s?)?"
    r"|catchment[ _.-]?basins|gt|(ground[ _.-]?)?truth|instances?|binary"
    r"|annotat(ions?|ed)|(simple[ _.-]?)?seg(mentation|mented)?"
    r"|stardist|object[ _.-]?(predictions?|identities))"
)
# c5_objects is labels beside c5, and alone a volume of objects.
PERHAPS = r"(cellpose|watershed|classes|threshold(ed)?|objects|(labels?|masks?|seg(mentation)?|gt)\d{1,2})"
VERSION = (
    r"([ _.-]+(\d+|[23]d|v\d+|edited|corrected|corr|curated|cleaned|clean|fixed|final|new|copy|kopie|old)"
    r"|[ _.-]*(\([^()]*\)|\[[^\[\]]*\])"  # (1), [1], (somebody's conflicted copy 2024-03-01)
    r"|-(desktop|laptop)-\w+)*"  # conflicts of OneDrive
)
EITHER = f"{BETWEEN}({LABEL_WORDS}|{PERHAPS}){VERSION}"
ENDING = re.compile(f"({EITHER})+$", re.IGNORECASE)
LABEL_ENDING = re.compile(f"{BETWEEN}{LABEL_WORDS}{VERSION}({EITHER})*$", re.IGNORECASE)
# mouse_no_label, without_labels, unlabelled
NONE = re.compile(BETWEEN + r"(no|not|un|without|missing)[ _.-]?(?=label|mask)", re.IGNORECASE)
LABEL_START = re.compile("^" + LABEL_WORDS + r"[ _.-]+", re.IGNORECASE)
RESULT_ENDING = re.compile(
    BETWEEN
    + r"((probabilit(y|ies)|predictions?)"
    + VERSION
    + r"|prob(abilit(y|ies))?s?([ _.-]?maps?)?|pred(iction)?s?|heat[ _.-]?maps?|uncertaint(y|ies)"
    r"|overlays?|contours?|dist(ance)?[ _.-]?maps?|distances?|(cp[ _.-]?)?(flows?|outlines?|dp))$",
    re.IGNORECASE,
)
# Cell Tracking Challenge: t000.tif; man_seg000.tif, man_track000.tif of the truth; mask000.tif of results.
TRACKED = re.compile(r"^(?:man_(?:seg|track)|mask)_?(\d+)(_\d+)?$|^t(\d+)$")
# Of the file that is named without it, if there is one.
OUTPUT = re.compile(BETWEEN + r"(results?|outputs?)$", re.IGNORECASE)
SMALL = re.compile(BETWEEN + r"(thumb(nail)?s?|preview|overview|macro|pyramid)$", re.IGNORECASE)
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
SHOWN = 12  # files of a kind that are left out
VOLUME = "volume"


def bare(path):
    """Name of a file without .tif, .ome.tif, .nii.gz, ..."""
    end = formats.ending(path)
    name = path.name[: len(path.name) - len(end)] if end else path.stem
    return unicodedata.normalize("NFC", name)  # macOS writes ä as a and two dots


def key(path):
    """What volume and labels of one name share: c5_image.tif, img_c5.tif, c5_labels.tif, mask_c5.tif are all
    c5."""
    return IMAGE_START.sub("", stem(path))


def stem(path):
    """As `key`, but img_c5.tif and vol_c5.tif are two."""
    name = bare(path)
    tracked = TRACKED.fullmatch(name)
    if tracked:
        return tracked[1] or tracked[3]
    return IMAGE_ENDING.sub("", ENDING.sub("", LABEL_START.sub("", name)))


def is_label(path):
    """Whether a file is named like labels."""
    name = bare(path)
    if NONE.search(name):
        return False
    return (
        bool(LABEL_ENDING.search(name) or LABEL_START.match(name))
        or bool(re.match("man_|mask", name))
        and bool(TRACKED.fullmatch(name))
    )


def listed(path):
    """The volumes at a path: the file itself (or OME-Zarr folder), or all that lie in a folder, in natural
    order (c2, c10).

    Other subfolders and hidden files are left out, nothing else is. Returns a list of Paths. Raises UserError
    for a missing path and for a folder without such files.
    """
    path = as_path(path)
    try:
        if path.is_file() or ngff.is_zarr(path):
            return [path]
        if not path.exists():
            raise UserError(f"{path} does not exist: check the spelling, or upload the file first")
        files = [f for f in path.iterdir() if formats.listed(f)]
        if not files:
            formats.check_n5(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): check its permissions") from error
    if not files:
        raise UserError(
            f"{path} holds no TIFF nor another file that is read ({formats.words()}): give a file, or the "
            f"folder that holds them{_deeper(path)}"
        )
    return sorted(files, key=natural)


def _deeper(path):
    """The folders within that do hold volumes, or what is not read, for a message."""
    found = [
        p for p in path.iterdir() if p.is_dir() and p.name[0] != "." and any(map(formats.listed, p.iterdir()))
    ]
    if found:
        return f", such as {sorted(found, key=natural)[0]}"
    other = foreign(path)
    if not other:
        return ""
    first = other[0]
    if first.name.lower().endswith(PICTURES):
        return (
            f"; {first.name} and its like open in Fiji (File > Import > Image Sequence...) and save as TIFF"
        )
    return f"; {first.name} is of a format that is not read: {formats.as_tiff(first)}"


def foreign(path):
    """What lies in a folder and is of a known format that is not read, or a TIFF without an ending: Paths in
    natural order."""
    every = sorted(path.iterdir(), key=natural)
    found = [p for p in every if p.name[0] != "." and p.is_file() and formats.of(p) is None]
    return [p for p in found if p.name.lower().endswith(formats.FOREIGN) or not p.suffix and tiff.marked(p)]


def natural(path):
    """For sorting: c2 before c10."""
    return [int(part) if i % 2 else part.lower() for i, part in enumerate(re.split(r"(\d+)", path.name))]


def find(path):
    """The volumes at a path: the file itself, or those of a folder, in natural order.

    A folder that holds the planes of one stack is a volume itself. Left out of a folder, with a table that
    says why, are labels (x_masks.tif, labels.tif), results (probability.tif), further parts of one OME-TIFF,
    and thumbnails. Returns a list of Paths. Raises UserError like `listed`, where no volume is left, where
    planes of several stacks lie together, and where results of two files would have one name (a.tif, a.tiff).
    """
    files, path = listed(path), as_path(path)
    if files == [path]:
        return files
    if planes.only(path):
        return [path]
    kinds = sort(files)
    found = [file for file in files if kinds[file] == VOLUME]
    if not found:
        named = names(files)
        raise UserError(
            f"{path} holds only what is named like labels or results ({named}): give the folder of the "
            "volumes, or rename what is a volume"
        )
    refuse_twins(found)
    found, small = flat_left_out(found)
    kinds |= small
    others = {file.name: "labels (Cellpose)" for file in path.glob("[!.]*_seg.npy")}
    others |= {f.name: "not read" for f in foreign(path) if f.name not in others}
    others |= {file.name: kinds[file] for file in files if kinds[file] != VOLUME}
    for file, other in copies(found):
        print(f"{file.name} is the same as {other.name}, byte for byte, and both are read")
    if others:
        _show(path, {file.name: VOLUME for file in found} | others)
    return found


def _show(path, table):
    """Print what the files of a folder are, {name: kind}, the volumes first."""
    kinds, width = [*table.values()], max(map(len, table))
    read = kinds.count(VOLUME)
    print(f"{path}: {read} of {len(table)} files read as volumes (rename what is named wrongly)")
    for number, (name, kind) in enumerate(table.items()):
        before = kinds[:number].count(kind)
        if kind == VOLUME or before < SHOWN:
            print(f"  {name:{width}}  {kind}" + ("" if kind == VOLUME else ": left out"))
        elif before == SHOWN:
            print(f"  and {kinds.count(kind) - SHOWN} more of these")


def flat_left_out(files):
    """The stacks among volumes, and what the others are: single planes. UserError where all are planes."""
    if len(files) < 2:
        return files, {}
    flat = {file for file in files if formats.of(file).images is tiff.images and planes.flat(file)}
    if len(flat) < len(files):
        kind = "2D: a plane of a stack, or a thumbnail"
        return [file for file in files if file not in flat], dict.fromkeys(flat, kind)
    raise UserError(
        f"{files[0].parent} holds {len(files)} single planes that are not those of one stack "
        f"({names(files)}): put "
        "the planes of each stack into a folder of its own, with numbers at the end of their names "
        "(z000.tif, "
        "z001.tif, z002.tif, ...), and give that"
    )


def names(files, most=8):
    """Names of files for a message, not too many of them."""
    listed_names = [file.name for file in files]
    return ", ".join(listed_names[:most]) + (", ..." if len(listed_names) > most else "")


def refuse_twins(files):
    """UserError for two files whose results would have one name and overwrite each other."""
    seen = {}
    for file in files:
        # On some disks A.tif and a.tif are one file, so their results would be.
        other = seen.setdefault(bare(file).casefold(), file)
        if other != file:
            raise UserError(
                f"{file.parent} holds {other.name} and {file.name}, whose results would overwrite each "
                "other: rename one of them, or move it to another folder"
            )


def sort(files):
    """What each file of a folder is, by its name and, for OME-TIFF, its head: {Path: text}."""
    kinds = parts(files)
    perhaps = {file for file in files if ENDING.search(bare(file)) and not is_label(file)}
    others = {*perhaps, *kinds}
    names_of = {bare(file) for file in files}
    owners = {key(file): file for file in files if not is_label(file) and file not in others}
    for file in files:
        name = bare(file)
        if file in kinds:
            continue
        if RESULT_ENDING.search(name) or OUTPUT.search(name) and OUTPUT.sub("", name) in names_of:
            kinds[file] = "result of an earlier run"
        elif is_label(file) or (file in perhaps and key(file) in owners):
            owner = owners.get(key(file))
            kinds[file] = f"labels of {owner.name}" if owner else "labels, or the result of an earlier run"
        elif SMALL.search(name) and len(files) > 1:
            kinds[file] = "pyramid or thumbnail"
        else:
            kinds[file] = VOLUME
    return kinds


def parts(files):
    """Those files that another file of the list reads as a part of its OME-TIFF: {Path: text}."""
    if len(files) < 2:
        return {}
    heads = {file: _ome_set(file) for file in files if formats.of(file).images is tiff.images}
    found = {}
    for file in sorted(heads, key=lambda f: heads[f][1]):  # those that hold the description first
        for other in files if file not in found else ():
            if other != file and other.name in heads[file][0]:
                found[other] = f"another part of {file.name}"
    return found


def _ome_set(path):
    """Names of the files of the OME-TIFF that a file belongs to, and whether the description is elsewhere."""
    try:
        with tiff.quiet_tifffile():
            return ome.members(path)
    except Exception:  # what is wrong with a file is said when it is read
        return set(), False


def glance(path):
    """Shape (Z, Y, X) and kind of number of a volume, from its head where that is clear: reading takes
    seconds. Raises UserError."""
    from cellseg_nb.io import axes

    try:
        found = loading.look(path)
        found = found if len(found) == 1 else [one for one in found if parts_of.stack(one)]
        if len(found) == 1:
            _, order, _ = axes.zyx(path, found[0].shape, found[0].axes)
            long = [n for n in found[0].shape if n != 1]
            if len(long) == 3:
                return tuple(long[i] for i in order), found[0].dtype.kind
    except UserError:  # what is wrong with the file, loading it says best
        pass
    array, _ = loading.load(path)
    return array.shape, array.dtype.kind
