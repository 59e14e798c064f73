import disturb
import numpy as np
import pytest
from scipy import fft, ndimage as ndi

from cellseg_nb import simulate, volumes
from cellseg_nb.cells import prepare as prepare_module, scale
from cellseg_nb.cells.prepare import prepare
from cellseg_nb.errors import UserError
from cellseg_nb.learning import guided as draw


@pytest.fixture(scope="module")
def cells():
    return simulate.volume((48, 64, 64), 40, seed=11)[0]


def away(found, plain, valid=None):
    """How far a prepared volume is from the undisturbed one, after the best straight line, as a share of its
    spread."""
    valid = np.ones(found.shape, bool) if valid is None else valid
    a, b = np.polyfit(found[valid], plain[valid], 1)
    return float((a * found[valid] + b - plain[valid]).std() / plain[valid].std())


def test_nothing_is_done_where_nothing_is_wrong(cells):
    found = prepare(cells)
    assert found.findings == [] and not found.changed
    np.testing.assert_array_equal(found.volume, volumes.remap(cells))


@pytest.mark.parametrize(
    "disturbed, step, most",
    [
        (lambda v: disturb.hot(v, 50), "hot", 0.05),
        (lambda v: disturb.blank(v), "slices", 0.15),
        (lambda v: disturb.repeated(v), "slices", 0.15),
        (lambda v: disturb.slope(v, 1600), "background", 0.3),
        (lambda v: disturb.slope(v, 800, 0, True), "background", 0.3),
        (lambda v: disturb.attenuated(v, 0.2), "decay", 0.3),
        (lambda v: disturb.striped(v, 60), "stripes", 0.2),
        (disturb.negative, "dark", 0.05),
    ],
)
def test_found_and_mended(cells, disturbed, step, most):
    found = prepare(disturbed(cells))
    assert step in found.steps
    assert away(found.volume, volumes.remap(cells), found.valid) < most


@pytest.mark.parametrize("value", [0, 100, 1000, 65535])
def test_padding_of_any_value_is_left_out(cells, value):
    found = prepare(disturb.padded(cells, value=value))
    inner = np.s_[8:-8, 12:-12, 12:-12]
    assert found.steps == ("padding",)
    assert found.valid[inner].mean() > 0.99 and abs(found.valid.mean() - cells.size / found.valid.size) < 0.01
    assert away(found.volume[inner], volumes.remap(cells)) < 0.05


def test_a_vessel_is_left_out_and_cells_are_not(cells):
    disturbed, tube = disturb.vessel(cells, 4095, 4.0)
    found = prepare(disturbed)
    assert "vessel" in found.steps and "padding" not in found.steps
    assert found.valid[tube].mean() < 0.02 and found.valid[~tube].mean() > 0.97


def test_few_cells_are_drawn_around():
    few = simulate.volume((48, 64, 64), 5, seed=11)[0]
    found = prepare(few)
    assert found.steps == ("sampling",) and found.focus.sum() == 5 and not found.changed
    guide = draw.guide(found, found.volume.shape)
    batch = next(draw.cube_batches([found.volume], 32, 2, 1, [guide])(0, np.random.default_rng(0)))
    assert batch.shape == (16, 1, 16, 16, 16)
    assert (batch.amax((1, 2, 3, 4)) > 40).float().mean() > 0.6


def test_cubes_are_drawn_where_something_was_measured(cells):
    found = prepare(disturb.padded(cells, (0, 0, 60), (0, 0, 60)))
    batches = draw.cube_batches(
        [found.valid.astype(np.float32)], 32, 2, 8, [draw.guide(found, found.valid.shape)]
    )
    assert min(float(batch.mean()) for batch in batches(0, np.random.default_rng(0))) > 0.5


def test_switches(cells):
    hot = disturb.hot(cells)
    np.testing.assert_array_equal(prepare(hot, steps="paper").volume, volumes.remap(hot))
    kept = prepare(hot, steps="padding,background")
    assert kept.steps == () and [f.name for f in kept.findings] == ["hot voxels", "bright voxels"]
    assert kept.record["seen"][0] == {
        "name": "hot voxels",
        "text": kept.findings[0].text,
        "step": "hot",
        "done": False,
    }
    with pytest.raises(UserError, match="no step 'sharpen'"):
        prepare(hot, steps="sharpen")


