"""Volumes: find, read, check and write them; remap, clip, cut into cubes, resample.

Axes are always (Z, Y, X), voxel sizes (z, y, x) in µm. Whatever is wrong with a file is told in one line
(UserError) before anything large is allocated, and files are written beside and renamed, so that none is
ever left half-written.
"""

import warnings

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import axes as axes_of, labels, loading, ngff_writing, units
from cellseg_nb.io.files import as_path, atomic
from cellseg_nb.io.folder import find  # noqa: F401
from cellseg_nb.io.labels import read_labels  # noqa: F401

IN_CACHE = 1 << 15  # numbers at a time, so that a processor need not fetch them again

# ---------------------------------------------------------------- reading


def read(
    path,
    channel=None,
    voxel_size=None,
    minimum=16,
    timepoint=None,
    series=None,
    level=None,
    axes=None,
    narrow=False,
):
    """Read a volume from a file of any format in `cellseg_nb.io.formats`, or a folder of its planes.

    Parameters
    ----------
    path : path of a file, of an OME-Zarr folder, or of a folder that holds the planes of one stack
    channel, timepoint : int or None
        The channel and time point to take (0 is the first) where there are several.
    voxel_size : (z, y, x) in µm or None
        Counts more than what the file says.
    minimum : int
        Smallest side allowed, in voxels (the side of one cube).
    series : int, str or None
        The image to take where a file holds several: its number or name (in HDF5 the path of the dataset).
    level : int or None
        Resolution level: 0 or None is the finest.
    axes : str or None
        A letter of T, C, Z, Y, X for each axis, which counts more than what the file says.
    narrow : bool
        Whole numbers of 8 and 16 bits stay as they are stored, in a quarter or half of the memory. The
        numbers are the same, as float32 holds them exactly; whoever computes makes float32 of them first.

    Returns the volume, (Z, Y, X) float32 (or `narrow`), C-contiguous, and its voxel size (z, y, x) in µm, or
    None.
    Raises `cellseg_nb.io.axes.Several` where one of them has to be chosen, with the list of what there is,
    and UserError for a file that cannot be read or is no such volume (see `check`).
    """
    path = as_path(path)
    given = None if voxel_size is None else units.voxel_size_of(voxel_size)

    def convert(block, z):
        return block if narrow and _narrow(block.dtype) else _as_float(block, path, z)

    array, found = loading.load(
        path, channel, timepoint, series, level, axes, quiet=given is not None, convert=convert
    )
    volume = check(array, path, minimum, narrow)
    if word := labels.seem(volume):
        print(f"{path.name}: {word}")
    return volume, given or found


def read_one(path, where, **options):
    """As `read`, for callers in which no channel, time point or series can be chosen: what is said then helps
    there. ``where``: such as "in a data set"."""
    try:
        return read(path, **options)
    except axes_of.Several as error:
        raise error.alone(where) from error


def _narrow(dtype):
    return dtype.kind in "ui" and dtype.itemsize <= 2


def check(volume, name="volume", minimum=16, narrow=False):
    """The volume as C-contiguous float32 (Z, Y, X), if it is one; axes of length 1 around it are dropped.
    ``narrow`` as in `read`.

    Raises UserError for 2D, RGB, 4D, 5D; values that are not real numbers; NaN or infinite voxels; one value
    throughout; a side below ``minimum`` voxels. ``name`` is what the message calls it, mostly the file.
    """
    volume = np.asarray(volume)
    if volume.dtype.kind not in "buif":
        raise UserError(
            f"{name} holds {volume.dtype} values: a volume must hold real numbers; "
            "save the intensity as 8-bit, 16-bit or 32-bit"
        )
    volume = axes_of.three_axes(volume, name, minimum)
    if min(volume.shape) < minimum:
        raise UserError(
            f"{name} has shape {volume.shape}, smaller than one cube of {minimum} voxels a side: "
            "give a larger volume"
        )
    stays = volume.dtype == np.float32 or narrow and _narrow(volume.dtype)
    converted = volume if stays else np.empty(volume.shape, np.float32)
    for z in range(len(volume) if volume.dtype.kind == "f" else 0):  # plane by plane, for the memory
        _check_finite(volume, z, name, "NaN or infinite")
    if converted is volume:
        converted = np.ascontiguousarray(volume)
    for z in range(0 if stays else len(volume)):
        converted[z] = _as_float(volume[z : z + 1], name, z)[0]
    first = converted.flat[0]
    if all((plane == first).all() for plane in converted):  # ends at the first plane with another value
        raise UserError(
            f"{name} has the same value ({first:g}) in every voxel: export the "
            "image again, there is nothing to segment"
        )
    return converted


