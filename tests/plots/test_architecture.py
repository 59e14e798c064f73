"""The drawing of WNet3D says what the model is."""

import matplotlib.pyplot as plt

from cellseg_nb.networks.wnet3d import WNet3D
from cellseg_nb.plots import architecture


def test_blocks_channels_and_sides_are_those_of_the_model():
    model = WNet3D(channels=(4, 8, 12, 16), classes=3)
    found = architecture.blocks(model, 16)
    assert sum(block.weights for block in found) == sum(weight.numel() for weight in model.parameters())
    encoder = [
        block for block in found if block.half == "encoder" and not block.name.startswith("conv_trans")
    ]
    assert [block.channels for block in encoder] == [4, 8, 12, 16, 12, 8, 3]
    assert [block.level for block in encoder] == [0, 1, 2, 3, 2, 1, 0]
    assert [block.sides[0] for block in encoder] == [16, 8, 4, 2, 4, 8, 16]
    assert encoder[0].layers[0] == "conv 3x3x3, 1 to 4" and "group norm 4" in encoder[0].layers
    assert found[-1].half == "decoder" and found[-1].channels == 1
    assert model.training and not model.encoder.in_b._forward_hooks  # left as it was
    table = architecture.table(model, 16)
    assert len(table) == len(found) == 2 * 10
    figure = architecture.draw(model, 16)
    words = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "12" in words and "encoder: volume" in words
    plt.close(figure)
