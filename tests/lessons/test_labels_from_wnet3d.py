"""Labels made by WNet3D: what the filters keep, what the scores count, what bad input is told."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from cellseg_nb.data import pairing
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import volumes
from cellseg_nb.lessons import labels_from_wnet3d
from cellseg_nb.plots import labels_from_wnet3d as figures

GIVEN = dict(
    dataset="auto",
    held_out="auto",
    voxel_size="auto",
    artefact_from="auto",
    network="auto",
    filter_labels=True,
    min_size=5,
    max_size=0,
    epochs=0,
    profile="demo",
    seed=0,
    device="cpu",
)


def choose(out, **given):
    return labels_from_wnet3d.check(**{**GIVEN, **given}, out=str(out))


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


def test_filters_keep_what_is_trusted(made):
    kept = labels_from_wnet3d.clean_labels(made, trusted=12, min_size=5)
    assert kept.dtype == np.int32 and set(np.unique(kept)) == {0, 1, 2}
    assert np.array_equal(kept > 0, np.isin(made, (1, 3)))
    assert labels_from_wnet3d.clean_labels(made).max() == 6  # no filter: only numbered anew
    assert labels_from_wnet3d.clean_labels(made, max_size=30).max() == 2  # the crumb, and 27 voxels
    assert not labels_from_wnet3d.clean_labels(made, trusted=0).any()


def test_lessons_counts_each_filter(tmp_path, truth, made):
    from cellseg_nb.lessons import common

    data = common.Data(["a"], [truth], [truth], common.Test("b", truth, truth), None)
    kept, counts = labels_from_wnet3d.lessons(choose(tmp_path), data, [made], {"a": 12})
    assert list(counts.loc["a"]) == [6, 3, 2, 4] and kept[0].max() == 2
    kept, _ = labels_from_wnet3d.lessons(choose(tmp_path, filter_labels=False), data, [made], {"a": 12})
    assert kept[0] is made


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
    data, clean = labels_from_wnet3d.load(choose(tmp_path))
    assert data.test.name == "simulated_3" and set(clean.values()) == {42} and len(clean) == 3
    part = data.test.image[45:]
    bright = part > np.median(data.test.image[data.test.labels > 0])
    assert (bright & (data.test.labels[45:] == 0)).sum() > 2 * (bright & (data.test.labels[45:] > 0)).sum()
    assert labels_from_wnet3d.load(choose(tmp_path, artefact_from="none"))[1] == {}
    assert labels_from_wnet3d.load(choose(tmp_path, artefact_from="simulated_3:30"))[1] == {"simulated_3": 30}


@pytest.mark.parametrize(
    "given, words",
    [
        (dict(network="wnet3d"), "network must be a method that learns from labels"),
        (dict(network="unet"), "no method 'unet'"),
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


def test_settings_of_the_profiles(tmp_path):
    demo = labels_from_wnet3d.student(choose(tmp_path))
    assert demo.name == "segresnet" and demo.training["share"] == 0 and demo.threshold == 0.5
    paper = labels_from_wnet3d.student(
        choose(tmp_path, profile="paper", dataset="simulated", network="segresnet")
    )
    assert (
        paper.training["cube"] == [64] * 3 and paper.training["share"] == 0 and paper.training["epochs"] == 50
    )
    short = choose(tmp_path, epochs=3)
    assert (
        labels_from_wnet3d.student(short).training["epochs"]
        == labels_from_wnet3d.teacher(short).training["epochs"]
        == 3
    )


def test_save_leaves_a_data_set_for_notebook_03(tmp_path):
    import pandas

    choice = choose(tmp_path)
    data, clean = labels_from_wnet3d.load(choice)
    lesson = [labels_from_wnet3d.clean_labels(labels, 42) for labels in data.labels]
    scores = labels_from_wnet3d.scores(data.test.labels, {"wnet3d": data.test.labels}, 42)
    out = labels_from_wnet3d.save(
        choice,
        data,
        labels_from_wnet3d.student(choice),
        lesson,
        {"wnet3d": data.test.labels},
        {"scores": scores, "other": pandas.DataFrame({"a": [1]})},
        {},
        0,
    )
    pairs = pairing.pairs(out / "for_training")
    assert [pair.name for pair in pairs] == data.names
    assert np.array_equal(volumes.read_labels(pairs[0].labels)[0], lesson[0])
    assert (out / "segresnet.pt").is_file() and pandas.read_csv(out / "scores.csv").method.tolist() == [
        "wnet3d"
    ]


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
