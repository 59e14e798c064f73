"""Supervised training: losses, augmentation, balanced cubes, exact resume, best and last weights, bad
input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import ndimage as ndi

from cellseg_nb.cells import inference, instances
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.learning import augmentation, loop, pairs
from cellseg_nb.learning.validation import BEST
from cellseg_nb.methods import tuning
from cellseg_nb.methods.otsu import OtsuMethod
from cellseg_nb.methods.segresnet import SegResNetMethod
from cellseg_nb.methods.swinunetr import SwinUNETRMethod
from cellseg_nb.networks import losses
from cellseg_nb.plots import supervised

TINY = dict(cube=16, batch=2, steps=1, epochs=3, device="cpu", blocks_down=(1, 1), blocks_up=(1,))


@pytest.fixture(scope="module")
def pair():
    return simulate.volume((24, 32, 32), 12, seed=1)


def fit(pair, folder=None, callbacks=(), **changes):
    method = SegResNetMethod(**{**TINY, **changes})
    history = method.fit([pair[0]], [pair[1]], folder=folder, callbacks=callbacks, progress=False)
    return method, history


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def numbers(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


# ---------------------------------------------------------------- losses


@pytest.mark.parametrize("name", losses.WORDS)
def test_every_loss_falls_when_the_answer_gets_better(name):
    target = torch.zeros(2, 1, 8, 8, 8)
    target[:, :, 2:5, 2:5, 2:5] = 1
    right = losses.loss(name)(20 * (target - 0.5), target)
    unsure = losses.loss(name)(0 * target, target)
    wrong = losses.loss(name)(-20 * (target - 0.5), target)
    assert 0 <= right < 0.01 < unsure < wrong


@pytest.mark.parametrize("name", losses.WORDS)
def test_voxels_that_are_not_valid_do_not_count(name):
    torch.manual_seed(0)
    found, target = torch.randn(2, 1, 8, 8, 8, requires_grad=True), (torch.rand(2, 1, 8, 8, 8) > 0.7).float()
    valid = torch.ones_like(target)
    valid[:, :, :4] = 0
    other = torch.where(valid > 0, target, 1 - target)
    value = losses.CellLoss(name).of(found, target, valid)
    assert torch.equal(value, losses.CellLoss(name).of(found, other, valid))
    value.backward()
    assert (found.grad[:, :, :4] == 0).all() and (found.grad[:, :, 4:] != 0).any()


def test_a_cube_without_cells_teaches_generalized_dice_nothing():
    """Why no batch may be empty: the class weight of an empty class is 0."""
    found = torch.randn(2, 1, 8, 8, 8, requires_grad=True)
    losses.loss("generalized_dice")(found, torch.zeros(2, 1, 8, 8, 8)).backward()
    assert (found.grad == 0).all()


def test_generalized_dice_of_one_class_is_dice():
    torch.manual_seed(0)
    found, target = torch.randn(2, 1, 8, 8, 8), (torch.rand(2, 1, 8, 8, 8) > 0.7).float()
    assert torch.allclose(
        losses.loss("generalized_dice")(found, target), losses.loss("dice")(found, target), atol=1e-3
    )


def test_unknown_loss():
    with pytest.raises(UserError, match="loss must be one of 'dice', 'generalized_dice'"):
        SegResNetMethod(loss="mse")


# ---------------------------------------------------------------- augmentation


def tensor(volume):
    return torch.from_numpy(np.ascontiguousarray(volume[:16, :16, :16], dtype=np.float32))[None]


@pytest.mark.parametrize("step", augmentation.STEPS)
def test_augmentation_keeps_shape_and_a_binary_target(pair, step):
    image, target = tensor(augmentation.prepare(pair[0])), tensor(pair[1] > 0)
    transform = augmentation.pipeline((step,))
    changed = [
        augmentation.augment(transform, image, target, torch.ones_like(target), seed) for seed in range(6)
    ]
    for x, y, valid in changed:
        assert x.shape == y.shape == valid.shape == (1, 16, 16, 16) and x.dtype == y.dtype == torch.float32
        assert set(y.unique().tolist()) <= {0.0, 1.0} and torch.isfinite(x).all()
    assert any(not torch.equal(x, image) for x, _, _ in changed)
    again = augmentation.augment(augmentation.pipeline((step,)), image, target, torch.ones_like(target), 3)
    assert all(torch.equal(a, b) for a, b in zip(again, changed[3]))


@pytest.mark.parametrize("step", ["flips", "rotations", "affine", "elastic"])
def test_the_target_follows_the_image(pair, step):
    """Give the target as the image: after any change of shape the two must still agree."""
    target = tensor(pair[1] > 0)
    transform = augmentation.pipeline((step,))
    for seed in range(6):
        x, y, _ = augmentation.augment(transform, target, target, torch.ones_like(target), seed)
        assert metrics.dice(x[0].numpy() > 0.5, y[0].numpy()) > 0.9


def test_prepare_clips_to_percentiles():
    volume = np.arange(1000.0).reshape(10, 10, 10)
    scaled = augmentation.prepare(volume)
    assert scaled.dtype == np.float32 and scaled.min() == 0 and scaled.max() == 1
    assert (scaled == 0).mean() == pytest.approx(0.01, abs=0.002)
    assert (scaled == 1).mean() == pytest.approx(0.01, abs=0.002)
    assert (augmentation.prepare(np.full((4, 4, 4), 5)) == 0).all()


def sparse():
    """Twelve bright spots of about 15 voxels in noise on a slope, 0.6 % of the volume, and their labels."""
    rng = np.random.default_rng(0)
    labels = np.zeros((20, 44, 44), np.int32)
    for number, place in enumerate(np.ndindex(2, 2, 3), 1):
        z, y, x = 5 + 9 * place[0], 10 + 22 * place[1], 8 + 14 * place[2]
        labels[z : z + 2, y : y + 3, x : x + 3] = number
    slope = np.linspace(100, 120, 44)[None, None]
    image = (
        ndi.gaussian_filter(120.0 * (labels > 0), (0.5, 0.8, 0.8)) + slope + rng.normal(0, 2, labels.shape)
    )
    return image.astype(np.float32), labels


def test_contrast_keeps_few_bright_cells_apart_from_what_is_less_bright():
    image, labels = sparse()
    cell = labels > 0
    assert (augmentation.prepare(image)[cell] > 0.99).any()  # clipped
    found = augmentation.prepare(image, "contrast")
    assert found.dtype == np.float32 and found.shape == image.shape
    assert (
        found[cell].mean() > 0.4 and np.percentile(found[~ndi.binary_dilation(cell, iterations=3)], 99) < 0.25
    )
    assert np.abs(np.median(found, (0, 1))).max() < 0.15  # no slope is left
    assert np.allclose(found, augmentation.prepare(7 * image + 300, "contrast"), atol=1e-3)
    assert (augmentation.prepare(np.full((3, 1, 2), 5), "contrast") == 0).all()


def test_appearance_changes_what_is_seen_and_no_label(pair):
    image, target = tensor(augmentation.prepare(pair[0])), tensor(pair[1] > 0)
    transform = augmentation.pipeline(augmentation.MORE)
    changed = [augmentation.augment(transform, image, target, target, seed) for seed in range(6)]
    assert any(not torch.equal(x, image) for x, _, _ in changed)
    assert all(torch.equal(y, target) and torch.isfinite(x).all() for x, y, _ in changed)


def test_preview_is_a_figure(pair):
    figure = supervised.preview(*pair, cube=(16, 16, 16))
    assert [ax.get_title() for ax in figure.axes] == ["as it is", *augmentation.STEPS, "all together"]


# ---------------------------------------------------------------- cubes


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 4))
def test_no_batch_is_empty_however_sparse_the_cells(seed, batch):
    image, labels = np.zeros((24, 24, 24), np.float32), np.zeros((24, 24, 24), np.int32)
    labels[seed % 23, (seed // 23) % 24, 5] = image[0, 0, 0] = 1
    cubes = pairs.Cubes(
        [image], [labels], (8, 8, 8), batch, 2, transform=augmentation.pipeline(("flips", "affine"))
    )
    for image, target, valid in cubes(0, np.random.default_rng(seed)):
        assert image.shape == (batch, 1, 8, 8, 8) and (target * valid).sum() > 0


def test_same_rng_same_batches(pair):
    cubes = pairs.Cubes([pair[0]], [pair[1]], (16, 16, 16), 2, 2, transform=augmentation.pipeline())
    first, second = (
        [part for batch in cubes(0, np.random.default_rng(5)) for part in batch] for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second))


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(*[st.integers(8, 40)] * 3), share=st.floats(0.05, 0.9), seed=st.integers(0, 99))
def test_validation_cubes_do_not_overlap_and_are_inside(shape, share, seed):
    held = pairs.split([shape, shape], (8, 8, 8), share, seed)
    whole = 2 * np.prod([side // 8 for side in shape])
    assert len(held) == min(whole - 1, max(1, round(whole * share)))
    counted = np.zeros((2, *shape), int)
    for number, box in held:
        counted[number][box] += 1
    assert counted.max() == 1 and counted.sum() == len(held) * 8**3


def test_validation_labels_are_never_learned_from(pair):
    image, labels = pair
    held = pairs.split([image.shape], (8, 8, 8), 0.3, 0)
    marked = labels.copy()
    for _, box in held:
        marked[box] = 0
    for a, b in zip(
        *[
            pairs.Cubes([image], [each], (8, 8, 8), 2, 3, held)(0, np.random.default_rng(0))
            for each in (labels, marked)
        ]
    ):
        assert torch.equal(a[1] * a[2], b[1] * b[2])


def test_one_volume_with_room_for_one_cube_has_no_validation(pair):
    image, labels = pair[0][:16, :16, :16], pair[1][:16, :16, :16]
    method, history = fit((image, np.maximum(labels, np.pad([[[3]]], ((8, 7),) * 3))))
    assert "val_dice" not in history[0] and same(method.best, method.last)


# ---------------------------------------------------------------- cores


def test_cores_of_touching_cells_do_not_touch():
    labels = np.zeros((16, 16, 24), np.int32)
    labels[4:12, 4:12, 4:12], labels[4:12, 4:12, 12:20] = 1, 7
    cells, cores = pairs.targets(labels, cores=True)
    assert np.array_equal(cells, labels > 0) and (cells | ~cores).all()
    assert instances.connected(cells).max() == 1 and instances.connected(cores).max() == 2
    # one id, one core
    assert instances.connected(pairs.targets(np.minimum(labels, 1), cores=True)[1]).max() == 1


def test_a_core_is_there_in_cells_of_one_voxel_and_cells_cut_by_the_border():
    labels = np.zeros((8, 8, 8), np.int32)
    labels[0, 0, 0], labels[3:, 3:, 3:] = 1, 2
    cells, cores = pairs.targets(labels, cores=True)
    assert cores[0, 0, 0] and cores[-1, -1, -1] and not cores[3, 3, 3]
    assert pairs.targets(np.ones((4, 4, 4), np.int32), cores=True).all()


def test_a_cell_with_a_waist_has_one_core_and_each_piece_of_a_mask_its_own():
    labels = np.zeros((12, 12, 40), np.int32)
    labels[2:10, 2:10, 2:11] = labels[3:9, 3:9, 13:21] = labels[5:7, 5:7, 11:13] = 3
    assert instances.connected(pairs.targets(labels, cores=True)[1]).max() == 1
    labels[2:10, 2:10, 28:36] = 3  # the same number elsewhere, as in a mask
    assert instances.connected(pairs.targets(labels, cores=True)[1]).max() == 2


def test_cores_are_measured_in_micrometres():
    """Of a ball in flat voxels the core is a ball of half its radius, not a disc."""
    z, y, x = np.ogrid[-10:11, -20:21, -20:21]
    ball = ((2 * z) ** 2 + y**2 + x**2 <= 16**2).astype(np.int32)
    core = pairs.targets(ball, cores=True, voxel_size=(2.0, 1.0, 1.0))[1]
    extents = [np.ptp(np.flatnonzero(core.any(axis=tuple({0, 1, 2} - {axis})))) for axis in range(3)]
    assert abs(2 * extents[0] - extents[1]) <= 2 and extents[1] == extents[2] and 14 <= extents[1] <= 18


def test_cells_from_cores():
    cells, cores = np.zeros((12, 12, 30), np.float32), np.zeros((12, 12, 30), np.float32)
    cells[2:10, 2:10, 2:18] = cells[2:10, 2:10, 22:28] = (
        1  # two cells that touch, and something without a core
    )
    cores[4:8, 4:8, 4:8] = cores[4:8, 4:8, 12:16] = 0.9
    found = tuning.from_cores(cells, cores, 0.5, 0.5, 0.0, 5)
    assert found.max() == 2 and found.dtype == np.int32 and not found[:, :, 20:].any()
    assert np.array_equal(found > 0, (cells > 0) & (np.arange(30) < 20))
    assert (found[:, :, :10] != 2).all() and (found[:, :, 10:] != 1).all()
    assert tuning.from_cores(cells, 0 * cores, 0.5, 0.5, 1.0, 5).max() == 0


def test_cores_joined_by_a_bridge_are_parted_and_dim_ones_stay():
    """No single threshold tells these three cells apart: the bridge is higher than the dim core."""
    cells, cores = np.zeros((12, 12, 44), np.float32), np.zeros((12, 12, 44), np.float32)
    cells[2:10, 2:10, 2:18] = cells[2:10, 2:10, 24:32] = 1
    cores[4:8, 4:8, 4:8] = cores[4:8, 4:8, 12:16] = 0.97
    cores[5:7, 5:7, 8:12] = 0.85  # the bridge
    cores[4:8, 4:8, 26:30] = 0.6
    found = tuning.from_cores(cells, cores, 0.5, 0.5, 0.0, 5)
    assert found.max() == 3 and np.array_equal(found > 0, cells > 0)
    assert found[5, 5, 6] != found[5, 5, 13] and len(np.unique(found[2:10, 2:10, 2:9])) == 1
    assert tuning.from_cores(cells, cores, 0.5, 0.5, 0.0, 5, apart=False).max() == 2
    # a speck that shines is no cell of its own
    cores[4:8, 4:8, 12:16], cores[4, 4, 12], cores[4:8, 4:8, 4:8] = 0.85, 0.97, 0.97
    assert tuning.from_cores(cells, cores, 0.5, 0.5, 0.0, 5).max() == 2
    # a dip is enough where both sides are large
    cores[4:8, 4:8, 26:30] = 0.97
    cores[4:8, 4:8, 27:29] = 0.92
    assert tuning.from_cores(cells, cores, 0.5, 0.5, 0.0, 5).max() == 3


def test_specks_beside_small_cores_are_no_parts():
    """Two specks too small for a number are not the two parts of the background."""
    cores = np.zeros((16, 16, 16), np.float32)
    cores[3:5, 3:6, 3:6] = cores[11:13, 11:14, 11:14] = 0.9
    cores[3, 13, 12:14] = cores[13, 3, 3:5] = 0.97
    found = tuning.from_cores(cores, cores, 0.5, 0.5, 0.0, 0)
    assert np.bincount(found.ravel()).tolist() == [4096 - 36, 18, 18]


def two_nuclei():
    """Two touching balls of radius 8 with a notch between them; each has two bright speckles. Image and
    labels."""
    z, y, x = np.ogrid[:24, :24, :44]
    labels = np.zeros((24, 24, 44), np.int32)
    for number, middle in ((1, 14), (2, 29)):
        labels[((z - 12) ** 2 + (y - 12) ** 2 + (x - middle) ** 2 <= 64) & (labels == 0)] = number
    image = (labels > 0).astype(np.float32)
    for middle in (14, 29):
        image[12, 8, middle] = image[12, 16, middle] = 40
    return ndi.gaussian_filter(image, 1.2), labels


def test_depth_keeps_speckled_nuclei_whole_and_parts_them_in_the_notch():
    image, labels = two_nuclei()
    mask = (labels > 0).astype(np.float32)
    assert tuning.voronoi(mask, image, 0.5, 2.0, 0, 5).max() == 4  # by brightness alone, a cell a speckle
    found = tuning.from_depth(mask, image, 0.5, 2.0, 5)
    assert found.dtype == np.int32 and np.array_equal(found > 0, labels > 0)
    assert found.max() == 2 and metrics.match(labels, found, (0.9,)).f1[0] == 1
    # brightness is scaled, and smoothing is in voxels of the finest axis
    assert np.array_equal(found, tuning.from_depth(mask, 7 * image + 3, 0.5, 2.0, 5))
    thin = tuning.from_depth(mask[::2], image[::2], 0.5, 2.0, 5, (2, 1, 1))
    assert metrics.match(labels[::2], thin, (0.9,)).f1[0] == 1
    assert tuning.from_depth(mask, image, 0.5, 2.0, 10**4).max() == 0
    assert tuning.from_depth(0 * mask, image, 0.5, 2.0, 5).max() == 0


def test_auto_separates_as_notebook_00_does():
    """By hills of brightness, cells eight blurs wide, where the network has said cell."""
    image, labels = two_nuclei()
    method = SegResNetMethod(**TINY, spots="auto", spot_sigma=2.0)
    maps = (labels > 0).astype(np.float32)
    found = method.segment(ndi.gaussian_filter(image, 2), maps)
    assert found.max() == 2 and metrics.match(labels, found, (0.5,)).f1[0] == 1
    assert method.segment(ndi.gaussian_filter(image, 2), maps * (np.arange(44) < 18)).max() == 1
    flat = method.segment(ndi.gaussian_filter(image, 2)[::2], maps[::2], (2.0, 1.0, 1.0))
    assert metrics.match(labels[::2], flat, (0.5,)).f1[0] == 1
    assert method.segment(image, 0 * maps).max() == 0


def test_pieces_for_cells_of_a_few_voxels():
    """Chosen by centres, as IoU is unfair to them; two that touch are told apart by a higher probability."""
    image, labels = sparse()
    labels[labels == 2] = 0
    labels[5:7, 10:13, 11:14] = 2  # beside cell 1
    size = (6.0, 1.6, 1.6)
    assert tuning.near([labels], size) == 6 and tuning.near([labels]) is None
    method = SegResNetMethod(**TINY, voxel_size=size)
    maps = np.where(labels > 0, 0.95, 0).astype(np.float32)
    maps[labels > 0] -= 0.3 * (ndi.binary_dilation(labels == 2) & (labels == 1))[labels > 0]
    method.maps = lambda volume, **_: maps[None]
    method.tune([image], [labels], progress=False)
    assert "pieces" in set(method.spots_tried.spots) and method.spots_tried.f1.max() == 1
    method.set(spots="pieces", spot_sigma=0.0, threshold=0.5, core_threshold=0.5)
    assert method.segment(image).max() == 11
    method.set(core_threshold=0.8)
    assert method.segment(image).max() == 12
    assert tuning.centres_f1([labels], [method.segment(image)], 5, size, 6.0) == 1


def test_otsu_is_tuned_by_the_same_rule():
    image, labels = sparse()
    size = (6.0, 1.6, 1.6)
    method = OtsuMethod(voxel_size=size)
    best = method.tune([image], [labels], progress=False).f1.max()
    assert best == tuning.centres_f1([labels], [method.segment(image)], 0, size, tuning.near([labels], size))
    assert best != metrics.match(labels, method.segment(image), (0.5,)).f1[0]


def test_flips_are_the_mean_of_mirror_images(pair):
    method, _ = fit(pair, epochs=1, flips=True)
    seen = augmentation.prepare(pair[0])
    step = lambda x: torch.sigmoid(losses.logits(method.model, x))  # noqa: E731
    plain = [
        np.flip(inference.predict(step, np.flip(seen, axes), progress=False), [axis + 1 for axis in axes])
        for axes in ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))
    ]
    assert np.allclose(method.maps(pair[0]), np.mean(plain, 0), atol=1e-6)


def test_depth_survives_saving(pair, tmp_path):
    method, _ = fit(pair, epochs=1, spots="depth", spot_sigma=1.5)
    method.threshold = float(np.median(method.predict(pair[0])))
    found = method.segment(pair[0])
    assert found.max() > 0 and np.array_equal(found, method.segment(pair[0], method.predict(pair[0])))
    method.save(tmp_path)
    loaded = SegResNetMethod.load(tmp_path)
    assert loaded.spots == "depth"
    loaded.threshold = method.threshold
    assert np.array_equal(found, loaded.segment(pair[0]))


def test_tune_drops_crumbs_when_that_is_better(pair):
    """Objects far smaller than the cells go, if that scores better on the training volumes; else min_size
    stays."""
    image, labels = pair
    method = SegResNetMethod(**TINY)
    method.maps = lambda volume, **_: np.asarray(labels > 0, np.float32)[None]
    method.tune([image], [labels])
    whole = method.min_size
    crumbs = np.zeros(labels.shape, bool)
    crumbs[::6, ::6, ::6] = True
    crumbs &= ~ndi.binary_dilation(labels > 0, iterations=3)
    crumbs = ndi.binary_dilation(crumbs)  # seven voxels each: more than the five that always go
    method = SegResNetMethod(**TINY)
    method.maps = lambda volume, **_: np.asarray((labels > 0) | crumbs, np.float32)[None]
    method.tune([image], [labels])
    assert whole == 5 < method.min_size <= 0.25 * np.pi / 6 * tuning.diameter([labels]) ** 3 + 1
    assert set(method.spots_tried.min_size) >= {5, method.min_size}


def test_training_with_cores(pair, tmp_path):
    method, history = fit(pair, tmp_path, cores=True)
    assert method.maps(pair[0]).shape == (2, *pair[0].shape)
    assert method.spots == "cores"
    method.tune([pair[0]], [pair[1]])
    assert set(method.spots_tried.spots) == {"volume", "probability", "depth", "cores"}
    assert method.core_threshold == 0.5 or method.spots == "cores"  # a losing candidate leaves nothing behind
    method.spots = "cores"
    whole = method.segment(pair[0])
    assert np.array_equal(whole, method.segment(pair[0], method.predict(pair[0])))
    method.save(tmp_path)
    assert np.array_equal(whole, SegResNetMethod.load(tmp_path).segment(pair[0]))
    with pytest.raises(UserError, match="misshapen"):
        SegResNetMethod(**TINY, start=tmp_path)


# ---------------------------------------------------------------- training


def test_history_has_training_and_validation(pair):
    _, history = fit(pair)
    assert len(history) == 3
    assert all(0 <= row["val_dice"] <= 1 and row["val_loss"] > 0 and row["loss"] > 0 for row in history)


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_stopped_run_ends_with_the_same_bits(pair, tmp_path, average):
    class PowerCut(Exception):
        pass

    def cut(history, model):
        if len(history) == 2:
            raise PowerCut

    options = dict(average=average, dropout_prob=0.2)
    with pytest.raises(PowerCut):
        fit(pair, tmp_path, [cut], **options)
    resumed, history = fit(pair, tmp_path, **options)
    whole, expected = fit(pair, **options)
    assert numbers(history) == numbers(expected)
    assert same(resumed.last, whole.last) and same(resumed.best, whole.best)
    # finished: nothing is trained, best and last come from the files
    again, _ = fit(pair, tmp_path, **options)
    assert same(again.last, whole.last) and same(again.best, whole.best)


def test_a_checkpoint_of_other_labels_or_settings_is_refused(pair, tmp_path):
    fit(pair, tmp_path, epochs=1)
    with pytest.raises(UserError, match="another run.*data was"):
        fit((pair[0], np.where(pair[1] == 1, 0, pair[1])), tmp_path, epochs=1)
    with pytest.raises(UserError, match="another run.*loss was 'generalized_dice', now 'focal'"):
        fit(pair, tmp_path, epochs=1, loss="focal")


def test_best_and_last_weights(pair, tmp_path):
    method, history = fit(pair, tmp_path, epochs=5, learning_rate=0.02)
    best = int(np.argmax([row["val_dice"] for row in history])) + 1
    assert loop.read_saved(tmp_path, BEST, "best")["epoch"] == best
    method.use("last")
    assert same(method.model.state_dict(), method.last)
    method.use("best")
    assert same(method.model.state_dict(), method.best)
    with pytest.raises(UserError, match="no 'best' weights"):
        SegResNetMethod(**TINY).use("best")


def test_save_load_and_start(pair, tmp_path):
    method, _ = fit(pair)
    method.tune([pair[0]], [pair[1]])
    method.save(tmp_path)
    loaded = SegResNetMethod.load(tmp_path)
    assert (
        np.array_equal(loaded.segment(pair[0]), method.segment(pair[0]))
        and loaded.threshold == method.threshold
    )
    tuned = SegResNetMethod(**{**TINY, "blocks_down": (1, 2), "start": tmp_path})  # the file's widths count
    assert same(tuned.model.state_dict(), loaded.model.state_dict())
    tuned.fit([pair[0]], [pair[1]], progress=False)
    assert not same(tuned.last, loaded.model.state_dict())


def test_start_from_weights_with_an_autoencoder(tmp_path):
    """As the released SegResNet weights are: a SegResNetVAE, whose extra branch predictions do without."""
    from monai.networks.nets import SegResNetVAE

    torch.manual_seed(1)
    released = SegResNetVAE(
        input_image_size=(32, 32, 32), init_filters=8, in_channels=1, out_channels=1
    ).eval()
    torch.save(released.state_dict(), tmp_path / "released.pth")
    started = SegResNetMethod(start=tmp_path / "released.pth", device="cpu")
    x = torch.rand(1, 1, 32, 32, 32)
    with torch.inference_mode():
        assert torch.equal(started.model.eval()(x), released(x)[0])


def test_bad_weights(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        SegResNetMethod(**TINY, start=tmp_path / "none.pt")
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match="damaged"):
        SegResNetMethod(**TINY, start=tmp_path / "broken.pt")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="does not fit this network: missing"):
        SegResNetMethod(**TINY, start=tmp_path / "other.pt")
    SegResNetMethod(**TINY).save(tmp_path)
    with pytest.raises(UserError, match="weights of 'segresnet', not of 'swinunetr'"):
        SwinUNETRMethod.load(tmp_path / "segresnet.pt")


@pytest.mark.parametrize("cube", [32, (32, 32, 32), 48, (64, 32)])
def test_cubes_that_swinunetr_does_not_accept(cube):
    with pytest.raises(UserError, match="swinunetr"):
        SwinUNETRMethod(cube=cube)


@pytest.mark.slow
def test_swinunetr_trains_and_predicts_any_shape():
    image, labels = simulate.volume((64, 32, 36), 20, seed=2)
    method = SwinUNETRMethod(batch=1, steps=1, epochs=1, device="cpu")
    method.fit([image], [labels], progress=False)
    for shape in ((9, 20, 30), (40, 30, 20), (32, 32, 32)):
        assert method.predict(np.random.default_rng(0).random(shape), progress=False).shape == shape


# ---------------------------------------------------------------- bad input


def bad(pair, match, change_labels=None, change_image=None, **options):
    image, labels = (
        change(part) if change else part for change, part in zip((change_image, change_labels), pair)
    )
    with pytest.raises(UserError, match=match) as error:
        fit((image, labels), **options)
    assert "\n" not in str(error.value)


def test_bad_pairs_are_told_in_one_line(pair):
    bad(pair, "labels of volume 1 have shape .24, 32, 31., the volume .24, 32, 32.", lambda x: x[:, :, 1:])
    bad(pair, "hold float32 values", lambda x: x.astype(np.float32))
    bad(pair, "hold bool values", lambda x: x > 0)
    bad(pair, "from -1 to", lambda x: x - 1)
    bad(pair, "only background", lambda x: x * 0)
    bad(pair, "NaN", change_image=lambda x: np.where(x == x.max(), np.nan, x))
    bad(pair, "three dimensions", change_image=lambda x: x[0], change_labels=lambda x: x[0])
    bad(pair, "smaller than one training cube", cube=40)


def test_missing_labels(pair):
    method = SegResNetMethod(**TINY)
    with pytest.raises(UserError, match="need labels.*wnet3d"):
        method.fit([pair[0]])
    with pytest.raises(UserError, match="2 volumes and 1 label volumes"):
        method.fit([pair[0]] * 2, [pair[1]])


def test_a_volume_of_only_background_is_fine_beside_others(pair):
    method = SegResNetMethod(**TINY)
    history = method.fit([pair[0], pair[0]], [pair[1], pair[1] * 0], progress=False)
    assert len(history) == 3


def test_a_single_volume_needs_no_list(pair):
    method = SegResNetMethod(**{**TINY, "epochs": 1})
    assert len(method.fit(*pair, progress=False)) == 1


def test_more_cells_than_16_bits_hold():
    """70,000 cells of one voxel: checked, counted and matched without an overflow."""
    labels = np.zeros((84, 84, 84), np.int32)
    labels[::2, ::2, ::2] = np.arange(1, 42**3 + 1).reshape(42, 42, 42)
    assert labels.max() == 74088
    _, (checked,) = pairs.check([labels.astype(np.float32)], [labels])
    assert checked.max() == 74088 and checked.dtype == np.int32
    assert pairs.check([labels], [labels.astype(np.uint32)])[1][0].dtype == np.int32
    row = metrics.match(labels, labels, (0.5,)).iloc[0]
    assert row.tp == 74088 and row.f1 == 1
    next(pairs.Cubes([labels], [labels], (16, 16, 16), 1, 1)(0, np.random.default_rng(0)))


def test_touching_cells_with_one_id_are_one_cell(pair):
    """Defined: the ids decide. Two cells that share one count as one cell, and splitting them is an error in
    the scores."""
    image, labels = pair
    apart = np.zeros((16, 16, 16), np.int32)
    apart[4:8, 4:8, 4:8], apart[4:8, 4:8, 8:12] = 1, 2
    joined = np.minimum(apart, 1)
    assert len(np.unique(joined)) - 1 == 1
    row = metrics.match(joined, apart, (0.6,)).iloc[0]
    assert (row.n_true, row.n_pred, row.tp, row.fp, row.fn) == (1, 2, 0, 2, 1)
    # the network learns cell or not: the same from one id as from many
    one, _ = fit((image, np.minimum(labels, 1)))
    many, _ = fit(pair)
    assert same(one.last, many.last)


def test_no_cell_predicted_is_a_result(pair):
    method, _ = fit(pair, epochs=1)
    found = method.segment(pair[0], np.zeros(pair[0].shape, np.float32))
    assert found.dtype == np.int32 and found.max() == 0
    row = metrics.match(pair[1], found, (0.5,)).iloc[0]
    assert (row.tp, row.fp, row.f1, row.precision, row.recall, row.panoptic_quality) == (0, 0, 0, 0, 0, 0)
    assert metrics.dice(pair[1], found) == 0 and metrics.dice(found, found) == 1


def test_tune_on_background_only_is_refused(pair):
    with pytest.raises(UserError, match="only background"):
        SegResNetMethod(**TINY).tune([pair[0]], [pair[1] * 0])


def test_a_cell_is_as_wide_as_it_is_whatever_the_voxels(pair):
    """A ball of 12 µm is 12 voxels of the finest axis wide, at 5:1 as at 1:1."""
    ball = np.linalg.norm(np.mgrid[-8:9, -8:9, -8:9], axis=0) <= 6
    round_one = tuning.diameter([ball.astype(np.int32)])
    flat = np.linalg.norm(np.mgrid[-2:3, -8:9, -8:9] * np.array([5, 1, 1])[:, None, None, None], axis=0) <= 6
    assert tuning.diameter([flat.astype(np.int32)], (5, 1, 1)) == pytest.approx(round_one, rel=0.15)
    assert tuning.diameter([flat.astype(np.int32)]) < 0.7 * round_one
    assert tuning.blurs([flat.astype(np.int32)], (5, 1, 1))[0] > 0.6


def test_every_cube_once_an_epoch(pair):
    """``steps=0``, as published: the steps follow the cubes there are."""
    cubes = pairs.Cubes([pair[0]], [pair[1]], (16, 16, 16), 3, 0)
    batches = list(cubes(0, np.random.default_rng(0)))
    assert [len(image) for image, *_ in batches] == [3, 3, 2]  # 24 x 32 x 32 voxels: 2 x 2 x 2 cubes
    whole = augmentation.prepare(pair[0])
    assert sum(float(image.sum()) for image, *_ in batches) == pytest.approx(
        sum(
            whole[z : z + 16, y : y + 16, x : x + 16].sum() for z in (0, 8) for y in (0, 16) for x in (0, 16)
        ),
        rel=1e-4,
    )


def test_as_published(pair):
    """Adam without decay, clipped and not rescaled, the plugin's changes, its chain, and Voronoi-Otsu."""
    given = dict(optimizer="adam", weight_decay=0.0, clip=0, schedule="constant", steps=0, scaling="clipped")
    given |= dict(augment=("published",), window=16, postprocess="released", spots="published", threshold=0.3)
    method, history = fit(pair, **given)
    assert len(history) == 3
    probability = method.predict(pair[0], progress=False)
    assert probability.shape == pair[0].shape and probability.min() >= 0 and probability.max() <= 1
    found = method.segment(pair[0], probability)
    assert np.array_equal(found, instances.published(probability, 0.3, 5))
    method.tune([pair[0]], [pair[1]], progress=False)
    assert method.spots == "published" and method.spots_tried.empty
    with pytest.raises(UserError, match="scaling must be one of"):
        SegResNetMethod(**TINY, scaling="half")
