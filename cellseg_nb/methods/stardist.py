"""StarDist 3D, trained from scratch on your volumes: fit, predict, segment, tune, save, load.

The network says for each voxel how likely it is the middle of a cell, and along a number of rays how far it
is to the surface. The likeliest shapes stay, those that overlap them too much go. Weigert et al. 2020.
"""

import json

import numpy as np

from cellseg_nb import methods, runtime
from cellseg_nb.cells import instances
from cellseg_nb.errors import UserError
from cellseg_nb.io import files
from cellseg_nb.learning import augmentation, pairs
from cellseg_nb.methods import stardist_library, tuning
from cellseg_nb.methods.base import COMMON, Method, checked
from cellseg_nb.methods.settings import DEMO
from cellseg_nb.parameters import one_of

EACH = 64  # voxels a side of the cubes that an epoch goes through
# tried by `tune`, which takes the first
PROBABILITIES = (0.5, 0.45, 0.55, 0.4, 0.6, 0.35, 0.3, 0.7, 0.2, 0.8, 0.1)
OVERLAPS = (0.4, 0.3, 0.5)  # of equals, hence StarDist's defaults come first
CANDIDATES = 5000  # an untrained network calls every voxel a middle, and comparing all shapes takes hours


class StarDistMethod(Method):
    """StarDist 3D, without pre-trained weights.

    Parameters
    ----------
    epochs, steps, batch, learning_rate : epochs, steps an epoch, cubes a step, learning rate (Adam). steps 0:
        as many patches an epoch as there are cubes of 64 voxels a side.
    scaling : see `cellseg_nb.learning.augmentation.prepare`
    patch : (z, y, x) voxels of a training cube, or one number; divisible by 4 times the grid
    grid : (z, y, x), or None
        Predict at every n-th voxel only: 2 is about 8 times faster, and enough for cells of 6 voxels or more.
        None: 2, and 1 along axes that are coarse (anisotropy above 1.5), as the paper's authors did.
    rays, filters, features : rays of a shape; width of the U-Net; width of the layer after it
    prob_thresh, nms_thresh : the instance step: shapes below the first are dropped, shapes that overlap a
        likelier one by more than the second go. `tune` chooses them; StarDist's defaults are 0.5 and 0.4.
    border : int
        StarDist ignores middles in the outermost 2 grid points; 0 keeps the cells at the border.
    min_size : int
        Smaller objects are dropped, in voxels; `tune` chooses it too.
    voxel_size : (z, y, x) in µm or None
        Rays are spread evenly in µm. None: ``anisotropy`` (z, y, x), or measured on the labels.
    anisotropy : (z, y, x), None or "labels"
        "labels": measured on the labels whatever the voxel size, as the paper's authors did.
    seed : of weights, cubes and changes. TensorFlow on several cores adds up in any order, so that two runs
        differ in the last digits, and with them now and then in a cell.

    Defaults are those of `cellseg_nb.methods.settings.DEMO`; ``settings.of("stardist", "paper")`` are those
    of the authors' training script.
    """

    name = "stardist"
    library = ("stardist", "tensorflow")
    tunable = ("prob_thresh", "nms_thresh", "min_size")
    settings = {
        **DEMO["stardist"],
        "grid": None,
        "scaling": "unit",
        "anisotropy": None,
        "prob_thresh": 0.5,
        "nms_thresh": 0.4,
        "min_size": 5,
        **COMMON,
    }
    nothing_found = (
        "StarDist finds no cell in its own training volumes: train it longer (300 steps or more), choose a "
        "patch that holds whole cells, or look whether the labels belong to the volumes."
    )

    def __init__(self, **options):
        super().__init__(**options)
        grid, size = self.options.pop("grid"), self.options.pop("voxel_size")
        self.anisotropy = self.options.pop("anisotropy")
        self.options["patch"] = [int(side) for side in np.broadcast_to(self.options["patch"], 3)]
        if isinstance(self.anisotropy, str):
            one_of("anisotropy", self.anisotropy, ("labels",))
            self.anisotropy = None
        elif size is not None:
            self.anisotropy = [float(side) / min(size) for side in size]
        self.grid = None if grid is None else [int(step) for step in np.broadcast_to(grid, 3)]

    def _build(self):
        if self.grid is None:
            self.grid = [1 if factor > 1.5 else 2 for factor in self.anisotropy]
        return stardist_library.Model(self.options, self.grid, self.anisotropy, self.device)

    def fit(self, images, labels=None, *, folder=None, callbacks=(), progress=True):
        """Train on lists of volumes and labels, (Z, Y, X). Returns the history: epoch, loss, and its parts.

        ``folder`` is not used. Callbacks get (history, `stardist_library.Model`) after every epoch, and may
        raise `loop.Stop`. Interrupted, the method is as after the last whole epoch. Raises UserError for
        pairs that do not fit (`pairs.check`).
        """
        methods.import_library("stardist")
        patch, epochs = self.options["patch"], self.options["epochs"]
        images, labels = pairs.check(images, labels, patch)
        if self.anisotropy is None:
            self.anisotropy = [round(float(factor), 2) for factor in stardist_library.flatness(labels)]
        axes = [0, 1, 2] if max(self.anisotropy) < 1.5 and len(set(patch)) == 1 else [1, 2]
        scaled = [self._scaled(image) for image in images]
        if not self.options["steps"]:
            count = sum(max(1, round(image.size / EACH**3)) for image in images)
            self.options["steps"] = -(-count // self.options["batch"])
        self.model, model = None, self._build()

        def keep(history, model):
            self.model = model

        with runtime.progress(total=epochs, desc="StarDist", unit="epoch", disable=not progress) as bar:
            history = model.train(scaled, labels, axes, bar, [keep, *callbacks])
        self.model = model
        return history

    def maps(self, volume, *, progress=True):
        """What the network says on its grid: probability (z, y, x), and distances (z, y, x, rays), float32.
        Raises UserError for a volume that is not (Z, Y, X) and finite."""
        volume, model = checked(volume), self._trained()
        return model.maps(self._scaled(volume))

    def _scaled(self, volume):
        return augmentation.prepare(volume, self.options["scaling"])

    def predict(self, volume, *, progress=True):
        """How likely each voxel is the middle of a cell, (Z, Y, X) float32 in 0..1.

        It falls off towards the surface, so a threshold on it gives cells that are too small: use `segment`.
        """
        probability = self.maps(volume)[0]
        for axis, step in enumerate(self.grid):
            probability = probability.repeat(step, axis)
        whole = tuple(slice(side) for side in np.shape(volume))
        return np.ascontiguousarray(probability[whole], dtype=np.float32)

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32. ``probability`` is not used, unless it is what `maps` gave for this
        volume: the distances are needed too. ``voxel_size`` is that of the constructor."""
        maps = probability if isinstance(probability, tuple) else self.maps(volume)
        return self._draw(self._shapes(maps, self.prob_thresh, self.nms_thresh), np.shape(volume))

    def _shapes(self, maps, prob_thresh, nms_thresh):
        limits = dict(prob_thresh=prob_thresh, nms_thresh=nms_thresh, b=self.options["border"])
        return self._trained().shapes(*maps, **limits)

    def _draw(self, shapes, shape):
        return instances.filter_size(self._trained().draw(shapes, shape), self.min_size)

    def tune(self, images, labels, *, voxel_size=None, progress=True):
        """Choose both thresholds and the smallest size with the best F1@0.5 on *training* volumes, of equals
        those closest to StarDist's defaults. Returns the table tried. ``voxel_size`` is that of the
        constructor.

        Much faster than StarDist's own search: who overlaps whom is found once, at the lowest probability; a
        higher threshold only drops shapes that no likelier shape depends on.
        """
        images, labels = pairs.check(images, labels)
        maps = [self.maps(image) for image in images]
        floor = max(min(PROBABILITIES), *(_floor(probability) for probability, _ in maps))
        shapes = {overlap: [self._shapes(one, floor, overlap) for one in maps] for overlap in OVERLAPS}

        def segment(i):
            kept = shapes[self.nms_thresh][i][1] > self.prob_thresh
            return self._draw([part[kept] for part in shapes[self.nms_thresh][i]], images[i].shape)

        tried = [value for value in PROBABILITIES if value >= floor] or [max(PROBABILITIES)]
        candidates = tuning.combinations(nms_thresh=list(OVERLAPS), prob_thresh=tried)
        return tuning.choose(self, candidates, segment, labels, progress, self.anisotropy)

    def save(self, folder):
        """Write ``<name>.npz`` (weights and settings) into a folder. Returns its path."""
        weights = self._trained().weights
        path = files.writable_folder(folder) / f"{self.name}.npz"
        settings = {**self.options, "grid": self.grid, "anisotropy": self.anisotropy, **self.chosen}
        with files.atomic(path) as beside:
            np.savez(
                beside,
                settings=json.dumps({"method": self.name, **settings}),
                **{f"weights_{number:03d}": array for number, array in enumerate(weights)},
            )
        return path

    @classmethod
    def load(cls, folder, device="auto"):
        """Read what `save` wrote. Raises UserError when the file is missing, damaged or of another method."""
        path = cls.file(folder, f"{cls.name}.npz")
        settings, weights = stardist_library.read(path, cls.name)
        method = cls(**settings, device=device)
        method.model = method._build()
        if not method.model.take(weights):
            raise UserError(f"{path} does not hold the weights that its settings describe: save it again")
        return method


class StarDistDefault(StarDistMethod):
    """StarDist as it comes: flat patches on a coarser grid along z, and its own thresholds, never tuned: the
    paper's "StarDist - default"."""

    name = "stardist_default"
    tunes_on_labels = False

    def tune(self, images, labels, *, voxel_size=None, progress=True):
        """Nothing is chosen. Returns the one row there is."""
        return tuning.untouched(self)


def _floor(probability):
    """The probability above which at most CANDIDATES voxels lie."""
    values = np.ravel(probability)
    return float(np.partition(values, -CANDIDATES)[-CANDIDATES]) if len(values) > CANDIDATES else 0.0
