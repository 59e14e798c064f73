"""Parameters of the instance step chosen on labelled *training* volumes, by the same rule for every
method."""

import itertools

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb import runtime
from cellseg_nb.cells import auto as cells_auto, background, instances
from cellseg_nb.evaluation import centres, metrics
from cellseg_nb.learning import augmentation

# blurs tried before looking for cell centres, as shares of the median diameter
SPOTS = (0.06, 0.1, 0.15, 0.2, 0.25)
CORES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)  # probabilities tried that a core reaches
SMALLEST = (0.1, 0.25)  # sizes tried below which an object is no cell, as shares of the median size
LEVELS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)  # probabilities at which cores may part
PART = 0.1  # the least part, as a share of the median core


def diameter(labels, voxel_size=None):
    """Median diameter of the cells (of the ball of the same size) over a list of label volumes, in voxels of
    the finest axis: with voxels of (5, 1, 1) µm a ball of 12 µm is 12 voxels wide."""
    sizes = np.concatenate(
        [counts[counts > 0] for counts in (np.bincount(label.ravel())[1:] for label in labels)]
    )
    voxel = instances.relative(voxel_size).prod()
    return float(np.median(np.cbrt(6 * sizes * voxel / np.pi))) if len(sizes) else 1.0


def f1(found, min_size=0):
    """F1 at IoU 0.5 over several volumes, all cells counted alike, without objects of fewer than ``min_size``
    voxels.

    ``found``: for each volume `metrics.quality`, and the voxels of each object. Dropping an object changes no
    match of another one: of two halves of a cell, the only objects that could both match it at 0.5, either
    has as many voxels.
    """
    tp, fp = (
        sum(int((sizes[getattr(quality, name)] >= min_size).sum()) for quality, sizes in found)
        for name in ("matched_predicted", "invented")
    )
    true = sum(len(quality.matched_true) + len(quality.missed) for quality, _ in found)
    return 2 * tp / (tp + fp + true) if tp else 0.0


def centres_f1(labels, found, min_size, voxel_size, near):
    """F1 of centres at most ``near`` µm apart over several volumes, all cells counted alike, without found
    objects of fewer than ``min_size`` voxels."""
    pairs = [
        centres.match_centres(truth, instances.filter_size(made, min_size), voxel_size, near)
        for truth, made in zip(labels, found)
    ]
    tp, fp, fn = (sum(pair[name] for pair in pairs) for name in ("tp", "fp", "fn"))
    return 2 * tp / (2 * tp + fp + fn) if tp else 0.0


def near(labels, voxel_size=None):
    """How far apart, in µm, two centres of one cell may lie: half a cell, or a voxel's longest side. None for
    cells of at least three voxels along every axis, which IoU is fair to."""
    size = background.spacing(voxel_size)
    wide = diameter(labels, voxel_size) * size.min()
    return max(wide / 2, float(size.max())) if min(wide / size) < 3 else None


def combinations(**values):
    """Every combination of lists of values, as a list of dicts."""
    return [dict(zip(values, chosen)) for chosen in itertools.product(*values.values())]


def blurs(labels, voxel_size=None):
    """Blurs to try before looking for cell centres, in voxels of the finest axis: `SPOTS` of the cells'
    diameter."""
    return [round(diameter(labels, voxel_size) * part, 2) for part in SPOTS]


def threshold(method, probabilities, labels):
    """Give ``method`` the threshold with the best Dice over all volumes. Returns the table tried."""
    best, table = metrics.best_threshold(
        np.concatenate([one.ravel() for one in probabilities]),
        np.concatenate([label.ravel() > 0 for label in labels]),
    )
    method.set(threshold=best)
    return table


def untouched(method):
    """The table of a method that tuning leaves as it is: one row, its settings."""
    import pandas

    return pandas.DataFrame([method.chosen])


def by_dice(method, candidates, segment, labels, progress=True):
    """Give ``method`` the candidate with the best Dice of all labelled voxels, as the paper's authors chose;
    of equals the first. ``segment`` as in `choose`. Returns the table tried."""
    import pandas

    rows = []
    for candidate in runtime.progress(candidates, desc="Tuning", leave=False, disable=not progress):
        method.set(**candidate)
        made = np.concatenate([segment(i).ravel() > 0 for i in range(len(labels))])
        truth = np.concatenate([label.ravel() > 0 for label in labels])
        rows.append({**candidate, "dice": metrics.dice(truth, made)})
    best = max(rows, key=lambda row: row["dice"])
    method.set(**{name: value for name, value in best.items() if name != "dice"})
    return pandas.DataFrame(rows)


