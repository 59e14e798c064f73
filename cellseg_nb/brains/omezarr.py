"""OME-Zarr, versions 0.4 (on Zarr 2) and 0.5 (on Zarr 3): what a store holds, and new ones with their levels.

Axes are (Z, Y, X), voxel sizes in µm. Chunks are written beside and renamed by zarr, so none is ever half
written. https://ngff.openmicroscopy.org
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellseg_nb.cells import background
from cellseg_nb.errors import UserError
from cellseg_nb.io import ngff, ngff_writing
from cellseg_nb.io.files import as_path, reason, writable_folder

VERSIONS = ngff_writing.VERSIONS
SMALLEST = 32  # voxels: a level whose longest side is no longer than this is the coarsest
CHUNK = 64  # side of a stored chunk: a block and its halo touch few voxels beyond what they need


@dataclass(frozen=True)
class Level:
    """``key``: its array in the store; ``shape`` and ``chunks`` of (Z, Y, X); ``voxel_size`` in µm or None;
    ``factor``: voxels of level 0 in one of its own, (z, y, x)."""

    key: str
    shape: tuple
    chunks: tuple
    voxel_size: tuple | None
    factor: tuple


def opened(path, key):
    """An array of a store, for reading. Raises UserError."""
    import zarr

    try:
        return zarr.open_array(str(Path(path) / key), mode="r")
    except Exception as error:  # of many kinds: a missing file, broken JSON, a codec that is not there
        raise UserError(
            f"{path}: its array {key!r} cannot be opened ({reason(error)}): copy the store again"
        ) from error


def described(path):
    """The image's own words in a store: the first entry of ``multiscales``. Raises UserError."""
    try:
        attributes = ngff.attributes(ngff.opened(path))
    except Exception as error:
        raise UserError(
            f"{path} is no OME-Zarr ({reason(error)}): give the folder that holds .zattrs or zarr.json"
        ) from error
    scales = attributes.get("multiscales")
    if not scales:
        raise UserError(
            f"{path} is a Zarr without OME's description (multiscales): give the folder of one image, or "
            "convert the image to OME-Zarr"
        )
    return scales[0]


def levels(path):
    """The levels of a store, the finest first, and the place of Z, Y, X among its axes: (list of `Level`,
    names of the axes). Raises UserError for a store that is none, or whose axes are not known."""
    path, found = as_path(path), []
    about = described(path)
    try:
        scaled = ngff.scaled(ngff.opened(path), about)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # of many kinds: a missing array, broken JSON, a codec that is not there
        raise UserError(f"{path}: its arrays cannot be opened ({reason(error)}): copy it again") from error
    letters = scaled[0][1]
    try:
        at = [letters.index(letter) for letter in "ZYX"]
    except ValueError as error:
        raise UserError(
            f"{path}: its axes {letters} are not those of a volume: z, y, x are needed"
        ) from error
    for dataset, (array, _, names, scale, stated) in zip(about["datasets"], scaled):
        shape, chunks, own = (tuple(v[i] for i in at) for v in (array.shape, array.chunks, scale.tolist()))
        size, _ = ngff.size_of(letters, names, scale, stated)
        whole = np.array(found[0].shape if found else shape) / shape
        ratio = np.divide(own, scaled[0][3][at]) if stated else 2 ** np.rint(np.log2(whole))
        factor = tuple(int(f) for f in np.rint(ratio))
        found.append(Level(dataset["path"], shape, chunks, size, factor))
    return found, [letter.lower() for letter in letters]


def words(path, sized=False):
    """What is to be said of a store: that it holds several images; why its voxel size is not known, by the
    rule of `cellseg_nb.io.ngff` (not where it is given: ``sized``). A list of texts."""
    about, *others = ngff.attributes(ngff.opened(path))["multiscales"]
    said = (
        [f"holds {1 + len(others)} images, and the first, {about.get('name')!r}, is read"] if others else []
    )
    unknown = "" if sized else ngff.levels(ngff.opened(path), about)[0][3]
    return [*said, unknown] if unknown else said


def factors(shape, voxel_size=None):
    """How much coarser each level is than the finest, (z, y, x), the finest first.

    A level has half the voxels of the one before along those axes where they are finest (within a factor of
    1.5), until no side is longer than `SMALLEST`.
    """
    size = background.spacing(voxel_size)
    found = [(1, 1, 1)]
    while max(-(-s // f) for s, f in zip(shape, found[-1])) > SMALLEST:
        now = size * found[-1]
        halve = (now < 1.5 * now.min()) & (np.array(shape) // found[-1] > 1)
        if not halve.any():
            halve = np.array(shape) // found[-1] > SMALLEST
        found.append(tuple(int(f * (2 if h else 1)) for f, h in zip(found[-1], halve)))
    return found


def create(path, shape, dtype, voxel_size=None, version="0.4", name="image", chunk=CHUNK):
    """A new, empty OME-Zarr with all its levels, or the one that is there when it is the same.

    ``chunk``: side of a stored chunk, or three.

    Returns its list of `Level`. Raises UserError for another version, a store of another kind in its place,
    and where nothing can be written.
    """
    import zarr

    if version not in VERSIONS:
        raise UserError(f"OME-Zarr {version!r} cannot be written: choose one of {', '.join(VERSIONS)}")
    path = writable_folder(path)
    group = zarr.open_group(str(path), mode="a", zarr_format=ngff_writing.zarr_format(version))
    steps = factors(shape, voxel_size)
    size = background.spacing(voxel_size)
    for number, factor in enumerate(steps):
        sides = tuple(-(-s // f) for s, f in zip(shape, factor))
        if str(number) in group:
            if group[str(number)].shape != sides or group[str(number)].dtype != dtype:
                raise UserError(f"{path} holds another image: give another output folder")
            continue
        more = {"fill_value": 0, "compressors": compressor(version)}
        ngff_writing.array(
            group, str(number), sides, dtype, np.broadcast_to(chunk, 3).tolist(), version, **more
        )
    # A coarse voxel's middle is the middle of the voxels that it stands for.
    shifts = [size * (np.array(factor) - 1) / 2 if max(factor) > 1 else None for factor in steps]
    scales = [size * factor for factor in steps]
    group.attrs.update(ngff_writing.describe(name, scales, voxel_size is not None, version, shifts))
    return levels(path)[0]


def compressor(version):
    """Blosc with Zstandard, lossless: quick, and every viewer reads it."""
    if version == "0.4":
        from numcodecs import Blosc

        return Blosc(cname="zstd", clevel=1, shuffle=Blosc.SHUFFLE)
    from zarr.codecs import BloscCodec

    return BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")


def writing(path, key):
    """An array of a store, to write chunks into."""
    import zarr

    return zarr.open_array(str(Path(path) / key), mode="r+")
