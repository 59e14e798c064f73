"""Matching at nine IoU thresholds: `cellseg_nb.evaluation.metrics.match`, one pass, against nine calls of
StarDist's ``matching``.

192 x 192 x 192 voxels with about 2,600 cells, and the same cells moved by two voxels as the prediction. Needs
stardist.
"""

import statistics
import time

import numpy as np
from scipy import ndimage as ndi
from stardist.matching import matching

from cellseg_nb.evaluation import metrics

rng = np.random.default_rng(0)
shape = (192, 192, 192)
seeds = np.zeros(shape, np.int32)
centres = rng.integers(6, 186, (2750, 3))
seeds[tuple(centres.T)] = np.arange(1, len(centres) + 1)
distance, nearest = ndi.distance_transform_edt(seeds == 0, return_indices=True)
truth = np.where(distance < 5.5, seeds[tuple(nearest)], 0)
prediction = np.roll(truth, 2, (0, 1, 2)[rng.integers(3)])


def ours():
    return metrics.match(truth, prediction)


def theirs():
    return [matching(truth, prediction, thresh=t) for t in metrics.THRESHOLDS]


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


assert [row.tp for row in ours().itertuples()] == [one.tp for one in theirs()]
pairs = [(seconds(ours), seconds(theirs)) for _ in range(7)]
print(
    f"{len(np.unique(truth)) - 1} cells: one pass {statistics.median(a for a, _ in pairs):.2f} s, nine calls "
    f"{statistics.median(b for _, b in pairs):.2f} s, ratio {statistics.median(b / a for a, b in pairs):.1f} "
    f"(median of {len(pairs)} pairs)"
)