def _as_float(block, name, z):
    """Planes of a volume, the first of them number ``z``, as float32; what holds no real numbers as it is."""
    if block.dtype.kind not in "buif" or block.dtype == np.float32:
        return block
    with np.errstate(over="ignore"):
        converted = block.astype(np.float32)
    if block.dtype.kind == "f" and block.dtype.itemsize > 4:
        lost = np.isfinite(block) & ~np.isfinite(converted)
        if lost.any():
            raise UserError(not_finite(name, ~lost, z, "too large for float32"))
    return converted


def _check_finite(volume, z, name, what):
    if not np.isfinite(volume[z]).all():
        finite = np.isfinite(volume[z:])
        raise UserError(not_finite(name, finite, z, what))


def not_finite(name, finite, z, what):
    """What is said of voxels that are no numbers; ``finite`` is False at them, its planes begin at ``z``, or
    its voxels at ``z``, a place."""
    first = np.unravel_index(np.argmin(finite), finite.shape)
    first = [int(i) for i in np.add(first, z if np.ndim(z) else (z, 0, 0))]
    return (
        f"{name} holds {finite.size - np.count_nonzero(finite)} voxels that are {what}, "
        f"the first at (z, y, x) = {tuple(first)}: replace them (Fiji: Process > Noise > Remove NaNs..., "
        "of infinite ones Process > Math > Max...)"
    )


# ---------------------------------------------------------------- writing


def write(path, array, voxel_size=None, compress=False):
    """Write a (Z, Y, X) array with its voxel size (z, y, x) in µm: as OME-Zarr (0.4) where the name ends in
    .zarr, else as a TIFF that Fiji and napari open.

    Floats are stored as float32; whole numbers as uint8 (bool and uint8) or uint16, negative ones as float32;
    all in ImageJ's format. That format has no 32-bit integers: labels above 65,535 go into a plain uint32
    TIFF (a BigTIFF above 4 GB) with resolution tags, from which `read_labels` gets the voxel size back;
    ImageJ reads no BigTIFF. ``compress`` uses zlib, up to 4 GB. The file appears whole or not at all.

    Raises UserError for another shape or type, or when it cannot be written (no space, no permission).
    """
    import tifffile

    array = np.asarray(array)
    if array.ndim != 3 or array.size == 0 or array.dtype.kind not in "buif":
        raise UserError(
            f"{path} cannot hold an array of shape {array.shape} and type {array.dtype}: "
            "give a (Z, Y, X) array of real numbers"
        )
    array = _storable(array, path)
    options = {}
    if str(path).lower().endswith(".zarr"):
        return ngff_writing.write(as_path(path), array, voxel_size and units.voxel_size_of(voxel_size))
    if voxel_size is not None:
        z, y, x = units.voxel_size_of(voxel_size)
        options = {"resolution": (1 / x, 1 / y), "resolutionunit": "NONE"}
    metadata = {"axes": "ZYX"} | ({"spacing": z, "unit": "micron"} if options else {})
    # ImageJ's format reaches beyond 4 GB only where the planes lie one after the other, uncompressed.
    small = array.nbytes < 3.9e9
    with atomic(path) as beside, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*truncating ImageJ file")
        tifffile.imwrite(
            beside,
            array,
            imagej=array.dtype != np.uint32,
            photometric="minisblack",
            metadata=metadata,
            compression="zlib" if compress and small else None,
            **options,
        )


