"""``cellseg-nb doctor --class``: can this machine follow the class? One line a finding, a day before."""

import math
import os
import platform
import shutil
import statistics
import sys
import time
from typing import NamedTuple

from cellseg_nb import doctor, parameters, runtime
from cellseg_nb.errors import UserError

STEP = 0.14  # seconds a training step of notebook 00 takes on two cores alone (README)
# Minutes that the heads of the notebooks promise on two such cores, the larger where they give two.
MINUTES = {"00": 3, "01": 1, "02": 2, "03": 1, "04": 1, "05": 3, "06": 2, "07": 1.5, "08": 1}
MINUTES |= {"09": 1, "10": 3}
SLOW = 4  # times those minutes: over ten for notebook 00; a class of an hour cannot wait for that
MEMORY = 2.0  # GB free; notebook 00 on its sample took 1.14 at most (docs/teaching/hub.md)
DISK = 1.0  # GB free, for results: notebook 00 leaves 0.065
OK, SLOWLY, FAILED = "ok", "slow", "FAILED"


class Finding(NamedTuple):
    grade: str  # OK, SLOWLY or FAILED
    what: str
    words: str  # what was found, and where it is not well what to do


def report(seconds=60.0):
    """Print the findings, a short training of at most ``seconds`` among them. Returns 0, or 1 where one
    FAILED. Raises UserError for seconds below 0 or above an hour."""
    parameters.number("--seconds", seconds, 0, 3600)
    grades = []
    for finding in findings(seconds):
        print(f"{finding.grade:8s}{finding.what:12s}{finding.words}", flush=True)
        grades.append(finding.grade)
    return int(FAILED in grades)


def findings(seconds=60.0):
    """The findings one after another: what is quickly known first."""
    yield python()
    libraries = installed()
    yield libraries
    if libraries.grade == FAILED:
        return
    yield kernel()
    yield memory(runtime.free_memory() / 1e9)
    yield disk(shutil.disk_usage(os.getcwd()).free / 1e9)
    chosen = runtime.device()
    yield Finding(OK, "device", f"{chosen} ({runtime.device_words(chosen)})")
    try:
        step, trained = training(seconds)
    except UserError as error:
        yield Finding(FAILED, "training", str(error))
        return
    yield trained
    yield from outlook(step)


def python():
    """The version of Python."""
    tested = doctor.OLDEST <= sys.version_info[:2] <= doctor.NEWEST
    words = "{}.{} to {}.{}".format(*doctor.OLDEST, *doctor.NEWEST)
    more = "" if tested else f": not tested, {words} are; install one of those"
    return Finding(OK if tested else SLOWLY, "Python", platform.python_version() + more)


def installed():
    """The libraries that the notebooks need, by what is installed."""
    needed = (*doctor.CORE, "jupyterlab")
    missing = [name for name in needed if doctor.version(name) is None]
    if missing:
        words = f"missing: {', '.join(missing)}; pip install {' '.join(missing)}"
        return Finding(FAILED, "libraries", words)
    told = ", ".join(f"{name} {doctor.version(name)}" for name in ("torch", "numpy", "jupyterlab"))
    return Finding(OK, "libraries", f"all {len(needed)} are here ({told})")


def kernel():
    """Whether Jupyter finds a kernel called python3, as the notebooks ask for."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        folder = KernelSpecManager().get_kernel_spec("python3").resource_dir
    except NoSuchKernel:
        return Finding(
            FAILED, "kernel", "Jupyter finds no kernel python3: python -m ipykernel install --sys-prefix"
        )
    return Finding(OK, "kernel", folder)


def memory(free):
    """Free memory in GB."""
    if free < MEMORY:
        words = f"{free:.1f} GB free, {MEMORY:.0f} are needed: close programs, or share a machine"
        return Finding(FAILED, "memory", words)
    return Finding(OK, "memory", f"{free:.1f} GB free")


def disk(free):
    """Free disk space here in GB."""
    if free < DISK:
        return Finding(FAILED, "disk", f"{free:.1f} GB free here, {DISK:.0f} is needed: free some space")
    return Finding(OK, "disk", f"{free:.0f} GB free here")


def training(seconds=60.0):
    """Train notebook 00's network on the bundled sample for at most ``seconds`` (one epoch of two steps at
    least).

    Returns the seconds a step took, as the median over epochs, and a Finding. Raises UserError.
    """
    from cellseg_nb.data import bundled
    from cellseg_nb.io import volumes
    from cellseg_nb.learning import loop
    from cellseg_nb.methods import settings
    from cellseg_nb.methods.wnet3d import WNet3DMethod

    end = time.monotonic() + seconds

    def stop_in_time(history, model):
        if time.monotonic() > end:
            raise loop.Stop("the time is over")

    image, _ = volumes.read(bundled.path("sample/sample_image.tif"))
    options = {**settings.of("wnet3d", "demo"), "steps": 2, "epochs": 10000}
    history = WNet3DMethod(**options).fit([image], callbacks=[stop_in_time], progress=False)
    timed = [row["seconds"] / 2 for row in history]
    step = statistics.median(timed[1:] or timed)  # the first one also warms up
    told = f"{2 * len(history)} steps, {step:.2f} s each; SoftNCuts {history[0]['n_cuts']:.2f} to "
    return step, Finding(OK, "training", f"{told}{history[-1]['n_cuts']:.2f}")


def outlook(step):
    """What this machine can run, from the seconds of a training step: a Finding of the class, one of the
    paper."""
    factor = max(1.0, step / STEP)
    minutes = {name: math.ceil(factor * minutes) for name, minutes in MINUTES.items()}
    told = ", ".join(f"{name} {needed}" for name, needed in minutes.items())
    if factor > SLOW:
        yield Finding(
            SLOWLY,
            "class",
            f"minutes at this speed: {told}. Close other programs, set OMP_NUM_THREADS to the number of "
            "cores it may use, give notebook 00 -p epochs 10, or let two share a faster machine",
        )
    else:
        yield Finding(OK, "class", f"minutes at most, default parameters: {told}")
    gpu = runtime.device().type != "cpu"
    words = "a GPU is here" if gpu else 'no GPU: leave profile = "paper" to a machine that has one'
    yield Finding(OK, "paper", words)
