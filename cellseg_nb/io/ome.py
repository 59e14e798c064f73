"""OME-TIFF in several files: which of them describes the set, and what lies where.

A part may say no more than that another file describes it ("BinaryOnly"): a TIFF, or a text that ends in
.companion.ome. Source: the OME-TIFF specification, https://ome-model.readthedocs.io.
"""

import math
from pathlib import Path
from xml.etree import ElementTree

from cellseg_nb.errors import UserError

COMPANION = ".companion.ome"


def elsewhere(tif):
    """Name of the file that describes an open `tifffile.TiffFile`, where it does not so itself; else None."""
    if not tif.is_ome or "BinaryOnly" not in tif.ome_metadata:
        return None
    only = ElementTree.fromstring(tif.ome_metadata).find("{*}BinaryOnly")
    return None if only is None else only.get("MetadataFile") or ""


def whole(path):
    """The `tifffile.TiffFile` of the set that a path belongs to: itself, or what describes it. Raises
    UserError for a part whose description is not there."""
    import tifffile

    path = Path(path)
    if path.name.lower().endswith(COMPANION):
        return _by_companion(path, path)
    tif = tifffile.TiffFile(path)
    if tif.is_scanimage and not tif.is_bigtiff and tif.filehandle.size < 2**31:
        # tifffile reckons where the pages of such files lie, and may miss the last one
        tif.close()
        return tifffile.TiffFile(path, is_scanimage=False)
    name = elsewhere(tif)
    if name is None:
        alone = renamed(tif)
        return tifffile.TiffFile(path, omexml=alone) if alone and not tif.close() else tif
    tif.close()
    beside = path.with_name(Path(name).name)
    if not name or not beside.is_file():
        raise UserError(
            f"{path} is one part of an OME-TIFF that {name or 'another file'} describes, which is not beside "
            "it: copy that file into the same folder"
        )
    return _by_companion(beside, path) if name.lower().endswith(COMPANION) else tifffile.TiffFile(beside)


def renamed(tif):
    """The description of an open `tifffile.TiffFile` without names of files, where it has one name alone,
    which is not its own, no UUID, and all planes: it was renamed, and another file may have its old name."""
    if not tif.is_ome:
        return None
    try:
        head = ElementTree.fromstring(tif.ome_metadata)
        pixels, names = head.findall("{*}Image/{*}Pixels"), named(head)
        if head.get("UUID") or len(names) != 1 or names[0] == tif.filehandle.name or len(pixels) != 1:
            return None
        if len(tif.pages) < math.prod(int(pixels[0].get(f"Size{axis}", 1)) for axis in "ZCT"):
            return None
    except (ElementTree.ParseError, ValueError):
        return None
    for data in pixels[0].iterfind("{*}TiffData"):
        for one in data.findall("{*}UUID"):
            data.remove(one)
    return ElementTree.tostring(head, encoding="unicode")


def _by_companion(companion, path):
    import tifffile

    text = companion.read_text(encoding="utf-8")
    first = next(iter(named(ElementTree.fromstring(text))), None)
    first = companion.with_name(Path(first).name) if first else path
    if first == companion or not first.is_file():
        raise UserError(f"{companion} describes {first.name}, which is not beside it: copy that file too")
    return tifffile.TiffFile(first, omexml=text)


def named(head):
    """Names of the files that a description says its planes lie in, in their order, each once."""
    every = (one.get("FileName") for one in head.iterfind(".//{*}TiffData/{*}UUID"))
    return list(dict.fromkeys(filter(None, every)))


def channels(tif, number):
    """Names of the channels of an image of an open `tifffile.TiffFile`, as its description has them."""
    try:
        image = ElementTree.fromstring(tif.ome_metadata).findall("{*}Image")[number]
    except (ElementTree.ParseError, IndexError, TypeError):
        return ()
    return tuple(one.get("Name") or "" for one in image.iterfind("{*}Pixels/{*}Channel"))


def away(tif):
    """Names of those files of an open `tifffile.TiffFile`'s set that are not beside it."""
    if not tif.ome_metadata:
        return []
    every = named(ElementTree.fromstring(tif.ome_metadata))
    return [name for name in every if not Path(tif.filehandle.dirname, Path(name).name).is_file()]


def members(path):
    """Names of the other files of the OME-TIFF that a file belongs to, and whether it is described elsewhere
    in one of them."""
    import tifffile

    with tifffile.TiffFile(path) as tif:
        if not tif.is_ome or renamed(tif):
            return set(), False
        head, name = ElementTree.fromstring(tif.ome_metadata), elsewhere(tif)
    if name is None:
        own = head.get("UUID")
        every = head.iterfind(".//{*}TiffData/{*}UUID")
        return {one.get("FileName") for one in every if one.text != own}, False
    beside = path.with_name(Path(name).name)
    if name.lower().endswith(COMPANION) and beside.is_file():
        return set(named(ElementTree.fromstring(beside.read_text(encoding="utf-8")))) - {path.name}, False
    return {name}, True
