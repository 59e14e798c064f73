"""The supervised networks as their released weights were trained: MONAI's SwinUNETR and SegResNetVAE."""

from cellseg_nb.errors import UserError

# Achard et al. 2024; training wants the decoder branch of SegResNetVAE, predictions do without it.
RELEASED = {
    "swinunetr": dict(
        in_channels=1, out_channels=1, feature_size=48, drop_rate=0.5, attn_drop_rate=0.5, use_v2=True
    ),
    "segresnet": dict(input_image_size=(64, 64, 64), in_channels=1, out_channels=1, dropout_prob=0.3),
}


def network(name, **widths):
    """A network with fresh weights, built as published unless ``widths`` say otherwise (arguments of MONAI's
    class).

    "swinunetr": (N, 1, Z, Y, X) -> (N, 1, Z, Y, X) logits, sides divisible by 32 and not all 32.
    "segresnet": the same as first of a pair, sides divisible by 8.
    Raises UserError for another name.
    """
    if name not in RELEASED:
        raise UserError(f"there is no supervised network {name!r}: choose one of {', '.join(RELEASED)}")
    from monai.networks.nets import SegResNetVAE, SwinUNETR

    return {"swinunetr": SwinUNETR, "segresnet": SegResNetVAE}[name](**{**RELEASED[name], **widths})
