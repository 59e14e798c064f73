"""The comparison: who is given what, what is run again, the tidy table, bad input. With small methods that
need no training; those with networks are in test_rivals.py and test_notebook_05.py."""

import json
import sys

import numpy as np
import pandas
import pytest

from cellseg_nb import methods, parameters, runs
from cellseg_nb.cells import instances
from cellseg_nb.data import datasets, simulate
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics, tables
from cellseg_nb.io import volumes
from cellseg_nb.learning import pairs
from cellseg_nb.lessons import common, comparison
from cellseg_nb.methods import settings as known_settings
from cellseg_nb.methods.otsu import OtsuMethod
from cellseg_nb.plots import comparison as figures, comparison_volumes

COLUMNS = (
    "method fold seed variant matching threshold f1 precision recall panoptic_quality tp fp fn n_true n_pred "
    "dice cells chosen fit_seconds tune_seconds segment_seconds seconds"
).split()


class Spy:
    """Notes what it is given: (what was called, fingerprints of images and labels)."""

    calls, fail = [], False

    def __init__(self, level=0.5, seed=0):
        self.level, self.seed = level, seed

    def note(self, name, images, labels=None):
        prints = [pairs.fingerprint(part) for part in [*images, *(labels or [])]]
        Spy.calls.append((name, prints))

    def fit(self, images, labels=None, folder=None, callbacks=(), progress=True):
        self.note("fit", images, labels)
        if Spy.fail:
            raise UserError("the spy was caught")
        for part in [*images, *labels]:  # whatever a method does to what it is given, others must not see it
            part[...] = 0
        return []

    def predict(self, volume):
        return np.clip(volume / volume.max(), 0, 1).astype(np.float32)

    def segment(self, volume, probability=None):
        self.note("segment", [volume])
        return instances.connected(self.predict(volume), self.level, 5)

    def tune(self, images, labels):
        self.note("tune", images, labels)
        self.level = 0.4
        return pandas.DataFrame()

    def save(self, folder):
        (folder / "spy.json").write_text(json.dumps({"level": self.level}))

    @classmethod
    def load(cls, folder, device="auto"):
        return cls()


@pytest.fixture(scope="module")
def data():
    made = [simulate.volume((16, 24, 24), 6, seed=n) for n in range(3)]
    return [datasets.Volume(name, *pair, (2.0, 1.0, 1.0)) for name, pair in zip("abc", made)]


@pytest.fixture
def spy(monkeypatch):
    monkeypatch.setattr(methods, "TARGETS", dict(methods.TARGETS))
    methods.register("spy", Spy)
    Spy.calls, Spy.fail = [], False
    return Spy


def choice(tmp_path, names="spy", **changes):
    given = dict(methods=names, processes=1, device="cpu", out=str(tmp_path / "out"))
    every = runs.parameters(runs.find("05_cellpose_stardist")) | given | changes
    return comparison.resolved(parameters.check(comparison.PARAMETERS, every))


def prints(data, *names):
    named = {volume.name: volume for volume in data}
    return [pairs.fingerprint(side) for name in names for side in named[name][1:3]]


def test_the_held_out_volume_is_never_given_to_fit_or_tune(spy, data, tmp_path):
    before = prints(data, "a", "b", "c")
    comparison.run(choice(tmp_path), data, ["a", "c"])
    assert [name for name, _ in spy.calls] == ["fit", "segment", "tune", "segment"] * 2
    for calls, held_out, others in ((spy.calls[:4], "a", "bc"), (spy.calls[4:], "c", "ab")):
        image, label = prints(data, held_out)
        given = {name: set(found) for name, found in calls if name != "segment"}
        assert label not in given["fit"] | given["tune"] and image not in given["fit"] | given["tune"]
        assert given["fit"] == set(prints(data, *others))
        assert all(found == [image] for name, found in calls if name == "segment")
    assert prints(data, "a", "b", "c") == before  # the spy has blackened what it was given: only copies


