"""A trained network that knows how it wants its volumes."""

from dataclasses import dataclass

import numpy as np
import torch

from cellseg_nb.cells import inference
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.learning import augmentation, pairs
from cellseg_nb.methods import released
from cellseg_nb.networks import losses

MULTIPLES = {"swinunetr": 32, "unet": 16}  # of all others 8
BYTES = {
    "wnet3d": 32,
    "segresnet": 64,
    "swinunetr": 128,
    "unet": 64,
}  # a voxel and channel of the first level


@dataclass
class Predictor:
    """A trained network that knows how it wants its volumes: ``predictor(volume)`` gives a probability.

    ``scaling`` is what it was trained on: WNet3D sees 0..100 from minimum to maximum of the "volume" or of
    each "cube"; the supervised networks their volume "clipped" to the 1st-99th percentile (released ones), or
    mapped to 0..1 besides ("unit"). ``foreground`` is the class of WNet3D that means cell, where that was
    found in a training; None: found in each volume, since either may become the cells. ``postprocess``:
    "released", the published chain, to which the published thresholds belong; or "probability", softmax or
    sigmoid. ``window``: side of windows at prediction, 0: as `cellseg_nb.cells.inference.way` says.
    ``flips``: the mean over mirror images, for which the threshold was chosen.
    """

    model: torch.nn.Module
    architecture: str
    threshold: float
    foreground: int | None = None
    scaling: str = "volume"
    source: str = ""
    postprocess: str = "probability"
    window: int = 0
    flips: bool = False

    @property
    def fingerprint(self):
        """16 hexadecimal digits that change with any weight."""
        return pairs.fingerprint(*(value.cpu().numpy() for value in self.model.state_dict().values()))

    def __call__(self, volume, **options):
        """Probability of being a cell, (Z, Y, X) float32 in 0..1, of a (Z, Y, X) volume.

        Options as in `cellseg_nb.cells.inference.predict`, which count more than what the network says of
        itself: memory=0 forces windows, flips=True averages over mirror images.
        """
        volume = np.asarray(volume)
        if volume.ndim != 3 or 0 in volume.shape:
            raise UserError(f"the volume has shape {volume.shape}: three dimensions (Z, Y, X) are needed")
        device = next(self.model.parameters()).device
        options = {
            "device": device.type if device.index is None else str(device),
            "bytes_per_voxel": self.bytes_per_voxel,
            "multiple": self.multiple,
            "flips": self.flips,
            **(dict(window=self.window, memory=0, overlap=released.OVERLAP) if self.window else {}),
            **options,
        }
        predict = released.predict if self.postprocess == "released" else inference.predict
        classes = predict(self.network, self.scaled(volume), **options)
        if self.architecture != "wnet3d":
            return np.ascontiguousarray(classes[0][tuple(slice(side) for side in volume.shape)])
        known = self.foreground is not None
        return classes[self.foreground if known else inference.brightest([(classes, volume)])]

    def scaled(self, volume):
        """The volume as the network is given it, (Z, Y, X) float32."""
        if self.architecture != "wnet3d":
            return _enlarge(augmentation.prepare(volume, self.scaling), self.architecture)
        each = self.postprocess == "released" or self.scaling != "volume"  # then each window by itself
        return np.asarray(volume, np.float32) if each else volumes.remap(volume)

    def network(self, x):
        """What is made of a tensor (1, 1, Z, Y, X) of the scaled volume: (1, C, Z, Y, X) in 0..1."""
        if self.postprocess == "released":
            chain = released.wnet3d if self.architecture == "wnet3d" else released.supervised
            return chain(self.model.encoder if self.architecture == "wnet3d" else self.model)(x)
        if self.architecture == "wnet3d":
            return self.model.encoder(released.stretched(x, 100.0) if self.scaling == "cube" else x)
        return torch.sigmoid(losses.logits(self.model, x))

    @property
    def multiple(self):
        """What the sides of a volume are enlarged to, so that the network can halve them as often as it
        does."""
        return MULTIPLES.get(self.architecture, 8)

    @property
    def bytes_per_voxel(self):
        """Bytes of memory that a voxel takes in one pass, from the width of the first level."""
        width = next(p.shape[0] for p in self.model.parameters() if p.ndim == 5)
        return BYTES[self.architecture] * width


def _enlarge(volume, architecture):
    """SwinUNETR halves five times and must not end with a single voxel: mirrored until one side is above
    32."""
    if architecture != "swinunetr" or max(volume.shape) > 32:
        return volume
    return np.pad(
        volume, ((0, 33 - volume.shape[0]), (0, 0), (0, 0)), "reflect" if volume.shape[0] > 1 else "edge"
    )
