"""OME-Zarr 0.4 (on Zarr format 2) and 0.5 (on format 3): its description and its arrays, written.

Source: the NGFF specifications 0.4 and 0.5, https://ngff.openmicroscopy.org.
"""

import json
import os
import shutil
import uuid
from pathlib import Path

from cellseg_nb.errors import UserError
from cellseg_nb.io import ngff

CHUNK = 64  # voxels a side of what is written
VERSIONS = ("0.4", "0.5")


def zarr_format(version):
    """Format of Zarr under a version of NGFF."""
    return 2 if version == "0.4" else 3


def describe(name, scales, known, version, shifts=None):
    """The NGFF attributes of a (Z, Y, X) pyramid whose arrays are called 0, 1, ...

    ``scales``: (z, y, x) of the voxels of each level, in µm where ``known``; ``shifts``: how far the middle
    of the first voxel lies from that of level 0, or None where a level has no shift.
    """
    datasets = []
    for number, scale in enumerate(scales):
        steps = [{"type": "scale", "scale": [float(side) for side in scale]}]
        if shifts and shifts[number] is not None:
            steps.append({"type": "translation", "translation": [float(side) for side in shifts[number]]})
        datasets.append({"path": str(number), "coordinateTransformations": steps})
    unit = {"unit": "micrometer"} if known else {}
    axes = [{"name": letter, "type": "space", **unit} for letter in "zyx"]
    about = {"name": name, "axes": axes, "datasets": datasets}
    if version == "0.4":
        return {"multiscales": [{"version": version, **about}]}
    return {"ome": {"version": version, "multiscales": [about]}}


def array(group, key, shape, dtype, chunk, version, **more):
    """A new array (Z, Y, X) of a group, laid out as the version wants it; ``chunk`` (z, y, x). More options
    as zarr has them."""
    laid = {"dimension_names": list("zyx")}
    if version == "0.4":
        laid = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    chunks = tuple(min(int(one), int(side)) for one, side in zip(chunk, shape))
    return group.create_array(key, shape=shape, dtype=dtype, chunks=chunks, **laid, **more)


def create(path, shape, dtype, voxel_size=None, version="0.4", chunk=CHUNK):
    """A new OME-Zarr of one level, to be filled: its zarr array. The folder must not be there yet."""
    import zarr

    group = zarr.create_group(str(path), zarr_format=zarr_format(version))
    name, scale = Path(path).name.partition(".")[0], voxel_size or (1.0,) * 3
    group.attrs.update(describe(name, [scale], voxel_size is not None, version))
    return array(group, "0", shape, dtype, (chunk,) * 3, version, config={"write_empty_chunks": True})


def write(path, volume, voxel_size=None, version="0.4"):
    """Write a (Z, Y, X) array as OME-Zarr of one level, beside and renamed. An older one of the name is
    replaced; a folder that is no Zarr is not."""
    path = Path(os.path.realpath(path))
    if path.exists() and not ngff.is_zarr(path):
        raise UserError(f"{path} is there and no Zarr: choose another name")
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = create(beside, volume.shape, volume.dtype, voxel_size, version)
        for z in range(0, len(volume), CHUNK):
            target[z : z + CHUNK] = volume[z : z + CHUNK]
        json.loads((beside / (".zattrs" if version == "0.4" else "zarr.json")).read_text())
        if path.exists():
            shutil.rmtree(path)
        os.replace(beside, path)
    except OSError as error:
        raise UserError(
            f"{path} could not be written ({error.strerror or error}): check the permissions and the "
            "space, or choose another folder"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
