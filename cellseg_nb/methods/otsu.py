"""Otsu's threshold and Voronoi labelling: no network, a few numbers to choose. The line that any training
must clear."""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells import instances
from cellseg_nb.learning import pairs
from cellseg_nb.methods import tuning
from cellseg_nb.methods.base import COMMON, Method
from cellseg_nb.methods.settings import DEMO


class OtsuMethod(Method):
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
    needs_labels = False
    self_tuning = True
    tunable = ("spot_sigma", "outline_sigma", "scale", "min_size")
    settings = {**DEMO["otsu"], "min_size": 5, **COMMON}

    def fit(self, images, labels=None, *, folder=None, callbacks=(), progress=True):
        """Nothing to train; with labels, the same as `tune`. Returns an empty history."""
        if labels is not None:
            self.tune(images, labels, progress=progress)
        return []

    def predict(self, volume, *, progress=True):
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

    def maps(self, volume, *, progress=True):
        """Nothing: `segment` asks the volume itself."""

    def _outline(self, volume):
        size = instances.relative(self.options["voxel_size"])
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
        size = voxel_size or self.options["voxel_size"]
        return tuning.voronoi(
            outline, volume, self._threshold(outline), self.spot_sigma, 0, self.min_size, size
        )

    def tune(self, images, labels, *, voxel_size=None, progress=True):
        """Choose sigmas, scale and smallest size with the best F1@0.5 (of centres, for cells of a few
        voxels: `tuning.choose`) on labelled training volumes. Returns the table tried."""
        images, labels = pairs.check(images, labels)
        size = voxel_size or self.options["voxel_size"]
        diameter = tuning.diameter(labels, size)
        candidates = tuning.combinations(
            spot_sigma=tuning.blurs(labels, size),
            outline_sigma=[0.5, round(diameter * 0.1, 2), round(diameter * 0.2, 2)],
            scale=[0.6, 0.8, 1.0, 1.2],
        )
        outlines = {}

        def segment(i):
            known = i, self.outline_sigma
            if known not in outlines:
                outlines[known] = self._outline(images[i])
            return self._label(images[i], outlines[known], voxel_size)

        return tuning.choose(self, candidates, segment, labels, progress, size)
