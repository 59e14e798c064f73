"""Whole brains: memory and time as they grow, workers, chunk sizes, a network, joining against dask-image.

    python benchmarks/whole_brain.py size --sides 256 512 1024
    python benchmarks/whole_brain.py size --sides 256 512 --method wnet3d
    python benchmarks/whole_brain.py workers --side 512
    python benchmarks/whole_brain.py chunks --side 256
    python benchmarks/whole_brain.py join --side 512

Needs ``pip install "cellseg-nb[brains]"``, for ``join`` dask-image too. Prints rows of a table; --out holds
the volumes meanwhile (2 GB at 1024). The processor's seconds are those of all workers and of the client.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from cellseg_nb.brains import blocks, choose, engine, joins, omezarr, overview, pyramid, run, segment, sources
from cellseg_nb.data import brain

DIAMETER = 16.0  # µm, of the simulated cells; voxels of 2 µm
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": "65536"}  # as Dask's workers have: what is freed is given back


def made(side, out, client):
    """The simulated brain of a side as OME-Zarr, by all workers."""
    place, shape = out / f"brain{side}.ome.zarr", (side,) * 3
    if side >= 1024 and not (out / f"brain{side}.done").exists():
        made(side // 2, out, client)
        doubled(side, out)
    if not (out / f"brain{side}.done").exists():
        levels = omezarr.create(place, shape, "uint16", (2.0, 2.0, 2.0))
        todo = blocks.grid(shape, omezarr.CHUNK)
        client.gather(client.map(_render, todo, place=place, shape=shape))
        for number in range(1, len(levels)):
            parts = pyramid.jobs(levels, number)
            client.gather(client.map(functools.partial(pyramid.write, place, levels, number), parts))
        (out / f"brain{side}.done").touch()
    return sources.find(place)


def doubled(side, out):
    """A large volume of eight brains of half its side: their chunks are linked, not rendered again."""
    half, place, shape = out / f"brain{side // 2}.ome.zarr", out / f"brain{side}.ome.zarr", (side,) * 3
    levels = omezarr.create(place, shape, "uint16", (2.0, 2.0, 2.0))
    for number, level in enumerate(levels):
        if level.shape[0] // 2 % level.chunks[0]:
            for block in pyramid.jobs(levels, number):
                pyramid.write(place, levels, number, block)
            continue
        chunks = level.shape[0] // 2 // level.chunks[0]
        for index in np.ndindex(*[2 * chunks] * 3):
            source = half.joinpath(level.key, *(str(i % chunks) for i in index))
            if source.exists():
                target = place.joinpath(level.key, *map(str, index))
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(source, target)
    (out / f"brain{side}.done").touch()


def only(maps, source, chunk, many):
    """The coarse maps with tissue in so many chunks alone, evenly spread: where time is short."""
    tissue, factor = maps["tissue"], maps["tissue_factor"]
    every = [b for b in blocks.grid(source.shape, chunk) if overview.nearest(tissue, factor, b.core).any()]
    kept = np.zeros_like(tissue)
    for i in np.linspace(0, len(every) - 1, min(many, len(every))).astype(int):
        part = tuple(slice(s.start // f, -(-s.stop // f)) for s, f in zip(every[i].core, factor))
        kept[part] = tissue[part]
    return maps | {"tissue": kept}


def _render(block, place, shape):
    omezarr.writing(place, "0")[block.core] = brain.render(block.core, shape)[0]


def whole(source, folder, client, chunk=128, method="otsu", many=0):
    """A run from the coarse maps to the labels; what it took."""
    spent = {}
    began = time.perf_counter()

    @contextlib.contextmanager
    def stage(name):
        at = time.perf_counter()
        yield
        spent[name] = round(time.perf_counter() - at, 1)

    before = _processor(client)
    with stage("look"):
        maps = run.look(source, DIAMETER)
    maps = only(maps, source, chunk, many) if many else maps
    kind = "network" if method == "wnet3d" else method
    how = segment.recipe(kind, DIAMETER, source.voxel_size)
    if kind == "network":
        how |= {"window": 64, "overlap": 16, "device": "cpu"}
    with stage("measure"):
        job = run.begin(source, folder, maps, how, chunk)
        job, _ = run.measure(client, job)
    if kind == "network":
        with stage("train"):
            job = _network(job, maps, folder.parent)
        before = _processor(client)
        began = time.perf_counter()
    with stage("cells"):
        failed, _ = run.segment_all(client, job)
    with stage("number"):
        cells = run.number(job, 20)
    with stage("labels"):
        place = run.write_labels(client, job)
    seconds = time.perf_counter() - began
    memory = max(client.run(engine.peak_memory).values())
    row = {"seconds": round(seconds, 1), "processor": round(_processor(client) - before, 1)}
    row |= {"worker_mb": round(memory / 1e6), "client_mb": round(engine.peak_memory() / 1e6)}
    row |= {"found": len(cells), "failed": len(failed), **spent}
    return row, cells, place


def _processor(client):
    return sum(client.run(time.process_time).values()) + time.process_time()


def _network(job, maps, out):
    """A narrow WNet3D, trained once on cubes of the first brain it is asked for."""
    from cellseg_nb import methods
    from cellseg_nb.brains import network

    boxes = choose.cubes(job.source, maps, 64)
    cubes = [job.source.read(box) for box in boxes]
    place = out / "narrow"
    ends = place / "ends.json"
    if not ends.exists():
        low, high = choose.ends(cubes)
        method = methods.get("wnet3d", channels=(8, 8, 16, 16), cube=32, epochs=12, seed=0, device="cpu")
        method.fit(choose.on_one_scale(cubes, low, high), progress=False)
        method.save(place)
        ends.write_text(json.dumps([low, high]))
    low, high = json.loads(ends.read_text())
    how = job.how | {"weights": str(place), "scale": [low, high, 100.0], "threshold": 0.5}
    job = dataclasses.replace(job, how=how)
    network.prepare(job.work, str(place), cubes, how["scale"])
    return job


def size(args):
    """One fresh process and cluster a side, so that peaks are its own."""
    for side in args.sides:
        with engine.connected(workers=2) as client:
            made(side, args.out, client)
        command = [sys.executable, __file__, "one", "--side", str(side), "--out", str(args.out)]
        command += ["--workers", str(args.workers), "--method", args.method, "--chunk", str(args.chunk)]
        command += ["--only", str(args.only)]
        subprocess.run(command, check=True)


def one(args):
    folder = args.out / f"run{args.side}-{args.workers}-{args.chunk}-{args.method}"
    shutil.rmtree(folder, ignore_errors=True)
    with engine.connected(workers=args.workers) as client:
        source = made(args.side, args.out, client)
        row, cells, place = whole(source, folder, client, args.chunk, args.method, args.only)
    about = {name: getattr(args, name) for name in ("side", "workers", "chunk", "method")}
    row = about | row | {"chunks": args.only or "all"}
    with (args.out / "rows.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)
    shutil.rmtree(folder / "work", ignore_errors=True)


def workers(args):
    """One worker and two in turn, twice."""
    with engine.connected(workers=2) as client:
        made(args.side, args.out, client)
    for count in (1, 2, 2, 1):
        one(argparse.Namespace(**{**vars(args), "workers": count}))


def chunks(args):
    """The same brain with chunks of 64, 96, 128, 256: the labels must be the same array."""
    from cellseg_nb.evaluation import centres, metrics

    first = None
    truth = brain.render((slice(0, args.side),) * 3, (args.side,) * 3)[1].astype(np.int32)
    known = brain.cells((slice(0, args.side),) * 3, (args.side,) * 3)[1] * 2.0
    with engine.connected(workers=2) as client:
        source = made(args.side, args.out, client)
        for chunk in (64, 128, 256) if args.method == "wnet3d" else (64, 96, 128, 256):
            folder = args.out / f"chunk{chunk}-{args.method}"
            shutil.rmtree(folder, ignore_errors=True)
            row, cells, place = whole(source, folder, client, chunk, args.method)
            labels = sources.find(place).read((slice(None),) * 3)
            first = labels if first is None else first
            f1 = metrics.match(truth, labels.astype(np.int32), (0.5,)).f1.iloc[0]
            found = cells[["z", "y", "x"]].to_numpy() * 2.0
            near = centres.match_centres(known, found, tolerance=DIAMETER / 2)["f1"]
            score = {"f1_at_0.5": round(float(f1), 4), "f1_centres": round(near, 4)}
            row = {"same": bool(np.array_equal(first, labels)), **score, **row}
            row = {"chunk": chunk, "method": args.method, **row}
            print(json.dumps(row), flush=True)


def join(args):
    """Connected pieces of one mask: ours against dask-image's, each in a process of its own, three times."""
    import zarr

    mask = args.out / f"mask{args.side}.zarr"
    if not mask.exists():
        shape = (args.side,) * 3
        array = zarr.create_array(str(mask), shape=shape, chunks=(128,) * 3, dtype="uint8", fill_value=0)
        for block in blocks.grid(shape, 128):
            array[block.core] = brain.render(block.core, shape)[0] > 190
    for _ in range(args.times):
        for name in ("ours", "theirs"):
            command = [sys.executable, __file__, name, "--side", str(args.side), "--out", str(args.out)]
            subprocess.run(command, check=True, env={**os.environ, **ALLOCATOR})


