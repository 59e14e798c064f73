"""SwinUNETR (MONAI) as a method."""

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.methods.settings import DEMO
from cellseg_nb.methods.supervised import SETTINGS, SupervisedMethod


class SwinUNETRMethod(SupervisedMethod):
    """SwinUNETR (Hatamizadeh et al. 2022): a transformer encoder with a convolutional decoder. Of the
    network: feature_size, window_size, depths, num_heads, drop_rate, attn_drop_rate, dropout_path_rate,
    use_checkpoint; what is None is MONAI's. All else as in `SupervisedMethod`."""

    name = "swinunetr"
    widths = (
        "feature_size",
        "window_size",
        "depths",
        "num_heads",
        "drop_rate",
        "attn_drop_rate",
        "dropout_path_rate",
        "use_checkpoint",
    )
    settings = {**dict.fromkeys(widths), **DEMO["swinunetr"], **SETTINGS}
    sides, memory = 32, 128

    def _build(self, maps, **widths):
        from monai.networks.nets import SwinUNETR

        return SwinUNETR(in_channels=1, out_channels=maps, use_v2=True, **widths)

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
