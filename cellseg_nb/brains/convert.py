"""Any source to OME-Zarr with its levels, part by part: never more than a strip of it in memory."""

import functools
from pathlib import Path

import numpy as np

from cellseg_nb.brains import blocks, disk, engine, omezarr, pyramid, sources, stages
from cellseg_nb.errors import UserError

STRIP = 256e6  # bytes of a part


def strips(source, chunk=omezarr.CHUNK):
    """The parts in which a source is copied: whole rows, since planes and TIFFs are stored so, and whole
    chunks of what is written."""
    z = min(chunk, source.shape[0])
    row = z * source.shape[2] * source.dtype.itemsize
    rows = max(chunk, int(STRIP // row) // chunk * chunk)
    return blocks.grid(source.shape, (z, min(rows, source.shape[1]), source.shape[2]))


def run(client, source, folder, version="0.4", chunk=omezarr.CHUNK):
    """Write a source as ``image.ome.zarr`` into a folder, with all its levels. Carries on where it was
    stopped. Returns the new `Source`. Raises UserError for parts that cannot be read, by their place."""
    folder = Path(folder)
    needed = source.nbytes * 8 / 7
    disk.check(folder, needed, f"{source.name} as OME-Zarr")
    place = folder / stages.IMAGE
    levels = omezarr.create(place, source.shape, source.dtype, source.voxel_size, version, source.name, chunk)
    job = stages.Job(source, str(folder), {}, blocks.three(chunk))
    failed, _ = engine.each(
        client, stages.copy, job, strips(source, chunk), job.work / "convert-0", "Converting"
    )
    refuse(failed, strips(source, chunk))
    make_levels(client, job, levels, stages.IMAGE, "convert")
    return sources.find(place, source.voxel_size)


def make_levels(client, job, levels, store, stage, labels=False):
    """The coarser levels of a store, one after the other."""
    for number in range(1, len(levels)):
        function = functools.partial(stages.level, number=number, store=store, labels=labels)
        every = pyramid.jobs(levels, number)
        failed, _ = engine.each(
            client, function, job, every, job.work / f"{stage}-{number}", f"Level {number}"
        )
        refuse(failed, every)


def refuse(failed, every):
    """UserError for parts that failed three times, with the place of the first."""
    if failed:
        block = next(block for block in every if block.name in failed)
        raise UserError(
            f"{len(failed)} of {len(every)} parts failed {engine.TRIES} times, the first at (z, y, x) = "
            f"{block.corner}: {failed[block.name]}; the rest is finished: mend it and start the run again"
        )


def complete(source, tissue, factor):
    """Raises UserError when a stored chunk of an OME-Zarr on disk is missing where there is tissue: zarr
    would read it as zeros."""
    from cellseg_nb.brains import overview

    level = source.levels[0]
    array = omezarr.opened(source.path, level.key)
    base = Path(source.path) / level.key
    fixed, order = source.index
    if not base.is_dir() or getattr(array, "shards", None):
        return
    for block in blocks.grid(source.shape, level.chunks):
        left = iter(range(3))
        key = tuple(
            block.index[order.index(next(left))] if one is None else one // c
            for one, c in zip(fixed, array.chunks)
        )
        name = array.metadata.encode_chunk_key(key)
        if not (base / name).is_file():
            if overview.nearest(tissue, factor, block.core).any() and _bright(source, block):
                raise UserError(
                    f"{source.path}: the chunk at (z, y, x) = {block.corner} is missing, though a coarse "
                    f"level shows tissue there ({level.key}/{name}): copy the store again"
                )


def _bright(source, block):
    """Whether the coarsest level has any light in a block."""
    number = len(source.levels) - 1
    factor = source.levels[number].factor
    box = tuple(slice(s.start // f, -(-s.stop // f)) for s, f in zip(block.core, factor))
    return bool(np.any(source.read(box, level=number)))
