"""A training step at the paper's size on a GPU: its memory, counted on any machine, and its time, measured
where a GPU is.

    python benchmarks/gpu.py [--methods wnet3d segresnet swinunetr] [--steps 10] [--out gpu.json]

Counted is what lives at once: weights, gradients, the two moments of Adam, and all that forward and backward
pass keep or make, on PyTorch's device "meta", which has shapes and no numbers. What cuDNN takes for itself is
not in it. Measured, with each of `cellseg_nb.learning.fast` by itself and "mixed" with "channels_last":
median seconds of a step, largest memory, and whether anything in a step waits for the card.
"""

import argparse
import json
import statistics
import time
import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cellseg_nb import methods, runtime
from cellseg_nb.learning import fast
from cellseg_nb.learning.step import Steps
from cellseg_nb.methods import settings
from cellseg_nb.networks.losses import CellLoss
from cellseg_nb.networks.wnet3d_loss import WNetLoss

METHODS = ("wnet3d", "segresnet", "swinunetr")
WAYS = ((), ("tf32",), ("channels_last",), ("mixed",), ("mixed", "channels_last"), ("compile",))


class Living(TorchDispatchMode):
    """Bytes of all tensors of the device "meta" that live, ``now`` and at most (``peak``), from when it is
    entered."""

    def __init__(self, *tensors):
        super().__init__()
        self.now, self.peak, self.known = 0, 0, {}
        for tensor in tensors:
            self.see(tensor)

    def see(self, tensor):
        storage = tensor.untyped_storage()
        if tensor.device.type == "meta" and storage._cdata not in self.known:
            key, size = storage._cdata, storage.nbytes()
            self.known[key] = weakref.finalize(storage, self.gone, key, size)
            self.now += size
            self.peak = max(self.peak, self.now)

    def gone(self, key, size):
        del self.known[key]
        self.now -= size

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for part in tree_leaves(found):
            if isinstance(part, torch.Tensor):
                self.see(part)
        return found


def paper(name, **changes):
    """Network, loss and settings of a method as published, on the CPU."""
    options = settings.of(name, "paper") | changes
    method = methods.get(name, **options, device="cpu")
    loss = WNetLoss(**method.loss) if name == "wnet3d" else CellLoss(options["loss"])
    return method.model.train(), loss, options


def cubes(name, options, device):
    """One batch: of the volume alone, or of the volume, its cells, and where they are known."""
    sides = options["cube"] if isinstance(options["cube"], tuple) else (options["cube"],) * 3
    volume = torch.rand(options["batch"], 1, *sides, device=device)
    return volume if name == "wnet3d" else (volume, (volume > 0.9).float(), torch.ones_like(volume))


def counted(name, **changes):
    """{"kept": bytes after the forward pass, "peak": at most} of a step; ``changes`` of the paper's
    settings."""
    model, loss, options = paper(name, **changes)
    model, loss = model.to("meta"), loss.to("meta")
    batch = cubes(name, options, "meta")
    optimizer = torch.optim.Adam(model.parameters(), foreach=True)
    living = Living(*model.parameters(), *model.buffers(), *tree_leaves(batch))
    with living:
        for _ in range(2):  # the second has the moments of the first
            optimizer.zero_grad(set_to_none=True)
            living.peak = living.now
            found = loss(model, batch)["loss"]
            kept = living.now
            found.backward()
            del found
            peak = living.peak
            optimizer.step()
    return {"kept": kept, "peak": peak}


def measured(name, names, count, device):
    """Seconds and memory of a step on a GPU, and what in it waits for the GPU ("" for nothing)."""
    model, loss, options = paper(name)
    model, loss = model.to(device), loss.to(device)
    batch = cubes(name, options, device)
    synchronize = getattr(torch, device.type).synchronize
    with fast.products(names), runtime.deterministic():
        seen, scaler = fast.prepared(model, names, device)
        optimizer = torch.optim.Adam(
            model.parameters(), options["learning_rate"], fused=device.type == "cuda"
        )
        steps, seconds = Steps(model, loss, optimizer, seen=seen, scaler=scaler), []
        for _ in range(3):
            steps(batch)
        for _ in range(count):
            synchronize()
            start = time.perf_counter()
            steps(batch)
            synchronize()
            seconds.append(time.perf_counter() - start)
        found = {
            "method": name,
            "fast": list(names),
            "seconds": statistics.median(seconds),
            "pieces": steps.pieces,
        }
        if device.type == "cuda":
            found |= {"peak": torch.cuda.max_memory_allocated(), "waits": waits(steps, batch)}
            torch.cuda.reset_peak_memory_stats()
    return found


def waits(steps, batch):
    """What in a step waits for CUDA, in words; "" for nothing."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps(batch)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return ""


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", help="a JSON file with all numbers")
    given = parser.parse_args(arguments)
    found = {"counted": {}, "measured": []}
    for name in given.methods:
        ways = ({}, {"use_checkpoint": False}) if name == "swinunetr" else ({},)
        for changes in ways:
            words = " ".join([name, *(f"{key}={value}" for key, value in changes.items())])
            found["counted"][words] = one = counted(name, **changes)
            print(
                f"{words}: counted {one['kept'] / 1e9:.2f} GB kept, {one['peak'] / 1e9:.2f} GB at most",
                flush=True,
            )
    device = runtime.device()
    found["device"] = runtime.device_words(device)
    if device.type == "cpu":
        print("no GPU is here: nothing was timed")
    for name, names in ((name, names) for name in given.methods for names in WAYS if device.type != "cpu"):
        if names and device.type != "cuda":
            continue
        found["measured"].append(measured(name, names, given.steps, device))
        print(found["device"], found["measured"][-1], flush=True)
    if given.out:
        with open(given.out, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
