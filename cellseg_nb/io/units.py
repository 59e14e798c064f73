"""Lengths in the heads of files: units of any spelling, and the voxel size (z, y, x) in µm that they mean."""

import re
import unicodedata
from xml.etree import ElementTree

import numpy as np

from cellseg_nb.errors import UserError

# Micrometres in one unit, spelled as `_plain` leaves it.
MICROMETRES = {
    "fm": 1e-9,
    "femtometer": 1e-9,
    "pm": 1e-6,
    "picometer": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
    "ångström": 1e-4,
    "ångstrom": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "нм": 1e-3,
    "纳米": 1e-3,
    "um": 1.0,
    "mkm": 1.0,
    "microm": 1.0,
    "micra": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "мкм": 1.0,
    "микрон": 1.0,
    "微米": 1.0,
    "マイクロメートル": 1.0,
    "u": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "m": 1e6,
    "meter": 1e6,
    "dm": 1e5,
    "decimeter": 1e5,
    "km": 1e9,
    "kilometer": 1e9,
    "thou": 25.4,
    "mil": 25.4,
    "ft": 304800.0,
    "foot": 304800.0,
    "inch": 25400.0,
    "inche": 25400.0,
    "in": 25400.0,
}
NO_LENGTH = {"", "pixel", "px", "voxel", "none", "null"}  # no unit at all, which is nothing to complain of
LIKELY = (1e-3, 1e3)  # µm: voxels of microscopy; else a file that contradicts itself is wrong, or doubted
GIVE = "give voxel_size in µm"
NAMED = re.compile(r"(voxel|pixel|element).*size|resolution|spacing|^scale$", re.IGNORECASE)
CLOSE = 1e-3  # relative: files store fractions, so equal voxel sizes differ in the last digits
INCH, CENTIMETRE = 2, 3  # TIFF's ResolutionUnit


def _plain(name):
    """One spelling of many: µ and μ are u, metre and metres are meter; what escaped or lost bytes left."""
    name = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), str(name))
    name = re.sub(r"\\x([0-9a-fA-F]{2})", lambda code: chr(int(code[1], 16)), name)
    name = unicodedata.normalize("NFKC", name).replace("Âμ", "μ").replace("Î¼", "μ").strip(" \0\"'").lower()
    name = name.replace("μ", "u").replace("mikro", "micro")
    # metre, mètre, metro, metr, meter; a dot or "/pixel" behind; plural; blanks, hyphens and accents within
    name = re.sub(r"\s*(\.|(/| per )\s*(pixel|px|voxel)s?)$", "", name).replace("(s)", "s")
    name = re.sub(r"^(micro|nano|milli|centi|pico)[ -]", r"\1", re.sub(r"^micr[óô]", "micro", name))
    name = re.sub(r"m[eèé]tr[eoyi]?(?=s?$)", "meter", name)
    return re.sub(r"(?<=.{3})s$", "", name)


def micrometres(name):
    """Micrometres in one unit, or None for no length (pixels). Raises KeyError for a unit nobody knows."""
    plain = _plain(name)
    return None if plain in NO_LENGTH else MICROMETRES[plain]


def agree(sizes):
    """Whether voxel sizes, each (z, y, x) or None, are one, but for rounding (`CLOSE`)."""
    sizes = list(sizes)
    if any(size is None for size in sizes):
        return all(size is None for size in sizes)
    return all(np.allclose(size, sizes[0], rtol=CLOSE, atol=0) for size in sizes)


def stored(tif, number=0):
    """What an open `tifffile.TiffFile` says of its voxels: (z, y, x) in µm or None, and a word on it or "".

    From OME (a unit for each axis; of its image ``number``), LSM, from ImageJ as ImageJ resolves it
    (`_imagej`), or as `volumes.write` stores it. The word says what was contradictory or is unknown.
    """
    try:
        if tif.is_ome or "<OME" in (tif.pages[0].description or ""):  # of a cut description only the start
            return _ome(ElementTree.fromstring(tif.ome_metadata or ""), tif.series, number)
        if tif.is_lsm:
            sides = [float(tif.lsm_metadata[f"VoxelSize{axis}"]) for axis in "ZYX"]
            return size(dict.fromkeys("zyx", "m"), *sides) if all(sides) else (None, "")
        tags = tif.pages[0].tags
        y, x = (_side(tags.get(name)) for name in ("YResolution", "XResolution"))
        unit = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 1
        if tif.imagej_metadata:
            return _imagej(tif.imagej_metadata, y, x, int(unit))
        shaped = (tif.shaped_metadata or [{}])[0]
        if "unit" not in shaped or not str(tif.series[0].axes).endswith("YX"):
            return None, ""  # of turned axes nobody knows which of them XResolution meant
        return size(
            {"z": shaped["unit"], "y": shaped["unit"], "x": shaped["unit"]}, shaped.get("spacing", 1.0), y, x
        )
    except ElementTree.ParseError:
        return None, f"its OME description is damaged, and so its voxel size is not known: {GIVE}"
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError):
        return None, ""


def _side(tag):
    """Length of a pixel from a tag of pixels per unit; 1, as in ImageJ, where it is not there or 0."""
    return tag.value[1] / tag.value[0] if tag is not None and tag.value[0] else 1.0


