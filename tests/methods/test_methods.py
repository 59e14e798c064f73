"""One interface for every method: names, missing libraries, the Otsu baseline, and a seventh method in one
file."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from cellseg_nb import methods
from cellseg_nb.cells import instances
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics

# A user's own method, as one would write it: the whole file.
SEVENTH = '''
"""Cells are what is brighter than a quantile."""

import json
from pathlib import Path

import numpy as np

from cellseg_nb import instances, metrics


class Quantile:
    name = "quantile"

    def __init__(self, quantile=0.9, threshold=0.5, seed=0, device="auto"):
        self.quantile, self.threshold = quantile, threshold

    def fit(self, images, labels=None, folder=None, callbacks=(), progress=True):
        if labels is not None:
            self.quantile = 1 - float(np.mean([(label > 0).mean() for label in labels]))
        return []

    def predict(self, volume):
        level = np.quantile(volume, self.quantile)
        return (0.5 + 0.5 * np.tanh((volume - level) / (volume.std() + 1e-9))).astype(np.float32)

    def segment(self, volume, probability=None, voxel_size=None):
        probability = self.predict(volume) if probability is None else probability
        return instances.connected(probability, self.threshold, 5)

    def tune(self, images, labels):
        self.threshold, table = metrics.best_threshold(self.predict(images[0]), labels[0])
        return table

    def save(self, folder):
        path = Path(folder) / "quantile.json"
        path.write_text(json.dumps({"quantile": self.quantile, "threshold": self.threshold}))
        return path

    @classmethod
    def load(cls, folder, device="auto"):
        return cls(**json.loads((Path(folder) / "quantile.json").read_text()))
'''


@pytest.fixture(scope="module")
def pair():
    return simulate.volume((24, 40, 40), 12, seed=1)


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(methods, "TARGETS", dict(methods.TARGETS))


def test_six_names():
    assert methods.names() == ["otsu", "wnet3d", "segresnet", "swinunetr", "cellpose", "stardist"]


def test_importing_the_registry_imports_no_heavy_library():
    code = (
        "import sys, cellseg_nb.methods; "
        "print([m for m in ('torch', 'monai', 'cellpose', 'stardist', 'scipy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_unknown_name_and_unknown_option():
    with pytest.raises(UserError, match="no method 'otus'.*otsu, wnet3d, segresnet"):
        methods.get("otus")
    with pytest.raises(UserError, match="'otsu' has no option 'blur': its options are spot_sigma"):
        methods.get("otsu", blur=3)


def test_a_missing_library_says_how_to_install_it():
    with pytest.raises(UserError, match=r"no_such_library is not installed.*cellseg-nb\[rivals\]"):
        methods.import_library("no_such_library")
    assert methods.import_library("json").loads("1") == 1


def test_a_seventh_method_is_one_short_file(registry, pair, tmp_path, monkeypatch):
    assert len(SEVENTH.strip().splitlines()) < 100
    (tmp_path / "quantile_method.py").write_text(textwrap.dedent(SEVENTH))
    monkeypatch.syspath_prepend(str(tmp_path))
    methods.register("quantile", "quantile_method:Quantile")
    image, labels = pair
    scores = {}
    for name in ("otsu", "quantile"):  # a comparison is a loop
        method = methods.get(name)
        method.fit([image], [labels])
        method.tune([image], [labels])
        method.save(tmp_path)
        again = methods.method_class(name).load(tmp_path)
        found = again.segment(image)
        assert found.dtype == np.int32 and np.array_equal(found, method.segment(image))
        probability = method.predict(image)
        assert probability.shape == image.shape and 0 <= probability.min() <= probability.max() <= 1
        scores[name] = metrics.dice(labels, found)
    assert min(scores.values()) > 0.7


def test_what_is_no_method_is_refused(registry):
    methods.register("half", type("Half", (), {"fit": lambda self: None}))
    with pytest.raises(UserError, match="has no predict, segment"):
        methods.get("half")
    methods.register("lost", "no_such_file:Lost")
    with pytest.raises(UserError, match="'lost' could not be loaded from no_such_file:Lost"):
        methods.get("lost")
    methods.register("lost", "json:Lost")
    with pytest.raises(UserError, match="could not be loaded"):
        methods.get("lost")


# ---------------------------------------------------------------- Otsu


def test_otsu_without_tuning_is_plain_voronoi_otsu(pair):
    image, _ = pair
    method = methods.get("otsu")
    assert method.fit([image]) == []
    assert np.array_equal(method.segment(image), instances.filter_size(instances.voronoi_otsu(image), 5))
    assert ((method.predict(image) > 0.5) == (method.segment(image) > 0)).mean() > 0.99


def test_otsu_tuned_is_at_least_as_good_on_what_it_was_tuned_on(pair):
    image, labels = pair

    def f1(method):
        return metrics.match(labels, method.segment(image), (0.5,)).f1[0]

    plain, tuned = methods.get("otsu", spot_sigma=3.0), methods.get("otsu")
    table = tuned.tune([image], [labels])
    assert f1(tuned) >= f1(plain) and f1(tuned) == table.f1.max()


def test_otsu_on_one_value_finds_nothing():
    empty = np.full((16, 16, 16), 7, np.uint16)
    method = methods.get("otsu")
    assert method.segment(empty).max() == 0 and method.predict(empty).max() == 0


def test_otsu_bad_files_and_labels(pair, tmp_path):
    image, labels = pair
    with pytest.raises(UserError, match="missing, damaged"):
        methods.method_class("otsu").load(tmp_path)
    (tmp_path / "otsu.json").write_text("{")
    with pytest.raises(UserError, match="missing, damaged"):
        methods.method_class("otsu").load(tmp_path)
    with pytest.raises(UserError, match="only background"):
        methods.get("otsu").tune([image], [np.zeros_like(labels)])
