"""Watch a WNet3D training: class shares, early warnings with advice."""

import numpy as np
import torch

from cellseg_nb.learning import loop

# SoftNCuts below this: the classes follow the cells (0.002-0.02 where it does, 0.1 and up where not)
ARRIVED = 0.03
ENOUGH = 0.006  # below this, more training only makes cells smaller, and dim ones are lost
BROAD = 0.35  # a foreground larger than this share of the volume is a region, not cells
EMPTY = 0.0005  # a class smaller than this share is empty
STUCK, SOON = 0.1, 8  # SoftNCuts above this after so many epochs: broad regions
UNLUCKY = "the random start led to broad regions"


def probe(volume):
    """The brightest of nine evenly spread cubes of a (Z, Y, X) volume: something to look at while it
    trains."""
    sides = [min(s // 8 * 8, 48) for s in volume.shape]
    corners = [np.linspace(0, s - c, 3).astype(int) for s, c in zip(volume.shape, sides)]
    z = corners[0][1]
    options = [
        tuple(slice(o, o + c) for o, c in zip((z, y, x), sides)) for y in corners[1] for x in corners[2]
    ]
    return max(options, key=lambda cube: np.percentile(volume[cube], 99))


class Watch:
    """Callback that records the share of each class in one cube of the volume, and shows it every few epochs.

    ``show(history, plane, classes)`` draws; it is given the middle slice of the cube and the classes in it.
    """

    def __init__(self, volume, show=None, every=1):
        from cellseg_nb.io import volumes

        scaled = volumes.remap(volume)
        self.cube = scaled[probe(scaled)]
        self.show, self.every = show, every

    def __call__(self, history, model):
        was_training = model.training
        model.eval()
        device = next(model.parameters()).device
        with torch.inference_mode():
            classes = (
                model.encoder(torch.from_numpy(self.cube.copy())[None, None].to(device))[0].cpu().numpy()
            )
        model.train(was_training)
        history[-1]["shares"] = [float(share) for share in classes.mean((1, 2, 3))]
        if self.show and (len(history) % self.every == 0 or len(history) == 1):
            middle = self.cube.shape[0] // 2
            self.show(history, self.cube[middle], classes[:, middle])


def stop_when_enough(history, model):
    """Callback that ends a training when SoftNCuts, as the mean of three epochs, has fallen below
    `ENOUGH`."""
    if len(history) >= 3 and np.mean([row["n_cuts"] for row in history[-3:]]) < ENOUGH:
        raise loop.Stop(f"SoftNCuts arrived: below {ENOUGH} over three epochs")


def stop_when_stuck(history, model):
    """Callback that ends a training which has found broad regions instead of cells, so that another start is
    tried.

    Of 18 starts on c5 and four embryos, SoftNCuts after `SOON` epochs was at most 0.074 in those that came to
    follow the cells (and on its way down), and 0.115 in the one that did not: after 30 epochs it still stood
    at 0.09.
    """
    if len(history) == SOON and history[-1]["n_cuts"] > STUCK:
        raise loop.Stop(UNLUCKY)


def advice(history, foreground=None):
    """What a person should know about a training, worst first; an empty list when all is well.

    ``foreground``: share of the whole volume that was found to be cells, when known.
    """
    last = history[-1]
    said = []
    shares = last.get("shares", [])
    if shares and min(shares) < EMPTY:
        said.append(
            f"One class is empty ({100 * min(shares):.3f} % of the voxels): the network put everything into "
            "the other. Try another seed, or a lower learning rate."
        )
    if foreground is not None and foreground > BROAD:
        said.append(
            f"{100 * foreground:.0f} % of the volume is called cell: these are broad regions, not cells. "
            "Train for more epochs; if that does not help, give the cell diameter, or raise the "
            "reconstruction weight. Are the cells dark on a bright ground? Then give maximum minus volume."
        )
    n_cuts = float(np.mean([row["n_cuts"] for row in history[-3:]]))
    if n_cuts > ARRIVED:
        said.append(
            f"SoftNCuts stands at {n_cuts:.3f} and should fall below {ARRIVED}: the training is not done. "
            "Run it with more epochs, into a new output folder."
        )
    if foreground is not None and foreground < EMPTY:
        said.append(
            "Almost no voxel is called cell: is the volume empty, or much of it far brighter than its cells?"
        )
    return said


def tell(said):
    """Print `advice`: what to look out for, or that all is well."""
    for line in said:
        print("Look out:", line)
    if not said:
        print("The curves look right. Whether the cells are, they cannot say.")
