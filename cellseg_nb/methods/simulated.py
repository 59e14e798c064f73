"""A network that has learned on simulated tissues only, as a method: with no labels as it is, with labels it
learns on."""

import numpy as np

from cellseg_nb.cells import background, prior, scale
from cellseg_nb.errors import UserError
from cellseg_nb.learning import loop, pairs
from cellseg_nb.learning.simulated import Cubes, PriorLoss, target
from cellseg_nb.methods import tuning
from cellseg_nb.methods.base import COMMON, checked
from cellseg_nb.methods.network import NetworkMethod
from cellseg_nb.methods.settings import DEMO


class SimulatedMethod(NetworkMethod):
    """SegResNet (MONAI) that learned on simulated tissues of many kinds (`cellseg_nb.cells.prior`).

    `fit` without labels does nothing: you draw no label, and nobody has drawn one, but it does not get to
    know your volumes either. With labels it learns on from there, which needs fewer of them than a network
    that begins with nothing.

    Parameters
    ----------
    cell_diameter : of a typical cell in µm (voxels without a voxel size), or None: that of the labels it was
        fitted to, else estimated from each volume. Volumes are resampled so that a cell is 6 voxels wide.
    threshold, min_size, prominence : the instance step, see `cellseg_nb.cells.prior.instances_of`
    cube, batch, steps, epochs, learning_rate, average : of `fit` with labels; sides of cubes in voxels of
        that grid
    voxel_size : (z, y, x) in µm or None
    """

    name = "simulated"
    needs_labels = False
    tunes_on_labels = False
    tunable = ("threshold", "min_size", "prominence")
    settings = {**DEMO["simulated"], **prior.SETTINGS, "min_size": 5, "cell_diameter": None, **COMMON}

    def __init__(self, **options):
        super().__init__(**options)
        if self.options["cube"] % 4 or self.options["cube"] < 8:
            raise UserError(f"the training cube must be a multiple of 4 voxels, not {self.options['cube']}")
        self.model, self.diameter = prior.read(), self.options["cell_diameter"]

    def _width(self, volume, voxel_size=None):
        size = voxel_size or self.options["voxel_size"]
        try:
            return background.widths(size, self.diameter or scale.cell_diameter(volume, size))
        except UserError:  # nothing stands out
            return background.widths(size, None)

    def fit(self, images, labels=None, *, folder=None, callbacks=(), progress=True):
        """With labels: learns on from the simulated tissues. Resumes from ``folder``; returns the history.
        Without: nothing to do, returns []."""
        if labels is None:
            return []
        images, labels = pairs.check(images, labels)
        options = self.options
        if not options["cell_diameter"]:
            size = background.spacing(options["voxel_size"])
            self.diameter = tuning.diameter(labels) * float(np.cbrt(size.prod()))
        scenes = [self._scene(*pair) for pair in zip(images, labels)]
        cubes = Cubes(scenes, options["cube"], options["batch"], options["steps"], around=0.5)
        keys = ("cube", "batch", "steps")
        history = loop.train(
            self.model,
            PriorLoss(),
            cubes,
            options["epochs"],
            **{name: options[name] for name in ("learning_rate", "average", "seed")},
            device=self.device,
            folder=folder,
            meta={
                "method": self.name,
                **{name: options[name] for name in keys},
                "data": [pairs.fingerprint(*pair) for pair in zip(images, labels)],
            },
            callbacks=callbacks,
            progress=progress,
        )
        return history

    def _scene(self, image, label):
        """What the network is shown of a volume, and what it should say, each side at least a cube long."""
        width = self._width(image)
        seen = prior.view(image, width)
        wanted = prior.resized(target(label, width), seen.shape[1:])
        more = [(0, 0), *((0, max(0, self.options["cube"] - side)) for side in seen.shape[1:])]
        return np.pad(seen, more, "symmetric"), np.pad(wanted, more, "symmetric")

    def maps(self, volume, *, progress=True, voxel_size=None, valid=None, **passes):
        """Probability of being a cell, and depth in it, (2, Z, Y, X) float32 in 0..1."""
        volume = checked(volume)
        self.model.to(self.torch_device())
        passes = dict(device=self.device, progress=progress) | passes
        return prior.maps(self.model, volume, self._width(volume, voxel_size), valid, **passes)

    def predict(self, volume, *, progress=True, **passes):
        """Probability of being a cell, (Z, Y, X) float32 in 0..1."""
        return self.maps(volume, progress=progress, **passes)[0]

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32. ``probability``: both `maps`; computed where only one or none is given."""
        if np.ndim(probability) != 4:
            probability = self.maps(volume, progress=False, voxel_size=voxel_size)
        width = self._width(volume, voxel_size)
        return prior.instances_of(probability, width, **self.chosen)

    def tune(self, images, labels, *, voxel_size=None, progress=True):
        """Choose threshold, prominence and smallest size on labelled *training* volumes. Returns the table
        tried."""
        images, labels = pairs.check(images, labels)
        found = [self.maps(image, progress=False, voxel_size=voxel_size) for image in images]
        candidates = tuning.combinations(threshold=[0.3, 0.4, 0.5, 0.6], prominence=[0.03, 0.06, 0.1, 0.2])
        return tuning.choose(
            self, candidates, lambda i: self.segment(images[i], found[i], voxel_size), labels, progress
        )

    def remembered(self):
        return {"diameter": self.diameter}

    def restore(self, state, source):
        super().restore(state, source)
        self.diameter = state["diameter"]