def ours(args):
    """Pieces labelled, joined over faces, and written with their final numbers: one process, one thread."""
    import zarr

    began = time.perf_counter()
    engine.give_back_freed()  # as `engine.once` does
    mask = zarr.open_array(str(args.out / f"mask{args.side}.zarr"), mode="r")
    out, pieces = args.out / "ours.zarr", args.out / "pieces.zarr"
    shutil.rmtree(out, ignore_errors=True)
    options = dict(shape=mask.shape, chunks=(128,) * 3, fill_value=0, overwrite=True)
    pieces = zarr.create_array(str(pieces), dtype="int32", **options)
    out = zarr.create_array(str(out), dtype="uint32", **options)
    every = blocks.grid(mask.shape, 128, 1)
    firsts, faces, starts = [], {}, [0]
    for block in every:
        core, first, planes = joins.label_block(mask[block.outer] > 0, block)
        pieces[block.core] = core
        firsts.append(joins.place(first, block, mask.shape))
        faces[block.index] = block, planes
        starts.append(starts[-1] + len(first))
    starts = np.array(starts)
    pairs = [np.zeros((0, 2), np.int64)]
    for block, planes in faces.values():
        for axis in range(3):
            beside = tuple(i + (a == axis) for a, i in enumerate(block.index))
            if beside in faces:
                other, theirs_ = faces[beside]
                found = joins.shared(planes[axis, 1], theirs_[axis, 0], block.number, other.number)
                pairs.append(starts[found >> 32] + (found & 0xFFFFFFFF) - 1)
    names = joins.union(np.concatenate(pairs), np.concatenate(firsts))
    every_name, own = np.unique(names, return_inverse=True)
    for block in every:
        numbers = own[starts[block.number] : starts[block.number + 1]] + 1
        out[block.core] = np.append(0, numbers).astype(np.uint32)[pieces[block.core]]
    _said("ours", len(every_name), began)


def theirs(args):
    import dask
    import dask.array as da
    from dask_image.ndmeasure import label

    began = time.perf_counter()
    shutil.rmtree(args.out / "theirs.zarr", ignore_errors=True)
    mask = da.from_zarr(str(args.out / f"mask{args.side}.zarr"))
    with dask.config.set(scheduler="synchronous"):
        labels, count = label(mask, structure=np.ones((3, 3, 3)))
        labels.to_zarr(str(args.out / "theirs.zarr"))
        count = int(count.compute()) if hasattr(count, "compute") else int(count)
    _said("dask-image", count, began)


def _said(name, count, began):
    row = {"name": name, "pieces": count, "seconds": round(time.perf_counter() - began, 2)}
    row |= {"processor": round(time.process_time(), 2), "memory_mb": round(engine.peak_memory() / 1e6)}
    print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("size", "one", "workers", "chunks", "join", "ours", "theirs"))
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--only", type=int, default=0, help="chunks to compute; 0: all")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--method", default="otsu", choices=("otsu", "spots", "wnet3d"))
    parser.add_argument("--out", type=Path, default=Path("results/benchmark_brains"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    globals()[args.what](args)


if __name__ == "__main__":
    main()
