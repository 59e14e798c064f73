"""Where the code runs, and on what: Colab, Jupyter or a batch job; CUDA, Apple MPS or CPU; seeds; progress
bars."""

import contextlib
import functools
import os
import sys


def in_colab():
    return "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ


def in_batch():
    """True when a notebook is run from top to bottom by `cellseg-nb run`: nobody is there to click."""
    return os.environ.get("CELLSEG_NB_BATCH") == "1"


def device(name="auto"):
    """The torch device to compute on. ``"auto"``: CUDA, else Apple MPS, where it can do what the networks
    need (`missing`), else CPU; or any name torch knows.

    Raises UserError when the named device is not there.
    """
    import torch

    from cellseg_nb.errors import UserError

    if name in (None, "auto"):
        return _best()
    try:
        chosen = torch.device(name)
        torch.empty(1, device=chosen)
    except Exception as error:
        raise UserError(
            f"device {name!r} is not available here ({str(error).splitlines()[0]}): use 'auto' or 'cpu'"
        ) from error
    return chosen


@functools.cache
def _best():
    """The fastest device that can do what the networks need; says once why a GPU that is there is not
    taken."""
    import torch

    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    for name in (name for name, available in there.items() if available()):
        fault = missing(torch.device(name))
        if fault is None:
            return torch.device(name)
        print(f"The GPU ({name}) is not used, since {fault}: everything runs on the CPU.", file=sys.stderr)
    return torch.device("cpu")


def missing(chosen):
    """What a torch device cannot do of what the networks need, in words, or None.

    Tried on a cube of 8 voxels, forward and backward: 3D convolution, transposed convolution, max pooling,
    trilinear resizing. Apple's GPUs lacked some of them before torch 2.8, and a CUDA build without kernels
    for an older or newer card fails at the first.
    """
    import torch
    import torch.nn.functional as F

    def weight(device):
        return torch.ones(2, 2, 2, 2, 2, device=device)

    operations = {
        "3D convolution": lambda x: F.conv3d(x, weight(x.device)),
        "transposed 3D convolution": lambda x: F.conv_transpose3d(x, weight(x.device), stride=2),
        "3D max pooling": lambda x: F.max_pool3d(x, 2),
        "trilinear resizing": lambda x: F.interpolate(
            x, scale_factor=2, mode="trilinear", align_corners=False
        ),
    }
    for words, operation in operations.items():
        try:
            cube = torch.rand(1, 2, 8, 8, 8, device=chosen, requires_grad=True)
            operation(cube).square().mean().backward()
            finite = bool(torch.isfinite(cube.grad).all())
        except (RuntimeError, NotImplementedError) as error:
            return f"{words} fails there ({str(error).splitlines()[0][:120]})"
        if not finite:
            return f"{words} gives wrong numbers there"
    return None


@functools.cache
def say_once(words):
    """Print a line, the first time that it is asked for."""
    print(words)


def device_words(chosen):
    """A device in words for people, for example 'CPU, 2 cores' or 'NVIDIA T4'."""
    import torch

    if chosen.type == "cuda":
        return torch.cuda.get_device_name(chosen)
    return f"CPU, {os.cpu_count()} cores" if chosen.type == "cpu" else "Apple GPU (MPS)"


@contextlib.contextmanager
def seeded(seed):
    """Python, numpy and torch seeded within the block, and all as it was found after it."""
    import random

    import numpy
    import torch

    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    python, arrays = random.getstate(), numpy.random.get_state()
    with torch.random.fork_rng(devices=gpus):
        random.seed(seed)
        numpy.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            numpy.random.set_state(arrays)


@contextlib.contextmanager
def first_weights(seed):
    """Torch's random numbers on the CPU seeded within the block, where a network is made."""
    import torch

    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        yield


@contextlib.contextmanager
def deterministic():
    """Torch's deterministic algorithms within the block (a warning where there is none), as found after
    it."""
    import torch

    found = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    filled, tried = torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA's matrix products need it for that
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs 5 % on a CPU; nothing here reads it
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(found[0], warn_only=found[1])
        torch.utils.deterministic.fill_uninitialized_memory = filled
        torch.backends.cudnn.benchmark = tried


@contextlib.contextmanager
def enough_memory():
    """UserError where the memory of a GPU runs out within the block."""
    import torch

    from cellseg_nb.errors import UserError

    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise UserError(
            "the memory of the GPU is too small: close what else uses it, choose smaller cubes or windows, "
            "or give device='cpu'"
        ) from None  # the error holds on to what fills it


def free_memory():
    """Bytes of memory that can still be used on this machine."""
    import psutil

    return psutil.virtual_memory().available


def progress(items=None, **options):
    """A tqdm bar: the notebook's widget where there is one, a plain line of text in batch runs and
    terminals."""
    if in_batch():
        from tqdm import tqdm

        return tqdm(items, file=sys.stderr, mininterval=2.0, ascii=True, **options)
    from tqdm.auto import tqdm

    return tqdm(items, **options)


def versions():
    """Versions of Python, this package and the libraries whose numbers can change a result."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in "cellseg-nb torch monai numpy scipy scikit-image connected-components-3d pandas".split():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
