"""What may help where the result of notebook 00 does not hold: tried one after the other, judged like the
first."""

import time
from typing import Any, NamedTuple

import numpy as np

from cellseg_nb.cells import background, instances
from cellseg_nb.cells.auto import find_cells
from cellseg_nb.lessons import quickstart, quickstart_results as results

LEVELS = ("ok", "doubtful", "failed")
ANOTHER = 17  # added to the seed


class Result(NamedTuple):
    """``words``: how it came about; ``method`` and ``history`` of its training; one probability, labels
    (Z, Y, X) and `cellseg_nb.cells.verdict.Verdict` a volume."""

    words: str
    method: Any
    history: list
    probabilities: list
    found: list
    verdicts: list

    @property
    def rank(self):
        """0 where all volumes are ok; the worst decides, then how many are so bad."""
        levels = [LEVELS.index(one.level) for one in self.verdicts]
        return max(levels), sum(levels)


def best(first, another, minutes):
    """The best of ``first`` and of what ``another`` yields, by the verdict alone; says what was tried.

    Nothing is tried where the first has not failed; no more is begun once ``minutes`` are over, or the result
    is ok. Returns the result and what was tried: [{"tried", "verdict", "cells"}].
    """
    tried, until = [], time.monotonic() + 60 * minutes
    if first.rank[0] < LEVELS.index("failed"):
        return first, tried
    for one in another:
        if one is not None:
            cells = sum(instances.count(labels) for labels in one.found)
            worst = LEVELS[one.rank[0]]
            tried.append({"tried": one.words, "verdict": worst, "cells": cells})
            print(f"tried {one.words}: {cells} cells, {worst}")
            first = min(first, one, key=lambda result: result.rank)
        if first.rank[0] == 0 or time.monotonic() > until:
            break
    return first, tried


def tries(choice, first, volumes, images, seen, diameter):
    """Yields a `Result` for each remedy: the brightness alone; another start; a flattened background; three
    classes. ``None`` before each training, so that it need not begin.

    ``images`` as prepared, ``seen`` what `quickstart.prepared` returned, ``diameter`` in µm.
    """
    hills = quickstart.to_separate(volumes, images, seen, diameter)

    def judged(words, method, history, probabilities, found):
        verdicts = results.judged(volumes, seen, probabilities, found, diameter, history)
        return Result(words, method, history, probabilities, found, verdicts)

    found = [
        find_cells(hill, None, volume.voxel_size, diameter or None, min_size=choice["min_size"]) * one.valid
        for hill, volume, one in zip(hills, volumes, seen)
    ]
    nothing = [None] * len(volumes)
    yield judged("brightness alone", first.method, [], nothing, found)._replace(
        history=first.history, probabilities=first.probabilities
    )
    flat = [
        flattened(image, one, volume.voxel_size, diameter)
        for image, one, volume in zip(images, seen, volumes)
    ]
    for words, shown, changed in (
        ("another random start", images, {"seed": choice["seed"] + ANOTHER}),
        ("a flattened background", flat, {}),
        ("three classes", images, {"classes": 3}),
    ):
        yield None
        method, history, probabilities = trained(
            choice, first.method, volumes, shown, seen, diameter, changed
        )
        labels = [
            method.segment(hill if choice["separate"] == "auto" else image, probability, volume.voxel_size)
            for hill, image, probability, volume in zip(hills, shown, probabilities, volumes)
        ]
        yield judged(words, method, history, probabilities, labels)


def trained(choice, method, volumes, images, seen, diameter, changed):
    """Sections 5 and 6 once more, with some options ``changed``: the method, its history, probabilities."""
    from cellseg_nb.learning import guided, monitor

    working = quickstart.resampled(volumes, images, choice, diameter)
    method = type(method)(**method.options | changed, device=choice["device"])
    guides = [guided.guide(one, image.shape) for one, image in zip(seen, working)]
    endings = [] if choice["epochs"] or choice["profile"] == "paper" else [monitor.stop_when_enough]
    history = method.fit(working, callbacks=endings, guides=guides)
    probabilities = [
        quickstart.on_grid(method.predict(image), one.volume.shape) * one.valid
        for image, one in zip(working, seen)
    ]
    return method, history, probabilities


def flattened(image, prepared, voxel_size, diameter):
    """Without its background, (Z, Y, X) float32: a percentile in boxes of three cells, whether or not it
    seemed uneven."""
    widths = background.widths(voxel_size, diameter or None)
    image = np.asarray(image, np.float32)
    return image - background.level(image, prepared.valid, background.step(image.shape, widths))
