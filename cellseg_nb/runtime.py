"""Where the code runs, and on what: Colab, Jupyter or a batch job; CUDA, Apple MPS or CPU; seeds; progress bars."""

import os
import sys


def in_colab():
    return "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ


def in_batch():
    """True when a notebook is run from top to bottom by `cellseg-nb run`: nobody is there to click."""
    return os.environ.get("CELLSEG_NB_BATCH") == "1"


def device(name="auto"):
    """The torch device to compute on. ``"auto"``: CUDA, else Apple MPS, else CPU; or any name torch knows.

    Raises UserError when the named device is not there.
    """
    import torch

    from .errors import UserError

    if name in (None, "auto"):
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        chosen = torch.device(name)
        torch.empty(1, device=chosen)
    except Exception as error:
        raise UserError(f"device {name!r} is not available here ({str(error).splitlines()[0]}): "
                        "use 'auto' or 'cpu'") from error
    return chosen


def device_words(chosen):
    """A device in words for people, for example 'CPU, 2 cores' or 'NVIDIA T4'."""
    import torch

    if chosen.type == "cuda":
        return torch.cuda.get_device_name(chosen)
    return f"CPU, {os.cpu_count()} cores" if chosen.type == "cpu" else "Apple GPU (MPS)"


def seed_everything(seed):
    """Seed Python, numpy and torch, and ask torch for deterministic algorithms (a warning where there is none)."""
    import random

    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs 5 % on a CPU; nothing here reads it
    torch.backends.cudnn.benchmark = False


def free_memory():
    """Bytes of memory that can still be used on this machine."""
    import psutil

    return psutil.virtual_memory().available


def progress(items=None, **options):
    """A tqdm bar: the notebook's widget where there is one, a plain line of text in batch runs and terminals."""
    if in_batch():
        from tqdm import tqdm

        return tqdm(items, file=sys.stderr, mininterval=2.0, ascii=True, **options)
    from tqdm.auto import tqdm

    return tqdm(items, **options)


def versions():
    """Versions of Python, this package and the libraries whose numbers can change a result."""
    from importlib.metadata import PackageNotFoundError, version

    import platform

    found = {"python": platform.python_version()}
    for name in ("cellseg-nb", "torch", "monai", "numpy", "scipy", "scikit-image", "connected-components-3d", "pandas"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
