"""What is done with each block, stage by stage: pure functions of a job and a block, run on workers.

A `Job` holds paths and numbers only. What is large (coarse maps) lies in the job's folder, from where each
worker loads it once.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellseg_nb.brains import blocks, joins, omezarr, pyramid, segment, statistics
from cellseg_nb.brains.sources import Source

PIECES, PROBABILITY, LABELS, IMAGE = "pieces.zarr", "probability.zarr", "labels.ome.zarr", "image.ome.zarr"


@dataclass(frozen=True)
class Job:
    """``folder``: of the results, as text; ``how``: see `segment.recipe`; ``chunk``: three sides; ``bins``
    of the histograms."""

    source: Source
    folder: str
    how: dict
    chunk: tuple
    bins: tuple = (0.0, 1.0)

    @property
    def work(self):
        return Path(self.folder) / "work"

    def grid(self):
        """All blocks, with the halo that cells need."""
        return blocks.grid(self.source.shape, self.chunk, segment.halo(self.how))


@functools.lru_cache(maxsize=2)
def coarse(work, stamp):
    """The ground's factor, tissue, its factor."""
    with np.load(Path(work) / "coarse.npz") as found:
        return tuple(found["ground_factor"]), found["tissue"], tuple(found["tissue_factor"])


def coarse_maps(job):
    """Ground, its factor, tissue, its factor. The ground of a large brain stays on the disk: it is opened
    anew each time, since what has been read of an open one counts as the worker's memory."""
    ground = np.load(job.work / "ground.npy", mmap_mode="r")
    return ground, *coarse(str(job.work), (job.work / "coarse.npz").stat().st_mtime_ns)


def copy(job, block):
    """A part of a source into the image's finest level, as it is."""
    found = job.source.read(block.core)
    if found.any():
        omezarr.writing(Path(job.folder) / IMAGE, "0")[block.core] = found


def count(job, tile):
    """Histograms of a tile."""
    return statistics.counted(job.source, tile, coarse_maps(job), job.how, job.bins)


def probability(job, block):
    """How probable cell is in a block, 0 to 255, into ``probability.zarr``."""
    from cellseg_nb.brains import network

    found = network.probability(job, block, coarse_maps(job))
    if found.any():
        omezarr.writing(job.work, PROBABILITY)[block.core] = found


def cells(job, block):
    """The cells of a block into ``pieces.zarr``, numbered within the block. Returns what `pieces` does of
    them."""
    probability = None
    if job.how["kind"] == "network":
        probability = omezarr.opened(job.work, PROBABILITY)[block.outer]
    labels, found = pieces(job, block, probability)
    if labels.any():
        omezarr.writing(job.work, PIECES)[block.core] = labels
    return found


def pieces(job, block, probability=None):
    """The cells of a block: labels of its core, int32, and a dict of their names and the sums that the table
    is made of. ``probability``: uint8 of the outer box, from a network."""
    image, maps = job.source.read(block.outer), coarse_maps(job)
    rising = [segment.rise(image, maps, block.outer)]
    image = image[block.inner].copy()
    # given away by pop: held by nobody here, it is let go as soon as it has served
    if job.how["separate"] == "connected":
        labels, found = _connected(job, block, rising.pop(), maps, probability)
    else:
        shape = job.source.shape
        labels, names = segment.separated(rising.pop(), block, maps, job.how, shape, probability)
        found = {"names": names}
    return labels, found | sums(labels, image, block.corner, len(found["names"]))


def _connected(job, block, rising, maps, probability):
    outline = segment.maps(rising, job.how, probability)[0]
    del rising
    mask = segment.mask(outline, maps, block.outer, job.how)
    del outline
    # one voxel of the neighbours is what joins need; the rest of the halo was for the blurs
    near = blocks.block(job.source.shape, job.chunk, block.index, 1)
    part = tuple(slice(n.start - o.start, n.stop - o.start) for n, o in zip(near.outer, block.outer))
    labels, first, faces = joins.label_block(mask[part], near)
    named = {f"face_{axis}_{end}": planes for (axis, end), planes in faces.items()}
    return labels, {"names": joins.place(first, near, job.source.shape) + (first < joins.FAR), **named}


def sums(labels, image, corner, n):
    """Of each of ``n`` labels in a block: voxels, sums of z, y, x in the volume, sum of the brightness; whole
    numbers where the image holds such, so that sums over blocks are exact."""
    flat = labels.ravel()
    where = np.flatnonzero(flat)
    own = flat[where] - 1
    found = {"voxels": np.bincount(own, minlength=n).astype(np.int64)}
    at = np.unravel_index(where, labels.shape)
    places = [np.bincount(own, a, n).astype(np.int64) + found["voxels"] * c for a, c in zip(at, corner)]
    light = np.bincount(own, image.ravel()[where].astype(np.float64), n)
    whole = image.dtype.kind in "bui"
    return found | {"places": np.stack(places, 1), "light": light.astype(np.int64) if whole else light}


def relabel(job, block):
    """Final numbers in place of those within the block, into the labels' finest level."""
    numbers = np.load(job.work / "numbers.npy", mmap_mode="r")
    starts = np.load(job.work / "starts.npy", mmap_mode="r")
    own = np.asarray(numbers[starts[block.number] : starts[block.number + 1]])
    if own.any():
        final = np.append(own.dtype.type(0), own)[omezarr.opened(job.work, PIECES)[block.core]]
        omezarr.writing(Path(job.folder) / LABELS, "0")[block.core] = final


def level(job, block, number=1, store=LABELS, labels=True):
    """One chunk of a coarser level."""
    place = Path(job.folder) / store
    pyramid.write(place, omezarr.levels(place)[0], number, block, labels)
