"""Voxel sizes that programs of microscopes write into a TIFF, or beside it, in ways of their own.

Read is what names its unit and both the pixel and the step along z; of the rest a line says that it is there.
Sources: MetaMorph's STK and MetaSeries, Micro-Manager's and FluoView's tags as `tifffile` describes them;
Bio-Formats for Volocity's words and for Nikon's tags.
"""

import contextlib
import json
import re
from xml.etree import ElementTree

import numpy as np

from cellseg_nb.io import units

SUMMARY = {"Summary"}
EVEN = 0.1, 0.02  # share of the mean step, and µm, by which steps may differ: positions are measured, rounded
NIKON = (65332, 65333)
# Who writes a size that is not read, and how an open TIFF shows that they wrote it.
OTHERS = (
    ("ScanImage", lambda tif, page: page.is_scanimage),
    ("NIS-Elements", lambda tif, page: any(code in page.tags for code in NIKON)),
    ("an Olympus program (SIS)", lambda tif, page: page.is_sis),
    ("FEI's microscope", lambda tif, page: page.is_fei),
    ("Zeiss's electron microscope", lambda tif, page: page.is_sem),
    ("TVIPS", lambda tif, page: page.is_tvips),
    ("NIH Image", lambda tif, page: page.is_nih),
    ("an Andor program", lambda tif, page: page.is_andor),
)
# Words that a description uses of sizes, with a number behind them.
SIZES = re.compile(
    r"\b((voxel|pixel|physical)[ _-]?(size|spacing|width|depth|length)|[xyz][ _-]?(step|spacing|calibration)"
    r"|ext(max|min)[012]|calibration|spacing|resolution|microns?([ _-]per[ _-]pixel)?|mpp|scales?)"
    r"\w*[ ._()\[\]µa-zA-Z]{0,12}[\"']?\s*[:=,>]\s*[\"'\[(]?\s*-?\d[\d.,eE+-]*",
    re.IGNORECASE,
)
PIXELS = (1e-3, 30.0)  # µm: of a microscope; 72, 96 and 300 dots an inch, which mean nothing, are larger


def stored(tif, number=0):
    """As `cellseg_nb.io.units.stored`; where no standard says it, as the program that wrote it does."""
    found, word = units.stored(tif, number)
    if found is not None or word:
        return found, word
    page = tif.pages[0]
    for made in (_micromanager, _metaseries, _stk, _fluoview, _volocity):
        # Tags of makers are damaged, or of another version, in a zoo of ways.
        with contextlib.suppress(Exception):
            told = made(tif, page)
            if told is not None:
                return told
    with contextlib.suppress(Exception):
        return None, _there(tif, page)
    return None, ""


def whole(tif):
    """As `stored`, of a single plane of a stack: only where its depth is stated, not taken for 1."""
    size, word = stored(tif)
    with contextlib.suppress(AttributeError, KeyError, TypeError):
        if size and tif.is_imagej and not {"spacing", "scales"} & {*tif.imagej_metadata}:
            return None, _only(size[1])
    return size, word


def _only(side):
    return f"its pixels are {side:.4g} µm wide, and how far apart its planes are is not stated: {units.GIVE}"


def _said(who):
    return f"what {who} wrote on the size of its voxels is not read: {units.GIVE}"


def _sized(z, y, x, unit="µm", who=""):
    """The voxel size, or None and what lacks of it."""
    if not all(np.isfinite(float(side or 0)) for side in (z, y, x)):
        return None, _said(who)
    if not x or not y:
        return None, f"{who} wrote no size of its pixels: {units.GIVE}" if z else ""
    if not z:
        size, word = units.size(dict.fromkeys("zyx", unit), 1, y, x)
        return None, word or (_only(size[1]) if size else "")
    return units.size({"z": "µm", "y": unit, "x": unit}, z, y, x)


def _step(positions):
    """The distance of planes at these positions; None where they are not even, 0 where they do not move."""
    steps = np.diff(np.asarray(positions, float))
    mean = float(steps.mean()) if len(steps) else 0.0
    even = np.abs(steps - mean) <= max(EVEN[0] * abs(mean), EVEN[1])
    return abs(round(mean, 6)) if even.all() else None


# ---------------------------------------------------------------- Micro-Manager


def _micromanager(tif, page):
    if not tif.is_micromanager:
        return None
    import tifffile

    summary = tifffile.read_micromanager_metadata(tif.filehandle, SUMMARY).get("Summary") or {}
    return _of_micromanager(summary, page.tags.valueof(51123) or {})


def _of_micromanager(summary, plane):
    pixel = next((one[key] for one in (plane, summary) for key in ("PixelSizeUm", "PixelSize_um")
                  if one.get(key)), 0)  # fmt: skip
    if summary.get("PixelAspect") not in (None, 0, 1):
        return None, _said("Micro-Manager")
    return _sized(summary.get("z-step_um"), pixel, pixel, who="Micro-Manager")


