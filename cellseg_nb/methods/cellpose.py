"""Cellpose (3.x), trained from scratch on slices of your volumes: fit, predict, segment, tune, save, load.

A 2D network says for each pixel of a slice whether it is cell, and in which direction the middle of its cell
lies. In 3D the slices of all three directions are put together and every voxel walks along its arrow; voxels
that arrive at one place are one cell. Stringer et al. 2021; Stringer & Pachitariu 2024. Nothing is ever
downloaded.
"""

import logging
import tempfile

import numpy as np
import torch
from scipy import ndimage as ndi

from cellseg_nb import methods, runtime
from cellseg_nb.cells import instances
from cellseg_nb.errors import UserError
from cellseg_nb.io import files, volumes
from cellseg_nb.learning import augmentation, loop, pairs
from cellseg_nb.methods import tuning
from cellseg_nb.methods.cellpose_slices import mean_diameter, slices, to_shape
from cellseg_nb.methods.quiet import quiet
from cellseg_nb.parameters import one_of

WEIGHTS = "cellpose.pt"
THRESHOLDS = (0.0, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0, -6.0)  # tried by `tune`, which takes the first of equals
NOTHING = (
    "Cellpose finds no cell in its own training volumes: its learning rate rises over ten epochs, so give it "
    "14 epochs or more, more slices, or look whether the labels belong to the volumes."
)


