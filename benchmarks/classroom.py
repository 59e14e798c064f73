"""Several students at once on one machine: notebook 00 alone, then N of it at the same time, one thread each.

python benchmarks/classroom.py [N] [EPOCHS] [FOLDER]

EPOCHS 0: as many as the notebook has. Prints, for each run, seconds on the clock, processor seconds, and the
memory of its largest process.
"""

import os
import sys
import time
from pathlib import Path


def started(number, epochs, folder):
    """A run of notebook 00 in a process of its own. Returns its id."""
    out = Path(folder) / f"student_{number}"
    command = [sys.executable, "-m", "cellseg_nb", "run", "00_quickstart", "-o", str(out)]
    command += ["-p", "epochs", str(epochs)] if epochs else []
    silent = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, silent, stream) for stream in (1, 2)]
    return os.posix_spawn(command[0], command, {**os.environ, "OMP_NUM_THREADS": "1"}, file_actions=actions)


def at_once(numbers, epochs, folder):
    """(seconds, processor seconds, GB, exit status) of each run, all started together."""
    start, waiting, rows = time.perf_counter(), {started(number, epochs, folder) for number in numbers}, []
    while waiting:
        process, status, used = os.wait4(-1, 0)
        waiting.discard(process)
        seconds = time.perf_counter() - start
        gigabytes = used.ru_maxrss * 1024 / 1e9  # of the largest process of that run; Linux counts in kB
        rows.append((seconds, used.ru_utime + used.ru_stime, gigabytes, os.waitstatus_to_exitcode(status)))
    return rows


def main(number=6, epochs=0, folder="results/classroom"):
    """Print both measurements, and what else keeps the machine busy."""
    for words, numbers in (("alone", [0]), (f"{number} at once", range(1, number + 1))):
        print(f"{words}: {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
        for seconds, processor, gigabytes, status in at_once(numbers, epochs, folder):
            print(f"  {seconds:6.0f} s, {processor:6.0f} processor s, {gigabytes:.2f} GB, status {status}")


if __name__ == "__main__":
    main(*(kind(word) for kind, word in zip((int, int, str), sys.argv[1:])))