def _ome(tree, series, number):
    every = tree.findall("{*}Image")
    if len(every) != len(series):  # an image without planes has no series
        every = [one for one in every if one.get("Name") == series[number].name]
        number = 0
        if len(every) != 1:
            return None, ""
    pixels = every[number].find("{*}Pixels")
    sides = [pixels.get(f"PhysicalSize{axis}") for axis in "ZYX"]
    if not any(sides):
        return None, ""
    units = {axis.lower(): pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "ZYX"}
    return size(units, *sides)


def _imagej(words, y, x, resolution_unit):
    """As ImageJ's FileOpener does (decodeDescriptionString and setCalibration).

    ``unit`` counts, not ResolutionUnit, except that "um" with centimetres means pixels per centimetre;
    ``spacing`` is 1 where it is not written; ``yunit`` and ``zunit`` are units of their own.
    """
    lists = [str(words.get(name, "")).split(",") for name in ("axes", "scales", "units")]
    if words.get("scales") and len({len(one) for one in lists}) == 1:  # of SCIFIO, as ImageJ2 writes
        sides, names = (dict(zip(lists[0], one)) for one in lists[1:])
        return size({axis.lower(): names.get(axis) for axis in "ZYX"}, *(sides.get(axis) for axis in "ZYX"))
    unit = words.get("unit")
    if unit is None:  # then ImageJ takes that of the resolution; a depth that is not written stays unknown
        unit = {INCH: "inch", CENTIMETRE: "cm"}.get(resolution_unit, "") if "spacing" in words else ""
    try:
        z = abs(_length(words.get("spacing", 1.0)))
    except ValueError:
        return None, f"its spacing, {words['spacing']!r}, is no length: {GIVE}"
    if resolution_unit == INCH and x == 1 / 72:  # what programs write that know no size
        y, x, unit = 1.0, 1.0, words.get("unit", "")
    if resolution_unit == CENTIMETRE and str(unit) == "um":
        y, x = y * 1e4, x * 1e4
    elif str(unit) == "cm" and x <= 1e-4:  # shown by ImageJ in µm; a depth of 1 counts as not given
        z = z * 1e4 if z != 1 else z
        y, x, unit = y * 1e4, x * 1e4, "um"
    units = {"z": words.get("zunit", unit), "y": words.get("yunit", unit), "x": unit}
    found, word = size(units, z, y, x)
    if found is None and not word and not np.allclose((z, y, x), 1, rtol=CLOSE):
        word = f"its voxel size, {z:.4g} x {y:.4g} x {x:.4g} (z, y, x), has no unit: {GIVE}"
    if found is None or resolution_unit != CENTIMETRE or _plain(unit) not in ("um", "micron", "micrometer"):
        return found, word
    # Files that say both µm and centimetre: of the two readings the one that a microscope can make.
    for factor in (1.0, 1e4, 1e-4):
        sides = [side * factor for side in found[1:]]
        if all(LIKELY[0] <= side <= LIKELY[1] for side in sides):
            said = f"its resolution names two units, centimetre and {unit}: read as {sides[1]:g} µm a voxel"
            return (found[0], *sides), said if factor != 1 else word
    return found, word


def _length(text):
    """A number, also one written with a decimal comma."""
    return float(re.sub(r"^(-?\d+),(\d+)$", r"\1.\2", str(text).strip()))


def size(units, z, y, x):
    """Lengths of the sides in the units of the axes, {"z": unit, ...}, as (z, y, x) in µm or None, and a
    word or "". A side may be a text, or None where it is not stated."""
    sides = []
    for axis, side in zip("zyx", (z, y, x)):
        try:
            factor = micrometres(units[axis])
        except KeyError:
            unit = str(units[axis])[:40]
            return (None, f"the unit of its {axis} axis, {unit!r}, is unknown: {GIVE}")
        if factor is None:
            return None, ""
        if side is None:
            return None, f"it does not state how long its voxels are along {axis}: {GIVE}"
        try:
            sides.append(abs(_length(side)) * factor)
        except ValueError:
            sides.append(0.0)
        if not 0 < sides[-1] < np.inf:
            return None, f"its voxels along {axis} are {str(side)[:40]!r} long, which is no length: {GIVE}"
    return voxel_size_of(sides), ""


def doubt(size):
    """A line on a voxel size in µm that no microscope makes, such as µm written as mm; else empty."""
    if size is None or all(LIKELY[0] <= side <= LIKELY[1] for side in size):
        return ""
    shown = " x ".join(f"{side:g}" for side in size)
    return f"its voxels are {shown} µm (z, y, x), as of no light microscope: if its unit is wrong, {GIVE}"


def unread(attributes):
    """A line on attributes, a mapping, that are named as sizes are; empty where there are none."""
    for name in filter(NAMED.search, map(str, attributes)):
        try:
            shown = " ".join(str(attributes[name]).split())[:40]
        except (KeyError, OSError, TypeError, ValueError):
            shown = "damaged"
        return f"its attribute {name[:40]!r} ({shown}) is not read: {GIVE}"
    return ""


def voxel_size_of(value, what="voxel_size"):
    """A voxel size as a tuple of three floats, or UserError; ``what`` is the name of the parameter."""
    try:
        size = () if isinstance(value, str) else tuple(float(v) for v in value)
    except (TypeError, ValueError):
        size = ()
    if len(size) != 3 or not all(0 < v < np.inf for v in size):
        raise UserError(
            f"{what} must be three positive numbers (z, y, x) in µm, such as (5, 5, 5), not {value!r}"
        )
    return size
