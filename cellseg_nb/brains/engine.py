"""Blocks computed by Dask, each once: markers, three tries, progress, and what failed by its place.

What is Dask's is left to Dask: workers, retries, lost workers. A block is done when its marker, a small file
of numbers, is there; it is written beside and renamed after all else of the block. So whatever is killed,
whenever, the next run computes only what has no marker.
"""

import contextlib
import ctypes
import functools
import importlib.util
import os
import sys
import time
from pathlib import Path

import numpy as np

from cellseg_nb import runtime
from cellseg_nb.errors import UserError
from cellseg_nb.io.files import atomic, reason

TRIES = 3
M_TRIM_THRESHOLD = -1  # its number in malloc.h
AHEAD = 8  # blocks given to each worker in advance
NEEDED = ("dask", "distributed", "zarr", "pyarrow")
PACKAGES = ("numpy", "scipy", "scikit-image", "zarr", "connected-components-3d", "cellseg-nb")


@contextlib.contextmanager
def connected(scheduler="", workers=0):
    """A Dask client: of a cluster on this machine, or of the scheduler at an address.

    scheduler : "" for a `distributed.LocalCluster`, else an address such as ``tcp://10.0.0.1:8786``.
    workers : processes of a local cluster, one thread each; 0: one a core.

    Raises UserError for a scheduler that does not answer, and for workers with other versions.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"this needs {' and '.join(missing)}, not installed here: pip install "
            '"cellseg-nb[brains]", and restart the kernel'
        )
    import dask
    import distributed

    if scheduler:
        _check_address(scheduler)
        try:
            client = distributed.Client(scheduler, timeout="10s", set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise UserError(
                f"the scheduler {scheduler} cannot be reached ({reason(error)}): is it running, and is its "
                "port open from here? Empty: a cluster on this machine"
            ) from error
        with client:
            _check_versions(client)
            yield client
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with (
        # Dask would sample what its workers do, and keep it: more memory the longer they work
        dask.config.set({"distributed.worker.profile.enabled": False}),
        distributed.LocalCluster(
            n_workers=workers or cores,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs="CRITICAL",
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _check_address(scheduler):
    """UserError for what is no address: a client that is given one ends 20 s later, with a traceback."""
    from distributed import Security
    from distributed.comm import get_address_host_port

    why = ""
    if scheduler.startswith("tls:") and not Security().get_connection_args("client").get("ssl_context"):
        why = "tls needs certificates, which Dask's configuration names under distributed.comm.tls"
    try:
        if not scheduler.startswith("inproc:"):  # of a cluster within this process: no port
            get_address_host_port(scheduler)
    except ValueError as error:
        why = reason(error)
    if why:
        raise UserError(
            f"{scheduler!r} is no address of a scheduler ({why}): give what it says when it starts, "
            "such as tcp://10.0.0.1:8786. Empty: this machine"
        )


def versions():
    """Versions that must agree between here and the workers: {package: version}."""
    from importlib.metadata import PackageNotFoundError, version

    from cellseg_nb import __version__

    found = {"python": "{}.{}".format(*sys.version_info)}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found | {"cellseg-nb": __version__}


def _check_versions(client):
    if not client.scheduler_info()["workers"]:
        raise UserError(
            f"the scheduler {client.scheduler.address} has no workers: start some (dask worker ADDRESS)"
        )
    own = versions()
    try:
        theirs = client.run(versions)
    except Exception as error:
        raise UserError(
            f"the workers of {client.scheduler.address} do not know this package ({reason(error)}): install "
            "the same version of cellseg-nb there"
        ) from error
    for worker, found in theirs.items():
        other = next((name for name in own if found.get(name) != own[name]), None)
        if other:
            raise UserError(
                f"the worker {worker} has {other} {found.get(other)}, here it is {own[other]}: "
                "install the same versions on both, so that all blocks are computed alike"
            )


def dashboard(client):
    """Where Dask shows what it does, in words."""
    if importlib.util.find_spec("bokeh") is None:
        return "Dask's dashboard needs bokeh: pip install bokeh"
    return f"Dask's dashboard: {client.dashboard_link}"


def peak_memory():
    """Most bytes this process has held at a time; None where the system does not say."""
    with contextlib.suppress(OSError, StopIteration):  # Linux counts what the parent held into ru_maxrss
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# ---------------------------------------------------------------- one block


def once(function, job, block, marker):
    """Compute a block and leave its marker, an .npz of what ``function(job, block)`` returns (a dict of
    arrays). Returns what it took: seconds of the clock and of the processor, the process's peak memory.

    Dask asks again for what a worker had done, but not told, when it died: nothing is left to do then.
    """
    began, processor = time.perf_counter(), time.process_time()
    give_back_freed()
    if not marker.exists():
        found = function(job, block) or {}
        with atomic(marker) as beside, open(beside, "wb") as file:
            np.savez(file, **found)
    return {
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - processor,
        "memory": peak_memory(),
    }


@functools.cache
def give_back_freed():
    """From now on this process gives back what is freed, where that can be asked for (glibc): else arrays of
    a block that are no more stay with it, in pieces. Dask's workers are started with the same setting."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, 65536)


