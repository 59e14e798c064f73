"""SegResNet (MONAI) as a method."""

import torch

from cellseg_nb.methods.supervised import SupervisedMethod


class SegResNetMethod(SupervisedMethod):
    """SegResNet (Myronenko 2018): a residual encoder and decoder. Widths: init_filters, dropout_prob, ..."""

    name = "segresnet"
    LAPTOP = dict(cube=32, batch=2, steps=10, epochs=20, learning_rate=2e-3, init_filters=8)
    PAPER = dict(
        cube=64,
        batch=10,
        steps=20,
        epochs=50,
        learning_rate=1e-3,
        schedule="constant",
        init_filters=8,
        dropout_prob=0.3,
    )
    SIDES, MEMORY = 8, 64

    def _build(self, maps, **widths):
        from monai.networks.nets import SegResNet

        network = SegResNet(in_channels=1, out_channels=maps, **widths)
        # Channels last in memory: a CPU trains the narrow layers in two thirds of the time.
        return network.to(memory_format=torch.channels_last_3d) if self._device().type == "cpu" else network
