"""The part of data/README.md on formats and names, made of the code that obeys them.

python tools/formats_page.py            # writes it; tests/io/test_page.py compares
"""

import inspect
from pathlib import Path

from cellseg_nb.io import convert, folder, formats, labels, ngff_writing, planes, units, volumes

PAGE = Path(__file__).resolve().parents[1] / "data" / "README.md"
BEGIN, END = "<!-- formats: made by tools/formats_page.py -->\n", "<!-- formats: end -->\n"
NAMES = (
    "c5.tif c5_labels.tif c5_masks.tif c5_cp_masks.tif c5_label_image.tif mask_c5.tif c5_gt.nrrd "
    "c5-seg_v2.tif c5_labels(1).tif labels.tif "
    "c5_objects.tif big_objects.tif man_seg007.tif probability.tif "
    "c5_probability_map.tif c5_flows.tif c5_thumb.tif"
).split()
PICKED = {
    "channel": "of several channels or colours",
    "timepoint": "of a time series",
    "series": "of several images: OME-TIFF series, CZI scenes, ND2 positions, LIF images, Zarr groups, "
    "HDF5 data sets; "
    "a number or a name",
    "level": "of a pyramid; 0 is the finest",
}


def formats_table():
    """One row a format."""
    yield "| format | endings | voxel size from | library |"
    yield "|---|---|---|---|"
    for one in formats.FORMATS:
        library = f"{one.library} (`pip install {one.library}`)" if one.extra else one.library
        endings = ", ".join(f"`{e}`" for e in one.endings) + (" (a folder)" if one.folder else "")
        yield f"| {one.name} | {endings} | {one.size} | {library} |"
    size = "what the first plane states, or Micro-Manager's `metadata.txt` beside them; else not known"
    yield f"| planes of one stack | a folder of `.tif` | {size} | tifffile |"


def units_words():
    """Units by their length in µm."""
    by_length = {}
    for name, length in units.MICROMETRES.items():
        by_length.setdefault(length, []).append(name)
    return "; ".join(", ".join(names) for _, names in sorted(by_length.items()))


def names_table():
    """What files of these names are taken for, as the code sorts them."""
    kinds = folder.sort([Path(name) for name in NAMES])
    yield "| name | taken as |"
    yield "|---|---|"
    for path, kind in kinds.items():
        yield f"| `{path.name}` | {kind} |"


def page():
    """The whole part, as text."""
    assert set(PICKED) == set(convert.PARTS) <= set(inspect.signature(volumes.read).parameters)
    lines = ["### Formats", "", *formats_table(), ""]
    lines += [
        "Where a file holds more than one volume, a line lists what there is, and one is chosen with:",
        "",
    ]
    lines += [f"- `{name}`: {words}" for name, words in PICKED.items()]
    lines += [
        "",
        "Notebooks 00 and 04 have these parameters; a data set (the other notebooks) holds one volume a "
        "file. "
        "`cellseg-nb look FILE` says what a file holds, `cellseg-nb convert FILE OUT -p channel 1` writes "
        "one volume "
        "of it as TIFF (`.tif`) or OME-Zarr (`.zarr`, version 0.4, blocks of "
        f"{ngff_writing.CHUNK} voxels), and `cellseg-nb convert TABLE.csv TABLE.parquet` a table "
        "(with pyarrow). "
        "`-p axes ZYX` names axes that a file names wrongly.",
        "",
        "An OME-TIFF in several files is read whole from any of them, also where a `.companion.ome` "
        "describes it. HDF5 that is compressed by Blosc, LZ4 or Zstandard needs `pip install hdf5plugin`.",
        "",
        f"Not read, and said so: {', '.join(f'`{e}`' for e in formats.FOREIGN)}.",
        "",
        "### Units",
        "",
        f"In any case and plural, also as `\\u00B5m`: {units_words()}. Another unit is named in a line, "
        f"and the voxel "
        f"size is then unknown. Voxel sizes that differ by less than {units.CLOSE:.1%} are equal.",
        "",
        "### Names in a folder",
        "",
        *names_table(),
        "",
        "Other parts of one OME-TIFF are left out, since they are read with the first. A folder whose "
        "TIFFs are single "
        f"planes, {planes.FEWEST} or more, with names that differ in one number alone, is one volume; "
        f"planes that are "
        "numbered as time points (`t000.tif`) are refused.",
        "",
        "### Labels",
        "",
        "Two values are a mask, which is parted into pieces connected face to face. Refused are: colours, "
        "fractions, "
        f"negative numbers, numbers in more than {labels.PIECES} times as many pieces as there are numbers "
        f"(and "
        f"{labels.FEW}), and numbers most of which lie in several pieces (classes). Said are: gaps in the "
        f"numbers, "
        "numbers in several pieces, no background, and numbers above "
        f"{labels.MOST:,} and the count of the voxels, which are numbered anew.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main():
    """Write it into data/README.md."""
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{page()}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
