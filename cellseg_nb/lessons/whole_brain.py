"""Notebook 09: its parameters, the brain to work on, a network if one is wanted, results."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas

from cellseg_nb import methods, parameters
from cellseg_nb.brains import (
    blocks,
    choose,
    convert,
    disk,
    network,
    omezarr,
    outputs,
    plan,
    pyramid,
    run,
    segment,
    sources,
    stages,
)
from cellseg_nb.cells import scale
from cellseg_nb.cells.separate import SMALL
from cellseg_nb.data import brain
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import grid
from cellseg_nb.lessons import common
from cellseg_nb.methods import settings, weights

METHODS = ("otsu", "spots", "wnet3d", "segresnet", "swinunetr")
WHOLE = parameters.rule(parameters.number, 0, whole=True)
PARAMETERS = parameters.common("voxel_size", "max_size", "seed", "device", "out", "start_over") | {
    "images": parameters.text,
    "channel": parameters.rule(parameters.number, -1, whole=True),
    "min_size": parameters.auto(lambda name, value: parameters.number(name, _decimal(name, value), 0)),
    "cell_diameter": parameters.auto(lambda name, value: parameters.number(name, _decimal(name, value), 0)),
    "method": parameters.rule(parameters.one_of, METHODS),
    "weights": parameters.text,
    "separate": parameters.rule(parameters.one_of, segment.SEPARATE),
    "tissue": parameters.auto(lambda name, value: _decimal(name, value)),
    "chunk": parameters.rule(parameters.number, 16, 1024, whole=True),
    "overlap": parameters.rule(parameters.number, 0, 128, whole=True),
    "scheduler": parameters.text,
    "workers": WHOLE,
    "side": parameters.rule(parameters.number, 64, 4096, whole=True),
    "zarr_version": parameters.rule(parameters.one_of, omezarr.VERSIONS),
}
MICROMETRES = 2.0  # voxels of the simulated brain


def _decimal(name, value):
    try:
        return float(value)
    except ValueError:
        raise UserError(f"{name} must be a number or auto, not {value!r}") from None


def brain_or_yours(choice, client):
    """The volume as OME-Zarr: yours, converted where it is none, or a simulated one. Returns a
    `sources.Source`; says what it is."""
    if choice["images"]:
        channel = None if choice["channel"] < 0 else choice["channel"]
        source = sources.find(choice["images"], choice["voxel_size"], channel)
        if len(source.levels) < 2:
            source = convert.run(client, source, choice["out"], choice["zarr_version"])
    else:
        source = made(choice)
    size = source.voxel_size
    words = "unknown, µm below are voxels" if size is None else " x ".join(f"{s:g}" for s in size) + " µm"
    sides = " x ".join(map(str, source.shape))
    name = source.name if choice["images"] else "simulated brain"
    print(f"{name}: {sides} voxels (Z, Y, X), {disk.sized(source.nbytes)}, voxel size {words}")
    if size is None:  # of 56 known cells in planes 5 µm apart, voxels 2 µm wide, 35 were found so, 53 with it
        print(
            "Cells are taken to be as deep in planes as they are wide in voxels: where planes lie farther "
            "apart, many are missed. Give voxel_size (Z,Y,X in µm)."
        )
    return source


def made(choice):
    """The simulated brain, written block by block, once."""
    place, shape = Path(choice["out"]) / stages.IMAGE, (choice["side"],) * 3
    done, about = Path(choice["out"]) / "simulated.json", {"side": choice["side"], "seed": choice["seed"]}
    if grid.kept(done, about) is None:
        size = (MICROMETRES,) * 3
        levels = omezarr.create(place, shape, "uint16", size, choice["zarr_version"], "simulated brain")
        array = omezarr.writing(place, "0")
        for block in blocks.grid(shape, omezarr.CHUNK):
            array[block.core], _ = brain.render(block.core, shape, choice["seed"])
        for number in range(1, len(levels)):
            for block in pyramid.jobs(levels, number):
                pyramid.write(place, levels, number, block)
        grid.keep(done, about)
    return sources.find(place)


def diameter(choice, source):
    """How wide a cell is in µm: as chosen, or estimated from what stands out in the volume's brightest cubes,
    all together."""
    if choice["cell_diameter"]:
        return choice["cell_diameter"]
    maps = run.look(source, 10 * min(source.voxel_size or (1.0,)), choice["tissue"])
    cubes = [source.read(box) for box in choose.cubes(source, maps)]
    found = scale.together([scale.blobs(cube, source.voxel_size) for cube in cubes])
    if not len(found):
        raise UserError("no cells stand out, so their size cannot be estimated: give cell_diameter (µm)")
    return round(scale.typical(found, source.voxel_size), 1)


def smallest(choice, source, width):
    """Voxels below which an object is no cell: as chosen, or those of a ball of half the diameter, as in
    `cellseg_nb.cells.separate`."""
    if choice["min_size"] is not None:
        return int(choice["min_size"])
    return round(np.pi / 6 * (SMALL * width) ** 3 / np.prod(source.voxel_size or (1.0,) * 3))


def recipe(choice, source, width):
    """How cells are found, as chosen: see `segment.recipe`."""
    kind = choice["method"] if choice["method"] in segment.MAPS else "network"
    how = segment.recipe(kind, width, source.voxel_size, choice["separate"])
    if kind == "network":
        if choice["chunk"] % network.WINDOW:
            raise UserError(
                f"with a network, chunk must be a multiple of {network.WINDOW}, not {choice['chunk']}"
            )
        how |= {"window": network.WINDOW, "overlap": choice["overlap"], "device": choice["device"]}
    return how


def trained(choice, job, cubes):
    """The job with its network: the weights chosen, or a WNet3D trained on the cubes (a list of arrays)."""
    place = choice["weights"]
    low, high = choose.ends(cubes)
    if not place:
        if choice["method"] != "wnet3d":
            raise UserError(
                f"method {choice['method']!r} learns from labels: give weights, such as notebook 03's folder"
            )
        place = str(Path(choice["out"]) / "training")
        method = methods.get("wnet3d", **settings.of("wnet3d", "demo", "09"), seed=choice["seed"])
        method.fit(choose.on_one_scale(cubes, low, high), folder=place)
        method.save(place)
    network.refuse_onnx(place)  # before it is opened: one of others does not say of what kind it is
    predictor = weights.load(place, None if choice["weights"] else "wnet3d")
    if predictor.architecture != choice["method"]:
        raise UserError(f"{place} holds a {predictor.architecture}, the method chosen is {choice['method']}")
    if predictor.architecture != "wnet3d":
        low, high = choose.ends(cubes, 1, 99)
    how = job.how | {"fingerprint": predictor.fingerprint}
    top = network.TOPS.get(predictor.scaling, 1.0)
    how |= {"weights": place, "scale": [low, high, top], "threshold": predictor.threshold}
    parts = network.prepare(job.work, place, cubes, how["scale"])
    return dataclasses.replace(job, how=how), parts


def truth(choice, source):
    """Centres (n, 3) of the simulated brain's cells, in voxels; None for a volume of yours."""
    if choice["images"]:
        return None
    return brain.cells(tuple(slice(0, side) for side in source.shape), source.shape, choice["seed"])[1]


def save(choice, job, cells, density, figures, started, **found):
    """The table, points, densities, pictures and the summary, into ``out``."""
    out = Path(choice["out"])
    outputs.table(out, cells)
    outputs.points(out, cells, job.source.name)
    outputs.write_density(out, density)
    headline = f"{len(cells)} cells in {job.source.name if choice['images'] else 'a simulated brain'}"
    if found.get("failed"):
        headline += f"; {len(found['failed'])} chunks failed"
    size = job.source.voxel_size
    how = {"how": job.how, "cells": len(cells), "chunk": job.chunk}
    return common.save(out, choice, None, figures, headline, voxel_size=size, started=started, **how, **found)


def cost(planned, voxels, cores=(2, 16, 200)):
    """Time for a brain of so many voxels, planned from a measured chunk (a dict of `plan.plan`): a table, one
    row for each number of cores. Reckoned as if all of it were tissue, and no disk or network in the way."""
    each = planned["core_seconds"] / planned["in_chunks"]
    memory = planned["memory_per_worker"] or 0
    rows = [
        {"cores": n, "time": plan.spoken(each * voxels / n), "memory in all": disk.sized(n * memory)}
        for n in cores
    ]
    return pandas.DataFrame(rows).set_index("cores")
