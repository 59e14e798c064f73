"""Which labels belong to which volume: by name, by one rule, everywhere."""

import itertools
import shutil
import zipfile

import h5py
import numpy as np
import pytest
import tifffile

from cellseg_nb.data import pairing
from cellseg_nb.errors import UserError
from cellseg_nb.io import convert, folder as folders, volumes
from cellseg_nb.lessons import quickstart

IMAGE = np.random.default_rng(0).integers(0, 999, (18, 20, 22)).astype(np.uint16)
LABELS = np.zeros((18, 20, 22), np.uint16)
LABELS[2:6, 2:6, 2:6], LABELS[9:14, 9:14, 9:14] = 1, 2


@pytest.fixture
def lay(tmp_path):
    """lay(images, labels): two folders, each label file with another number of its own."""

    def make(images, labels):
        for place, names, array in (("images", images, IMAGE), ("labels", labels, LABELS)):
            (tmp_path / place).mkdir(exist_ok=True)
            for name in names:
                tifffile.imwrite(tmp_path / place / name, array, metadata={"axes": "ZYX"})
        return tmp_path

    return make


def by_folder(place):
    return [pair.labels.name for pair in pairing.pairs(place)]


def by_quickstart(place):
    choice = {"images": str(place / "images"), "labels": str(place / "labels"), "out": str(place / "out")}
    choice |= {"channel": -1, "voxel_size": None, "cell_diameter": None}
    seen = []
    keep = pairing.matched

    def spy(*given):
        seen.append(keep(*given))
        return seen[-1]

    quickstart.pairing.matched = spy
    try:
        quickstart.load(choice)
    finally:
        quickstart.pairing.matched = keep
    return [file.name for file in seen[0]]


both = pytest.mark.parametrize("way", [by_folder, by_quickstart])


@both
def test_the_same_words_in_another_order(lay, capsys, way):
    place = lay(["ctrl_m2.tif", "treat_m1.tif"], ["m1_treat_mask.tif", "m2_ctrl_mask.tif"])
    assert way(place) == ["m2_ctrl_mask.tif", "m1_treat_mask.tif"]
    assert "m2_ctrl_mask.tif is taken as the labels of ctrl_m2.tif" in capsys.readouterr().out


@both
@pytest.mark.parametrize(
    "images, labels",
    [
        (["s1.tif", "s2.tif"], ["s2_mask.tif", "s3_mask.tif"]),
        (["a.tif", "b.tif"], ["x.tif", "y.tif"]),
        (["a.tif"], ["b.tif"]),
        (["a_b.tif"], ["a_b_mask.tif", "a_b_labels.tif"]),
        (["a_b.tif"], ["b_a_mask.tif", "b-a.tif"]),
        (["a_b.tif", "b_a.tif"], ["b-a.tif", "c.tif"]),
    ],
)
def test_names_that_do_not_match_stop_and_both_lists_are_shown(lay, way, images, labels):
    place = lay(images, labels)
    with pytest.raises(UserError) as caught:
        way(place)
    line = str(caught.value)
    assert "\n" not in line and all(name in line for name in (*images, *labels)), line
    for old in labels:
        (place / "labels" / old).unlink()
    lay(images, [image.replace(".tif", "_labels.tif") for image in images])  # the remedy
    assert len(way(place)) == len(images)


@pytest.mark.parametrize(
    "name, words", [(None, "is empty"), (".DS_Store", "is empty"), ("notes.txt", "holds no label file")]
)
def test_a_folder_of_labels_without_any_is_named_and_both_remedies_work(lay, name, words):
    place = lay(["a.tif"], [])
    if name:
        (place / "labels" / name).touch()
    with pytest.raises(UserError) as caught:
        by_folder(place)
    assert str(caught.value).startswith(f"{place / 'labels'} {words}") and "0 label" not in str(caught.value)
    (place / "labels").rename(place / "other")
    assert [pair.labels for pair in pairing.pairs(place)] == [None]
    (place / "other").rename(place / "labels")
    assert by_folder(lay([], ["a.tif"])) == ["a.tif"]


def test_outlines_of_imagej_are_no_labels_yet(lay):
    place = lay(["a.tif"], [])
    with zipfile.ZipFile(place / "labels" / "RoiSet.zip", "w") as packed:
        packed.writestr("0001-0012-0034.roi", b"Iout")
    with pytest.raises(UserError, match="RoiSet.zip: it holds outlines of ImageJ: in Fiji fill each"):
        by_folder(place)