def test_every_method_is_given_the_same_and_the_untaught_no_labels(spy, data, tmp_path):
    class Untaught(Spy):
        needs_labels = False

        def fit(self, images, labels=None, folder=None, callbacks=(), progress=True):
            assert labels is None
            self.note("fit", images)

    methods.register("untaught", Untaught)
    comparison.run(choice(tmp_path, "spy, untaught"), data, ["b"])
    fits = [found for name, found in spy.calls if name == "fit"]
    assert fits[0][:2] == fits[1] == prints(data, "a", "c")[::2]


def test_changing_the_held_out_volume_changes_no_choice(data, tmp_path):
    other = [*data[:2], data[2]._replace(image=data[2].image[::-1], labels=data[0].labels)]
    found = []
    for number, volumes_ in enumerate((data, other)):
        settings = choice(tmp_path / str(number), "otsu")
        table = comparison.run(settings, volumes_, ["c"])
        found.append(
            (
                OtsuMethod.load(tmp_path / str(number) / "out" / "models" / "otsu_c_0"),
                set(table.chosen),
                float(table.dice.iloc[-1]),
            )
        )
    (first, chosen, dice), (second, again, other_dice) = found
    assert vars(first) == vars(second) and chosen == again and dice != other_dice


def test_the_table_is_tidy_and_right(data, tmp_path):
    settings = choice(tmp_path, "otsu", seeds="0, 1")
    table = comparison.run(settings, data, ["a", "c"])
    assert list(table.columns) == COLUMNS
    assert len(table) == 2 * 2 * 2 * 2 * 9  # folds, seeds, variants, matchings, IoU thresholds
    assert not table.duplicated(["method", "fold", "seed", "variant", "matching", "threshold"]).any()
    assert not table.drop(columns="chosen").isna().any().any()
    job = {"method": "otsu", "fold": "c", "seed": 1}
    labels, size = volumes.read_labels(comparison.labels_file(settings["out"], job))
    assert size == (2, 1, 1)
    truth = data[2].labels
    for matching in ("3d", "slicewise"):
        row = table[
            (table.fold == "c")
            & (table.seed == 1)
            & (table.variant == "tuned")
            & (table.matching == matching)
            & (table.threshold == 0.5)
        ].iloc[0]
        expected = metrics.match(truth, labels, (0.5,), slicewise=matching == "slicewise").iloc[0]
        for name in ("f1", "precision", "recall", "panoptic_quality", "tp", "fp", "fn", "n_true", "n_pred"):
            assert row[name] == pytest.approx(expected[name])
        assert row.dice == pytest.approx(metrics.dice(truth, labels)) and row.cells == labels.max()
    assert "spot_sigma" in table[table.variant == "tuned"].chosen.iloc[0]
    assert (table[table.variant == "default"].chosen == "").all()


def test_notebook_08_reads_the_table(data, tmp_path):
    from cellseg_nb.evaluation import statistics

    settings = choice(tmp_path, "otsu")
    table = comparison.run(settings, data, ["a", "b", "c"])
    common.save(settings["out"], settings, {"comparison": table}, headline=comparison.headline(table))
    own = tables.read(tmp_path / "out" / "comparison.csv")
    assert tables.pick(own, "auto", ("dice", "f1"), "value") == "dice"
    assert tables.pick(own, "auto", ("method", "model"), "group") == "method"
    kept = tables.select(own, "threshold=0.5, matching=3d")
    assert len(kept) == 6 and set(kept.variant) == {"default", "tuned"}
    assert statistics.compare(kept, "dice", "variant", resamples=50) is not None
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["headline"].startswith("best F1@0.5: otsu")


