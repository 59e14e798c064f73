"""What notebook 00 tries where its result does not hold."""

import numpy as np
import pytest

from cellseg_nb import parameters, runs, simulate, volumes
from cellseg_nb.cells.verdict import Verdict
from cellseg_nb.data.datasets import Volume
from cellseg_nb.lessons import quickstart, quickstart_remedies as remedies
from cellseg_nb.methods.wnet3d import WNet3DMethod


def result(words, *levels):
    labels = np.array([[[0, 1, 2]]])
    return remedies.Result(words, None, [], [], [labels], [Verdict(level, "") for level in levels])


def test_the_verdict_decides_and_ok_ends_it(capsys):
    others = iter(
        [result("a", "failed"), None, result("b", "doubtful"), result("c", "ok"), result("d", "ok")]
    )
    best, tried = remedies.best(result("", "failed"), others, 5)
    assert best.words == "c" and [one["tried"] for one in tried] == ["a", "b", "c"]
    assert tried[0] == {"tried": "a", "verdict": "failed", "cells": 2} and next(others).words == "d"
    assert "tried b: 2 cells, doubtful" in capsys.readouterr().out


@pytest.mark.parametrize("level", ["ok", "doubtful"])
def test_nothing_is_tried_where_the_first_did_not_fail(level):
    best, tried = remedies.best(result("", level), iter([result("a", "ok")]), 5)
    assert best.words == "" and tried == []


def test_no_training_is_begun_when_time_is_over():
    def others():
        yield result("a", "failed")
        yield None
        raise AssertionError("a training")

    best, tried = remedies.best(result("", "failed", "failed"), others(), 0)
    assert best.words == "a" and len(tried) == 1  # one failed volume is better than two


def test_every_remedy_runs():
    given = runs.parameters(runs.find("00_quickstart")) | {"epochs": 1, "separate": "voronoi_otsu"}
    choice = parameters.check(quickstart.PARAMETERS, given)
    image, _ = simulate.volume((24, 32, 32), 8, seed=1)
    some = [Volume("a", volumes.remap(image), None, None)]
    seen = quickstart.prepared(choice, some, 8.0)
    method = WNet3DMethod(channels=(4, 4, 4, 4), cube=16, batch=1, steps=1, epochs=1)
    first = result("", "failed")._replace(method=method, probabilities=[np.zeros(image.shape)])
    found = [one for one in remedies.tries(choice, first, some, [some[0].image], seen, 8.0) if one]
    words = ["brightness alone", "another random start", "a flattened background", "three classes"]
    assert [one.words for one in found] == words
    assert all(one.found[0].shape == image.shape for one in found)
    assert found[1].method.options["seed"] == remedies.ANOTHER and found[3].method.options["classes"] == 3
    assert not np.array_equal(found[1].probabilities[0], found[2].probabilities[0])
