"""A training step as a GPU needs it, as far as a machine without one can tell: nothing is read back in it,
memory that runs out halves the batch, numbers that overflow leave the weights alone."""

import ast
import inspect
import textwrap

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from cellseg_nb.errors import UserError
from cellseg_nb.learning import fast, loop, step
from cellseg_nb.methods.wnet3d import WNet3DMethod
from cellseg_nb.networks import losses, ncuts, wnet3d, wnet3d_loss

SHAPES = {"segresnet": (2, 1, 16, 16, 16), "swinunetr": (2, 1, 64, 32, 32), "wnet3d": (2, 1, 16, 16, 16)}


def network(name, form="class_mean"):
    from monai.networks.nets import SegResNet, SwinUNETR

    if name == "wnet3d":
        return wnet3d.WNet3D(channels=(4, 4, 8, 8)), wnet3d_loss.WNetLoss(form=form, balance="fixed")
    if name == "segresnet":
        return SegResNet(in_channels=1, out_channels=1, init_filters=8, dropout_prob=0.1), losses.CellLoss()
    small = dict(feature_size=12, window_size=4, use_v2=True, drop_rate=0.1, use_checkpoint=True)
    return SwinUNETR(in_channels=1, out_channels=1, **small), losses.CellLoss("dice_ce")


class Sent(TorchDispatchMode):
    """What is copied from the CPU to the device within it."""

    def __init__(self):
        super().__init__()
        self.counted, self.from_cpu = 0, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        self.counted += 1
        given = args[1] if function is torch.ops.aten.copy_.default else args[0] if args else None
        copies = function in (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)
        if copies and given.device.type == "cpu" and found.device.type == "meta":
            self.from_cpu.append(function)
        return found


@pytest.mark.parametrize(
    "name, form", [("wnet3d", "class_mean"), ("wnet3d", "pairwise"), ("segresnet", None), ("swinunetr", None)]
)
def test_a_step_asks_the_device_for_nothing(name, form):
    """On the device "meta" there are shapes and no numbers: ``.item()``, ``float(tensor)``, ``.cpu()``, ``if
    tensor`` are errors there, where a GPU would have to be waited for. It is waited for too where something
    is sent to it from other memory than pinned."""
    model, loss = (part.to("meta") for part in network(name, form))
    with pytest.raises((RuntimeError, NotImplementedError)):
        float(torch.empty((), device="meta"))
    optimizer = torch.optim.AdamW(model.parameters())
    steps = step.Steps(model, loss, optimizer, clip=1.0, averaged=step.RunningAverage(model, 0.9), pieces=2)
    image = torch.empty(SHAPES[name], device="meta")
    batch = image if name == "wnet3d" else (image, image, image)
    with Sent() as sent:
        for _ in range(3):
            terms = steps(batch)
    assert sent.counted and sent.from_cpu == []
    assert all(term.device.type == "meta" and not term.requires_grad for term in terms.values())


READ = {"item", "cpu", "numpy", "tolist", "float", "bool", "int", "print", "synchronize"}


@pytest.mark.parametrize(
    "part",
    [
        step.Steps.__call__,
        step.Steps._gradients,
        step.Steps._fitting,
        step.split,
        fast.Mixed.__call__,
        wnet3d_loss.WNetLoss.forward,
        wnet3d.WNet3D.forward,
        wnet3d.UNet.scores,
        ncuts.class_mean,
        ncuts.pairwise,
        losses.CellLoss.forward,
        losses.CellLoss.of,
    ],
    ids=lambda part: part.__qualname__,
)
def test_the_text_of_a_step_asks_for_nothing_either(part):
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(part)))):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            numbers = called == "float" and isinstance(node.func, ast.Attribute)  # tensor.float() is a kind
            assert called not in READ or numbers, f"{part.__qualname__}: {ast.unparse(node)}"


# ---------------------------------------------------------------- memory that runs out


class Narrow(nn.Module):
    """A network whose device holds no more than ``room`` cubes at once."""

    def __init__(self, room):
        super().__init__()
        self.line, self.room, self.seen = nn.Conv3d(1, 1, 1), room, []

    def forward(self, x):
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.seen.append(len(x))
        return self.line(x)


