"""A volume to look at, wherever it is: an array in memory, or Zarr and Dask, of which slices are read when
they are looked at."""

from collections import OrderedDict

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import ngff, units, volumes

KEPT = 64e6  # bytes of slices that were read and may be looked at again
SLAB = 150e6  # bytes of a row of chunks: to read a z slice, its store unpacks all of them anyway
SAMPLED = 4e6  # voxels looked at for the limits of the grey


def opened(volume, voxel_size=None, labels=False):
    """A `Source` from an array (numpy, Zarr, Dask), a TIFF or a Zarr store given by its path, or a `Source`.
    ``labels``: files are read as labels.

    Raises UserError for what is no (Z, Y, X) volume, for a file that cannot be read, for a missing library.
    """
    if isinstance(volume, Source):
        return volume
    if isinstance(volume, (str, bytes)) or hasattr(volume, "__fspath__"):
        path = str(volume)
        if path.rstrip("/").lower().endswith(".zarr"):
            array, found = _zarr(path)
            return Source(array, found if voxel_size is None else voxel_size, path)
        if labels:
            return Source(*volumes.read_labels(path), path)
        array, found = volumes.read_one(path, "here", voxel_size=voxel_size, minimum=1, narrow=True)
        return Source(array, found, path, np.float32)
    return Source(volume, voxel_size)


def _zarr(path):
    """The array of a Zarr store, or the finest level of an OME-Zarr; its voxel size in µm, or None."""
    try:
        import zarr
    except ImportError:
        raise UserError(f"{path} is a Zarr store: to open it, run  pip install zarr") from None
    try:
        store = zarr.open(path, mode="r")
        described = [level for _, *image in ngff.multiscales(path)[:1] for level in ngff.levels(*image)]
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be read as Zarr ({str(error).splitlines()[0][:120]})") from error
    if hasattr(store, "shape"):
        return store, None
    if described:
        array, _, size, _ = described[0]  # the finest
        return array, size
    levels = [store[name] for name in sorted(store.array_keys())]
    if not levels:
        raise UserError(f"{path} holds no array: give the folder of the image itself")
    return max(levels, key=lambda level: int(np.prod(level.shape))), None


class Source:
    """A (Z, Y, X) volume read slice by slice: ``shape``, ``size`` (µm or None), `plane`, `limits`, `part`.

    ``given``: the type in which its voxels are handed out, where the array holds them in fewer bits."""

    def __init__(self, array, voxel_size=None, name="the volume", given=None):
        if not hasattr(array, "shape") or not hasattr(array, "dtype"):
            array = np.asarray(array)
        shape = tuple(int(side) for side in array.shape)
        while len(shape) > 3 and shape[0] == 1:  # OME-Zarr has (T, C, Z, Y, X)
            array, shape = array[0] if len(shape) == 4 else _First(array), shape[1:]
        if len(shape) != 3 or 0 in shape:
            raise UserError(f"{name} has shape {shape}: three dimensions (Z, Y, X) are needed")
        if np.dtype(array.dtype).kind not in "buif":
            raise UserError(f"{name} holds {array.dtype} values: real numbers are needed")
        self.array, self.shape, self.name, self.given = array, shape, name, given
        self.size = None if voxel_size is None else tuple(units.voxel_size_of(voxel_size))
        self.lazy = not isinstance(array, np.ndarray)
        self._kept, self._limits, self._slab = OrderedDict(), None, None

    def beside(self, other, what="labels"):
        """Labels, or a probability, of this volume: a `Source`; None stays None. Raises UserError for another
        shape."""
        found = None if other is None else opened(other, labels=what == "labels")
        if found is not None and found.shape != self.shape:
            have = "have" if what == "labels" else "has"
            raise UserError(
                f"the {what} {have} shape {found.shape}, the volume {self.shape}: both must agree"
            )
        return found

    def plane(self, axis, index):
        """The slice at ``index`` across an axis, a 2D numpy array. Kept, if it came from a store."""
        index = int(np.clip(index, 0, self.shape[axis] - 1))
        if (axis, index) in self._kept:
            self._kept.move_to_end((axis, index))
            return self._kept[axis, index]
        plane = self._from_slab(index) if axis == 0 and self.lazy else self._read(axis, index)
        if self.lazy:
            self._kept[axis, index] = plane
            while sum(one.nbytes for one in self._kept.values()) > KEPT and len(self._kept) > 3:
                self._kept.popitem(last=False)
        return plane

    def _read(self, axis, index):
        where = [slice(None)] * 3
        where[axis] = slice(index, index + 1)  # some readers behind Dask know slices only
        return np.asarray(self.array[tuple(where)], self.given).squeeze(axis)

    def _from_slab(self, index):
        """A z slice, out of the row of chunks that holds it, which is kept: its neighbours come at once."""
        chunks = getattr(self.array, "chunks", None)
        deep = chunks[-3] if chunks else 1
        deep = deep if isinstance(deep, int) else int(deep[0])  # Dask lists all of them, equal but the last
        nbytes = float(deep) * self.shape[1] * self.shape[2] * np.dtype(self.array.dtype).itemsize
        if deep == 1 or nbytes > SLAB:
            return self._read(0, index)
        first = index // deep * deep
        if self._slab is None or self._slab[0] != first:
            self._slab = None  # the old one goes first: both together would be too much
            self._slab = first, np.asarray(self.array[first : first + deep])
        return self._slab[1][index - first].copy()

    def part(self, box):
        """What lies in a box (three slices), a numpy array."""
        return np.asarray(self.array[tuple(box)], self.given)

    def whole(self):
        """All of it in memory. Raises UserError where it is too large to be read by accident."""
        nbytes = float(np.prod(self.shape)) * np.dtype(self.array.dtype).itemsize
        if self.lazy and nbytes > 2e9:
            raise UserError(f"{self.name} has {nbytes / 1e9:.0f} GB: crop it first, then work on that part")
        return np.asarray(self.array[...] if self.lazy else self.array, self.given)

    def limits(self, low=1.0, high=99.7):
        """Grey values of two percentiles: of all voxels, or of some blocks along the diagonal of a large
        volume."""
        if self._limits is None:
            self._limits = self._sample()
        ends = np.percentile(self._limits, (low, high))
        return float(ends[0]), float(ends[1] if ends[1] > ends[0] else ends[0] + 1)

    def _sample(self):
        if not self.lazy and self.array.size <= SAMPLED:
            values = self.array.ravel()
        elif not self.lazy:
            step = int(np.ceil((self.array.size / SAMPLED) ** (1 / 3)))
            values = self.array[::step, ::step, ::step].ravel()
        else:
            side = [min(s, 64) for s in self.shape]
            corners = [[int((s - c) * share) for s, c in zip(self.shape, side)] for share in (0.2, 0.5, 0.8)]
            boxes = [tuple(slice(o, o + c) for o, c in zip(corner, side)) for corner in corners]
            values = np.concatenate([self.part(box).ravel() for box in boxes])
        values = values.astype(np.float32)
        return values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1, np.float32)


class _First:
    """The first of the leading axis of an array, not read before it is asked for."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape[1:], array.dtype

    def __getitem__(self, where):
        return self.array[(0, *where)] if isinstance(where, tuple) else self.array[0]


def grey(plane, low, high):
    """A slice as bytes: ``low`` becomes 0, ``high`` 255. (Y, X) uint8; NaN is 0."""
    scaled = (plane.astype(np.float32) - low) * (255.0 / max(high - low, 1e-12))
    return np.rint(np.nan_to_num(np.clip(scaled, 0, 255))).astype(np.uint8)