@pytest.mark.parametrize("cut", [None, 6])
def test_a_zip_that_is_empty_or_damaged_is_to_be_unpacked(lay, cut):
    file = lay(["a.tif"], []) / "labels" / "a.zip"
    with zipfile.ZipFile(file, "w") as packed:
        if cut:
            packed.writestr("1.roi", b"Iout")
    content = bytearray(file.read_bytes())
    if cut:
        content[content.index(b"PK\1\2") + cut] = 200  # of a version that nobody has
        file.write_bytes(content)
    with pytest.raises(UserError, match="a.zip: unzip it"):
        by_folder(file.parents[1])


def test_volumes_alone_given_as_their_labels(lay):
    place = lay(["a.tif"], [])
    choice = {"images": str(place / "images"), "labels": str(place / "images"), "out": str(place / "out")}
    with pytest.raises(UserError, match="no label file was found for .*a.tif: give the folder"):
        quickstart.load(choice | {"channel": -1, "voxel_size": None, "cell_diameter": None})


@both
def test_labels_left_over_are_named(lay, capsys, way):
    assert way(lay(["a.tif"], ["a.tif", "b.tif"])) == ["a.tif"]
    assert "b.tif: no volume of this name, left out" in capsys.readouterr().out


@both
def test_masks_among_the_images_are_left_out(lay, capsys, way):
    place = lay(["a.tif", "a_masks.tif", "probability.tif"], ["a.tif"])
    assert way(place) == ["a.tif"]
    assert "labels of a.tif: left out" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["without_labels", "unlabelled", "no masks"])
def test_a_folder_named_for_the_lack_of_labels_holds_volumes(lay, name):
    place = lay(["a.tif"], ["a.tif"])
    (place / name).mkdir()
    tifffile.imwrite(place / name / "b.tif", IMAGE, metadata={"axes": "ZYX"})
    assert by_folder(place) == ["a.tif"]


def test_side_by_side_with_results_and_bare_names(tmp_path, capsys):
    for name, array in (("image.tif", IMAGE), ("labels.tif", LABELS), ("probability.tif", IMAGE)):
        tifffile.imwrite(tmp_path / name, array)
    (pair,) = pairing.pairs(tmp_path)
    assert (pair.image.name, pair.labels.name) == ("image.tif", "labels.tif")
    assert "probability.tif: result of an earlier run, left out" in capsys.readouterr().out


def test_an_output_folder_among_the_data_is_left_out(tmp_path, capsys):
    for name, array in (("a.tif", IMAGE), ("a_labels.tif", LABELS), ("out/labels.tif", LABELS)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, array)
    assert [pair.name for pair in pairing.pairs(tmp_path)] == ["a"]
    assert "out: no volume beside labels.tif, left out" in capsys.readouterr().out


def test_one_file_and_one_file_need_no_name_in_common(lay):
    place = lay(["a.tif"], ["b.tif"])
    choice = {"images": str(place / "images/a.tif"), "labels": str(place / "labels/b.tif")}
    choice |= {"out": str(place / "out"), "channel": -1, "voxel_size": None, "cell_diameter": None}
    assert quickstart.load(choice)[0].labels.max() == 2


def test_shapes_are_compared_as_axes_say(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, metadata={"axes": "ZYX"})
    turned = np.ascontiguousarray(LABELS.T)
    tifffile.imwrite(tmp_path / "a_labels.tif", turned, photometric="minisblack", metadata={"axes": "XYZ"})
    assert len(pairing.pairs(tmp_path)) == 1


def test_voxel_sizes_equal_but_for_rounding(tmp_path):
    for name, side in (("a", 0.5), ("b", 0.50003)):
        words = {"axes": "ZYX", "unit": "um", "spacing": 2.0}
        tifffile.imwrite(
            tmp_path / f"{name}.tif", IMAGE, imagej=True, resolution=(1 / side,) * 2, metadata=words
        )
    choice = {"images": str(tmp_path), "labels": "", "out": str(tmp_path / "out")}
    choice |= {"channel": -1, "voxel_size": None, "cell_diameter": None}
    assert len(quickstart.load(choice)) == 2


