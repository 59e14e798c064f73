"""Batches made by other processes, while the device computes: the same ones, in the same order.

To the bit, where this process has one thread: theirs have one, and how MONAI blurs for elastic changes
depends on it in the last digits.
"""

import multiprocessing
import os
import shutil

import torch

SHARED = 2**30  # bytes that /dev/shm should have free: containers often have 64 MB, and a worker dies of that
MOST = 4


class Batches:
    """``batches(epoch, rng)`` yields the batches of an epoch, as `cellseg_nb.learning.loop.train` wants them.

    In two steps, so that other processes can do the second: ``plan(rng)`` draws all that is random, and
    yields one job a batch; ``make(job)`` makes the batch, and draws nothing.
    """

    def __init__(self, plan, make):
        self.plan, self.make = plan, make

    def __call__(self, epoch, rng):
        return map(self.make, self.plan(rng))


def usual(device):
    """How many processes make batches unless one says: beside a CUDA GPU one a core but one, at most `MOST`;
    none on a CPU, which has enough to do, none where processes are not copies (Windows: a script must be made
    for it), and none in a process that may not have others."""
    forks = multiprocessing.get_all_start_methods()[0] == "fork"
    if device.type != "cuda" or not forks or multiprocessing.current_process().daemon:
        return 0
    shared = shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else SHARED
    return min(MOST, (os.cpu_count() or 1) - 1) if shared >= SHARED else 0


def loaded(batches, workers, device):
    """``batches`` with ``workers`` processes that make them (None: `usual`), two batches ahead each; in
    pinned memory for CUDA. As it is with 0, and where it is no `Batches`."""
    workers = usual(device) if workers is None else workers
    return _Loader(batches, workers, device) if workers and hasattr(batches, "plan") else batches


class _Loader:
    """PyTorch's DataLoader is given jobs where it expects numbers of samples. Its processes stay from epoch
    to epoch, and end with this object."""

    def __init__(self, batches, workers, device):
        from torch.utils.data import DataLoader

        # No object here leads back to itself: found by the search for such circles alone, DataLoader takes
        # five seconds a process to end.
        self.batches, self.jobs = batches, _Jobs()
        self.loader = DataLoader(
            _Made(batches.make),
            sampler=self.jobs,
            batch_size=None,
            num_workers=workers,
            persistent_workers=True,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # it draws a seed: not from the numbers that dropout takes
        )

    def __call__(self, epoch, rng):
        self.jobs.plan = self.batches.plan(rng)
        return iter(self.loader)


class _Jobs:
    plan = ()

    def __iter__(self):
        return iter(self.plan)


class _Made:
    def __init__(self, make):
        self.make = make

    def __getitem__(self, job):
        return self.make(job)
