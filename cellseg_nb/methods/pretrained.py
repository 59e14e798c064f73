"""The released WNet3D as a method: nothing is learned, its weights are loaded."""

import numpy as np

from cellseg_nb.cells import instances
from cellseg_nb.methods import weights
from cellseg_nb.methods.base import COMMON, Method


class PretrainedWNet3D(Method):
    """WNet3D as released, never trained here: the paper's "WNet3D - Pretrained".

    Parameters
    ----------
    weights : as `cellseg_nb.methods.weights.load` takes them; "wnet3d" is downloaded once
    postprocess : "released" or "probability", see `cellseg_nb.methods.released`
    threshold, min_size : of `cellseg_nb.cells.instances.published`
    """

    name = "wnet3d_pretrained"
    needs_labels = False
    tunes_on_labels = False
    tunable = ("threshold", "min_size")
    settings = {"weights": "wnet3d", "postprocess": "released", "threshold": 0.6, "min_size": 5, **COMMON}

    def fit(self, images, labels=None, *, folder=None, callbacks=(), progress=True):
        """Loads the weights; volumes and labels are not looked at. Returns an empty history."""
        chain = self.options["postprocess"]
        self.model = weights.load(self.options["weights"], "wnet3d", self.device, postprocess=chain)
        return []

    def predict(self, volume, *, progress=True):
        """What the network says of the class cell, (Z, Y, X) float32 in 0..1."""
        return self._trained()(np.asarray(volume, np.float32), progress=progress)

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32."""
        probability = self.predict(volume) if probability is None else probability
        return instances.published(probability, self.threshold, self.min_size)

    @classmethod
    def load(cls, folder, device="auto"):
        """What `save` wrote, with the weights loaded."""
        method = super().load(folder, device)
        method.fit([])
        return method
