"""Further files that people have, a table of them: read as meant (with a word where one is due), or a line
whose remedy is applied here."""

import h5py
import nibabel
import numpy as np
import pytest
import samples
import tifffile
import zarr
from samples import SHAPE, SIZE, VOLUME

from cellseg_nb.brains import sources
from cellseg_nb.errors import UserError
from cellseg_nb.io import convert, volumes
from cellseg_nb.io.files import as_path

CELLS = np.zeros(SHAPE, "u2")
for number, corner in enumerate(np.ndindex(3, 4, 4), 1):
    z, y, x = np.multiply(corner, 5) + 1
    CELLS[z : z + 3, y : y + 3, x : x + 3] = number


def save(path, array, **options):
    tifffile.imwrite(path, array, **{"metadata": {"axes": "ZYX"}, "photometric": "minisblack", **options})
    return path


def pages(path, options, first=()):
    """A TIFF written page by page, page z with ``options(z)``."""
    with tifffile.TiffWriter(path) as writer:
        for array, more in first:
            writer.write(array, metadata=None, contiguous=False, **more)
        for z, plane in enumerate(VOLUME):
            writer.write(plane, metadata=None, contiguous=False, **options(z))
    return path


def calibrated(path, array, photometric=None, **words):
    words = {"axes": "ZYX", "spacing": 2.0, "unit": "um"} | words
    return save(path, array, imagej=True, resolution=(4, 2), metadata=words, photometric=photometric)


def scifio(path):
    """As ImageJ2 writes it: each axis with a scale and a unit, and no resolution."""
    head = (
        "SCIFIO=0.46.0\naxes=X,Y,Z\nlengths=22,20,18\nscales=0.25,0.5,2.0\nunits=\\u00B5m,\\u00B5m,\\u00B5m\n"
    )
    head += "images=18\nchannels=1\nslices=18\nframes=1\nhyperstack=true\nunit=\\u00B5m\n"
    return pages(path, lambda z: {} if z else {"description": head})


def renamed(path):
    """An OME-TIFF under a new name, beside another file of its old one; its head has no UUID."""
    head = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="22" SizeY="20" SizeZ="18" SizeC="1" '
        'SizeT="1" PhysicalSizeX="0.25" PhysicalSizeY="0.5" PhysicalSizeZ="2">'
    )
    for z in range(18):
        head += f'<TiffData IFD="{z}" FirstZ="{z}"><UUID FileName="old.ome.tif">urn:uuid:0</UUID></TiffData>'
    head += "</Pixels></Image></OME>"
    for name, array in (("old.ome.tif", VOLUME[::-1]), (path.name, VOLUME)):
        with tifffile.TiffWriter(path.with_name(name)) as writer:
            for z, plane in enumerate(array):
                writer.write(plane, description=None if z else head, metadata=None, contiguous=False)
    return path


def hdf5(path, made):
    with h5py.File(path, "w") as file:
        made(file)
    return path


def bigdataviewer(path):
    def made(file):
        file["s00/resolutions"], file["s00/subdivisions"] = np.ones((2, 3)), np.ones((2, 3), "i4")
        file["t00000/s00/0/cells"] = VOLUME.view("i2")
        file["t00000/s00/1/cells"] = VOLUME[:, ::2, ::2].view("i2")

    setup = "<ViewSetup><id>0</id><voxelSize><unit>µm</unit><size>0.25 0.5 2</size></voxelSize></ViewSetup>"
    path.with_suffix(".xml").write_text(f"<SpimData>{setup}</SpimData>", encoding="utf-8")
    return hdf5(path, made)


def said_in_words(file):
    file["raw"] = VOLUME
    file["raw"].attrs["element_size_um"] = "[2.0 0.5 0.25]"


def unit_of_nobody(path):
    image = nibabel.Nifti1Image(VOLUME.T, None)
    image.header["xyzt_units"] = 57
    nibabel.save(image, path)
    return path


def sharded(path):
    zarr.create_array(
        str(path), data=VOLUME, chunks=(4, 5, 11), shards=(8, 10, 22), dimension_names=("z", "y", "x")
    )
    return path


