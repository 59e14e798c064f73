"""SoftNCuts, class-mean form, forward and backward: separable blur against one 5x5x5 convolution a term, side
by side."""

import statistics
import time

import torch
import torch.nn.functional as F

from cellseg_nb.networks import ncuts


def by_convolution(p, volume, si=1.0, sx=4.0, radius=2):
    line = ncuts.gaussian_line(radius, sx, p)
    kernel = (line[:, None, None] * line[:, None] * line)[None, None]
    loss = p.shape[1]
    for k in range(p.shape[1]):
        q = p[:, k : k + 1]
        mean = (volume * q).mean((2, 3, 4), keepdim=True) / (q.mean((2, 3, 4), keepdim=True) + 1e-5)
        weight = torch.exp(-(((volume - mean) ** 2) ** 2) / si**2)
        inside = (q * F.conv3d(q * weight, kernel, padding=radius)).sum((1, 2, 3, 4))
        everything = (q * F.conv3d(weight, kernel, padding=radius)).sum((1, 2, 3, 4))
        loss = loss - (inside / (everything + 1e-6)).mean()
    return loss


def seconds(form, p, volume):
    start = time.perf_counter()
    form(p, volume).backward()
    return time.perf_counter() - start


torch.manual_seed(0)
volume = 100 * torch.rand(2, 1, 64, 64, 64)
p = torch.rand(2, 2, 64, 64, 64).softmax(1).requires_grad_()
assert torch.allclose(ncuts.class_mean(p, volume), by_convolution(p, volume), atol=1e-5)
pairs = [(seconds(ncuts.class_mean, p, volume), seconds(by_convolution, p, volume)) for _ in range(9)][2:]
print(
    f"separable {statistics.median(a for a, _ in pairs):.3f} s, convolution "
    f"{statistics.median(b for _, b in pairs):.3f} s, "
    f"ratio {statistics.median(b / a for a, b in pairs):.1f} (median of {len(pairs)} pairs)"
)