class CellposeMethod:
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
    cellprob_threshold, flow_smooth, min_size : the instance step: a voxel belongs to a cell above the
        threshold (on the sum of the logits of the three directions); arrows are blurred by ``flow_smooth``
        voxels; smaller objects (voxels) are dropped. `tune` chooses them.
    voxel_size : (z, y, x) in µm or None
        Volumes with flat voxels are resampled to cubic ones for the network, and the labels back.
    seed : of the first weights, and of the choice of slices. (Cellpose itself draws its crops with fixed
        seeds.)

    Paper settings: ``CellposeMethod(**CellposeMethod.PAPER)``, as in the authors' training script (50 epochs
    on xy slices, nothing pre-trained, ``diam_mean`` 3.3 on their data). They trained with an earlier release,
    whose optimiser was SGD with learning rate 0.2; here it is AdamW, the default of 3.x.
    """

    name = "cellpose"
    LAPTOP = dict(epochs=14, batch=8, slices=48, bsize=64, learning_rate=0.005, planes="all", rescale=False)
    PAPER = dict(epochs=50, batch=8, slices=0, bsize=224, learning_rate=0.005, planes="xy", rescale=True)

    def __init__(
        self,
        epochs=None,
        batch=None,
        slices=None,
        bsize=None,
        learning_rate=None,
        planes=None,
        rescale=None,
        diameter=None,
        cellprob_threshold=0.0,
        flow_smooth=0.0,
        min_size=5,
        voxel_size=None,
        seed=0,
        device="auto",
    ):
        given = dict(
            epochs=epochs,
            batch=batch,
            slices=slices,
            bsize=bsize,
            learning_rate=learning_rate,
            planes=planes,
            rescale=rescale,
        )
        self.training = {name: self.LAPTOP[name] if value is None else value for name, value in given.items()}
        one_of("planes", self.training["planes"], ("all", "xy"))
        if self.training["epochs"] < 1 or self.training["bsize"] % 16:
            raise UserError(
                f"cellpose needs one epoch or more and a bsize divisible by 16, not "
                f"{self.training['epochs']} and {self.training['bsize']}"
            )
        self.training["seed"], self.device = seed, device
        self.diameter, self.voxel_size, self.model = diameter, voxel_size, None
        self.cellprob_threshold, self.flow_smooth, self.min_size = cellprob_threshold, flow_smooth, min_size

    # ------------------------------------------------------------ the library

    def _library(self, module):
        logging.getLogger("cellpose").setLevel(logging.ERROR)
        methods.need("cellpose")
        return methods.need(f"cellpose.{module}")

    def _build(self):
        models = self._library("models")
        device = runtime.device(self.device)
        torch.manual_seed(self.training["seed"])
        with quiet():
            # pretrained_model=False: no path, hence no download
            model = models.CellposeModel(
                gpu=device.type != "cpu",
                device=device,
                pretrained_model=False,
                diam_mean=self.diameter,
                nchan=2,
                mkldnn=False,  # True: cannot be saved
            )
        if device.type == "cpu":
            model.net.to(memory_format=torch.channels_last)  # a fifth faster there
        model.net_ortho = None  # 3.1 sets it for pre-trained networks only, and asks for it in 3D
        return model

    def _trained(self):
        if self.model is None:
            raise UserError(
                "cellpose is not trained yet: call fit first, or load what an earlier fit has saved"
            )
        return self.model

    # ------------------------------------------------------------ learning

    def fit(self, images, labels, folder=None, callbacks=(), progress=True):
        """Train on lists of volumes and labels, (Z, Y, X). Returns the history: epoch, loss.

        ``folder`` is not used: Cellpose cannot carry on with a training. It tells its losses at the end only,
        so ``callbacks`` are called once, then. Raises UserError for pairs that do not fit (`pairs.check`).
        """
        train = self._library("train")
        images, labels = pairs.check(images, labels)
        planes, masks = self._slices(images, labels)
        if self.diameter is None:
            self.diameter = mean_diameter(masks)
        self.model = self._build()
        options, state = self.training, np.random.get_state()
        steps = -(-len(planes) // options["batch"]) * options["epochs"]
        with (
            runtime.progress(total=steps, desc="Cellpose", unit="step", disable=not progress) as bar,
            tempfile.TemporaryDirectory() as scratch,
        ):
            count = self.model.net.register_forward_hook(lambda *_: _tick(bar))
            try:
                with quiet():
                    _, losses, _ = train.train_seg(
                        self.model.net,
                        train_data=planes,
                        train_labels=masks,
                        channels=[0, 0],
                        normalize=False,
                        batch_size=options["batch"],
                        n_epochs=options["epochs"],
                        bsize=options["bsize"],
                        learning_rate=options["learning_rate"],
                        weight_decay=1e-5,
                        SGD=False,
                        rescale=options["rescale"],
                        min_train_masks=1,
                        save_path=scratch,
                        model_name="model",
                    )
            finally:
                count.remove()
                np.random.set_state(state)  # Cellpose seeds numpy anew in every epoch
        self._measured()
        history = [{"epoch": epoch, "loss": float(loss)} for epoch, loss in enumerate(losses, 1)]
        for callback in callbacks:
            callback(history, self.model.net)
        return history

    def _slices(self, images, labels):
        scaled = (self._cubic(augmentation.prepare(image), 1) for image in images)
        return slices(scaled, (self._cubic(label, 0) for label in labels), self.training)

    def _measured(self):
        self.model.diam_mean = float(self.model.net.diam_mean)
        self.model.diam_labels = float(self.model.net.diam_labels)
        self.model.net.eval()

    # ------------------------------------------------------------ saying where the cells are

    def _cubic(self, volume, order):
        """The volume in cubic voxels of the finest axis."""
        if self.voxel_size is None or len(set(self.voxel_size)) == 1:
            return volume
        return volumes.rescale(volume, self.voxel_size, min(self.voxel_size), order)

    def maps(self, volume):
        """What the network says, in cubic voxels: arrows (3, Z, Y, X), and the sum of three logits (Z, Y,
        X)."""
        volume = np.asarray(volume)
        if volume.ndim != 3 or not np.isfinite(volume).all():
            raise UserError(
                f"the volume has shape {volume.shape} and must have three dimensions (Z, Y, X) without NaN"
            )
        model = self._trained()
        diameter = None if self.training["rescale"] else model.diam_mean  # diam_mean: as large as it is
        with quiet():
            _, flows, _ = model.eval(
                self._cubic(augmentation.prepare(volume), 1),
                channels=[0, 0],
                z_axis=0,
                do_3D=True,
                normalize=False,
                diameter=diameter,
                compute_masks=False,
            )
        return flows[1].astype(np.float32), flows[2].astype(np.float32)

    def predict(self, volume):
        """Probability of being a cell, (Z, Y, X) float32 in 0..1: the mean logit of the three directions."""
        logits = to_shape(self.maps(volume)[1], np.shape(volume), 1)
        return torch.from_numpy(logits / 3).sigmoid().numpy()

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32. ``probability`` is not used, unless it is what `maps` gave for this
        volume: the arrows are needed too. ``voxel_size`` is that of the constructor."""
        flows, logits = probability if isinstance(probability, tuple) else self.maps(volume)
        return to_shape(self._label(flows, logits), np.shape(volume), 0)

    def _label(self, flows, logits):
        dynamics = self._library("dynamics")
        if self.flow_smooth:
            flows = ndi.gaussian_filter(flows, (0, *[self.flow_smooth] * 3))
        with quiet():
            found = dynamics.resize_and_compute_masks(
                flows,
                logits,
                cellprob_threshold=self.cellprob_threshold,
                do_3D=True,
                min_size=-1,
                device=self._trained().device,
            )
        return instances.filter_size(found.astype(np.int32), self.min_size)

    def tune(self, images, labels):
        """Choose threshold, blur of the arrows and smallest size with the best F1@0.5 on *training* volumes,
        of equals those closest to Cellpose's default. Returns the table tried."""
        images, labels = pairs.check(images, labels)
        maps = [self.maps(image) for image in images]
        candidates = tuning.combinations(flow_smooth=[0.0, 1.0], cellprob_threshold=list(THRESHOLDS))
        least = self.min_size
        table = tuning.choose(self, candidates, lambda i: self.segment(images[i], maps[i]), labels)
        if not table.f1.max():
            vars(self).update(flow_smooth=0.0, cellprob_threshold=0.0, min_size=least)
            print(NOTHING)
        return table

    # ------------------------------------------------------------ keeping

    def save(self, folder):
        """Write ``cellpose.pt`` (weights and settings) into a folder."""
        net = self._trained().net
        path = files.writable_folder(folder) / WEIGHTS
        settings = {
            **self.training,
            "diameter": self.diameter,
            "cellprob_threshold": self.cellprob_threshold,
            "flow_smooth": self.flow_smooth,
            "min_size": self.min_size,
            "voxel_size": None if self.voxel_size is None else [float(side) for side in self.voxel_size],
        }
        with files.atomic(path) as beside:
            torch.save({"method": self.name, "settings": settings, "model": net.state_dict()}, beside)
        return path

    @classmethod
    def load(cls, folder, device="auto"):
        """Read what `save` wrote. Raises UserError when the file is missing, damaged or of another method."""
        state = loop.read_saved(folder, WEIGHTS, cls.name)
        method = cls(**state["settings"], device=device)
        method.model = method._build()
        loop.load_state(method.model.net, state["model"], folder)
        method._measured()
        return method


def _tick(bar):
    """One step further. Returns nothing: what a forward hook returns would take the place of the network's
    output."""
    bar.update()
