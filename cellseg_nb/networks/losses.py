"""Losses for supervised training, by name: what a network is punished for. All from MONAI, all on logits.

Two classes only (cell or not), so each network gives one number a voxel and the sigmoid makes a probability
of it.
"""

import torch
from torch import nn

from cellseg_nb.errors import UserError

WORDS = {
    "dice": "1 - Dice: overlap of the predicted and the true cells (Milletari et al. 2016)",
    "generalized_dice": "Dice with every class weighted by 1 / its size squared (Sudre et al. 2017); the "
    "paper's choice. "
    "With one class the weight cancels: it is Dice, except that a cube without cells "
    "teaches nothing",
    "dice_ce": "Dice plus cross-entropy, which counts every voxel alike: smoother at the start (MONAI)",
    "tversky": "Dice with a price for each kind of error: here a missed voxel costs 0.7, an invented one 0.3 "
    "(Salehi et al. 2017)",
    "focal": "cross-entropy that looks away from voxels that are easy already (Lin et al. 2017)",
}


def loss(name, **options):
    """The MONAI loss of this name: called with logits and a 0/1 target, both (B, 1, Z, Y, X) float, gives a
    scalar.

    Names: dice, generalized_dice, dice_ce, tversky, focal (see `WORDS`); ``options`` go to MONAI's class.
    Raises UserError for an unknown name.
    """
    from monai import losses

    kinds = {
        "dice": (losses.DiceLoss, dict(sigmoid=True)),
        "generalized_dice": (losses.GeneralizedDiceLoss, dict(sigmoid=True)),
        "dice_ce": (losses.DiceCELoss, dict(sigmoid=True)),
        "tversky": (losses.TverskyLoss, dict(sigmoid=True, alpha=0.3, beta=0.7)),
        "focal": (losses.FocalLoss, dict(gamma=2.0)),
    }
    if name not in kinds:
        raise UserError(f"loss must be one of {', '.join(map(repr, kinds))}, not {name!r}")
    kind, defaults = kinds[name]
    return kind(**{**defaults, **options})


class CellLoss(nn.Module):
    """``loss(model, (image, target, valid))`` as `cellseg_nb.learning.loop.train` wants it; voxels not
    ``valid`` do not count."""

    NEVER = -30.0  # a logit whose probability is 0 in float32

    def __init__(self, name="generalized_dice", **options):
        super().__init__()
        self.term = loss(name, **options)

    def forward(self, model, batch):
        image, target, valid = batch
        return {"loss": self.of(logits(model, image), target, valid)}

    def of(self, found, target, valid):
        """The loss of logits (B, C, Z, Y, X), each map C for itself; where ``valid`` is 0 both sides say "no
        cell", which costs nothing in any of the losses."""
        found, target = torch.where(valid > 0, found, self.NEVER), target * valid
        return self.term(found.flatten(0, 1)[:, None], target.flatten(0, 1)[:, None])


def logits(model, image):
    """What the network gives for (B, 1, Z, Y, X); the first of a pair, since MONAI's SegResNetVAE adds a
    second output."""
    found = model(image)
    return found[0] if isinstance(found, (tuple, list)) else found