RIGHT = {  # what is written; the voxels meant, the voxel size, a word
    "one.tif": (lambda p: pages(p, lambda z: {"compression": "zlib" if z < 1 else None}), VOLUME, None, ""),
    "alternating.tif": (
        lambda p: pages(p, lambda z: {"compression": "zlib" if z % 2 else None}), VOLUME, None, "",
    ),
    "strips.tif": (lambda p: pages(p, lambda z: {"rowsperstrip": 3 if z % 2 else 20}), VOLUME, None, ""),
    "thumbnail.tif": (
        lambda p: pages(p, lambda z: {}, [(np.zeros((8, 8, 3), "u1"), {"photometric": "rgb"})]),
        VOLUME, None, "",
    ),
    "signed.tif": (
        lambda p: calibrated(p, VOLUME + np.uint16(32000), cf=0, c0=-32768, c1=1, vunit="gray value"),
        VOLUME - 768.0, SIZE, "",
    ),
    "negative.tif": (
        lambda p: calibrated(p, VOLUME.astype("u1"), cf=0, c0=255, c1=-1, vunit="x"),
        255 - (VOLUME % 256).astype(float), SIZE, "calibration of its grey values is applied: 255 + -1 x",
    ),
    "clipped.tif": (
        lambda p: calibrated(p, VOLUME, cf=0, c0=-100, c1=0.5, vunit="x", zeroclip="true"),
        np.maximum(VOLUME / 2 - 100, 0), SIZE, "is applied: -100 + 0.5 x",
    ),
    "curve.tif": (
        lambda p: calibrated(p, VOLUME, cf=7, c0=1, c1=2, vunit="x"),
        VOLUME, SIZE, "(cf=7) is no line, and not applied",
    ),
    "white and falling.tif": (
        lambda p: calibrated(p, VOLUME.astype("u1"), "miniswhite", cf=0, c0=255, c1=-1, vunit="x"),
        255 - (VOLUME % 256).astype(float), SIZE, "is applied: 255 + -1 x number",
    ),
    "white and rising.tif": (
        lambda p: calibrated(p, VOLUME.astype("u1"), "miniswhite", cf=0, c0=5, c1=2, vunit="x"),
        5 + 2.0 * (255 - VOLUME % 256), SIZE, "turned round, so that bright is high; ImageJ's calibration",
    ),
    "no unit of values.tif": (
        lambda p: calibrated(p, VOLUME, cf=0, c0=5, c1=2), VOLUME, SIZE, "",
    ),
    "new.ome.tif": (renamed, VOLUME, SIZE, ""),
    "scifio.tif": (scifio, VOLUME, SIZE, ""),
    "bdv.h5": (bigdataviewer, VOLUME, SIZE, ""),
    "words.h5": (lambda p: hdf5(p, said_in_words), VOLUME, SIZE, ""),
    "unit.nii": (unit_of_nobody, VOLUME, None, "the unit of its axes, number 1, is unknown: give voxel_size"),
    "sharded.zarr": (sharded, VOLUME, None, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_read_as_meant(tmp_path, name, capsys):
    write, wanted, size, word = RIGHT[name]
    found, known = volumes.read(write(tmp_path / name))
    np.testing.assert_array_equal(found, wanted.astype(np.float32))
    assert known == (size and pytest.approx(size))
    out = capsys.readouterr().out.replace(f"{name}: its axes are not named: the one of 18 is read as z\n", "")
    assert word in out and bool(out) == bool(word)


def test_levels_of_bigdataviewer(tmp_path):
    found, size = volumes.read(bigdataviewer(tmp_path / "a.h5"), level=1, minimum=4)
    np.testing.assert_array_equal(found, VOLUME[:, ::2, ::2])
    assert size == (2, 1, 0.5)


def test_notebook_09_says_what_the_others_do_and_the_remedy_works(tmp_path, capsys):
    path = pages(tmp_path / "a.tif", lambda z: {"compression": "zlib" if z < 1 else None})
    with pytest.raises(UserError, match="stored in several ways: .* cellseg-nb convert .*a.tif OUT.zarr, "):
        sources.find(path)
    out = convert.convert(path, tmp_path / "a.zarr")
    np.testing.assert_array_equal(sources.find(out).read((slice(None),) * 3), VOLUME)
    sources.find(calibrated(tmp_path / "b.tif", VOLUME, cf=0, c0=5, c1=2, vunit="x"))
    assert "calibration of its grey values is not applied" in capsys.readouterr().out
    with pytest.raises(UserError, match="new.ome.tif had another name, .* beside it: move it"):
        sources.find(renamed(tmp_path / "new.ome.tif"))
    (tmp_path / "c").mkdir()
    moved = (tmp_path / "new.ome.tif").rename(tmp_path / "c" / "new.ome.tif")
    np.testing.assert_array_equal(sources.find(moved).read((slice(None),) * 3), VOLUME)


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(
    "array, words",
    [
        (CELLS.astype("u8") + (CELLS > 0) * np.uint64(2**40), "numbers up to 1099511627824: numbered anew"),
        (CELLS.astype("u4") * 30_000_000, "numbers up to 1440000000: numbered anew from 1, in their order"),
        (CELLS.astype("f8") * 0.1 * 10 + 1e-9, ""),
        (CELLS.astype("f8") - 1e-9, ""),
        (CELLS.astype("f2"), ""),
    ],
)
def test_labels_of_other_numbers(tmp_path, array, words, capsys):
    found, _ = volumes.read_labels(save(tmp_path / "a.tif", array))
    np.testing.assert_array_equal(found, CELLS)
    assert words in capsys.readouterr().out


def test_labels_that_imagej_keeps_with_a_sign(tmp_path, capsys):
    path = calibrated(tmp_path / "a.tif", CELLS + np.uint16(32768), cf=0, c0=-32768, c1=1, vunit="gray value")
    np.testing.assert_array_equal(volumes.read_labels(path)[0], CELLS)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("count, refused", [(300, False), (1200, True)])
def test_numbers_that_ran_over_are_said(tmp_path, count, refused, capsys):
    cells = np.zeros((12, 80, 80), "u2")
    for number, corner in zip(range(1, count + 1), np.ndindex(4, 19, 19)):
        z, y, x = np.multiply(corner, (3, 4, 4)) + 1
        cells[z : z + 2, y : y + 3, x : x + 3] = number
    said, path = (
        "8 bits hold 255 numbers: if there are more cells, save the labels as 16-bit",
        tmp_path / "a.tif",
    )
    if refused:
        with pytest.raises(UserError, match=said):
            volumes.read_labels(save(path, cells.astype("u1")))
    else:
        volumes.read_labels(save(path, cells.astype("u1")))
        assert said in capsys.readouterr().out
    assert volumes.read_labels(save(path, cells))[0].max() == count  # the remedy
    with pytest.raises(UserError, match="where they are cells beyond 127, save them as 32-bit"):
        volumes.read_labels(save(path, (cells * (cells < 200)).astype("u1").view("i1")))


# ---------------------------------------------------------------- lines and remedies


def virtual(place):
    hdf5(place / "other.h5", lambda file: file.update({"raw": VOLUME[9:]}) or None)
    layout = h5py.VirtualLayout(SHAPE, "u2")
    layout[:9] = h5py.VirtualSource(".", "first", (9, 20, 22))
    layout[9:] = h5py.VirtualSource("other.h5", "raw", (9, 20, 22))

    def made(file):
        file["first"] = VOLUME[:9]
        file.create_virtual_dataset("raw", layout, fillvalue=0)

    hdf5(place / "a.h5", made)
    (place / "other.h5").rename(place / "away")
    return place / "a.h5", {"series": "raw"}, lambda: (place / "away").rename(place / "other.h5")


def text(content):
    def made(place):
        (place / "a.tif").write_bytes(content)
        return place / "a.tif", {}, lambda: save(place / "a.tif", VOLUME)

    return made


def link(place):
    (place / "a.tif").symlink_to(place / "gone.tif")
    return place / "a.tif", {}, lambda: save(place / "gone.tif", VOLUME)


LINES = {
    "which holds a part of /raw: copy it too": virtual,
    "is a web page, not the file that its name says: download": text(b"\n<!DOCTYPE html><title>Sign in"),
    "is a pointer of Git LFS, not the file itself: run git lfs pull": text(
        b"version https://git-lfs.github.com/spec/v1"
    ),
    "gone.tif, which is not there: copy the file": link,
}


@pytest.mark.parametrize("words", LINES)
def test_a_line_and_its_remedy(tmp_path, words):
    path, part, remedy = LINES[words](tmp_path)
    with pytest.raises(UserError) as caught:
        volumes.read(path, **part)
    line = str(caught.value)
    assert words in line and str(path) in line and "\n" not in line
    remedy()
    np.testing.assert_array_equal(volumes.read(path, **part)[0], VOLUME)


def test_paths_as_they_are_pasted(tmp_path):
    save(tmp_path / "a b.tif", VOLUME)
    for pasted in ('"{}/a b.tif"', "'{}/a b.tif'", " {}/a b.tif\n", "file://{}/a%20b.tif"):
        assert as_path(pasted.format(tmp_path)) == tmp_path / "a b.tif"
    for address in ("https://x.org/a.zarr", "s3://b/a.tif"):
        with pytest.raises(UserError, match=f"^{address} is an address, .* download it"):
            volumes.find(address)


def colour_czi(path):
    from pylibCZIrw import czi as library

    with library.create_czi(str(path)) as file:
        for z, plane in enumerate((VOLUME % 256).astype("u1")):
            file.write(np.stack([plane] * 3, -1), plane={"T": 0, "C": 0, "Z": z})


def two(array):
    return np.stack([array, array + 1])


MICROSCOPES = [  # library, ending, how it is written, the line, what the remedy adds (None: write it again)
    ("pylibCZIrw", "czi", lambda p: samples.czi(p, two(VOLUME), SIZE, scenes=True), "series=0",
     {"series": 0}),
    ("pylibCZIrw", "czi", colour_czi, "choose one colour with channel=0", {"channel": 0}),
    ("pylibCZIrw", "czi", lambda p: samples.czi(p, VOLUME[:1], SIZE), "2D or less", None),
    ("pylibCZIrw", "czi", lambda p: samples.czi(p, VOLUME, SIZE) or cut(p), "copy it again", None),
    ("nd2", "nd2", lambda p: samples.nd2(p, two(VOLUME), samples.SQUARE), "channel=0", {"channel": 0}),
    ("nd2", "nd2", lambda p: samples.nd2(p, VOLUME[None, :1], samples.SQUARE), "2D or less", None),
    ("nd2", "nd2", lambda p: samples.nd2(p, VOLUME[None], samples.SQUARE) or cut(p), "copy it again", None),
    ("liffile", "lif", lambda p: samples.lif(p, [("a", two(VOLUME), SIZE)]), "channel=0", {"channel": 0}),
    ("liffile", "lif", lambda p: samples.lif(p, [(n, VOLUME[None], SIZE) for n in "ab"]), "series=0",
     {"series": "a"}),
    ("liffile", "lif", lambda p: samples.lif(p, [("a", VOLUME[None, :1], SIZE)]), "2D or less", None),
    ("liffile", "lif", lambda p: samples.lif(p, []), "holds no image: export it again", None),
    ("liffile", "lif", lambda p: samples.lif(p, [("a", VOLUME[None], SIZE)]) or cut(p), "copy it again",
     None),
    ("h5py", "ims", lambda p: samples.imaris(p, VOLUME, SIZE, 2, 2), "timepoint=0 and channel=0",
     {"timepoint": 0, "channel": 0}),
]  # fmt: skip


def cut(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def again(path):
    write = {
        ".czi": lambda: samples.czi(path, VOLUME, SIZE),
        ".nd2": lambda: samples.nd2(path, VOLUME[None], samples.SQUARE),
        ".lif": lambda: samples.lif(path, [("a", VOLUME[None], SIZE)]),
    }
    path.unlink()
    write[path.suffix]()


@pytest.mark.parametrize("library, ending, write, words, part", MICROSCOPES)
def test_lines_on_files_of_microscopes_and_their_remedies(tmp_path, library, ending, write, words, part):
    pytest.importorskip(library)
    path = tmp_path / f"a.{ending}"
    write(path)
    with pytest.raises(UserError) as caught:
        volumes.read(path)
    line = str(caught.value)
    assert words in line and str(path) in line and "\n" not in line
    if part is None:
        again(path)
    found, _ = volumes.read(path, **(part or {}))
    np.testing.assert_array_equal(found, VOLUME % 256 if write is colour_czi else VOLUME)
