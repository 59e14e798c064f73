"""Notebook 03's parameters. What it computes stands in its cells; its volumes come from `lessons.common`."""

from cellseg_nb import parameters
from cellseg_nb.networks import losses

NETWORKS = ("segresnet", "swinunetr")
PARAMETERS = parameters.common(
    "dataset", "held_out", "voxel_size", "epochs", "profile", "seed", "device", "cache", "out", "start_over"
) | {
    "network": parameters.rule(parameters.one_of, NETWORKS),
    "loss": parameters.rule(parameters.one_of, tuple(losses.WORDS)),
    "cores": parameters.truth,
    "start": parameters.text,
}
