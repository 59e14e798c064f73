"""Files as other programs write them, kind by kind: read as meant, said, or refused with what helps."""

import json
import struct

import h5py
import nibabel
import nrrd
import numpy as np
import pytest
import samples
import tifffile
import zarr
from refusing import refused
from samples import SIZE, VOLUME
from scipy import ndimage

from cellseg_nb import cli
from cellseg_nb.brains import sources
from cellseg_nb.io import folder as folders, labels, units, volumes


def is_right(path, size=SIZE, wanted=VOLUME, **part):
    found, known = volumes.read(path, **part)
    np.testing.assert_array_equal(found, wanted)
    assert known == (size if size is None else pytest.approx(size, rel=1e-5))


# ---------------------------------------------------------------- TIFF


def packed(path, planes, bits, photometric):
    """A TIFF of numbers of ``bits`` bits, one strip a page, which no library writes."""
    out, before = bytearray(b"II*\0\0\0\0\0"), 4
    for plane in planes:
        rows = ["".join(format(int(one), f"0{bits}b") for one in row) for row in plane]
        rows = [row + "0" * (-len(row) % 8) for row in rows]
        strip = b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)
        start = len(out)
        out += strip + b"\0" * (len(strip) % 2)
        struct.pack_into("<I", out, before, len(out))
        y, x = plane.shape
        tags = {
            256: x,
            257: y,
            258: bits,
            259: 1,
            262: photometric,
            273: start,
            277: 1,
            278: y,
            279: len(strip),
        }
        out += struct.pack("<H", len(tags))
        for tag, value in tags.items():
            out += struct.pack("<HHII", tag, 4, 1, value)
        before = len(out)
        out += bytes(4)
    path.write_bytes(out)
    return path


@pytest.mark.parametrize("bits", [1, 2, 4, 12])
@pytest.mark.parametrize("white", [False, True])
def test_white_as_zero_of_any_depth(tmp_path, bits, white, capsys):
    array = VOLUME % 2**bits
    packed(tmp_path / "a.tif", array, bits, 0 if white else 1)
    is_right(tmp_path / "a.tif", None, 2**bits - 1 - array if white else array)
    assert ("turned round" in capsys.readouterr().out) == white


def test_white_as_zero_that_float32_could_not_tell_apart_is_said(tmp_path, capsys):
    tifffile.imwrite(
        tmp_path / "a.tif", VOLUME.astype("u4"), photometric="miniswhite", metadata={"axes": "ZYX"}
    )
    is_right(tmp_path / "a.tif", None)
    assert "with its numbers as they are" in capsys.readouterr().out


@pytest.mark.parametrize("ramp", ["", "red", "HiLo"])
def test_a_palette_is_said_unless_it_gets_brighter(tmp_path, ramp, capsys):
    colours = np.random.default_rng(0).integers(0, 65535, (3, 256)).astype("u2")
    if ramp:
        colours = np.outer((1, ramp == "HiLo", ramp == "HiLo"), np.arange(256) * 257).astype("u2")
    if ramp == "HiLo":
        colours[:, 0], colours[:, 255] = (0, 0, 65535), (65535, 0, 0)
    array = (VOLUME % 256).astype("u1")
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="palette", colormap=colours, metadata={"axes": "ZYX"}
    )
    is_right(tmp_path / "a.tif", None, array)
    assert ("a palette of colours" in capsys.readouterr().out) == (not ramp)
    volumes.read_labels(tmp_path / "a.tif", own=True)
    assert "palette" not in capsys.readouterr().out


