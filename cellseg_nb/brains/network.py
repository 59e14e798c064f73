"""A trained network over a volume of any size: in windows that lie on the volume, not on the chunks.

What would make a window's result depend on how the volume is cut is taken out: brightness is scaled by two
numbers that hold everywhere, and normalisation layers, which would look at the window they are given, keep
the mean and variance that they had on sample cubes (`freeze`). What is left is a network that sees `REACH`
voxels far: windows with that much overlap give what one pass over the whole volume gives.
"""

import functools
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cellseg_nb import runtime
from cellseg_nb.brains import blocks, overview
from cellseg_nb.cells import inference
from cellseg_nb.errors import UserError
from cellseg_nb.io.files import atomic
from cellseg_nb.methods import weights
from cellseg_nb.methods.predictor import MULTIPLES
from cellseg_nb.networks import losses

WINDOW = 64  # voxels a window is for
REACH = 56  # how far WNet3D's encoder sees: 51 voxels, and its pooling wants a multiple of 8
FROZEN = "network.pt"
# the top of `scaled`, by what a network has learned from; for all others 1
TOPS = {"volume": 100.0, "cube": 100.0, "clipped": 0.0}


class Frozen(nn.Module):
    """A normalisation over groups of channels whose mean and variance are measured once, then kept."""

    def __init__(self, groups, layer):
        super().__init__()
        self.groups, self.eps = groups, layer.eps
        self.weight, self.bias = layer.weight, layer.bias
        self.register_buffer("mean", torch.zeros(groups))
        self.register_buffer("variance", torch.ones(groups))
        self.measuring = False

    def forward(self, x):
        parts = x.shape[1] // self.groups
        if self.measuring:
            grouped = x.transpose(0, 1).reshape(self.groups, -1).double()
            self.mean.copy_(grouped.mean(1))
            self.variance.copy_(grouped.var(1, unbiased=False))
        scale = (self.variance + self.eps).rsqrt().repeat_interleave(parts)
        shift = -self.mean.repeat_interleave(parts) * scale
        if self.weight is not None:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        side = (1, -1, 1, 1, 1)
        return x * scale.view(side) + shift.view(side)


def freeze(model, cubes=None):
    """Exchange a network's group and instance normalisations for `Frozen` ones, in place; with ``cubes`` (N,
    1, Z, Y, X) measure them, all cubes together. Returns the network."""
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, (nn.GroupNorm, nn.InstanceNorm3d)):
                groups = layer.num_groups if isinstance(layer, nn.GroupNorm) else layer.num_features
                setattr(module, name, Frozen(groups, layer))
    model.eval()
    if cubes is not None:
        own = [module for module in model.modules() if isinstance(module, Frozen)]
        for module in own:
            module.measuring = True
        with torch.inference_mode():
            model(cubes)
        for module in own:
            module.measuring = False
    return model


def scaled(image, scale):
    """Brightness between two ends as 0..top, clipped, float32; with top 0 clipped alone. ``scale``: low,
    high, top."""
    low, high, top = scale
    if not top:
        return np.clip(image.astype(np.float32), low, high)
    return (np.clip((image.astype(np.float32) - low) / max(high - low, 1e-9), 0, 1) * top).astype(np.float32)


def prepare(folder, source, cubes, scale):
    """Freeze trained weights on sample cubes, and keep what came of it in a folder for the workers.

    source : weights as `cellseg_nb.methods.weights.load` takes them. cubes : list of (Z, Y, X) arrays of one
    shape, of the volume itself. scale : low, high in grey values, and top.

    Returns the network, its architecture and the class that means cell, as `loaded` does. Raises UserError
    for a network that wants another scale than these two numbers give, and for ONNX.
    """
    refuse_onnx(source)
    predictor = weights.load(source)
    if predictor.scaling == "contrast":
        raise UserError(
            f"{source} has learned from volumes scaled by 'contrast', which needs each cell's surroundings; "
            "here all chunks share one scale: train a network with scaling='unit'"
        )
    batch = torch.from_numpy(np.stack([scaled(cube, scale) for cube in cubes])[:, None])
    batch = inference.pad(batch, _sides(batch.shape[2:], predictor.architecture))
    part = freeze(_part(predictor), batch)
    chosen = predictor.foreground
    if predictor.architecture == "wnet3d" and chosen is None:
        with torch.inference_mode():
            classes = part(batch).numpy()
        chosen = inference.brightest([(c, b[0]) for c, b in zip(classes, batch.numpy())])
    with atomic(folder / FROZEN) as beside:
        torch.save({"foreground": chosen, "model": part.state_dict()}, beside)
    return part, predictor.architecture, chosen


def refuse_onnx(source):
    """UserError for weights that are an ONNX file."""
    if str(source).endswith(".onnx"):
        raise UserError(
            f"{source} is ONNX, which normalises each window by itself, so that cells would depend on the "
            "chunk: give the weights it was exported from"
        )


def _sides(shape, architecture):
    """Sides that a network can halve as often as it does."""
    multiple = MULTIPLES.get(architecture, 8)
    return [-(-side // multiple) * multiple for side in shape]


def _part(predictor):
    return predictor.model.encoder if predictor.architecture == "wnet3d" else predictor.model


@functools.lru_cache(maxsize=1)
def loaded(folder, stamp, source, device):
    """The frozen network of a folder, its architecture, and the class that means cell."""
    device = runtime.device(device)
    predictor = weights.load(source)
    part = freeze(_part(predictor))
    kept = torch.load(Path(folder) / FROZEN, weights_only=True)
    part.load_state_dict(kept["model"])
    return part.to(device).eval(), predictor.architecture, kept["foreground"]


def probability(job, block, coarse):
    """How probable cell is in a block, (Z, Y, X) uint8 of its core: 255 is certain. Windows without tissue
    are not computed."""
    stamp = (job.work / FROZEN).stat().st_mtime_ns
    trained = loaded(str(job.work), stamp, job.how["weights"], job.how["device"])
    window, overlap = job.how["window"], job.how["overlap"]
    if any(c % window for c in job.chunk):
        raise UserError(f"with a network the chunk must be a multiple of {window} voxels, not {job.chunk}")
    out = np.zeros(block.shape, np.uint8)
    _, _, tissue, factor = coarse
    first = [s.start // window for s in block.core]
    for at in np.ndindex(*blocks.grid_shape(block.shape, window)):
        index = tuple(f + i for f, i in zip(first, at))
        one = blocks.block(job.source.shape, window, index, overlap)
        if overview.nearest(tissue, factor, one.core).any():
            image = scaled(job.source.read(one.outer), job.how["scale"])
            found = run(*trained, image)
            place = tuple(slice(s.start - c, s.stop - c) for s, c in zip(one.core, block.corner))
            out[place] = np.rint(255 * found[one.inner])
    return out


def run(network, architecture, foreground, image):
    """The probability of cell in a window, (Z, Y, X) float32; its far sides are mirrored up to what the
    network can halve."""
    device = next(network.parameters()).device
    x = inference.pad(torch.from_numpy(image)[None, None], _sides(image.shape, architecture))
    with torch.inference_mode():
        if architecture == "wnet3d":
            found = network(x.to(device))[0, foreground]
        else:
            found = torch.sigmoid(losses.logits(network, x.to(device)))[0, 0]
    return found[tuple(slice(s) for s in image.shape)].float().cpu().numpy()
