"""The network: names and shapes of the released weights, what it computes, widths and classes."""

import json

import pytest
import torch

from cellseg_nb.data import bundled
from cellseg_nb.errors import UserError
from cellseg_nb.networks.wnet3d import LAPTOP_CHANNELS, WNet3D


def test_names_and_shapes_of_the_released_weights():
    published = json.loads(bundled.path("published/wnet3d_official_state_dict.json").read_text())
    with torch.device("meta"):
        model = WNet3D()
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == published
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(50.5e6, rel=0.01)


def test_groups_eps_and_dropout_as_published():
    model = WNet3D(channels=(8, 8, 8, 8))
    norms = [m for m in model.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert all(norm.num_groups == 4 and norm.eps == 1e-5 for norm in norms)
    assert all(m.p == 0.65 for m in model.modules() if isinstance(m, torch.nn.Dropout))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_shapes_and_probabilities(classes):
    model = WNet3D(classes, (8, 8, 16, 16)).eval()
    x = torch.rand(2, 1, 16, 8, 24)
    p, rebuilt = model(x)
    assert p.shape == (2, classes, 16, 8, 24) and rebuilt.shape == x.shape
    assert torch.allclose(p.sum(1), torch.ones(()))
    assert torch.equal(p, model.encoder(x)) and (p >= 0).all()


def test_computes_what_the_released_code_computes():
    """The forward pass written out once more, functionally, from the published description."""
    import torch.nn.functional as F

    torch.manual_seed(0)
    model = WNet3D(2, (8, 12, 16, 20)).eval()
    w = {k.removeprefix("encoder."): v for k, v in model.state_dict().items() if k.startswith("encoder.")}

    def conv(x, name):
        weight = w[f"{name}.weight"]
        return F.conv3d(x, weight, w[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def norm(x, name):
        return F.group_norm(F.relu(x), 4, w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    def block(x, name):
        x = norm(conv(conv(x, f"{name}.module.0"), f"{name}.module.1"), f"{name}.module.4")
        return norm(conv(conv(x, f"{name}.module.5"), f"{name}.module.6"), f"{name}.module.9")

    def ends(x, name):
        x = norm(conv(x, f"{name}.module.0"), f"{name}.module.3")
        return norm(conv(x, f"{name}.module.4"), f"{name}.module.7")

    def up(x, name):
        return F.conv_transpose3d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2)

    x = torch.rand(1, 1, 16, 16, 8) * 100
    a = ends(x, "in_b")
    b = block(F.max_pool3d(a, 2), "conv1")
    c = block(F.max_pool3d(b, 2), "conv2")
    d = block(F.max_pool3d(c, 2), "bot")
    d = block(torch.cat([c, up(d, "conv_trans2")], 1), "deconv2")
    d = block(torch.cat([b, up(d, "conv_trans3")], 1), "deconv3")
    d = conv(ends(torch.cat([a, up(d, "conv_trans_out")], 1), "out_b"), "out_b.module.8")
    assert torch.allclose(model.encoder(x), d.softmax(1), atol=1e-6)


def test_training_drops_features_and_evaluation_does_not():
    model = WNet3D(channels=(8, 8, 8, 8))
    x = torch.rand(1, 1, 8, 8, 8)
    assert not torch.equal(model.encoder(x), model.encoder(x))
    model.eval()
    assert torch.equal(model.encoder(x), model.encoder(x))


@pytest.mark.parametrize("wrong", [(16, 32, 64), (15, 32, 64, 128), (0, 4, 4, 4)])
def test_wrong_widths(wrong):
    with pytest.raises(UserError, match="divisible by 4"):
        WNet3D(channels=wrong)


def test_wrong_number_of_classes():
    with pytest.raises(UserError, match="classes"):
        WNet3D(1, LAPTOP_CHANNELS)
