"""SegResNet and SwinUNETR (both from MONAI) as methods: fit with labels, predict, segment, tune, save,
load."""

import numpy as np
import torch

from cellseg_nb import runtime
from cellseg_nb.cells import inference
from cellseg_nb.errors import UserError
from cellseg_nb.io import files
from cellseg_nb.learning import augmentation, loop, pairs
from cellseg_nb.learning.validation import Validation
from cellseg_nb.methods import tuning
from cellseg_nb.methods.start import read
from cellseg_nb.networks import losses


class SupervisedMethod:
    """A network that learns from labelled volumes which voxels are cell. Use `SegResNetMethod` or
    `SwinUNETRMethod`.

    Parameters
    ----------
    loss : a name out of `cellseg_nb.networks.losses.WORDS`
    cube : (z, y, x) voxels of a training cube, or one number
    batch, steps, epochs : cubes a step, steps an epoch, epochs
    learning_rate, schedule, average, seed, device : see `cellseg_nb.learning.loop.train`
    augment : names out of `cellseg_nb.learning.augmentation.STEPS`; () for none
    share : float
        Part of the (non-overlapping) cubes kept for validation.
    cores : bool
        Let the network say a second thing: where the core of each cell is
        (`cellseg_nb.learning.pairs.targets`). Cores keep touching cells apart where brightness does not. The
        paper's networks have none.
    voxel_size : (z, y, x) in µm or None
        Of the volumes: cores are measured in µm, and so are distances in `segment` and `tune`.
    start : path or None
        Weights to start from (fine-tuning): a folder or file that `save` wrote, whose widths then count; or a
        state dict.
    threshold, spot_sigma, outline_sigma, min_size, spots, core_threshold :
        The instance step, see `segment`; chosen by `tune`.
    widths : of the network, given to MONAI's class. Sides of cubes: SegResNet any divisible by 8; SwinUNETR
    divisible by
        32 and not all 32.

    Paper settings: ``SegResNetMethod(**SegResNetMethod.PAPER)``. The defaults are those of a laptop.
    """

    name = None
    LAPTOP, PAPER, SIDES, MEMORY = {}, {}, 8, 64

    def __init__(
        self,
        loss="generalized_dice",
        cube=None,
        batch=None,
        steps=None,
        epochs=None,
        learning_rate=None,
        schedule="cosine",
        average=None,
        augment=augmentation.STEPS,
        share=0.2,
        cores=False,
        start=None,
        threshold=0.5,
        spot_sigma=1.0,
        outline_sigma=0.0,
        min_size=5,
        spots=None,
        core_threshold=0.5,
        voxel_size=None,
        seed=0,
        device="auto",
        **widths,
    ):
        given = dict(cube=cube, batch=batch, steps=steps, epochs=epochs, learning_rate=learning_rate)
        settings = {name: self.LAPTOP[name] if value is None else value for name, value in given.items()}
        settings["cube"] = self._cube(settings["cube"])
        self.training = dict(
            **settings,
            loss=loss,
            schedule=schedule,
            average=average,
            augment=list(augment),
            share=share,
            cores=cores,
            seed=seed,
            voxel_size=None if voxel_size is None else [float(side) for side in voxel_size],
        )
        losses.loss(loss)
        if set(augment) - set(augmentation.STEPS):
            raise UserError(
                f"augment must be names out of {', '.join(augmentation.STEPS)}, not {', '.join(augment)}"
            )
        self.threshold, self.min_size, self.device = threshold, min_size, device
        self.spots = spots or ("cores" if cores else "volume")
        self.spot_sigma, self.outline_sigma = spot_sigma, outline_sigma
        self.core_threshold = core_threshold
        self.best = self.last = None
        weights, found = read(start, self.name) if start else (None, {})
        self.network = {**{k: v for k, v in self.LAPTOP.items() if k not in given}, **widths, **found}
        torch.manual_seed(seed)
        self.model = self._build(1 + bool(cores), **self.network)
        if weights:
            loop.load_state(self.model, weights, start)
        self.started = pairs.fingerprint(*[value.numpy() for value in weights.values()]) if weights else None

    def _device(self):
        return runtime.device(self.device)

    def _cube(self, cube):
        cube = [int(side) for side in ([cube] * 3 if np.isscalar(cube) else cube)]
        if len(cube) != 3 or any(side < self.SIDES or side % self.SIDES for side in cube):
            raise UserError(
                f"sides of a training cube for {self.name} must be divisible by {self.SIDES}, "
                f"not {tuple(cube)}"
            )
        return cube

    def fit(self, images, labels=None, folder=None, callbacks=(), progress=True):
        """Train on lists of volumes and labels, (Z, Y, X). Resumes from ``folder``. Returns the history.

        Keeps the weights with the best validation Dice (`best`) and those of the last epoch (`last`), and
        uses the best; `use` changes that. Volumes too small for two cubes leave no validation: then best and
        last are the same.
        """
        options = self.training
        images, labels = pairs.check(images, labels, options["cube"])
        held = pairs.split(
            [image.shape for image in images], options["cube"], options["share"], options["seed"]
        )
        square = options["cube"][1] == options["cube"][2]
        transform = augmentation.pipeline(options["augment"], square=square) if options["augment"] else None
        cubes = pairs.Cubes(
            images,
            labels,
            options["cube"],
            options["batch"],
            options["steps"],
            held,
            transform,
            options["cores"],
            options["voxel_size"],
        )
        loss = losses.CellLoss(options["loss"])
        validation = Validation(loss, cubes, folder)
        meta = {
            "method": self.name,
            **self.network,
            **{
                name: options[name]
                for name in ("cube", "batch", "steps", "loss", "augment", "share", "cores", "voxel_size")
            },
            "start": self.started,
            "data": [pairs.fingerprint(*pair) for pair in zip(images, labels)],
        }
        history = loop.train(
            self.model,
            loss,
            cubes,
            options["epochs"],
            learning_rate=options["learning_rate"],
            schedule=options["schedule"],
            average=options["average"],
            seed=options["seed"],
            device=self.device,
            folder=folder,
            meta=meta,
            callbacks=[validation, *callbacks],
            progress=progress,
        )
        self.last = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        best = validation.weights()
        self.best = best["model"] if best else self.last
        return self.use("best") or history

    def use(self, which):
        """Use the "best" weights (highest validation Dice) or the "last" ones from now on."""
        if which not in ("best", "last") or getattr(self, which) is None:
            raise UserError(f"there are no {which!r} weights: train first, then choose 'best' or 'last'")
        self.model.load_state_dict(getattr(self, which))

    def predict(self, volume, **options):
        """Probability of being a cell, (Z, Y, X) float32 in 0..1. Options as in
        `cellseg_nb.cells.inference.predict`."""
        return self.maps(volume, **options)[0]

    def maps(self, volume, **options):
        """All that the network says, (C, Z, Y, X) float32 in 0..1: the probability of being a cell, with
        ``cores`` also that of being a core."""
        volume = np.asarray(volume)
        if volume.ndim != 3 or not np.isfinite(volume).all():
            raise UserError(
                f"the volume has shape {volume.shape} and must have three dimensions (Z, Y, X) without NaN"
            )
        self.model.eval().to(self._device())
        scaled = self._large_enough(augmentation.prepare(volume))
        settings = dict(
            device=self.device,
            multiple=self.SIDES,
            window=self.training["cube"],
            overlap=0.5,
            bytes_per_voxel=self.MEMORY * next(iter(self.network.values())),
        )
        found = inference.predict(
            lambda x: torch.sigmoid(losses.logits(self.model, x)), scaled, **{**settings, **options}
        )
        return np.ascontiguousarray(found[(slice(None), *(slice(side) for side in volume.shape))])

    def _large_enough(self, volume):
        return volume

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32: one cell a spot, with outlines from the probability.

        ``probability`` is that from `predict`, or all `maps`; computed when it is not given.
        ``spots`` says where cell centres are looked for: in the "volume" (the default), the "probability",
        the "cores" (the default where the network knows them; computed anew when only the probability of
        being a cell is given), or the "depth" in the outline together with the brightness, as
        `tuning.from_depth` has it.
        """
        if probability is None or (self.spots == "cores" and np.ndim(probability) == 3):
            probability = self.maps(volume)
        maps = probability if np.ndim(probability) == 4 else probability[None]
        voxel_size = self.training["voxel_size"] if voxel_size is None else voxel_size
        if self.spots == "cores":
            return tuning.from_cores(
                maps[0],
                maps[1],
                self.threshold,
                self.core_threshold,
                self.spot_sigma,
                self.min_size,
                voxel_size,
            )
        if self.spots == "depth":
            return tuning.from_depth(
                maps[0], volume, self.threshold, self.spot_sigma, self.min_size, voxel_size
            )
        spots = volume if self.spots == "volume" else maps[0]
        return tuning.voronoi(
            maps[0], spots, self.threshold, self.spot_sigma, self.outline_sigma, self.min_size, voxel_size
        )

    def tune(self, images, labels, voxel_size=None):
        """Choose, on *training* volumes, the threshold with the best Dice, then the spots and the smallest
        size of a cell with the best F1@0.5.

        Returns the table of thresholds tried (threshold, dice); the table of spots is kept in
        ``spots_tried``. A network knows its training volumes better than others, so expect less elsewhere.
        """
        from cellseg_nb.evaluation import metrics

        images, labels = pairs.check(images, labels)
        maps = [self.maps(image, progress=False) for image in images]
        self.threshold, table = metrics.best_threshold(
            np.concatenate([one[0].ravel() for one in maps]),
            np.concatenate([label.ravel() > 0 for label in labels]),
        )
        blurs = [round(tuning.diameter(labels) * part, 2) for part in tuning.SPOTS]
        candidates = tuning.combinations(
            spots=["volume", "probability", "depth"], spot_sigma=blurs, core_threshold=[self.core_threshold]
        )
        if self.training["cores"]:
            candidates += tuning.combinations(
                spots=["cores"], spot_sigma=[0.0, *blurs[:3]], core_threshold=[0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
            )
        self.spots_tried = tuning.choose(
            self, candidates, lambda i: self.segment(images[i], maps[i], voxel_size), labels
        )
        return table

    def save(self, folder):
        """Write ``<name>.pt`` (weights in use and settings) into a folder."""
        path = files.writable_folder(folder) / f"{self.name}.pt"
        settings = {
            "network": self.network,
            **self.training,
            "threshold": self.threshold,
            "min_size": self.min_size,
            "spot_sigma": self.spot_sigma,
            "outline_sigma": self.outline_sigma,
            "spots": self.spots,
            "core_threshold": self.core_threshold,
        }
        with files.atomic(path) as beside:
            torch.save({"method": self.name, "settings": settings, "model": self.model.state_dict()}, beside)
        return path

    @classmethod
    def load(cls, folder, device="auto"):
        """Read what `save` wrote. Raises UserError when the file is missing, damaged or of another method."""
        state = loop.read_saved(folder, f"{cls.name}.pt", cls.name)
        settings = dict(state["settings"])
        method = cls(**settings.pop("network"), **settings, device=device)
        loop.load_state(method.model, state["model"], folder)
        method.model.eval()
        return method
