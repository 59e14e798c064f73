"""The rows of speed.py: for each, its peer and ours as two calls, and what makes their answers the same."""

import tempfile
from pathlib import Path

import numpy as np

ROWS = {}


def row(words, peer, bar, slow=False, **more):
    """A row: a function of ``short`` that returns two calls without arguments and a check of what they
    return. ``slow``: not in the short form; ``pairs``: at most so many; ``needs``: a library that nothing
    else asks for; ``real``: volumes of ``CELLSEG_NB_REAL_DATA``; ``limit``: seconds, where there is no
    peer."""

    def keep(make):
        ROWS[make.__name__] = {"words": words, "peer": peer, "bar": bar, "slow": slow, "make": make} | more
        return make

    return keep


# ---------------------------------------------------------------- networks


def _cubes(side, classes=2):
    import torch

    torch.manual_seed(0)
    volume = 100 * torch.rand(2, 1, side, side, side)
    return torch.rand(2, classes, side, side, side).softmax(1).requires_grad_(), volume


def _loss(form, p, volume):
    p.grad = None
    value = form(p, volume)
    value.backward()
    return np.append(p.grad.numpy().ravel(), value.item())


@row(
    "SoftNCuts, class mean, forward and backward, two cubes",
    "one 5x5x5 convolution a term (plain reading)",
    25,
)
def class_mean(short):
    from cellseg_nb.networks import ncuts

    p, volume = _cubes(32 if short else 64)
    peer, ours = (lambda form=form: _loss(form, p, volume) for form in (_by_convolution, ncuts.class_mean))
    return peer, ours, lambda a, b: np.allclose(a, b, atol=1e-5)


def _by_convolution(p, volume, intensity_sigma=1.0, spatial_sigma=4.0, radius=2):
    import torch
    import torch.nn.functional as F

    from cellseg_nb.networks import ncuts

    line = ncuts.gaussian_line(radius, spatial_sigma, p)
    kernel = (line[:, None, None] * line[:, None] * line)[None, None]
    loss = p.shape[1]
    for k in range(p.shape[1]):
        q = p[:, k : k + 1]
        mean = (volume * q).mean((2, 3, 4), keepdim=True) / (q.mean((2, 3, 4), keepdim=True) + 1e-5)
        weight = torch.exp(-(((volume - mean) ** 2) ** 2) / intensity_sigma**2)
        inside = (q * F.conv3d(q * weight, kernel, padding=radius)).sum((1, 2, 3, 4))
        everything = (q * F.conv3d(weight, kernel, padding=radius)).sum((1, 2, 3, 4))
        loss = loss - (inside / (everything + 1e-6)).mean()
    return loss


@row("SoftNCuts, pairwise, forward and backward, two cubes", "a loop over offsets, through autograd", 4)
def pairwise(short):
    from cellseg_nb.networks import ncuts

    p, volume = _cubes(32 if short else 64)
    peer, ours = (lambda form=form: _loss(form, p, volume) for form in (_through_autograd, ncuts.pairwise))
    return peer, ours, lambda a, b: np.allclose(a, b, atol=1e-5)


def _through_autograd(p, volume, si=1.0, sx=4.0, radius=2):
    from cellseg_nb.networks import ncuts

    sides = (2, 3, 4)
    inside, everything = (p * p).sum(sides), p.sum(sides)
    for offset in ncuts.offsets(radius):
        weight = ncuts.edge_weight(volume, offset, si, sx)
        a, b = ncuts.shifted(p, offset)
        inside = inside + 2 * (weight * a * b).sum(sides)
        everything = everything + (weight * (a + b)).sum(sides)
    return p.shape[1] - (inside / (everything + 1e-6)).sum(1).mean()


@row(
    "full-width WNet3D, a training step of two cubes of 64 x 64 x 64, no dropout",
    "torch's layers as in the released code, SoftNCuts by one 5x5x5 convolution a term (plain reading)",
    1.8,
    slow=True,
    pairs=3,
)
def step(short):
    """Each call is the next step; losses are compared after every one, from the same weights."""
    import torch

    from cellseg_nb.networks.wnet3d import WNet3D
    from cellseg_nb.networks.wnet3d_loss import WNetLoss

    torch.manual_seed(0)
    volume, first = 100 * torch.rand(2, 1, 64, 64, 64), WNet3D(dropout=0.0).state_dict()

    def training(released):
        loss, started = WNetLoss(balance="fixed"), []
        if released:
            loss.cut = _by_convolution

        def one():
            if not started:  # so that the memory of one is not counted for the other
                model = WNet3D(dropout=0.0).train()
                model.load_state_dict(first)
                for part in model.modules():
                    part.wide = part.__dict__.get("wide", False) and not released
                started.extend([model, torch.optim.Adam(model.parameters(), 2e-5, weight_decay=0.01)])
            terms = loss(started[0], volume)
            started[1].zero_grad()
            terms["loss"].backward()
            started[1].step()
            return float(terms["loss"].detach())

        return one

    return training(True), training(False), lambda a, b: abs(a - b) <= 1e-4 * abs(a)


