"""Networks handed on as bioimage.io packages: bioimageio.core's own test, the way back, and unsafe ones."""

import dataclasses
import json
import socket
import zipfile

import numpy as np
import pytest
import torch
import yaml
from refusing import refused

from cellseg_nb.data import simulate
from cellseg_nb.io import files
from cellseg_nb.methods import model_package, model_package_spec, sharing, weights
from cellseg_nb.methods.segresnet import SegResNetMethod
from cellseg_nb.methods.swinunetr import SwinUNETRMethod
from cellseg_nb.methods.wnet3d import WNet3DMethod

ABOUT = dict(authors=["Jane Doe"], licence="CC-BY-4.0", training_data="simulated volumes")


@pytest.fixture(autouse=True)
def libraries(monkeypatch):
    for name in ("bioimageio.core", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("no network is needed"))


@pytest.fixture(scope="module")
def image():
    return simulate.volume((56, 50, 60), 30, seed=1, voxel_size=(2, 1, 1))[0]


def wnet3d(folder, **options):
    method = WNet3DMethod(channels=(4, 8, 8, 8), threshold=0.7, seed=3, device="cpu", **options)
    method.foreground = 1
    method.save(folder)
    return folder


def tiny(kind, folder, **options):
    kind(device="cpu", threshold=0.4, **options).save(folder)
    return folder


def described(path):
    with zipfile.ZipFile(path) as archive:
        return yaml.safe_load(archive.read("rdf.yaml")), archive.read("README.md").decode()


@pytest.fixture(scope="module")
def packed(image, tmp_path_factory):
    """A WNet3D of which nobody knows yet which class means cell, as released ones are, and its package."""
    folder = tmp_path_factory.mktemp("packed")
    found = weights.load(wnet3d(folder / "own"))
    found.foreground = None
    given = dict(voxel_size=(2, 1, 1), name="cells of jane")
    return found, model_package.write(found, folder / "p.zip", image, **ABOUT, **given), folder / "own"


def same_as_before(path, found, image):
    """bioimageio.core gets our probabilities, and so does who loads it here. Returns the description."""
    assert model_package.check(path) == "passed"
    again = weights.load(path)
    for name in ("architecture", "threshold", "scaling", "postprocess", "window", "flips"):
        assert getattr(again, name) == getattr(found, name)
    given = dataclasses.replace(found, foreground=again.foreground)
    assert np.array_equal(again(image, progress=False), given(image, progress=False))
    return described(path)[0]


@pytest.mark.slow
def test_wnet3d_there_and_back(packed, image, tmp_path):
    found, path, own = packed
    rdf = same_as_before(path, found, image)
    steps = rdf["inputs"][0]["preprocessing"]
    assert [step["id"] for step in steps][-3:-1] == ["scale_range", "scale_linear"]
    assert (rdf["license"], rdf["authors"][0]["name"]) == ("CC-BY-4.0", "Jane Doe")
    assert rdf["config"]["cellseg_nb"]["training_data"] == "simulated volumes"
    assert "10.7554/eLife.99848" in str(rdf["cite"]) and "Voronoi-Otsu" in rdf["description"]
    assert [axis.get("scale") for axis in rdf["inputs"][0]["axes"]] == [None, None, 2, 1, 1]
    assert str(own.parent) not in json.dumps(rdf)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "folder")
        part, given = (np.load(archive.open(f"test_{one}.npy")) for one in ("input", "output"))
    assert part.shape == given.shape == (1, 1, 48, 48, 48)
    folder = weights.load(tmp_path / "folder")
    assert folder.foreground in (0, 1)  # looked for in the test volume, and fixed
    assert np.array_equal(given[0, 0], folder(part[0, 0], progress=False))


@pytest.mark.slow
def test_the_card_and_the_package_say_the_same(packed):
    found, path, own = packed
    card = sharing.card(own / "wnet3d.pt", found, "jane/cells of jane").split("---\n", 2)[2]
    text = described(path)[1].replace('"p.zip"', '"jane/cells of jane"')
    told = "Licence: CC-BY-4.0. It learned from: simulated volumes."
    assert told in text and text.replace(told, "") == card.replace("; a licence", "")


@pytest.mark.slow
def test_segresnet(image, tmp_path):
    options = dict(blocks_down=(1, 1), blocks_up=(1,), init_filters=8, cores=True, flips=True)
    found = weights.load(tiny(SegResNetMethod, tmp_path / "own", **options))
    rdf = same_as_before(model_package.write(found, tmp_path / "p.zip", image, **ABOUT), found, image)
    assert rdf["inputs"][0]["axes"][2]["size"] == {"min": 32, "step": 8}
    assert "over the 8 mirror images" in described(tmp_path / "p.zip")[1]
    found.scaling = "clipped"
    assert [step["id"] for step in model_package_spec.preprocessing(found)] == ["clip"]


