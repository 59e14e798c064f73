"""The label-efficiency grid: who learns from what, what is never touched, what is kept, and what bad input is
told."""

import json

import numpy as np
import pytest
from executing import defined

from cellseg_nb import methods, parameters, runs
from cellseg_nb.data import published, simulate, splitting
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import volumes
from cellseg_nb.learning import augmentation
from cellseg_nb.lessons import label_efficiency
from cellseg_nb.methods import otsu, settings
from cellseg_nb.methods.wnet3d import WNet3DMethod
from cellseg_nb.plots import efficiency

SMALL = dict(methods="otsu", held_out="v1,v2", percentages="10,60", cube=16, processes=1)
GIVEN = runs.parameters(runs.find("06_label_efficiency")) | SMALL


class Spy(otsu.OtsuMethod):
    """Otsu that notes what it is given."""

    seen, self_tuning, needs_labels = [], False, True

    def fit(self, images, labels=None, *, folder=None, callbacks=(), progress=True):
        self.seen.append(("fit", [np.array(i) for i in images], labels))
        return []

    def tune(self, images, labels, *, voxel_size=None, progress=True):
        self.seen.append(("tune", [np.array(i) for i in images], labels))

    def segment(self, volume, probability=None, voxel_size=None):
        self.seen.append(("segment", np.array(volume), None))
        return super().segment(volume)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three small volumes with labels, in two folders."""
    place = tmp_path_factory.mktemp("mine")
    for number in (1, 2, 3):
        image, labels = simulate.volume((24, 32, 40), 20, seed=number, artefact=number == 1)
        volumes.write(place / "images" / f"v{number}.tif", image, (1, 1, 1))
        volumes.write(place / "labels" / f"v{number}.tif", labels, (1, 1, 1))
    return place


@pytest.fixture
def spy(monkeypatch):
    monkeypatch.setattr(methods, "TARGETS", {**methods.TARGETS, "spy": Spy})
    Spy.seen.clear()
    return Spy.seen


def chosen(out, **given):
    given = {**GIVEN, "out": str(out), **given}
    return label_efficiency.resolved(parameters.check(label_efficiency.PARAMETERS, given))


def prepared(folder, out, **given):
    """The choices, and what `label_efficiency.run` needs besides: volumes, plan, artefacts."""
    choice = chosen(out, dataset=str(folder), **given)
    every, clean = label_efficiency.load(choice)
    return choice, (every, label_efficiency.plan(choice, every), clean)


def named(data):
    return {volume.name: volume for volume in data[0]}


def cubes(data, job):
    return label_efficiency.training_cubes(*data[:2], job)


def test_percentages_are_nested_and_the_held_out_volume_gives_no_cube(folder, tmp_path):
    choice, data = prepared(folder, tmp_path, percentages="10,20,60,80", seeds="0,1,2")
    used = {}
    for job in label_efficiency.jobs(choice, data[1]):
        images, labels, rows = cubes(data, job)
        assert len(images) == len(labels) == len(rows) > 0 and job["volume"] not in set(rows.volume)
        for image, label, row in zip(images, labels, rows.to_dict("records")):
            assert image.shape == label.shape == (16, 16, 16)
            assert np.array_equal(image, splitting.cut(named(data)[row["volume"]].image, row))
        used.setdefault((job["fold"], job["seed"]), []).append(set(zip(rows.volume, rows.cube)))
    for some in used.values():
        assert all(few < more for few, more in zip(some, some[1:]))
    assert used[1, 0] != used[1, 1]  # another seed, other cubes


def test_the_plan_is_that_of_splits(folder, tmp_path):
    choice, data = prepared(folder, tmp_path, seeds="3")
    every = splitting.cube_table({name: volume.image.shape for name, volume in named(data).items()}, 16)
    plan = splitting.splits(every, [10, 60], 3, ["v1", "v2"])
    for job in label_efficiency.jobs(choice, data[1]):
        rows = plan[(plan.fold == job["fold"]) & (plan.percentage == job["training_percent"])]
        rows = rows[rows.role == "training"]
        used = cubes(data, job)[2]
        assert set(zip(rows.volume, rows.cube)) == set(zip(used.volume, used.cube))


def test_the_notebook_draws_cubes_as_the_package_does():
    draw = defined("06_label_efficiency", "draw", np=np)
    for count in (1, 2, 7, 64):
        for percentage in (1, 10, 60, 100):
            for seed in ([0, 1], [3, 2]):
                assert np.array_equal(draw(count, percentage, seed), splitting.draw(count, percentage, seed))


def test_another_way_to_draw_cubes_is_learned_from(folder, tmp_path, spy):
    choice, data = prepared(folder, tmp_path, methods="spy", held_out="v1", percentages="50")
    label_efficiency.run(choice, *data)
    spy.clear()
    plan = label_efficiency.plan(choice, data[0], lambda count, percentage, seed: np.array([count - 1]))
    label_efficiency.run(choice, data[0], plan)
    assert [len(images) for kind, images, _ in spy if kind == "fit"] == [1]
    assert np.array_equal(spy[0][1][0], named(data)["v3"].image[-16:, -16:, -16:])


def test_only_training_cubes_are_learned_from_and_tuned_on(folder, tmp_path, spy):
    choice, data = prepared(folder, tmp_path, methods="spy")
    before = {name: volume.image.copy() for name, volume in named(data).items()}
    table = label_efficiency.run(choice, *data)
    assert [kind for kind, *_ in spy] == ["fit", "tune", "segment"] * 4
    for number, job in enumerate(label_efficiency.jobs(choice, data[1])):
        fit, tune, segment = spy[3 * number : 3 * number + 3]
        images, labels, _ = cubes(data, job)
        for _, seen, seen_labels in (fit, tune):
            assert all(np.array_equal(a, b) for a, b in zip(seen, images, strict=True))
            assert all(np.array_equal(a, b) for a, b in zip(seen_labels, labels, strict=True))
        assert np.array_equal(segment[1], before[job["volume"]])  # whole, and the same for every percentage
    assert all(np.array_equal(named(data)[name].image, image) for name, image in before.items())
    assert table.groupby("volume").n_true.nunique().eq(1).all()


def test_wnet3d_is_given_no_labels(folder, tmp_path, spy, monkeypatch):
    monkeypatch.setattr(Spy, "tunes_on_labels", False)
    monkeypatch.setattr(Spy, "needs_labels", False)
    choice, data = prepared(folder, tmp_path, methods="spy")
    label_efficiency.run(choice, *data)
    assert [kind for kind, *_ in spy] == ["fit", "segment"] * 4 and all(labels is None for *_, labels in spy)


def test_the_table_says_what_the_files_say(folder, tmp_path):
    choice, data = prepared(folder, tmp_path, artefact_from="v1:18")
    table = label_efficiency.run(choice, *data)
    columns = (
        "method fold volume training_percent seed cubes cells dice dice_without_artefact f1 precision recall "
        "n_true n_pred probability_threshold seconds"
    )
    assert list(table.columns) == columns.split()
    for row in table.to_dict("records"):
        found, size = volumes.read_labels(label_efficiency.labels_file(choice, row))
        truth = named(data)[row["volume"]].labels
        assert size == (1, 1, 1) and row["dice"] == metrics.dice(truth, found)
        assert row["f1"] == metrics.match(truth, found, (0.5,)).f1[0]
        if row["volume"] == "v1":  # cut off before the artefact, then segmented
            model = methods.get("otsu")
            model.fit(*cubes(data, row)[:2])
            assert row["dice_without_artefact"] == metrics.dice(
                truth[:18], model.segment(named(data)["v1"].image[:18])
            )
        else:
            assert row["dice_without_artefact"] == row["dice"]
    assert (table.groupby("training_percent").cells.min().diff().dropna() > 0).all()
    # notebook 08 takes those for one segmentation measured again
    assert not {"threshold", "thresh"} & set(table)


def test_finished_runs_are_kept_and_new_ones_added(folder, tmp_path, spy):
    choice, data = prepared(folder, tmp_path, methods="spy")
    first = label_efficiency.run(choice, *data)
    spy.clear()
    assert label_efficiency.run(choice, *data).equals(first) and not spy
    more, data_too = prepared(folder, tmp_path, methods="spy", seeds="0,1")
    second = label_efficiency.run(more, *data_too)
    assert (
        len(second) == 8 and len(spy) == 12 and second[second.seed == 0].reset_index(drop=True).equals(first)
    )
    spy.clear()
    label_efficiency.run(choice, *data, start_over=True)
    assert len(spy) == 12


def test_another_volume_makes_other_runs(folder, tmp_path, spy):
    choice, data = prepared(folder, tmp_path, methods="spy")
    label_efficiency.run(choice, *data)
    spy.clear()
    named(data)["v3"].image[0, 0, 0] += 1
    label_efficiency.run(choice, *data)
    assert len(spy) == 12


def test_segmentations_for_the_picture(folder, tmp_path):
    choice, data = prepared(folder, tmp_path)
    label_efficiency.run(choice, *data)
    found = label_efficiency.segmentations(choice, ["otsu"], "v1", 0)
    assert list(found) == ["otsu, 10 %", "otsu, 60 %"]
    next((tmp_path / "labels").glob("otsu_v1_60_0*")).unlink()
    with pytest.raises(UserError, match="start_over"):
        label_efficiency.segmentations(choice, ["otsu"], "v1", 0)


def test_whom_labels_are_not_shown_to():
    assert label_efficiency.label_free({"methods": ["otsu", "wnet3d", "segresnet"]}) == ["wnet3d"]


@pytest.mark.slow
def test_one_small_cube_is_enough_for_networks(folder, tmp_path, monkeypatch):
    """10 % of a few cubes is one cube: smaller than what the networks usually learn from."""
    monkeypatch.setitem(
        settings.DEMO_OF,
        "06",
        {
            "wnet3d": dict(channels=(4, 4, 4, 4), cube=24, epochs=1, steps=1),
            "segresnet": dict(cube=24, batch=2, epochs=1, steps=1),
        },
    )
    choice, data = prepared(
        folder, tmp_path, methods="wnet3d,segresnet", percentages="1", held_out="v2", cube=20
    )
    table = label_efficiency.run(choice, *data)
    assert list(table.cubes) == [1, 1] and list(table.method) == ["wnet3d", "segresnet"]


@pytest.mark.slow
def test_a_cube_too_small_for_a_network_is_named(folder, tmp_path, capsys):
    choice, data = prepared(folder, tmp_path, methods="otsu,swinunetr", percentages="60")
    table = label_efficiency.run(choice, *data)
    assert set(table.method) == {"otsu"}
    words = "swinunetr, 1, v1, 60, 0: volume 1 has shape (16, 16, 16), smaller than one training cube"
    assert words in capsys.readouterr().out
    with pytest.raises(UserError, match="no run of the grid gave a result"):
        label_efficiency.run({**choice, "methods": ["swinunetr"]}, *data)


@pytest.mark.parametrize(
    "given, words",
    [
        (dict(methods="otus"), "no method 'otus'"),
        (dict(methods=" , "), "methods is empty"),
        (dict(percentages="10,many"), "percentages must be numbers"),
        (dict(percentages="0"), "percentages must be between"),
        (dict(percentages="110"), "percentages must be between"),
        (dict(seeds="0.5"), "seeds must be a whole number"),
        (dict(seeds="-1"), "seeds must be between"),
        (dict(cube=4), "cube must be 8 voxels"),
        (dict(profile="fast"), "profile must be one of"),
        (dict(processes=-1), "processes must be between"),
    ],
)
def test_bad_choices(given, words, tmp_path):
    with pytest.raises(UserError, match=words):
        chosen(tmp_path, **given)


def test_a_missing_library_is_named_before_anything_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(methods.method_class("stardist"), "library", ("no_such_library",))
    assert chosen(tmp_path, methods="otsu,stardist")["methods"] == ["otsu"]
    assert "stardist is left out" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"stardist is left out.*cellseg-nb\[rivals\]"):
        chosen(tmp_path, methods="stardist")


def test_bad_folds_and_artefacts(folder, tmp_path):
    with pytest.raises(UserError, match="held_out names 'v9'"):
        prepared(folder, tmp_path, held_out="v9")
    for text in ("v9:3", "v1", "v1:0", "v1:24", "v:3"):
        with pytest.raises(UserError, match="artefact_from must name volumes"):
            prepared(folder, tmp_path, artefact_from=text)
    assert prepared(folder, tmp_path, artefact_from="none")[1][2] == {}


def test_volumes_without_labels_are_refused(tmp_path):
    volumes.write(tmp_path / "mine" / "a.tif", np.zeros((16, 16, 16), np.uint16))
    with pytest.raises(UserError, match="a has no labels"):
        prepared(tmp_path / "mine", tmp_path / "out")


def test_published_values_under_our_names():
    table = published.label_efficiency()
    trained = "cellpose cellpose_default segresnet stardist stardist_default swinunetr wnet3d".split()
    counts = table.groupby("method").size().to_dict()
    assert counts == dict.fromkeys(trained, 12) | {"wnet3d_pretrained": 3}
    assert (table[table.method == "wnet3d_pretrained"].training_percent == 0).all()
    high = table[(table.method == "swinunetr") & (table.training_percent == 80)]
    assert high.dice.mean() == pytest.approx(0.829685, abs=1e-6)


class SpyWNet3D(Spy):
    """In WNet3D's place: notes what it is given, in whichever process."""

    name, needs_labels, tunes_on_labels = "wnet3d", False, False
    settings = {**WNet3DMethod.settings, **otsu.OtsuMethod.settings}


