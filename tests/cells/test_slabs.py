"""Layer by layer, in slabs: what one pass gives, whatever the slabs, in memory and on the disk."""

import os
import tempfile

import numpy as np
import pytest
import torch
from torch import nn

from cellseg_nb import methods, runtime
from cellseg_nb.cells import inference, slabs
from cellseg_nb.errors import UserError
from cellseg_nb.methods import released
from cellseg_nb.methods.predictor import Predictor
from cellseg_nb.networks import losses, monai_nets
from cellseg_nb.networks.wnet3d import WNet3D

CPU = torch.device("cpu")
SHAPES = [(48, 16, 32), (16, 16, 64)]  # cut along Z, and along X


def drawn(model):
    """Biases and factors of normalisations that are not 0 and 1."""
    for weight in model.parameters():
        if weight.ndim == 1:
            weight.data += 0.3 * torch.randn_like(weight)
    return model.eval()


def made(name):
    """A callable network of this name, narrow."""
    torch.manual_seed(0)
    if name in ("wnet3d", "rebuilt"):
        model = drawn(WNet3D(channels=(4, 4, 8, 8)))
        return model.encoder if name == "wnet3d" else lambda x: model(x)[1]
    if name == "released":
        model = drawn(monai_nets.network("segresnet", init_filters=8))
    elif name == "instance":
        options = dict(out_channels=2, init_filters=4, norm="instance", act="leakyrelu")
        model = drawn(monai_nets.network("segresnet", **options))
    else:
        model = drawn(methods.get(name, init_filters=8, device="cpu").model)
    return lambda x: torch.sigmoid(losses.logits(model, x))


@pytest.mark.parametrize("name", ["wnet3d", "rebuilt", "segresnet", "released", "instance", "unet"])
def test_slabs_give_one_pass(name, monkeypatch):
    network = made(name)
    plan = slabs.plan(network)
    monkeypatch.setattr(slabs, "FEWEST", 1)
    for shape in SHAPES:
        x = 100 * torch.rand(1, 1, *shape)
        with torch.inference_mode():
            whole = network(x)
            for memory in (10**5, 10**9):  # slabs of a plane, mostly on the disk; all at once
                found = slabs.run(plan, x, memory, 128, CPU)
                assert (found - whole).abs().max() < 3e-5 * max(1, float(whole.abs().max()))


def test_memory_is_bounded_and_the_disk_left_empty(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    network, most, written = made("wnet3d"), 0, []
    keep = slabs._Pass._keep

    def spy(one, node, start, stop, slab):
        nonlocal most
        keep(one, node, start, stop, slab)
        most = max(most, one.held)
        written.append(sum(len(files) for _, _, files in os.walk(tmp_path)))

    plan = slabs.plan(network)
    monkeypatch.setattr(slabs._Pass, "_keep", spy)
    x = torch.rand(1, 1, 64, 16, 16)
    slabs.run(plan, x, 2**30, 128, CPU)
    assert not any(written) and most < 16384 * 128 / 2  # of what one pass takes, half
    slabs.run(plan, x, 10**5, 128, CPU)
    assert any(written) and not os.listdir(tmp_path)
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match="free some space.*TMPDIR"):
        slabs.run(plan, x, 10**5, 128, CPU)


def test_too_little_room_is_told_before_it_begins(monkeypatch, tmp_path):
    """What is said to be needed is no more than what is written, so that nobody is refused who has room."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    plan, x, free, most = slabs.plan(made("segresnet")), torch.rand(1, 1, 64, 16, 16), 10**9, 0
    keep = slabs._Pass._keep

    def spy(*given):
        nonlocal most
        keep(*given)
        most = max(most, sum(os.path.getsize(each) for each in tmp_path.rglob("*.npy")))

    monkeypatch.setattr(slabs._Pass, "_keep", spy)
    monkeypatch.setattr(slabs.shutil, "disk_usage", lambda _: type("Disk", (), {"free": free}))
    slabs.run(plan, x, 10**5, 128, CPU)
    free = most
    slabs.run(plan, x, 10**5, 128, CPU)
    free, most = 0.7 * most, 0
    with pytest.raises(UserError, match=f"^{tmp_path}, .* GB of room, .* at least [0-9.e-]+ there: .*TMPDIR"):
        slabs.run(plan, x, 10**5, 128, CPU)
    assert not most


def test_a_network_that_is_read_wrongly_is_told_once(monkeypatch, capsys):
    """Compared in full 32 bits, whatever a GPU's convolutions are allowed."""
    network, seen = made("wnet3d"), []

    def agree(*given):
        seen.append(torch.backends.cudnn.allow_tf32)
        return run(*given) * 0.9

    run = slabs.run
    runtime.say_once.cache_clear()
    monkeypatch.setattr(slabs, "run", agree)
    assert slabs.plan(network) is None and slabs.plan(network) is None and seen == [False, False]
    assert capsys.readouterr().out.count("windows are used") == 1 and torch.backends.cudnn.allow_tf32


def test_what_is_not_known_goes_in_windows():
    """Control flow, a scale of each window's own, a layer of another kind; and no wrong answer where a layer
    is read wrongly."""
    encoder = made("wnet3d")
    assert slabs.plan(lambda x: encoder(x) if x.shape[2] > 8 else x) is None
    assert slabs.plan(lambda x: encoder(released.stretched(x, 100.0))) is None
    assert slabs.plan(nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.BatchNorm3d(2)).eval()) is None
    assert slabs.plan(lambda x: x.relu() if isinstance(x, torch.Tensor) else x.sigmoid()) is None
    assert slabs.plan(methods.get("swinunetr", device="cpu").model.eval()) is None
    assert slabs.plan(lambda x: x) is None
    halved = [nn.MaxPool3d(2) for _ in range(6)]  # more often than the small cube can be
    assert slabs.plan(nn.Sequential(*halved).eval()) is None
    assert inference.way((200, 200, 200), 1024, None, encoder) == "slabs"
    assert inference.way((200, 200, 200), 1024, 0, encoder) == "windows"


@pytest.mark.parametrize("name, options", [("wnet3d", {"channels": (4, 4, 8, 8)}), ("segresnet", {})])
def test_methods_and_predictors_above_the_limit(name, options):
    """The same for a volume whose sides are not divisible, and for mirror images."""
    method = methods.get(name, **options, device="cpu")
    volume = (np.random.default_rng(0).random((41, 20, 17)) * 300).astype(np.float32)
    weights = dict(architecture=name, threshold=0.5, scaling="volume" if name == "wnet3d" else "unit")
    predictor = Predictor(method.model.eval(), **weights)
    for find in (method.predict, predictor):
        whole = find(volume, progress=False)
        found = find(volume, memory=10**5, progress=False)
        assert found.shape == volume.shape and np.abs(found - whole).max() < 1e-5
    mirrored = [predictor(volume, memory=m, flips=True, progress=False) for m in (None, 10**6)]
    assert np.abs(mirrored[0] - mirrored[1]).max() < 1e-5
