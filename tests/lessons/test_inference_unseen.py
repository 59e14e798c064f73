"""Which data sets count as unseen, and how they are scored."""

import numpy as np
import pytest

from cellseg_nb import parameters, runs
from cellseg_nb.cells import instances
from cellseg_nb.data import datasets, simulate
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import centres
from cellseg_nb.io import volumes
from cellseg_nb.lessons import inference, inference_unseen
from cellseg_nb.plots import inference as figures

DEFAULTS = runs.parameters(runs.find("04_inference"))


def choose(**given):
    return inference.resolved(parameters.check(inference.PARAMETERS, {**DEFAULTS, **given}))


@pytest.mark.parametrize("word", ["cellseg3d", "simulated", "platynereis_ish, cellseg3d"])
def test_what_the_weights_have_learned_from_is_refused_by_name(word, tmp_path):
    with pytest.raises(UserError, match="is not unseen"):
        inference_unseen.others(choose(other=word, cache=str(tmp_path)))


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no data set 'fly_brain'"):
        inference_unseen.others(choose(other="fly_brain", cache=str(tmp_path)))


@pytest.mark.parametrize("name", ["other", "folder"])
def test_what_is_not_there_is_said_before_a_training(name, tmp_path):
    with pytest.raises(UserError, match="no such file or folder|does not exist"):
        choose(**{name: str(tmp_path / "nothing")})


def write(folder, size):
    image, labels = simulate.volume((24, 24, 24), 8, seed=1)
    volumes.write(folder / "images" / "a.tif", image, size)
    volumes.write(folder / "labels" / "a.tif", labels, size)


def test_data_sets_and_your_own(tmp_path):
    for name in (*inference_unseen.UNSEEN, "mine"):
        write(tmp_path / name, (2, 1, 1))
    every = inference_unseen.others(choose(profile="paper", cache=str(tmp_path)))
    assert [one.name.split(":")[0] for one in every] == list(inference_unseen.UNSEEN)
    sides = {one.name.split(":")[0]: one.image.shape[0] for one in every}
    assert sides["platynereis_nuclei"] == sides["mouse_skull_nuclei"] == 12  # scaled down by two
    assert sides["delivr_cfos"] == 24
    mine = inference_unseen.others(choose(other=f"{tmp_path}/mine, {tmp_path}/mine/images/a.tif"))
    assert [one.labels is None for one in mine] == [False, True]


def test_scores(tmp_path):
    image, labels = simulate.volume((24, 32, 32), 10, seed=1)
    one = datasets.Volume("set: a", image, labels, (1, 1, 1))
    bare = datasets.Volume("b", image, None, None)
    row = inference_unseen.by_centres(one, labels)
    assert row["F1 of centres"] == 1 and row["true cells"] == row["found"] == instances.count(labels)
    curves = inference_unseen.f1_curves([one, bare], [labels, labels])
    assert len(curves) == 9 and (curves.f1 == 1).all() and set(curves.volume) == {"set: a"}
    assert figures.f1_curves(curves).axes


def test_the_skull_has_steps_of_its_own_in_paper():
    prediction = np.random.default_rng(0).random((16, 16, 16), np.float32)
    skull = datasets.Volume("mouse_skull_nuclei: a", prediction, None, None)
    asked, paper = [], choose(profile="paper")
    separate = lambda *given: asked.append(given)  # noqa: E731
    assert inference_unseen.cells_of(skull, prediction, separate, paper).dtype == np.int32 and not asked
    inference_unseen.cells_of(skull, prediction, separate, choose())
    inference_unseen.cells_of(skull._replace(name="delivr_cfos: a"), prediction, separate, paper)
    assert [given[0] for given in asked] == ["voronoi_otsu", "published"]


def test_which_chain_and_threshold():
    assert inference.postprocess(choose(), "wnet3d") == "released"
    assert inference.postprocess(choose(postprocess="probability"), "wnet3d") == "probability"
    assert inference.postprocess(choose(), "results/02_wnet3d_training") == "probability"

    class Found:
        source, threshold, postprocess = "wnet3d", 0.6, "released"

    assert inference.threshold(choose(), Found) == 0.6
    Found.postprocess = "probability"  # 0.6 is no probability
    assert inference.threshold(choose(), Found) == 0.5
    assert inference.threshold(choose(threshold=0.3), Found) == 0.3
    Found.source = "mine.pt"
    assert inference.threshold(choose(), Found) == 0.6
    assert choose()["method"] == "voronoi_otsu" and choose(profile="paper")["method"] == "published"


def test_halved_truth_stays_where_the_cells_are():
    image, labels = simulate.volume((33, 48, 48), 12, seed=1, radius=(4.0, 5.0))
    half = inference_unseen.halved(datasets.Volume("a", image, labels, (2, 1, 1)))
    assert half.image.shape == half.labels.shape == (16, 24, 24) and half.voxel_size == (4, 2, 2)
    assert half.labels.dtype == labels.dtype and (np.unique(half.labels) == np.unique(labels[:32])).all()
    size = np.array((2, 1, 1))  # centres are counted from that of the first voxel
    shift = centres.of(half.labels, 2 * size) + size - centres.of(labels[:32], size) - size / 2
    assert (abs(shift.mean(0)) < 0.15 * size).all()  # nearest neighbours: 0.5
