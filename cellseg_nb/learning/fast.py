"""What makes a training faster on a CUDA GPU, by name, each for itself. All are off unless asked for: they
change the last digits, and none has been measured here.

With none of them, convolutions on newer cards take TF32, as PyTorch has it.
"""

import contextlib

import torch
from torch.utils._pytree import tree_map

from cellseg_nb.errors import UserError

WORDS = {
    "mixed": "the network in 16 bits: bfloat16 where the card has it, else float16 with a scaled loss, and "
    "steps that overflow left out; losses and weights in 32",
    "tf32": "matrix products too with the 10 binary digits of TF32 (cards from 2020 on)",
    "channels_last": "channels last in memory, which the card's convolutions like best in 16 bits",
    "compile": "torch.compile: kernels made for this network, after a minute or more of making them",
}


def check(names):
    """Raises UserError unless all are names out of `WORDS`."""
    if not isinstance(names, (list, tuple, set)) or not all(name in list(WORDS) for name in names):
        raise UserError(f"fast must be names out of {', '.join(WORDS)}, as in ['mixed'], not {names!r}")


def usable(names, device):
    """Those of the names that count on this device: all on CUDA; elsewhere none, and a line says so."""
    check(names)
    if names and device.type != "cuda":
        print(f"fast = {', '.join(names)} is for CUDA GPUs: on this device ({device.type}) nothing changes.")
        return []
    return [name for name in WORDS if name in names]


class Mixed:
    """A network in 16 bits (autocast). What it gives is float32, and so is all that a loss makes of it:
    SoftNCuts sums over 10^5 voxels, which float16 cannot."""

    def __init__(self, network, device, dtype):
        self.network, self.device, self.dtype = network, device, dtype

    def __call__(self, *inputs):
        with torch.autocast(self.device.type, self.dtype):
            found = self.network(*inputs)
        return tree_map(lambda part: part.float(), found)


def half(device):
    """The 16-bit number of a CUDA card."""
    with torch.cuda.device(device):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def prepared(model, names, device):
    """What the loss is to call in place of the model, and a GradScaler or None."""
    seen, scaler = model, None
    if "channels_last" in names:
        model.to(memory_format=torch.channels_last_3d)
    if "compile" in names:
        seen = torch.compile(seen)
    if "mixed" in names:
        dtype = half(device)
        seen = Mixed(seen, device, dtype)
        scaler = torch.amp.GradScaler(device.type) if dtype == torch.float16 else None
    return seen, scaler


@contextlib.contextmanager
def products(names):
    """Matrix products in TF32 within the block, where "tf32" is among the names."""
    found = torch.get_float32_matmul_precision()
    if "tf32" in names:
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        if "tf32" in names:
            torch.set_float32_matmul_precision(found)
