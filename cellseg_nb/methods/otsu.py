"""Otsu's threshold and Voronoi labelling: no network, a few numbers to choose. The line that any training
must clear."""

import json

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.errors import UserError
from cellseg_nb.io import files
from cellseg_nb.learning import pairs
from cellseg_nb.methods import tuning

FILE = "otsu.json"


class OtsuMethod:
    """Otsu + Voronoi (`cellseg_nb.cells.instances.voronoi_otsu`).

    Parameters
    ----------
    spot_sigma, outline_sigma : float
        Blur before looking for cell centres, and before the threshold, in voxels of the finest axis.
    scale : float
        The threshold as a multiple of Otsu's.
    min_size : int
        Smaller objects are dropped, in voxels.
    voxel_size : (z, y, x) in µm or None

    A fair baseline is tuned like its rivals: `fit` with labels chooses sigmas, scale and smallest size on
    the training volumes.
    """

    name = "otsu"
    SETTINGS = ("spot_sigma", "outline_sigma", "scale", "min_size", "voxel_size")

    def __init__(
        self,
        spot_sigma=0.65,
        outline_sigma=0.65,
        scale=1.0,
        min_size=5,
        voxel_size=None,
        seed=0,
        device="auto",
    ):
        self.spot_sigma, self.outline_sigma, self.scale = spot_sigma, outline_sigma, scale
        self.min_size, self.voxel_size = min_size, voxel_size

    def fit(self, images, labels=None, folder=None, callbacks=(), progress=True):
        """Nothing to train; with labels, the same as `tune`. Returns an empty history."""
        if labels is not None:
            self.tune(images, labels)
        return []

    def predict(self, volume):
        """Blurred brightness as a share of twice the threshold, (Z, Y, X) float32 in 0..1: 0.5 lies at the
        threshold.

        Not a probability, but it can be thresholded like one.
        """
        outline = self._outline(volume)
        threshold = self._threshold(outline)
        if not np.isfinite(threshold):
            return np.zeros(outline.shape, np.float32)
        low = float(outline.min())
        return np.clip((outline - low) / (2 * max(threshold - low, 1e-12)), 0, 1).astype(np.float32)

    def _outline(self, volume):
        size = np.ones(3) if self.voxel_size is None else np.divide(self.voxel_size, min(self.voxel_size))
        return ndi.gaussian_filter(np.asarray(volume, np.float32), self.outline_sigma / size)

    def _threshold(self, outline):
        """Otsu's threshold times the scale, counted from the darkest voxel; infinite for a volume of one
        value."""
        from skimage.filters import threshold_otsu

        low = float(outline.min())
        return low + self.scale * (threshold_otsu(outline) - low) if low < outline.max() else np.inf

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32. ``probability`` is not used: the threshold belongs to the volume."""
        volume = np.asarray(volume, np.float32)
        return self._label(volume, self._outline(volume), voxel_size)

    def _label(self, volume, outline, voxel_size=None):
        """Labels of a volume whose outline is blurred already."""
        return tuning.voronoi(
            outline,
            volume,
            self._threshold(outline),
            self.spot_sigma,
            0,
            self.min_size,
            voxel_size or self.voxel_size,
        )

    def tune(self, images, labels):
        """Choose sigmas, scale and smallest size with the best F1@0.5 on labelled training volumes. Returns
        the table tried."""
        images, labels = pairs.check(images, labels)
        wide = tuning.diameter(labels)
        candidates = tuning.combinations(
            spot_sigma=[round(wide * part, 2) for part in tuning.SPOTS],
            outline_sigma=[0.5, round(wide * 0.1, 2), round(wide * 0.2, 2)],
            scale=[0.6, 0.8, 1.0, 1.2],
        )
        outlines = {}

        def segment(i):
            known = i, self.outline_sigma
            if known not in outlines:
                outlines[known] = self._outline(images[i])
            return self._label(images[i], outlines[known])

        return tuning.choose(self, candidates, segment, labels)

    def save(self, folder):
        """Write ``otsu.json`` into a folder."""
        path = files.writable_folder(folder) / FILE
        files.write_json(path, {"method": self.name, **{name: getattr(self, name) for name in self.SETTINGS}})
        return path

    @classmethod
    def load(cls, folder, device="auto"):
        """Read what `save` wrote. Raises UserError when the file is missing or damaged."""
        path = files.as_path(folder) / FILE if files.as_path(folder).is_dir() else files.as_path(folder)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{name: found[name] for name in cls.SETTINGS})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is missing, damaged or of another method: save it again") from error
