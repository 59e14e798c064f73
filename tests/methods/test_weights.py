"""Weights: strict and safe loading, the Hub's protocol with faults through the real client, predictors,
sharing."""

import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from refusing import refused
from servers import COMMIT, Server

from cellseg_nb.data import hub, simulate
from cellseg_nb.data.bundled import path as bundled
from cellseg_nb.methods import sharing, weights
from cellseg_nb.methods.segresnet import SegResNetMethod
from cellseg_nb.methods.unet import UNetMethod
from cellseg_nb.methods.wnet3d import WNet3DMethod
from cellseg_nb.networks import monai_nets
from cellseg_nb.networks.wnet3d import WNet3D

REPO = "C-Achard/cellseg3d"


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def tar(path, files, links=()):
    """A .tar.gz of {name: bytes} and of links (name, target, kind)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target, kind in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return path


def saved(state):
    held = io.BytesIO()
    torch.save(state, held)
    return held.getvalue()


@pytest.fixture(scope="session")
def segresnet():
    """A state dict of the published construction (2 M parameters), seeded."""
    torch.manual_seed(0)
    return monai_nets.network("segresnet").state_dict()


@pytest.fixture
def volume():
    return simulate.volume((20, 30, 37), 9, seed=1)[0]


@pytest.fixture
def own(tmp_path):
    """The folder of a finished WNet3D training (narrow)."""
    method = WNet3DMethod(channels=(4, 8, 8, 8), threshold=0.7, seed=3, device="cpu")
    method.foreground = 1
    method.save(tmp_path / "own")
    return tmp_path / "own", method


# ---------------------------------------------------------------- strict loading


def published():
    """Random values under the published names and shapes of the released WNet3D: 50.5 million."""
    shapes = json.loads(bundled("published/wnet3d_official_state_dict.json").read_text())
    made = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=made) * 0.02 for name, shape in shapes.items()}


def test_the_released_wnet3d_loads_strictly(tmp_path):
    """At full size, once: bare, and what the loaded encoder computes; then with entries missing, surplus,
    misshapen."""
    state = published()
    path = tmp_path / "wnet_latest.pth"
    torch.save(state, path)
    model = weights.load(path).model
    assert isinstance(model, WNet3D) and not model.training
    assert same(model.state_dict(), state)
    x = torch.rand(1, 1, 8, 8, 16) * 100
    with torch.inference_mode():
        probabilities = model.encoder(x)
        pair = model(x)
    assert probabilities.shape == (1, 2, 8, 8, 16) and torch.allclose(
        probabilities.sum(1), torch.ones(1, 8, 8, 16)
    )
    assert torch.equal(pair[0], probabilities) and pair[1].shape == x.shape
    found = weights.predictor(model, "wnet3d")
    assert found.threshold == 0.6
    del state["encoder.in_b.module.0.weight"]
    state["encoder.extra"] = torch.zeros(1)
    state["decoder.in_b.module.0.bias"] = torch.zeros(65)
    torch.save(state, path)
    refused(
        lambda: weights.load(path, "wnet3d").model,
        path,
        "missing 1 (encoder.in_b.module.0.weight)",
        "surplus 1 (encoder.extra)",
        "misshapen 1 (decoder.in_b.module.0.bias: (65,) instead of (64,))",
    )


def test_the_released_swinunetr_loads_strictly(tmp_path):
    """At full size, once: 74 million numbers under the names of the published construction."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = monai_nets.network("swinunetr").state_dict()
    save_file(
        {name: value.contiguous().clone() for name, value in state.items()}, tmp_path / "swin.safetensors"
    )
    model = weights.load(tmp_path / "swin.safetensors").model
    assert not model.training and same(model.state_dict(), state)
    assert model.swinViT.patch_embed.embed_dim == 48 and hasattr(model.swinViT, "layers1c")  # use_v2


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model_state_dict": s},
        lambda s: {f"module.{name}": value for name, value in s.items()},
        lambda s: {"state_dict": {f"module.{name}": value for name, value in s.items()}},
    ],
)
def test_wrapped_state_dicts(tmp_path, segresnet, wrap):
    torch.save(wrap(segresnet), tmp_path / "x.pth")
    found = weights.load(tmp_path / "x.pth")
    assert found.architecture == "segresnet" and found.threshold == 0.3
    assert same(found.model.state_dict(), segresnet)
    with torch.inference_mode():
        assert found.model(torch.zeros(1, 1, 16, 16, 16))[0].shape == (1, 1, 16, 16, 16)