def test_a_folder_of_coloured_planes_and_the_remedy_works(tmp_path):
    for z, plane in enumerate((VOLUME % 256).astype("u1")):
        colours = np.stack([plane, plane // 2, plane // 3], -1)
        tifffile.imwrite(tmp_path / f"z{z:02}.tif", colours, photometric="rgb")
    assert volumes.find(tmp_path) == [tmp_path]
    refused(lambda: volumes.read(tmp_path), "is a colour (RGB) image", "channel=0")
    is_right(tmp_path, None, (VOLUME % 256) // 2, channel=1)


def test_a_stack_of_colour_pictures_as_imagej_channels(tmp_path):
    grey = (VOLUME % 256).astype("u1")
    tifffile.imwrite(tmp_path / "a.tif", np.stack([grey, grey // 2, grey // 3], -1), imagej=True)
    refused(lambda: volumes.read(tmp_path / "a.tif"), "colour (RGB)", "channel=0")
    is_right(tmp_path / "a.tif", None, grey // 2, channel=1)  # the remedy


@pytest.mark.parametrize("kind", ["contig", "separate"])
def test_one_page_of_many_channels_and_the_remedy_works(tmp_path, kind):
    array = np.moveaxis(VOLUME, 0, -1) if kind == "contig" else VOLUME
    more = {"planarconfig": kind, "extrasamples": [0] * 17, "photometric": "minisblack", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", array, **more)
    line = refused(lambda: volumes.read(tmp_path / "a.tif"), "2D with 18 channels")
    given = line.partition("cellseg-nb ")[2].rstrip(")").replace("OUT.tif", f"{tmp_path}/b.tif").split()
    assert cli.main(given) == 0
    is_right(tmp_path / "b.tif", None)


def test_decimal_commas_of_imagej(tmp_path):
    more = {"resolution": (4, 2), "metadata": {"axes": "ZYX", "unit": "um", "spacing": 2.0}}
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, imagej=True, **more)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole.replace(b"spacing=2.0", b"spacing=2,0"))
    is_right(tmp_path / "a.tif")


@pytest.mark.parametrize(
    "name",
    [
        "microns per pixel",
        *"mkm microm micro-meter micro\u00a0meter micrometer(s) micrómetros mikrometry".split(" "),
    ],
)
def test_more_spellings_of_a_micrometre(name):
    assert units.micrometres(name) == 1


@pytest.mark.parametrize("codec", [None, "zlib"])
@pytest.mark.parametrize("odd", ["size", "type"])
def test_a_page_unlike_the_others_is_named(tmp_path, codec, odd):
    """Its voxels used to be made up, and no word said so."""
    other = VOLUME[9, :9] if odd == "size" else VOLUME[9].astype("u1")
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for z, plane in enumerate(VOLUME):
            writer.write(other if z == 9 else plane, metadata=None, contiguous=False, compression=codec)
    line = refused(lambda: volumes.read(tmp_path / "a.tif"), "pages that differ: page 10 is", "of one size")
    assert str(tmp_path / "a.tif") in line


def test_more_planes_than_imagej_would_show_are_said(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, imagej=True, metadata={"axes": "ZYX"})
    whole = (tmp_path / "a.tif").read_bytes()
    changed = whole.replace(b"slices=18", b"slices=17").replace(b"images=18", b"images=17")
    (tmp_path / "a.tif").write_bytes(changed)
    is_right(tmp_path / "a.tif", None, VOLUME[:17])
    assert "holds 18 planes, and its header names 17" in capsys.readouterr().out
    with tifffile.TiffWriter(tmp_path / "b.tif") as writer:  # page by page, as a plug-in would
        for z, plane in enumerate(VOLUME):
            head = None if z else "ImageJ=1.53t\nimages=17\nslices=17\n"
            writer.write(plane, description=head, metadata=None, contiguous=False)
    is_right(tmp_path / "b.tif", None, VOLUME[:17])
    assert "holds 18 planes, and its header names 17" in capsys.readouterr().out
    sources.find(tmp_path / "b.tif")
    assert "holds 18 planes, and its header names 17" in capsys.readouterr().out


def test_a_head_of_something_else_is_no_volume(tmp_path):
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, VOLUME, metadata={"axes": "ZYX"})
    (tmp_path / "a.hdr").write_text("ENVI")
    assert [path.name for path in volumes.find(tmp_path)] == ["a.tif", "b.tif"]


# ---------------------------------------------------------------- OME

OME = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
IDS = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in range(3)]


def pixels(sizes, data="<TiffData/>", planes=18, own=IDS[0]):
    return (
        f'{OME} UUID="{own}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        f'SizeX="22" SizeY="20" SizeZ="{planes}" SizeC="1" SizeT="1" {sizes}>{data}</Pixels></Image></OME>'
    )


def described(path, head, planes=VOLUME):
    with tifffile.TiffWriter(path) as writer:
        for plane in planes:
            writer.write(plane, description=head, metadata=None, contiguous=False)
            head = None
    return path


def sized(x="0.25", y="0.5", z="2"):
    given = {"X": x, "Y": y, "Z": z}
    return " ".join(f'PhysicalSize{axis}="{side}"' for axis, side in given.items() if side is not None)


@pytest.mark.parametrize(
    "sizes, planes, words",
    [
        (sized(z=None), 18, "does not state how long its voxels are along z: give voxel_size in µm"),
        (sized(x="INF"), 18, "its voxels along x are 'INF' long"),
        (sized(y="0"), 18, "its voxels along y are '0' long"),
        (sized("0,25", "0,5", "2,0"), 18, ""),
        (sized(), 17, "holds 18 planes, and its header names 17"),
    ],
)
def test_what_an_ome_header_leaves_out_is_said(tmp_path, sizes, planes, words, capsys):
    described(tmp_path / "a.ome.tif", pixels(sizes, planes=planes))
    known = SIZE if not words or "planes" in words else None
    is_right(tmp_path / "a.ome.tif", known, VOLUME[:planes])
    assert words in capsys.readouterr().out
    is_right(tmp_path / "a.ome.tif", (1, 1, 1), VOLUME[:planes], voxel_size=(1, 1, 1))  # the remedy


def test_names_of_channels_as_ome_has_them(tmp_path):
    words = {"axes": "CZYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    both = np.stack([VOLUME, VOLUME + 1])
    tifffile.imwrite(tmp_path / "a.ome.tif", both, ome=True, metadata=words, photometric="minisblack")
    refused(lambda: volumes.read(tmp_path / "a.ome.tif"), "has 2 channels", "there are 0 DAPI, 1 GFP")
    is_right(tmp_path / "a.ome.tif", None, VOLUME + 1, channel=1)


def test_a_cut_ome_header_is_said(tmp_path, capsys):
    described(tmp_path / "a.ome.tif", pixels(sized())[:-20])
    is_right(tmp_path / "a.ome.tif", None)
    assert "its OME description is damaged" in capsys.readouterr().out


@pytest.mark.parametrize("companion", [False, True])
def test_a_part_of_an_ome_set_that_another_file_describes(tmp_path, companion, capsys):
    """A part alone used to be read as the whole volume."""
    names = ["a0.ome.tif", "a1.ome.tif"]
    data = "".join(
        f'<TiffData IFD="{z % 9}" FirstZ="{z}" FirstC="0" FirstT="0" PlaneCount="1">'
        f'<UUID FileName="{names[z // 9]}">{IDS[z // 9]}</UUID></TiffData>'
        for z in range(18)
    )
    master = "set.companion.ome" if companion else names[0]
    for i, name in enumerate(names):
        head = f'{OME} UUID="{IDS[i]}"><BinaryOnly MetadataFile="{master}" UUID="{IDS[2]}"/></OME>'
        if name == master:
            head = pixels(sized(), data)
        described(tmp_path / name, head, VOLUME[9 * i :][:9])
    (tmp_path / "set.companion.ome").write_text(pixels(sized(), data, own=IDS[2])) if companion else None
    for name in {*names, master}:
        is_right(tmp_path / name)
    (found,) = volumes.find(tmp_path)
    assert found.name == names[0] and "another part of a0.ome.tif" in capsys.readouterr().out
    whole = (tmp_path / master).read_bytes()
    (tmp_path / master).unlink()
    line = refused(lambda: volumes.read(tmp_path / names[1]), f"that {master} describes", "copy that file")
    assert str(tmp_path / names[1]) in line
    (tmp_path / master).write_bytes(whole)  # the remedy
    is_right(tmp_path / names[1])


# ---------------------------------------------------------------- NIfTI, NRRD


def test_nifti_transforms(tmp_path, capsys):
    image = nibabel.Nifti1Image(VOLUME.T.astype("i2"), None)
    image.header.set_xyzt_units("micron")
    image.header.set_sform(np.diag([*SIZE[::-1], 1]), code=1)
    content = image.to_bytes()
    (tmp_path / "a.nii").write_bytes(content)
    is_right(tmp_path / "a.nii")  # pixdim says nothing, so the transform does
    other = bytearray(content)
    struct.pack_into("<3f", other, 80, 3, 3, 3)
    (tmp_path / "b.nii").write_bytes(other)
    is_right(tmp_path / "b.nii", None)
    assert "states two voxel sizes (z, y, x), 3 x 3 x 3 and 2 x 0.5 x 0.25: give" in capsys.readouterr().out


@pytest.mark.parametrize("sides, code", [((1, 1, 1), 2), ((0.253, 0.5, 2), 1), ((3, 3, 3), 4)])
def test_nifti_transforms_that_contradict_nothing(tmp_path, sides, code):
    """What programs write that know none; rounded; onto a template, which stretches."""
    image = nibabel.Nifti1Image(VOLUME.T.astype("i2"), None)
    image.header.set_xyzt_units("micron")
    image.header.set_zooms(SIZE[::-1])
    image.header.set_sform(np.diag([*sides, 1]), code=code)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    is_right(tmp_path / "a.nii")


def test_nifti_named_wrongly_and_the_remedy_works(tmp_path):
    import gzip

    content = nibabel.Nifti1Image(VOLUME.T.astype("i2"), None).to_bytes()
    (tmp_path / "a.nii.gz").write_bytes(content)
    (tmp_path / "b.nii").write_bytes(gzip.compress(content))
    for name, other in (("a.nii.gz", "a.nii"), ("b.nii", "b.nii.gz")):
        assert refused(lambda: volumes.read(tmp_path / name), "name it ").endswith(f"name it {other}")
        (tmp_path / name).rename(tmp_path / other)
        is_right(tmp_path / other, None)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Spm99AnalyzeImage])
def test_pairs_of_header_and_image(tmp_path, kind):
    image = kind(VOLUME.T.astype("i2"), None)
    if kind is nibabel.Nifti1Pair:
        image.header.set_zooms(SIZE[::-1])
        image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.img")
    is_right(tmp_path / "a.hdr", SIZE if kind is nibabel.Nifti1Pair else None)
    line = refused(lambda: volumes.read(tmp_path / "a.img"), "holds the voxels: give ")
    is_right(line.rpartition("give ")[2], SIZE if kind is nibabel.Nifti1Pair else None)
    assert volumes.find(tmp_path) == [tmp_path / "a.hdr"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_nrrd_units_beyond_ascii(tmp_path, encoding):
    """The library leaves µ out, which makes metres of µm."""
    path = tmp_path / "a.nrrd"
    nrrd.write(str(path), VOLUME.T, {"spacings": list(SIZE[::-1]), "units": ["@@m"] * 3})
    path.write_bytes(path.read_bytes().replace(b"@@m", "µm".encode(encoding)))
    is_right(path)


def test_nrrd_of_turned_and_flipped_directions(tmp_path):
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, -1]])
    words = {"space dimension": 3, "space directions": np.diag(SIZE[::-1]) @ turn / 1e3}
    nrrd.write(str(tmp_path / "a.nrrd"), VOLUME.T, words | {"space units": ["mm"] * 3})
    is_right(tmp_path / "a.nrrd")


def test_what_bzip2_shrinks_far_is_not_called_cut(tmp_path):
    array = np.zeros((100, 100, 100), "u1")
    array[:20] = 1
    nrrd.write(str(tmp_path / "a.nrrd"), array, {"encoding": "bzip2"})
    is_right(tmp_path / "a.nrrd", None, array.T)


# ---------------------------------------------------------------- HDF5, Imaris, Zarr


def hdf5(path, array, name="raw", **attributes):
    with h5py.File(path, "w") as file:
        file[name] = array
        file[name].attrs.update(attributes)
    return path


def tags(axes):
    return json.dumps({"axes": [{"key": axis, "typeFlags": 2, "resolution": 0} for axis in axes]})


@pytest.mark.parametrize("axes", ["zyx", "xyz", "zyxc", "tzyxc", "cxyz"])
@pytest.mark.parametrize("kind", [str, np.bytes_])
def test_ilastik_axistags(tmp_path, axes, kind):
    order = ["zyx".index(axis) for axis in axes if axis in "zyx"]
    array = VOLUME.transpose(order).reshape([{"z": 18, "y": 20, "x": 22}.get(axis, 1) for axis in axes])
    is_right(hdf5(tmp_path / "a.h5", array, "exported_data", axistags=kind(tags(axes))), None)


def test_axistags_that_cannot_be_read_are_none(tmp_path, capsys):
    is_right(hdf5(tmp_path / "a.h5", VOLUME, axistags="{broken"), None)
    assert "its axes are not named" in capsys.readouterr().out


def test_probabilities_of_ilastik(tmp_path):
    hdf5(tmp_path / "a.h5", np.stack([VOLUME, VOLUME + 1], -1), "exported_data", axistags=tags("zyxc"))
    refused(lambda: volumes.read(tmp_path / "a.h5"), "has 2 channels", "channel=0")
    is_right(tmp_path / "a.h5", None, VOLUME + 1, channel=1)


def test_bigdataviewer_keeps_its_numbers_without_a_sign(tmp_path, capsys):
    bright = (VOLUME + 40000).astype("u2")
    hdf5(tmp_path / "a.h5", bright.view("i2"), "t00000/s00/0/cells")
    is_right(tmp_path / "a.h5", None, bright)
    assert capsys.readouterr().out == ""
    is_right(hdf5(tmp_path / "b.h5", bright.view("i2")), None, bright.view("i2"))  # no such file


@pytest.mark.parametrize("lost, known", [("Unit", SIZE), ("ExtMax2", None)])
def test_imaris_that_does_not_state_all(tmp_path, lost, known, capsys):
    samples.imaris(tmp_path / "a.ims", VOLUME, SIZE)
    with h5py.File(tmp_path / "a.ims", "r+") as file:
        del file["DataSetInfo/Image"].attrs[lost]
    is_right(tmp_path / "a.ims", known)
    assert ("does not state its extent" in capsys.readouterr().out) == (known is None)


def ome_zarr(path, names="zyx", first=SIZE, around=None, unit="micrometer", version="0.4", kind="scale"):
    axes = [{"name": name, "type": "space"} | ({"unit": unit} if unit else {}) for name in names]
    steps = [{"type": "scale", "scale": list(first)}] if kind == "scale" else [{"type": kind, "path": "x"}]
    about = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    if around:
        about["coordinateTransformations"] = [{"type": "scale", "scale": list(around)}]
    group = zarr.create_group(str(path), zarr_format=2 if version == "0.4" else 3)
    listed = {"multiscales": [about]}
    group.attrs.update(listed if version == "0.4" else {"ome": {"version": version, **listed}})
    group.create_array("0", data=VOLUME, chunks=(9, 20, 22))
    return path


@pytest.mark.parametrize(
    "given, size, words",
    [
        ({}, SIZE, ""),
        ({"version": "0.5"}, SIZE, ""),
        ({"first": (4, 1, 1), "around": (0.5, 0.5, 0.25)}, SIZE, ""),
        ({"first": (1, 1, 1), "around": SIZE, "version": "0.5"}, SIZE, ""),
        ({"names": ("depth", "row", "column")}, SIZE, ""),
        ({"unit": None}, None, "its axes have no unit: give voxel_size in µm"),
        ({"unit": "furlong"}, None, "'furlong', is unknown: give voxel_size in µm"),
        ({"kind": "identity"}, None, "it states no scale: give voxel_size in µm"),
        ({"kind": "path"}, None, "it states no scale: give voxel_size in µm"),
        ({"first": (0, 0.5, 0.25)}, None, "which is no length: give voxel_size in µm"),
    ],
)
def test_scales_of_ome_zarr(tmp_path, given, size, words, capsys):
    ome_zarr(tmp_path / "a.zarr", **given)
    is_right(tmp_path / "a.zarr", size)
    out = capsys.readouterr().out
    assert words in out and bool(out) == bool(words)


def test_names_of_channels_as_omero_has_them(tmp_path):
    group = zarr.open_group(str(ome_zarr(tmp_path / "a.zarr", "zyx")))
    both = group.create_array("1", shape=(2, *VOLUME.shape), dtype="u2", chunks=(1, 9, 20, 22))
    both[:] = np.stack([VOLUME, VOLUME + 1])
    about = group.attrs["multiscales"]
    about[0]["axes"].insert(0, {"name": "c", "type": "channel"})
    about[0]["datasets"] = [{"path": "1"}]
    group.attrs.update({"multiscales": about, "omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}})
    refused(lambda: volumes.read(tmp_path / "a.zarr"), "has 2 channels", "there are 0 DAPI, 1 GFP")
    is_right(tmp_path / "a.zarr", None, VOLUME + 1, channel=1)


def test_a_store_that_lacks_an_array_or_chunks(tmp_path, capsys):
    import shutil

    ome_zarr(tmp_path / "a.zarr")
    shutil.copytree(tmp_path / "a.zarr", tmp_path / "whole.zarr")
    (tmp_path / "a.zarr" / "0" / "1.0.0").unlink()
    found, _ = volumes.read_labels(tmp_path / "a.zarr", own=True)  # also where the size is not asked for
    assert found[9:].max() == 0 and "1 of its 2 chunks are not there" in capsys.readouterr().out
    volumes.read(tmp_path / "a.zarr", voxel_size=(1, 1, 1))
    assert "1 of its 2 chunks are not there" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "a.zarr" / "0")
    refused(
        lambda: volumes.read(tmp_path / "a.zarr"), "a.zarr", "array '0' is not there: copy the store again"
    )
    shutil.rmtree(tmp_path / "a.zarr")
    (tmp_path / "whole.zarr").rename(tmp_path / "a.zarr")  # the remedy
    is_right(tmp_path / "a.zarr")


def test_labels_of_a_small_part_of_a_store_are_read(tmp_path, capsys):
    """Zarr leaves out what is empty, unless it is told not to."""
    array = zarr.create_array(
        str(tmp_path / "a.zarr"), shape=(64,) * 3, chunks=(8,) * 3, dtype="u2", fill_value=0
    )
    array[9:14, 9:14, 9:14] = 7
    found, _ = volumes.read_labels(tmp_path / "a.zarr")
    assert (found == 7).sum() == 125 and "511 of its 512 chunks are not there" in capsys.readouterr().out


def test_stores_that_are_not_read_are_named(tmp_path):
    for name in ("a.zarr.zip", "a.ozx"):
        (tmp_path / name).write_bytes(b"PK\3\4")
        refused(lambda: volumes.read(tmp_path / name), "a packed OME-Zarr: unzip it")
    (tmp_path / "1.2.840.3").write_bytes(bytes(128) + b"DICM" + bytes(300))
    refused(lambda: volumes.read(tmp_path / "1.2.840.3"), "is DICOM", "name it 1.2.840.3.dcm")
    (tmp_path / "a.n5").mkdir()
    refused(lambda: volumes.read(tmp_path / "a.n5"), "is N5", "save it as TIFF")


# ---------------------------------------------------------------- names, and labels among volumes


@pytest.mark.parametrize(
    "name, kind",
    [
        *[(f"c5_{ending}.tif", "labels of c5.tif") for ending in (
            "label_image labelmap segm watershed masks_cleaned gt_instances binary_mask cellpose_masks "
            "labels_v2_final instance_seg msk classes objects mask_copy mask2").split()],
        *[(f"c5_{ending}.tif", "result of an earlier run") for ending in (
            "probability_map uncertainty overlay contours heatmap distance_map result "
            "probability_1").split()],
        *[(f"{name}.tif", "volume") for name in "c5_nuclei MAX_c5 C1-c5 c5_copy classy c5-unmasked".split()],
    ],
)  # fmt: skip
def test_names_of_labels_and_results(tmp_path, name, kind):
    assert folders.sort([tmp_path / "c5.tif", tmp_path / name])[tmp_path / name] == kind


@pytest.mark.parametrize("name", "objects classes threshold no_label without_mask dist result mask2".split())
def test_what_may_be_labels_is_a_volume_where_nothing_says_of_which(tmp_path, name):
    file = tmp_path / f"brain_{name}.tif"
    assert folders.sort([tmp_path / "c5.tif", file])[file] == "volume"


def test_an_image_of_few_greys_is_not_taken_for_labels(tmp_path, capsys):
    rng = np.random.default_rng(0)
    array = np.rint(4 + ndimage.gaussian_filter(rng.normal(size=(18, 60, 60)), 3) * 15).astype("u1")
    alike = array[:, :, 1:] == array[:, :, :-1]
    assert alike.mean() > labels.ALIKE
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": "ZYX"})
    volumes.read(tmp_path / "a.tif")
    assert capsys.readouterr().out == ""


def test_labels_given_as_a_volume_are_said(tmp_path, capsys):
    cells = np.kron(np.arange(1, 28).reshape(3, 3, 3), np.ones((6, 7, 7))).astype("u2")
    cells[:, ::7], cells[..., ::7] = 0, 0
    for array, said in ((cells, True), (cells.astype("f4"), True), (VOLUME, False)):
        tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": "ZYX"})
        volumes.read(tmp_path / "a.tif")
        assert ("as labels do: is it the image?" in capsys.readouterr().out) == said


def test_labels_whose_background_is_a_number(tmp_path, capsys):
    cells = np.full((18, 20, 22), 65535, "u2")
    for number in range(1, 6):
        cells[3 * number : 3 * number + 2, 4:9, 4:9] = number
    tifffile.imwrite(tmp_path / "a.tif", cells, metadata={"axes": "ZYX"})
    volumes.read_labels(tmp_path / "a.tif")
    assert "more than half of them are 65535: if that is it, set it to 0" in capsys.readouterr().out
    tifffile.imwrite(tmp_path / "a.tif", np.where(cells == 65535, 0, cells), metadata={"axes": "ZYX"})
    assert volumes.read_labels(tmp_path / "a.tif")[0].max() == 5 and capsys.readouterr().out == ""
