"""What WNet3D learns from: SoftNCuts and reconstruction, in balance."""

import torch
import torch.nn.functional as F
from torch import nn

from cellseg_nb.networks import ncuts
from cellseg_nb.parameters import one_of


class WNetLoss(nn.Module):
    """n_cuts_weight * SoftNCuts + rec_weight * reconstruction, in one backward pass.

    With ``balance="auto"`` the reconstruction weight is set anew with the first batch of every epoch, so that
    the reconstruction pulls on the class probabilities with ``pull`` times the gradient of SoftNCuts (half
    of the new value, half of the old: no jumps). It may leave the range that the paper's authors chose from
    by hand, 5e-3 to 5e-1. With ``balance="fixed"`` it stays as given.

    ``seeded`` starts the backward pass with the loss itself, as the released code does
    (``loss.backward(loss)``): gradients are multiplied by the value of the loss. What is recorded as "loss"
    is then half its square.
    """

    def __init__(
        self,
        form="class_mean",
        reconstruction="mse",
        balance="auto",
        n_cuts_weight=0.5,
        rec_weight=0.005,
        pull=0.03,
        intensity_sigma=1.0,
        spatial_sigma=4.0,
        radius=2,
        seeded=False,
    ):
        super().__init__()
        one_of("form", form, ncuts.FORMS)
        one_of("reconstruction", reconstruction, ("mse", "bce"))
        one_of("balance", balance, ("auto", "fixed"))
        self.cut, self.reconstruction, self.balance = ncuts.FORMS[form], reconstruction, balance
        self.n_cuts_weight, self.pull, self.seeded = n_cuts_weight, pull, seeded
        self.sigmas = dict(intensity_sigma=intensity_sigma, spatial_sigma=spatial_sigma, radius=radius)
        self.register_buffer("rec_weight", torch.tensor(float(rec_weight)))
        self.register_buffer("balanced", torch.tensor(False))

    def forward(self, model, volume):
        probabilities, rebuilt = model(volume)
        n_cuts = self.cut(probabilities, volume, **self.sigmas)
        reconstruction = self._reconstruction(rebuilt, volume)
        loss = self.n_cuts_weight * n_cuts + self.rec_weight * reconstruction
        return {
            # the slope of half the square is the loss times its own slope
            "loss": loss**2 / 2 if self.seeded else loss,
            "n_cuts": n_cuts,
            "reconstruction": reconstruction,
            "rec_weight": self.rec_weight,
        }

    def _reconstruction(self, rebuilt, volume):
        if self.reconstruction == "bce":  # on a 0..1 scale, as a probability of being bright
            return F.binary_cross_entropy_with_logits(rebuilt, (volume / 100).clamp(0, 1))
        return F.mse_loss(rebuilt, volume)

    def start_epoch(self, model, volume):
        if self.balance != "auto":
            return
        with torch.no_grad():
            probabilities = model.encoder(volume)
        probabilities.requires_grad_()
        cut = self.n_cuts_weight * self.cut(probabilities, volume, **self.sigmas)
        rebuild = self._reconstruction(model.decoder(probabilities), volume)
        pull_cut = torch.autograd.grad(cut, probabilities)[0].norm()
        pull_rec = torch.autograd.grad(rebuild, probabilities)[0].norm()
        wanted = self.pull * pull_cut / pull_rec.clamp_min(1e-12)
        self.rec_weight.copy_(0.5 * (self.rec_weight + wanted) if self.balanced else wanted)
        self.balanced.fill_(True)
