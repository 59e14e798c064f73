"""The network that has seen simulated tissues only: its grid, what it is shown, its weights, its cells."""

import numpy as np
import pytest

from cellseg_nb import methods
from cellseg_nb.cells import prior
from cellseg_nb.data import simulate, tissues
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import centres, metrics


@pytest.fixture(scope="module")
def anisotropic():
    return simulate.volume((30, 72, 72), 40, seed=3, radius=(5, 6), voxel_size=(2.5, 1, 1), touching=0.4)


def test_its_grid_has_six_voxels_a_cell_and_is_never_much_finer_than_the_file():
    assert np.allclose(prior.zoom((6, 12, 3)), (1, 0.5, 2)) and np.allclose(prior.zoom((2, 2, 2)), 2)
    shown = prior.view(np.random.default_rng(0).normal(size=(20, 40, 40)), (4, 12, 12))
    assert shown.shape == (2, 30, 20, 20) and np.isfinite(shown).all()


def test_a_constant_volume_holds_no_cell():
    method = methods.get("simulated")
    assert not method.segment(np.full((16, 32, 32), 7.0)).any()


def test_cells_of_a_volume_it_has_not_seen(anisotropic):
    image, labels = anisotropic
    method = methods.get("simulated", voxel_size=(2.5, 1, 1))
    assert method.fit([image]) == []
    maps = method.maps(image, progress=False)
    found = method.segment(image, maps)
    assert maps.shape == (2, *image.shape) and found.dtype == np.int32
    assert metrics.match(labels, found, (0.5,)).f1[0] > 0.85
    assert np.array_equal(found, method.segment(image))
    brighter = method.segment(3 * image.astype(np.float32) + 500)
    assert abs(int(brighter.max()) - int(found.max())) <= 1


def test_with_labels_it_learns_on_and_can_be_kept(anisotropic, tmp_path):
    image, labels = anisotropic
    options = dict(voxel_size=(2.5, 1, 1), cube=24, batch=1, steps=1, epochs=1)
    method = methods.get("simulated", **options)
    before = method.predict(image, progress=False)
    history = method.fit([image], [labels], progress=False)
    assert len(history) == 1 and 9 < method.diameter < 12
    assert not np.array_equal(before, method.predict(image, progress=False))
    method.tune([image], [labels], progress=False)
    method.save(tmp_path)
    again = methods.method_class("simulated").load(tmp_path)
    assert again.diameter == method.diameter and again.chosen == method.chosen
    assert np.array_equal(again.segment(image), method.segment(image))


def test_damaged_weights_are_said(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="missing or damaged"):
        prior.read(tmp_path / "bad.npz")


@pytest.mark.parametrize("layout", tissues.LAYOUTS)
def test_tissues_are_drawn_by_their_seed(layout):
    one, two, other = (tissues.draw(seed, layout=layout) for seed in (1, 1, 2))
    assert np.array_equal(one.image, two.image) and np.array_equal(one.labels, two.labels)
    assert one.image.shape == one.labels.shape and min(one.image.shape) >= tissues.THICK - 1
    assert one.image.shape != other.image.shape or not np.array_equal(one.image, other.image)


def test_the_truth_of_a_tissue_is_bright():
    tissue = tissues.draw(4, layout="clump")
    inside = tissue.labels > 0
    assert inside.any() and tissue.image[inside].mean() > tissue.image[~inside].mean()
    near = centres.match_centres(tissue.labels, tissue.labels, 1 / tissue.width, 0.5)
    assert near["f1"] == 1