# ---------------------------------------------------------------- cells


def _volume(short):
    from cellseg_nb.data import simulate

    side, cells = (128, 620) if short else (256, 5000)
    return simulate.volume((side,) * 3, cells, seed=0)


def _alike(a, b):
    return abs(a.max() - b.max()) <= 0.005 * a.max()


@row("Voronoi-Otsu, 256 x 256 x 256, 5,000 cells", "scikit-image and SciPy, as a textbook has it", 3)
def voronoi_otsu(short):
    from cellseg_nb.cells import instances

    image, _ = _volume(short)
    return lambda: _textbook(image), lambda: instances.voronoi_otsu(image, 1, 1), _alike


@row("the default separation of cells, the same volume", "textbook Voronoi-Otsu", 1)
def separation(short):
    from cellseg_nb.cells.separate import separate

    image, _ = _volume(short)
    return lambda: _textbook(image), lambda: separate(image, diameter=8.0), _alike


def _textbook(image):
    """Haase et al. 2020 with scikit-image: seeds and outlines from two blurs, then the nearest seed."""
    from scipy import ndimage as ndi
    from skimage.filters import gaussian, threshold_otsu
    from skimage.measure import label
    from skimage.morphology import local_maxima
    from skimage.segmentation import watershed

    spots, outline = (gaussian(image, 1, preserve_range=True) for _ in range(2))
    mask = outline > threshold_otsu(outline)
    seeds = label(local_maxima(spots) & mask)
    return watershed(ndi.distance_transform_edt(seeds == 0), seeds, mask=mask)


@row(
    "table of the cells, all columns, 256 x 256 x 256",
    "regionprops_table with centre, area, brightness, surface",
    3,
)
def table(short):
    from skimage.measure import marching_cubes, mesh_surface_area, regionprops_table

    from cellseg_nb.cells import instances

    image, labels = _volume(short)

    def surface(mask):
        return mesh_surface_area(*marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5)[:2])

    names = ("label", "centroid", "area", "intensity_mean")
    return (
        lambda: regionprops_table(labels, image, properties=names, extra_properties=(surface,)),
        lambda: instances.table(labels, image),
        lambda a, b: np.allclose(a["centroid-0"], b.z) and np.allclose(a["intensity_mean"], b.mean_intensity),
    )


@row("matching at nine IoU thresholds, 192 x 192 x 192, 2,700 cells", "nine calls of StarDist's matching", 60)
def matching(short):
    from scipy import ndimage as ndi
    from stardist.matching import matching as one

    from cellseg_nb.evaluation import metrics

    rng = np.random.default_rng(0)
    side, cells = (96, 340) if short else (192, 2750)
    seeds = np.zeros((side,) * 3, np.int32)
    seeds[tuple(rng.integers(6, side - 6, (cells, 3)).T)] = np.arange(1, cells + 1)
    distance, nearest = ndi.distance_transform_edt(seeds == 0, return_indices=True)
    truth = np.where(distance < 5.5, seeds[tuple(nearest)], 0)
    found = np.roll(truth, 2, 1)
    return (
        lambda: [one(truth, found, thresh=t).tp for t in metrics.THRESHOLDS],
        lambda: metrics.match(truth, found),
        lambda a, b: a == b.tp.tolist(),
    )


def _reading(image, narrow=False, compression=None):
    import tifffile

    from cellseg_nb.io import volumes

    path = Path(tempfile.mkdtemp()) / "volume.tif"
    tifffile.imwrite(path, image, metadata={"axes": "ZYX"}, compression=compression)
    return (
        lambda: tifffile.imread(path),
        lambda: volumes.remap(volumes.read(path, narrow=narrow)[0]),
        lambda a, b: a.shape == b.shape and abs(float(b.max()) - 100) < 1e-3,
    )


def _noise(short):
    return np.random.default_rng(0).integers(0, 65535, (128 if short else 512,) * 3, np.uint16)


def _tissue(short):
    """Simulated cells as a microscope stores them; what is repeated lies too far apart to be noticed."""
    from cellseg_nb.data import simulate

    side = 128 if short else 512
    image, _ = simulate.volume((side // 8, side, side), max(1, side**3 // 26000), seed=0)
    return np.tile(np.rint(image / image.max() * 4000).astype(np.uint16), (8, 1, 1))


@row("read and scale a TIFF of 512 x 512 x 512, 16 bit", "tifffile alone", 1 / 1.5)
def reading(short):
    return _reading(_noise(short))


@row("the same, as notebook 00 does: numbers as stored until they are scaled", "tifffile alone", 1 / 1.5)
def reading_narrow(short):
    return _reading(_noise(short), narrow=True)


@row("the same, simulated cells, compressed by zlib", "tifffile alone", 1 / 1.5, slow=True)
def reading_zlib(short):
    return _reading(_tissue(short), narrow=True, compression="zlib")


@row("the same, simulated cells, compressed by LZW", "tifffile alone", 1 / 1.5, slow=True)
def reading_lzw(short):
    return _reading(_tissue(short), narrow=True, compression="lzw")
