"""StarDist's and TensorFlow's side: all that knows how they are called, and what must be set before they
are."""

import contextlib
import json
import os
import sys

import numpy as np
import torch

from cellseg_nb import methods, runtime
from cellseg_nb.errors import UserError
from cellseg_nb.learning import loop
from cellseg_nb.methods.quiet import quiet


def library(name):
    """A module of StarDist or TensorFlow, with TensorFlow's settings made before its first import."""
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # a step takes a quarter of the time
        tensorflow = methods.import_library("tensorflow")
        with contextlib.suppress(RuntimeError):  # as many threads as torch was given
            tensorflow.config.threading.set_intra_op_parallelism_threads(torch.get_num_threads())
        with contextlib.suppress(RuntimeError):  # else it takes the whole memory of a GPU that torch uses too
            for gpu in tensorflow.config.list_physical_devices("GPU"):
                tensorflow.config.experimental.set_memory_growth(gpu, True)
    return methods.import_library(name)


def on(device):
    """Where TensorFlow computes, as a context: its own choice, or the CPU."""
    return library("tensorflow").device("/CPU:0") if device == "cpu" else contextlib.nullcontext()


def build(options, grid, anisotropy):
    """A StarDist3D with fresh weights; ``options`` are the settings of a training. Raises UserError."""
    models = library("stardist.models")
    if any(side % (4 * step) for side, step in zip(options["patch"], grid)):
        raise UserError(
            f"a patch for stardist must be divisible by 4 times the grid {tuple(grid)}, "
            f"{tuple(options['patch'])} is not"
        )
    import keras

    with runtime.seeded(options["seed"]), quiet():
        keras.utils.set_random_seed(options["seed"])
        rays = library("stardist").Rays_GoldenSpiral(options["rays"], anisotropy=tuple(anisotropy))
        config = models.Config3D(
            rays=rays,
            grid=tuple(grid),
            anisotropy=tuple(anisotropy),
            use_gpu=False,
            n_channel_in=1,
            unet_n_filter_base=options["filters"],
            net_conv_after_unet=options["features"],
            train_patch_size=tuple(options["patch"]),
            train_batch_size=options["batch"],
            train_epochs=options["epochs"],
            train_steps_per_epoch=options["steps"],
            train_n_val_patches=1,
            train_learning_rate=options["learning_rate"],
            train_tensorboard=False,
        )
        return models.StarDist3D(config, name="stardist", basedir=None)


def train(model, images, labels, axes, seed, bar, callbacks):
    """Train on prepared volumes and their labels; changes along ``axes``. Returns the history."""
    rng, record = np.random.default_rng(seed), _recorder(bar, callbacks)
    with quiet():
        model.prepare_for_training()
        model.callbacks.append(record)
        model.train(
            images,
            labels,
            validation_data=(images[:1], labels[:1]),
            augmenter=lambda x, y: changed(x, y, axes, rng),
            seed=seed,
        )
    return record.rows


def maps(model, volume):
    """Probability (z, y, x) and distances (z, y, x, rays) on the grid, of a prepared volume."""
    tiles = tuple(int(np.ceil(side / 160)) for side in volume.shape)
    with quiet():
        return model.predict(volume, n_tiles=tiles, show_tile_progress=False)[:2]


def _rays(model):
    return library("stardist.rays3d").rays_from_json(model.config.rays_json)


def shapes(model, probability, distances, **limits):
    """Middles, probabilities and distances of the shapes that stay; ``limits``: prob_thresh, nms_thresh,
    b."""
    suppress = library("stardist.nms").non_maximum_suppression_3d
    with quiet():
        return suppress(distances, probability, _rays(model), grid=tuple(model.config.grid), **limits)


def draw(model, shapes, shape):
    """The shapes as labels, int32 of this shape; the likeliest on top."""
    points, scores, distances = shapes
    if not len(points):
        return np.zeros(shape, np.int32)
    render = library("stardist.geometry").polyhedron_to_label
    with quiet():
        return render(distances, points, _rays(model), shape, prob=scores, verbose=False).astype(np.int32)


def _recorder(bar, callbacks):
    """A Keras callback that keeps the history in ``rows``, moves the bar and calls ``callbacks``."""
    import keras

    class Record(keras.callbacks.Callback):
        rows = []

        def on_epoch_end(self, epoch, logs=None):
            told = [name for name in ("loss", "prob_loss", "dist_loss") if name in logs]
            self.rows.append({"epoch": epoch + 1, **{name: float(logs[name]) for name in told}})
            bar.set_postfix_str(f"loss {self.rows[-1]['loss']:.3f}")
            bar.update()
            try:
                for callback in callbacks:
                    callback(self.rows, self.model)
            except loop.Stop:
                self.model.stop_training = True

    return Record()


def read(path, name):
    """Settings and weights of a file that ``save`` wrote. Raises UserError when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            settings = json.loads(str(file["settings"]))
            weights = [file[key] for key in sorted(file.files) if key.startswith("weights_")]
        if settings.pop("method") != name:
            raise ValueError("another method")
    except Exception as error:  # zip, numpy and JSON each raise their own for a damaged file
        raise UserError(
            f"{path} is missing, damaged or of another method: train stardist and save it again"
        ) from error
    return settings, weights


def flatness(labels):
    """How much flatter cells are along each axis than along their longest, (z, y, x): largest / own median
    extent."""
    from scipy import ndimage as ndi

    extents = [
        [side.stop - side.start for side in box] for label in labels for box in ndi.find_objects(label) if box
    ]
    median = np.median(extents, axis=0)
    return median.max() / median


def changed(image, label, axes, rng):
    """The same cube mirrored and turned along ``axes``, brighter or darker: the changes of the authors'
    script."""
    order = [0, 1, 2]
    for axis, other in zip(axes, rng.permutation(axes)):
        order[axis] = int(other)
    mirrored = tuple(axis for axis in axes if rng.random() < 0.5)
    image, label = (np.flip(part.transpose(order), mirrored) for part in (image, label))
    return (image * rng.uniform(0.6, 2) + rng.uniform(-0.2, 0.2)).astype(np.float32), label
