"""Any size, one pass or windows: the same answer where the network sees enough, and never an error."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from cellseg_nb.cells import inference
from cellseg_nb.errors import UserError


def twins(x):
    """A network whose answer is known: the input and its mirror image."""
    assert all(side % 8 == 0 for side in x.shape[2:])
    return torch.cat([x, 1 - x], 1)


@settings(max_examples=20, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 40)] * 3), memory=st.sampled_from([0, 10**9]), flips=st.booleans())
def test_any_size(shape, memory, flips):
    volume = np.random.default_rng(0).random(shape, dtype=np.float32)
    found = inference.predict(
        twins, volume, memory=memory, window=16, flips=flips, device="cpu", progress=False
    )
    assert found.shape == (2, *shape) and found.dtype == np.float32
    assert np.allclose(found[0], volume, atol=1e-5) and np.allclose(found[1], 1 - volume, atol=1e-5)


def test_windows_agree_with_one_pass_for_a_local_network():
    torch.manual_seed(0)
    local = torch.nn.Conv3d(1, 2, 3, padding=1).eval()
    volume = np.random.default_rng(1).random((40, 33, 50), dtype=np.float32)
    whole = inference.predict(local, volume, memory=10**12, device="cpu")
    windows = inference.predict(local, volume, memory=0, window=24, device="cpu", progress=False)
    # only rims of windows, which have little weight, differ
    assert np.abs(whole - windows)[:, 2:-2, 2:-2, 2:-2].mean() < 0.02


def test_the_memory_budget_decides():
    seen = []

    def spy(x):
        seen.append(tuple(x.shape[2:]))
        return twins(x)

    volume = np.zeros((32, 32, 32), np.float32)
    inference.predict(
        spy, volume, memory=32**3 * 10, bytes_per_voxel=10, window=16, device="cpu", progress=False
    )
    assert seen == [(32, 32, 32)]
    seen.clear()
    inference.predict(
        spy, volume, memory=32**3 * 10 - 1, bytes_per_voxel=10, window=16, device="cpu", progress=False
    )
    assert set(seen) == {(16, 16, 16)}


def test_flips_average_over_mirror_images():
    torch.manual_seed(0)
    lopsided = torch.nn.Conv3d(1, 1, 3, padding=1).eval()
    volume = np.random.default_rng(1).random((8, 16, 8), dtype=np.float32)
    plain = inference.predict(lopsided, volume, flips=True, device="cpu")
    mirrored = inference.predict(lopsided, volume[::-1, :, ::-1].copy(), flips=True, device="cpu")
    assert np.allclose(plain, mirrored[:, ::-1, :, ::-1], atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8, 8), (0, 8, 8)])
def test_wrong_shapes(shape):
    with pytest.raises(UserError, match="three dimensions"):
        inference.predict(twins, np.zeros(shape))


def test_one_pass_or_windows_is_decided_by_size_alone(monkeypatch):
    """Not by the memory that happens to be free."""
    monkeypatch.setattr(inference.runtime, "free_memory", lambda: 1)
    assert inference.way((100, 100, 100), 2048) == "one pass"
    assert inference.way((200, 200, 200), 2048) == "windows"
    assert inference.way((1, 1, 1), 1, memory=0) == "windows"
    seen = []
    inference.predict(
        lambda x: seen.append(x.shape) or x, np.zeros((20, 30, 40)), device="cpu", progress=False
    )
    assert seen == [(1, 1, 24, 32, 40)]


def test_dark_cells_on_a_bright_ground():
    """The class that means cell is the darker one there; spots are looked for in the volume turned over."""
    rng = np.random.default_rng(0)
    volume = 100 + rng.normal(0, 3, (20, 20, 20))
    cells = np.zeros(volume.shape, bool)
    cells[4:8, 4:8, 4:8] = cells[12:16, 12:16, 12:16] = True
    volume[cells] -= 60
    classes = np.stack([~cells, cells]).astype(np.float32)
    assert inference.brightest([(classes, volume)]) == 1
    assert inference.brightest([(classes[::-1], volume)]) == 0
    assert inference.brightest([(classes, 200 - volume)]) == 1  # bright cells, as ever
    assert np.array_equal(inference.raised(volume, classes[1]), volume.max() - volume)
    assert inference.raised(200 - volume, classes[1])[5, 5, 5] == 200 - volume[5, 5, 5]
