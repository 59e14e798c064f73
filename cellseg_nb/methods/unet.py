"""A plain 3D U-Net (MONAI) as a method: a seventh one, not in the paper."""

import torch

from cellseg_nb.errors import UserError
from cellseg_nb.methods.settings import DEMO
from cellseg_nb.methods.supervised import SETTINGS, SupervisedMethod

GROUPS = 4  # of the normalisation, as WNet3D has them


class UNetMethod(SupervisedMethod):
    """U-Net (Çiçek et al. 2016; MONAI's BasicUNet): five levels, the finest with ``init_filters`` channels (a
    multiple of 4), each coarser one with twice as many. Of the network also: dropout. Sides of a cube are
    divisible by 16. All else as in `SupervisedMethod`."""

    name = "unet"
    widths = ("init_filters", "dropout")
    settings = {**dict.fromkeys(widths), **DEMO["unet"], **SETTINGS}
    sides, memory = 16, 64

    def _build(self, maps, init_filters, **widths):
        from monai.networks.nets import BasicUNet

        if init_filters % GROUPS or init_filters < GROUPS:
            raise UserError(f"init_filters of unet must be divisible by {GROUPS}, not {init_filters}")
        levels = [init_filters * times for times in (1, 2, 4, 8, 16)]
        # In groups of channels: the coarsest level of a cube of 16 is one voxel, which has no variance alone.
        norm = ("group", {"num_groups": GROUPS})
        network = BasicUNet(
            3, in_channels=1, out_channels=maps, features=(*levels, init_filters), norm=norm, **widths
        )
        # Channels last in memory, as SegResNet has it.
        return (
            network.to(memory_format=torch.channels_last_3d) if self.torch_device().type == "cpu" else network
        )
