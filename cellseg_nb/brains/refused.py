"""What is no single volume that can be read block by block: told in a line, before the first voxel."""

import re

from cellseg_nb.errors import UserError
from cellseg_nb.io import folder, formats, ome, parts, planes, tiff
from cellseg_nb.io.files import typed


def other_format(path):
    """UserError for a file of a format that is read whole only."""
    kind = formats.of(path)
    if kind is not None and kind.images is not tiff.images:
        raise UserError(
            f"{path} is {kind.name}, which is not read block by block: make an OME-Zarr of it, as in: "
            f"cellseg-nb convert {typed(path)} OUT.zarr, and give that"
        )


def parts_and_several(path, file):
    """UserError for an open TIFF that is part of a set described elsewhere, or names another file for its
    planes, or whose first image is not the one stack in it: only that would be read."""
    if ome.elsewhere(file) is not None:
        raise UserError(
            f"{path} is a part of an OME-TIFF that another file describes: make one of them all, as in: "
            f"cellseg-nb convert {typed(path)} OUT.zarr, and give that"
        )
    if file.is_scanimage:
        raise UserError(
            f"{path} is of ScanImage, which is not read block by block: make an OME-Zarr of it, as in: "
            f"cellseg-nb convert {typed(path)} OUT.zarr, and give that"
        )
    if ome.renamed(file) and not ome.away(file):
        raise UserError(
            f"{path} had another name, its header says, and a file of that name is beside it: move it to "
            "another folder"
        )
    every = [one for one in file.series if not getattr(one.keyframe, "is_reduced", False)]
    images = tiff.joined(every)
    stacks = [number for number, one in enumerate(images) if parts.stack(one)]
    if len(every) > 1 and (len(images) < len(every) or stacks != [0]):
        which = f" -p series {stacks[0]}" if stacks and len(images) > 1 else ""
        held = (
            f"{len(images)} separate images" if len(images) > 1 else "planes that are stored in several ways"
        )
        raise UserError(
            f"{path} holds {held}: write the volume that you mean, as in: "
            f"cellseg-nb convert {typed(path)} OUT.zarr{which}, and give that"
        )


def other_files(path, files):
    """UserError for files among planes that are named in another way, and for time points."""
    kinds = [planes.NUMBER.sub("#", folder.bare(file).casefold()) for file in files]
    usual = max(kinds, key=kinds.count)
    others = [file for file, kind in zip(files, kinds) if kind != usual]
    if others and kinds.count(usual) > 1:
        raise UserError(
            f"{path} holds planes and files of other names ({folder.names(others, 3)}): leave the planes of "
            "one volume in it"
        )
    if len(files) > 1 and planes.TIME.search(re.sub(r"\d+$", "", folder.bare(files[0]))):
        raise UserError(
            f"{path} holds planes named as time points ({files[0].name}, ...): give a z stack, or rename "
            "them if they are slices (such as z000.tif)"
        )
