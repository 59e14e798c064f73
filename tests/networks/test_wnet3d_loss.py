import pytest
import torch

from cellseg_nb.networks.wnet3d import WNet3D
from cellseg_nb.networks.wnet3d_loss import WNetLoss


@pytest.mark.parametrize("form", ["class_mean", "pairwise"])
def test_a_step_never_waits_for_the_device(form):
    """On the device "meta" there are shapes and no numbers: asking for one, as a GPU would have to be waited
    for, is an error."""
    with torch.device("meta"):
        model, loss = WNet3D(channels=(4, 8, 8, 8)), WNetLoss(form=form)
        terms = loss(model, torch.empty(2, 1, 16, 16, 16))
    terms["loss"].backward()
    assert all(term.device.type == "meta" for term in terms.values())
    assert all(weight.grad is not None for weight in model.parameters())
