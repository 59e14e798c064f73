"""Cellpose's side: all that knows how its release 3 is called, and what must be mended in it."""

import atexit
import logging
import os
import shutil
import tempfile

import numpy as np
import torch

from cellseg_nb import methods, runtime
from cellseg_nb.methods.quiet import quiet


def library(module):
    """A module of Cellpose, which logs errors only. Raises UserError where it is not installed."""
    logging.getLogger("cellpose").setLevel(logging.ERROR)
    try:
        methods.import_library("cellpose")
        return methods.import_library(f"cellpose.{module}")
    except RuntimeError as error:
        if "cannot cache" not in str(error) or "NUMBA_CACHE_DIR" in os.environ:
            raise
    return _cached_elsewhere(module)


def _cached_elsewhere(module):
    """A module of Cellpose where neither its own folder nor the user's home can be written to, in which numba
    keeps what it has compiled: in a temporary folder."""
    import numba

    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="cellseg_nb_")
    atexit.register(shutil.rmtree, os.environ["NUMBA_CACHE_DIR"], ignore_errors=True)
    numba.config.reload_config()
    return methods.import_library(f"cellpose.{module}")


def build(diameter, seed, device):
    """A CellposeModel with fresh weights, on a torch device."""
    models = library("models")
    with runtime.first_weights(seed), quiet():
        # pretrained_model=False: no path, hence no download
        model = models.CellposeModel(
            gpu=device.type != "cpu",
            device=device,
            pretrained_model=False,
            diam_mean=diameter,
            nchan=2,
            mkldnn=False,  # True: cannot be saved
        )
    if device.type == "cpu":
        model.net.to(memory_format=torch.channels_last)  # a fifth faster there
    model.net_ortho = None  # 3.1 sets it for pre-trained networks only, and asks for it in 3D
    return model


def train(model, planes, masks, options, bar):
    """Train on 2D slices and their labels; ``bar`` moves with each step. Returns the loss of each epoch."""
    train_seg, state = library("train").train_seg, np.random.get_state()
    count = model.net.register_forward_hook(lambda *_: _tick(bar))
    try:
        with quiet(), tempfile.TemporaryDirectory() as scratch:
            _, losses, _ = train_seg(
                model.net,
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
    return [float(loss) for loss in losses]


def ready(model):
    """Diameters from the network's own buffers, and no more dropout: after training or loading."""
    model.diam_mean, model.diam_labels = float(model.net.diam_mean), float(model.net.diam_labels)
    model.net.eval()


def flows(model, volume, diameter):
    """Arrows (3, Z, Y, X) and the sum of three logits (Z, Y, X), float32, of a volume in cubic voxels."""
    with quiet():
        _, found, _ = model.eval(
            volume,
            channels=[0, 0],
            z_axis=0,
            do_3D=True,
            normalize=False,
            diameter=diameter,
            compute_masks=False,
        )
    return found[1].astype(np.float32), found[2].astype(np.float32)


def masks(arrows, logits, threshold, device):
    """Labels, (Z, Y, X) int32: voxels above the threshold follow the arrows; where they meet is a cell."""
    dynamics = library("dynamics")
    with quiet():
        found = dynamics.resize_and_compute_masks(
            arrows, logits, cellprob_threshold=threshold, do_3D=True, min_size=-1, device=device
        )
    return found.astype(np.int32)


def _tick(bar):
    """One step further. Returns nothing: what a forward hook returns would take the place of the network's
    output."""
    bar.update()
