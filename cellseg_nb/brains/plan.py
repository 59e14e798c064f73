"""What a run will take, before it is begun: from one chunk that is really computed."""

import time

import numpy as np

from cellseg_nb.brains import blocks, disk, engine, run, segment, stages

BESIDE = 0.35  # of the chunks' time: numbers, labels and their levels (0.38, 0.32 at 512, 1024 voxels a side)
SMALL = 16  # voxels a side of what is computed first, so that imports are not taken for work


def measured(job, block):
    """Compute one block and throw it away: seconds, this process's memory before and at most, bytes that its
    labels take compressed, cells. A small part of it comes first and does not count: a process's first block
    imports libraries and loads the network, all others do not."""
    import numcodecs

    before = engine.peak_memory()
    _computed(job, _part(job, block))
    began = time.perf_counter()
    labels, found = _computed(job, block)
    seconds = time.perf_counter() - began
    stored = len(numcodecs.Blosc("zstd", 1).encode(np.ascontiguousarray(labels)))
    return {
        "seconds": seconds,
        "before": before,
        "memory": engine.peak_memory(),
        "stored": stored,
        "cells": len(found["names"]),
    }


def _computed(job, block):
    probability = None
    if job.how["kind"] == "network":
        from cellseg_nb.brains import network

        probability = np.zeros([s.stop - s.start for s in block.outer], np.uint8)
        probability[block.inner] = network.probability(job, block, stages.coarse_maps(job))
    return stages.pieces(job, block, probability)


def _part(job, block):
    """A window in the middle of a block; without a network, a few voxels."""
    side = job.how.get("window", SMALL)
    starts = [s.start + (s.stop - s.start) // 2 // side * side for s in block.core]
    core = tuple(slice(start, min(start + side, s.stop)) for start, s in zip(starts, block.core))
    return blocks.around(core, job.source.shape, segment.halo(job.how))


def plan(client, job, workers=None):
    """Memory, disk and time of a run: a dict, for `words`. The measured chunk is the first of those
    with most tissue. Raises UserError when the disk has no room for it."""
    every = run.with_tissue(job)
    block = max(every, key=lambda one: _tissue(job, one))
    found = (
        measured(job, block) if client is None else client.submit(measured, job, block, pure=False).result()
    )
    if workers is None:
        workers = 1 if client is None else len(client.scheduler_info()["workers"])
    share = sum(float(np.prod(b.shape)) for b in every) / np.prod(block.shape)
    # pieces, labels and their levels; markers
    stored = share * (found["stored"] * (1 + 8 / 7) + 200 * found["cells"]) + 1e6
    seconds = share * found["seconds"] * (1 + BESIDE)
    disk.check(job.folder, stored, "the run")
    return {
        "chunks": len(every),
        "of": len(job.grid()),
        "memory_per_worker": found["memory"],
        "disk": stored,
        "core_seconds": seconds,
        "workers": workers,
        "seconds": seconds / workers,
        "in_chunks": float(sum(np.prod(b.shape, dtype=float) for b in every)),
        "voxels": float(np.prod(job.source.shape, dtype=float)),
    }


def _tissue(job, block):
    """Voxels of tissue in a block, about."""
    _, _, tissue, factor = stages.coarse_maps(job)
    part = tuple(slice(s.start // f, -(-s.stop // f)) for s, f in zip(block.core, factor))
    return tissue[part].mean() * np.prod(block.shape)


def words(found):
    """A plan in one line."""
    memory = (
        ""
        if found["memory_per_worker"] is None
        else f"{disk.sized(found['memory_per_worker'])} of memory a worker, "
    )
    return (
        f"{found['chunks']} of {found['of']} chunks hold tissue: {memory}{disk.sized(found['disk'])} on "
        f"the disk, about {spoken(found['seconds'])} with {found['workers']} workers "
        f"({spoken(found['core_seconds'])} of one core)"
    )


def spoken(seconds):
    """Seconds in words: 0.4 s, 40 s, 12 min, 3.5 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
