"""SoftNCuts: how badly a soft segmentation cuts through voxels that belong together.

Shi & Malik 2000 cut a graph so that what is joined strongly stays together; Xia & Kulis 2017
(arXiv:1711.08506) made it soft, so that a network can learn from it:

    loss = K - sum_k  assoc(k, k) / assoc(k, all)

assoc(k, k) adds the edge weights inside class k, assoc(k, all) those from class k to everything. The loss is
0 when no strong edge leaves its class, and at most K. Two forms differ in what an edge weighs:

* ``pairwise``, the formula of the papers: w(u, v) = exp(-(I_u - I_v)^2 / s_I^2) * g(u - v), for all pairs
  within the radius. Computed by shifting the volume, one offset at a time.
* ``class_mean``, what the released CellSeg3D code computes and what finds cells: the brightness part compares
  a voxel with the mean of its class, w_k(v) = exp(-((I_v - mean_k)^2)^2 / s_I^2), and g is applied by a
  convolution.

g(d) = exp(-|d|^2 / (2 s_X^2)), over a cube of side 2 r + 1 (class_mean) or a ball of radius r (pairwise).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

UNLIKE = -80.0  # exp of less is no ordinary float32 any more, takes ten times as long, and counts for nothing


def gaussian_line(radius, sigma, like):
    """One axis of g: it is a product over the axes, so three short sums do the work of one (2r+1)^3
    convolution."""
    d = torch.arange(-radius, radius + 1, dtype=like.dtype, device="cpu")  # a GPU need not be asked for it
    return torch.exp(-(d**2) / (2 * sigma**2))


def _blur(x, line):
    radius = len(line) // 2
    for axis in (2, 3, 4):
        blurred = torch.zeros_like(x)
        for i, factor in enumerate(line.tolist()):
            reach = x.shape[axis] - abs(i - radius)
            if reach > 0:  # outside are zeros
                from_ = x.narrow(axis, max(0, i - radius), reach)
                blurred.narrow(axis, max(0, radius - i), reach).add_(from_, alpha=factor)
        x = blurred
    return x


class _Blur(torch.autograd.Function):
    """A symmetric kernel with zeros outside is its own adjoint: the backward pass is the same blur."""

    @staticmethod
    def forward(ctx, x, line):
        ctx.line = line
        return _blur(x, line)

    @staticmethod
    def backward(ctx, gradient):
        # Through apply, not _blur, so that second derivatives (gradgradcheck) work too.
        return _Blur.apply(gradient, ctx.line), None


class _Exp(torch.autograd.Function):
    """torch.exp, to the bit. On a CPU it takes ten times as long where the result is 0 or no ordinary number,
    as most weights are: these are left out, and the few in between done apart."""

    @staticmethod
    def forward(ctx, x):
        y = x.clamp(min=-87.0) if x.device.type == "cpu" and x.dtype == torch.float32 else None
        if y is None or x.stride() != y.stride():  # in the same order in memory, whatever that is
            y = x.exp()
        else:
            y = F.threshold_(y.exp_(), 1.7e-38, 0.0)
            ours, theirs = (each.as_strided([x.numel()], [1]) for each in (y, x))
            between = np.flatnonzero(((theirs > -104) & (theirs < -86.9)).numpy())
            ours[between] = theirs[between].exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0]


def class_mean(probabilities, volume, intensity_sigma=1.0, spatial_sigma=4.0, radius=2):
    """SoftNCuts as the released CellSeg3D code computes it (`soft_Ncuts.py`), mean over the batch.

    Parameters
    ----------
    probabilities : (N, K, Z, Y, X) float tensor, sums to 1 over K
    volume : (N, 1, Z, Y, X) float tensor, on the scale ``intensity_sigma`` is given in (the paper: 0 to 100)
    intensity_sigma, spatial_sigma : float
        Scales in brightness units (its square root, since the difference is squared twice) and in voxels.
    radius : int
        Half side of the neighbourhood, in voxels.

    Returns a scalar tensor between 0 and K.
    """
    p = probabilities
    sides = (2, 3, 4)
    mean = (volume * p).mean(sides, keepdim=True) / (p.mean(sides, keepdim=True) + 1e-5)
    weight = _Exp.apply(((volume - mean) ** 2) ** 2 / -(intensity_sigma**2))
    # sum(p * blur(w)) = sum(blur(p) * w), since blurring is self-adjoint: one blur a class serves both sums.
    near = _Blur.apply(p, gaussian_line(radius, spatial_sigma, p)) * weight
    inside = (near * p).sum(sides)
    everything = near.sum(sides)
    return p.shape[1] - (inside / (everything + 1e-6)).sum(1).mean()


def offsets(radius):
    """Half of the neighbour offsets (dz, dy, dx) within ``radius`` voxels; the other half are their mirror
    images."""
    reach = range(-int(radius), int(radius) + 1)
    inside = [
        (z, y, x) for z in reach for y in reach for x in reach if 0 < z * z + y * y + x * x <= radius**2
    ]
    return [d for d in inside if d > (0, 0, 0)]


def shifted(x, offset):
    """Views of x at u and at u + offset, for all u where both lie in the volume."""
    first, second = x, x
    for axis, d in zip((2, 3, 4), offset):
        size = x.shape[axis] - abs(d)
        first = first.narrow(axis, max(0, -d), size)
        second = second.narrow(axis, max(0, d), size)
    return first, second


def edge_weight(volume, offset, intensity_sigma=1.0, spatial_sigma=4.0):
    """Pairwise weight between each voxel and the one at ``offset``: close by and equally bright is 1, else
    towards 0."""
    a, b = shifted(volume, offset)
    distance = sum(d * d for d in offset)
    factor = math.exp(-distance / (2 * spatial_sigma**2))
    return torch.exp(-((a - b) ** 2) / intensity_sigma**2) * factor


def pairwise(probabilities, volume, intensity_sigma=1.0, spatial_sigma=4.0, radius=2):
    """SoftNCuts as the papers write it: over all voxel pairs no further apart than ``radius``.

    Parameters and return value as in `class_mean`. Offsets that leave the volume are left out.
    """
    inside, everything = _Pairs.apply(probabilities, volume, intensity_sigma, spatial_sigma, radius)
    return probabilities.shape[1] - (inside / (everything + 1e-6)).sum(1).mean()


class _Pairs(torch.autograd.Function):
    """assoc(k, k) and assoc(k, all), two (N, K) tensors.

    With W the matrix of all weights they are p' W p and p' W 1, and W is symmetric: the gradients are 2 W p
    and W 1, which the forward pass has computed. Autograd would keep every shifted product instead.
    """

    @staticmethod
    def forward(ctx, p, volume, *scales):
        near, degree = _weighted(p.detach(), volume.detach(), *scales)
        ctx.save_for_backward(near, degree)
        return (near * p).sum((2, 3, 4)), (degree * p).sum((2, 3, 4))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, inside, everything):
        near, degree = ctx.saved_tensors
        gradient = near * (2 * inside[:, :, None, None, None])
        return gradient.addcmul_(everything[:, :, None, None, None], degree), None, None, None, None


OUTSIDE = 1e18  # so unlike any voxel that its weight is 0; its square is still a float32


def _weighted(p, volume, intensity_sigma, spatial_sigma, radius):
    """W p, (N, K, Z, Y, X), and W 1, (N, 1, Z, Y, X).

    With a rim of ``radius`` voxels after each row, column, and slice, a neighbour is one shift along memory,
    and what leaves the volume comes to lie in a rim.
    """
    radius = int(radius)
    rim = (0, radius) * 3
    shape = [side + radius for side in p.shape[2:]]
    bright = F.pad(volume / intensity_sigma, rim, value=OUTSIDE).flatten(2)
    classes = F.pad(p, rim).flatten(2)
    near, degree = classes.clone(), torch.ones_like(bright)  # each voxel with itself: weight 1
    for z, y, x in offsets(radius):
        shift = (z * shape[1] + y) * shape[2] + x
        end = bright.shape[-1] - shift
        first, second = slice(0, end), slice(shift, None)
        weight = bright[..., first] - bright[..., second]
        close = bright.new_full((1,), -(z * z + y * y + x * x) / (2 * spatial_sigma**2))
        weight = torch.addcmul(close, weight, weight, value=-1, out=weight).clamp_(min=UNLIKE).exp_()
        near[..., first].addcmul_(weight, classes[..., second])
        near[..., second].addcmul_(weight, classes[..., first])
        degree[..., first].add_(weight)
        degree[..., second].add_(weight)
    near, degree = (each.unflatten(2, shape) for each in (near, degree))
    inner = tuple(slice(0, side) for side in p.shape[2:])
    return near[(..., *inner)], degree[(..., *inner)]


FORMS = {"class_mean": class_mean, "pairwise": pairwise}