def marker(folder, block):
    """The marker of a block in a folder of markers."""
    return folder / f"{block.name}.npz"


def each(client, function, job, every, folder, words):
    """Compute all blocks that have no marker yet.

    client : of Dask, or None: in this process, one after the other.
    function : ``function(job, block)``, importable on the workers.
    every : list of `cellseg_nb.brains.blocks.Block`. folder : of the markers. words : for the progress line.

    Returns ({block's name: why it failed}, list of what each computed block took).
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = {path.name for path in folder.iterdir()}
    left = [block for block in every if marker(folder, block).name not in there]
    failed, took = {}, []
    total = sum(int(np.prod(block.shape)) for block in left)
    with runtime.progress(total=total, unit="voxel", unit_scale=True, disable=not left) as bar:
        outcomes = _here(function, job, left, folder) if client is None else None
        outcomes = outcomes or _on_workers(client, function, job, left, folder)
        for done, (block, outcome) in enumerate(outcomes, 1):
            if isinstance(outcome, dict):
                took.append(outcome)
            else:
                failed[block.name] = outcome
            bar.set_description(f"{words}: chunk {done} of {len(left)}", refresh=False)
            bar.update(int(np.prod(block.shape)))
    return failed, took


def _here(function, job, left, folder):
    for block in left:
        for attempt in range(TRIES):
            try:
                yield block, once(function, job, block, marker(folder, block))
                break
            except Exception as error:
                if attempt == TRIES - 1:
                    yield block, reason(error)


def _on_workers(client, function, job, left, folder):
    import distributed

    waiting = iter(left)

    def submit(block):
        # pure=False: a task of this name may have failed in an earlier run
        place = marker(folder, block)
        future = client.submit(once, function, job, block, place, retries=TRIES - 1, pure=False)
        running[future] = block
        return future

    running = {}
    first = max(1, len(client.nthreads())) * AHEAD
    begun = [submit(block) for _, block in zip(range(first), waiting)]
    queue = distributed.as_completed(begun, loop=client.loop, with_results=True, raise_errors=False)
    for future, outcome in queue:
        block = running.pop(future)
        if future.status == "finished":
            yield block, outcome
        elif future.status == "error":
            yield block, why(future.exception())
        else:
            raise UserError("the connection to the scheduler was lost: start the run again, it will carry on")
        following = next(waiting, None)
        if following is not None:
            queue.add(submit(following))


def why(error):
    """Why a task of Dask failed, in a line."""
    if type(error).__name__ == "KilledWorker":
        return "its worker died each time, mostly for lack of memory: use smaller chunks, or fewer workers"
    return reason(error)
