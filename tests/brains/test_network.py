"""A network in windows: with enough overlap what one pass gives, and whatever the overlap, the same for any
chunk."""

import dataclasses

import numpy as np
import pytest
import torch

pytest.importorskip("zarr")

from cellseg_nb import methods  # noqa: E402
from cellseg_nb.brains import blocks, choose, network, run, segment, sources  # noqa: E402
from cellseg_nb.errors import UserError  # noqa: E402
from cellseg_nb.lessons import whole_brain  # noqa: E402
from cellseg_nb.networks.wnet3d import WNet3D  # noqa: E402

SHAPE = (8, 8, 176)  # long in one direction: that is enough to see seams, and quick


@pytest.fixture(scope="module")
def frozen():
    """A narrow encoder with weights drawn at random, its normalisation measured on noise."""
    torch.manual_seed(0)
    encoder = WNet3D(channels=(4, 4, 8, 8)).encoder
    return network.freeze(encoder, torch.rand(2, 1, 32, 32, 32) * 100)


@pytest.fixture(scope="module")
def image():
    return (np.random.default_rng(0).random(SHAPE) * 100).astype(np.float32)


def by_windows(frozen, image, window, overlap):
    out = np.zeros(image.shape, np.float32)
    for block in blocks.grid(image.shape, window, overlap):
        out[block.core] = network.run(frozen, "wnet3d", 0, image[block.outer])[block.inner]
    return out


def test_windows_that_see_far_enough_give_one_pass(frozen, image):
    """As `network.REACH` says; with less they differ, the less the more they see."""
    whole = network.run(frozen, "wnet3d", 0, image)
    off = {
        overlap: float(np.abs(by_windows(frozen, image, 16, overlap) - whole).max())
        for overlap in (0, 16, network.REACH)
    }
    assert off[network.REACH] < 1e-5 < off[16] < off[0], off


def test_how_far_it_sees(frozen, image):
    """One voxel changed is felt up to 51 voxels away."""
    far = 0
    for x in range(80, 88):  # each place in the grid of the three poolings
        changed = image.copy()
        changed[4, 4, x] += 1e4
        felt = np.argwhere(
            network.run(frozen, "wnet3d", 0, changed) != network.run(frozen, "wnet3d", 0, image)
        )
        far = max(far, np.abs(felt[:, 2] - x).max())
    assert 45 <= far <= 51 < network.REACH


def test_without_freezing_no_overlap_is_enough(image):
    torch.manual_seed(0)
    encoder = WNet3D(channels=(4, 4, 8, 8)).encoder.eval()
    whole = network.run(encoder, "wnet3d", 0, image)
    assert np.abs(by_windows(encoder, image, 16, network.REACH) - whole).max() > 1e-3


def test_cubes_are_bright_and_apart_and_on_one_scale(small_brain):
    source = sources.find(small_brain)
    boxes = choose.cubes(source, run.look(source, 16.0), 32)
    cubes = [source.read(box) for box in boxes]
    assert len(boxes) == 4 and len({tuple(s.start for s in box) for box in boxes}) == 4
    low, high = choose.ends(cubes)
    scaled = choose.on_one_scale(cubes, low, high)
    assert {(float(c.min()), float(c.max())) for c in scaled} == {(np.float32(low), np.float32(high))}


@pytest.mark.slow
def test_wnet3d_finds_the_same_cells_with_any_chunk(small_brain, tmp_path):
    """Hardly trained: what it takes for cells is of no matter here."""
    source = sources.find(small_brain)
    maps = run.look(source, 16.0)
    cubes = [source.read(box) for box in choose.cubes(source, maps, 48)]
    low, high = choose.ends(cubes)
    method = methods.get("wnet3d", channels=(4, 4, 8, 8), cube=16, epochs=2, device="cpu")
    method.fit(choose.on_one_scale(cubes, low, high), progress=False)
    place = str(method.save(tmp_path / "trained").parent)
    first = None
    for chunk in (96, 32):
        how = segment.recipe("network", 16.0, source.voxel_size)
        how |= {"window": 32, "overlap": 8, "device": "cpu", "weights": place, "threshold": 0.5}
        job = run.begin(source, tmp_path / str(chunk), maps, how | {"scale": [low, high, 100.0]}, chunk)
        network.prepare(job.work, place, cubes, job.how["scale"])
        assert run.segment_all(None, job)[0] == {}
        table = run.number(job, 20)
        assert first is None or table.equals(first)
        first = table
    assert len(first) > 60
    with pytest.raises(UserError, match="must be a multiple of 32"):
        network.probability(dataclasses.replace(job, chunk=(40, 40, 40)), job.grid()[0], None)


@pytest.mark.parametrize(
    "name, scaling, top",
    [("wnet3d", "volume", 100), ("segresnet", "unit", 1), ("segresnet", "clipped", None)],
)
def test_weights_see_the_scale_that_they_have_learned_from(small_brain, tmp_path, name, scaling, top):
    narrow = dict(channels=(4, 4, 8, 8)) if name == "wnet3d" else dict(init_filters=8)
    saved = methods.get(name, **narrow, scaling=scaling, device="cpu").save(tmp_path)
    source = sources.find(small_brain)
    maps = run.look(source, 16.0)
    cubes = [source.read(box) for box in choose.cubes(source, maps, 16)]
    how = segment.recipe("network", 16.0, source.voxel_size) | {"device": "cpu"}
    job = run.begin(source, tmp_path / "run", maps, how, 64)
    job, parts = whole_brain.trained({"weights": str(saved), "method": name}, job, cubes)
    low, high, _ = job.how["scale"]
    seen = network.scaled(np.concatenate(cubes), job.how["scale"])
    expected = (0, top) if top else (low, high)
    assert (seen.min(), seen.max()) == pytest.approx(expected) and parts[1] == name
    assert network.run(*parts, seen[:16]).shape == (16, *seen.shape[1:])


def test_an_onnx_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="exported from"):
        network.prepare(tmp_path, "net.onnx", [np.zeros((16, 16, 16))], (0, 1, 1))
    (tmp_path / "foreign.onnx").touch()
    with pytest.raises(UserError, match="exported from"):
        choice = {"weights": str(tmp_path / "foreign.onnx"), "method": "segresnet"}
        whole_brain.trained(choice, None, [np.ones((16, 16, 16))])


def test_a_network_that_has_learned_from_contrast_is_refused(tmp_path):
    saved = methods.get("segresnet", scaling="contrast", device="cpu").save(tmp_path)
    with pytest.raises(UserError, match="scaling='unit'"):
        network.prepare(tmp_path, str(saved), [np.zeros((16, 16, 16))], (0, 1, 1))
