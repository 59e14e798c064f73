"""StarDist's network and TensorFlow, in a process of their own (`process`), which imports no torch: all that
knows how they are called, and what must be set before they are."""

import os
import random

import numpy as np

from cellseg_nb import methods
from cellseg_nb.methods import process


class Network:
    """A StarDist3D with the given weights, or fresh ones; ``options`` are the settings of a training.

    Raises UserError where TensorFlow is not installed.
    """

    def __init__(self, options, grid, anisotropy, device, threads, weights):
        self.seed = options["seed"]
        _prepare(device, threads)
        models = methods.import_library("stardist.models")
        self._sow()
        methods.import_library("keras").utils.set_random_seed(self.seed)
        rays = methods.import_library("stardist").Rays_GoldenSpiral(options["rays"], anisotropy=anisotropy)
        config = models.Config3D(
            rays=rays,
            grid=grid,
            anisotropy=anisotropy,
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
        self.model = models.StarDist3D(config, name="stardist", basedir=None)
        if weights is not None:
            self.take(weights)

    def _sow(self):
        random.seed(self.seed)
        np.random.seed(self.seed % 2**32)

    def take(self, weights):
        """Take a list of weights. False where they are those of another network."""
        try:
            self.model.keras_model.set_weights(weights)
        except ValueError:
            return False
        return True

    def train(self, images, labels, axes):
        """Train on prepared volumes and their labels; changes along ``axes``. Tells (losses, weights) after
        each epoch, and ends where the answer is True. Returns the weights."""
        self._sow()
        rng = np.random.default_rng(self.seed)
        self.model.prepare_for_training()
        self.model.callbacks.append(_teller())
        self.model.train(
            images,
            labels,
            validation_data=(images[:1], labels[:1]),
            augmenter=lambda x, y: changed(x, y, axes, rng),
            seed=self.seed,
        )
        return self.model.keras_model.get_weights()

    def maps(self, volume):
        """Probability (z, y, x) and distances (z, y, x, rays) on the grid, of a prepared volume."""
        tiles = tuple(int(np.ceil(side / 160)) for side in volume.shape)
        return self.model.predict(volume, n_tiles=tiles, show_tile_progress=False)[:2]


def _prepare(device, threads):
    """TensorFlow's settings, which must be made before it computes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # a step takes a quarter of the time
    tensorflow = methods.import_library("tensorflow")
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    if device == "cpu":
        tensorflow.config.set_visible_devices([], "GPU")
    for gpu in tensorflow.config.get_visible_devices("GPU"):  # else it takes all the memory, torch's too
        tensorflow.config.experimental.set_memory_growth(gpu, True)


def _teller():
    """A Keras callback that tells how each epoch went, and stops the training when that is the answer."""
    import keras

    class Teller(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            losses = {name: float(logs[name]) for name in ("loss", "prob_loss", "dist_loss") if name in logs}
            if process.tell((losses, self.model.get_weights())):
                self.model.stop_training = True

    return Teller()


def changed(image, label, axes, rng):
    """The same cube mirrored and turned along ``axes``, brighter or darker: the changes of the authors'
    script."""
    order = [0, 1, 2]
    for axis, other in zip(axes, rng.permutation(axes)):
        order[axis] = int(other)
    mirrored = tuple(axis for axis in axes if rng.random() < 0.5)
    image, label = (np.flip(part.transpose(order), mirrored) for part in (image, label))
    return (image * rng.uniform(0.6, 2) + rng.uniform(-0.2, 0.2)).astype(np.float32), label
