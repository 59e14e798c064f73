"""Voxel sizes and axes as the writer meant them: units of any spelling, axes in any order."""

import itertools

import numpy as np
import pytest
import tifffile

from cellseg_nb.io import units, volumes

SHAPE = (18, 20, 22)
RAMP = (np.arange(np.prod(SHAPE)) % 251).reshape(SHAPE).astype(np.uint16)


def imagej(path, unit="um", pixels=(2, 4), resolution_unit="NONE", **words):
    """A stack as ImageJ would store it: pixels per unit along x and y."""
    tifffile.imwrite(
        path,
        RAMP,
        imagej=True,
        resolution=pixels,
        resolutionunit=resolution_unit,
        metadata={"axes": "ZYX", "unit": unit, **words},
    )
    return path


# ---------------------------------------------------------------- units


@pytest.mark.parametrize(
    "names, factor",
    [
        (
            "um µm μm Um micron microns micrometer micrometers Micrometre \\u00B5m \\u03bcm ㎛ мкм 微米 Âµm "
            "mikrometer \\xb5m micromètre micromètres µm/px um/pixel micrometro",
            1,
        ),
        ("nm nanometer nanometers nanometre ㎚", 1e-3),
        ("mm millimeter millimetres", 1e3),
        ("cm centimeter", 1e4),
        ("m metre", 1e6),
        ("thou mil mils", 25.4),
        ("ft foot", 304800),
        ("dm decimetre", 1e5),
        ("inch inches in", 25400),
        ("Å \u212b A\u030a angstrom Ångström angstroms", 1e-4),
    ],
)
def test_units_of_any_spelling(names, factor):
    assert {units.micrometres(name) for name in names.split()} == {factor}


def test_no_unit_and_unknown_unit():
    assert {units.micrometres(name) for name in ("", "pixel", "Pixels", "px", " voxel")} == {None}
    with pytest.raises(KeyError):
        units.micrometres("furlong")


# ---------------------------------------------------------------- ImageJ


def test_imagej_um_with_centimetres_is_pixels_per_centimetre(tmp_path):
    path = imagej(tmp_path / "a.tif", "um", (20000, 40000), "CENTIMETER", spacing=2.0)
    assert volumes.read(path)[1] == pytest.approx((2, 0.25, 0.5))


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m"])
@pytest.mark.parametrize("pixels", [(2, 4), (20000, 40000)])
def test_two_units_that_contradict_give_what_a_microscope_can_make(tmp_path, unit, pixels):
    path = imagej(tmp_path / "a.tif", unit, pixels, "CENTIMETER", spacing=2.0)
    assert volumes.read(path)[1] == pytest.approx((2, 0.25, 0.5))


@pytest.mark.parametrize("resolution_unit", ["NONE", "INCH", "CENTIMETER"])
@pytest.mark.parametrize("unit, factor", [("nm", 1e-3), ("mm", 1e3), ("inch", 25400), ("Å", 1e-4)])
def test_the_unit_of_imagej_counts_not_resolution_unit(tmp_path, unit, factor, resolution_unit):
    unit = unit.encode("unicode_escape").decode().replace("\\xc5", "\\u00C5")
    path = imagej(tmp_path / "a.tif", unit, (1 / 40, 1 / 20), resolution_unit, spacing=90.0)
    assert volumes.read(path)[1] == pytest.approx((90 * factor, 20 * factor, 40 * factor))


def test_units_of_single_axes(tmp_path):
    path = imagej(tmp_path / "a.tif", "um", spacing=1500.0, zunit="nm")
    assert volumes.read(path)[1] == pytest.approx((1.5, 0.25, 0.5))
    path = imagej(tmp_path / "a.tif", "um", (2, 1 / 250), spacing=0.002, zunit="mm", yunit="nm")
    assert volumes.read(path)[1] == pytest.approx((2, 0.25, 0.5))


def test_centimetres_as_imagej_shows_them(tmp_path):
    path = imagej(tmp_path / "a.tif", "cm", (20000, 40000), "CENTIMETER", spacing=0.0002)
    assert volumes.read(path)[1] == pytest.approx((2, 0.25, 0.5))
    path = imagej(tmp_path / "a.tif", "cm", (20000, 40000), "CENTIMETER")  # a depth of 1 is one not given
    assert volumes.read(path)[1] == pytest.approx((1, 0.25, 0.5))


def test_without_a_unit_that_of_the_resolution_as_imagej(tmp_path):
    path = tmp_path / "a.tif"
    for unit, per, spacing in (("CENTIMETER", (20000, 40000), 0.0002), ("INCH", (50800, 101600), 2 / 25400)):
        words = {"axes": "ZYX", "spacing": spacing}
        tifffile.imwrite(path, RAMP, imagej=True, resolution=per, resolutionunit=unit, metadata=words)
        assert volumes.read(path)[1] == pytest.approx((2, 0.25, 0.5))
        # without a spacing the depth is not known, and nothing is made up
        tifffile.imwrite(
            path, RAMP, imagej=True, resolution=per, resolutionunit=unit, metadata={"axes": "ZYX"}
        )
        assert volumes.read(path)[1] is None