@pytest.mark.parametrize("form", ["pth", "pt", "safetensors", "tar.gz", "tar.gz of safetensors"])
def test_every_kind_of_file(tmp_path, segresnet, form):
    from safetensors.torch import save

    path = tmp_path / f"weights.{form.split()[0]}"
    content = save(segresnet) if "safetensors" in form else saved(segresnet)
    if "tar" in form:
        inner = "w.safetensors" if "safetensors" in form else "folder/w.pth"
        tar(path, {"README.txt": b"hello", f"folder/._{inner.split('/')[-1]}": b"of macOS", inner: content})
    else:
        path.write_bytes(content)
    assert same(weights.load(path).model.state_dict(), segresnet)


def test_wrong_network(tmp_path, segresnet):
    torch.save(segresnet, tmp_path / "x.pth")
    refused(lambda: weights.load(tmp_path / "x.pth", "wnet3d"), "x.pth does not fit", "missing", "surplus")
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "x.pth")
    refused(lambda: weights.load(tmp_path / "x.pth"), "unknown network", "layer.weight")
    refused(lambda: weights.load(tmp_path / "x.pth", "vnet"), "architecture must be one of")
    refused(lambda: weights.predictor(None, "vnet"), "architecture must be one of")
    refused(lambda: monai_nets.network("vnet"), "no supervised network")


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {},
        {"a": 3},
        {"state_dict": {"a": "text"}},
        {"method": "wnet3d", "settings": 5},
        {"method": "wnet3d", "settings": {"channels": "wide"}, "model": {}},
        {"method": "wnet3d", "settings": {"channels": (4, 4, 4, 4)}, "model": [1]},
    ],
)
def test_a_file_without_weights(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    refused(lambda: weights.load(tmp_path / "x.pth"), "x.pth")


def test_failed_training_is_told(tmp_path, segresnet):
    torch.save(
        segresnet | {"convInit.conv.weight": torch.full((8, 1, 3, 3, 3), torch.nan)}, tmp_path / "x.pth"
    )
    refused(lambda: weights.load(tmp_path / "x.pth"), "x.pth", "NaN", "convInit.conv.weight")


# ---------------------------------------------------------------- unsafe and damaged files


class Evil:
    def __reduce__(self):
        return os.system, ("touch was_here",)


@pytest.mark.parametrize("name", ["evil.pth", "evil.pt", "evil.tar.gz", "old.pth"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps({"a": Evil()}, protocol=2) if name == "old.pth" else saved({"a": Evil()})
    if name.endswith("gz"):
        tar(tmp_path / name, {"w.pth": content})
    else:
        (tmp_path / name).write_bytes(content)
    refused(lambda: weights.load(name), name, "holds code", "system", "not opened")
    assert not (tmp_path / "was_here").exists()


def test_a_newer_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("new.pth").write_bytes(pickle.dumps({"a": Evil()}, protocol=4))
    refused(lambda: weights.load("new.pth"), "new.pth", "damaged or holds no weights")
    assert not Path("was_here").exists()


@pytest.mark.parametrize(
    "inside", ["../out.pth", "/etc/out.pth", "a/../../out.pth", "C:/out.pth", "..\\out.pth"]
)
def test_a_path_outside_its_folder_is_refused(tmp_path, segresnet, inside):
    tar(tmp_path / "x.tar.gz", {"w.pth": saved(segresnet), inside: b"bad"})
    refused(lambda: weights.load(tmp_path / "x.tar.gz"), "x.tar.gz", repr(inside), "outside its folder")
    assert [p.name for p in tmp_path.iterdir()] == ["x.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, segresnet, kind):
    tar(tmp_path / "x.tar.gz", {"w.pth": saved(segresnet)}, [("link.pth", "w.pth", kind)])
    refused(lambda: weights.load(tmp_path / "x.tar.gz"), "x.tar.gz", "'link.pth'", "not opened")


def test_no_or_two_weights_in_an_archive(tmp_path):
    tar(tmp_path / "none.tar.gz", {"a.txt": b"a"})
    refused(lambda: weights.load(tmp_path / "none.tar.gz"), "one weights file", "none")
    tar(tmp_path / "two.tar.gz", {"a.pth": b"a", "b.pth": b"b"})
    refused(lambda: weights.load(tmp_path / "two.tar.gz"), "one weights file", "a.pth, b.pth")


@pytest.mark.parametrize("name", ["x.pth", "x.tar.gz", "x.safetensors"])
@pytest.mark.parametrize("left", [0, 10, 0.5, 0.999])
def test_cut_files(tmp_path, segresnet, name, left):
    from safetensors.torch import save

    whole = save(segresnet) if name.endswith("safetensors") else saved(segresnet)
    if name.endswith("gz"):
        whole = tar(tmp_path / "whole.tar.gz", {"w.pth": whole}).read_bytes()
    (tmp_path / name).write_bytes(whole[: left if isinstance(left, int) else int(left * len(whole))])
    refused(lambda: weights.load(tmp_path / name), tmp_path / name, "damaged")


def test_missing_places(tmp_path):
    refused(lambda: weights.load(tmp_path / "no.pth"), "no.pth", "no file, no folder")
    refused(lambda: weights.load("nonsense"), "nonsense", "wnet3d, swinunetr, segresnet")
    refused(lambda: weights.load(""), "no path was given")
    refused(lambda: weights.load(tmp_path), tmp_path, "is the training finished")


# ---------------------------------------------------------------- own folders, predictors


def test_own_wnet3d_folder(own, volume):
    folder, method = own
    found = weights.load(folder)
    assert (found.architecture, found.threshold, found.foreground) == ("wnet3d", 0.7, 1)
    assert not found.model.training and same(found.model.state_dict(), method.model.state_dict())
    assert np.array_equal(found(volume, progress=False), method.predict(volume, progress=False))
    assert same(weights.load(folder / "wnet3d.pt").model.state_dict(), method.model.state_dict())
    refused(lambda: weights.load(folder / "wnet3d.pt", "segresnet"), "wnet3d")
    refused(lambda: weights.load(folder, "segresnet"), "no segresnet.pt")


def test_own_supervised_folder(tmp_path, volume):
    method = SegResNetMethod(
        cube=16, init_filters=8, blocks_down=(1, 1), blocks_up=(1,), threshold=0.35, device="cpu"
    )
    method.save(tmp_path)
    found = weights.load(tmp_path)
    assert (found.architecture, found.threshold, found.scaling) == ("segresnet", 0.35, "unit")
    assert np.allclose(found(volume, progress=False), method.predict(volume, progress=False), atol=1e-6)
    WNet3DMethod(channels=(4, 8, 8, 8), device="cpu").save(tmp_path)
    refused(lambda: weights.load(tmp_path), "several", "wnet3d.pt", "segresnet.pt")
    assert weights.load(tmp_path, "wnet3d").architecture == "wnet3d"


def test_saved_flips_count_unless_one_says_otherwise(tmp_path):
    image = np.random.default_rng(0).random((16, 16, 16)).astype(np.float32)
    options = dict(cube=16, init_filters=8, blocks_down=(1, 1), blocks_up=(1,), device="cpu")
    method = SegResNetMethod(flips=True, **options)
    method.save(tmp_path)
    found = weights.load(tmp_path)
    expected = method.predict(image, progress=False)
    assert found.flips and np.allclose(found(image, progress=False), expected, atol=1e-6)
    assert np.abs(found(image, flips=False, progress=False) - expected).max() > 1e-4


def test_foreground_is_the_bright_class(volume):
    """Swapping the two classes of the last layer must change nothing."""
    torch.manual_seed(0)
    model = WNet3D(channels=(4, 8, 8, 8))
    first = weights.predictor(model, "wnet3d")(volume, progress=False)
    with torch.no_grad():
        last = model.encoder.out_b.module[-1]
        last.weight.copy_(last.weight.flip(0))
        last.bias.copy_(last.bias.flip(0))
    assert np.allclose(weights.predictor(model, "wnet3d")(volume, progress=False), first, atol=1e-6)


@pytest.mark.parametrize("shape", [(32, 32, 32), (20, 30, 37), (1, 20, 20), (33, 64, 40)])
def test_swinunetr_of_any_shape(shape):
    torch.manual_seed(0)
    found = weights.predictor(monai_nets.network("swinunetr", feature_size=12), "swinunetr")
    probability = found(np.random.default_rng(0).random(shape), progress=False)
    assert probability.shape == shape and probability.dtype == np.float32
    assert 0 <= probability.min() and probability.max() <= 1 and np.isfinite(probability).all()
    assert found.threshold == 0.4


def test_own_weights_do_not_care_for_the_units_of_brightness(segresnet, volume):
    model = monai_nets.network("segresnet")
    model.load_state_dict(segresnet)
    found = weights.predictor(model, "segresnet", scaling="unit")
    first = found(volume, progress=False)
    assert np.allclose(found(volume * 0.01 + 7.0, progress=False), first, atol=1e-4)
    windows = found(volume, memory=0, window=32, progress=False)
    assert windows.shape == first.shape
    refused(lambda: found(volume[0]), "three dimensions")


def test_released_supervised_networks_see_clipped_volumes_as_they_are(segresnet, volume):
    """Published: clipped to the 1st and 99th percentile, not rescaled."""
    found = weights.predictor(monai_nets.network("segresnet"), "segresnet")
    assert np.array_equal(found.scaled(volume), np.clip(volume, *np.percentile(volume, (1, 99))))


@pytest.mark.parametrize("architecture", ["wnet3d", "segresnet"])
def test_the_published_chain(architecture, segresnet, volume):
    """Of each window the output before softmax or sigmoid, from its minimum and maximum to 0..1."""
    torch.manual_seed(0)
    model = WNet3D(channels=(4, 8, 8, 8)) if architecture == "wnet3d" else monai_nets.network("segresnet")
    found = weights.predictor(model, architecture)
    probability = found(volume, progress=False)
    found.postprocess = "released"
    part = np.resize(volume, (32, 32, 32)).astype(np.float32)
    made = found(part, window=32, progress=False)
    if architecture == "wnet3d":
        x = 100 * (part - part.min()) / (part.max() - part.min())
        x = torch.from_numpy(x.astype(np.float32))[None, None]
        with torch.inference_mode():
            logits = model.encoder.scores(x)[0].numpy()
    else:
        x = np.clip(part, *np.percentile(part, (1, 99))).astype(np.float32)
        x = torch.from_numpy(x)[None, None]
        with torch.inference_mode():
            logits = model(x)[0][0].numpy()
    expected = (logits - logits.min()) / (logits.max() - logits.min())
    assert any(np.allclose(made, one, atol=1e-4) for one in expected)
    whole = found(volume, progress=False)
    assert whole.shape == probability.shape and 0 <= whole.min() and whole.max() <= 1
    refused(lambda: weights.load("wnet3d", postprocess="published"), "postprocess must be one of")


# ---------------------------------------------------------------- the Hub


@pytest.fixture(scope="session")
def archive(tmp_path_factory, segresnet):
    return tar(
        tmp_path_factory.mktemp("hub") / "x.tar.gz", {"SegResNet_latest.pth": saved(segresnet)}
    ).read_bytes()


@pytest.fixture
def server(archive, tmp_path, monkeypatch):
    """A Hub on this machine, an empty cache, and no waiting between tries."""
    monkeypatch.setattr(hub, "PAUSE", 0.01)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    with Server() as server:
        server.hub(
            REPO, {"SegResNet_latest.tar.gz": archive, "wnet_onnx.tar.gz": b"onnx", "README.md": b"# card"}
        )
        monkeypatch.setenv("CELLSEG_NB_HUB_URL", server.url)
        monkeypatch.setenv("CELLSEG_NB_CACHE", str(tmp_path / "cache"))
        yield server


def held(folder):
    """Every file with bytes in the cache that is not the Hub's own book-keeping, as sizes."""
    return sorted(
        p.stat().st_size
        for p in Path(folder).rglob("*")
        if p.is_file() and not p.is_symlink() and "blobs" in p.parts
    )


def half(folder):
    return [
        p
        for p in Path(folder).rglob("*")
        if p.name.endswith(".incomplete") or (p.is_symlink() and not p.exists())
    ]


def test_released_by_name(server, segresnet, archive, tmp_path):
    for _ in range(2):
        found = weights.load("segresnet")
        assert found.threshold == 0.3 and same(found.model.state_dict(), segresnet)
    assert server.count("SegResNet_latest.tar.gz") == 1  # the second time from the cache
    assert held(tmp_path / "cache") == [len(archive)] and not half(tmp_path / "cache")
    server.fault("SegResNet_latest.tar.gz", "error", times=None, head=True)
    # the server is down, the cache serves
    assert same(weights.load("segresnet").model.state_dict(), segresnet)


def test_any_repository(server, segresnet, archive):
    assert same(weights.load(f"{REPO}:SegResNet_latest.tar.gz").model.state_dict(), segresnet)
    assert same(weights.load(REPO).model.state_dict(), segresnet)  # the only weights in it
    server.hub("some/two", {"a.pth": b"1", "b.safetensors": b"2"})
    refused(lambda: weights.load("some/two"), "some/two", "a.pth, b.safetensors", "some/two:file")
    refused(lambda: weights.load("nobody/nothing"), "no file or folder nobody/nothing here", "does not exist")
    refused(lambda: weights.load(f"{REPO}:no.pth"), "no.pth", "does not exist")


@pytest.mark.parametrize(
    "kind, times, head",
    [
        ("error", 1, False),
        ("error", 2, False),
        ("busy", 2, False),
        ("cut", 1, False),
        ("cut", 3, False),
        ("silent", 1, False),
        ("truncated", 1, False),
        ("wrong", 1, False),
        ("slow", 1, False),
        ("missing", 1, False),
        ("error", 2, True),
        ("busy", 2, True),
        ("silent", 1, True),
        ("missing", 1, True),
    ],
)
def test_faults_that_pass(server, segresnet, archive, tmp_path, kind, times, head):
    """Asked with HEAD first (``head``), then with GET."""
    server.fault("SegResNet_latest.tar.gz", kind, times=times, head=head)
    if kind == "missing":  # what is not there is not asked for again
        refused(lambda: weights.load("segresnet"), "SegResNet_latest.tar.gz", "does not exist")
        assert held(tmp_path / "cache") == []
    else:
        assert same(weights.load("segresnet").model.state_dict(), segresnet)
        assert held(tmp_path / "cache") == [len(archive)]
    assert not half(tmp_path / "cache")


@pytest.mark.parametrize(
    "kind, words, head",
    [
        ("missing", "does not exist", False),
        ("busy", "429", False),
        ("error", "500", False),
        ("truncated", "incomplete", False),
        ("wrong", "other bytes", False),
        ("silent", "connection", False),
        ("missing", "does not exist", True),
        ("busy", "429", True),
        ("error", "500", True),
        ("silent", "connection", True),
    ],
)
def test_faults_that_stay(server, tmp_path, kind, words, head):
    server.fault("SegResNet_latest.tar.gz", kind, times=None, head=head)
    refused(lambda: weights.load("segresnet"), "SegResNet_latest.tar.gz", words)
    assert held(tmp_path / "cache") == [] and not half(tmp_path / "cache")
    server.well()
    assert weights.load("segresnet").architecture == "segresnet"  # nothing is left in the way


def test_no_server(server, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLSEG_NB_HUB_URL", "http://127.0.0.1:9")
    refused(lambda: weights.load("segresnet"), "127.0.0.1:9", "connection")
    assert held(tmp_path / "cache") == [] and not half(tmp_path / "cache")


def test_a_truncated_archive_is_not_kept(server, archive, segresnet, tmp_path):
    """Broken at the publisher: hashes and lengths agree, but it does not unpack."""
    server.hub(REPO, {"SegResNet_latest.tar.gz": archive[: len(archive) // 2]}, commit="f" * 40)
    refused(lambda: weights.load("segresnet"), "damaged", "download it again")
    assert held(tmp_path / "cache") == [] and not half(tmp_path / "cache")
    server.hub(REPO, {"SegResNet_latest.tar.gz": archive}, commit=COMMIT)
    assert same(weights.load("segresnet").model.state_dict(), segresnet)


FULL_DISK = """
import resource, signal, sys
from cellseg_nb import errors, hub
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
try:
    print(hub.download("C-Achard/cellseg3d", "SegResNet_latest.tar.gz"))
except errors.UserError as error:
    print("UserError", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
def test_full_disk(server, tmp_path):
    """For real: the operating system refuses bytes after the first 100 kB."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, "100000"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=600,
    )
    assert done.stdout.startswith("UserError") and done.stdout.count("\n") == 1, done.stdout + done.stderr
    assert "free some space" in done.stdout and "SegResNet_latest.tar.gz" in done.stdout
    assert held(tmp_path / "cache") == [] and not half(tmp_path / "cache")


def test_an_unsafe_archive_from_the_hub(server, tmp_path):
    server.hub("some/evil", {"evil.pth": saved({"a": Evil()})})
    refused(lambda: weights.load("some/evil"), "holds code")


def test_an_own_unet(tmp_path, volume):
    method = UNetMethod(init_filters=4, threshold=0.35, device="cpu")
    method.save(tmp_path)
    found = weights.load(tmp_path)
    assert (found.architecture, found.threshold, found.multiple) == ("unet", 0.35, 16)
    assert np.array_equal(found(volume, progress=False), method.predict(volume, progress=False))
    refused(lambda: UNetMethod(init_filters=6), "init_filters of unet must be divisible by 4")


# ---------------------------------------------------------------- sharing


def test_share_dry_run_is_offline(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CELLSEG_NB_HUB_URL", "http://127.0.0.1:9")
    (own[0] / "private.tif").write_bytes(b"image")
    sizes = sharing.share(own[0], "jane/cells")
    assert (
        sizes.keys() == {"wnet3d.pt", "README.md"}
        and sizes["wnet3d.pt"] == (own[0] / "wnet3d.pt").stat().st_size
    )
    said = capsys.readouterr().out
    assert "would upload wnet3d.pt" in said and "private" not in said
    refused(lambda: sharing.share(own[0], "cells"), "owner/name")
    refused(lambda: sharing.share(tmp_path, "jane/cells"), "is the training finished")
    refused(
        lambda: sharing.share(own[0], "jane/cells", token="t", dry_run=False),
        "nothing was uploaded",
        "connection",
    )


def test_the_card_says_how_to_use_it(own):
    found = weights.load(own[0])
    text = sharing.card(own[0] / "wnet3d.pt", found, "jane/cells")
    assert text.startswith("---\n") and "without labels" in text and '"jane/cells"' in text
    assert "| channels | `[4, 8, 8, 8]` |" in text and "| threshold | `0.7` |" in text
    assert str(own[0]) not in text


def test_the_card_of_a_network_for_cells_of_a_few_voxels(tmp_path):
    SegResNetMethod(device="cpu", scaling="contrast", spots="pieces", core_threshold=0.7).save(tmp_path)
    text = sharing.card(tmp_path / "segresnet.pt", weights.load(tmp_path), "jane/cells")
    assert "above the background around it" in text and "each piece above 0.7 is a cell" in text


class Receiver(BaseHTTPRequestHandler):
    """The four requests of an upload of small files, as the Hub answers them; what came is kept."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers.get("Authorization"), body))
        if self.server.refuses and "/commit/" in self.path:
            return self._answer({"error": "no right to write"}, 403)
        if "preupload" in self.path:
            return self._answer(
                {
                    "files": [
                        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for f in json.loads(body)["files"]
                    ]
                }
            )
        here = f"http://127.0.0.1:{self.server.server_address[1]}/jane/cells"
        self._answer(
            {"url": here, "success": True, "commitOid": COMMIT, "commitUrl": f"{here}/commit/{COMMIT}"}
        )

    def do_GET(self):
        self._answer({"id": "jane/cells", "siblings": [], "sha": COMMIT})

    def _answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("refuses", [False, True])
def test_share_uploads_with_the_real_client(own, refuses, capsys):
    import base64

    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        receiver.requests, receiver.refuses = [], refuses
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{receiver.server_address[1]}"
            if refuses:
                refused(
                    lambda: sharing.share(own[0], "jane/cells", "secret", False, url),
                    "nothing was uploaded",
                    "403",
                )
                return
            sharing.share(own[0], "jane/cells", token="secret", dry_run=False, url=url)
        finally:
            receiver.shutdown()
    assert {token for _, token, _ in receiver.requests} == {"Bearer secret"}
    (commit,) = [body for path, _, body in receiver.requests if "/commit/" in path]
    files = {
        line["value"]["path"]: base64.b64decode(line["value"]["content"])
        for line in map(json.loads, commit.splitlines())
        if line["key"] == "file"
    }
    assert (
        files.keys() == {"wnet3d.pt", "README.md"}
        and files["wnet3d.pt"] == (own[0] / "wnet3d.pt").read_bytes()
    )
    created = next(body for path, _, body in receiver.requests if path == "/api/repos/create")
    made = json.loads(created)
    # nobody sees it before you say so
    assert made.get("private") is True or made.get("visibility") == "private"
    assert re.search(COMMIT, capsys.readouterr().out)


def test_your_token_stays_with_the_hub():
    assert hub._token(None, None) is None  # the Hub itself: the client's own login
    assert hub._token(None, "http://mirror") is False and hub._token("given", "http://mirror") == "given"
