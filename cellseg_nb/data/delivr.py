"""The c-FOS patches of DELiVR (Kaltenecker et al. 2024): downloaded file by file, put into the order and the
units of all other volumes, binary truth made into cells.

Each is a gzipped NIfTI-1 of 100 x 100 x 100 voxels in X, Y, Z order, float64 that holds 16-bit values; its
header says that a voxel is 1 x 1 x 1, the authors' text 1.62 x 1.62 x 6 µm.
"""

import os
from pathlib import Path

import numpy as np

from cellseg_nb import runtime
from cellseg_nb.data import bundled
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.io.files import reason, writable_folder


def listed(name):
    """The files of the table ``data/published/NAME``: a list of (path, SHA-256)."""
    import pandas

    table = pandas.read_csv(bundled.path(f"published/{name}"))
    return list(zip(table.path, table.sha256))


def fetch(about, folder, where):
    """Download what is missing, and write volumes and labels as TIFF into ``folder``.

    Parameters
    ----------
    about : dict
        The entry of the registry: ``url`` (of the folder that holds the files), ``files`` (the table),
        ``voxel_size``.
    folder : path
        Gets ``images/`` and ``labels/`` with the same names; patches without truth come to
        ``without_labels/``.
    where : callable
        url -> the addresses to try, in order.

    Raises UserError, as `download.download` does, and for a file that is no such patch. What is there already
    is kept, so a run that broke off goes on.
    """
    from cellseg_nb.data import download

    files, size = listed(about["files"]), about["voxel_size"]
    labelled = {Path(path).name for path, _ in files if "/gt/" in path}
    for path, sha256 in runtime.progress(files, desc="c-FOS patches", unit="file"):
        name, truth = Path(path).name, "/gt/" in path
        place = "labels" if truth else "images" if name in labelled else "without_labels"
        target = writable_folder(Path(folder) / place) / f"{name.removesuffix('.nii.gz')}.tif"
        if target.exists():
            continue
        raw = target.with_name(f".{name}")
        download.download(where(f"{about['url'].rstrip('/')}/{path}"), raw, sha256)
        array = read(raw)
        volumes.write(target, cells(array) if truth else array, size, compress=True)
        os.remove(raw)


def read(path):
    """A patch as (Z, Y, X) uint16. Raises UserError for a file that is none."""
    import nibabel

    try:
        array = np.asanyarray(nibabel.load(path).dataobj)
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise UserError(
            f"{path} cannot be read as NIfTI ({reason(error)}): remove it and run again"
        ) from error
    if array.ndim != 3 or array.min() < 0 or array.max() > 65535 or (array != np.rint(array)).any():
        raise UserError(f"{path} is no c-FOS patch: three axes of 16-bit whole numbers are needed")
    return np.ascontiguousarray(array.T.astype(np.uint16))


def cells(truth):
    """Labels from a binary truth, (Z, Y, X) int32: each connected piece, face to face, is a cell.

    Touching cells become one: the truth does not part them.
    """
    import cc3d

    return cc3d.connected_components(np.ascontiguousarray(truth > 0), connectivity=6).astype(np.int32)
