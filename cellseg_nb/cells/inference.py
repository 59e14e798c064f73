"""From a volume to probabilities: one padded pass, of large volumes layer by layer (`slabs`), which gives the
same; or, where a network's layers are not known, in overlapping windows (MONAI), which does not.

Which one is decided by network and size alone, never by what memory happens to be free: the same volume gives
the same result on every machine and every day.
"""

import numpy as np
import torch

from cellseg_nb import runtime
from cellseg_nb.cells import slabs
from cellseg_nb.errors import UserError

ONE_PASS = 2 * 2**30  # bytes that one pass may take


def way(shape, bytes_per_voxel=1024, memory=None, network=None):
    """How `predict` goes about a volume of this shape: "one pass", "slabs" or "windows"."""
    if _fits(shape, bytes_per_voxel, memory):
        return "one pass"
    return "slabs" if memory != 0 and slabs.plan(network) else "windows"


def _fits(shape, bytes_per_voxel, memory):
    return np.prod(shape, dtype=float) * bytes_per_voxel <= (ONE_PASS if memory is None else memory)


def predict(
    network,
    volume,
    *,
    device="auto",
    memory=None,
    bytes_per_voxel=1024,
    window=64,
    overlap=0.5,
    multiple=8,
    flips=False,
    progress=True,
):
    """Run a network over a whole volume of any size.

    Parameters
    ----------
    network : callable
        (1, 1, Z, Y, X) float32 tensor -> (1, C, Z, Y, X) tensor, sides divisible by ``multiple``.
    volume : (Z, Y, X) array
        Already on the scale the network was trained on.
    memory : int or None
        Bytes one pass may take; None: `ONE_PASS`; 0: always windows. A volume that needs more, at
        ``bytes_per_voxel``, is computed in slabs, which gives what one pass would (`cellseg_nb.cells.slabs`);
        by a network whose layers are not known there (SwinUNETR, ONNX, one that scales what it is given) in
        windows with Gaussian-weighted overlap (`monai.inferers.sliding_window_inference`).
    window : int or (z, y, x)
        Side of a window in voxels, rounded up to ``multiple``.
    flips : bool
        Average over the 8 mirror images of the volume (8 times the work).

    Returns (C, Z, Y, X) float32 array. Raises UserError for a volume that is not three-dimensional, where
    the memory of a GPU is too small, and where slabs need more space for temporary files than there is.
    """
    volume = np.ascontiguousarray(volume, dtype=np.float32)
    if volume.ndim != 3 or 0 in volume.shape:
        raise UserError(f"the volume has shape {volume.shape}: three dimensions (Z, Y, X) are needed")
    device = runtime.device(device)
    mirrors = [axes for axes in _subsets((2, 3, 4))] if flips else [()]
    total = None
    with torch.inference_mode(), runtime.deterministic(), runtime.enough_memory():
        once = _fits(volume.shape, bytes_per_voxel, memory)
        layers = None if once or memory == 0 else slabs.plan(network)
        for axes in mirrors:
            x = torch.from_numpy(volume)[None, None].flip(axes)
            if once:
                y = _whole(network, x, multiple, device)
            elif layers:
                step = lambda x: slabs.run(  # noqa: E731
                    layers, x, memory or ONE_PASS, bytes_per_voxel, device, progress
                )
                y = _whole(step, x, multiple, "cpu")
            else:
                y = _windows(network, x, window, overlap, multiple, device, progress)
            y = y.flip(axes)
            total = y if total is None else total + y
    return (total / len(mirrors))[0].float().numpy()


def _subsets(axes):
    return [[a for i, a in enumerate(axes) if n >> i & 1] for n in range(2 ** len(axes))]


def _whole(network, x, multiple, device):
    shape = x.shape[2:]
    x = pad(x, [-(-side // multiple) * multiple for side in shape])
    y = network(x.to(device)).cpu()
    return y[..., : shape[0], : shape[1], : shape[2]]


def _windows(network, x, window, overlap, multiple, device, progress):
    from monai.inferers import sliding_window_inference

    shape = x.shape[2:]
    window = (window,) * 3 if np.isscalar(window) else tuple(window)
    window = [-(-side // multiple) * multiple for side in window]
    x = pad(x, [max(side, w) for side, w in zip(shape, window)])
    with runtime.progress(desc="Windows", unit="window", disable=not progress) as bar:

        def step(cube):
            bar.update(len(cube))
            return network(cube)

        y = sliding_window_inference(
            x, window, 1, step, overlap=overlap, mode="gaussian", sw_device=device, device="cpu"
        )
    return y[..., : shape[0], : shape[1], : shape[2]]


def pad(x, shape):
    """Enlarge the last three axes to ``shape`` at their far ends, by mirroring as often as needed."""
    for axis, side in zip((2, 3, 4), shape):
        index = np.pad(np.arange(x.shape[axis]), (0, side - x.shape[axis]), mode="reflect")
        if side > x.shape[axis]:
            x = x.index_select(axis, torch.from_numpy(index))
    return x


def brightest(seen):
    """Index of the class that means cell: the one whose voxels are brightest on average, over all volumes
    together; the darkest one where cells are dark on a bright ground.

    Cells are taken for dark where the brightest class covers more than half of all voxels, and brightness
    has its long tail on the dark side (negative skewness): most voxels are bright, few are dark.

    ``seen``: pairs of the class probabilities (K, Z, Y, X) of a volume, and the volume (Z, Y, X), all on one
    scale; of a single volume ``[(classes, volume)]``.
    """
    light = weight = tail = 0
    for classes, volume in seen:
        share = classes.reshape(len(classes), -1).astype(np.float64)
        values = np.ravel(volume).astype(np.float64)
        light, weight = light + share @ values, weight + share.sum(1)
        centred = values - values.mean()
        tail += (centred**3).sum() / max(centred.std() ** 3, 1e-12)
    level = light / (weight + 1e-9)
    found = int(np.argmax(level))
    if weight[found] > 0.5 * weight.sum() and tail < 0:
        return int(np.argmin(np.where(weight > 1e-6 * weight.sum(), level, np.inf)))
    return found


def raised(volume, probability, threshold=0.5):
    """The volume as spots are looked for in it: turned over where the cells (probability above ``threshold``)
    are darker than the rest."""
    cells = probability > threshold
    if cells.any() and not cells.all() and volume[cells].mean() < volume[~cells].mean():
        return volume.max() - volume
    return volume
