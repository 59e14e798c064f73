"""One pass of a network over a volume whose features do not fit into memory: layer by layer, in slabs.

Windows are no way to get what one pass gives, since normalisation layers take mean and variance of whatever
they are given. Here each convolution runs once, over the whole volume, a slab after the other along the
longest axis: it takes from its input the planes that a slab needs, so there is nothing to see of the cuts,
and mean and variance of all slabs are known before the next layer begins. Slabs that are not needed any more
are forgotten; those that do not fit into the memory granted wait on the disk.
"""

import contextlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from cellseg_nb import runtime
from cellseg_nb.errors import UserError
from cellseg_nb.networks.layers import ADD, NORMS, NOTHING, channels, read

CUBE = (64, 32, 32)  # sides that all networks can halve; several slabs
# planes of a slab: what takes this part of the memory, since torch asks the system anew for more than 32 MB
SHARE, FEWEST = 1 / 16, 4


def plan(network):
    """The layers of a network (any callable, in eval mode) as `run` takes them: [(node, layer)] in the order
    in which they are computed. None where one of them is not known here, where it is not made of torch's
    layers, and where they do not say of a small cube what the network says, or that cube is too small."""
    try:
        layers, root = read(network)
        if not layers or _agree(layers, network, root):
            return layers or None
        runtime.say_once("Layer by layer, this network says otherwise of a small cube: windows are used.")
        return None
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception:  # whatever a program says of tensors that are none, or of a cube not made for it
        return None


