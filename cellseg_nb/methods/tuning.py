"""Parameters of the instance step chosen on labelled *training* volumes, by the same rule for every method.
"""

import itertools

import numpy as np

from .. import instances, metrics

# blurs tried before looking for cell centres, as shares of the median diameter
SPOTS = (0.06, 0.1, 0.15, 0.2, 0.25)


def diameter(labels):
    """Median diameter of the cells in voxels (of the ball with as many voxels), over a list of label volumes.
    """
    sizes = np.concatenate([counts[counts > 0] for counts in (np.bincount(label.ravel())[1:]
                                                              for label in labels)])
    return float(np.median(np.cbrt(6 * sizes / np.pi))) if len(sizes) else 1.0


def f1(segment, labels):
    """F1 at IoU 0.5 over several volumes, all cells counted alike. ``segment(i)`` gives the labels of volume
    i."""
    found = [metrics.match(label, segment(i), (0.5,)).iloc[0] for i, label in enumerate(labels)]
    tp, fp, fn = (sum(int(row[name]) for row in found) for name in ("tp", "fp", "fn"))
    return 2 * tp / (2 * tp + fp + fn) if tp else 0.0


def search(options, score):
    """Try every combination of ``options`` {name: values}. Returns the best (the first of equals) and the
    table tried."""
    import pandas

    rows = []
    for values in itertools.product(*options.values()):
        chosen = dict(zip(options, values))
        rows.append({**chosen, "f1": score(**chosen)})
    table = pandas.DataFrame(rows)
    best = rows[int(table.f1.argmax())]
    return {name: best[name] for name in options}, table


def voronoi(outline, spots, threshold, spot_sigma, outline_sigma, min_size, voxel_size=None):
    labels = instances.voronoi_otsu(outline, spot_sigma, outline_sigma, voxel_size, threshold=threshold,
                                    spots=spots)
    return instances.filter_size(labels, min_size)
