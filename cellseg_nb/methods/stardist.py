"""StarDist 3D, trained from scratch on your volumes: fit, predict, segment, tune, save, load.

The network says for each voxel how likely it is the middle of a cell, and along a number of rays how far it
is to the surface. The likeliest shapes stay, those that overlap them too much go. Weigert et al. 2020.
"""

import contextlib
import json

import numpy as np

from cellseg_nb import runtime
from cellseg_nb.cells import instances
from cellseg_nb.errors import UserError
from cellseg_nb.io import files
from cellseg_nb.learning import augmentation, pairs
from cellseg_nb.methods import tuning
from cellseg_nb.methods.quiet import mute, quiet
from cellseg_nb.methods.stardist_library import build, changed, flatness, library, read, recorder

WEIGHTS = "stardist.npz"
# tried by `tune`, which takes the first
PROBABILITIES = (0.5, 0.45, 0.55, 0.4, 0.6, 0.35, 0.3, 0.7, 0.2, 0.8, 0.1)
OVERLAPS = (0.4, 0.3, 0.5)  # of equals, hence StarDist's defaults come first
CANDIDATES = 5000  # an untrained network calls every voxel a middle, and comparing all shapes takes hours
NOTHING = (
    "StarDist finds no cell in its own training volumes: train it longer (300 steps or more), choose a patch "
    "that holds whole cells, or look whether the labels belong to the volumes."
)


