"""Training cubes seen anew each time: mirrored, turned, bent, brighter or darker. The transforms are MONAI's.

Volumes are first clipped to their 1st-99th percentile and mapped to 0..1 (`prepare`), as in the paper.
"""

import numpy as np
import torch

from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes

STEPS = ("flips", "rotations", "affine", "elastic", "intensity")
PUBLISHED = "published"  # in place of all of them: what the plugin does
SCALES = ("unit", "clipped", "none")


def prepare(volume, scale="unit"):
    """The volume clipped to its 1st-99th percentile, (Z, Y, X) float32.

    ``scale``: "unit", mapped to 0..1 besides; "clipped", as the authors do, who leave it at that; "none": as
    it is, for volumes that were prepared before.
    """
    if scale == "none":
        return np.asarray(volume, np.float32)
    if scale == "clipped":
        return np.clip(volume, *np.percentile(volume, (1, 99))).astype(np.float32)
    return volumes.remap(volume, 0, 1, percentiles=(1, 99))


def check(steps):
    """Raises UserError unless all are names out of `STEPS`, or "published" alone."""
    if list(steps) != [PUBLISHED] and set(steps) - set(STEPS):
        raise UserError(f"augment must be names out of {', '.join(STEPS)}, not {', '.join(steps)}")


def pipeline(steps=STEPS, strength=1.0, square=True):
    """MONAI's ``Compose`` over {"image", "masks"}, each (C, Z, Y, X).

    Parameters
    ----------
    steps : names out of `STEPS`, or "published" alone
        flips (each axis, coin toss), rotations (quarter turns in Y-X), affine (turned up to 15 degrees in
        Y-X, zoomed and sheared a little), elastic (bent by about a voxel), intensity (shifted by up to 0.1 of
        the range). "published": MONAI's transforms with the settings of napari-cellseg3d
        (``worker_training.py``), each with a probability of 0.1.
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
    }
    return mt.Compose([part for name in STEPS if name in steps for part in kinds[name]])


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
