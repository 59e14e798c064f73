"""The layers of wide networks on a CPU: what torch's own compute, forwards and backwards."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cellseg_nb.networks import faster, wnet3d
from cellseg_nb.networks.wnet3d_loss import WNetLoss


def alike(ours, theirs, tolerance=2e-5):
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and (a - b).abs().max() <= tolerance * b.abs().max()


@pytest.mark.parametrize("shape", [(2, 12, 8, 6, 10), (1, 9, 4, 5, 7), (3, 16, 12, 4, 4)])
@pytest.mark.parametrize("share", [0.1, 0.5, 100])  # tiles one by one, a few, all at once
def test_a_convolution(monkeypatch, shape, share):
    monkeypatch.setattr(faster, "SHARE", share)
    torch.manual_seed(0)
    x = torch.randn(shape, requires_grad=True)
    weight, bias = torch.randn(11, shape[1], 3, 3, 3, requires_grad=True), torch.randn(11, requires_grad=True)
    ours, theirs = faster.Convolution.apply(x, weight, bias), F.conv3d(x, weight, bias, padding=1)
    gradient, all_ = torch.randn_like(theirs), (x, weight, bias)
    alike([ours], [theirs])
    alike(torch.autograd.grad(ours, all_, gradient), torch.autograd.grad(theirs, all_, gradient))


@pytest.mark.parametrize("depth", [8, 6])  # by tiles of four slices, and where they do not fit
@pytest.mark.parametrize("block", [(1, 16, 2), (32, 16, None), "in", "out"])
def test_blocks(depth, block):
    torch.manual_seed(0)
    if isinstance(block, tuple):
        inputs, layers = block[0], wnet3d._Ends(block[0], 16, 0.0, block[2]).module
    else:
        inputs, width = (32, 16) if block == "in" else (16, 32)
        layers = wnet3d._Block(inputs, width, 0.0).module
    x = torch.randn(2, inputs, depth, 8, 12, requires_grad=True)
    ours, theirs = faster.run(layers, x), layers(x)
    gradient, all_ = torch.randn_like(theirs), [x, *layers.parameters()]
    alike([ours], [theirs])
    alike(torch.autograd.grad(ours, all_, gradient), torch.autograd.grad(theirs, all_, gradient))


def test_two_convolutions_are_joined_where_that_is_less():
    x = torch.zeros(2, 1, 32, 32, 32)
    wide, narrow = wnet3d._Block(128, 64, 0.0).module, wnet3d._Block(64, 128, 0.0).module
    assert faster._worth_joining(x, wide[0], wide[1]) and not faster._worth_joining(x, narrow[0], narrow[1])
    assert not faster._worth_joining(x[..., :1, :1, :1], wide[0], wide[1])  # weights are more


def test_dropout_draws_the_same_and_its_factor_is_normalised_away():
    layers = nn.Sequential(*wnet3d._tail(16, 0.65)).train()
    x = torch.randn(2, 16, 4, 6, 8).contiguous(memory_format=faster.LAST).requires_grad_()
    norm, found = layers[2], []
    for call in (
        lambda: faster.Tail.apply(x, 0.65, norm.weight, norm.bias, norm.num_groups, norm.eps),
        lambda: layers(x),
    ):
        torch.manual_seed(1)
        y = call()
        found.append([y, *torch.autograd.grad(y, (x, *norm.parameters()), x.detach() ** 2)])
    alike(*found)
    assert 0.15 < (found[0][1] != 0).float().mean() < 0.2  # a half is above 0, 0.35 of these are kept


def test_upsampling():
    up, x = nn.ConvTranspose3d(6, 5, 2, stride=2), torch.randn(2, 6, 3, 4, 5)
    alike([faster.upsampled(x, up.weight, up.bias)], [up(x)])


def test_a_wide_network_learns_the_same(monkeypatch):
    """Three steps from the same weights; all networks of the demo are narrower and left as they are."""
    assert wnet3d.WNet3D(channels=wnet3d.LAPTOP_CHANNELS).encoder.bot.wide is False
    monkeypatch.setattr(faster, "WIDE", 16)
    losses, volume = [], 100 * torch.rand(2, 1, 16, 16, 16)
    for wide in (True, False):
        torch.manual_seed(0)
        model = wnet3d.WNet3D(channels=(16, 16, 32, 32), dropout=0.0).train()
        assert model.encoder.bot.wide and model.decoder.conv_trans2.wide
        if not wide:
            monkeypatch.setattr(faster, "can", lambda x: False)
        optimizer, loss = torch.optim.Adam(model.parameters(), 1e-3), WNetLoss(balance="fixed")
        for _ in range(3):
            terms = loss(model, volume)
            optimizer.zero_grad()
            terms["loss"].backward()
            optimizer.step()
            losses.append(float(terms["loss"].detach()))
    assert losses[:3] == pytest.approx(losses[3:], rel=1e-4) and losses[0] != losses[2]


def test_prediction_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(faster, "WIDE", 8)
    monkeypatch.setattr(faster, "run", None)
    model = wnet3d.WNet3D(channels=(8, 8, 8, 8)).eval()
    assert model(torch.rand(1, 1, 8, 8, 8))[1].shape == (1, 1, 8, 8, 8)
