"""WNet3D as a method: fit without labels, predict, segment, tune, save, load."""

import numpy as np
import torch

from cellseg_nb import runtime
from cellseg_nb.cells import inference, instances
from cellseg_nb.errors import UserError
from cellseg_nb.io import files, volumes
from cellseg_nb.learning import loop, monitor
from cellseg_nb.learning.cubes import cube_batches
from cellseg_nb.networks.wnet3d import LAPTOP_CHANNELS, WNet3D
from cellseg_nb.networks.wnet3d_loss import WNetLoss

WEIGHTS = "wnet3d.pt"
ANOTHER = 1_000_003  # between the seeds of two starts


class WNet3DMethod:
    """Self-supervised segmentation: learns from the volumes themselves, labels are never looked at in `fit`.

    Parameters
    ----------
    channels, classes, dropout : see `cellseg_nb.networks.wnet3d.WNet3D`
    cube : int
        Side of a training cube in voxels, divisible by 8.
    batch, steps, epochs : int
        Cubes a step, steps an epoch, epochs.
    restarts : int
        How often to begin anew, from another random start, when one has led to broad regions instead of cells
        (`cellseg_nb.learning.monitor.stop_when_stuck`; made for short trainings with a high learning rate).
    threshold, spot_sigma, outline_sigma, min_size, min_contrast : the instance step
        See `cellseg_nb.cells.instances.voronoi_otsu`, `filter_size`, and `filter_contrast` (0: not used).
    learning_rate, seed, device, loss options : see `cellseg_nb.learning.loop.train` and `WNetLoss`.

    Volumes are remapped to 0..100 (whole volume, minimum to maximum), as the paper does. ``foreground`` is
    the class whose voxels are brightest on average, found after training, since either class may become the
    cells.
    """

    name = "wnet3d"

    def __init__(
        self,
        channels=LAPTOP_CHANNELS,
        classes=2,
        dropout=0.1,
        cube=32,
        batch=2,
        steps=10,
        epochs=30,
        learning_rate=2e-3,
        threshold=0.5,
        spot_sigma=1.0,
        outline_sigma=0.5,
        min_size=5,
        min_contrast=0.0,
        restarts=0,
        seed=0,
        device="auto",
        **loss,
    ):
        if cube % 8 or cube < 8:
            raise UserError(
                f"the training cube must be a multiple of 8 voxels a side, not {cube}: 32 on a laptop, "
                "64 as in the paper"
            )
        self.network = dict(channels=tuple(channels), classes=classes, dropout=dropout)
        self.training = dict(
            cube=cube,
            batch=batch,
            steps=steps,
            epochs=epochs,
            learning_rate=learning_rate,
            seed=seed,
            restarts=restarts,
        )
        self.loss = loss
        self.device = device
        self.threshold, self.min_size, self.min_contrast = threshold, min_size, min_contrast
        self.spot_sigma, self.outline_sigma = spot_sigma, outline_sigma
        self.foreground = None
        torch.manual_seed(seed)
        self.model = WNet3D(**self.network)

    def fit(self, images, labels=None, folder=None, callbacks=(), progress=True):
        """Train on a list of (Z, Y, X) volumes; ``labels`` are ignored. Resumes from ``folder``. Returns the
        history."""
        images = [volumes.remap(image) for image in images]
        options = self.training
        meta = {
            "method": self.name,
            **{k: list(v) if isinstance(v, tuple) else v for k, v in self.network.items()},
            **{k: options[k] for k in ("cube", "batch", "steps")},
            **self.loss,
            "data": [_fingerprint(i) for i in images],
        }
        batches = cube_batches(images, options["cube"], options["batch"], options["steps"])
        for start in range(options["restarts"] + 1):
            seed, place, watching = options["seed"], folder, [*callbacks]
            # a seed and a folder of its own, so that a killed run resumes in the start that it was in
            if start:
                seed, place = seed + start * ANOTHER, folder and files.as_path(folder) / f"start_{start + 1}"
                torch.manual_seed(seed)
                self.model = WNet3D(**self.network)
            if start < options["restarts"]:
                watching.append(monitor.stop_when_stuck)
            history = loop.train(
                self.model,
                WNetLoss(**self.loss),
                batches,
                options["epochs"],
                learning_rate=options["learning_rate"],
                average=0.96,
                seed=seed,
                device=self.device,
                folder=place,
                meta=meta,
                callbacks=watching,
                progress=progress,
            )
            if history[-1].get("stopped") != monitor.UNLUCKY:
                break
            print(
                f"After {len(history)} epochs the classes are broad regions, not cells (SoftNCuts "
                f"{history[-1]['n_cuts']:.2f}): another random start, number {start + 2}."
            )
        self.foreground = self.find_foreground(images[0])
        return history

    def classes(self, volume, **options):
        """Probability of every class, (K, Z, Y, X) float32. Options as in
        `cellseg_nb.cells.inference.predict`."""
        self.model.eval()
        width = self.network["channels"][0]
        return inference.predict(
            self.model.to(runtime.device(self.device)).encoder,
            volumes.remap(volume),
            device=self.device,
            bytes_per_voxel=32 * width,
            **options,
        )

    def predict(self, volume, **options):
        """Probability of being a cell, (Z, Y, X) float32 in 0..1."""
        classes = self.classes(volume, **options)
        if self.foreground is None:
            self.foreground = inference.brightest(classes, volume)
        return classes[self.foreground]

    def find_foreground(self, volume):
        return inference.brightest(self.classes(volume, progress=False), volume)

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32: Voronoi-Otsu with spots from the volume and outlines from the
        probability."""
        probability = self.predict(volume) if probability is None else probability
        labels = instances.voronoi_otsu(
            probability,
            self.spot_sigma,
            self.outline_sigma,
            voxel_size,
            threshold=self.threshold,
            spots=volume,
        )
        if self.min_contrast:
            labels = instances.filter_contrast(labels, volume, self.min_contrast, self.spot_sigma, voxel_size)
        return instances.filter_size(labels, self.min_size)

    def tune(self, images, labels, voxel_size=None):
        """Choose, on labelled *training* volumes, the threshold with the best Dice, then the blur of the
        spots and the smallest size of a cell with the best F1@0.5.

        Returns the table of thresholds tried; that of spots is kept in ``spots_tried``.
        """
        from cellseg_nb.evaluation import metrics
        from cellseg_nb.learning import pairs
        from cellseg_nb.methods import tuning

        images, labels = pairs.check(images, labels)
        found = [self.predict(image, progress=False) for image in images]
        self.threshold, table = metrics.best_threshold(
            np.concatenate([p.ravel() for p in found]),
            np.concatenate([label.ravel() > 0 for label in labels]),
        )
        wide = tuning.diameter(labels)
        candidates = tuning.combinations(spot_sigma=[round(wide * part, 2) for part in tuning.SPOTS])
        self.spots_tried = tuning.choose(
            self, candidates, lambda i: self.segment(images[i], found[i], voxel_size), labels
        )
        return table

    def save(self, folder):
        """Write ``wnet3d.pt`` (weights and settings) into a folder."""
        path = files.writable_folder(folder) / WEIGHTS
        settings = {
            **self.network,
            **self.training,
            **self.loss,
            "threshold": self.threshold,
            "min_size": self.min_size,
            "min_contrast": self.min_contrast,
            "spot_sigma": self.spot_sigma,
            "outline_sigma": self.outline_sigma,
        }
        with files.atomic(path) as beside:
            torch.save(
                {
                    "method": self.name,
                    "settings": settings,
                    "foreground": self.foreground,
                    "model": self.model.state_dict(),
                },
                beside,
            )
        return path

    @classmethod
    def load(cls, folder, device="auto"):
        """Read what `save` wrote. Raises UserError when the file is missing, damaged or of another method."""
        state = loop.read_saved(folder, WEIGHTS, cls.name)
        method = cls(**state["settings"], device=device)
        loop.load_state(method.model, state["model"], folder)
        method.foreground = state["foreground"]
        method.model.eval()
        return method


def _fingerprint(volume):
    import hashlib

    return hashlib.sha256(np.ascontiguousarray(volume).tobytes()).hexdigest()[:16]
