"""SegResNet (MONAI) as a method."""

import torch

from cellseg_nb.methods.settings import DEMO
from cellseg_nb.methods.supervised import SETTINGS, SupervisedMethod


class SegResNetMethod(SupervisedMethod):
    """SegResNet (Myronenko 2018): a residual encoder and decoder. Of the network: init_filters, blocks_down,
    blocks_up, dropout_prob; what is None is MONAI's. All else as in `SupervisedMethod`."""

    name = "segresnet"
    widths = ("init_filters", "blocks_down", "blocks_up", "dropout_prob")
    settings = {**dict.fromkeys(widths), **DEMO["segresnet"], **SETTINGS}

    def _build(self, maps, **widths):
        from monai.networks.nets import SegResNet

        # Published: SegResNetVAE, of which only the first output is used: its second branch learns nothing.
        network = SegResNet(in_channels=1, out_channels=maps, **widths)
        # Channels last in memory: a CPU trains the narrow layers in two thirds of the time.
        return (
            network.to(memory_format=torch.channels_last_3d) if self.torch_device().type == "cpu" else network
        )