def test_in_paper_wnet3d_never_learns_from_a_cube_that_touches_an_artefact(
    folder, tmp_path, spy, monkeypatch
):
    """The bar of the issue. v1 has an artefact from slice 12 on, and is not held out in the first fold."""
    monkeypatch.setattr(methods, "TARGETS", {**methods.TARGETS, "wnet3d": SpyWNet3D})
    given = dict(methods="wnet3d,spy", profile="paper", held_out="v2,v3", percentages="10,60,100")
    choice, data = prepared(folder, tmp_path, artefact_from="v1:17", seeds="0,1", **given)
    marked = named(data)["v1"]
    marked.image[17:] += 1e6
    label_efficiency.run(choice, *data)
    learned = [images for kind, images, labels in spy if kind == "fit" and labels is None]
    others = [images for kind, images, labels in spy if kind == "fit" and labels is not None]
    assert len(learned) == 3 * 2  # the first fold alone, with both seeds
    assert all(cube.max() < 1e6 for images in learned for cube in images)
    assert any(cube.max() >= 1e6 for images in others for cube in images)  # the others get all of them
    assert not [kind for kind, *_ in spy if kind == "tune"]  # nothing is chosen again


def test_in_paper_the_published_runs_and_no_others(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(label_efficiency.common, "available", list)
    choice = chosen(tmp_path, dataset=str(folder), profile="paper", methods="auto", percentages="auto")
    every, _ = label_efficiency.load(choice)
    jobs = label_efficiency.jobs(choice, label_efficiency.plan(choice, every))
    count = {name: sum(job["method"] == name for job in jobs) for name in choice["methods"]}
    assert len(count) == 8 and "otsu" not in count
    # two volumes are held out here, three in the paper
    assert count.pop("wnet3d") == 4 * 3 and count.pop("wnet3d_pretrained") == 2
    assert set(count.values()) == {2 * 4}


def test_cubes_are_scaled_as_their_volume(folder, tmp_path, spy, monkeypatch):
    """In training a cube is scaled as the whole volume is, and so is the volume at prediction."""
    monkeypatch.setattr(Spy, "settings", {**otsu.OtsuMethod.settings, "scaling": "unit"})
    choice, data = prepared(folder, tmp_path, methods="spy", held_out="v1", percentages="60")
    label_efficiency.run(choice, *data)
    job = label_efficiency.jobs(choice, data[1])[0]
    every = [one._replace(image=augmentation.prepare(one.image)) for one in data[0]]
    images, _, _ = label_efficiency.training_cubes(every, data[1], job)
    fit = next(seen for kind, seen, _ in spy if kind == "fit")
    assert all(np.array_equal(a, b) for a, b in zip(fit, images, strict=True))
    segment = next(seen for kind, seen, _ in spy if kind == "segment")
    assert np.array_equal(segment, augmentation.prepare(named(data)["v1"].image))


def test_paper_settings(tmp_path):
    choice = chosen(tmp_path, profile="paper", percentages="auto", cube=0, methods="wnet3d,segresnet")
    assert choice["percentages"] == [10, 20, 60, 80] and choice["cube"] == 64
    network = label_efficiency.method("segresnet", choice, 1)
    assert network.options["share"] == 0 and network.options["seed"] == 1 and network.options["epochs"] == 50
    assert json.dumps(choice)


def test_figures_and_words(folder, tmp_path):
    import matplotlib.pyplot as plt

    choice, data = prepared(folder, tmp_path)
    table = label_efficiency.run(choice, *data)
    for figure in (
        efficiency.boxes(table),
        efficiency.boxes(table, "f1", behind=False),
        efficiency.price(table),
        efficiency.volumes(table),
    ):
        assert figure.axes
        plt.close(figure)
    assert (
        label_efficiency.headline(table).startswith("otsu: Dice 0.")
        and len(label_efficiency.summary(table)) == 2
    )
    assert list(label_efficiency.effort(table).columns) == ["cubes", "cells", "seconds, otsu"]
