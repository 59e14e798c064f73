"""SwinUNETR (MONAI) as a method."""

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.methods.supervised import SupervisedMethod


class SwinUNETRMethod(SupervisedMethod):
    """SwinUNETR (Hatamizadeh et al. 2022): a transformer encoder with a convolutional decoder. Widths:
    feature_size, window_size, ..."""

    name = "swinunetr"
    # attention within 64 voxels instead of 343: a third of the time
    LAPTOP = dict(
        cube=(64, 32, 32), batch=2, steps=10, epochs=10, learning_rate=1e-3, feature_size=12, window_size=4
    )
    PAPER = dict(
        cube=64,
        batch=5,
        steps=40,
        epochs=50,
        learning_rate=1e-3,
        schedule="constant",
        feature_size=48,
        window_size=7,
        drop_rate=0.5,
        attn_drop_rate=0.5,
    )
    SIDES, MEMORY = 32, 128

    def _build(self, maps, **widths):
        from monai.networks.nets import SwinUNETR

        return SwinUNETR(in_channels=1, out_channels=maps, use_v2=True, **widths)

    def _cube(self, cube):
        cube = super()._cube(cube)
        if max(cube) == 32:
            raise UserError(
                "a training cube for swinunetr must have a side above 32 voxels, such as "
                "64,32,32: the network halves "
                "it five times, and a single voxel would be left"
            )
        return cube

    def _large_enough(self, volume):
        """At least one side of 64 after rounding up to 32, by mirroring, for the same reason."""
        return (
            np.pad(volume, ((0, max(0, 33 - volume.shape[0])), (0, 0), (0, 0)), "reflect")
            if max(volume.shape) <= 32
            else volume
        )
