"""One interface for every method: names, missing libraries, the Otsu baseline, and a seventh method in one
file."""

import inspect
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from cellseg_nb import methods
from cellseg_nb.cells import inference, instances
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.methods.base import Method
from cellseg_nb.networks.wnet3d import WNet3D

# A user's own method, as one would write it: the whole file.
SEVENTH = '''
"""Cells are what is brighter than a quantile."""

import numpy as np

from cellseg_nb import instances, metrics
from cellseg_nb.methods.base import Method


class Quantile(Method):
    name = "quantile"
    needs_labels = False
    settings = {"quantile": 0.9, "threshold": 0.5, "seed": 0, "device": "auto"}
    tunable = ("quantile", "threshold")

    def fit(self, images, labels=None, *, folder=None, callbacks=(), progress=True):
        if labels is not None:
            self.set(quantile=1 - float(np.mean([(label > 0).mean() for label in labels])))
        return []

    def predict(self, volume, *, progress=True):
        level = np.quantile(volume, self.quantile)
        return (0.5 + 0.5 * np.tanh((volume - level) / (volume.std() + 1e-9))).astype(np.float32)

    def segment(self, volume, probability=None, voxel_size=None):
        probability = self.predict(volume) if probability is None else probability
        return instances.connected(probability, self.threshold, 5)

    def tune(self, images, labels, *, voxel_size=None, progress=True):
        best, table = metrics.best_threshold(self.predict(images[0]), labels[0])
        self.set(threshold=best)
        return table
'''
# One that knows nothing of `Method`: six functions, with fewer keywords.
STRANGER = '''
"""Cells are what is brighter than a quantile."""

import json
from pathlib import Path

import numpy as np

from cellseg_nb import instances, metrics


class Stranger:
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


def test_names():
    assert methods.usual() == ["otsu", "wnet3d", "segresnet", "swinunetr", "cellpose", "stardist"]
    assert list(methods.TARGETS) == [*methods.usual(), *methods.AGAIN, *methods.MORE]


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


@pytest.mark.parametrize("code, target", [(SEVENTH, "Quantile"), (STRANGER, "Stranger")])
def test_a_seventh_method_is_one_short_file(code, target, registry, pair, tmp_path, monkeypatch):
    assert len(code.strip().splitlines()) < 45
    (tmp_path / f"own_{target}.py").write_text(textwrap.dedent(code))
    monkeypatch.syspath_prepend(str(tmp_path))
    methods.register("quantile", f"own_{target}:{target}")
    image, labels = pair
    scores = {}
    for name in ("otsu", "quantile"):  # a comparison is a loop
        method = methods.get(name, **methods.known_options(name, seed=1, voxel_size=(1, 1, 1)))
        assert method.name == name and isinstance(method, Method) and method.library == ()
        method.fit([image], [labels], folder=None, progress=False)
        method.tune([image], [labels], voxel_size=None, progress=False)
        method.save(tmp_path)
        again = methods.method_class(name).load(tmp_path)
        found = again.segment(image, again.maps(image, progress=False), voxel_size=None)
        assert found.dtype == np.int32 and np.array_equal(found, method.segment(image))
        probability = method.predict(image, progress=False)
        assert probability.shape == image.shape and 0 <= probability.min() <= probability.max() <= 1
        scores[name] = metrics.dice(labels, found)
    assert min(scores.values()) > 0.7
    with pytest.raises(
        UserError, match="'quantile' has no option 'blur': its options are quantile, threshold"
    ):
        methods.get("quantile", blur=3)


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


# ---------------------------------------------------------------- the contract

EVERY = pytest.mark.parametrize("name", list(methods.TARGETS))
SMALL = {  # networks that are made in no time
    "wnet3d": dict(channels=(4, 4, 8, 8), cube=16, steps=1, epochs=1),
    "segresnet": dict(cube=16, steps=1, epochs=1, blocks_down=(1, 1), blocks_up=(1,)),
    "swinunetr": dict(steps=1, epochs=1),
    "unet": dict(init_filters=4, cube=16, steps=1, epochs=1),
}


@EVERY
def test_one_signature_each(name):
    for part in ("fit", "predict", "maps", "segment", "tune", "save", "load"):
        ours = inspect.signature(getattr(methods.method_class(name), part)).parameters
        for wanted in inspect.signature(getattr(Method, part)).parameters.values():
            assert (ours[wanted.name].kind, ours[wanted.name].default) == (wanted.kind, wanted.default), part


@EVERY
def test_a_method_says_what_it_is(name):
    chosen = methods.method_class(name)
    assert chosen.name == name and set(chosen.tunable) < set(chosen.settings)
    assert {"seed", "device", "voxel_size"} <= set(chosen.settings)
    assert list(inspect.signature(chosen).parameters) == list(chosen.settings)  # help() shows them
    family = name if name in methods.MORE else name.partition("_")[0]
    assert chosen.needs_labels == (family not in ("otsu", "wnet3d", "cellpose_sam"))
    assert chosen.self_tuning == (name == "otsu")
    assert chosen.tunes_on_labels == (name not in ("wnet3d", "cellpose_sam", *methods.AGAIN))
    libraries = {"cellpose": ("cellpose",), "stardist": ("stardist", "tensorflow")}
    assert chosen.library == libraries.get(family, ())
    method = methods.get(name, **SMALL.get(name, {}))
    assert method.chosen == {option: getattr(method, option) for option in chosen.tunable}
    with pytest.raises(
        UserError, match=f"has no option 'blur': its options are {next(iter(chosen.settings))}, "
    ):
        chosen(blur=3)
    with pytest.raises(UserError, match=f"seed of '{name}' cannot be set after it was made: only"):
        method.set(seed=3)
    if chosen.needs_labels and not methods.missing_libraries(name):
        with pytest.raises(UserError, match="need labels"):
            method.fit([np.zeros((24, 24, 24))])


@pytest.mark.parametrize("name", SMALL)
def test_random_numbers_and_modes_are_left_as_they_were_found(name):
    torch, random = pytest.importorskip("torch"), __import__("random")
    image, labels = simulate.volume((64, 32, 32), 12, seed=1)
    found = []
    for quietly in (True, False):
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        if not quietly:
            method = methods.get(name, **SMALL[name], device="cpu")
            method.fit([image], [labels], progress=False)
            method.predict(image, progress=False)
        found.append((random.random(), np.random.rand(), float(torch.rand(1))))
    assert found[0] == found[1]
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_foreground_does_not_depend_on_the_order_of_volumes(pair, tmp_path):
    method = methods.get("wnet3d", **SMALL["wnet3d"], device="cpu")
    volumes = [pair[0].astype(np.float32), pair[0].max() - pair[0].astype(np.float32)]
    before = [method.predict(volume, progress=False) for volume in volumes]
    assert method.foreground is None  # predicting decides nothing for later volumes
    assert np.array_equal(method.predict(volumes[0], progress=False), before[0])
    method.fit(volumes, progress=False)
    method.save(tmp_path)
    classes = [method.classes(volume, progress=False) for volume in volumes]
    scaled = [100 * (volume - volume.min()) / np.ptp(volume) for volume in volumes]
    both = inference.brightest(zip(classes, scaled))
    assert both == inference.brightest(zip(classes[::-1], scaled[::-1]))
    assert method.foreground == both == methods.method_class("wnet3d").load(tmp_path).foreground


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


TINY_WNET = dict(channels=(4, 8, 8, 8), cube=16, batch=2, steps=1, epochs=1, device="cpu")
PUBLISHED = dict(optimizer="adam", schedule="constant", clip=0, average=0, balance="fixed", rec_weight=0.5)
PUBLISHED |= dict(seeded=True, turns="published", scaling="cube", window=16, postprocess="released")
PUBLISHED |= dict(separate="published", threshold=0.6, steps=0)


def test_wnet3d_as_published():
    """Each cube and each window is brought to 0..100 by itself, in training as at prediction; the weight of
    the reconstruction stays; every cube once an epoch; Voronoi-Otsu on the prediction."""
    image, labels = simulate.volume((24, 24, 24), 8, seed=3)
    method = methods.get("wnet3d", **{**TINY_WNET, **PUBLISHED})
    seen = []
    for batch in method._batches([method.scaled(image)], None)(0, np.random.default_rng(0)):
        seen += list(batch)
        assert batch.dtype == torch.float32
    assert len(seen) == 8  # 2 x 2 x 2 cubes of 16
    assert all(float(cube.min()) == 0 and float(cube.max()) == 100 for cube in seen)
    history = method.fit([image], progress=False)
    assert {row["rec_weight"] for row in history} == {0.5}
    probability = method.predict(image, progress=False)
    assert probability.min() >= 0 and probability.max() <= 1
    found = method.segment(image, probability)
    assert np.array_equal(found, instances.published(probability, 0.6, 5))
    method.tune([image], [labels], progress=False)
    assert method.spots_tried.empty and method.spot_sigma == method.settings["spot_sigma"]
    with pytest.raises(UserError, match="turns must be one of"):
        methods.get("wnet3d", turns="none")


def test_the_backward_pass_is_seeded_with_the_loss_where_it_was():
    from cellseg_nb.networks.wnet3d_loss import WNetLoss

    torch.manual_seed(0)
    model, x = WNet3D(channels=(4, 4, 8, 8), dropout=0.0), torch.rand(1, 1, 8, 8, 8) * 100
    slopes = []
    for seeded in (False, True):
        model.zero_grad()
        terms = WNetLoss(balance="fixed", seeded=seeded)(model, x)
        terms["loss"].backward()
        slopes.append(model.encoder.in_b.module[0].weight.grad.clone())
        value = terms["loss"].item()
    plain = (2 * value) ** 0.5
    assert torch.allclose(slopes[1], slopes[0] * plain, rtol=1e-3)


def test_wnet3d_learns_on_from_weights(tmp_path):
    """Fine-tuning: from a training of one's own, whose widths then count."""
    image, _ = simulate.volume((24, 24, 24), 8, seed=3)
    first = methods.get("wnet3d", **TINY_WNET)
    first.save(tmp_path)
    second = methods.get("wnet3d", start=tmp_path, cube=16, device="cpu")
    assert second.network["channels"] == (4, 8, 8, 8)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters()))
    second = methods.get("wnet3d", **{**TINY_WNET, "learning_rate": 1e-4}, start=tmp_path)
    assert len(second.fit([image], progress=False)) == 1