def test_several_channels_in_a_data_set_and_the_remedy_works(tmp_path, capsys):
    from cellseg_nb import cli
    from cellseg_nb.data import datasets

    place = tmp_path / "set"
    place.mkdir()
    two = np.stack([IMAGE, IMAGE + 1])
    tifffile.imwrite(place / "a.tif", two, photometric="minisblack", metadata={"axes": "CZYX"})
    with pytest.raises(UserError) as caught:
        datasets.load(pairing.pairs(place)[0])
    line = str(caught.value)
    assert "(on the command line: -p" not in line and "convert" in line  # these notebooks have no channel
    tifffile.imwrite(place / "a_labels.tif", LABELS, metadata={"axes": "ZYX"})
    with pytest.raises(UserError, match="and in a data set a file holds one volume"):
        pairing.pairs(place)
    given = line.partition("cellseg-nb ")[2].replace("FOLDER/NAME", str(tmp_path / "b")).split()
    assert cli.main(given) == 0
    (place / "a.tif").unlink()
    (tmp_path / "b.tif").rename(place / "a.tif")
    np.testing.assert_array_equal(datasets.load(pairing.pairs(place)[0])[0], IMAGE)


def test_a_cell_tracking_challenge_set(tmp_path, capsys):
    for name, array in (
        ("01/t000.tif", IMAGE),
        ("01/t001.tif", IMAGE + 1),
        ("01_GT/SEG/man_seg001.tif", LABELS),
        ("01_GT/SEG/man_seg_000_005.tif", LABELS[5]),
        ("01_GT/TRA/man_track000.tif", LABELS),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        tifffile.imwrite(tmp_path / name, array, photometric="minisblack")
    (pair,) = pairing.pairs(tmp_path)
    assert (pair.name, pair.image.name, pair.labels.name) == ("01/001", "t001.tif", "man_seg001.tif")
    assert "1 of 2 time points have labels" in capsys.readouterr().out
    with pytest.raises(UserError, match="holds only what is named like labels"):
        folders.find(tmp_path / "01_GT" / "SEG")
    with pytest.raises(UserError, match="01"):  # the folder that does hold volumes is named
        folders.find(tmp_path)
    assert by_quick(tmp_path / "01" / "t001.tif", tmp_path / "01_GT/SEG/man_seg001.tif", tmp_path)[
        0
    ].labels.any()


def by_quick(images, labels, out):
    choice = {"images": str(images), "labels": str(labels), "out": str(out / "out"), "channel": -1}
    return quickstart.load(choice | {"voxel_size": None, "cell_diameter": None})


def test_volumes_and_labels_of_other_formats_are_pairs(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "labels").mkdir(parents=True)
    volumes.write(tmp_path / "images" / "a.ome.zarr", IMAGE, (2, 0.5, 0.5))
    volumes.write(tmp_path / "images" / "b.tif", IMAGE, (2, 0.5, 0.5))
    with h5py.File(tmp_path / "labels" / "a_labels.h5", "w") as file:
        file["labels"] = LABELS
    volumes.write(tmp_path / "labels" / "b_masks.zarr", LABELS)
    found = pairing.pairs(tmp_path)
    assert [(p.name, p.image.name, p.labels.name) for p in found] == [
        ("a", "a.ome.zarr", "a_labels.h5"),
        ("b", "b.tif", "b_masks.zarr"),
    ]
    assert len(by_quick(tmp_path / "images", tmp_path / "labels", tmp_path)) == 2


def test_results_never_land_among_the_inputs(tmp_path):
    from cellseg_nb import parameters

    tifffile.imwrite(tmp_path / "a.tif", IMAGE)
    spec = {"images": parameters.text, "out": parameters.text}
    for images in (tmp_path, tmp_path / "a.tif"):
        with pytest.raises(UserError, match="results would land among the inputs: choose another"):
            parameters.check(spec, {"images": str(images), "out": f"{tmp_path}/../{tmp_path.name}"})
        parameters.check(spec, {"images": str(images), "out": str(tmp_path / "results")})  # the remedy


@pytest.mark.parametrize(
    "image, label",
    [
        ("imagesTr/a_0000.tif", "labelsTr/a.tif"),
        ("images/image_3.tif", "masks/mask_3.tif"),
        ("images/img_1.tif", "labels/img_01_mask.tif"),
        ("nuclei/a.tif", "nuclei_masks/a.tif"),
        ("images/im_3.tif", "label_images/3.tif"),
        ("image_3.tif", "label_3.tif"),
        ("a.tif", "a_label_image.tif"),
    ],
)
def test_more_layouts_of_pairs(tmp_path, image, label):
    """The first used to make a volume of the labels, without a word."""
    for name, array in ((image, IMAGE), (label, LABELS)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, array, metadata={"axes": "ZYX"})
    (found,) = pairing.pairs(tmp_path)
    assert (found.image, found.labels) == (tmp_path / image, tmp_path / label)


def test_labels_of_no_clear_volumes_are_no_volumes_and_the_remedy_works(tmp_path):
    for name, array in (("scans/a.tif", IMAGE), ("old_masks/a.tif", LABELS)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, array, metadata={"axes": "ZYX"})
    with pytest.raises(UserError, match="old_masks is named as a folder of labels.* call it labels, and the"):
        pairing.pairs(tmp_path)
    (tmp_path / "old_masks").rename(tmp_path / "labels")
    (tmp_path / "scans").rename(tmp_path / "images")
    (found,) = pairing.pairs(tmp_path)
    assert found.labels.parent.name == "labels"


@pytest.mark.parametrize(
    "names",
    [
        ["images/a", "labels/a", "cellpose/a", "stardist/a"],
        ["images/a", "masks/a", "masks_corrected/a"],
        ["a", "labels/a", "nuclei_labels/a"],
    ],
)
def test_other_labels_beside_those_in_labels_are_left_out(tmp_path, names):
    for name in names:
        file = tmp_path / f"{name}.tif"
        file.parent.mkdir(exist_ok=True)
        tifffile.imwrite(file, LABELS if name != names[0] else IMAGE, metadata={"axes": "ZYX"})
    (found,) = pairing.pairs(tmp_path)
    assert (found.image, found.labels) == (tmp_path / f"{names[0]}.tif", tmp_path / f"{names[1]}.tif")


def test_names_that_begin_otherwise_are_other_volumes(tmp_path):
    for name in ("images/img_1", "images/vol_1", "labels/img_1", "labels/vol_1_mask"):
        file = tmp_path / f"{name}.tif"
        file.parent.mkdir(exist_ok=True)
        tifffile.imwrite(file, LABELS if "labels" in name else IMAGE, metadata={"axes": "ZYX"})
    found = pairing.pairs(tmp_path)
    assert [(one.image.name, one.labels.name) for one in found] == [
        ("img_1.tif", "img_1.tif"),
        ("vol_1.tif", "vol_1_mask.tif"),
    ]


def laid(place, names):
    """Files of a folder, each volume with voxels of its own; labels where the name says so."""
    for number, name in enumerate(names):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        image = np.roll(IMAGE, number, 2)
        array = image[0] if "MAX" in name else LABELS if "label" in name or "GT" in name else image
        tifffile.imwrite(place / name, array, metadata={"axes": "ZYX"[-array.ndim :]})
    return place


@pytest.mark.parametrize(
    "names, pairs, words",
    [
        ("s1/raw s1/labels s2/raw s2/labels", "s1/raw=s1/labels s2/raw=s2/labels", ""),
        (
            "ctrl/images/a ctrl/labels/a drug/images/a drug/labels/a",
            "ctrl/a=ctrl/labels/a drug/a=drug/labels/a",
            "",
        ),
        ("a a_labels #recycle/a #recycle/a_labels @eaDir/b", "a=a_labels", ""),
        ("a a_labels(1)", "a=a_labels(1)", ""),
        ("a a_labels[2]", "a=a_labels[2]", ""),
        ("a a_labels-DESKTOP-1A2B", "a=a_labels-DESKTOP-1A2B", ""),
        ("Mouse1 mouse1_labels", "Mouse1=mouse1_labels", "taken as the labels of Mouse1.tif: the same words"),
        ("N\u00e4h Na\u0308h_labels", "N\u00e4h=Na\u0308h_labels", ""),
        ("a MAX_a a_labels", "a=a_labels", "MAX_a.tif: 2D: a plane of a stack"),
        (
            "01/t000 01_GT/SEG/man_seg000 01_ST/SEG/man_seg000",
            "01/000=01_GT/SEG/man_seg000",
            "01_ST/SEG: the other truth is taken, left out",
        ),
    ],
)
def test_folders_as_people_and_drives_leave_them(tmp_path, capsys, names, pairs, words):
    laid(tmp_path, [f"{name}.tif" for name in names.split()])
    found = [(one.name, one.labels.relative_to(tmp_path)) for one in pairing.pairs(tmp_path)]
    assert sorted(f"{name}={str(path)[:-4]}" for name, path in found) == sorted(pairs.split())
    assert words in capsys.readouterr().out


def test_samples_inside_images_and_labels_are_asked_about_and_the_remedy_works(tmp_path):
    names = [f"{kind}/{sample}.tif" for kind in ("images", "labels") for sample in ("s1/a", "s2/b")]
    laid(tmp_path, names)
    with pytest.raises(UserError, match="lies within .*labels, .*give each sample a folder"):
        pairing.pairs(tmp_path)
    for name in names:
        kind, sample, file = name.split("/")
        (tmp_path / "set" / sample / kind).mkdir(parents=True, exist_ok=True)
        (tmp_path / name).rename(tmp_path / "set" / sample / kind / file)
    assert [pair.labels.name for pair in pairing.pairs(tmp_path / "set")] == ["a.tif", "b.tif"]


def test_folders_of_planes_in_images_and_labels_and_the_remedy_works(tmp_path):
    for kind, sample, z in itertools.product(("images", "labels"), "ab", range(18)):
        array = (IMAGE if kind == "images" else LABELS)[z]
        for place in (tmp_path / "asked" / kind / sample, tmp_path / "right" / sample / kind):
            place.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(place / f"z{z:02}.tif", array, metadata=None)
    with pytest.raises(UserError, match="lies within .*labels, .*give each sample a folder"):
        pairing.pairs(tmp_path / "asked")
    found = pairing.pairs(tmp_path / "right")
    assert [(one.name, one.labels.parent.name) for one in found] == [("a/images", "a"), ("b/images", "b")]


def test_a_sample_without_its_labels_is_named_and_the_remedy_works(tmp_path):
    laid(tmp_path, ["s1/image.tif", "s1/labels.tif", "s2/image.tif"])
    with pytest.raises(UserError, match=r"s2.image\.tif has no labels, .* as image_labels\.tif"):
        pairing.pairs(tmp_path)
    laid(tmp_path, ["s2/image_labels.tif"])
    assert [pair.name for pair in pairing.pairs(tmp_path)] == ["s1/image", "s2/image"]


def test_folders_of_planes_are_a_volume_each(tmp_path, capsys):
    for place, z in itertools.product("ab", range(18)):
        (tmp_path / place).mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / place / f"{place}_{z:03}.tif", IMAGE[z])
    assert [pair.image for pair in pairing.pairs(tmp_path)] == [tmp_path / "a", tmp_path / "b"]
    (only,) = pairing.pairs(tmp_path / "a")
    np.testing.assert_array_equal(volumes.read(only.image)[0], IMAGE)
    laid(tmp_path / "a", "s1/raw.tif s1/raw_labels.tif s2/raw.tif s2/raw_labels.tif".split())
    assert [pair.name for pair in pairing.pairs(tmp_path / "a")] == ["a", "s1/raw", "s2/raw"]
    assert capsys.readouterr().out.count("left out") == 0
    (tmp_path / "b" / "labels.h5").touch()
    assert len(pairing.pairs(tmp_path / "b")) == 1
    assert "labels.h5: among the planes of a stack, left out" in capsys.readouterr().out