def _agree(layers, network, root):
    """Whether layers in slabs say of a small cube what the network says in one pass, in full 32 bits: with
    TF32, usual in a GPU's convolutions, both are rounded more than they may differ."""
    device = next((weight.device for weight in root.parameters()), torch.device("cpu"))
    cube = torch.rand(1, 1, *CUBE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        whole = network(cube.to(device)).cpu()
        found = run(layers, cube, 2**28, 2**10, device)  # four slabs
    return found.shape == whole.shape and (found - whole).abs().max() <= 1e-3 * (whole.max() - whole.min())


@torch.inference_mode()
def run(layers, x, memory, bytes_per_voxel, device, progress=False):
    """What the network of a `plan` makes of a tensor (1, 1, Z, Y, X) on the CPU: (1, C, Z, Y, X).

    ``memory``: bytes that features may take (the slab that is computed takes more than its share where
    `FEWEST` planes are larger); more of them go to a temporary folder. Raises UserError where that has no
    room.
    """
    with contextlib.ExitStack() as stack:
        return _Pass(layers, x, memory, bytes_per_voxel, device, stack).run(progress)


class _Pass:
    def __init__(self, layers, x, memory, bytes_per_voxel, device, stack):
        self.layers, self.x, self.device = dict(layers), x, device
        self.stack, self.folder = stack, None  # of slabs on the disk, from the first of them on
        self.axis = 2 + int(np.argmax(x.shape[2:]))
        self.memory, self.held = (1 - SHARE) * memory, 0
        self.kept, self.moments, self.low = {}, {}, {}
        plane = x[0, 0].numel() // x.shape[self.axis] * bytes_per_voxel
        self.planes = max(FEWEST, int(memory * SHARE / plane))  # of a slab at full size
        self.end = next(node for node in self.layers if node.op == "output").args[0]
        self.depth = {}
        for node in self.layers:
            if node.op != "output":
                self.depth[node] = self._depth(node)
        self.order = [node for node in self.depth if self._stays(node)]
        last = {read: node for node in self.order for read in self._read_by(node)}
        # kept features that no later layer reads
        self.ending = {node: {read for read in last if last[read] is node} for node in self.order}

    # ------------------------------------------------------------ what is known before anything is computed

    def _depth(self, node):
        """Planes of a layer's features along the axis."""
        layer, place = self.layers[node], self.axis - 2
        if node.op == "placeholder":
            return self.x.shape[self.axis]
        before = self.depth[node.all_input_nodes[0]]
        if isinstance(layer, nn.Conv3d):
            kernel, stride, padding = (
                part[place] for part in (layer.kernel_size, layer.stride, layer.padding)
            )
            return (before + 2 * padding - kernel) // stride + 1
        if isinstance(layer, nn.MaxPool3d):
            return before // 2
        return 2 * before if isinstance(layer, (nn.ConvTranspose3d, nn.Upsample)) else before

    def _stays(self, node):
        """Whether features are kept: where a normalisation must see them all first, and where they are used
        twice and would be dear to compute again."""
        if node.op == "placeholder":
            return False
        normed = any(isinstance(self.layers[user], NORMS) for user in node.users)
        return node is self.end or normed or (len(node.users) > 1 and not self._cheap(node))

    def _cheap(self, node):
        layer = self.layers[node]
        if node.op == "placeholder" or isinstance(layer, NORMS):
            return True
        return isinstance(layer, (*NOTHING, nn.ReLU, nn.LeakyReLU)) and self._cheap(node.args[0])

    def _read_by(self, node):
        """Kept features that a layer is computed from."""
        found = set()
        for each in node.all_input_nodes:
            found |= {each} if each in self.order else self._read_by(each)
        return found

    def _check_room(self):
        """UserError where the temporary folder has less room than the features that wait there will need."""
        voxels, full = self.x[0, 0].numel(), self.x.shape[self.axis]
        size = {n: 4 * channels(n, self.layers) * voxels * (self.depth[n] / full) ** 3 for n in self.order}
        size[self.end], kept, most = 0, set(), 0
        for node in self.order:  # while a layer comes, those that are read for the last time go
            kept -= self.ending[node]
            now = max(size[node], sum(size[other] for other in self.ending[node]))
            most = max(most, now + sum(size[other] for other in kept))
            kept.add(node)
        with contextlib.suppress(OSError):  # where nobody knows, writing tells
            place, need = tempfile.gettempdir(), most - self.memory
            if need > (free := shutil.disk_usage(place).free):
                raise UserError(
                    f"{place}, the folder for temporary files, has {free / 1e9:.3g} GB of room, and a volume "
                    f"this large needs at least {need / 1e9:.3g} there: free some space, or name another "
                    "folder in the environment variable TMPDIR, and start again"
                )

    # ------------------------------------------------------------ computing

    def run(self, progress):
        self._check_room()
        result = None
        for node in runtime.progress(self.order, desc="Layers", disable=not progress):
            ending, depth = self.ending[node], self.depth[node]
            step = max(1, self.planes * self.x.shape[self.axis] // depth)
            for start in range(0, depth, step):
                stop = min(start + step, depth)
                self.low = {}
                slab = self._made(node, start, stop)
                if node is self.end:
                    if result is None:
                        shape = list(slab.shape)
                        shape[self.axis] = depth
                        result = torch.empty(shape)
                    result.narrow(self.axis, start, stop - start).copy_(slab)
                else:
                    self._keep(node, start, stop, slab)
                for other in ending:
                    self._forget(other, self.low.get(other, 0))
            for other in ending:
                self._forget(other, self.depth[other])
        return result

    def _keep(self, node, start, stop, slab):
        if any(isinstance(self.layers[user], NORMS) for user in node.users):
            self._measure(node, slab)
        size, slab = slab.nbytes, slab.cpu()
        if self.held + size <= self.memory:
            self.held += size
        else:
            slab = self._written(f"{node.name}_{start}.npy", slab)
        self.kept.setdefault(node, []).append((start, stop, slab))

    def _written(self, name, slab):
        try:
            if self.folder is None:
                made = tempfile.TemporaryDirectory(prefix="cellseg_nb_")
                self.folder = Path(self.stack.enter_context(made))
            np.save(self.folder / name, slab.numpy())
        except OSError as error:
            raise UserError(
                f"the folder for temporary files takes no more ({error}): free some space, or name another "
                "folder in the environment variable TMPDIR"
            ) from error
        return self.folder / name

    def _forget(self, node, before):
        """Give up the slabs of a layer that end before a plane."""
        for piece in [piece for piece in self.kept[node] if piece[1] <= before]:
            self.kept[node].remove(piece)
            if isinstance(piece[2], Path):
                piece[2].unlink()
            else:
                self.held -= piece[2].nbytes

    def _measure(self, node, slab):
        """Mean and variance of each channel, together with those of the slabs before (Chan, Golub & LeVeque
        1983)."""
        channels, count = slab.shape[1], slab[0, 0].numel()
        # the layer of torch that is quickest and exact, where channels are not last in memory
        _, mean, scale = torch.native_group_norm(
            slab.contiguous(), None, None, 1, channels, count, channels, 0.0
        )
        mean, variance = mean[0].cpu().double(), scale[0].cpu().double() ** -2
        if node in self.moments:
            others, their_mean, their_variance = self.moments[node]
            total, apart = count + others, mean - their_mean
            variance = (count * variance + others * their_variance) / total
            variance += apart**2 * count * others / total**2
            mean, count = their_mean + apart * count / total, total
        self.moments[node] = count, mean, variance

    def _take(self, node, start, stop):
        """Planes of a layer's features, kept or made."""
        if node.op == "placeholder":
            return self.x.narrow(self.axis, start, stop - start).to(self.device)
        if node not in self.order:
            return self._made(node, start, stop)
        self.low[node] = min(start, self.low.get(node, start))
        parts = []
        for first, last, slab in self.kept[node]:
            begin, end = max(start, first), min(stop, last)
            if begin < end:
                if isinstance(slab, Path):
                    inside = [slice(None)] * 5
                    inside[self.axis] = slice(begin - first, end - first)
                    part = torch.from_numpy(np.array(np.load(slab, mmap_mode="r")[tuple(inside)]))
                else:
                    part = slab.narrow(self.axis, begin - first, end - begin)
                parts.append(part.to(self.device))
        return torch.cat(parts, self.axis) if len(parts) > 1 else parts[0]

    def _made(self, node, start, stop):
        """Planes of a layer's features, from those of the layers before."""
        layer, inputs = self.layers[node], node.all_input_nodes
        if isinstance(layer, nn.Conv3d):
            return self._convolved(layer, inputs[0], start, stop)
        if isinstance(layer, nn.MaxPool3d):
            return layer(self._take(inputs[0], 2 * start, 2 * stop))
        if isinstance(layer, (nn.ConvTranspose3d, nn.Upsample)):
            # trilinear: half a plane further on both sides
            more = int(isinstance(layer, nn.Upsample))
            first = max(0, start // 2 - more)
            last = min(self.depth[inputs[0]], (stop + 1) // 2 + more)
            found = layer(self._take(inputs[0], first, last))
            return found.narrow(self.axis, start - 2 * first, stop - start)
        taken = [self._take(each, start, stop) for each in inputs]
        if isinstance(layer, NORMS):
            return self._normalised(layer, inputs[0], taken[0])
        if layer is torch.cat:
            return torch.cat(taken, 1)
        if layer in ADD:
            return taken[0] + taken[1]
        if isinstance(layer, nn.ReLU):
            return taken[0].relu()
        if isinstance(layer, nn.LeakyReLU):
            return F.leaky_relu(taken[0], layer.negative_slope)
        if isinstance(layer, NOTHING):
            return taken[0]
        return taken[0].softmax(1) if layer == "softmax" else taken[0].sigmoid()

    def _convolved(self, layer, source, start, stop):
        place, depth = self.axis - 2, self.depth[source]
        kernel, stride = layer.kernel_size[place], layer.stride[place]
        padding = list(layer.padding)
        first = start * stride - padding[place]
        last = (stop - 1) * stride - padding[place] + kernel
        x = self._take(source, max(first, 0), min(last, depth))
        around = [0] * 6
        around[2 * (2 - place) : 2 * (2 - place) + 2] = max(0, -first), max(0, last - depth)
        x, padding[place] = F.pad(x, around) if any(around) else x, 0
        if x.device.type == "cpu" and torch.backends.mkldnn.is_available():
            # torch's own choice for slabs of few channels takes ten times as long
            one = (1, 1, 1)
            return torch.mkldnn_convolution(
                x, layer.weight, layer.bias, padding, layer.stride, one, layer.groups
            )
        return F.conv3d(x, layer.weight, layer.bias, layer.stride, padding, 1, layer.groups)

    def _normalised(self, layer, source, x):
        groups = layer.num_groups if isinstance(layer, nn.GroupNorm) else layer.num_features
        _, mean, variance = self.moments[source]
        each = len(mean) // groups
        middle = mean.view(groups, -1).mean(1).repeat_interleave(each)
        spread = (variance + (mean - middle) ** 2).view(groups, -1).mean(1).repeat_interleave(each)
        scale = (spread + layer.eps).rsqrt()
        shift = -middle * scale
        if layer.weight is not None:
            weight, bias = layer.weight.cpu().double(), layer.bias.cpu().double()
            scale, shift = scale * weight, shift * weight + bias
        scale, shift = (one.to(x.device, x.dtype).view(1, -1, 1, 1, 1) for one in (scale, shift))
        return torch.addcmul(shift, x, scale)
