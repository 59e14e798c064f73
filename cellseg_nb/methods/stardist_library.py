"""StarDist as this process sees it: its network works in another one (`stardist_network`), and what becomes
of the network's maps needs no TensorFlow."""

import json

import numpy as np
import torch

from cellseg_nb import methods
from cellseg_nb.errors import UserError
from cellseg_nb.learning import loop
from cellseg_nb.methods import process
from cellseg_nb.methods.quiet import interruptible, quiet


class Model(process.Process):
    """A StarDist3D in a process of its own; its ``weights`` are here, so that they outlive that process.

    ``options`` are the settings of a training. Raises UserError for a patch that does not fit the grid.
    """

    target = "cellseg_nb.methods.stardist_network:Network"
    title = "StarDist"
    remedy = (
        "close other programs, choose a smaller patch, batch or volume, or device='cpu' where it was a GPU's"
    )
    weights = None

    def __init__(self, options, grid, anisotropy, device):
        super().__init__()
        if any(side % (4 * step) for side, step in zip(options["patch"], grid)):
            raise UserError(
                f"a patch for stardist must be divisible by 4 times the grid {tuple(grid)}, "
                f"{tuple(options['patch'])} is not"
            )
        self.options, self.grid, self.anisotropy = options, tuple(grid), tuple(anisotropy)
        self.device = device

    def made_of(self):
        torch.cuda.empty_cache()  # what torch keeps of a GPU for later, TensorFlow cannot have
        return (
            self.options,
            self.grid,
            self.anisotropy,
            self.device,
            torch.get_num_threads(),  # as many as torch was given
            self.weights,
        )

    def train(self, images, labels, axes, bar, callbacks):
        """Train on prepared volumes and their labels; changes along ``axes``. Returns the history. Stopped
        on the way, it keeps the weights of the last epoch."""
        rows = []

        def heard(told):
            losses, self.weights = told
            rows.append({"epoch": len(rows) + 1, **losses})
            bar.set_postfix_str(f"loss {losses['loss']:.3f}")
            bar.update()
            try:
                for callback in callbacks:
                    callback(rows, self)
            except loop.Stop:
                return True
            return False

        images, labels = ([np.ascontiguousarray(one) for one in volumes] for volumes in (images, labels))
        self.weights = self.call("train", images, labels, axes, heard=heard)
        return rows

    def take(self, weights):
        """Take the weights of an earlier training. False where they are those of another network."""
        taken = self.call("take", weights)
        self.weights = weights if taken else self.weights
        return taken

    def maps(self, volume):
        """Probability (z, y, x) and distances (z, y, x, rays) on the grid, of a prepared volume."""
        return self.call("maps", volume)

    def rays(self):
        """The directions in which distances are."""
        made = methods.import_library("stardist").Rays_GoldenSpiral
        return made(self.options["rays"], anisotropy=self.anisotropy)

    def shapes(self, probability, distances, **limits):
        """Middles, probabilities and distances of the shapes that stay; ``limits``: prob_thresh, nms_thresh,
        b."""
        suppress = methods.import_library("stardist.nms").non_maximum_suppression_3d
        with quiet(), interruptible():
            return suppress(distances, probability, self.rays(), grid=self.grid, **limits)

    def draw(self, shapes, shape):
        """The shapes as labels, int32 of this shape; the likeliest on top."""
        points, scores, distances = shapes
        if not len(points):
            return np.zeros(shape, np.int32)
        render = methods.import_library("stardist.geometry").polyhedron_to_label
        with quiet(), interruptible():
            return render(distances, points, self.rays(), shape, prob=scores, verbose=False).astype(np.int32)


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
