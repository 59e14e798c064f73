"""Part of a volume as files: cropped to a box, cut into cubes, resampled to voxels as long as wide."""

from pathlib import Path

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.viewer.source import opened


def crop(volume, box, folder, labels=None, voxel_size=None, cube=0, isotropic=0.0, name="crop"):
    """Write what lies in a box as TIFFs: ``images/`` and, with labels, ``labels/`` in ``folder``.

    Parameters
    ----------
    volume, labels : (Z, Y, X) arrays, lazy ones too (only the box is read), or paths
    box : three (first, end) in voxels, Z, Y, X; the end is not counted in
    voxel_size : (z, y, x) in µm, where the volume does not know it
    cube : int
        Cut into cubes of this side, in voxels after resampling; 0: one piece.
    isotropic : float
        Resample to voxels of this side in µm; 0: as they are.

    Returns the paths of the images written. Raises UserError for a box without voxels or outside the volume,
    for labels of another shape, and where the voxel size is not known but needed.
    """
    source = opened(volume, voxel_size)
    spans = [(int(first), int(end)) for first, end in box]
    good = all(0 <= first < end <= side for (first, end), side in zip(spans, source.shape))
    if len(spans) != 3 or not good:
        raise UserError(f"the box {spans} does not fit the volume of shape {source.shape}")
    if isotropic and source.size is None:
        raise UserError("to resample, the voxel size must be known: give voxel_size (Z,Y,X in µm)")
    labels = source.beside(labels)
    part = tuple(slice(first, end) for first, end in spans)
    pieces = {"images": source.part(part)}
    if labels is not None:
        pieces["labels"] = labels.part(part)
    size = source.size
    if isotropic:
        pieces = {
            kind: volumes.rescale(piece, size, isotropic, order=int(kind == "images"))
            for kind, piece in pieces.items()
        }
        size = (float(isotropic),) * 3
    cuts = volumes.cubes(pieces["images"], cube) if cube else [(slice(None),) * 3]
    written = []
    for where in cuts:
        corner = "_".join(str(one.start) for one in where) if cube else ""
        file = f"{name}_{corner}.tif" if corner else f"{name}.tif"
        for kind, piece in pieces.items():
            volumes.write(Path(folder) / kind / file, np.asarray(piece[where]), size)
        written.append(Path(folder) / "images" / file)
    return written


def call(box, folder, cube=0, isotropic=0.0, voxel_size=None, labelled=True):
    """The call of `crop` as code for a script; ``volume``, and ``labels`` if ``labelled``, are the script's
    own."""
    given = [str([tuple(map(int, span)) for span in box]), repr(str(folder)), f"voxel_size={voxel_size}"]
    given[2:2] = ["labels"] if labelled else []
    given += [f"cube={int(cube)}", f"isotropic={float(isotropic)}"]
    lines = "".join(f"    {one},\n" for one in ["volume", *given])
    return f"from cellseg_nb.viewer import crops\n\ncrops.crop(\n{lines})"