def beside(place, count):
    """Voxel size and a word out of what lies beside ``count`` planes in a folder: (None, "") without it."""
    # ArithmeticError: of Infinity and numbers of 400 digits, which JSON may hold
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError, ArithmeticError, RecursionError):
        about = json.loads((place / "metadata.txt").read_text(encoding="utf-8", errors="replace"))
        summary = about["Summary"] if isinstance(about.get("Summary"), dict) else {}
        planes = [one for name, one in about.items() if name.startswith(("FrameKey", "Metadata-"))]
        if int(summary.get("Slices") or 0) != count:
            return None, _said("Micro-Manager")
        return _of_micromanager(summary, planes[0] if planes else {})
    with contextlib.suppress(OSError):
        for name in ("MetaData", "Metadata", "metadata"):  # of LAS X
            found = sorted((place / name).glob("*.xml"))
            if found:
                return None, f"{name}/{found[0].name} states its voxel size, which is not read: {units.GIVE}"
    return None, ""


# ---------------------------------------------------------------- MetaMorph, FluoView, Volocity


def _metaseries(tif, page):
    if not page.description.lstrip().startswith("<MetaData>"):
        return None
    about = _props(page.description)
    if str(about.get("spatial-calibration-state", "on")).lower() != "on":
        return None, ""
    unit = about.get("spatial-calibration-units", "")
    y, x = (float(about.get(f"spatial-calibration-{axis}") or 0) for axis in "yx")
    series, step = tif.series[0], 0
    places = [_props(one.aspage().description).get("z-position") for one in series.pages if one is not None]
    if len(places) == series.shape[0] > 1 and None not in places:
        step = _step(places)
        if step is None:
            return None, f"its planes are not evenly far apart (z-position): {units.GIVE}"
    return _sized(step, y, x, unit, "MetaMorph")


def _props(text):
    try:
        tree = ElementTree.fromstring(text.strip("\0 \r\n"))
    except ElementTree.ParseError:
        return {}
    return {one.get("id"): one.get("value") for one in tree.iter("prop")}


def letters(series):
    """The axes of a series of a TIFF; tifffile takes planes of an STK for time where their times differ."""
    if series.kind != "stk" or series.axes[0] != "T":
        return series.axes
    return ("Z" if _moves(series.keyframe.parent.stk_metadata) else "T") + series.axes[1:]


def _moves(about):
    """Step of the places (AbsoluteZ) of an STK's planes, 0 without; None where they are not even."""
    valid = np.all(about.get("AbsoluteZValid", 0)) and np.size(about.get("AbsoluteZ", 0)) > 1
    return _step(about["AbsoluteZ"]) if valid else 0


def _stk(tif, page):
    if not tif.is_stk:
        return None
    about = tif.stk_metadata
    if not about.get("SpatialCalibration"):
        return None, ""
    step, apart = _moves(about), np.atleast_1d(about.get("ZDistance", 0))
    if not step and len(apart) > 2 and np.allclose(apart[1:], apart[1], rtol=units.CLOSE):
        step = float(apart[1])
    if step is None:
        return None, f"its planes are not evenly far apart (AbsoluteZ): {units.GIVE}"
    sides = about.get("YCalibration"), about.get("XCalibration")
    return _sized(step, *sides, about.get("CalibrationUnits", ""), "MetaMorph")


def _fluoview(tif, page):
    if not tif.is_fluoview:
        return None
    named = {one[0].upper(): one for one in tif.fluoview_metadata["Dimensions"] if one[1] > 1}
    if not {"X", "Y", "Z"} <= {*named}:
        return None, _said("FluoView")
    return units.size({a.lower(): named[a][4] for a in "ZYX"}, *(named[a][3] or None for a in "ZYX"))


def _volocity(tif, page):
    sides = [re.search(rf"{axis}CalibrationMicrons=([\d.eE+-]+)", page.description) for axis in "ZYX"]
    if not all(sides):
        return None
    return _sized(*(float(one[1]) for one in sides), who="Volocity")


# ---------------------------------------------------------------- what is there and not read


def _there(tif, page):
    """A line on a size that stands in a TIFF and is not read; empty where there is none."""
    for who, wrote in OTHERS:
        if wrote(tif, page):
            return _said(who)
    if tif.is_imagej or tif.is_ome or tif.is_lsm:  # these say what they know where `units` reads it
        return ""
    found = SIZES.search(page.description[:100_000])
    if found:
        excerpt = " ".join(found[0].split())[:60]
        return f"its description holds {excerpt!r}, which is not read: {units.GIVE}"
    tag, unit = page.tags.valueof("XResolution"), page.tags.valueof("ResolutionUnit")
    side = units.MICROMETRES.get({units.INCH: "inch", units.CENTIMETRE: "cm"}.get(int(unit or 1)), 0)
    if side and tag and tag[0]:
        side *= tag[1] / tag[0]
        if PIXELS[0] <= side <= PIXELS[1]:
            return _only(side)
    return ""