class StarDistMethod:
    """StarDist 3D, without pre-trained weights.

    Parameters
    ----------
    epochs, steps, batch, learning_rate : epochs, steps an epoch, cubes a step, learning rate (Adam)
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
        Rays are spread evenly in µm. None: measured on the labels, as the paper's authors did.
    seed : of weights, cubes and changes. TensorFlow on several cores adds up in any order, so that two runs
        differ in the last digits, and with them now and then in a cell.

    Paper settings: ``StarDistMethod(**StarDistMethod.PAPER)``, those of the authors' training script: 96
    rays, patches of 8 x 64 x 64 voxels, batches of 2, StarDist's 400 epochs of 100 steps.
    """

    name = "stardist"
    LAPTOP = dict(
        epochs=20, steps=30, batch=1, patch=32, learning_rate=1e-3, rays=64, filters=32, features=64, border=0
    )
    PAPER = dict(
        epochs=400,
        steps=100,
        batch=2,
        patch=(8, 64, 64),
        learning_rate=3e-4,
        rays=96,
        filters=32,
        features=128,
        border=2,
    )

    def __init__(
        self,
        epochs=None,
        steps=None,
        batch=None,
        patch=None,
        learning_rate=None,
        rays=None,
        filters=None,
        features=None,
        border=None,
        grid=None,
        anisotropy=None,
        prob_thresh=0.5,
        nms_thresh=0.4,
        min_size=5,
        voxel_size=None,
        seed=0,
        device="auto",
    ):
        given = dict(
            epochs=epochs,
            steps=steps,
            batch=batch,
            patch=patch,
            learning_rate=learning_rate,
            rays=rays,
            filters=filters,
            features=features,
            border=border,
        )
        settings = {name: self.LAPTOP[name] if value is None else value for name, value in given.items()}
        settings["patch"] = [int(side) for side in np.broadcast_to(settings["patch"], 3)]
        self.training = {**settings, "seed": seed}
        if voxel_size is not None:
            anisotropy = [float(side) / min(voxel_size) for side in voxel_size]
        self.anisotropy = anisotropy
        self.grid = None if grid is None else [int(step) for step in np.broadcast_to(grid, 3)]
        self.prob_thresh, self.nms_thresh = prob_thresh, nms_thresh
        self.min_size, self.device = min_size, device
        self.model = None

    # ------------------------------------------------------------ the library

    def _build(self):
        if self.grid is None:
            self.grid = [1 if factor > 1.5 else 2 for factor in self.anisotropy]
        return build(self.training, self.grid, self.anisotropy)

    def _on(self):
        """Where TensorFlow computes: its own choice, or the CPU."""
        return library("tensorflow").device("/CPU:0") if self.device == "cpu" else contextlib.nullcontext()

    def _trained(self):
        if self.model is None:
            raise UserError(
                "stardist is not trained yet: call fit first, or load what an earlier fit has saved"
            )
        return self.model

    # ------------------------------------------------------------ learning

    def fit(self, images, labels, folder=None, callbacks=(), progress=True):
        """Train on lists of volumes and labels, (Z, Y, X). Returns the history: epoch, loss, and its parts.

        ``folder`` is not used. Callbacks get (history, Keras model) after every epoch, and may raise
        `loop.Stop`. Raises UserError for pairs that do not fit (`pairs.check`).
        """
        library("stardist")
        images, labels = pairs.check(images, labels, self.training["patch"])
        if self.anisotropy is None:
            self.anisotropy = [round(float(factor), 2) for factor in flatness(labels)]
        state = np.random.get_state()
        self.model = self._build()
        scaled = [augmentation.prepare(image) for image in images]
        rng = np.random.default_rng(self.training["seed"])
        axes = [0, 1, 2] if max(self.anisotropy) < 1.5 and len(set(self.training["patch"])) == 1 else [1, 2]
        with (
            runtime.progress(
                total=self.training["epochs"], desc="StarDist", unit="epoch", disable=not progress
            ) as bar,
            self._on(),
        ):
            record = recorder(bar, callbacks)
            try:
                with quiet():
                    self.model.prepare_for_training()
                    self.model.callbacks.append(record)
                    self.model.train(
                        scaled,
                        labels,
                        validation_data=(scaled[:1], labels[:1]),
                        augmenter=lambda x, y: changed(x, y, axes, rng),
                        seed=self.training["seed"],
                    )
            finally:
                np.random.set_state(state)
        return record.rows

    # ------------------------------------------------------------ saying where the cells are

    def maps(self, volume):
        """What the network says on its grid: probability (z, y, x), and distances (z, y, x, rays)."""
        volume = np.asarray(volume)
        if volume.ndim != 3 or not np.isfinite(volume).all():
            raise UserError(
                f"the volume has shape {volume.shape} and must have three dimensions (Z, Y, X) without NaN"
            )
        tiles = tuple(int(np.ceil(side / 160)) for side in volume.shape)
        with quiet(), self._on():
            return self._trained().predict(
                augmentation.prepare(volume), n_tiles=tiles, show_tile_progress=False
            )[:2]

    def predict(self, volume):
        """How likely each voxel is the middle of a cell, (Z, Y, X) float32 in 0..1.

        It falls off towards the surface, so a threshold on it gives cells that are too small: use `segment`.
        """
        probability = self.maps(volume)[0]
        for axis, step in enumerate(self.grid):
            probability = probability.repeat(step, axis)
        return np.ascontiguousarray(
            probability[tuple(slice(side) for side in np.shape(volume))], dtype=np.float32
        )

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32. ``probability`` is not used, unless it is what `maps` gave for this
        volume: the distances are needed too. ``voxel_size`` is that of the constructor."""
        maps = probability if isinstance(probability, tuple) else self.maps(volume)
        return self._draw(self._shapes(*maps, self.prob_thresh, self.nms_thresh), np.shape(volume))

    def _shapes(self, probability, distances, prob_thresh, nms_thresh):
        """Middles, probabilities and distances of the shapes that stay."""
        suppress = library("stardist.nms").non_maximum_suppression_3d
        with quiet(), mute():
            return suppress(
                distances,
                probability,
                self._rays(),
                grid=tuple(self.grid),
                prob_thresh=prob_thresh,
                nms_thresh=nms_thresh,
                b=self.training["border"],
            )

    def _rays(self):
        return library("stardist.rays3d").rays_from_json(self._trained().config.rays_json)

    def _draw(self, shapes, shape):
        points, scores, distances = shapes
        if not len(points):
            return np.zeros(shape, np.int32)
        render, rays = library("stardist.geometry").polyhedron_to_label, self._rays()
        with quiet(), mute():
            found = render(distances, points, rays, shape, prob=scores, verbose=False)
        return instances.filter_size(found.astype(np.int32), self.min_size)

    def tune(self, images, labels):
        """Choose both thresholds and the smallest size with the best F1@0.5 on *training* volumes, of equals
        those closest to StarDist's defaults. Returns the table tried.

        Much faster than StarDist's own search: who overlaps whom is found once, at the lowest probability; a
        higher threshold only drops shapes that no likelier shape depends on.
        """
        images, labels = pairs.check(images, labels)
        maps = [self.maps(image) for image in images]
        floor = max(min(PROBABILITIES), *(_floor(probability) for probability, _ in maps))
        shapes = {overlap: [self._shapes(*one, floor, overlap) for one in maps] for overlap in OVERLAPS}

        def segment(i):
            kept = shapes[self.nms_thresh][i][1] > self.prob_thresh
            return self._draw([part[kept] for part in shapes[self.nms_thresh][i]], images[i].shape)

        tried = [value for value in PROBABILITIES if value >= floor] or [max(PROBABILITIES)]
        least = self.min_size
        table = tuning.choose(
            self, tuning.combinations(nms_thresh=list(OVERLAPS), prob_thresh=tried), segment, labels
        )
        if not table.f1.max():
            vars(self).update(prob_thresh=0.5, nms_thresh=0.4, min_size=least)
            print(NOTHING)
        return table

    # ------------------------------------------------------------ keeping

    def save(self, folder):
        """Write ``stardist.npz`` (weights and settings) into a folder."""
        weights = self._trained().keras_model.get_weights()
        path = files.writable_folder(folder) / WEIGHTS
        settings = {
            **self.training,
            "grid": self.grid,
            "anisotropy": self.anisotropy,
            "prob_thresh": self.prob_thresh,
            "nms_thresh": self.nms_thresh,
            "min_size": self.min_size,
        }
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
        path = files.as_path(folder) / WEIGHTS if files.as_path(folder).is_dir() else files.as_path(folder)
        settings, weights = read(path, cls.name)
        method = cls(**settings, device=device)
        method.model = method._build()
        try:
            method.model.keras_model.set_weights(weights)
        except ValueError as error:
            raise UserError(
                f"{path} does not hold the weights that its settings describe: save it again"
            ) from error
        return method


def _floor(probability):
    """The probability above which at most CANDIDATES voxels lie."""
    values = np.ravel(probability)
    return float(np.partition(values, -CANDIDATES)[-CANDIDATES]) if len(values) > CANDIDATES else 0.0
