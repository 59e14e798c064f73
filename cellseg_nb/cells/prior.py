"""Cells by a network that has only seen simulated tissues: no label, and no training on the volume at hand.

The network (MONAI's SegResNet, 278 thousand weights, ``data/prior/prior.npz``) is made by
``tools/train_prior.py``. It says two things of each voxel: whether it is cell, and how deep inside its cell
it lies, 0 at the edge and 1 in the middle.
"""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells import background, brightness, inference, instances
from cellseg_nb.data.bundled import path as bundled
from cellseg_nb.errors import UserError

WIDTH = 6.0  # voxels of the network's grid that a cell is wide
FINER = 2.0  # times the voxels of the file along an axis, and no more: what is between them is not known
NETWORK = dict(
    in_channels=2,
    out_channels=2,
    init_filters=10,
    blocks_down=(1, 2, 2),
    blocks_up=(1, 1),
    norm=("batch", {}),
)
FILE = "prior/prior.npz"
# Chosen on simulated tissues that the network has not learned from (``tools/train_prior.py --check``).
SUMMIT = 0.5  # depth that a cell must reach somewhere
BLUR = 0.05  # of the depth, in cell diameters
SETTINGS = dict(threshold=0.5, prominence=0.02)
TRIED = dict(SUMMIT=(0.5, 0.6), BLUR=(0.0, 0.05), threshold=(0.5, 0.65, 0.8), prominence=(0.02, 0.05))


def network():
    """MONAI's SegResNet with fresh weights: (N, 2, Z, Y, X) of `view` -> logits of cell and depth, sides
    divisible by 4."""
    from monai.networks.nets import SegResNet

    return SegResNet(**NETWORK)


def read(path=None):
    """The network with the weights that ``tools/train_prior.py`` wrote; None: those that come along.

    Raises UserError for a file that is missing, damaged or of another network.
    """
    import torch

    path = path or bundled(FILE)
    try:
        with np.load(path, allow_pickle=False) as found:
            state = {name: torch.from_numpy(found[name].astype(np.float32)) for name in found.files}
        model = network()
        model.load_state_dict(state, strict=False)
        missing = [n for n in model.state_dict() if n not in state and not n.endswith("num_batches_tracked")]
        if missing:
            raise KeyError(missing[0])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"{path} is missing or damaged: install cellseg-nb again") from error
    return model.eval()


def zoom(width):
    """Voxels of the network's grid for one of the file, along Z, Y, X, where a cell is ``width`` voxels
    wide."""
    return np.minimum(WIDTH / np.asarray(width, float), FINER)


def resized(volume, shape):
    """A volume or maps (..., Z, Y, X) float32 on another grid of the same field of view, linear in
    between."""
    if volume.ndim == 4:
        return np.stack([resized(one, shape) for one in volume])
    factor = [new / old for new, old in zip(shape, volume.shape)]
    sigma = [0.35 / f if f < 0.7 else 0 for f in factor]  # what the coarser grid cannot hold
    volume = ndi.gaussian_filter(volume, sigma) if any(sigma) else volume
    return ndi.zoom(volume, factor, order=1, mode="nearest", grid_mode=True)


def view(volume, width, valid=None):
    """What the network is shown, (2, Z, Y, X) float32 on its own grid: height above the background, once as a
    share of that of bright voxels, once in units of the noise (its inverse hyperbolic sine).

    ``width``: of a cell in voxels along Z, Y, X.
    """
    volume = np.asarray(volume, np.float32)
    noise = background.noise(volume, valid)
    shape = [max(8, round(side * f)) for side, f in zip(volume.shape, zoom(width))]
    small = resized(volume, shape)
    own = np.asarray(width) * shape / volume.shape  # of a cell on this grid
    height = small - brightness.background(small, WIDTH / own, WIDTH)
    top = max(float(np.percentile(height, 99.5)), 3 * noise, 1e-6)
    return np.stack([np.clip(height / top, -1, 4), np.arcsinh(height / max(noise, 0.003 * top)) / 3])


def maps(model, volume, width, valid=None, **passes):
    """Probability of being a cell, and depth in it, (2, Z, Y, X) float32 in 0..1 on the grid of the
    volume."""
    import torch

    seen = view(volume, width, valid)
    given = dict(window=96, overlap=0.2, multiple=4, bytes_per_voxel=800, progress=False) | passes
    found = inference.predict(lambda x: torch.sigmoid(model(x)), seen, **given)
    return np.clip(resized(found, volume.shape), 0, 1)


def instances_of(found, width, *, threshold=None, prominence=None, min_size=0):
    """Labels (Z, Y, X) int32 from the two `maps`: each summit of the depth is a cell, which reaches to where
    the probability of being a cell falls below ``threshold``.

    width : of a cell in voxels along Z, Y, X; the depth is first blurred by `BLUR` of it
    prominence : how far a summit must rise above the pass to a higher one

    None: as in `SETTINGS`.
    """
    import cc3d
    from skimage.morphology import reconstruction
    from skimage.segmentation import watershed

    threshold = SETTINGS["threshold"] if threshold is None else threshold
    prominence = SETTINGS["prominence"] if prominence is None else prominence
    depth = ndi.gaussian_filter(found[1], BLUR * np.asarray(width))
    mask = found[0] > threshold
    base = reconstruction(np.maximum(depth - prominence, 0), depth)  # h-maxima (Soille 2003)
    tops = mask & (depth > SUMMIT) & (depth - base > 0.999 * prominence)
    seeds = cc3d.connected_components(tops, connectivity=26).astype(np.int32)
    return instances.filter_size(watershed(-depth, seeds, mask=mask).astype(np.int32), min_size)
