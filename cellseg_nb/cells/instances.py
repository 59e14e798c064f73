"""From probabilities to cells: connected components, watershed, Voronoi-Otsu; size filters; the table of
cells.

Sigmas and distances are in voxels of the finest axis: with a voxel size of (5, 1, 1) µm a sigma of 2 is 2
voxels along y and x, and 0.4 along z.
"""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells import background
from cellseg_nb.cells.background import spacing
from cellseg_nb.cells.surfaces import surfaces
from cellseg_nb.errors import UserError

COLUMNS = [
    "label",
    "z",
    "y",
    "x",
    "volume_voxels",
    "volume_um3",
    "equivalent_diameter_um",
    "sphericity",
    "mean_intensity",
]


def count(labels):
    """How many cells there are: different numbers above 0 in labels of any shape."""
    return int(np.count_nonzero(np.bincount(np.ravel(labels))[1:]))


def relative(voxel_size):
    """Voxel size (z, y, x) as multiples of the finest axis, an array of three. Raises UserError like
    `background.spacing`."""
    size = spacing(voxel_size)
    return size / size.min()


def _three(volume, name):
    volume = np.asarray(volume)
    if volume.ndim != 3:
        raise UserError(f"{name} has shape {volume.shape}: three dimensions (Z, Y, X) are needed")
    return volume


def connected(probability, threshold=0.5, min_size=0, connectivity=26):
    """Connected components of ``probability > threshold`` (connected-components-3d). Returns (Z, Y, X) int32
    labels."""
    import cc3d

    mask = _three(probability, "probability") > threshold
    return filter_size(cc3d.connected_components(mask, connectivity=connectivity).astype(np.int32), min_size)


def watershed(probability, threshold=0.5, seed_sigma=1.0, voxel_size=None, min_size=0):
    """Split touching cells where they are narrow: watershed on the distance to the background (scikit-image).

    Seeds are the maxima of the distance, smoothed by ``seed_sigma``. Returns (Z, Y, X) int32 labels.
    """
    from skimage.segmentation import watershed as flood

    mask = _three(probability, "probability") > threshold
    size = relative(voxel_size)
    distance = ndi.gaussian_filter(ndi.distance_transform_edt(mask, sampling=size), seed_sigma / size)
    labels = flood(-distance, _maxima(distance, mask), mask=mask).astype(np.int32)
    return filter_size(labels, min_size)


def voronoi_otsu(image, spot_sigma=0.65, outline_sigma=0.65, voxel_size=None, threshold=None, spots=None):
    """Voronoi-Otsu labelling, after Haase et al. 2020 (clesperanto, ``voronoi_otsu_labeling``), on the CPU.

    Blur by ``spot_sigma`` and take the local maxima as seeds; blur by ``outline_sigma`` and take what is
    above the threshold as foreground; give each foreground voxel to the nearest seed in the same piece of
    foreground.

    Parameters
    ----------
    image : (Z, Y, X) array, a volume or a probability
    threshold : float or None
        None: Otsu's threshold of the blurred image.
    spots : (Z, Y, X) array or None
        Where to look for the seeds; None: in ``image``. The volume has clear peaks where a probability is
        flat.

    Returns (Z, Y, X) int32 labels, 0 is background.
    """
    image = _three(image, "image").astype(np.float32)
    size = relative(voxel_size)
    outline = ndi.gaussian_filter(image, outline_sigma / size)
    if threshold is None:
        threshold = _otsu(outline) if outline.min() < outline.max() else np.inf
    mask = outline > threshold
    if spots is None and spot_sigma == outline_sigma:
        smooth = outline
    else:
        source = image if spots is None else _three(spots, "spots").astype(np.float32)
        smooth = ndi.gaussian_filter(source, spot_sigma / size)
    return _nearest(_maxima(smooth, mask), mask, size)


def _otsu(image):
    from skimage.filters import threshold_otsu

    counts, edges = np.histogram(image, 256)
    return threshold_otsu(hist=(counts, (edges[:-1] + edges[1:]) / 2))