def test_a_finished_run_is_not_run_again(spy, data, tmp_path, monkeypatch):
    settings = choice(tmp_path)
    first = comparison.run(settings, data, ["a"])
    count = len(spy.calls)
    pandas.testing.assert_frame_equal(comparison.run(settings, data, ["a"]), first)
    assert len(spy.calls) == count
    second = comparison.run(choice(tmp_path, "spy, otsu", seeds="0,1"), data, ["a", "b"])
    assert [name for name, _ in spy.calls].count("fit") == 4 and set(second.method) == {"spy", "otsu"}
    assert list(second.method.unique()) == ["spy", "otsu"]
    comparison.run(settings, data, ["a"], {"spy": {"level": 0.6}})  # other settings, or other data: a new run
    comparison.run(settings, [volume._replace(image=volume.image + 1) for volume in data], ["a"])
    assert [name for name, _ in spy.calls].count("fit") == 6
    monkeypatch.setitem(
        known_settings.DEMO_OF["05"], "spy", {"level": 0.4}
    )  # so has a profile that has changed
    comparison.run(settings, data, ["a"])
    assert [name for name, _ in spy.calls].count("fit") == 7
    assert not list((tmp_path / "out" / "training").iterdir())


def test_a_failure_leaves_the_other_methods(spy, data, tmp_path, capsys):
    Spy.fail = True
    table = comparison.run(choice(tmp_path, "spy, otsu"), data, ["a"])
    assert set(table.method) == {"otsu"} and "spy, a, 0: the spy was caught" in capsys.readouterr().out
    with pytest.raises(UserError, match="no method came to a result"):
        comparison.run(choice(tmp_path), data, ["a"])
    Spy.fail = False
    assert set(comparison.run(choice(tmp_path, "spy, otsu"), data, ["a"]).method) == {"spy", "otsu"}


def test_nothing_found_is_a_result(spy, data, tmp_path):
    table = comparison.run(
        choice(tmp_path),
        [volume._replace(labels=volume.labels * 0 + (volume.name != "b")) for volume in data],
        ["b"],
    )
    assert (table.n_true[table.matching == "3d"] == 0).all() and (table.f1 == 0).all()
    for figure in (figures.against_iou, figures.dice, figures.times):
        assert figure(table).axes


def test_missing_libraries_are_named_and_the_others_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(methods.method_class("cellpose"), "library", ("no_such_library",))
    assert choice(tmp_path, "otsu, cellpose")["methods"] == ["otsu"]
    said = capsys.readouterr().out.strip()
    assert (
        "\n" not in said
        and said.startswith("cellpose is left out")
        and 'pip install "cellseg-nb[rivals]"' in said
    )
    with pytest.raises(UserError, match="no_such_library is not installed"):
        choice(tmp_path, "cellpose")


