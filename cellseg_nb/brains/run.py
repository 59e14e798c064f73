"""A whole brain, step by step: look, measure, segment, number, write. Each step carries on where it was
stopped.

>>> with engine.connected() as client:
...     job = run.begin(source, "results/brain", run.look(source, diameter), how)
...     job = run.measure(client, job)
...     failed = run.segment_all(client, job)
...     table = run.number(job)
...     run.write_labels(client, job)
"""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from cellseg_nb.brains import (
    blocks,
    convert,
    disk,
    engine,
    numbering,
    omezarr,
    overview,
    segment,
    stages,
    statistics,
)
from cellseg_nb.errors import UserError
from cellseg_nb.io.files import atomic, writable_folder, write_json

NOISES = 8.0  # how many times its noise a spot must rise


def look(source, diameter, tissue=None):
    """The coarse maps: a dict of ``ground``, ``ground_factor``, ``tissue``, ``tissue_factor``, ``limit``.

    diameter : of a typical cell, µm. tissue : grey value, or None: found out; see `overview.tissue`.
    Raises UserError, also where the store lacks chunks that show tissue.
    """
    field, level = overview.ground(source, diameter)
    mask, number, limit = overview.tissue(source, tissue, diameter)
    factor = source.levels[number].factor
    if source.kind == "zarr":
        convert.complete(source, mask, factor)
    maps = {"ground": field, "ground_factor": np.array(source.levels[level].factor)}
    return maps | {"tissue": mask, "tissue_factor": np.array(factor), "limit": limit}


def begin(source, folder, maps, how, chunk=omezarr.CHUNK, start_over=False):
    """The `stages.Job` of a run, in a folder that belongs to these settings.

    Raises UserError when the folder holds a run with others, unless ``start_over``.
    """
    folder = writable_folder(folder)
    work = folder / "work"
    chunk = blocks.three(chunk)
    if start_over:
        _forget(folder)
    settings = {"source": [source.path, source.shape, str(source.dtype)], "how": how, "chunk": chunk}
    settings |= {"versions": engine.versions(), "tissue": _digest(maps)}
    _belongs(folder, "settings.json", settings)
    _save(work / "ground.npy", maps["ground"])
    _save(work / "coarse.npz", {name: v for name, v in maps.items() if name not in ("limit", "ground")})
    bins = statistics.scale(source, overview.coarse(source))
    return stages.Job(source, str(folder), how, chunk, bins)


def _belongs(folder, name, settings):
    """Raises UserError when the folder holds a run with other settings; else they are kept under a name."""
    settings = json.loads(json.dumps(settings, default=str))
    place = folder / "work" / name
    known = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else settings
    if known != settings:
        other = next(key for key in {**settings, **known} if known.get(key) != settings.get(key))
        raise UserError(
            f"{folder} holds a run with another {other}: give another out, or start_over=True to throw its "
            "chunks away"
        )
    write_json(place, settings)


def _digest(maps):
    found = hashlib.sha256()
    for name in sorted(maps):
        found.update(np.ascontiguousarray(maps[name]).tobytes())
    return found.hexdigest()[:16]


