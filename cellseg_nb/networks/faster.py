"""The layers of a wide network in training on a CPU: the same function with under half the multiplications.

At the paper's widths a step is nearly all convolutions, and these run at the speed of the processor: what is
left is to multiply less.

* A 3x3x3 convolution takes four slices of its output at once from six of its input, with 6 x 9 products for
  each pair of channels where 4 x 27 are the rule (`Convolution`).
* A 3x3x3 convolution with a 1x1x1 after it is one convolution: their weights are multiplied instead of the
  features, where that is less (`joined`).
* ReLU, dropout and normalisation keep one array for the backward pass, not three (`Tail`).

Results differ from torch's own layers in the last bits (float32, 1e-6 of the largest), so networks of other
widths, prediction, and GPUs are left as they are.
"""

import torch
import torch.nn.functional as F
from torch import nn

LAST = torch.channels_last_3d  # (N, C, Z, Y, X) with C last in memory: a slice is one block

# F(4, 3) of Winograd's minimal filtering, here along Z: Lavin & Gray 2016, "Fast algorithms for convolutional
# neural networks", section 4.3. four outputs = OUT ((KERNEL w) * (IN x)), from six inputs x, three weights w
IN = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
KERNEL = torch.tensor([[6.0, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
OUT = torch.tensor([[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
WIDE = 64  # channels of the narrowest level: below, short trainings keep their bits
STEP, SHARE = 4, 3  # slices of output a tile has; pictures at once, as a multiple of the kernels


def can(x):
    """Whether an input may go this way."""
    return x.device.type == "cpu" and x.dtype == torch.float32


def run(layers, x):
    """What ``nn.Sequential(*layers)`` does, in training."""
    layers, x = list(layers), x.contiguous(memory_format=LAST)
    while layers:
        layer, *layers = layers
        if isinstance(layer, nn.ReLU):
            dropout, norm, *layers = layers
            x = Tail.apply(x, dropout.p, norm.weight, norm.bias, norm.num_groups, norm.eps)
        elif layer.kernel_size == (1, 1, 1):
            x = pointwise(x, layer.weight.flatten(1), layer.bias)
        elif layers and isinstance(layers[0], nn.Conv3d) and _worth_joining(x, layer, layers[0]):
            second, *layers = layers
            x = convolved(x, *joined(layer, second))
        else:
            x = convolved(x, layer.weight, layer.bias)
    return x


# ---------------------------------------------------------------- convolutions


def _worth_joining(x, first, second):
    inputs, middle, outputs = first.in_channels, first.out_channels, second.out_channels
    apart, together = 27 * inputs * middle + 2 * middle * outputs, 27 * inputs * outputs
    if not _worth_transforming(x, max(inputs, outputs)):
        apart, together = 2 * apart, 2 * together
    return together * x[:, 0].numel() + 2 * 27 * inputs * middle * outputs < apart * x[:, 0].numel()


def joined(first, second):
    """Weights and bias of a 3x3x3 and a 1x1x1 convolution taken as one."""
    # a 2D convolution is torch's quickest product of matrices: oneDNN's, for any processor
    weight = F.conv2d(first.weight.flatten(2)[None], second.weight.squeeze(-1))[0]
    bias = torch.addmv(second.bias, second.weight.flatten(1), first.bias)
    return weight.unflatten(2, first.weight.shape[2:]), bias


def pointwise(x, weight, bias):
    """A 1x1x1 convolution, slice by slice; ``weight`` (O, I)."""
    pictures = x.movedim(2, 1).flatten(0, 1)
    found = F.conv2d(pictures, weight[..., None, None], bias)
    return found.unflatten(0, (len(x), -1)).movedim(1, 2)


def convolved(x, weight, bias):
    if _worth_transforming(x, max(weight.shape[:2])):
        return Convolution.apply(x, weight, bias)
    # of one channel torch cannot tell how it lies in memory
    return F.conv3d(x, weight, bias, padding=1).contiguous(memory_format=LAST)


def _worth_transforming(x, width):
    return x.shape[2] % STEP == 0 and x.shape[1] > 8 and x[:, 0].numel() >= 8 * width


def upsampled(x, weight, bias):
    """A transposed convolution of kernel and stride 2: each voxel becomes eight."""
    count, _, *sides = x.shape
    eight = weight.permute(2, 3, 4, 1, 0).flatten(0, 3)
    x = pointwise(x.contiguous(memory_format=LAST), eight, bias.repeat(8))
    x = x.movedim(1, -1).reshape(count, *sides, 2, 2, 2, -1)
    x = x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(count, *(2 * side for side in sides), -1)
    return x.movedim(-1, 1)


class Convolution(torch.autograd.Function):
    """A 3x3x3 convolution with zeros outside, (N, I, Z, Y, X) and (O, I, 3, 3, 3) -> (N, O, Z, Y, X); Z is
    divisible by 4.

    Along Z by `IN`, `KERNEL` and `OUT`; what is multiplied between them are pictures, by torch's 2D
    convolution. All three are linear, so the backward pass goes back through their transposes.
    """

    @staticmethod
    def forward(ctx, x, weight, bias):
        x = x.contiguous(memory_format=LAST)
        ctx.save_for_backward(x, weight)
        y = torch.empty((len(x), len(weight), *x.shape[2:]), memory_format=LAST)
        slices, kernels, rooms = _slices(y), _kernels(weight), {}
        for tiles in _few(x, weight):
            found = [
                F.conv2d(picture, kernel, bias if number == 1 else None, padding=1)
                for number, (picture, kernel) in enumerate(zip(_pictures(x, tiles, rooms), kernels))
            ]
            for place, (volume, z) in enumerate(tiles):
                torch.mm(OUT, _stacked(found, place, rooms), out=slices[volume, z : z + STEP])
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        gradient, kernels = gradient.contiguous(memory_format=LAST), _kernels(weight)
        asked = [ctx.needs_input_grad[0], True, False]
        back, summed, rooms = torch.empty_like(x) if asked[0] else None, [], {}
        for tiles in _few(x, weight):
            found = [
                torch.ops.aten.convolution_backward(
                    down, picture, kernel, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, asked
                )
                for down, picture, kernel in zip(
                    _spread(gradient, tiles, rooms), _pictures(x, tiles, rooms), kernels
                )
            ]
            summed = [one[1] + before for one, before in zip(found, summed or 6 * [0])]
            for place, (volume, z) in enumerate(tiles if asked[0] else ()):
                _add(_slices(back)[volume], z, _stacked([one[0] for one in found], place, rooms))
        return back, _kernel(summed), gradient.sum((0, 2, 3, 4))


def _few(x, weight):
    """Tiles, (volume, first slice) each, a few at a time: so few that their pictures stay in the cache, so
    many that the kernels are not read more often than pictures are."""
    tiles = [(volume, z) for volume in range(len(x)) for z in range(0, x.shape[2], STEP)]
    count = max(1, round(SHARE * weight.numel() / x[0, :, 0].numel()))
    return [tiles[first : first + count] for first in range(0, len(tiles), count)]


def _slices(x):
    """(N, C, Z, Y, X) as (N, Z, Y * X * C), the same memory."""
    return x.permute(0, 2, 3, 4, 1).flatten(2)


def _kernels(weight):
    """Six 3x3 kernels, (O, I, 3, 3) each, that stand for the 3x3x3 one."""
    outputs, inputs = weight.shape[:2]
    six = torch.mm(KERNEL, weight.permute(2, 0, 3, 4, 1).reshape(3, -1))
    return six.view(6, outputs, 3, 3, inputs).movedim(-1, 2)


def _kernel(six):
    """Back from gradients of these six to that of the 3x3x3 one."""
    flat = torch.stack([one.permute(0, 2, 3, 1).flatten() for one in six])
    (outputs, inputs), three = six[0].shape[:2], torch.mm(KERNEL.T, flat)
    return three.view(3, outputs, 3, 3, inputs).permute(1, 4, 0, 2, 3)


def _reach(z, depth):
    """The slices that a tile needs, those that there are, and which of six these are."""
    inside = slice(max(0, z - 1), min(depth, z + STEP + 1))
    return inside, slice(inside.start - z + 1, inside.stop - z + 1)


def _add(slices, z, six):
    """Back from six pictures of a tile to the slices that it needs; the first two belong to the tile before,
    too, which has been here."""
    inside, part = _reach(z, len(slices))
    both = 2 if z else 0
    slices[inside][:both].addmm_(IN.T[part][:both], six)
    torch.mm(IN.T[part][both:], six, out=slices[inside][both:])


def _pictures(x, tiles, rooms):
    """Six stacks of pictures, (tiles, C, Y, X) each, of the tiles of a volume. ``rooms``: see `_room`."""

    def six(volume, z):
        inside, part = _reach(z, x.shape[2])
        return IN[:, part], volume[inside]

    return _six(x, tiles, six, rooms, "pictures")


def _spread(gradient, tiles, rooms):
    return _six(gradient, tiles, lambda volume, z: (OUT.T, volume[z : z + STEP]), rooms, "spread")


def _six(x, tiles, parts, rooms, name):
    slices, (channels, _, height, width) = _slices(x), x.shape[1:]
    six = _room(rooms, name, len(tiles), slices.shape[2])
    for place, (volume, z) in enumerate(tiles):
        torch.mm(*parts(slices[volume], z), out=six[:, place])
    return six.unflatten(2, (height, width, channels)).movedim(-1, 2)


def _stacked(found, place, rooms):
    flat = [picture[place].permute(1, 2, 0).flatten() for picture in found]
    return torch.stack(flat, out=_room(rooms, "stacked", len(flat[0])))


def _room(rooms, name, *shape):
    """Memory for six arrays that is used again: new memory is slower than what it is filled with."""
    if name not in rooms or rooms[name].shape[1:] != shape:
        rooms[name] = torch.empty(6, *shape)
    return rooms[name]


# ---------------------------------------------------------------- what follows a convolution


class Tail(torch.autograd.Function):
    """ReLU, dropout, group normalisation: (N, C, Z, Y, X) -> the same.

    A normalisation takes any factor out again, so what dropout keeps need not be divided by the chance to
    be kept: `eps` is multiplied by its square instead. And what is left above 0 was above 0 and kept: the
    features say themselves where the gradient goes.
    """

    @staticmethod
    def forward(ctx, x, chance, weight, bias, groups, eps):
        kept = x.relu()
        if chance:
            kept = kept.mul_(torch.rand_like(x).ge_(chance))
        sizes = (len(x), x.shape[1], x[0, 0].numel(), groups)
        y, mean, scale = torch.native_group_norm(kept, weight, bias, *sizes, eps * (1 - chance) ** 2)
        ctx.save_for_backward(kept, mean, scale, weight)
        ctx.sizes = sizes
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        kept, mean, scale, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=LAST)
        to_kept, to_weight, to_bias = torch.ops.aten.native_group_norm_backward(
            gradient, kept, mean, scale, weight, *ctx.sizes, [True, True, True]
        )
        return to_kept.mul_(kept > 0), None, to_weight, to_bias, None, None
