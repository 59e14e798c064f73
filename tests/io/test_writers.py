"""Voxel sizes as programs of microscopes write them into a TIFF in ways of their own: read, or said."""

import json
import struct

import numpy as np
import pytest
import tifffile
from samples import SIZE, VOLUME

from cellseg_nb.brains import sources
from cellseg_nb.io import volumes


def pages(path, describe=lambda z: None, tags=(), **options):
    """A TIFF written page by page, with a description for each and further tags in the first."""
    with tifffile.TiffWriter(path, byteorder="<") as writer:
        for z, plane in enumerate(VOLUME):
            more = {"extratags": list(tags)} if z == 0 else {}
            writer.write(plane, description=describe(z), metadata=None, contiguous=False, **more, **options)
    return path


def micromanager(path, summary, plane):
    """A stack file of Micro-Manager: its head behind TIFF's, and JSON in tag 51123 of each page."""
    text = json.dumps(summary).encode()
    words = (54773648, 0, 483765892, 0, 99384722, 0, 2355492, len(text))
    out, before = bytearray(struct.pack("<2sHI8I", b"II", 42, 0, *words) + text), 4
    about = json.dumps(plane).encode() + b"\0"
    for array in VOLUME:
        start = len(out)
        out += array.astype("<u2").tobytes() + about
        struct.pack_into("<I", out, before, len(out))
        y, x = array.shape
        short, long, ascii = 3, 4, 2
        tags = [(256, long, 1, x), (257, long, 1, y), (258, short, 1, 16), (259, short, 1, 1)]
        tags += [(262, short, 1, 1), (273, long, 1, start), (277, short, 1, 1), (278, long, 1, y)]
        tags += [(279, long, 1, array.nbytes), (51123, ascii, len(about), start + array.nbytes)]
        out += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        before = len(out)
        out += bytes(4)
    path.write_bytes(out)
    return path


def metaseries(z, state="on", step=2.0, y=0.5, unit="um"):
    words = {"spatial-calibration-state": state, "spatial-calibration-x": 0.25, "spatial-calibration-y": y}
    words |= {"spatial-calibration-units": unit, "z-position": round(1710.444 - step * z, 2)}
    return "<MetaData>" + "".join(f'<prop id="{i}" value="{v}"/>' for i, v in words.items()) + "</MetaData>"