class Squares(nn.Module):
    """Mean over cubes of what differs from cube to cube."""

    def forward(self, model, batch):
        return {"loss": ((model(batch) - 1) ** 2).mean(), "cubes": torch.tensor(1.0)}


def train(model, epochs=2, size=5, **options):
    data = torch.from_numpy(np.random.default_rng(0).random((3, size, 1, 4, 4, 4), np.float32))
    options = dict(device="cpu", progress=False, schedule="constant", **options)
    return loop.train(model, Squares(), lambda epoch, rng: iter(data), epochs, **options)


def same_start(room):
    torch.manual_seed(0)
    return Narrow(room)


def test_memory_that_runs_out_halves_the_batch_and_goes_on(capsys):
    whole, narrow = same_start(5), same_start(2)
    expected, history = train(whole), train(narrow)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and "taken in 2 parts" in said[0] and "taken in 4 parts" in said[1]
    assert narrow.seen == [2, 1, 1, 1] * 6 and history[0]["pieces"] == 4 and "pieces" not in expected[0]
    for ours, other in zip(narrow.parameters(), whole.parameters()):  # the same steps as with the whole batch
        assert torch.allclose(ours, other, rtol=0, atol=1e-6)
    for row, other in zip(history, expected):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-5) and row["cubes"] == 1


def test_a_resumed_run_begins_with_as_many_parts(tmp_path, capsys):
    class Cut(Exception):
        pass

    def cut(history, model):
        if len(history) == 2:
            raise Cut

    whole, killed, resumed = same_start(2), same_start(2), same_start(2)
    train(whole, 3)
    with pytest.raises(Cut):
        train(killed, 3, folder=tmp_path, callbacks=[cut])
    capsys.readouterr()
    history = train(resumed, 3, folder=tmp_path)
    assert capsys.readouterr().out == "" and [row["pieces"] for row in history] == [4, 4, 4]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters()))


def test_one_cube_that_is_too_large_is_said():
    with pytest.raises(UserError, match="single training cube does not fit.*device='cpu'") as error:
        train(same_start(0))
    assert "\n" not in str(error.value)


def test_memory_that_runs_out_elsewhere_is_one_line():
    def full(history, model):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(UserError, match="memory of the GPU is too small"):
        train(same_start(5), callbacks=[full])


# ---------------------------------------------------------------- numbers that are none