def _storable(array, path):
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    low, high = int(array.min()), int(array.max())
    if low < 0 and max(-low, high) <= 2**24:  # exact in float32
        return array.astype(np.float32)
    if low < 0 or high >= 2**32:
        raise UserError(
            f"{path} cannot hold whole numbers from {low} to {high}: number the labels from 0 again"
        )
    if array.dtype == np.uint8:
        return array
    return array.astype(np.uint16 if high <= 65535 else np.uint32, copy=False)


# ---------------------------------------------------------------- changing


def remap(volume, low=0.0, high=100.0, percentiles=None):
    """Intensities mapped linearly to [low, high], as float32 of the same shape.

    From minimum and maximum, or from two ``percentiles`` such as (1, 99): what lies beyond them is clipped.
    An array that is constant, or constant between the percentiles, becomes ``low`` throughout.
    """
    volume = np.asarray(volume)
    ends = _percentiles(volume, *percentiles) if percentiles else (volume.min(), volume.max())
    bottom, top = (float(end) for end in ends)
    if bottom == top:
        return np.full(volume.shape, low, np.float32)
    remapped = np.empty(volume.shape, np.float32)
    even = np.isfinite((bottom, top, (high - low) / (top - bottom))).all()
    line = _on_line if even else np.interp
    for plane, out in zip(volume, remapped):
        rows = max(1, IN_CACHE * len(plane) // plane.size)
        for start in range(0, len(plane), rows):
            part = plane[start : start + rows].astype(np.float64)
            out[start : start + rows] = line(part, (bottom, top), (low, high))
    return remapped


def _on_line(values, ends, to):
    """What `numpy.interp` gives, to the bit, in a third of its time; ``values``, float64, are used up."""
    (bottom, top), (low, high) = ends, to
    slope, beyond = (high - low) / (top - bottom), values >= top
    values[values < bottom] = bottom
    values -= bottom
    values *= slope
    values += low
    values[beyond] = high
    return values


def _percentiles(volume, low, high):
    if not 0 <= low < high <= 100:
        raise UserError(
            f"percentiles must be two numbers from 0 to 100, the lower first, not {low} and {high}"
        )
    return np.percentile(volume, (low, high))


def cubes(volume, size=64, step=None):
    """Slices that cut a volume into cubes of ``size`` voxels a side, in reading order.

    They start every ``step`` voxels (default: ``size``) and cover the volume; the last ones are shifted
    inward, so that all are full; along an axis shorter than ``size`` a cube has the length of the axis.
    Raises UserError for a size below 1 or a step that would leave gaps.
    """
    step = size if step is None else step
    if size < 1 or not 1 <= step <= size:
        raise UserError(
            f"cubes need a size of at least 1 and a step from 1 to the size, not {size} and {step}"
        )
    starts = [[*range(0, max(side - size, 0), step), max(side - size, 0)] for side in volume.shape]
    return [
        tuple(slice(s, min(s + size, side)) for s, side in zip(corner, volume.shape))
        for corner in np.array(np.meshgrid(*starts, indexing="ij")).reshape(volume.ndim, -1).T.tolist()
    ]


def rescale(volume, voxel_size, target, order=1):
    """The volume resampled to voxels of ``target`` µm: (z, y, x), or one number for all. Its type is kept.

    ``order=1`` interpolates linearly; use ``order=0`` for labels, which must not be mixed. Sides are rounded
    to whole voxels, so the voxel size reached differs a little from the target. Raises UserError for voxel
    sizes that are impossible, or that give more voxels than the memory holds.
    """
    from scipy import ndimage

    volume = np.asarray(volume)
    old = units.voxel_size_of(voxel_size)
    new = units.voxel_size_of([target] * 3 if np.isscalar(target) else target, "target")
    shape = [max(1, round(side * a / b)) for side, a, b in zip(volume.shape, old, new)]
    if tuple(shape) == volume.shape:
        return volume.copy()
    name, needed = f"the volume resampled to {tuple(shape)} voxels", float(np.prod(shape, dtype=float))
    loading.check_memory(name, "crop it, or use larger voxels", needed * volume.itemsize)
    # grid_mode: voxels are boxes, not points, so the field of view stays the same.
    zoom = [b / a for a, b in zip(volume.shape, shape)]
    return ndimage.zoom(volume, zoom, order=order, mode="nearest", grid_mode=True)
