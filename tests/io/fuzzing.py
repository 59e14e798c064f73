"""Damages files of each kind, byte by byte, and reads them: `python fuzzing.py COUNT SEED [KIND,...]`.

In a process of its own, since a library may crash it. Prints JSON: outcomes by kind, what broke the rules.
"""

import contextlib
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import samples

from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes

# Seconds of a core, however busy it is; of a file's voxels as float32; what libraries load on first use.
SECONDS, TIMES, SLACK = 10, 4, 48e6


class TooLong(BaseException):
    """The clock rang."""


def ring(*_):
    raise TooLong


def damage(path, chance):
    """Flip some bytes of a file, or cut it, or put a piece of it elsewhere. Returns what was done."""
    file = path if path.is_file() else chance.choice(sorted(f for f in path.rglob("*") if f.is_file()))
    content = bytearray(file.read_bytes())
    kind = chance.choice(["flip", "flip", "head", "head", "cut", "move", "zero"])
    # Heads decide most: half of the flips hit the first bytes, and for TIFF and Imaris the last as well.
    if kind in ("flip", "head"):
        for _ in range(chance.choice([1, 1, 2, 8])):
            reach = len(content) if kind == "flip" else min(len(content), 600)
            at = chance.randrange(reach)
            at = at if kind == "flip" or chance.random() < 0.7 else len(content) - 1 - at
            content[at] ^= 1 << chance.randrange(8) if chance.random() < 0.5 else chance.randrange(1, 256)
    elif kind == "cut":
        del content[chance.randrange(len(content)) :]
    else:
        at, other = chance.randrange(len(content)), chance.randrange(len(content))
        length = chance.randrange(1, 64)
        piece = bytes(length) if kind == "zero" else content[other : other + length]
        content[at : at + length] = piece
    file.write_bytes(content)
    return f"{kind} {file.name}"


def memory(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def attempt(path, place):
    """Read a damaged file: what came out, and what is wrong with that, or ""."""
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    listing, started = sorted(p.name for p in place.iterdir()), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            found, _ = volumes.read(path)
        outcome, allowed = "read", TIMES * found.nbytes
        problem = "" if found.ndim == 3 else "not three axes"
    except UserError as error:
        line, outcome, allowed = str(error), "refused", TIMES * samples.VOLUME.size * 4
        problem = "" if "\n" not in line and str(path) in line and ": " in line else f"not one line: {line!r}"
    except TooLong:
        return "hung", f"over {SECONDS} s"
    except BaseException:
        return "broke", traceback.format_exc()[-600:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if sorted(p.name for p in place.iterdir()) != listing:
        problem = problem or "wrote into the folder of the input"
    if memory("VmHWM") - before > allowed + SLACK:
        problem = (
            problem or f"took {(memory('VmHWM') - before) / 1e6:.0f} MB for {allowed / TIMES / 1e6:.1f} MB"
        )
    if time.process_time() - started > SECONDS:
        problem = problem or "slow"
    return outcome, problem


def main(count, seed, kinds=""):
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, ring)
    chance, outcomes, problems = random.Random(seed), {}, []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "in"
        (Path(folder) / "whole").mkdir()
        whole = samples.all_of_them(Path(folder) / "whole")
        whole = {kind: path for kind, path in whole.items() if not kinds or kind in kinds.split(",")}
        for path in whole.values():  # libraries load
            with contextlib.redirect_stdout(io.StringIO()):
                volumes.read(path)
        resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + 4 * 2**30, -1))
        for number in range(count):
            kind, path = list(whole.items())[number % len(whole)]
            place.mkdir()
            target = place / path.name
            (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
            done = damage(target, chance)
            print(number, kind, done, file=sys.stderr, flush=True)  # the last line tells what crashed
            outcome, problem = attempt(target, place)
            counts = outcomes.setdefault(kind, {})
            counts[outcome] = counts.get(outcome, 0) + 1
            if problem:
                problems.append(f"{number} {kind}, {done}: {problem}")
            shutil.rmtree(place)
    print(json.dumps({"outcomes": outcomes, "problems": problems}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
