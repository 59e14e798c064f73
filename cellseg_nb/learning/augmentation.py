"""Training cubes seen anew each time: mirrored, turned, bent, brighter or darker. The transforms are MONAI's.

Volumes are first clipped to their 1st-99th percentile and mapped to 0..1 (`prepare`), as in the paper.
"""

import numpy as np
import torch
from scipy import ndimage as ndi

from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes

STEPS = ("flips", "rotations", "affine", "elastic", "intensity")
MORE = ("appearance",)  # besides them, where the volumes to come look different from those learned from
PUBLISHED = "published"  # in place of all of them: what the plugin does
SCALES = ("unit", "clipped", "none", "contrast")
BOX = 25  # voxels: the background of "contrast" is the median of boxes this wide
FLAT, FULL = 5.0, 100.0  # "contrast" is linear up to so many times the noise, and 1 at so many


def prepare(volume, scale="unit"):
    """The volume clipped to its 1st-99th percentile, (Z, Y, X) float32.

    ``scale``: "unit", mapped to 0..1 besides; "clipped", as the authors do, who leave it at that; "none": as
    it is, for volumes that were prepared before; "contrast": not clipped, see `contrast`.
    """
    if scale == "contrast":
        return contrast(volume)
    if scale == "none":
        return np.asarray(volume, np.float32)
    if scale == "clipped":
        return np.clip(volume, *np.percentile(volume, (1, 99))).astype(np.float32)
    return volumes.remap(volume, 0, 1, percentiles=(1, 99))


def contrast(volume):
    """How far each voxel rises above the background around it, in units of the noise: (Z, Y, X) float32.

    For cells so small and few that the 99th percentile of the volume is background, which clipping there
    would make as bright as they are; and so that volumes of different brightness look alike. Background: the
    median in boxes of `BOX` voxels, with slopes between them. Noise: from second differences along X. What is
    higher than `FLAT` times the noise is drawn together (arsinh), so that `FULL` times the noise is 1.
    """
    volume = np.asarray(volume, np.float32)
    edges = [np.linspace(0, side, max(1, round(side / BOX)) + 1).astype(int) for side in volume.shape]
    grid = [len(edge) - 1 for edge in edges]
    middle = np.empty(grid, np.float32)
    for at in np.ndindex(*grid):
        middle[at] = np.median(volume[tuple(slice(e[i], e[i + 1]) for e, i in zip(edges, at))])
    places = [(np.arange(side) + 0.5) * n / side - 0.5 for side, n in zip(volume.shape, grid)]
    level = ndi.map_coordinates(middle, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")
    second = volume[..., :-2] - 2 * volume[..., 1:-1] + volume[..., 2:]
    noise = 1.4826 * float(np.median(np.abs(second))) / 6**0.5 if second.size else 0.0
    rise = (volume - level) / max(noise, 1e-6 * float(np.ptp(volume)), 1e-12)
    return (np.arcsinh(rise / FLAT) / np.arcsinh(FULL / FLAT)).astype(np.float32)


def check(steps):
    """Raises UserError unless all are names out of `STEPS` and `MORE`, or "published" alone."""
    if list(steps) != [PUBLISHED] and set(steps) - {*STEPS, *MORE}:
        raise UserError(f"augment must be names out of {', '.join(STEPS + MORE)}, not {', '.join(steps)}")


def pipeline(steps=STEPS, strength=1.0, square=True):
    """MONAI's ``Compose`` over {"image", "masks"}, each (C, Z, Y, X).

    Parameters
    ----------
    steps : names out of `STEPS` and `MORE`, or "published" alone
        flips (each axis, coin toss), rotations (quarter turns in Y-X), affine (turned up to 15 degrees in
        Y-X, zoomed and sheared a little), elastic (bent by about a voxel), intensity (shifted by up to 0.1 of
        the range). appearance (more or less contrast, bright or dark parts drawn together, noisier, more
        blurred; as nnU-Net has it, Isensee et al. 2021). "published": MONAI's transforms with the settings of
        napari-cellseg3d (``worker_training.py``), each with a probability of 0.1.
    strength : float
        Multiplies how far affine, elastic and intensity go. Z is left upright: light-sheet volumes are
        blurred along it.
    square : bool
        False leaves out quarter turns, for cubes whose Y and X differ.
    """
    from monai import transforms as mt

    both = ("image", "masks")
    options = dict(keys=both, mode=("bilinear", "nearest"), padding_mode="reflection")
    if list(steps) == [PUBLISHED]:
        # Its RandAffined has no ranges, and changes nothing.
        bend = dict(sigma_range=(0.3, 0.7), magnitude_range=(0.3, 0.7), mode=("bilinear", "nearest"))
        published = [
            mt.RandShiftIntensityd("image", offsets=0.7),
            mt.Rand3DElasticd(both, **bend),
            mt.RandFlipd(both),
            *([mt.RandRotate90d(both)] if square else []),
        ]
        return mt.Compose(published)
    kinds = {
        "flips": [mt.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)],
        "rotations": [mt.RandRotate90d(both, prob=0.75, max_k=3, spatial_axes=(1, 2))] if square else [],
        "affine": [
            mt.RandAffined(
                prob=0.5,
                rotate_range=(0.26 * strength, 0, 0),
                scale_range=(0.1 * strength,) * 3,
                shear_range=(0.05 * strength,) * 6,
                **options,
            )
        ],
        # Smoothing by sigma leaves about 1 % of the magnitude: the field moves voxels by about one.
        "elastic": [
            mt.Rand3DElasticd(
                prob=0.3, sigma_range=(4, 6), magnitude_range=(50 * strength, 130 * strength), **options
            )
        ],
        "intensity": [mt.RandShiftIntensityd("image", offsets=0.1 * strength, prob=0.5)],
        "appearance": [
            mt.RandScaleIntensityd("image", factors=0.25 * strength, prob=0.5),
            mt.RandAdjustContrastd("image", gamma=(0.7, 1.5), prob=0.3),
            mt.RandGaussianNoised("image", std=0.05 * strength, prob=0.2),
            mt.RandGaussianSmoothd("image", *[(0.3, 1.0)] * 3, prob=0.2),
        ],
    }
    return mt.Compose([part for name in STEPS + MORE if name in steps for part in kinds[name]])


def augment(transform, image, target, valid, seed):
    """One cube through the pipeline: three (C, Z, Y, X) float32 tensors in, three out.

    The same seed gives the same cube. A cube whose last cell would be pushed out of it stays as it was.
    """
    from monai.data import get_track_meta, set_track_meta

    transform.set_random_state(int(seed))
    tracked = get_track_meta()
    set_track_meta(False)  # where each voxel came from is not needed, and a third of the time for small cubes
    try:
        changed = transform({"image": image, "masks": torch.cat([target, valid])})
    finally:
        set_track_meta(tracked)
    cells, known = changed["masks"][:-1], changed["masks"][-1:]
    if (target[:1] * valid).any() and not (cells[:1] * known).any():
        return [image.float(), target.float(), valid.float()]
    return [part.float() for part in (changed["image"], cells, known)]


def centred_box(rng, shape, voxels, cube):
    """Slices of a cube around one of ``voxels`` (N, 3), which comes to lie in its middle half; inside the
    volume."""
    z, y, x = voxels[rng.integers(len(voxels))]
    corner = [
        int(np.clip(c - rng.integers(side // 4, side - side // 4), 0, whole - side))
        for c, side, whole in zip((z, y, x), cube, shape)
    ]
    return tuple(slice(c, c + side) for c, side in zip(corner, cube))
