"""``postprocess = "released"``: from a network's output to 0..1 as the published software does it.

Windows of 64 voxels a side, with a quarter of overlap; of each window the output *before* softmax or sigmoid,
mapped from its own minimum and maximum to 0..1. The published thresholds (WNet3D 0.6, SwinUNETR 0.4,
SegResNet 0.3) belong to this scale and to no probability. Volumes for WNet3D are brought to 0..100 window by
window; those for the supervised networks are clipped to their 1st-99th percentile as a whole.

Source: napari-cellseg3d, ``worker_inference.py``.
"""

from cellseg_nb.cells import inference
from cellseg_nb.networks import losses

CHAINS = ("probability", "released")
THRESHOLDS = {"wnet3d": 0.6, "swinunetr": 0.4, "segresnet": 0.3}
WINDOW, OVERLAP = 64, 0.25


def stretched(x, top=1.0):
    """A tensor mapped from its minimum and maximum, over everything in it, to 0..top; 0 where it is
    constant."""
    low, high = x.min(), x.max()
    return (x - low) / (high - low).clamp_min(1e-12) * top


def wnet3d(encoder):
    """What a window (1, 1, Z, Y, X) becomes: (1, K, Z, Y, X) in 0..1."""
    return lambda x: stretched(encoder.scores(stretched(x, 100.0)))


def supervised(model):
    """What a window (1, 1, Z, Y, X) of a clipped volume becomes: (1, C, Z, Y, X) in 0..1."""
    return lambda x: stretched(losses.logits(model, x))


def predict(step, volume, *, window=WINDOW, **options):
    """``step`` over a volume in windows: (C, Z, Y, X) float32 in 0..1. Options as in
    `cellseg_nb.cells.inference.predict`."""
    settings = {**options, "window": window or WINDOW, "overlap": OVERLAP, "memory": 0}
    return inference.predict(step, volume, **settings)