def test_steps_are_named_or_left_out():
    assert (
        prepare_module.chosen("auto") == tuple(prepare_module.STEPS) and prepare_module.chosen("paper") == ()
    )
    assert prepare_module.chosen("hot, padding") == ("hot", "padding")
    assert set(prepare_module.STEPS) - set(prepare_module.chosen("auto,-decay,-hot")) == {"decay", "hot"}
    for wrong in ("sharpen", "auto,-sharpen", "hot,-decay"):
        with pytest.raises(UserError, match="no step"):
            prepare_module.chosen(wrong)


def test_a_voxel_that_is_no_number_stays_alone(cells):
    hurt = cells.astype(np.float32)
    hurt[10, 10, 10] = np.nan
    found = prepare(hurt)
    assert np.isfinite(found.volume).all() and not found.valid[10, 10, 10] and found.valid.mean() > 0.999


@pytest.mark.parametrize(("cells", "radius"), [(6, (5, 8)), (60, (3, 4.5))])
def test_the_size_of_dark_cells(cells, radius):
    """Of the volume as it is, the gaps between dark cells and the haze around them would be measured."""
    options = dict(dim=0.4, uneven=0.2, background=200, blur=(1, 0.6, 0.6))
    image, labels = simulate.volume((40, 80, 80), cells, 3, radius, **options)
    true = np.median(np.cbrt(6 * np.bincount(labels.ravel())[1:] / np.pi))
    for volume in (image, disturb.negative(image)):
        found = scale.cell_diameter(prepare_module.bright_side(volume))
        assert found == pytest.approx(true, rel=0.25)
    assert prepare_module.bright_side(image) is image
    dark = disturb.negative(image)
    assert prepare_module.bright_side(dark, steps="auto,-dark") is dark


def test_background_cut_off_at_0_is_no_padding(cells):
    """As in deconvolved volumes: large regions are exactly 0, and cells stand in them like islands."""
    cut = np.clip(ndi.gaussian_filter(cells.astype(float), 0.5) - np.percentile(cells, 85), 0, None)
    assert (cut == 0).mean() > 0.6
    assert "padding" not in prepare(cut).steps
    assert scale.cell_diameter(cut) == pytest.approx(scale.cell_diameter(cells), rel=0.25)
    assert prepare(disturb.padded(cells - cells.min())).valid.mean() < 0.5  # nor is padding taken for that


def test_even_blocks_of_compression_are_no_padding(cells):
    step = 12 + 6 * np.add.outer(np.arange(8), np.arange(8))
    grey = 255.0 * (cells - cells.min()) / (cells.max() - cells.min())
    blocks = grey.reshape(48, 8, 8, 8, 8).swapaxes(2, 3)
    blocks = fft.dctn(blocks, axes=(-2, -1), norm="ortho")
    blocks = fft.idctn(np.round(blocks / step) * step, axes=(-2, -1), norm="ortho")
    jpeg = np.clip(np.round(blocks.swapaxes(2, 3).reshape(48, 64, 64)), 0, 255)
    assert "padding" not in prepare(jpeg.astype(np.uint8)).steps


def test_lines_through_large_cells_are_no_stripes(cells):
    grid = np.indices((48, 96, 96))
    large = np.zeros((48, 96, 96), np.float32)
    for number, at in enumerate(np.random.default_rng(3).uniform((6, 8, 8), (42, 88, 88), (22, 3))):
        inside = ((grid - at.reshape(3, 1, 1, 1)) ** 2).sum(0) < 64
        large[inside] = 900 + 30 * (number % 5)
    noise = np.random.default_rng(0).normal(100, 20, large.shape)
    large = (ndi.gaussian_filter(large, (1.8, 1, 1)) + noise).astype(np.float32)
    assert "stripes" not in prepare(large, cell_diameter=16).steps
    assert "stripes" in prepare(disturb.striped(large, 80), cell_diameter=16).steps
    shadows = cells.astype(float)
    shadows[:, 20:28] *= 0.6
    shadows[:, 50:55] *= 0.5
    assert "stripes" in prepare(shadows).steps


def test_nothing_but_padding():
    for value in (0, 255):
        prepared = prepare(np.full((20, 30, 40), value, np.uint8))
        assert not prepared.valid.any() and np.isfinite(prepared.volume).all()
