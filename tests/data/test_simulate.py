"""The simulator: exact truth, seeded, what each option does."""

import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cellseg_nb.data import bundled, simulate
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), cells=st.integers(0, 30), shape=st.tuples(*[st.integers(16, 40)] * 3))
def test_truth_is_consecutive_and_each_cell_one_piece(seed, cells, shape):
    from scipy import ndimage as ndi

    image, labels = simulate.volume(shape, cells, seed)
    assert image.shape == labels.shape == shape and image.dtype == np.uint16 and labels.dtype == np.int32
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1)) and labels.max() <= cells
    for number, box in enumerate(ndi.find_objects(labels), 1):
        assert ndi.label(labels[box] == number)[1] == 1


def test_seeded():
    a, b, c = (simulate.volume((24, 24, 24), 8, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(x, y) for x, y in zip(a, b)) and not np.array_equal(a[0], c[0])


def test_the_number_of_cells_asked_for():
    assert simulate.volume(seed=1)[1].max() == 80


def test_cells_are_bright_and_some_touch():
    from scipy import ndimage as ndi

    image, labels = simulate.volume(seed=0)
    assert image[labels > 0].mean() > 2 * image[labels == 0].mean()
    assert 0 < ndi.label(labels > 0, np.ones((3, 3, 3)))[1] < labels.max()


def test_blur_is_stronger_along_z():
    image, _ = simulate.volume((48, 48, 48), 20, 0, photons=1e6, camera=0, uneven=0)
    steps = [np.abs(np.diff(image.astype(float), axis=axis)).mean() for axis in range(3)]
    assert steps[0] < steps[1] and steps[0] < steps[2]


def test_uneven_illumination():
    flat, tilted = (simulate.volume((32, 32, 32), 0, 0, uneven=u)[0].astype(float) for u in (0, 0.8))
    assert tilted.std() > 1.5 * flat.std()


def test_anisotropic_voxels_flatten_the_cells():
    labels = simulate.volume((24, 64, 64), 20, 0, voxel_size=(3, 1, 1), radius=(6, 7))[1]
    z, y, x = (np.ptp(np.nonzero(labels == 1)[axis]) + 1 for axis in range(3))
    assert z * 2 < min(y, x)


def test_artefact_is_bright_late_and_no_cell():
    plain, labels = simulate.volume(seed=5)
    image, same = simulate.volume(seed=5, artefact=True)
    assert np.array_equal(labels, same)
    brighter = image.astype(float) - plain > 200
    assert brighter[:44].mean() < 0.001 and brighter[48:].mean() > 0.05
    assert (brighter & (labels > 0)).sum() < 0.02 * brighter.sum()


@pytest.mark.parametrize("shape", [(64, 64), (4, 64, 64)])
def test_wrong_shape(shape):
    with pytest.raises(UserError, match="three sides"):
        simulate.volume(shape)


def test_the_bundled_sample_is_what_its_readme_says():
    text = bundled.path("sample/README.md").read_text()
    call = re.search(r"simulate\.volume\((.*?)\)`", text).group(1)
    image, labels = eval(f"simulate.volume({call})", {"simulate": simulate})
    for name, array in (("image", image), ("labels", labels)):
        stored = (volumes.read if name == "image" else volumes.read_labels)(
            bundled.path(f"sample/sample_{name}.tif")
        )
        assert np.array_equal(stored[0], array) and stored[1] == (5, 5, 5)
    assert sum(p.stat().st_size for p in bundled.path("sample").iterdir()) < 1.5e6
