"""What happens to volumes under way, made on purpose. Each takes (Z, Y, X) uint16
and returns a disturbed copy."""

import numpy as np
from scipy import ndimage as ndi

TOP = 65535


def hot(image, count=5, value=TOP, seed=0):
    """``count`` voxels of a camera that always report ``value``."""
    out = image.copy()
    out.ravel()[np.random.default_rng(seed).choice(image.size, count, replace=False)] = value
    return out


def padded(image, before=(8, 12, 12), after=(8, 12, 12), value=0):
    """The volume set into a larger one of one value."""
    return np.pad(image, list(zip(before, after)), constant_values=value)


def slope(image, height=800.0, axis=2, curved=False):
    """A background that rises along an axis by ``height``, straight or as a hill."""
    ramp = np.linspace(0, 1, image.shape[axis])
    ramp = np.sin(np.pi * ramp) if curved else ramp
    shape = [1, 1, 1]
    shape[axis] = -1
    return _stored(image + height * ramp.reshape(shape))


def attenuated(image, end=0.1, axis=0, floor=50.0, seed=0):
    """Light lost exponentially along an axis, to ``end`` at the far side, above a camera's floor and
    noise."""
    line = np.exp(np.log(end) * np.linspace(0, 1, image.shape[axis]))
    shape = [1, 1, 1]
    shape[axis] = -1
    noise = np.random.default_rng(seed).normal(0, 4, image.shape)
    return _stored(floor + np.clip(image - floor, 0, None) * line.reshape(shape) + noise)


def vessel(image, value=4095, radius=4.0, seed=0, blur=0.0):
    """A bright tube from one side to the other. Returns the volume and where the tube is."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[tuple(slice(s) for s in image.shape)]
    a, b = rng.uniform(0.25, 0.75, (2, 2))
    along = x / image.shape[2]
    zc, yc = (a[i] * (1 - along) + b[i] * along for i in (0, 1))
    inside = (z - zc * image.shape[0]) ** 2 + (y - yc * image.shape[1]) ** 2 < radius**2
    light = ndi.gaussian_filter(inside.astype(np.float32), blur) if blur else inside.astype(np.float32)
    return _stored(np.maximum(image, light * value)), inside


def blank(image, slices=(10, 11, 30), value=0):
    """Slices that were lost."""
    out = image.copy()
    out[list(slices)] = value
    return out


def repeated(image, slices=(12, 25)):
    """Slices written twice: each of these repeats the one before it."""
    out = image.copy()
    for z in slices:
        out[z] = out[z - 1]
    return out


def striped(image, strength=60.0, axis=1, seed=0):
    """Lines of changing brightness across a light sheet, in every slice anew."""
    shape = [len(image), 1, 1]
    shape[axis] = image.shape[axis]
    return _stored(image + strength * np.random.default_rng(seed).normal(size=shape))


def negative(image):
    """Dark cells on a bright ground."""
    return (image.max() + image.min() - image).astype(image.dtype)


def _stored(image):
    return np.clip(np.round(image), 0, TOP).astype(np.uint16)
