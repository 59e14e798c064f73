"""Labels made by WNet3D: what the filters keep, what the scores count, what bad input is told."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from executing import defined

from cellseg_nb import parameters, runs
from cellseg_nb.cells import instances
from cellseg_nb.data import datasets
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import volumes
from cellseg_nb.lessons import labels_from_wnet3d
from cellseg_nb.plots import labels_from_wnet3d as figures

GIVEN = runs.parameters(runs.find("07_labels_from_wnet3d")) | dict(min_size=5, device="cpu")


def choose(out, **given):
    given = {**GIVEN, **given, "out": str(out)}
    return labels_from_wnet3d.resolved(parameters.check(labels_from_wnet3d.PARAMETERS, given))


@pytest.fixture
def truth():
    """Four cubes of 4 voxels a side; the last one in slice 12 and later."""
    labels = np.zeros((16, 20, 20), np.int32)
    for number, corner in enumerate([(1, 1, 1), (1, 10, 10), (6, 3, 3), (12, 12, 12)], 1):
        labels[tuple(slice(c, c + 4) for c in corner)] = number
    return labels


@pytest.fixture
def made(truth):
    """As WNet3D might find them: one missed, a crumb, and two invented in the artefact."""
    labels = np.where(truth == 2, 0, truth)
    labels[1, 18, 18] = 5
    labels[12:15, 1:4, 1:4] = 6
    labels[13:16, 5:9, 16:20] = 7
    return labels


def test_the_notebooks_filter_keeps_what_is_trusted(tmp_path, made):
    def kept(artefact=None, **given):
        choice = choose(tmp_path, **given)
        filters = defined("07_labels_from_wnet3d", "keep_trusted", choice=choice, instances=instances)
        return filters(made, artefact)

    some = kept(12)
    assert some.dtype == np.int32 and np.array_equal(some > 0, np.isin(made, (1, 3)))
    assert kept(min_size=0).max() == 6  # no filter: only numbered anew
    assert kept(min_size=0, max_size=30).max() == 2  # the crumb, and 27 voxels
    assert kept(12, filter_labels=False) is made


def test_scores_before_and_inside_the_artefact(truth, made):
    table = labels_from_wnet3d.scores(
        truth, {"wnet3d": made, "perfect": truth, "nothing": np.zeros_like(truth)}, trusted=12
    )
    found = table.loc["wnet3d"]
    assert found["invented away from the artefact"] == 1 and found["invented inside the artefact"] == 2
    assert found["missed away from the artefact"] == 1 and found["missed inside the artefact"] == 0
    assert found["Dice away from the artefact"] == round(metrics.dice(truth[:12], made[:12]), 3)
    perfect = table.loc["perfect"]
    assert (perfect.filter(like="Dice") == 1).all() and not perfect.filter(like="invented").any()
    assert table.loc["nothing", "missed inside the artefact"] == 1
    whole = labels_from_wnet3d.scores(truth, {"wnet3d": made}).loc["wnet3d"]
    assert whole["invented away from the artefact"] == 3 and whole["invented inside the artefact"] == 0


def test_the_teachers_volumes(tmp_path, capsys):
    """In paper another sample: it has never seen what it labels."""
    images = [np.zeros((2, 2, 2))]
    assert labels_from_wnet3d.for_teacher(choose(tmp_path), images) is images
    assert choose(tmp_path, profile="paper")["teacher_data"] == "delivr_cfos"
    brain = np.arange(16**3, dtype=np.uint16).reshape(16, 16, 16)
    volumes.write(tmp_path / "other" / "images" / "a.tif", brain)
    found = labels_from_wnet3d.for_teacher(choose(tmp_path, teacher_data=str(tmp_path / "other")), images)
    assert len(found) == 1 and (found[0] == brain).all() and "another sample" in capsys.readouterr().out
    with pytest.raises(UserError, match="teacher_data is the dataset itself"):
        labels_from_wnet3d.for_teacher(choose(tmp_path, dataset="x", teacher_data="x"), images)


def test_several_volumes_held_out(truth, made):
    tests = [datasets.Volume(name, truth, truth, None) for name in "ab"]
    found = {"a": {"wnet3d": made}, "b": {"wnet3d": truth}}
    total = labels_from_wnet3d.scores_of_all(tests, found, {"a": 12, "b": 12}).loc["wnet3d"]
    one = labels_from_wnet3d.scores(truth, found["a"], 12).loc["wnet3d"]
    assert total["invented inside the artefact"] == one["invented inside the artefact"] == 2
    assert total["Dice, whole"] == pytest.approx((one["Dice, whole"] + 1) / 2, abs=1e-3)
    curves = labels_from_wnet3d.curves_of_all(tests, found, {})
    assert set(curves.volume) == {"a", "b"} and len(curves) == 18
    assert set(
        labels_from_wnet3d.paired_of_all(tests, {n: {"x": truth, "y": made} for n in "ab"}, {}).volume
    ) == {*"ab"}


def test_f1_curves(truth, made):
    table = labels_from_wnet3d.f1_curves(truth, {"wnet3d": made, "perfect": truth}, trusted=12)
    assert len(table) == 2 * 2 * 9 and (table[table.method == "perfect"].f1 == 1).all()
    assert set(labels_from_wnet3d.f1_curves(truth, {"a": made}).slices) == {"all slices"}


def test_cell_by_cell_is_mcnemars_test(truth, made):
    found = labels_from_wnet3d.cell_by_cell(truth, truth, made)
    assert found == {"both": 3, "only_first": 1, "only_second": 0, "neither": 0, "p": 1}
    many = np.kron(np.arange(1, 13).reshape(12, 1, 1), np.ones((2, 2, 2), int))
    few = np.where(many > 10, 0, many)
    # 1 only the first finds, 10 the second
    found = labels_from_wnet3d.cell_by_cell(many, np.where(many > 11, many, 0), few)
    assert found["p"] == pytest.approx(2 * 12 / 2**11)  # by hand: 2 (C(11,0) + C(11,1)) / 2^11
    assert labels_from_wnet3d.cell_by_cell(many, few, few)["p"] == 1
    table = labels_from_wnet3d.paired(truth, {"a": truth, "b": made, "c": made}, trusted=12)
    assert list(table.both) == [2, 2, 2, 3, 3, 3]
    assert set(table.columns) >= {"first", "second", "slices", "p"}


def test_simulated_volumes_have_an_artefact_that_is_known(tmp_path):
    _, (test,), clean = labels_from_wnet3d.load(choose(tmp_path))
    assert test.name == "simulated 3" and set(clean.values()) == {42} and len(clean) == 3
    bright = test.image[45:] > np.median(test.image[test.labels > 0])
    assert (bright & (test.labels[45:] == 0)).sum() > 2 * (bright & (test.labels[45:] > 0)).sum()
    assert labels_from_wnet3d.load(choose(tmp_path, artefact_from="none"))[2] == {}
    assert labels_from_wnet3d.load(choose(tmp_path, artefact_from="simulated 3:30"))[2] == {"simulated 3": 30}
    learned, tests, _ = labels_from_wnet3d.load(choose(tmp_path, held_out="1, 3"))
    assert [one.name for one in tests] == ["simulated 1", "simulated 3"] and len(learned) == 1
    with pytest.raises(UserError, match="every volume is held out"):
        labels_from_wnet3d.load(choose(tmp_path, held_out="1, 2, 3"))


@pytest.mark.parametrize(
    "given, words",
    [
        (dict(network="wnet3d"), "network must be one of"),
        (dict(network="unet"), "network must be one of"),
        (dict(min_size=-1), "min_size must be at least 0"),
        (dict(max_size=2.5), "max_size must be a whole number"),
        (dict(epochs=-1), "epochs must be"),
        (dict(profile="fast"), "profile must be one of"),
        (dict(voxel_size="1,2"), "voxel_size must be three"),
    ],
)
def test_bad_choices(given, words, tmp_path):
    with pytest.raises(UserError, match=words):
        choose(tmp_path, **given)


def test_figures(truth, made):
    scores = labels_from_wnet3d.scores(truth, {"wnet3d": made}, 12)
    for figure in (
        figures.side_view(truth, {"volume": None, "made": made}, 12, (2, 1, 1)),
        figures.invented(scores),
        figures.losses({"student": [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.4}]}),
        figures.f1_curves(labels_from_wnet3d.f1_curves(truth, {"wnet3d": made}, 12)),
    ):
        assert figure.axes
        plt.close(figure)
