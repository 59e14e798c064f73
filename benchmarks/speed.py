"""Ours and its peer side by side, with the same answer: ``make bench``.

    python benchmarks/speed.py [--only NAMES] [--short] [--pairs N] [--out FOLDER]

Each row runs in a process of its own: peer, ours, peer, ours, ...; the ratio is the median over the pairs of
processor seconds (of all threads and processes), so that other programs and a machine that is slower for a
while count little; that of the clock stands beside it. Two more processes say how much memory one call of
each takes. A peer is a library of the registry, or, where there is none, our plain reading of its published
algorithm (said in the row). Rows go into ``speed.json``, ``speed.md`` and ``speed.png``. ``--short``: smaller
volumes, three pairs, no memory; it ends with 1 where a ratio is under two thirds of its bar in every pair.
"""

import argparse
import ctypes
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from cellseg_nb.io import files

sys.path.insert(0, str(Path(__file__).parent))  # where this file is loaded by its path
import speed_real  # noqa: E402, F401
from speed_rows import ROWS  # noqa: E402

# ---------------------------------------------------------------- one row, in a process of its own


def pairs(name, short, count):
    """Processor seconds and seconds of peer and ours, one after the other; the first pair, to warm up, is not
    counted. Raises where their results differ."""
    peer, ours, same = ROWS[name]["make"](short)
    limit, found = ROWS[name].get("limit"), []
    for _ in range(count + 1):
        begun, answers = [(_processor(), time.perf_counter())], []
        for call in (peer, ours):
            answers.append(call() if call else None)
            begun.append((_processor(), time.perf_counter()))
        assert same(*answers), f"{name}: ours and its peer do not agree"
        spent = [[after[i] - before[i] for before, after in zip(begun, begun[1:])] for i in (0, 1)]
        if limit:  # is one of the clock
            spent = [[limit, spent[1][1]]] * 2
        found.append(spent)
    processor, clock = zip(*found[1:])
    return {"processor": processor, "seconds": clock}


def _processor():
    """Seconds of all threads, and of processes that this one has started and that have ended."""
    return time.process_time() + sum(os.times()[2:4])


def memory(name, short, side):
    """Megabytes that one call takes on top of what is there before it; nothing without Linux's count of the
    peak."""
    call = ROWS[name]["make"](short)[side]
    before = peak_from_now()
    if before is None:
        return {}
    call()
    return {"megabytes": peak_above(before)}


def peak_from_now():
    """Kilobytes that are in memory now, from where the peak begins anew; None where that is not counted."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before is not there to be used again
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except (OSError, AttributeError):
        return None


def peak_above(before):
    """Megabytes of the peak since then."""
    return (_status("VmHWM") - before) / 1024


def _status(name):
    """A number of kilobytes from the kernel's words on this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def alone(*arguments):
    """What this script prints in a process of its own, as JSON."""
    command = [sys.executable, __file__, "--one", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{arguments[0]}: {ran.stderr.strip().splitlines()[-1]}")
    for line in dict.fromkeys(ran.stderr.splitlines()):
        if line.startswith(f"{arguments[0]}: "):  # what a row says of its answers
            print(line, flush=True)
    return json.loads(ran.stdout.strip().splitlines()[-1])


def measured(name, short, count):
    found = alone(name, short, min(count, ROWS[name].get("pairs", count)))
    peer, ours = (statistics.median(pair[i] for pair in found["processor"]) for i in (0, 1))
    ratios, by_clock = ([a / b for a, b in found[what]] for what in ("processor", "seconds"))
    one = {
        "work": ROWS[name]["words"] + (", but smaller" if short else ""),
        "peer": ROWS[name]["peer"],
        "peer_seconds": peer,
        "our_seconds": ours,
        "ratio": statistics.median(ratios),
        "best": max(ratios),
        "by_clock": statistics.median(by_clock),
        "bar": ROWS[name]["bar"],
    }
    if not short and "limit" not in ROWS[name]:
        taken = {who: alone(name, short, 0, i) for i, who in enumerate(("peer", "our"))}
        one |= {f"{who}_mb": found["megabytes"] for who, found in taken.items() if found}
    return name, one


# ---------------------------------------------------------------- tables


def machine():
    import torch

    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none was there",
    }


def markdown(rows):
    """One line a row, ours against its peer."""
    lines = [
        "| work | peer | peer, s | ours, s | ratio | by the clock | bar | MB, peer | MB, ours |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in rows.values():
        mb = [f"{one[f'{who}_mb']:.0f}" if f"{who}_mb" in one else "" for who in ("peer", "our")]
        lines.append(
            f"| {one['work']} | {one['peer']} | {one['peer_seconds']:.3g} | {one['our_seconds']:.3g} "
            f"| {one['ratio']:.3g} | {one['by_clock']:.3g} | {one['bar']:.2g} | {mb[0]} | {mb[1]} |"
        )
    return "\n".join(lines) + "\n"


def picture(rows, path):
    import matplotlib.pyplot as plt

    names = list(rows)[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.5 * len(names) + 1.4), layout="constrained")
    axes.barh(names, [rows[name]["ratio"] for name in names], color="#2a7fb8", label="measured")
    axes.plot([rows[name]["bar"] for name in names], names, "k|", ms=18, mew=2, label="bar")
    axes.set(xscale="log", xlabel="times as fast as the peer")
    axes.axvline(1, color="grey", lw=1)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--out", default="results/speed")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        name, short, count, *side = chosen.one
        short = short == "True"
        print(json.dumps(memory(name, short, int(side[0])) if side else pairs(name, short, int(count))))
        return 0
    out, rows = files.writable_folder(chosen.out), {}
    for name in chosen.only:
        if chosen.short and ROWS[name]["slow"]:
            continue
        if missing := lacks(ROWS[name]):
            print(f"{name}: left out, {missing}", flush=True)
            continue
        rows |= [measured(name, chosen.short, 3 if chosen.short else chosen.pairs)]
        print(f"{name}: {rows[name]['ratio']:.1f} times as fast (bar {rows[name]['bar']:.2g})", flush=True)
    files.write_json(out / "speed.json", {"machine": machine(), "short": chosen.short, "rows": rows})
    with files.atomic(out / "speed.md") as beside:
        beside.write_text(markdown(rows), encoding="utf-8")
    with files.atomic(out / "speed.png") as beside:
        picture(rows, beside)
    return complaints(rows) if chosen.short else 0


def lacks(one):
    """What a row needs and is not there, in words."""
    if "needs" in one and not importlib.util.find_spec(one["needs"]):
        return f"{one['needs']} is not installed"
    if one.get("real") and "CELLSEG_NB_REAL_DATA" not in os.environ:
        return "CELLSEG_NB_REAL_DATA is not set"
    return ""


def complaints(rows):
    """1 where a row is under two thirds of its bar in every pair. Where it is in most, but not in all, other
    programs have taken the processor's caches: that is said, and no more."""
    sure = slow(rows)
    noisy = [name for name, one in rows.items() if one["ratio"] < 2 / 3 * one["bar"] and name not in sure]
    if noisy:
        print(f"too noisy to say: {', '.join(noisy)}")
    if sure:
        print(f"under two thirds of its bar: {', '.join(sure)}")
    return int(bool(sure))


def slow(rows):
    """Names of the rows that are under two thirds of their bar in every pair."""
    return [name for name, one in rows.items() if max(one["ratio"], one["best"]) < 2 / 3 * one["bar"]]


if __name__ == "__main__":
    sys.exit(main())
