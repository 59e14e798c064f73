"""WNet3D as a method: fit without labels, predict, segment, tune, save, load."""

import inspect

import numpy as np

from cellseg_nb import runtime
from cellseg_nb.cells import auto, background, inference, instances
from cellseg_nb.errors import UserError
from cellseg_nb.io import files, volumes
from cellseg_nb.learning import cubes, guided, loop, monitor, pairs
from cellseg_nb.methods import released, start, tuning
from cellseg_nb.methods.base import COMMON
from cellseg_nb.methods.network import HOW, NetworkMethod
from cellseg_nb.methods.settings import DEMO
from cellseg_nb.networks.wnet3d import PAPER_CHANNELS, WNet3D
from cellseg_nb.networks.wnet3d_loss import WNetLoss
from cellseg_nb.parameters import one_of

WEIGHTS = "wnet3d.pt"
ANOTHER = 1_000_003  # between the seeds of two starts
LOOP = ("learning_rate", "optimizer", "weight_decay", "schedule", "clip", "average")
NO_TRAINING = ("voxel_size", "separate", "cell_diameter", "scaling", "window", "postprocess")
CHOICES = {
    "separate": ("voronoi_otsu", "published", "auto"),
    "turns": tuple(cubes.TURNS),
    "scaling": ("volume", "cube", "none"),
    "postprocess": released.CHAINS,
}
LOSS = {one.name: one.default for one in inspect.signature(WNetLoss).parameters.values()}