def stk(path, z_distance=2, calibrated=1, absolute=None):
    """An STK of MetaMorph: one page with the tags UIC1 to UIC4, and the other planes behind it."""
    n = len(VOLUME)
    tifffile.imwrite(path, VOLUME, byteorder="<", metadata=None, contiguous=True)
    with tifffile.TiffFile(path) as tif:
        start, (y, x) = tif.pages[0].dataoffsets[0], tif.pages[0].shape
    data = path.read_bytes()[start : start + VOLUME.nbytes]
    out = bytearray(struct.pack("<2sHI", b"II", 42, 0) + data)

    def put(content):
        out.extend(content)
        return len(out) - len(content)

    unit = put(struct.pack("<I3s", 3, b"um\0") + b"\0")
    sides = [put(struct.pack("<II", *side)) for side in ((1, 4), (1, 2))]
    uic1 = put(struct.pack("<8I", 3, calibrated, 4, sides[0], 5, sides[1], 6, unit))
    apart = 0 if absolute is None else 50  # then tifffile takes them for time points
    uic2 = put(b"".join(struct.pack("<6I", z_distance, 1, 2450000, z * apart, 2450000, z * apart)
                        for z in range(n)))  # fmt: skip
    uic4 = b""
    if absolute is not None:
        uic4 = struct.pack("<H", 40) + b"".join(struct.pack("<II", int(p * 100), 100) for p in absolute)
        uic4 += struct.pack("<H", 41) + struct.pack(f"<{n}I", *[1] * n)
    uic4 = put(uic4 + b"\0\0")
    tags = [(256, 4, 1, x), (257, 4, 1, y), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    tags += [(277, 3, 1, 1), (278, 4, 1, y), (279, 4, 1, x * y * 2), (33628, 4, 4, uic1)]
    tags += [(33629, 5, n, uic2), (33631, 4, n, uic4)]
    struct.pack_into("<I", out, 4, len(out))
    out += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(out)
    return path


def fluoview(path, unit="um"):
    z, y, x = VOLUME.shape
    head = struct.pack("<hB257sIiIIiI", 0, 0, b"one", 0, 0, 0, 0, 0, 0)
    for name, size, side in [("X", x, 0.25), ("Y", y, 0.5), ("Z", z, 2.0)] + [("", 1, 0)] * 7:
        head += struct.pack("<16sidd64s", name.encode(), size, 0, side, unit.encode())
    head = head.ljust(1500, b"\0")
    tags = [(34361, 1, len(head), head, False), (34362, 12, 8, (0.0,) * 8, False)]
    return pages(path, tags=tags)


SUMMARY = {"z-step_um": -2.0, "Slices": 18, "PixelSize_um": 0.25}
SCANIMAGE = "SI.VERSION_MAJOR = 2020\nSI.hStackManager.stackZStepSize = 2"
VOLOCITY = "Improvision\nXCalibrationMicrons=0.25\nYCalibrationMicrons=0.5\nZCalibrationMicrons=2.0"
SQUARE = (2.0, 0.25, 0.25)
MADE = {  # what is written; the voxel size, a word
    "mm": (lambda p: micromanager(p, SUMMARY, {"PixelSizeUm": 0.25}), SQUARE, ""),
    "mm of 1.4": (lambda p: micromanager(p, SUMMARY, {}), SQUARE, ""),
    "mm without pixel": (
        lambda p: micromanager(p, {"z-step_um": 2}, {"PixelSizeUm": 0}), None,
        "Micro-Manager wrote no size of its pixels: give voxel_size",
    ),
    "mm without step": (
        lambda p: micromanager(p, {"z-step_um": 0}, {"PixelSizeUm": 0.25}), None,
        "its pixels are 0.25 µm wide, and how far apart its planes are is not stated: give voxel_size",
    ),
    "metaseries": (lambda p: pages(p, metaseries, software="MetaSeries"), SIZE, ""),
    "metamorph": (lambda p: pages(p, lambda z: metaseries(z, unit="microns")), SIZE, ""),
    "rounded": (lambda p: pages(p, lambda z: metaseries(z, step=0.105)), (0.105, 0.5, 0.25), ""),
    "off": (lambda p: pages(p, lambda z: metaseries(z, state="off")), None, ""),
    "uneven": (
        lambda p: pages(p, lambda z: metaseries(z * z)), None, "not evenly far apart (z-position): give",
    ),
    "still": (
        lambda p: pages(p, lambda z: metaseries(0)), None, "are 0.5 µm wide, and how far apart its planes",
    ),
    "odd unit": (
        lambda p: pages(p, lambda z: metaseries(z, unit="ells")), None, "the unit of its y axis, 'ells', is",
    ),
    "stk": (stk, SIZE, ""),
    "stk by places": (lambda p: stk(p, 0, absolute=1000 + 2.0 * np.arange(18)), SIZE, ""),
    "stk uncalibrated": (lambda p: stk(p, calibrated=0), None, ""),
    "stk without step": (lambda p: stk(p, 0), None, "are 0.5 µm wide, and how far apart its planes"),
    "fluoview": (fluoview, SIZE, ""),
    "fluoview of nothing": (lambda p: fluoview(p, "ells"), None, "the unit of its z axis, 'ells', is"),
    "volocity": (lambda p: pages(p, lambda z: None if z else VOLOCITY), SIZE, ""),
    "scanimage": (
        lambda p: pages(p, lambda z: "frameNumbers = 1", software=SCANIMAGE), None,
        "what ScanImage wrote on the size of its voxels is not read: give voxel_size in µm",
    ),
    "nis": (
        lambda p: pages(p, tags=[(65332, 7, 9, b"<variant>", False)]), None, "what NIS-Elements wrote on",
    ),
    "fei": (
        lambda p: pages(p, tags=[(34682, 2, 0, "[Scan]\r\nPixelWidth=4e-9\r\n", False)]), None, "what FEI's",
    ),
    "sem": (
        lambda p: pages(p, tags=[(34118, 2, 0, "AP_PIXEL_SIZE\nPixel Size = 4 nm\n", False)]), None,
        "what Zeiss's electron microscope wrote",
    ),
    "andor": (lambda p: pages(p, tags=[(4864, 4, 1, 7, False)]), None, "what an Andor program wrote"),
    "own json": (
        lambda p: tifffile.imwrite(p, VOLUME, metadata={"axes": "ZYX", "spacing": 2.0}) or p, None,
        "its description holds 'spacing\": 2.0', which is not read: give voxel_size",
    ),
    "svs": (
        lambda p: pages(p, lambda z: None if z else "Aperio Image|AppMag = 20|MPP = 0.499"), None,
        "its description holds 'MPP = 0.499', which is not read",
    ),
    "words": (
        lambda p: pages(p, lambda z: None if z else "Pixel size (um): 0.25\nz step 2"), None,
        "its description holds 'Pixel size (um): 0.25', which",
    ),
    "resolution": (
        lambda p: pages(p, resolution=(40000, 20000), resolutionunit="CENTIMETER"), None,
        "its pixels are 0.25 µm wide, and how far apart its planes are is not stated",
    ),
    "dots an inch": (lambda p: pages(p, resolution=(300, 300), resolutionunit="INCH"), None, ""),
    "no size": (lambda p: pages(p, lambda z: None if z else "made at 12:30, 3 times, scaled"), None, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_sizes_of_programs_are_read_or_said(tmp_path, name, capsys):
    write, size, word = MADE[name]
    path = write(tmp_path / "a.tif")
    found, known = volumes.read(path)
    np.testing.assert_array_equal(found, VOLUME)
    assert known == (size and pytest.approx(size, rel=5e-3))
    out = capsys.readouterr().out.replace("a.tif: its axes are not named: the one of 18 is read as z\n", "")
    assert word in out and bool(out) == bool(word)
    volumes.read(path, voxel_size=SIZE)  # the remedy
    assert "voxel_size" not in capsys.readouterr().out


def planes(place, name="img_{:09d}_Default_000.tif", **options):
    place.mkdir()
    for z, plane in enumerate(VOLUME):
        tifffile.imwrite(place / name.format(z), plane, **{"metadata": None, **options})
    return place


IMAGEJ = {"imagej": True, "resolution": (4, 2), "metadata": {"unit": "um"}}


FINDERS = (lambda place: volumes.read(place)[1], lambda place: sources.find(place).voxel_size)


def test_what_lies_beside_planes(tmp_path, capsys):
    place = planes(tmp_path / "mm")
    for slices, size, word in ((18, SQUARE, ""), (7, None, "what Micro-Manager wrote")):
        about = {"Summary": SUMMARY | {"Slices": slices}, "FrameKey-0-0-0": {"PixelSizeUm": 0.25}}
        (place / "metadata.txt").write_text(json.dumps(about))
        for find in FINDERS:
            assert find(place) == size and word in capsys.readouterr().out
    place = planes(tmp_path / "las", "Series001_z{:03d}_ch00.tif", resolution=(40000, 40000),
                   resolutionunit="CENTIMETER")  # fmt: skip
    assert volumes.read(place)[1] is None
    assert "its pixels are 0.25 µm wide, and how far apart its planes" in capsys.readouterr().out
    (place / "MetaData").mkdir()
    (place / "MetaData" / "Series001.xml").write_text("<Data/>")
    assert volumes.read(place)[1] is None
    assert "MetaData/Series001.xml states its voxel size, which is not read" in capsys.readouterr().out


@pytest.mark.parametrize("text", [
    "[" * 100_000, '{"Summary": {"Slices": Infinity}}', "[]", '{"Summary": {"Slices": 18}, "FrameKey-0": []}',
    '{"Summary": {"Slices": 18, "z-step_um": 1%s, "PixelSize_um": 1}}' % ("0" * 400), "",
], ids=["deep", "infinite", "list", "no plane", "large", "empty"])  # fmt: skip
def test_damaged_metadata_beside_planes_leave_the_size_unknown(tmp_path, capsys, text):
    place = planes(tmp_path / "mm")
    (place / "metadata.txt").write_text(text)
    found, size = volumes.read(place)
    np.testing.assert_array_equal(found, VOLUME)
    assert size is None and "how far apart its planes are is not known" in capsys.readouterr().out


def test_the_depth_of_a_plane_is_not_taken_for_1(tmp_path, capsys):
    place = planes(tmp_path / "ij", **IMAGEJ)
    for find in FINDERS:
        assert find(place) is None
        assert "its pixels are 0.5 µm wide, and how far apart its planes" in capsys.readouterr().out
    stated = IMAGEJ | {"metadata": {"unit": "um", "spacing": 2.0}}
    place = planes(tmp_path / "spaced", **stated)
    assert volumes.read(place)[1] == sources.find(place).voxel_size == pytest.approx(SIZE)


def test_notebook_09_says_once_that_a_calibration_of_planes_is_not_applied(tmp_path, capsys):
    words = {"unit": "um", "spacing": 2.0, "cf": 0, "c0": 5, "c1": 2, "vunit": "x"}
    sources.find(planes(tmp_path / "a", **IMAGEJ | {"metadata": words}))
    assert capsys.readouterr().out.count("calibration of its grey values is not applied") == 1


def test_planes_stored_in_several_ways_with_a_thumbnail_among_them(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for z, plane in enumerate(VOLUME):
            if z == 7:
                writer.write(plane[::4, ::4], metadata=None, contiguous=False)
            writer.write(plane, compression="zlib" if z % 3 else None, metadata=None, contiguous=False)
    found, _ = volumes.read(path)
    np.testing.assert_array_equal(found, VOLUME)