def test_importing_the_comparison_imports_no_rival():
    import subprocess

    code = (
        "import sys, cellseg_nb.lessons.comparison; "
        "print([m for m in ('tensorflow', 'cellpose', 'stardist') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(methods="otus"), "there is no method 'otus': choose one of otsu"),
        (dict(methods=" , "), "methods is empty"),
        (dict(seeds="one"), "seeds must be numbers with commas"),
        (dict(seeds="-1"), "seeds must be between"),
        (dict(profile="quick"), "profile must be one of"),
        (dict(processes=-1), "processes must be between"),
        (dict(voxel_size="5,1"), "voxel_size must be three"),
        (dict(epochs=1.5), "epochs must be a whole number"),
        (dict(device="gpu9"), "device 'gpu9' is not available"),
    ],
)
def test_bad_parameters(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        choice(tmp_path, **{"names": "otsu", **changes})


def test_settings_of_a_profile_and_ones_own(tmp_path):
    demo, paper = choice(tmp_path, "otsu", epochs=3), choice(tmp_path, "otsu", profile="paper")
    assert comparison.method(demo, "segresnet").options["epochs"] == 3
    assert comparison.method(demo, "segresnet", options={"epochs": 4}).options["epochs"] == 4
    assert comparison.method(paper, "wnet3d").options["learning_rate"] == 2e-5
    with pytest.raises(UserError, match="has no option 'epoch'"):
        comparison.method(demo, "segresnet", options={"epoch": 4})


def test_folds():
    names = ["c1", "c3", "c5", "visual"]
    assert comparison.folds(names) == ["visual"]
    assert comparison.folds(names, "auto", "paper") == ["visual", "c3", "c5"]
    assert comparison.folds(names, "all") == names and comparison.folds(names, "c1, vis") == ["c1", "visual"]
    assert comparison.folds(["x", "y"], "auto", "paper") == ["x", "y"]
    with pytest.raises(UserError, match="held_out names 'c9', which is no volume"):
        comparison.folds(names, "c9")
    with pytest.raises(UserError, match="two volumes or more"):
        comparison.folds(["c1"], "all")


def test_one_volume_of_your_own_is_divided_and_bad_pairs_are_told(tmp_path, data, capsys):
    folder = tmp_path / "mine"
    volumes.write(folder / "a_image.tif", data[0].image, (2, 1, 1))
    volumes.write(folder / "a_labels.tif", data[0].labels)
    settings = choice(tmp_path, "otsu", dataset=str(folder))
    found, held_out = comparison.load(settings)
    assert [volume.name for volume in found] == ["a, first two thirds", "a, last third"]
    assert held_out == ["a, last third"]
    assert found[0].voxel_size == (2, 1, 1) and found[1].image.shape == (16, 8, 24)
    assert "held out once" in capsys.readouterr().out
    table = comparison.run(settings, found, held_out)
    assert comparison.found(settings, "a, last third")["otsu"].shape == (16, 8, 24) and len(table) == 36
    volumes.write(folder / "a_labels.tif", data[0].labels * 0)
    with pytest.raises(UserError, match="only background"):
        comparison.load(settings)


def test_published_values_stand_beside_the_papers_data_only(tmp_path, data):
    paper = [volume._replace(name=name) for volume, name in zip(data, ("c1", "c3", "c5"))]
    table = comparison.run(choice(tmp_path, "otsu"), paper, ["c5"])
    theirs = comparison.published({"dataset": "cellseg3d"}, table)
    assert len(theirs) == 24 and theirs.dice.notna().sum() == 1
    row = theirs[theirs.dice.notna()].iloc[0]
    assert row.fold == "c5" and row.published == pytest.approx(0.665591153771321)
    assert row.dice == pytest.approx(table[table.variant == "default"].dice.iloc[0])
    assert comparison.published({"dataset": "simulated"}, table).dice.isna().all()
    assert "published" in [text.get_text() for text in figures.dice(table, theirs).legends[0].get_texts()]


def test_figures(spy, data, tmp_path):
    table = comparison.run(choice(tmp_path, "otsu, spy", seeds="0,1"), data, ["a", "b"])
    titles = [ax.get_title() for ax in figures.against_iou(table).axes]
    assert titles == list(figures.WORDS.values())
    for draw in (figures.default_against_tuned, figures.matchings):
        assert [ax.get_title() for ax in draw(table).axes if ax.axison] == ["otsu", "spy"]
    assert len(figures.dice(table).axes) == 2
    assert figures.counts(table).axes and figures.times(table).axes
    found = comparison.found({"methods": ["otsu", "spy"], "seeds": [0], "out": tmp_path / "out"}, "b")
    figure = comparison_volumes.slices(data[1].image, data[1].labels, found, voxel_size=(2, 1, 1))
    assert figure.axes[0].get_title().startswith("otsu:") and figure.axes[0].get_ylabel() == "y (µm)"


def test_pooled_as_published_and_what_was_tried(tmp_path):
    rows = [
        dict(
            method=m,
            fold=f,
            seed=s,
            variant="tuned",
            matching="slicewise",
            threshold=t,
            f1=0.1 * i + t / 2 + s / 99,
        )
        for i, m in enumerate(("otsu", "wnet3d"))
        for f in ("c3", "c5")
        for s in (0, 1)
        for t in (0.1, 0.5, 0.9)
    ]
    found = comparison.pooled(pandas.DataFrame(rows))
    assert found.kruskal.n == {"otsu": 6, "wnet3d": 6}  # seeds are averaged, thresholds and folds pooled
    assert comparison.tuning({"out": str(tmp_path), "seeds": [0]}, "cellpose", ["c3"]) is None
    assert comparison.usual("paper") == [*comparison.usual("demo"), "stardist_default"]
