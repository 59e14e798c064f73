"""SoftNCuts against slow, obvious implementations of the formulas, and by gradient check."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from cellseg_nb.networks import ncuts


def random_problem(seed, shape=(4, 5, 3), classes=2, batch=1, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    volume = scale * torch.rand((batch, 1, *shape), generator=generator, dtype=torch.float64)
    p = torch.rand((batch, classes, *shape), generator=generator, dtype=torch.float64).softmax(1)
    return p, volume


def voxels(shape):
    return list(itertools.product(*(range(s) for s in shape)))


def slow_pairwise(p, volume, si, sx, radius):
    """Every pair of voxels, one by one, as in Xia & Kulis 2017, equation 2 and the weights below it."""
    total = 0.0
    for n in range(len(p)):
        for k in range(p.shape[1]):
            inside = everything = 0.0
            for u in voxels(p.shape[2:]):
                for v in voxels(p.shape[2:]):
                    squared = sum((a - b) ** 2 for a, b in zip(u, v))
                    if squared > radius**2:
                        continue
                    difference = float(volume[n, 0][u] - volume[n, 0][v])
                    w = math.exp(-(difference**2) / si**2) * math.exp(-squared / (2 * sx**2))
                    inside += float(p[n, k][u]) * w * float(p[n, k][v])
                    everything += float(p[n, k][u]) * w
            total += 1 - inside / everything
    return total / len(p)


def slow_class_mean(p, volume, si, sx, radius):
    total = 0.0
    for n in range(len(p)):
        for k in range(p.shape[1]):
            mean = float((volume[n, 0] * p[n, k]).mean() / (p[n, k].mean() + 1e-5))
            inside = everything = 0.0
            for u in voxels(p.shape[2:]):
                for v in voxels(p.shape[2:]):
                    if max(abs(a - b) for a, b in zip(u, v)) > radius:
                        continue
                    squared = sum((a - b) ** 2 for a, b in zip(u, v))
                    w = math.exp(-(((float(volume[n, 0][v]) - mean) ** 2) ** 2) / si**2) * math.exp(
                        -squared / (2 * sx**2)
                    )
                    inside += float(p[n, k][u]) * w * float(p[n, k][v])
                    everything += float(p[n, k][u]) * w
            total += 1 - inside / (everything + 1e-6)
    return total / len(p)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("radius", [1, 2])
@pytest.mark.parametrize("fast, slow", [(ncuts.pairwise, slow_pairwise), (ncuts.class_mean, slow_class_mean)])
def test_equals_the_formula(fast, slow, radius, classes):
    p, volume = random_problem(radius, (3, 4, 3), classes, batch=2)
    assert float(fast(p, volume, 1.3, 1.7, radius)) == pytest.approx(
        slow(p, volume, 1.3, 1.7, radius), rel=1e-6
    )


@pytest.mark.parametrize("form", [ncuts.pairwise, ncuts.class_mean])
def test_gradients(form):
    p, volume = random_problem(3, (3, 4, 3), classes=3)
    assert torch.autograd.gradcheck(lambda q: form(q, volume, 1.5, 2.0, 1), p.requires_grad_())


def test_second_derivative_of_the_blur():
    x = torch.rand((1, 1, 3, 4, 3), dtype=torch.float64, requires_grad=True)
    line = ncuts.gaussian_line(1, 2.0, x)
    assert torch.autograd.gradgradcheck(lambda q: ncuts._Blur.apply(q, line) ** 2, x)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), classes=st.integers(2, 4), radius=st.integers(1, 2))
def test_bounds_and_order_of_classes(seed, classes, radius):
    p, volume = random_problem(seed, (5, 4, 6), classes)
    for form in (ncuts.pairwise, ncuts.class_mean):
        value = float(form(p, volume, 1.0, 4.0, radius))
        assert 0 <= value <= classes
        assert value == pytest.approx(float(form(p.flip(1), volume, 1.0, 4.0, radius)), rel=1e-9)


@pytest.mark.parametrize("form", [ncuts.pairwise, ncuts.class_mean])
def test_a_right_split_is_better_than_a_wrong_one(form):
    volume = torch.zeros((1, 1, 8, 8, 8))
    volume[..., :4] = 50
    right = (volume > 0).float()
    wrong = torch.zeros_like(volume)
    wrong[:, :, :4] = 1
    scores = [float(form(torch.cat([m, 1 - m], 1), volume)) for m in (right, wrong)]
    assert scores[0] < 0.01 < scores[1]


def test_volume_smaller_than_the_radius():
    p, volume = random_problem(0, (1, 2, 1))
    assert float(ncuts.pairwise(p, volume, radius=2)) == pytest.approx(
        slow_pairwise(p, volume, 1, 4, 2), rel=1e-6
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_exp_is_torchs_to_the_bit(layout):
    """Results of 0, no ordinary numbers, and ordinary ones; short trainings hang on the last bits."""
    torch.manual_seed(0)
    x = (-120 * torch.rand(2, 3, 8, 10, 11) ** 2).contiguous(memory_format=layout)
    x[0, 0, 0, 0, :4] = torch.tensor([-torch.inf, -104.0, -87.0, 0.0])
    for some in (x, x[..., 1:], x[:, 1], x.double()):
        assert torch.equal(ncuts._Exp.apply(some), some.exp())
    x.requires_grad_()
    ours, theirs = (torch.autograd.grad(f(x).square().sum(), x)[0] for f in (ncuts._Exp.apply, torch.exp))
    assert torch.equal(ours, theirs)
