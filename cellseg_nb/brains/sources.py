"""Volumes that are not read but looked into: OME-Zarr, a folder of planes, a TIFF of any size.

>>> source = sources.find("brain.ome.zarr")    # or a folder of single-plane TIFFs, or a BigTIFF
>>> source.read((slice(0, 64),) * 3)           # these voxels and no others
>>> source.dask()                              # all of it, as a lazy dask array

A source is small and can be sent to a worker, which opens the files itself.
"""

import functools
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellseg_nb.brains import omezarr, refused
from cellseg_nb.errors import UserError
from cellseg_nb.io import axes, folder, formats, ngff, planes, tiff, units, volumes, writers
from cellseg_nb.io.files import as_path, reason

UNCALIBRATED = "ImageJ's calibration of its grey values is not applied: read with its numbers as they are"
WHITE = "its header says that 0 is white (MINISWHITE): read with its numbers as they are"


@dataclass(frozen=True)
class Source:
    """``kind``: "zarr", "planes" or "tiff". ``shape`` (Z, Y, X), ``voxel_size`` in µm or None. ``levels`` of
    an OME-Zarr, else (). ``files`` of planes. ``index``: how Z, Y, X are taken out of what is stored, an
    int or None for each stored axis, and the order they stand in."""

    path: str
    kind: str
    shape: tuple
    dtype: np.dtype
    voxel_size: tuple | None
    levels: tuple = ()
    files: tuple = ()
    index: tuple = ((None, None, None), (0, 1, 2))

    @property
    def name(self):
        return re.sub(r"(\.ome)?\.(zarr|tiff?)$", "", Path(self.path).name)

    @property
    def nbytes(self):
        return int(np.prod(self.shape, dtype=float)) * self.dtype.itemsize

    @property
    def ndim(self):
        return 3

    def __getitem__(self, box):
        return self.read(box)

    def read(self, box, level=0):
        """The voxels of a box, three slices without steps: a (Z, Y, X) array of the stored type. Raises
        UserError that names the place."""
        box = tuple(slice(*one.indices(side)[:2]) for one, side in zip(box, self._sides(level)))
        try:
            found = np.ascontiguousarray(READERS[self.kind](self, box, level))
            if found.dtype.kind == "f" and not np.isfinite(found).all():
                start = [s.start for s in box]
                raise UserError(volumes.not_finite(self.path, np.isfinite(found), start, "NaN or infinite"))
            return found
        except UserError:
            raise
        except Exception as error:  # whatever a codec says
            at = self._damaged(box, level)
            raise UserError(
                f"{self.path} cannot be read at (z, y, x) = {at} ({reason(error)}): that part is missing or "
                "damaged, copy it again"
            ) from error

    def _damaged(self, box, level):
        """Where what cannot be read begins, in voxels of the level: the first such stored chunk in a box."""
        if self.kind == "zarr":
            chunks = self.levels[level].chunks
            starts = [range(s.start // c * c, s.stop, c) for s, c in zip(box, chunks)]
            for corner in itertools.product(*starts):
                try:
                    READERS[self.kind](self, tuple(slice(a, a + c) for a, c in zip(corner, chunks)), level)
                except Exception:
                    return corner
        return tuple(s.start for s in box)

    def _sides(self, level):
        return self.levels[level].shape if level else self.shape

    def dask(self, chunk=omezarr.CHUNK):
        """All of it as a dask array of chunks of this side; nothing is read before it is asked for."""
        import dask.array

        return dask.array.from_array(self, chunks=tuple(min(chunk, s) for s in self.shape), name=False)


def find(path, voxel_size=None, channel=None):
    """The volume at a path.

    path : an OME-Zarr (0.4 or 0.5), a folder with one TIFF a plane, or a TIFF (OME, ImageJ, BigTIFF).
    voxel_size : (z, y, x) in µm; counts more than what the files say. channel : int or None.

    Returns a `Source`. Raises UserError in one line for whatever cannot be read as a volume.
    """
    given = None if voxel_size is None else units.voxel_size_of(voxel_size)
    path = as_path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist: check the spelling")
    if path.is_file():
        refused.other_format(path)
        formats.check_inside(path)
        return _tiff(path, given, channel)
    if any((path / name).is_file() for name in (".zgroup", ".zattrs", ".zarray", "zarr.json")):
        return _zarr(path, given, channel)
    return _planes(path, given)


def _zarr(path, voxel_size, channel):
    levels, names = omezarr.levels(path)
    array = omezarr.opened(path, levels[0].key)
    words = omezarr.words(path, voxel_size is not None)
    if len(levels) < 2:  # else `run.look` compares them: what a coarser level shows must be there
        try:
            ngff.check_chunks(array, levels[0].key)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        words.append(ngff.lacking(array))
    for word in filter(None, words):
        print(f"{path.name}: {word}")
    found = []
    for name, side in zip(names, array.shape):
        if name in "zyx":
            found.append(None)
        elif name == "c" and channel is not None and channel < side:
            found.append(int(channel))
        elif side == 1:
            found.append(0)
        else:
            words = (
                f"channels: choose one from 0 to {side - 1}" if name == "c" else f"steps of {name}: save one"
            )
            raise UserError(f"{path} has {side} {words}")
    left = [name for name in names if name in "zyx"]
    index = tuple(found), tuple(left.index(name) for name in "zyx")
    size = voxel_size or levels[0].voxel_size
    if voxel_size:
        levels = [
            omezarr.Level(v.key, v.shape, v.chunks, tuple(np.multiply(size, v.factor)), v.factor)
            for v in levels
        ]
    return Source(str(path), "zarr", levels[0].shape, array.dtype, size, tuple(levels), (), index)


def _tiff(path, voxel_size, channel):
    series = _series(str(path))
    with tiff.quiet_tifffile():
        import tifffile

        with tifffile.TiffFile(path) as file:
            refused.parts_and_several(path, file)
            stored, unsized = (voxel_size, "") if voxel_size else writers.stored(file)
            white = WHITE if file.pages[0].photometric == 0 else ""
            odd = tiff.note(file, file.series[0])
            line, curve = tiff.calibration(file)
            declared = file.series[0].nbytes
            held = max(page.dataoffsets[0] for page in (file.pages[0], file.pages[len(file.pages) - 1]))
            if held > path.stat().st_size or (
                file.pages[0].compression == 1
                and file.series[0].dataoffset is not None
                and file.series[0].dataoffset + declared > path.stat().st_size
            ):
                raise UserError(
                    f"{path} is truncated: it declares more data than it holds; copy or download it again"
                )
            try:
                index, order, word = axes.zyx(path, series.shape, writers.letters(file.series[0]), channel)
            except axes.Several as error:
                raise error if error.choice == "-p channel 0" else error.alone("here") from error
    curve = UNCALIBRATED if line else curve
    for said in filter(None, (word, unsized, white, odd, curve)):
        print(f"{path.name}: {said}")
    sides = [n for n, one in zip(series.shape, index) if isinstance(one, slice)]
    if len(sides) != 3:
        raise UserError(f"{path} has shape {series.shape}: a volume (Z, Y, X) is needed")
    index = tuple(None if isinstance(one, slice) else int(one) for one in index), tuple(order)
    return Source(str(path), "tiff", tuple(sides[i] for i in order), series.dtype, stored, (), (), index)


def _planes(path, voxel_size):
    files = folder.listed(path)
    refused.other_files(path, files)
    numbers = _numbers(files)
    for before, now, file in zip(numbers, numbers[1:], files[1:]):
        if now - before != (numbers[1] - numbers[0]):
            raise UserError(
                f"{path}: plane {before + numbers[1] - numbers[0]} is missing before {file.name}: copy the "
                "folder again, or renumber the files if there is no such plane"
            )
    first = _plane(files[0])
    for file in files[1:]:
        here = _plane(file)
        if here[:2] != first[:2]:
            raise UserError(
                f"{file} is {here[0][0]} x {here[0][1]} {here[1]}, {files[0].name} {first[0][0]} x "
                f"{first[0][1]} {first[1]}: all planes of a volume must be of one size and type: "
                "export that plane again, or keep one volume in the folder"
            )
    size, unsized = (voxel_size, "") if voxel_size else planes.sized(files)
    for word in filter(None, (*first[2:], unsized)):
        print(f"{path.name}: {word}")
    shape = (len(files), *first[0])
    return Source(str(path), "planes", shape, first[1], size, (), tuple(file.name for file in files))


def _numbers(files):
    """The number of each plane: the last in its name that differs among the files."""
    words = [[int(n) for n in re.findall(r"\d+", folder.bare(file))] for file in files]
    if len({len(one) for one in words}) > 1 or not words[0]:
        raise UserError(
            f"{files[0].parent} holds TIFFs without a number of the plane in their names "
            f"({folder.names(files, 3)}): name them plane_0001.tif, ..., or give one file"
        )
    for column in reversed(range(len(words[0]))):
        numbers = [one[column] for one in words]
        if len(set(numbers)) == len(files):
            return numbers if numbers == sorted(numbers) else list(range(len(files)))
    raise UserError(
        f"{files[0].parent}: two planes have one number ({folder.names(files, 3)}): leave one volume in it"
    )


def _plane(file):
    """Shape (Y, X) and type of a plane, from its head, and words on its grey values."""
    import tifffile

    try:
        with tiff.quiet_tifffile(), tifffile.TiffFile(file) as tif:
            page = tif.pages[0]
            if len(tif.pages) > 1 or len(page.shape) != 2:
                raise UserError(
                    f"{file} holds {len(tif.pages)} pages of shape {page.shape}: a folder must hold one grey "
                    "plane a file; give the file itself if it is the volume"
                )
            if max(a + b for a, b in zip(page.dataoffsets, page.databytecounts)) > file.stat().st_size:
                raise UserError(f"{file} is truncated: copy it again")
            line, curve = tiff.calibration(tif)
            words = (WHITE if page.photometric == 0 else "", UNCALIBRATED if line else curve)
            return tuple(page.shape), page.dtype, *words
    except (OSError, tifffile.TiffFileError) as error:
        raise UserError(f"{file} cannot be read ({reason(error)}): copy it again") from error


# ---------------------------------------------------------------- on the worker


@functools.lru_cache(maxsize=4)
def _series(path):
    """The first series of a TIFF as a zarr array, decoded piece by piece."""
    import tifffile
    import zarr

    try:
        with tiff.quiet_tifffile():
            return zarr.open_array(tifffile.imread(path, aszarr=True, level=0), mode="r")
    except (OSError, tifffile.TiffFileError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read as a TIFF ({reason(error)}): export it again, as TIFF or OME-Zarr"
        ) from error


def _stored(source, box, array):
    fixed, order = source.index
    left = iter(range(3))
    index = tuple(box[order.index(next(left))] if one is None else one for one in fixed)
    return array[index].transpose(order)


def _read_zarr(source, box, level):
    return _stored(source, box, omezarr.opened(source.path, source.levels[level].key))


def _read_tiff(source, box, level):
    return _stored(source, box, _series(source.path))


def _read_planes(source, box, level):
    import tifffile
    import zarr

    out = np.empty([s.stop - s.start for s in box], source.dtype)
    for plane, name in zip(out, source.files[box[0]]):
        with tiff.quiet_tifffile(), tifffile.TiffFile(Path(source.path) / name) as tif:
            plane[...] = zarr.open_array(tif.pages[0].aszarr(), mode="r")[box[1:]]
    return out


READERS = {"zarr": _read_zarr, "tiff": _read_tiff, "planes": _read_planes}
