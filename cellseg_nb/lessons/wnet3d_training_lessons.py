"""Short trainings of notebook 02 that each show one thing: the forms, the decoder, a grid of parameters,
three classes. Each is kept on the disk, so that running the notebook again is instant."""

from collections import namedtuple
from pathlib import Path

import numpy as np

from cellseg_nb import runtime
from cellseg_nb.cells import inference
from cellseg_nb.evaluation import grid, metrics
from cellseg_nb.io import files, volumes
from cellseg_nb.learning import loop, pairs
from cellseg_nb.methods import settings as table_of_settings
from cellseg_nb.methods.wnet3d import WEIGHTS, WNet3DMethod

# probability of being a cell (Z, Y, X), its share of the volume above the threshold, its Dice (None without
# labels)
Lesson = namedtuple("Lesson", "name method history image probability foreground dice")


def learn(choice, name, image, truth=None, progress=True, **changes):
    """Train a narrow WNet3D for a short while on one volume, or read what an earlier run left. Returns a
    `Lesson`.

    ``changes`` are settings of `WNet3DMethod` that differ from the profile's. Kept in ``out/lessons/name``; a
    training with other settings, or on another volume, takes its place.
    """
    settings = {**_settings(choice, "02 lessons"), "seed": choice["seed"], **changes}
    place = files.writable_folder(Path(choice["out"]) / "lessons" / name)
    file, about = place / "lesson.json", {**settings, "data": pairs.fingerprint(image)}
    note = grid.kept(file, about)
    if note and "history" in note and (place / WEIGHTS).exists():
        method, history = WNet3DMethod.load(place, choice["device"]), note["history"]
    else:
        if note is None:
            (place / loop.CHECKPOINT).unlink(missing_ok=True)
            grid.keep(file, about)
        method = WNet3DMethod(**settings, device=choice["device"])
        history = method.fit([image], folder=place, progress=progress)
        method.save(place)
        grid.keep(file, about, history=history)
        (place / loop.CHECKPOINT).unlink(missing_ok=True)
    classes = method.classes(image, progress=False)
    history[-1]["shares"] = classes.mean((1, 2, 3)).tolist()
    probability = classes[method.foreground]
    cells = probability > method.threshold
    dice = None if truth is None else metrics.dice(truth, cells)
    return Lesson(name, method, history, image, probability, float(cells.mean()), dice)


def _settings(choice, trainings):
    return table_of_settings.of("wnet3d", choice["profile"], trainings)


def compare(lessons):
    """What short trainings ended with: a table, one row each."""
    import pandas

    rows = [{"training": lesson.name, **_row(lesson)} for lesson in lessons]
    return pandas.DataFrame(rows).set_index("training").round(4)


def _row(lesson):
    row = {
        "SoftNCuts": float(np.mean([r["n_cuts"] for r in lesson.history[-3:]])),
        "foreground (%)": 100 * lesson.foreground,
    }
    return row if lesson.dice is None else {**row, "Dice": lesson.dice}


def over_grid(choice, image, truth, rates, weights):
    """Train with every one of the learning rates ``rates`` and reconstruction ``weights``.

    Returns a tidy table and {(learning rate, weight): `Lesson`}. Without a GPU, two at a time.
    """
    import torch

    jobs = [{"learning_rate": rate, "rec_weight": weight} for rate in rates for weight in weights]
    plain = runtime.device(choice["device"]).type == "cpu"
    depends = {**_settings(choice, "02 grid"), "seed": choice["seed"], "data": pairs.fingerprint(image)}
    context = choice, image, truth, {}
    table = grid.run(
        jobs,
        _grid_job,
        context,
        Path(choice["out"]) / "grid",
        depends,
        processes=2 if plain and torch.get_num_threads() > 1 else 1,
        desc="Trainings",
    )
    lessons = {(job["learning_rate"], job["rec_weight"]): _grid_lesson(job, context) for job in jobs}
    return table, lessons


def _grid_job(job, context):
    return [_row(_grid_lesson(job, context))]


def _grid_lesson(job, context):
    choice, image, truth, made = context
    name = f"rate_{job['learning_rate']:g}_weight_{job['rec_weight']:g}"
    if name not in made:  # here, or by another process: then it is read from the disk
        made[name] = learn(
            choice,
            name,
            image,
            truth,
            progress=False,
            **{**_settings(choice, "02 grid"), "balance": "fixed", **job},
        )
    return made[name]


def rebuilt(lesson):
    """The volume as the decoder rebuilds it from the classes, (Z, Y, X) float32 on the scale 0..100."""
    network = lesson.method.model.eval()
    return inference.predict(
        lambda x: network(x)[1],
        volumes.remap(lesson.image),
        device=lesson.method.device,
        bytes_per_voxel=64 * lesson.method.network["channels"][0],
        progress=False,
    )[0]
