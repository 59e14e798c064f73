"""Cellpose (3.x), trained from scratch on slices of your volumes: fit, predict, segment, tune, save, load.

A 2D network says for each pixel of a slice whether it is cell, and in which direction the middle of its cell
lies. In 3D the slices of all three directions are put together and every voxel walks along its arrow; voxels
that arrive at one place are one cell. Stringer et al. 2021; Stringer & Pachitariu 2024. Nothing is ever
downloaded.
"""

import numpy as np
import torch
from scipy import ndimage as ndi

from cellseg_nb import runtime
from cellseg_nb.cells import instances
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.learning import augmentation, pairs
from cellseg_nb.methods import cellpose_library, tuning
from cellseg_nb.methods.base import COMMON, checked
from cellseg_nb.methods.cellpose_slices import mean_diameter, slices, to_shape
from cellseg_nb.methods.network import NetworkMethod
from cellseg_nb.methods.settings import DEMO
from cellseg_nb.parameters import one_of

# tried by `tune`, which takes the first of equals
THRESHOLDS = (0.0, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0, -6.0, -9.0)


class CellposeMethod(NetworkMethod):
    """Cellpose, without pre-trained weights.

    Parameters
    ----------
    epochs, batch, learning_rate : epochs (the learning rate rises over the first ten), slices a step, peak
        rate
    slices : int
        How many slices to learn from, drawn from all that hold a cell; 0: all of them.
    planes : "all" (slices of all three directions) or "xy" (as published)
    bsize : int
        Side of a training crop, in pixels. Small cells need no more than 64, which is 15 times faster than
        224.
    diameter : float or None
        Mean diameter of the cells in a slice, in voxels of the finest axis. None: measured on the labels.
    rescale : bool
        Resize every slice so that its cells have that diameter (as published). Not needed where all volumes
        were taken with the same voxel size; Cellpose counts cells under 5 pixels as 5.
    criterion : "f1" or "dice"
        What `tune` chooses by: F1@0.5; or, as published, Dice, and then the threshold alone.
    scaling : see `cellseg_nb.learning.augmentation.prepare`
    cellprob_threshold, flow_smooth, min_size : the instance step: a voxel belongs to a cell above the
        threshold (on the sum of the logits of the three directions); arrows are blurred by ``flow_smooth``
        voxels; smaller objects (voxels) are dropped. `tune` chooses them.
    voxel_size : (z, y, x) in µm or None
        Volumes with flat voxels are resampled to cubic ones for the network, and the labels back.
    seed : of the first weights, and of the choice of slices. (Cellpose itself draws its crops with fixed
        seeds.)

    Defaults are those of `cellseg_nb.methods.settings.DEMO`; ``settings.of("cellpose", "paper")`` are those
    of the authors' training script.
    """

    name = "cellpose"
    library = ("cellpose",)
    tunable = ("cellprob_threshold", "flow_smooth", "min_size")
    settings = {
        **DEMO["cellpose"],
        "diameter": None,
        "criterion": "f1",
        "scaling": "unit",
        "cellprob_threshold": 0.0,
        "flow_smooth": 0.0,
        "min_size": 5,
        **COMMON,
    }
    nothing_found = (
        "Cellpose finds no cell in its own training volumes: its learning rate rises over ten epochs, so "
        "give it 14 epochs or more, more slices, or look whether the labels belong to the volumes."
    )

    def __init__(self, **options):
        super().__init__(**options)
        one_of("planes", self.options["planes"], ("all", "xy"))
        one_of("criterion", self.options["criterion"], ("f1", "dice"))
        one_of("scaling", self.options["scaling"], augmentation.SCALES)
        if self.options["epochs"] < 1 or self.options["bsize"] % 16:
            raise UserError(
                f"cellpose needs one epoch or more and a bsize divisible by 16, not "
                f"{self.options['epochs']} and {self.options['bsize']}"
            )

    def network_now(self):
        return self._trained().net

    def restore(self, state, source):
        self._build()
        super().restore(state, source)
        cellpose_library.ready(self.model)

    def _build(self):
        self.model = cellpose_library.build(
            self.options["diameter"], self.options["seed"], self.torch_device()
        )

    def fit(self, images, labels=None, *, folder=None, callbacks=(), progress=True):
        """Train on lists of volumes and labels, (Z, Y, X). Returns the history: epoch, loss.

        ``folder`` is not used: Cellpose cannot carry on with a training. It tells its losses at the end only,
        so ``callbacks`` are called once, then. Raises UserError for pairs that do not fit (`pairs.check`).
        """
        cellpose_library.library("train")
        images, labels = pairs.check(images, labels)
        planes, masks = self._slices(images, labels)
        options = self.options
        if options["diameter"] is None:
            options["diameter"] = mean_diameter(masks)
        self._build()
        steps = -(-len(planes) // options["batch"]) * options["epochs"]
        with runtime.progress(total=steps, desc="Cellpose", unit="step", disable=not progress) as bar:
            losses = cellpose_library.train(self.model, planes, masks, options, bar)
        cellpose_library.ready(self.model)
        history = [{"epoch": epoch, "loss": loss} for epoch, loss in enumerate(losses, 1)]
        for callback in callbacks:
            callback(history, self.model.net)
        return history

    def _slices(self, images, labels):
        scaled = (self._cubic(self._scaled(image), 1) for image in images)
        return slices(scaled, (self._cubic(label, 0) for label in labels), self.options)

    def _scaled(self, volume):
        return augmentation.prepare(volume, self.options["scaling"])

    def _cubic(self, volume, order):
        """The volume in cubic voxels of the finest axis."""
        size = self.options["voxel_size"]
        if size is None or len(set(size)) == 1:
            return volume
        return volumes.rescale(volume, size, min(size), order)

    def maps(self, volume, *, progress=True):
        """What the network says, in cubic voxels: arrows (3, Z, Y, X), and the sum of three logits (Z, Y,
        X), float32. Raises UserError for a volume that is not (Z, Y, X) and finite."""
        volume, model = checked(volume), self._trained()
        diameter = None if self.options["rescale"] else model.diam_mean  # diam_mean: as large as it is
        return cellpose_library.flows(model, self._cubic(self._scaled(volume), 1), diameter)

    def predict(self, volume, *, progress=True):
        """Probability of being a cell, (Z, Y, X) float32 in 0..1: the mean logit of the three directions."""
        logits = to_shape(self.maps(volume)[1], np.shape(volume), 1)
        return torch.from_numpy(logits / 3).sigmoid().numpy()

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32. ``probability`` is not used, unless it is what `maps` gave for this
        volume: the arrows are needed too. ``voxel_size`` is that of the constructor."""
        arrows, logits = probability if isinstance(probability, tuple) else self.maps(volume)
        if self.flow_smooth:
            arrows = ndi.gaussian_filter(arrows, (0, *[self.flow_smooth] * 3))
        found = cellpose_library.masks(arrows, logits, self.cellprob_threshold, self._trained().device)
        return to_shape(instances.filter_size(found, self.min_size), np.shape(volume), 0)

    def tune(self, images, labels, *, voxel_size=None, progress=True):
        """Choose threshold, blur of the arrows and smallest size with the best F1@0.5 on *training* volumes,
        of equals those closest to Cellpose's default; or by Dice, as ``criterion`` says. Returns the table
        tried. ``voxel_size`` is that of the constructor."""
        images, labels = pairs.check(images, labels)
        maps = [self.maps(image) for image in images]
        if self.options["criterion"] == "dice":
            candidates = tuning.combinations(cellprob_threshold=list(THRESHOLDS))
            return tuning.by_dice(
                self, candidates, lambda i: self.segment(images[i], maps[i]), labels, progress
            )
        candidates = tuning.combinations(flow_smooth=[0.0, 1.0], cellprob_threshold=list(THRESHOLDS))
        return tuning.choose(
            self,
            candidates,
            lambda i: self.segment(images[i], maps[i]),
            labels,
            progress,
            self.options["voxel_size"],
        )


class CellposeDefault(CellposeMethod):
    """Cellpose with the threshold it comes with, never tuned: the paper's "Cellpose - default"."""

    name = "cellpose_default"
    tunes_on_labels = False

    def tune(self, images, labels, *, voxel_size=None, progress=True):
        """Nothing is chosen. Returns the one row there is."""
        return tuning.untouched(self)