def choose(method, candidates, segment, labels, progress=True, voxel_size=None):
    """Give ``method`` the candidate, a dict of its settings, with the best F1@0.5; of equals the first. For
    cells of a few voxels it is the F1 of centres that are `near`.

    Each is tried with several sizes below which an object is no cell: the method's ``min_size``, and
    `SMALLEST`. ``segment(i)`` gives the labels of volume i with the settings that the method has then.
    Where nothing finds a cell, a method that has something to say about it (``nothing_found``) does, and has
    its defaults again. Returns the table tried.
    """
    import pandas

    volume = np.pi / 6 * diameter(labels) ** 3  # in voxels, whatever their shape
    least, rows = method.min_size, []
    sizes = sorted({least, *(max(least, round(volume * part)) for part in SMALLEST)})
    apart = near(labels, voxel_size)
    bar = runtime.progress(candidates, desc="Tuning", unit="setting", leave=False, disable=not progress)
    for candidate in bar:
        method.set(**candidate, min_size=least)
        made = (segment(i) for i in range(len(labels)))
        if apart:
            made = list(made)
            scores = [centres_f1(labels, made, size, voxel_size, apart) for size in sizes]
        else:
            found = [
                (metrics.quality(truth, one), np.bincount(one.ravel())) for truth, one in zip(labels, made)
            ]
            scores = [f1(found, size) for size in sizes]
        rows += [{**candidate, "min_size": size, "f1": score} for size, score in zip(sizes, scores)]
    best = max(rows, key=lambda row: row["f1"])
    if not best["f1"] and method.nothing_found:
        best = {**{name: method.settings[name] for name in candidates[0]}, "min_size": least}
        print(method.nothing_found)
    method.set(**{name: value for name, value in best.items() if name != "f1"})
    return pandas.DataFrame(rows)


def voronoi(outline, spots, threshold, spot_sigma, outline_sigma, min_size, voxel_size=None):
    """Voronoi-Otsu with a given threshold, small objects dropped."""
    labels = instances.voronoi_otsu(
        outline, spot_sigma, outline_sigma, voxel_size, threshold=threshold, spots=spots
    )
    return instances.filter_size(labels, min_size)


def from_cores(outline, cores, threshold, core_threshold, sigma, min_size, voxel_size=None, apart=True):
    """One cell for each piece of core: cores (blurred by ``sigma``) above ``core_threshold`` are numbered,
    and those that a bridge joins are taken ``apart`` (`parted`).

    Each voxel of the outline goes to the nearest core of its piece; a piece without a core is no cell.
    """
    from skimage.segmentation import watershed as flood

    size = instances.relative(voxel_size)
    cores = ndi.gaussian_filter(cores, sigma / size)
    seeds = instances.connected(cores, core_threshold, 3, connectivity=6)
    if apart:
        seeds = parted(seeds, cores, [level for level in LEVELS if level > core_threshold])
    mask = (outline > threshold) | (seeds > 0)
    nearest = ndi.distance_transform_edt(seeds == 0, sampling=size) if seeds.any() else np.zeros(mask.shape)
    return instances.filter_size(flood(nearest, seeds, mask=mask).astype(np.int32), min_size)


def parted(seeds, cores, levels):
    """Pieces of ``cores``, numbered; one that falls apart at a higher level counts as its parts.

    Where a network is unsure, two cores are joined by a bridge that is lower than both. One threshold that
    cuts every bridge would lose the dim cores. Parts under `PART` of the median piece are none.
    """
    if not seeds.any():
        return seeds
    least = PART * np.median(np.bincount(seeds.ravel())[1:])
    cores = np.where(seeds > 0, cores, 0)  # pieces that were too small for a number have no parts either
    for level in levels:
        parts = instances.connected(cores, level, least, connectivity=6)
        places = ndi.maximum_position(parts, parts, np.arange(1, parts.max() + 1))
        parents = np.array([0, *(seeds[place] for place in places)])
        several = np.flatnonzero(np.bincount(parents[1:]) > 1)
        if len(several):
            new = np.where(np.isin(parents, several), seeds.max() + np.arange(len(parents)), 0)
            seeds = np.where(np.isin(seeds, several), new[parts], seeds)
    return instances.filter_size(seeds)


def from_depth(outline, volume, threshold, sigma, min_size, voxel_size=None):
    """One cell for each hill of brightness plus depth, blurred by ``sigma``; cells part in the valleys.

    Brightness is the volume as the network sees it, 0..1; depth the distance to the background, 1 where only
    a twentieth of the outline lies deeper. Bright speckles do not make a cell of their own so easily, nor do
    dents.
    """
    from skimage.segmentation import watershed as flood

    size = instances.relative(voxel_size)
    mask = outline > threshold
    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    depth = ndi.distance_transform_edt(mask, sampling=size)
    hills = ndi.gaussian_filter(
        augmentation.prepare(volume) + depth / np.percentile(depth[mask], 95), sigma / size
    )
    seeds = instances.connected((ndi.maximum_filter(hills, 3) == hills) & mask, 0)
    return instances.filter_size(flood(-hills, seeds, mask=mask).astype(np.int32), min_size)


def auto(outline, volume, threshold, sigma, min_size, voxel_size=None):
    """As notebook 00 separates cells, eight ``sigma`` wide: by the brightness of the volume, and the outline
    says which are cells."""
    diameter = 8 * sigma * float(background.spacing(voxel_size).min())
    return cells_auto.find_cells(
        volume, outline, voxel_size, diameter, min_size=min_size, threshold=threshold
    )