def poisoned(scaler=None):
    """Three batches, the second with an infinite number; the weights after each."""
    model = same_start(5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    steps, seen = step.Steps(model, Squares(), optimizer, clip=1.0, scaler=scaler), []
    for value in (1.0, float("inf"), 1.0):
        steps(torch.full((2, 1, 4, 4, 4), value))
        seen.append([weight.detach().clone() for weight in model.parameters()])
    return seen


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_loss_that_is_no_number_ends_the_learning_without_being_looked_at():
    first, second, third = poisoned()
    assert equal(first, second) and equal(first, third)


def test_a_scaler_leaves_out_the_step_that_overflows():
    first, second, third = poisoned(torch.amp.GradScaler("cpu"))
    assert equal(first, second) and not equal(first, third)


def test_gradients_that_overflow_alone_are_left_out_and_the_scale_falls():
    """The loss is finite, its scaled gradient is not: what float16 does with a scale that is too high."""
    scaler, model = torch.amp.GradScaler("cpu", init_scale=2.0**120), same_start(5)
    before = [weight.detach().clone() for weight in model.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    steps = step.Steps(model, Squares(), optimizer, clip=1.0, scaler=scaler)
    terms = steps(torch.full((2, 1, 4, 4, 4), 1e6))
    assert torch.isfinite(terms["loss"]) and equal(before, model.parameters())
    assert scaler.get_scale() == 2.0**119


def test_looked_at_late_it_is_the_same_and_what_is_wrong_is_told_at_the_end():
    def epoch(values, late):
        model, drawn = same_start(5), []
        steps = step.Steps(model, Squares(), torch.optim.AdamW(model.parameters(), lr=0.1, fused=True))

        def batches(epoch, rng):
            for value in values:
                drawn.append(value)
                yield torch.full((2, 1, 4, 4, 4), value)

        try:
            row = loop._epoch(steps, batches, 0, 4, torch.device("cpu"), late)
        except UserError as error:
            row = {"seconds": 0, "said": str(error)}
        return {**row, "seconds": 0}, list(model.parameters()), drawn

    fine, wrong = [1.0, 2.0, 3.0], [1.0, float("nan"), 3.0]
    at_once, late = epoch(fine, False), epoch(fine, True)
    assert at_once[0] == late[0] and equal(at_once[1], late[1])
    at_once, late = epoch(wrong, False), epoch(wrong, True)
    assert "became nan in epoch 5" in at_once[0]["said"] and at_once[0] == late[0]
    assert len(at_once[2]) == 2 and len(late[2]) == 3 and equal(at_once[1], late[1])
    assert equal(late[1], epoch([1.0], True)[1])


def test_weights_of_before_are_kept_where_the_loss_becomes_no_number(tmp_path):
    volume = np.random.default_rng(0).random((16, 16, 16), np.float32)
    wrong = WNet3DMethod(channels=(4, 4, 8, 8), cube=16, steps=3, epochs=2, device="cpu", learning_rate=1e30)
    with pytest.raises(UserError, match="in epoch 1: lower the learning rate"):
        wrong.fit([volume], folder=tmp_path, progress=False)
    assert all(weight.isfinite().all() for weight in wrong.model.parameters())


# ---------------------------------------------------------------- options


def test_what_is_for_cuda_says_so_elsewhere_and_changes_nothing(capsys):
    tiny = dict(channels=(4, 4, 8, 8), cube=16, steps=1, epochs=1, device="cpu")
    volume = np.random.default_rng(0).random((16, 16, 16), np.float32)
    plain, asked = WNet3DMethod(**tiny), WNet3DMethod(**tiny, fast=("mixed", "compile"))
    for method in (plain, asked):
        method.fit([volume], progress=False)
    said = capsys.readouterr().out.splitlines()
    assert said == ["fast = mixed, compile is for CUDA GPUs: on this device (cpu) nothing changes."]
    assert equal(plain.model.state_dict().values(), asked.model.state_dict().values())
    assert "fast" not in asked.options  # not a property of what was learned
    for wrong in ("mixed", ("fp8",), 3, [["mixed"]]):
        with pytest.raises(UserError, match="fast must be names out of mixed, tf32, channels_last, compile"):
            WNet3DMethod(fast=wrong)


def test_a_compiled_network_learns_in_its_own_weights():
    """As `fast.prepared` gives it, but for the kernels, which need a compiler."""
    model = same_start(5)
    before = [weight.detach().clone() for weight in model.parameters()]
    steps = step.Steps(
        model, Squares(), torch.optim.AdamW(model.parameters()), seen=torch.compile(model, backend="eager")
    )
    steps(torch.ones(2, 1, 4, 4, 4))
    assert not equal(before, model.parameters()) and list(model.state_dict()) == ["line.weight", "line.bias"]


def test_sixteen_bits_are_the_networks_alone():
    """float16 on the CPU: what the loss sees, and the loss, are float32; the slope is nearly the exact one.
    (With bfloat16 some of PyTorch's gradients are wrong on a CPU: 64 channels on 2x2x2 voxels.)"""
    torch.manual_seed(0)
    model, loss = network("wnet3d")
    model.eval()
    kinds, slopes = [], []
    model.encoder.conv1.register_forward_hook(lambda part, given, found: kinds.append(found.dtype))
    mixed, volume = fast.Mixed(model, torch.device("cpu"), torch.float16), torch.rand(1, 1, 16, 16, 16) * 100
    assert all(part.dtype == torch.float32 for part in mixed(volume)) and kinds == [torch.float16]
    scaler, terms = torch.amp.GradScaler("cpu", init_scale=2.0**8), []
    for seen in (model, mixed):
        terms.append(loss(seen, volume))
        model.zero_grad()
        scaler.scale(terms[-1]["loss"]).backward()
        slopes.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
    assert terms[1]["n_cuts"].dtype == torch.float32
    for name, exact in terms[0].items():
        assert torch.allclose(terms[1][name], exact, rtol=0.01, atol=1e-3)
    assert torch.cosine_similarity(*slopes, dim=0) > 0.99