@pytest.mark.slow
def test_swinunetr(image, tmp_path):
    small, once = image[:40, :40, :40], (1, 1, 1, 1)
    options = dict(feature_size=12, window_size=4, depths=once, num_heads=once)
    found = weights.load(tiny(SwinUNETRMethod, tmp_path / "own", **options))
    rdf = same_as_before(model_package.write(found, tmp_path / "p.zip", small, **ABOUT), found, small)
    assert [axis["size"] for axis in rdf["inputs"][0]["axes"][2:]] == [64, 32, 32]


@pytest.mark.slow
def test_what_each_window_undergoes_is_in_the_graph(image, tmp_path):
    """The published chain: not in the specification's words."""
    found = weights.load(wnet3d(tmp_path / "own", scaling="cube"), postprocess="released")
    rdf = same_as_before(model_package.write(found, tmp_path / "p.zip", image, **ABOUT), found, image)
    steps = {step["id"] for step in rdf["inputs"][0]["preprocessing"]}
    assert steps == {"ensure_dtype"} and "0..100" in rdf["weights"]["onnx"]["comment"]
    assert rdf["inputs"][0]["axes"][2]["size"] == 64


def test_what_a_package_needs(image, tmp_path):
    found = weights.load(wnet3d(tmp_path / "own"))
    out = tmp_path / "p.zip"
    refused(lambda: model_package.write(found, out, image, [], "MIT"), "names its authors")
    refused(lambda: model_package.write(found, out, image, ["J"], "my own"), "'my own' is no SPDX name")
    refused(lambda: model_package.write(found, out, image * 0 + 3, ["J"], "MIT"), "one value")
    assert model_package.test_part(found, image[:24, :24, :9]).shape == (32, 32, 32)
    found.scaling = "contrast"
    refused(lambda: model_package.write(found, out, image, ["J"], "MIT"), "scaled by 'contrast'")
    assert not out.exists()


def pack(path, **contents):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name.replace("__", "/").replace("_yaml", ".yaml").replace("_pt", ".pt"), content)
    return path


def rdf(**changes):
    about = dict(architecture="wnet3d", threshold=0.5, foreground=1, scaling="volume", window=0, flips=False)
    about |= dict(postprocess="probability", weights="wnet3d.pt", sha256="0") | changes
    return yaml.safe_dump({"type": "model", "config": {"cellseg_nb": about}})


def test_packages_that_are_refused(tmp_path):
    path = tmp_path / "x.zip"

    def load(*words, **contents):
        refused(lambda: weights.load(pack(path, **contents)), *words)

    load("was not made by cellseg-nb", rdf_yaml="type: model\nconfig: {}")
    load("no bioimage.io package", other_yaml="a: 1")
    load("no YAML", rdf_yaml="a: [")
    load("no YAML", rdf_yaml="!!python/object/apply:os.system [ls]")  # an object is no plain YAML
    load("path outside", rdf_yaml=rdf(), **{"..__evil": "x"})
    load("which is not in it", rdf_yaml=rdf(weights="../wnet3d.pt"))
    load("missing or was changed", rdf_yaml=rdf(), wnet3d_pt="no weights")
    load("its threshold is", rdf_yaml=rdf(threshold="high"), wnet3d_pt="")
    for name, value in dict(threshold=5.0, foreground=-1, scaling="log", window=-3, postprocess="x").items():
        load(f"its {name} is {value!r}", rdf_yaml=rdf(**{name: value}), wnet3d_pt="")
    for text in ("made: 2026-99-99", "[" * 20000, "size: " + 5000 * "9"):
        load("no YAML", rdf_yaml=text)
    path.write_bytes(b"PK\3\4 cut")
    refused(lambda: weights.load(path), "damaged")


def test_a_class_that_the_network_does_not_have(tmp_path):
    own = wnet3d(tmp_path) / "wnet3d.pt"
    told = rdf(foreground=2, sha256=files.digest(own))
    path = pack(tmp_path / "x.zip", rdf_yaml=told, wnet3d_pt=own.read_bytes())
    refused(lambda: weights.load(path), "its foreground is 2")


def test_a_package_that_says_nothing_of_flips(tmp_path):
    """An earlier one: what its weights say counts."""
    options = dict(blocks_down=(1, 1), blocks_up=(1,), init_filters=8, flips=True)
    own = tiny(SegResNetMethod, tmp_path, **options) / "segresnet.pt"
    about = dict(architecture="segresnet", weights="segresnet.pt", sha256=files.digest(own))
    told = rdf(**about).replace("    flips: false\n", "")
    found = weights.load(pack(tmp_path / "x.zip", rdf_yaml=told, segresnet_pt=own.read_bytes()))
    assert "flips" not in told and found.flips


def test_code_in_the_weights_is_not_run(tmp_path):
    import hashlib
    import io

    class Evil:
        def __reduce__(self):
            return print, ("never said",)

    held = io.BytesIO()
    torch.save({"a": Evil()}, held)
    digest = hashlib.sha256(held.getvalue()).hexdigest()
    path = pack(tmp_path / "x.zip", rdf_yaml=rdf(sha256=digest), wnet3d_pt=held.getvalue())
    refused(lambda: weights.load(path), "holds code")