def _forget(folder):
    """What a run has left of its chunks; the converted image stays."""
    for path in (folder / "work").iterdir() if (folder / "work").is_dir() else ():
        if not path.name.startswith("convert-"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(folder / stages.LABELS, ignore_errors=True)


def _save(path, arrays):
    """An array, or a dict of them; unless the same is there: workers know by the file's time what is new."""
    if path.is_file():
        found = np.load(path)
        known = dict(found) if isinstance(arrays, dict) else found
        if isinstance(arrays, dict) and known.keys() == arrays.keys():
            if all(np.array_equal(known[name], value) for name, value in arrays.items()):
                return
        if not isinstance(arrays, dict) and np.array_equal(known, arrays):
            return
    with atomic(path) as beside, open(beside, "wb") as file:
        np.savez(file, **arrays) if isinstance(arrays, dict) else np.save(file, arrays)


def measure(client, job, noises=NOISES):
    """The job with its threshold, from histograms streamed over tiles of the tissue.

    otsu: Otsu's over all tiles; spots: ``noises`` times the noise above the median. A network brings its own.
    Returns (job, {"raw": counts, "map": counts}).
    """
    coarse = np.load(job.work / "coarse.npz")
    tiles = statistics.tiles(
        job.source.shape, coarse["tissue"], coarse["tissue_factor"], segment.blur_reach(job.how)
    )
    folder = job.work / "statistics"
    left = [tile for tile in tiles if not engine.marker(folder, tile).exists()]
    disk.check(job.folder, len(left) * statistics.STORED, "counting the brightness")
    failed, _ = engine.each(client, stages.count, job, tiles, folder, "Measuring")
    convert.refuse(failed, tiles)
    counts = {"raw": 0, "map": 0}
    for tile in tiles:
        with np.load(engine.marker(folder, tile)) as found:
            counts = {name: total + found[name] for name, total in counts.items()}
    threshold = job.how["threshold"]
    if threshold is None and job.how["kind"] == "otsu":
        threshold = statistics.otsu(counts["map"], job.bins)
    elif threshold is None and job.how["kind"] == "spots":
        middle = statistics.percentile(counts["map"], job.bins, 50)
        threshold = middle + noises * statistics.noise(counts["map"], job.bins)
    return dataclasses.replace(job, how=job.how | {"threshold": threshold}), counts


def with_tissue(job):
    """The blocks that have tissue in their core: a list of `Block`. The others are never read."""
    coarse = np.load(job.work / "coarse.npz")
    tissue, factor = coarse["tissue"], coarse["tissue_factor"]
    return [block for block in job.grid() if overview.nearest(tissue, factor, block.core).any()]


def segment_all(client, job):
    """The cells of all blocks with tissue. Returns ({block's name: why it failed}, what each block took).

    With a network, its probability comes first. What fails is left out; the rest is finished.
    """
    _belongs(Path(job.folder), "numbers.json", job.how)  # threshold, weights: known since `measure`
    every, failed, took = with_tissue(job), {}, []
    stored = tuple(min(c, s) for c, s in zip(job.chunk, job.source.shape))
    if job.how["kind"] == "network":
        _array(job, stages.PROBABILITY, stored, "uint8")
        failed, took = engine.each(
            client, stages.probability, job, every, job.work / "probability", "Probability"
        )
        convert.refuse(failed, every)  # a cell beside a hole would depend on the hole
    _array(job, stages.PIECES, stored, "int32")
    failed, more = engine.each(client, stages.cells, job, every, job.work / "cells", "Cells")
    return failed, took + more


def _array(job, name, chunks, dtype):
    import zarr

    if not (job.work / name).exists():
        zarr.create_array(
            str(job.work / name),
            shape=job.source.shape,
            chunks=chunks,
            dtype=dtype,
            fill_value=0,
            zarr_format=2,
            compressors=omezarr.compressor("0.4"),
        )


def number(job, min_size=0, max_size=0):
    """Number all cells of the volume. Returns the table, one row a cell (`numbering.table`).

    The numbers go, block by block, into the job's folder for `write_labels`. Cells are numbered in the
    reading order of their centres: for any chunk the same cell has the same number.
    """
    every = job.grid()
    found, starts = numbering.gathered(job.work / "cells", every)
    names = found["names"]
    if job.how["separate"] == "connected":
        names = numbering.join(job.work / "cells", every, names, starts)
    kept, numbers = numbering.cells(found, names, min_size, max_size)
    for name, array in (("numbers", numbers), ("starts", starts)):
        with atomic(job.work / f"{name}.npy") as beside, open(beside, "wb") as file:
            np.save(file, array)
    return numbering.table(kept, job.source.voxel_size)


def write_labels(client, job, version="0.4"):
    """``labels.ome.zarr``, uint32 with all its levels. Returns its path."""
    place = Path(job.folder) / stages.LABELS
    content = (job.work / "numbers.npy").read_bytes()
    stamp = hashlib.sha256(content).hexdigest()[:12]
    if not (job.work / f"labels-{stamp}-0").exists():  # numbered anew: an earlier numbering is of no use
        shutil.rmtree(place, ignore_errors=True)
    # every stored chunk belongs to one block, so that no two workers write it
    stored = tuple(omezarr.CHUNK if c % omezarr.CHUNK == 0 else c for c in job.chunk)
    levels = omezarr.create(
        place, job.source.shape, np.dtype("uint32"), job.source.voxel_size, version, "cells", stored
    )
    every = with_tissue(job)
    failed, _ = engine.each(client, stages.relabel, job, every, job.work / f"labels-{stamp}-0", "Labels")
    convert.refuse(failed, every)
    convert.make_levels(client, job, levels, stages.LABELS, f"labels-{stamp}", labels=True)
    return place