def _nearest(seeds, mask, size):
    """Each voxel of the mask takes the number of the nearest seed in its own piece of the mask, none where
    there is none: (Z, Y, X) int32."""
    import cc3d
    from scipy.spatial import cKDTree

    pieces = cc3d.connected_components(mask, connectivity=6)
    places = np.flatnonzero(seeds)
    number, piece = seeds.ravel()[places], pieces.ravel()[places]
    only = np.zeros(pieces.max(initial=0) + 1, np.int32)
    only[piece] = number
    several = np.zeros(len(only), bool)
    several[piece[only[piece] != number]] = True
    only[0] = 0
    labels = only[pieces]
    crowd = np.flatnonzero(several[pieces])
    if len(crowd):
        points = [np.stack(np.unravel_index(each, mask.shape), 1) * size for each in (places, crowd)]
        # a fourth axis keeps pieces further apart than any two voxels of the volume
        far = 2 * np.linalg.norm(np.array(mask.shape) * size)
        own = piece * far, pieces.ravel()[crowd] * far
        seeded, sought = (np.column_stack([p, o]) for p, o in zip(points, own))
        labels.ravel()[crowd] = number[cKDTree(seeded).query(sought)[1]]
    return labels


def published(prediction, threshold=0.0, min_size=5, sigma=0.65):
    """Cells as the paper's Methods have them: Voronoi-Otsu on the *prediction*, spots and outlines blurred by
    ``sigma``, objects under ``min_size`` voxels removed.

    What lies at or under ``threshold`` is set to 0 before, as the plugin does. Distances are in voxels.
    """
    prediction = _three(prediction, "prediction")
    kept = np.where(prediction > threshold, prediction, 0)
    return filter_size(voronoi_otsu(kept, sigma, sigma), min_size)


def _maxima(smooth, mask):
    """One seed for each local maximum in the mask; equal neighbours are one maximum."""
    import cc3d

    peaks = np.zeros(smooth.shape, bool)
    peaks.ravel()[background.maxima(smooth, mask)] = True
    return cc3d.connected_components(peaks, connectivity=26).astype(np.int32)


def consecutive(labels, keep):
    """Keep the labels with ``keep[label]`` true, (labels + 1,) bool, numbered 1, 2, 3, ...: int32 of the same
    shape."""
    keep = np.array(keep, bool)
    keep[0] = False
    new = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return new[labels]


def filter_size(labels, min_size=0, max_size=None):
    """Drop objects under ``min_size`` or over ``max_size`` voxels, and number the rest anew."""
    sizes = np.bincount(np.ravel(labels))
    return consecutive(labels, (sizes > 0) & (sizes >= min_size) & (sizes <= (max_size or np.inf)))


def filter_slices(labels, first=None, last=None):
    """Keep objects whose centre lies in slices ``first`` to ``last`` (both counted in): artefacts often fill
    an end."""
    centre = _centres(labels)[:, 0]
    keep = np.isfinite(centre)
    keep &= centre >= (-np.inf if first is None else first)
    keep &= centre <= (np.inf if last is None else last)
    return consecutive(labels, keep)


def filter_contrast(labels, image, least=6.0, spot_sigma=1.0, voxel_size=None):
    """Keep objects with a spot that rises above its surroundings ``least`` times as far as noise does.

    What rises is the difference of two blurs of ``image``, by ``spot_sigma`` and by four times as much; its
    noise is that of `background.rise_noise`.
    """
    diameter, labels = 4 * spot_sigma / relative(voxel_size), np.asarray(labels)
    image = _three(image, "image").astype(np.float32)
    rise = background.rise(image, diameter)
    noise = background.rise_noise(rise, image, diameter)
    highest = ndi.maximum(rise, labels, np.arange(labels.max(initial=0) + 1))
    return consecutive(labels, np.asarray(highest) > least * noise)


