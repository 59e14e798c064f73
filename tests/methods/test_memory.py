"""Memory of a training step, counted on the device "meta": the paper's sizes without the paper's memory."""

import executing
import numpy as np
import pytest
import torch

from cellseg_nb import runtime
from cellseg_nb.methods import swinunetr
from cellseg_nb.networks import losses


@pytest.fixture(scope="module")
def gpu():
    return executing.loaded("benchmarks/gpu.py")


def test_what_lives_is_counted(gpu):
    line = torch.nn.Linear(1000, 10, bias=False, device="meta")
    with gpu.Living(*line.parameters()) as living:
        first = line(
            torch.empty(50, 1000, device="meta")
        )  # the cube dies in it, unless it is kept for backward
        assert living.now == 4 * (10_000 + 50_000 + 500)
        first.sum().backward()
        del first
        assert living.now == 4 * 20_000  # weights, gradients
        assert living.peak > 4 * (10_000 + 50_000 + 500)


def by_rule(gpu, changes):
    model, _, options = gpu.paper("swinunetr", **changes)
    return swinunetr.step_bytes(model, np.broadcast_to(options["cube"], 3), options["batch"])


def test_the_papers_swinunetr_fits_a_card_of_15_gb_with_checkpoints(gpu):
    without = gpu.counted("swinunetr", use_checkpoint=False)["peak"]
    assert gpu.counted("swinunetr")["peak"] < 7e9 < 15e9 < without
    assert without < by_rule(gpu, {}) < 1.1 * without


def test_the_rule_for_checkpoints_is_on_the_safe_side(gpu):
    """Small windows keep less than the rule says: smaller maps of attention."""
    small = dict(batch=2, feature_size=12, window_size=4, cube=(64, 32, 32), use_checkpoint=False)
    counted = gpu.counted("swinunetr", **small)["peak"]
    assert counted < by_rule(gpu, small) < 1.5 * counted


def test_checkpoints_change_no_bit():
    method = swinunetr.SwinUNETRMethod(device="cpu", drop_rate=0.2)
    model, loss = method.model.train(), losses.CellLoss()
    image = torch.rand(1, 1, 64, 32, 32)
    gradients = []
    for wanted in (False, True):
        swinunetr.checkpointed(model, wanted)
        torch.manual_seed(1)
        model.zero_grad()
        loss(model, (image, (image > 0.5).float(), torch.ones_like(image)))["loss"].backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


def test_the_benchmark_says_that_there_is_no_gpu(gpu, capsys, tmp_path):
    if runtime.device().type != "cpu":
        pytest.skip("there is one")
    gpu.main(["--methods", "segresnet", "--out", str(tmp_path / "gpu.json")])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("segresnet: counted 1.") and said[1] == "no GPU is here: nothing was timed"
    assert (tmp_path / "gpu.json").is_file()
