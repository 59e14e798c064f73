"""StarDist's and TensorFlow's side: the network is built, its training fed and followed, its weights read."""

import contextlib
import json
import os
import sys

import numpy as np
import torch

from cellseg_nb import methods
from cellseg_nb.errors import UserError
from cellseg_nb.learning import loop
from cellseg_nb.methods.quiet import mute, quiet


def library(name):
    """A module of StarDist or TensorFlow, with TensorFlow's settings made before its first import."""
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # a step takes a quarter of the time
        with mute():
            tensorflow = methods.need("tensorflow")
        with contextlib.suppress(RuntimeError):  # as many threads as torch was given
            tensorflow.config.threading.set_intra_op_parallelism_threads(torch.get_num_threads())
    return methods.need(name)


def build(options, grid, anisotropy):
    """A StarDist3D with fresh weights; ``options`` are the settings of a training. Raises UserError."""
    models = library("stardist.models")
    if any(side % (4 * step) for side, step in zip(options["patch"], grid)):
        raise UserError(
            f"a patch for stardist must be divisible by 4 times the grid {tuple(grid)}, "
            f"{tuple(options['patch'])} is not"
        )
    import keras

    keras.utils.set_random_seed(options["seed"])
    with quiet():
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


def recorder(bar, callbacks):
    """A Keras callback that keeps the history in ``rows``, moves the bar and calls ``callbacks``."""
    import keras

    class Record(keras.callbacks.Callback):
        rows = []

        def on_epoch_end(self, epoch, logs=None):
            logs = logs or {}
            self.rows.append(
                {
                    "epoch": epoch + 1,
                    **{
                        name: float(logs[name]) for name in ("loss", "prob_loss", "dist_loss") if name in logs
                    },
                }
            )
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