def test_72_dots_per_inch_mean_nothing(tmp_path):
    path = imagej(tmp_path / "a.tif", "um", (72, 72), "INCH", spacing=2.0)
    assert volumes.read(path)[1] == pytest.approx((2, 1, 1))


def test_a_raw_byte_for_mu(tmp_path):
    path = imagej(tmp_path / "a.tif", "@m", spacing=2.0)
    path.write_bytes(path.read_bytes().replace(b"unit=@m", b"unit=\xb5m"))
    assert volumes.read(path)[1] == pytest.approx((2, 0.25, 0.5))


@pytest.mark.parametrize("words", [{"unit": "furlong"}, {"zunit": "furlong"}])
def test_an_unknown_unit_is_named(tmp_path, capsys, words):
    path = imagej(tmp_path / "a.tif", **{"spacing": 2.0, **words})
    assert volumes.read(path)[1] is None
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "a.tif" in out and "'furlong'" in out and "voxel_size" in out
    assert volumes.read(path, voxel_size=(2, 1, 1))[1] == (2, 1, 1)  # the remedy
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- OME


@pytest.mark.parametrize("micro", ["µm", "nm", "mm", "Å", "cm", "in"])
def test_ome_has_a_unit_for_each_axis(tmp_path, micro, capsys):
    factor = units.micrometres(micro)
    sizes = {"PhysicalSizeZ": 2 / factor, "PhysicalSizeZUnit": micro, "PhysicalSizeY": 250.0}
    sizes |= {"PhysicalSizeYUnit": "nm", "PhysicalSizeX": 0.5}
    tifffile.imwrite(tmp_path / "a.tif", RAMP, ome=True, metadata={"axes": "ZYX", **sizes})
    assert volumes.read(tmp_path / "a.tif")[1] == pytest.approx((2, 0.25, 0.5))
    sizes["PhysicalSizeZUnit"] = "reference frame"
    tifffile.imwrite(tmp_path / "a.tif", RAMP, ome=True, metadata={"axes": "ZYX", **sizes})
    assert volumes.read(tmp_path / "a.tif")[1] is None
    assert "'reference frame', is unknown" in capsys.readouterr().out


def test_equal_means_equal_within_rounding():
    assert units.agree([(2, 0.5, 0.5), (2.0004, 0.50002, 0.5)]) and units.agree([None, None])
    assert not units.agree([(2, 0.5, 0.5), (2, 0.51, 0.5)]) and not units.agree([None, (2, 0.5, 0.5)])


# ---------------------------------------------------------------- axes


@pytest.mark.parametrize("axes", ["".join(letters) for letters in itertools.permutations("ZYX")])
def test_stated_axes_are_obeyed(tmp_path, axes, capsys):
    turned = np.ascontiguousarray(RAMP.transpose(["ZYX".index(letter) for letter in axes]))
    tifffile.imwrite(tmp_path / "a.tif", turned, photometric="minisblack", metadata={"axes": axes})
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.tif")[0], RAMP)
    np.testing.assert_array_equal(volumes.read_labels(tmp_path / "a.tif", own=True)[0], RAMP)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("axes", ["ZCYX", "TZCYX", "CXYZ", "XYZC", "YXZT", "CZYX"])
@pytest.mark.parametrize("channels", [1, 2])
def test_stated_axes_with_channels(tmp_path, axes, channels):
    several = np.stack([RAMP + i for i in range(channels)])[None]  # T C Z Y X
    order = ["TCZYX".index(letter) for letter in axes]
    if channels > 1 and "C" not in axes:
        pytest.skip("no axis for them")
    rest = tuple(i for i in range(5) if i not in order)
    turned = np.ascontiguousarray(
        several.transpose([*rest, *order]).reshape([several.shape[i] for i in order])
    )
    tifffile.imwrite(tmp_path / "a.tif", turned, photometric="minisblack", metadata={"axes": axes})
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.tif", channel=channels - 1)[0], several[0, -1])


def test_axes_without_names_are_read_as_z_with_a_word(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "a.tif", RAMP, photometric="minisblack")
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.tif")[0], RAMP)
    assert "a.tif: its axes are not named: the one of 18 is read as z" in capsys.readouterr().out
    imagej(tmp_path / "a.tif")
    volumes.read(tmp_path / "a.tif")
    assert capsys.readouterr().out == ""


def test_turned_axes_of_no_known_voxel_size(tmp_path):
    words = {"axes": "XYZ", "unit": "um", "spacing": 2.0}
    tifffile.imwrite(tmp_path / "a.tif", RAMP, photometric="minisblack", resolution=(2, 4), metadata=words)
    assert volumes.read(tmp_path / "a.tif")[1] is None


@pytest.mark.parametrize("dtype", ["u1", "u2", "?"])
def test_white_as_zero_is_turned_round(tmp_path, dtype, capsys):
    array = RAMP.astype(dtype)
    top = np.iinfo(dtype).max if dtype != "?" else 1
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite", metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.tif")[0], top - array.astype(int))
    assert "turned round" in capsys.readouterr().out
    tifffile.imwrite(
        tmp_path / "a.tif", RAMP.astype("f4"), photometric="miniswhite", metadata={"axes": "ZYX"}
    )
    np.testing.assert_array_equal(volumes.read(tmp_path / "a.tif")[0], RAMP)
    assert "as they are" in capsys.readouterr().out
