"""SwinUNETR (MONAI) as a method."""

import numpy as np
import torch

from cellseg_nb.errors import UserError
from cellseg_nb.methods.settings import DEMO
from cellseg_nb.methods.supervised import SETTINGS, SupervisedMethod

# Bytes that a training step keeps for each voxel of a batch and feature without checkpoints; and for each
# weight (itself, its gradient, two moments of Adam). Counted (tests/methods/test_memory.py), not measured on
# a card.
KEPT, WEIGHT = 250, 16


class SwinUNETRMethod(SupervisedMethod):
    """SwinUNETR (Hatamizadeh et al. 2022): a transformer encoder with a convolutional decoder. Of the
    network: feature_size, window_size, depths, num_heads, drop_rate, attn_drop_rate, dropout_path_rate,
    use_checkpoint; what is None is MONAI's. All else as in `SupervisedMethod`.

    ``use_checkpoint``: compute what attention needs in the backward pass once more, in place of keeping it.
    None: where a CUDA GPU has too little memory free for a step without. The numbers are the same."""

    name = "swinunetr"
    widths = (
        "feature_size window_size depths num_heads drop_rate attn_drop_rate dropout_path_rate use_checkpoint"
    ).split()
    settings = {**dict.fromkeys(widths), **DEMO["swinunetr"], **SETTINGS}
    sides, memory = 32, 128

    def _build(self, maps, **widths):
        from monai.networks.nets import SwinUNETR

        network = SwinUNETR(in_channels=1, out_channels=maps, use_v2=True, **widths)
        device = self.torch_device()
        if "use_checkpoint" not in widths and device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
            checkpointed(network, step_bytes(network, self.training["cube"], self.training["batch"]) > free)
        return network

    def _cube(self, cube):
        cube = super()._cube(cube)
        if max(cube) == 32:
            raise UserError(
                "a training cube for swinunetr must have a side above 32 voxels, such as 64,32,32: "
                "the network halves it five times, and a single voxel would be left"
            )
        return cube

    def _large_enough(self, volume):
        """At least one side of 64 after rounding up to 32, by mirroring, for the same reason."""
        if max(volume.shape) > 32:
            return volume
        return np.pad(volume, ((0, max(0, 33 - volume.shape[0])), (0, 0), (0, 0)), "reflect")


def step_bytes(network, cube, batch):
    """Memory that a training step of this SwinUNETR needs without checkpoints, in bytes."""
    features = network.swinViT.embed_dim
    weights = sum(weight.numel() for weight in network.parameters())
    return KEPT * features * batch * int(np.prod(cube)) + WEIGHT * weights


def checkpointed(network, wanted=True):
    """Switch gradient checkpointing of a SwinUNETR on or off."""
    for part in network.modules():
        if hasattr(part, "use_checkpoint"):
            part.use_checkpoint = wanted