def _centres(labels):
    numbers = np.arange(labels.max(initial=0) + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        counts = np.bincount(labels.ravel(), minlength=len(numbers)).astype(float)
        sums = [
            np.bincount(labels.ravel(), np.broadcast_to(axis, labels.shape).ravel(), len(numbers))
            for axis in np.ogrid[tuple(slice(s) for s in labels.shape)]
        ]
        return np.stack(sums, 1) / counts[:, None]


def fill(labels, radius=1, voxel_size=None):
    """Close hollow nuclei: each object is closed by ``radius`` voxels and its holes filled, without eating a
    neighbour."""
    size = relative(voxel_size)
    reach = [int(radius // s) for s in size]
    ball = (
        sum((g * s) ** 2 for g, s in zip(np.ogrid[tuple(slice(-r, r + 1) for r in reach)], size)) <= radius**2
    )
    filled = np.asarray(labels).astype(np.int32, copy=True)
    for number, box in enumerate(ndi.find_objects(filled), 1):
        if box is None:
            continue
        box = tuple(slice(max(0, b.start - r), b.stop + r) for b, r in zip(box, reach))
        own = np.pad(labels[box] == number, [(r, r) for r in reach])
        closed = ndi.binary_fill_holes(ndi.binary_closing(own, ball) | own)
        closed = closed[tuple(slice(r, r + s) for r, s in zip(reach, labels[box].shape))]
        view = filled[box]
        view[closed & (view == 0)] = number
    return filled


def solid(mask, radius=1, voxel_size=None):
    """Close each connected piece of a mask by ``radius`` voxels and fill its holes, (Z, Y, X) bool: rims
    become nuclei.

    Do this before touching cells are parted; a shell cut into pieces cannot be closed any more.
    """
    return fill(connected(mask, 0), radius, voxel_size) > 0


def table(labels, intensity=None, voxel_size=None):
    """One row a cell.

    Columns: label; z, y, x (centre, in voxels); volume_voxels; volume_um3; equivalent_diameter_um (of the
    ball with the same volume); sphericity = pi^(1/3) (6 V)^(2/3) / A (Wadell 1935), with V and A from the
    marching-cubes surface, at most 1, NaN where a cell has no surface; mean_intensity (NaN without
    ``intensity``). Without a voxel size, µm are voxels.
    """
    import pandas

    labels = _three(labels, "labels")
    size = spacing(voxel_size)
    if intensity is not None and np.shape(intensity) != labels.shape:
        raise UserError(
            f"the volume has shape {np.shape(intensity)}, its labels {labels.shape}: they must be the same"
        )
    if labels.dtype != np.int32:
        labels = labels.astype(np.int32)
    sums = _sums(labels, intensity)
    numbers = np.flatnonzero(sums[0])
    voxels, *centre, bright = sums[:, numbers]
    area, enclosed = (each[numbers] for each in surfaces(labels, size))
    with np.errstate(invalid="ignore", divide="ignore"):
        sphericity = np.minimum(np.pi ** (1 / 3) * (6 * enclosed) ** (2 / 3) / area, 1)
    volume = voxels * size.prod()
    columns = [
        numbers,
        *(place / voxels for place in centre),
        voxels,
        volume,
        np.cbrt(6 * volume / np.pi),
        np.where(area > 0, sphericity, np.nan),
        np.nan if intensity is None else bright / voxels,
    ]
    return pandas.DataFrame(dict(zip(COLUMNS, columns))).astype({"label": int, "volume_voxels": int})


def _sums(labels, intensity, planes=16):
    """Of each label the sums of 1, z, y, x and brightness, (5, labels + 1) float64: some planes at a time, so
    that the places of all voxels are never there at once."""
    sums = np.zeros((5, int(labels.max(initial=0)) + 1))
    for start in range(0, len(labels), planes):
        block = slice(start, start + planes)
        own = labels[block]
        inside = np.nonzero(own)
        own = own[inside]
        weights = [None, inside[0] + start, *inside[1:]]
        weights += [] if intensity is None else [intensity[block][inside]]
        for row, weight in zip(sums, weights):
            row += np.bincount(own, weight, len(row))
    return sums