class WNet3DMethod(NetworkMethod):
    """Self-supervised segmentation: learns from the volumes themselves, labels are never looked at in `fit`.

    Parameters
    ----------
    channels, classes, dropout : see `cellseg_nb.networks.wnet3d.WNet3D`
    cube : int
        Side of a training cube in voxels, divisible by 8.
    batch, steps, epochs : int
        Cubes a step, steps an epoch, epochs.
        ``steps`` 0: every cube of the volumes, once an epoch.
    optimizer, weight_decay, schedule, clip, average : see `cellseg_nb.learning.loop.train`
    turns : "all" or "published", see `cellseg_nb.learning.cubes`
    scaling : "volume", "cube" or "none"
        Which minimum and maximum become 0 and 100: those of the whole volume, or of each training cube and
        each window at prediction by itself; "none": volumes are given on that scale.
    window : int
        Predict in windows of this side, whatever the size of the volume; 0: as
        `cellseg_nb.cells.inference.way` says.
    postprocess : "probability" or "released", see `cellseg_nb.methods.released`
    restarts : int
        How often to begin anew, from another random start, when one has led to broad regions instead of cells
        (`cellseg_nb.learning.monitor.stop_when_stuck`; made for short trainings with a high learning rate).
    threshold, spot_sigma, outline_sigma, min_size, min_contrast : the instance step
        See `cellseg_nb.cells.instances.voronoi_otsu`, `filter_size`, and `filter_contrast` (0: not used).
    separate : "voronoi_otsu", "published" or "auto"
        How touching cells are told apart: by spots in the volume, with the sigmas above; by spots in the
        prediction (`cellseg_nb.cells.instances.published`); or without any number to choose
        (`cellseg_nb.cells.auto.find_cells`; ``cell_diameter`` in µm, None: estimated).
    start : path or None
        Weights to learn on from (fine-tuning): a folder or file that `save` wrote, whose widths then count;
        or released weights, with the published widths.
    voxel_size : (z, y, x) in µm or None
        Of the volumes, for distances in `segment` and `tune`, unless these are given another.
    learning_rate, fast, workers, seed, device : see `cellseg_nb.learning.loop.train`
    form, reconstruction, balance, ... : see `cellseg_nb.networks.wnet3d_loss.WNetLoss`

    Defaults are those of `cellseg_nb.methods.settings.DEMO`; ``settings.of("wnet3d", "paper")`` are published
    ones. ``foreground`` is the class that means cell (`cellseg_nb.cells.inference.brightest`), found at the
    end of `fit` over all training volumes, since either class may become the cells.
    """

    name = "wnet3d"
    needs_labels = False
    tunes_on_labels = False
    tunable = ("threshold", "min_size", "min_contrast", "spot_sigma", "outline_sigma")
    widths = ("channels", "classes", "dropout")
    settings = {
        **DEMO["wnet3d"],
        "classes": 2,
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "schedule": "cosine",
        "clip": 1.0,
        "average": 0.96,
        "turns": "all",
        "scaling": "volume",
        "window": 0,
        "postprocess": "probability",
        "start": None,
        "restarts": 0,
        **LOSS,
        "threshold": 0.5,
        "spot_sigma": 1.0,
        "outline_sigma": 0.5,
        "min_size": 5,
        "min_contrast": 0.0,
        "separate": "voronoi_otsu",
        "cell_diameter": None,
        **HOW,
        **COMMON,
    }

    def __init__(self, **options):
        super().__init__(**options)
        for name, words in CHOICES.items():
            one_of(name, self.options[name], words)
        cube = self.options["cube"]
        if cube % 8 or cube < 8:
            raise UserError(
                f"the training cube must be a multiple of 8 voxels a side, not {cube}: 32 on a laptop, "
                "64 as in the paper"
            )
        begin, weights = self.options.pop("start"), None
        if begin:
            weights, widths = start.read(begin, self.name, self.widths)
            # a state dict alone: released weights
            self.options |= widths or dict(channels=PAPER_CHANNELS, classes=2)
        self.options["channels"] = tuple(self.options["channels"])
        self.network, self.loss = self.pick(self.widths), self.pick(LOSS)
        self.training = {
            name: value
            for name, value in self.options.items()
            if name not in (*self.network, *self.loss, *NO_TRAINING)
        }
        self.foreground, self.begin = None, (weights, begin)
        self.model = self._build(self.options["seed"])

    def _build(self, seed):
        with runtime.first_weights(seed):
            model = WNet3D(**self.network)
        if self.begin[0]:
            loop.load_state(model, *self.begin)
        return model

    def scaled(self, volume):
        """The volume on the scale of this training, (Z, Y, X) float32."""
        return (
            volumes.remap(volume) if self.options["scaling"] == "volume" else np.asarray(volume, np.float32)
        )

    def fit(self, images, labels=None, *, folder=None, callbacks=(), progress=True, guides=None):
        """Train on a list of (Z, Y, X) volumes; ``labels`` are ignored. Resumes from ``folder``.

        ``guides``: one `cellseg_nb.learning.guided.Guide` a volume, which says where cubes are drawn from.
        Returns the history: epoch, loss, n_cuts, reconstruction, rec_weight, seconds."""
        images = [self.scaled(image) for image in images]
        options = self.training
        meta = {
            "method": self.name,
            **self.network,
            "channels": list(self.network["channels"]),
            **{name: options[name] for name in ("cube", "batch", "steps", "turns")},
            **self.loss,
            "scaling": self.options["scaling"],
            "start": self.begin[0] and pairs.fingerprint(*(w.numpy() for w in self.begin[0].values())),
            "data": [pairs.fingerprint(image) for image in images],
        }
        batches = self._batches(images, guides)
        for number in range(options["restarts"] + 1):
            seed, place = options["seed"] + number * ANOTHER, folder
            if number:  # a seed and a folder of its own: a killed run resumes in the start that it was in
                self.model = self._build(seed)
                place = files.as_path(folder) / f"start_{number + 1}" if folder else None
            last = number == options["restarts"]
            history = loop.train(
                self.model,
                WNetLoss(**self.loss),
                batches,
                options["epochs"],
                **{name: options[name] for name in LOOP},
                **self.how,
                seed=seed,
                device=self.device,
                folder=place,
                meta=meta,
                callbacks=callbacks if last else [*callbacks, monitor.stop_when_stuck],
                progress=progress,
            )
            if history[-1].get("stopped") != monitor.UNLUCKY:
                break
            print(
                f"After {len(history)} epochs the classes are broad regions, not cells (SoftNCuts "
                f"{history[-1]['n_cuts']:.2f}): another random start, number {number + 2}."
            )
        self.foreground = inference.brightest(
            (self.classes(image, progress=False), image) for image in images
        )
        return history

    def _batches(self, images, guides):
        options = self.training
        sizes = [options[name] for name in ("cube", "batch", "steps")]
        remapped = self.options["scaling"] == "cube"
        if guides:
            count = len(cubes.places([image.shape for image in images], sizes[0]))
            sizes[2] = sizes[2] or -(-count // sizes[1])
            return guided.cube_batches(images, *sizes, guides, remapped)
        return cubes.cube_batches(images, *sizes, options["turns"], remapped)

    def classes(self, volume, *, progress=True, **passes):
        """Probability of every class, (K, Z, Y, X) float32; with ``postprocess="released"`` what
        `cellseg_nb.methods.released` makes of each. More options as in
        `cellseg_nb.cells.inference.predict`."""
        encoder, window = self.model.eval().to(self.torch_device()).encoder, self.options["window"]
        settings = dict(
            device=self.device,
            bytes_per_voxel=32 * self.network["channels"][0],
            progress=progress,
            **(dict(memory=0, window=window, overlap=released.OVERLAP) if window else {}),
        )
        if self.options["postprocess"] == "released":
            step = released.wnet3d(encoder)
            return released.predict(step, np.asarray(volume, np.float32), **{**settings, **passes})
        step = encoder
        if self.options["scaling"] == "cube":
            step = lambda x: encoder(released.stretched(x, 100.0))  # noqa: E731
        return inference.predict(step, self.scaled(volume), **{**settings, **passes})

    def predict(self, volume, *, progress=True, **passes):
        """Probability of being a cell, (Z, Y, X) float32 in 0..1: of the class ``foreground``, and before
        `fit` of the one that is brightest in this volume. More options as in
        `cellseg_nb.cells.inference.predict`."""
        classes = self.classes(volume, progress=progress, **passes)
        known = self.foreground is not None
        return classes[self.foreground if known else inference.brightest([(classes, volume)])]

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32: Voronoi-Otsu with spots from the volume and outlines from the
        probability; or as ``separate`` says."""
        probability = self.predict(volume) if probability is None else probability
        voxel_size = self.options["voxel_size"] if voxel_size is None else voxel_size
        if self.options["separate"] == "published":
            return instances.published(probability, self.threshold, self.min_size)
        if self.options["separate"] == "auto":
            diameter = self.options["cell_diameter"]
            limits = dict(min_size=self.min_size, threshold=self.threshold, clear=background.CLEAR)
            return auto.find_cells(volume, probability, voxel_size, diameter, **limits)
        labels = instances.voronoi_otsu(
            probability,
            self.spot_sigma,
            self.outline_sigma,
            voxel_size,
            threshold=self.threshold,
            spots=inference.raised(np.asarray(volume, np.float32), probability, self.threshold),
        )
        if self.min_contrast:
            labels = instances.filter_contrast(labels, volume, self.min_contrast, self.spot_sigma, voxel_size)
        return instances.filter_size(labels, self.min_size)

    def tune(self, images, labels, *, voxel_size=None, progress=True):
        """Choose, on labelled *training* volumes, the threshold with the best Dice, then the blur of the
        spots and the smallest size of a cell with the best F1@0.5.

        Returns the table of thresholds tried; that of spots is kept in ``spots_tried``.
        """
        images, labels = pairs.check(images, labels)
        found = [self.predict(image, progress=False) for image in images]
        table = tuning.threshold(self, found, labels)
        if self.options["separate"] == "published":  # its sigmas are not chosen
            self.spots_tried = table.head(0)
            return table
        size = self.options["voxel_size"] if voxel_size is None else voxel_size
        candidates = tuning.combinations(spot_sigma=tuning.blurs(labels, size))
        self.spots_tried = tuning.choose(
            self, candidates, lambda i: self.segment(images[i], found[i], voxel_size), labels, progress, size
        )
        return table

    def remembered(self):
        return {"foreground": self.foreground}

    def restore(self, state, source):
        super().restore(state, source)
        self.foreground = state["foreground"]
