"""SegResNet and SwinUNETR (both from MONAI) as methods: fit with labels, predict, segment, tune, save,
load."""

import numpy as np
import torch

from cellseg_nb import runtime
from cellseg_nb.cells import inference, instances
from cellseg_nb.errors import UserError
from cellseg_nb.learning import augmentation, loop, pairs
from cellseg_nb.learning.validation import Validation
from cellseg_nb.methods import released, start, tuning
from cellseg_nb.methods.base import COMMON, checked
from cellseg_nb.methods.network import HOW, NetworkMethod
from cellseg_nb.networks import losses
from cellseg_nb.parameters import one_of

SETTINGS = dict(
    loss="generalized_dice",
    optimizer="adamw",
    weight_decay=0.01,
    schedule="cosine",
    clip=1.0,
    average=None,
    scaling="unit",
    window=0,
    postprocess="probability",
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
    **HOW,
    flips=False,
    **COMMON,
)
# what a checkpoint belongs to
RUN = "cube batch steps loss augment share cores voxel_size scaling".split()
LOOP = ("learning_rate", "optimizer", "weight_decay", "schedule", "clip", "average", "seed")


class SupervisedMethod(NetworkMethod):
    """A network that learns from labelled volumes which voxels are cell. Use `SegResNetMethod`,
    `SwinUNETRMethod` or `UNetMethod`.

    Parameters
    ----------
    loss : a name out of `cellseg_nb.networks.losses.WORDS`
    cube : (z, y, x) voxels of a training cube, or one number
    batch, steps, epochs : cubes a step, steps an epoch (0: every cube there is once), epochs
    scaling : what the network sees, see `cellseg_nb.learning.augmentation.prepare`
    window : predict in windows of this side; 0: as `cellseg_nb.cells.inference.way` says
    postprocess : "probability" or "released", see `cellseg_nb.methods.released`
    learning_rate, optimizer, weight_decay, schedule, clip, average, fast, workers, seed, device : see
        `cellseg_nb.learning.loop.train`
    augment : names out of `cellseg_nb.learning.augmentation.STEPS` and ``MORE``; () for none
    flips : bool
        Predictions are the mean over the eight mirror images: steadier, and eight times the work.
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

    Options of the network are given to MONAI's class. Sides of cubes: SegResNet any divisible by 8; SwinUNETR
    divisible by 32 and not all 32. Defaults are those of `cellseg_nb.methods.settings.DEMO`;
    ``settings.of("segresnet", "paper")`` are published ones.
    """

    tunable = ("threshold", "min_size", "spots", "spot_sigma", "outline_sigma", "core_threshold")
    sides, memory = 8, 64  # of a cube, divisible by; bytes for each voxel and channel of the first level

    def __init__(self, **options):
        super().__init__(**options)
        size, cores = self.options["voxel_size"], self.options["cores"]
        self.options |= {
            "cube": self._cube(self.options["cube"]),
            "augment": list(self.options["augment"]),
            "voxel_size": None if size is None else [float(side) for side in size],
        }
        losses.loss(self.options["loss"])
        one_of("scaling", self.options["scaling"], augmentation.SCALES)
        one_of("postprocess", self.options["postprocess"], released.CHAINS)
        augmentation.check(self.options["augment"])
        self.spots = self.spots or ("cores" if cores else "volume")
        self.best = self.last = self.started = None
        begin, weights = self.options.pop("start"), None
        if begin:
            weights, widths = start.read(begin, self.name, self.widths)
            self.options |= widths
        self.network = self.pick(self.widths)
        self.training = {name: value for name, value in self.options.items() if name not in self.widths}
        with runtime.first_weights(self.options["seed"]):
            self.model = self._build(1 + bool(cores), **self.network)
        if weights:
            loop.load_state(self.model, weights, begin)
            self.started = pairs.fingerprint(*[value.numpy() for value in weights.values()])

    def _build(self, maps, **widths):
        """The network, with ``maps`` outputs a voxel."""
        raise NotImplementedError

    def _cube(self, cube):
        cube = [int(side) for side in ([cube] * 3 if np.isscalar(cube) else cube)]
        if len(cube) != 3 or any(side < self.sides or side % self.sides for side in cube):
            raise UserError(
                f"sides of a training cube for {self.name} must be divisible by {self.sides}, "
                f"not {tuple(cube)}"
            )
        return cube

    def fit(self, images, labels=None, *, folder=None, callbacks=(), progress=True):
        """Train on lists of volumes and labels, (Z, Y, X). Resumes from ``folder``. Returns the history:
        epoch, loss, val_loss, val_dice, seconds.

        Keeps the weights with the best validation Dice (`best`) and those of the last epoch (`last`), and
        uses the best; `use` changes that. Volumes too small for two cubes leave no validation: then best and
        last are the same. Raises UserError for pairs that do not fit (`pairs.check`).
        """
        options = self.training
        cube = options["cube"]
        images, labels = pairs.check(images, labels, cube)
        held = pairs.split([image.shape for image in images], cube, options["share"], options["seed"])
        transform = None
        if options["augment"]:
            transform = augmentation.pipeline(options["augment"], square=cube[1] == cube[2])
        cubes = pairs.Cubes(
            images,
            labels,
            cube,
            options["batch"],
            options["steps"],
            held,
            transform,
            options["cores"],
            options["voxel_size"],
            options["scaling"],
        )
        loss = losses.CellLoss(options["loss"])
        validation = Validation(loss, cubes, folder)
        history = loop.train(
            self.model,
            loss,
            cubes,
            options["epochs"],
            **{name: options[name] for name in LOOP},
            **self.how,
            device=self.device,
            folder=folder,
            meta={
                "method": self.name,
                **self.network,
                **{name: options[name] for name in RUN},
                "start": self.started,
                "data": [pairs.fingerprint(*pair) for pair in zip(images, labels)],
            },
            callbacks=[validation, *callbacks],
            progress=progress,
        )
        self.last = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        best = validation.weights()
        self.best = best["model"] if best else self.last
        self.use("best")
        return history

    def use(self, which):
        """Use the "best" weights (highest validation Dice) or the "last" ones from now on."""
        if which not in ("best", "last") or getattr(self, which) is None:
            raise UserError(f"there are no {which!r} weights: train first, then choose 'best' or 'last'")
        self.model.load_state_dict(getattr(self, which))

    def predict(self, volume, *, progress=True, **passes):
        """Probability of being a cell, (Z, Y, X) float32 in 0..1. More options as in
        `cellseg_nb.cells.inference.predict`."""
        return self.maps(volume, progress=progress, **passes)[0]

    def maps(self, volume, *, progress=True, **passes):
        """All that the network says, (C, Z, Y, X) float32 in 0..1: the probability of being a cell, with
        ``cores`` also that of being a core. Raises UserError for a volume that is not (Z, Y, X) and
        finite."""
        volume, window = checked(volume), self.training["window"]
        self.model.eval().to(self.torch_device())
        settings = dict(
            device=self.device,
            multiple=self.sides,
            window=window or self.training["cube"],
            overlap=released.OVERLAP if window else 0.5,
            bytes_per_voxel=self.memory * self.network[self.widths[0]],
            progress=progress,
            flips=bool(self.training["flips"]),
            **(dict(memory=0) if window else {}),
        )
        settings = {**settings, **passes}
        seen = self._large_enough(augmentation.prepare(volume, self.training["scaling"]))
        if self.training["postprocess"] == "released":
            found = released.predict(released.supervised(self.model), seen, **settings)
        else:
            step = lambda x: torch.sigmoid(losses.logits(self.model, x))  # noqa: E731
            found = inference.predict(step, seen, **settings)
        return np.ascontiguousarray(found[(slice(None), *(slice(side) for side in volume.shape))])

    def _large_enough(self, volume):
        return volume

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32: one cell a spot, with outlines from the probability.

        ``probability`` is that from `predict`, or all `maps`; computed when it is not given.
        ``spots`` says where cell centres are looked for: in the "volume" (the default), the "probability",
        the "cores" (the default where the network knows them; computed anew when only the probability of
        being a cell is given; `tuning.from_cores`), or the "depth" in the outline together with the
        brightness, as `tuning.from_depth` has it. "pieces": each piece of the probability above
        ``core_threshold`` is a cell, for cells of a few voxels. "auto": as notebook 00 has it,
        `cellseg_nb.cells.auto.find_cells`, for cells eight ``spot_sigma`` wide. "published":
        `cellseg_nb.cells.instances.published`.
        """
        if probability is None or (self.spots == "cores" and np.ndim(probability) == 3):
            probability = self.maps(volume)
        maps = probability if np.ndim(probability) == 4 else probability[None]
        if self.spots == "published":
            return instances.published(maps[0], self.threshold, self.min_size)
        rest = self.min_size, self.training["voxel_size"] if voxel_size is None else voxel_size
        if self.spots in ("cores", "pieces"):
            cores = self.spots == "cores"
            how = self.threshold, self.core_threshold, self.spot_sigma, *rest
            return tuning.from_cores(maps[0], maps[int(cores)], *how, apart=cores)
        if self.spots == "auto":
            return tuning.auto(maps[0], volume, self.threshold, self.spot_sigma, *rest)
        if self.spots == "depth":
            return tuning.from_depth(maps[0], volume, self.threshold, self.spot_sigma, *rest)
        spots = volume if self.spots == "volume" else maps[0]
        return tuning.voronoi(maps[0], spots, self.threshold, self.spot_sigma, self.outline_sigma, *rest)

    def tune(self, images, labels, *, voxel_size=None, progress=True):
        """Choose, on *training* volumes, the threshold with the best Dice, then the spots and the smallest
        size of a cell with the best F1@0.5; of centres, for cells under three voxels along an axis
        (`tuning.near`).

        Returns the table of thresholds tried (threshold, dice); the table of spots is kept in
        ``spots_tried``. A network knows its training volumes better than others, so expect less elsewhere.
        """
        images, labels = pairs.check(images, labels)
        maps = [self.maps(image, progress=False) for image in images]
        table = tuning.threshold(self, [one[0] for one in maps], labels)
        if self.spots == "published":  # its sigmas are not chosen
            self.spots_tried = table.head(0)
            return table
        size = self.training["voxel_size"] if voxel_size is None else voxel_size
        blurs = tuning.blurs(labels, size)
        candidates = tuning.combinations(
            spots=["volume", "probability", "depth"], spot_sigma=blurs, core_threshold=[self.core_threshold]
        )
        if tuning.near(labels, size):
            above = [core for core in tuning.CORES if core >= self.threshold]
            candidates += tuning.combinations(spots=["pieces"], spot_sigma=[0.0], core_threshold=above)
        if self.training["cores"]:
            candidates += tuning.combinations(
                spots=["cores"], spot_sigma=[0.0, *blurs[:3]], core_threshold=tuning.CORES
            )
        self.spots_tried = tuning.choose(
            self, candidates, lambda i: self.segment(images[i], maps[i], size), labels, progress, size
        )
        return table
