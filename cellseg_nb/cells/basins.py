"""The tree of thresholds: hills of a landscape, the passes between them, and the moments that say how round a
part is."""

import numpy as np

LEVELS = 24  # heights at which the moments of a hill are kept


class Hills:
    """Every voxel of ``mask`` climbs to the summit of its own hill, by the steepest way among 26 neighbours.

    Raising a threshold over the landscape takes its components apart exactly at the passes, so hills and
    passes are the whole tree of thresholds (component tree; Salembier et al. 1998), without a threshold.

    Attributes
    ----------
    voxels, hill, height : of each voxel of the mask: place in the padded volume, which hill, its height
    summit, top : place of each summit in the padded volume, its height
    low, high, saddle : pairs of neighbouring hills, and the height of the highest pass between them
    """

    def __init__(self, landscape, mask, size):
        padded = np.pad(landscape.astype(np.float32), 1)
        self.padded, self.size = padded.shape, size
        self.voxels = np.flatnonzero(np.pad(mask, 1))
        self.height = padded.ravel()[self.voxels]
        number = np.full(padded.size, -1, np.int32)
        number[self.voxels] = np.arange(len(self.voxels), dtype=np.int32)
        steps = _steps(self.padded, size)
        summit = self._climb(padded.ravel(), number, steps)
        summits, self.hill = np.unique(summit, return_inverse=True)
        self.summit, self.top = self.voxels[summits], self.height[summits]
        self._passes(number, steps)

    def positions(self, voxels):
        return (np.stack(np.unravel_index(voxels, self.padded), 1) - 1) * self.size

    def _climb(self, flat, number, steps):
        best = np.zeros(len(self.voxels), np.float32)
        way = np.arange(len(self.voxels), dtype=np.int32)
        ground = np.full(flat.shape, -np.inf, np.float32)  # no way leads out of the mask
        ground[self.voxels] = self.height
        for step, distance in steps:
            for there in (step, -step):
                slope = (ground[self.voxels + there] - self.height) / np.float32(distance)
                better = np.flatnonzero(slope > best)
                best[better], way[better] = slope[better], number[self.voxels[better] + there]
        while True:
            further = way[way]
            if np.array_equal(further, way):
                return way
            way = further

    def _passes(self, number, steps):
        pairs, heights, n = [], [], len(self.top)
        for step, _ in steps:
            other = number[self.voxels + step]
            here = np.flatnonzero(other >= 0)
            there = other[here]
            here = here[self.hill[here] != self.hill[there]] if n else here
            there = other[here]
            a, b = self.hill[here], self.hill[there]
            pairs.append(np.minimum(a, b).astype(np.int64) * n + np.maximum(a, b))
            heights.append(np.minimum(self.height[here], self.height[there]))
        pairs, heights = np.concatenate(pairs), np.concatenate(heights)
        order = np.argsort(pairs, kind="stable")
        pairs, first = np.unique(pairs[order], return_index=True)
        self.low, self.high = pairs // max(n, 1), pairs % max(n, 1)
        self.saddle = np.maximum.reduceat(heights[order], first) if len(pairs) else heights

    def moments(self, lowest):
        """Sums of 1, z, y, x, zz, yy, xx, zy, zx, yx (µm) over each hill's voxels above each of `LEVELS`
        heights, from ``lowest`` up in equal ratios: (hills, LEVELS, 10) float64."""
        position = self.positions(self.voxels) - np.array(self.padded) * self.size / 2
        highest = max(float(self.top.max(initial=0)), lowest * 1.01)
        self.grid = np.log(lowest), (np.log(highest) - np.log(lowest)) / LEVELS
        level = np.clip(
            (np.log(np.maximum(self.height, lowest)) - self.grid[0]) / self.grid[1], 0, LEVELS - 1
        ).astype(int)
        key, length = self.hill * LEVELS + level, len(self.top) * LEVELS
        z, y, x = position.T
        sums = [
            np.bincount(key, one, length)
            for one in (np.ones(len(z)), z, y, x, z * z, y * y, x * x, z * y, z * x, y * x)
        ]
        return np.stack(sums, -1).reshape(-1, LEVELS, 10)[:, ::-1].cumsum(1)[:, ::-1]

    def level(self, heights):
        """The levels of the moments at heights, (n,) int."""
        level = np.ceil((np.log(np.maximum(heights, 1e-30)) - self.grid[0]) / self.grid[1] - 1e-9)
        return np.clip(level, 0, LEVELS - 1).astype(int)

    def tree(self):
        """The passes that join parts of the tree of thresholds, highest first: low, high, saddle."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import minimum_spanning_tree

        n, order = len(self.top), np.argsort(-self.saddle, kind="stable")
        if not len(order):
            return self.low, self.high, self.saddle
        rank = np.arange(1.0, len(order) + 1)  # distinct, so that the tree is one and the same each time
        kept = minimum_spanning_tree(coo_matrix((rank, (self.low[order], self.high[order])), (n, n)).tocsr())
        kept = order[np.sort(kept.data).astype(int) - 1]
        return self.low[kept], self.high[kept], self.saddle[kept]


def _steps(shape, size):
    offsets = [np.array(o) - 1 for o in np.ndindex(3, 3, 3) if o > (1, 1, 1)]
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    return [(int(o @ strides), float(np.linalg.norm(o * size))) for o in offsets]


def roundness(moments, size):
    """Volume over that of the ellipsoid with the same second moments: 1 for any ellipsoid, 0.82 for two
    touching balls.

    moments : (10,) sums as in `Hills.moments`. Each voxel counts as a box, not as a point.
    """
    n, z, y, x, zz, yy, xx, zy, zx, yx = moments.tolist()
    if n < 4:
        return 1.0
    z, y, x = z / n, y / n, x / n
    zz, yy, xx = (s / n - m * m + b * b / 12 for s, m, b in zip((zz, yy, xx), (z, y, x), size.tolist()))
    zy, zx, yx = zy / n - z * y, zx / n - z * x, yx / n - y * x
    determinant = zz * (yy * xx - yx * yx) - zy * (zy * xx - yx * zx) + zx * (zy * yx - yy * zx)
    return n * float(size.prod()) / (4 / 3 * np.pi * 5**1.5 * max(determinant, 1e-30) ** 0.5)
