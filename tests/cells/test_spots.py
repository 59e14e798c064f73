"""Bright spots: which are believed, and the highest places of a volume."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from cellseg_nb.cells import background, spots


def test_few_bright_spots_make_the_others_doubtful_only_in_a_texture():
    strength = np.concatenate([[17.0, 16.5, 16.0, 15.5], np.linspace(14.0, 4.0, 96)])
    believed = [int((strength > spots.threshold(strength, dark)).sum()) for dark in np.array([[1.6], [9.0]])]
    # a threshold is rounded to tenths
    assert believed == pytest.approx([(strength > spots.ROSE).sum(), 4 * (1 + spots.DOUBTFUL)], abs=1)


def test_touching_spots_are_told_apart_at_less_than_their_width(monkeypatch):
    width, at = np.array([2.0, 7.0, 7.0]), np.indices((16, 80, 80))
    places = np.indices((2, 5, 5)).reshape(3, -1).T * [2.4, 1.0, 1.0] * width + [4, 14, 14]

    def found(seed):
        rng, volume = np.random.default_rng(seed), np.zeros(at.shape[1:])
        for place in places + rng.normal(0, 0.05, places.shape) * width:
            far = [(a - p) / w for a, p, w in zip(at, place, width)]
            volume += 50 * (np.sqrt(np.sum(np.square(far), axis=0)) < 0.5)
        volume = ndi.gaussian_filter(volume, (0.5, 1.5, 1.5)) + rng.normal(0, 2, volume.shape)
        return len(spots.find(volume.astype(np.float32), width)[0])

    narrow = sum(map(found, range(4)))
    monkeypatch.setattr(spots, "NARROW", 1.0)
    assert narrow > sum(map(found, range(4)))


@pytest.mark.parametrize("seed", range(4))
def test_peaks_are_the_highest_of_a_ball(seed):
    rng = np.random.default_rng(seed)
    volume = np.round(ndi.gaussian_filter(rng.normal(size=(22, 31, 27)), 1.2), 2)  # ties, too
    valid = rng.random(volume.shape) > 0.1
    for diameter in ((3.0, 5.0, 5.0), (9.0, 14.0, 12.5)):
        reach = [int(d / 2) for d in diameter]
        grid = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
        ball = sum((g / r) ** 2 for g, r in zip(grid, reach)) <= 1.01
        top = (ndi.maximum_filter(volume, footprint=ball) == volume) & (volume > 0) & valid
        places, heights = background.peaks(volume, diameter, valid)
        assert {*map(tuple, places)} == {*map(tuple, np.argwhere(top))}
        assert (np.diff(heights) <= 0).all() and (heights == volume[tuple(places.T)]).all()
