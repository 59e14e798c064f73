"""What light and tissue do to a volume: dark cells, vessels, decay with depth, an uneven background, a spoilt
scale, cells that are rare. As in `cellseg_nb.cells.faults`, each ``find_...`` returns a `Finding` or None.
"""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells import background
from cellseg_nb.cells.faults import Finding

TOP = 4.0  # the brightest voxel rises so many times as far as the 99.9th percentile: the scale is spoilt
DECAY = (
    2.0  # brightness falls to less than one part in so many: cells at the far end are lost to one threshold
)
UNEVEN = 0.35  # the background changes by so large a share of a cell's height
CUBE = 32  # side of a training cube
RARE = 2.0  # cells to a training cube; below it, cubes are drawn where cells may be


def find_dark(volume, valid, diameter):
    """Dark cells on a bright ground: spots fall below their surroundings further than they rise above
    them."""
    rising = background.rise(background.filled(volume, valid), diameter, valid)[valid]
    centre = np.median(rising)
    up, down = np.percentile(rising, 99.8) - centre, centre - np.percentile(rising, 0.2)
    if down < 2.5 * up:
        return None
    return Finding(
        "dark cells",
        f"spots are darker than their surroundings ({down / max(up, 1e-6):.1f} times as far as any are "
        "brighter): the volume is turned to its negative",
        "dark",
    )


def find_vessel(volume, valid, diameter):
    """Bright bodies far larger than a cell, twice as bright as what else is bright: vessels, fibres, edges,
    dirt."""
    import cc3d

    usual = background.middle(volume, valid)
    smooth = background.blur(np.where(valid, volume, usual), 0.7)
    _, heights = background.peaks(background.rise(smooth, diameter, valid), diameter, valid, 0)
    top = np.percentile(smooth[valid], 99.99) - usual
    noise = background.noise(volume, valid)
    if top < 10 * noise or len(heights) < 3:
        return None
    cell = np.prod(diameter) * np.pi / 6
    for share in (0.5, 0.35):
        parts = cc3d.connected_components((smooth > usual + share * top) & valid, connectivity=26)
        boxes = ndi.find_objects(parts)
        sizes = np.bincount(parts.ravel())
        long = [0] + [
            max((b.stop - b.start) / d for b, d in zip(box, diameter)) if box else 0 for box in boxes
        ]
        large = (sizes > 4 * cell) & (np.array(long) > 3.5)
        large[0] = False
        if not large.any():
            continue
        body = large[parts]
        near = ndi.binary_dilation(body, iterations=3)
        outside = valid & ~near
        rest = np.percentile(smooth[outside], 99.7) - usual if outside.any() else 0.0
        if np.median(smooth[body]) - usual > 2 * rest:
            steps = 3 if top < 10 * rest else 6  # the brighter, the further its glow reaches
            body = _grow(smooth, body, usual + 0.5 * rest, steps)
            return Finding(
                "bright bodies",
                f"{large.sum()} bright bodies are far larger than a cell and more than twice as "
                f"bright ({100 * body.mean():.1f} % of the volume, a vessel or an edge): left out",
                "vessel",
                body,
            )
    return None


def _grow(volume, body, least, steps):
    """Follow the slopes of a body outwards, a few voxels at most."""
    for _ in range(steps):
        body = body | (ndi.binary_dilation(body) & (volume > least))
    return ndi.binary_dilation(body)


def find_decay(volume, valid, diameter):
    """Cells dimmer and dimmer along one axis: a straight line through the logarithm of their heights."""
    from scipy.stats import spearmanr

    rising = background.rise(background.filled(volume, valid), diameter, valid)
    spread = background.spread(rising[valid])
    places, heights = background.peaks(rising, diameter, valid, 6 * spread)
    if len(places) < 15:
        return None
    best = None
    for axis in range(3):
        place, height = places[:, axis], np.log(heights)
        if np.ptp(place) == 0:  # all in one slice: there is no line
            continue
        slope, start = np.polyfit(place, height, 1)
        # by ranks: one stray peak at an edge does no harm
        explained = spearmanr(place, height).statistic ** 2
        ends = np.percentile(place, [2, 98])
        ratio = np.exp(abs(slope) * (ends[1] - ends[0]))
        if ratio > DECAY and explained > 0.5 and (best is None or ratio > best[0]):
            line = np.exp(start + slope * np.clip(np.arange(volume.shape[axis]), *ends))
            best = ratio, axis, line
    if best is None:
        return None
    ratio, axis, line = best
    return Finding(
        "decay",
        f"cells grow dimmer along {'ZYX'[axis]}, to {100 / ratio:.0f} %: evened out",
        "decay",
        curve=(line / line.max()).astype(np.float32),
        axis=axis,
    )


def find_uneven(volume, valid, diameter):
    """A background that changes across the volume by a good part of a cell's height."""
    field = background.level(volume, valid, background.step(volume.shape, diameter), rounds=2)
    flat = (volume - field)[valid]
    height = np.percentile(flat, 99.7) - np.median(flat)
    low, high = np.percentile(field[valid], [2, 98])
    if high - low < UNEVEN * height:
        return None
    return Finding(
        "uneven background",
        f"the background changes across the volume by {100 * (high - low) / height:.0f} % of a "
        "cell's height: flattened",
        "background",
        field=field,
    )


def find_top(volume, valid, diameter):
    """A few voxels so bright that all else would share a small part of the scale."""
    middle, high, top = (float(x) for x in np.percentile(volume[valid], [50, 99.9, 100]))
    if top - middle < TOP * (high - middle):
        return None
    limit = middle + 0.6 * TOP * (high - middle)
    where = valid & (volume > limit)
    return Finding(
        "bright voxels",
        f"{where.sum()} voxels are up to {(top - middle) / max(high - middle, 1e-9):.0f} times as bright "
        "as the brightest thousandth: the scale ends below them",
        "scale",
        where,
        curve=np.array([limit]),
    )


def find_rare(volume, valid, diameter):
    """So few cells that most training cubes would hold none; or nothing at all that rises above the noise."""
    rising = background.rise(volume, diameter, valid)
    noise = background.rise_noise(rising, volume, diameter, valid)
    where, _ = background.peaks(rising, diameter, valid, background.CLEAR * noise)
    if len(where) == 0:
        return Finding(
            "empty", "nothing rises clearly above the noise: there may be no cells in this volume", None
        )
    # 32 voxels, or four cells where the volume is resampled, so that cells are 8 voxels wide
    if len(where) * np.prod(np.maximum(CUBE, 4 * np.asarray(diameter))) > RARE * valid.sum():
        return None
    spots = np.zeros(volume.shape, bool)
    spots[tuple(where.T)] = True
    return Finding(
        "few cells",
        f"about {len(where)} places rise clearly above the noise: training cubes are drawn around them",
        "sampling",
        spots,
    )
