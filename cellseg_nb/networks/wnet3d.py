"""WNet3D: an encoder U-Net that sorts voxels into classes, a decoder U-Net that must rebuild the volume from
them.

    volume (N, 1, Z, Y, X) -> encoder -> probabilities (N, K, Z, Y, X) -> decoder -> volume (N, 1, Z, Y, X)

Sources: Xia & Kulis 2017, "W-Net" (arXiv:1711.08506), for the idea in 2D; Achard et al. 2024, CellSeg3D, for
the 3D layout. With the default widths the parameter names and shapes are those of the released weights
(`data/published/wnet3d_official_state_dict.json`), so these load with ``strict=True``.
"""

import torch
from torch import nn

from cellseg_nb.errors import UserError
from cellseg_nb.networks import faster

PAPER_CHANNELS = (64, 128, 256, 512)
LAPTOP_CHANNELS = (16, 32, 64, 128)
GROUPS = 4


class _Dropout(nn.Dropout):
    """`torch.nn.Dropout`. On a CPU the features to keep are drawn as uniform numbers, which torch does in a
    third of the time that its Bernoulli numbers take: a training step is a tenth shorter."""

    def forward(self, x):
        if not self.training or self.p in (0, 1) or x.device.type != "cpu":
            return super().forward(x)
        return x * torch.rand_like(x).ge_(self.p).mul_(1 / (1 - self.p))


def _tail(channels, dropout):
    """What follows each convolution, in the order the paper has it."""
    return nn.ReLU(), _Dropout(dropout), nn.GroupNorm(GROUPS, channels)


class _Layers(nn.Module):
    """Layers one after the other; of a wide network in training on a CPU by `faster`."""

    wide = False

    def forward(self, x):
        fast = self.wide and self.training and faster.can(x)
        return faster.run(self.module, x) if fast else self.module(x)


class _Ends(_Layers):
    """First and last block: two 3x3x3 convolutions; the last block adds a 1x1x1 convolution to the
    classes."""

    def __init__(self, inputs, width, dropout, outputs=None):
        super().__init__()
        layers = [
            nn.Conv3d(inputs, width, 3, padding=1),
            *_tail(width, dropout),
            nn.Conv3d(width, width, 3, padding=1),
            *_tail(width, dropout),
        ]
        if outputs is not None:
            layers.append(nn.Conv3d(width, outputs, 1))
        self.module = nn.Sequential(*layers)


class _Block(_Layers):
    """Middle block: (3x3x3 then 1x1x1 convolution) twice; the first 1x1x1 changes the number of channels."""

    def __init__(self, inputs, width, dropout):
        super().__init__()
        self.module = nn.Sequential(
            nn.Conv3d(inputs, inputs, 3, padding=1),
            nn.Conv3d(inputs, width, 1),
            *_tail(width, dropout),
            nn.Conv3d(width, width, 3, padding=1),
            nn.Conv3d(width, width, 1),
            *_tail(width, dropout),
        )


class _Up(nn.ConvTranspose3d):
    """Twice the sides."""

    wide = False

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 2, stride=2)

    def forward(self, x):
        fast = self.wide and self.training and faster.can(x)
        return faster.upsampled(x, self.weight, self.bias) if fast else super().forward(x)


class UNet(nn.Module):
    """Half of the W: three levels down, three up, with skip connections.

    Sides of the input must be divisible by 8. ``softmax=True`` (the encoder) turns the outputs into class
    probabilities over dimension 1.
    """

    def __init__(self, inputs, outputs, channels=PAPER_CHANNELS, dropout=0.65, softmax=False):
        super().__init__()
        a, b, c, d = channels
        self.in_b = _Ends(inputs, a, dropout)
        self.conv1 = _Block(a, b, dropout)
        self.conv2 = _Block(b, c, dropout)
        self.bot = _Block(c, d, dropout)
        self.deconv2 = _Block(2 * c, c, dropout)
        self.deconv3 = _Block(2 * b, b, dropout)
        self.out_b = _Ends(2 * a, a, dropout, outputs)
        self.conv_trans2 = _Up(d, c)
        self.conv_trans3 = _Up(c, b)
        self.conv_trans_out = _Up(b, a)
        self.pool = nn.MaxPool3d(2)
        self.softmax = softmax
        for part in self.children():
            part.wide = min(channels) >= faster.WIDE

    def forward(self, x):
        x = self.scores(x)
        return x.softmax(1) if self.softmax else x

    def scores(self, x):
        """What the last layer says, before any softmax: (N, outputs, Z, Y, X)."""
        fine = self.in_b(x)  # (N, a, Z, Y, X)
        half = self.conv1(self.pool(fine))  # (N, b, Z/2, ...)
        quarter = self.conv2(self.pool(half))  # (N, c, Z/4, ...)
        x = self.bot(self.pool(quarter))  # (N, d, Z/8, ...)
        x = self.deconv2(torch.cat([quarter, self.conv_trans2(x)], 1))  # (N, c, Z/4, ...)
        x = self.deconv3(torch.cat([half, self.conv_trans3(x)], 1))  # (N, b, Z/2, ...)
        return self.out_b(torch.cat([fine, self.conv_trans_out(x)], 1))  # (N, outputs, Z, Y, X)


class WNet3D(nn.Module):
    """The whole network.

    Parameters
    ----------
    classes : int
        Number of classes the encoder sorts voxels into; the paper uses 2.
    channels : four ints divisible by 4
        Widths of the four levels. (64, 128, 256, 512) in the paper: 50.5 million parameters.
    dropout : float
        Chance for a feature to be dropped during training; the paper uses 0.65.

    ``model.encoder(x)`` gives probabilities (N, K, Z, Y, X); ``model(x)`` gives (probabilities,
    reconstruction). Raises UserError when a width is not divisible by the 4 groups of the normalisation.
    """

    def __init__(self, classes=2, channels=PAPER_CHANNELS, dropout=0.65):
        super().__init__()
        channels = tuple(int(c) for c in channels)
        if len(channels) != 4 or any(c < GROUPS or c % GROUPS for c in channels):
            raise UserError(
                f"channels must be four numbers divisible by {GROUPS}, not {channels}: "
                f"try {LAPTOP_CHANNELS} on a laptop, {PAPER_CHANNELS} as in the paper"
            )
        if classes < 2:
            raise UserError(f"classes must be 2 or more, not {classes}")
        self.encoder = UNet(1, classes, channels, dropout, softmax=True)
        self.decoder = UNet(classes, 1, channels, dropout)

    def forward(self, x):
        probabilities = self.encoder(x)
        return probabilities, self.decoder(probabilities)