def test_copies_of_labels_and_of_volumes_and_the_remedies_work(tmp_path):
    """Each volume twice would be learned from and tested on."""
    laid(tmp_path, ["s1/a.tif", "s1/a_labels.tif", "s1/a_labels - Copy.tif"])
    with pytest.raises(
        UserError, match="s1 holds 2 files of labels for a.tif .*: keep one of them"
    ) as caught:
        pairing.pairs(tmp_path)
    assert "a_labels - Copy.tif, a_labels.tif" in str(caught.value)
    (tmp_path / "s1" / "a_labels - Copy.tif").unlink()
    shutil.copytree(tmp_path / "s1", tmp_path / "s2")
    with pytest.raises(UserError, match="s1/a.tif and .*s2/a.tif are the same file: move one of them"):
        pairing.pairs(tmp_path)
    shutil.rmtree(tmp_path / "s2")
    assert [pair.name for pair in pairing.pairs(tmp_path)] == ["a"]


def test_which_dataset_of_a_file_holds_the_labels_is_listed_and_the_remedy_works(tmp_path, capsys):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["label"], file["raw"] = LABELS, IMAGE
    with pytest.raises(UserError, match="labels must be one volume: .* there are 0 'label' .* 1 'raw'"):
        volumes.read_labels(tmp_path / "a.h5")
    out = convert.convert(tmp_path / "a.h5", tmp_path / "labels.tif", {"series": "label"})
    np.testing.assert_array_equal(volumes.read_labels(out)[0], LABELS)
