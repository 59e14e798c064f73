"""How time and memory grow with the side of a volume: training step, prediction, separation, table.

    python benchmarks/growth.py [--sides 64 96 128 192 256] [--only NAMES] [--times N] [--out FOLDER]

Each in a process of its own: one call to warm up, then the least processor seconds of N calls, and the
megabytes that a call takes on top of its input. Twice the side is eight times the voxels: what grows with
them costs the same for each voxel at every side. Rows go into ``growth.json``, ``growth.md``, ``growth.png``;
rows of an earlier run that lie there stay, unless they are measured again: ``--only step --sides 128`` adds
one.

The training step is one of the laptop's widths on one cube of that side; `STEP` is the largest that a
machine of 16 GB holds.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from cellseg_nb.io import files

sys.path.insert(0, str(Path(__file__).parent))
import speed  # noqa: E402

STEP = 160
CELLS = 5000 / 256**3  # a voxel, as in the rows of speed.py
COLOURS = dict(step="#d1495b", prediction="#2a7fb8", separation="#3c8d5a", table="#8a5fb0")


def simulated(side):
    from cellseg_nb.data import simulate

    return simulate.volume((side,) * 3, max(1, round(CELLS * side**3)), seed=0)


def step(side):
    import torch

    from cellseg_nb.networks.wnet3d import LAPTOP_CHANNELS, WNet3D
    from cellseg_nb.networks.wnet3d_loss import WNetLoss

    torch.manual_seed(0)
    model, loss = WNet3D(channels=LAPTOP_CHANNELS).train(), WNetLoss(balance="fixed")
    volume = 100 * torch.rand(1, 1, side, side, side)

    def one():
        model.zero_grad()
        loss(model, volume)["loss"].backward()

    return one


def prediction(side):
    import torch

    from cellseg_nb.cells import inference
    from cellseg_nb.networks.wnet3d import LAPTOP_CHANNELS, UNet

    torch.manual_seed(0)
    network = UNet(1, 2, LAPTOP_CHANNELS, softmax=True).eval()
    volume = 100 * np.random.default_rng(0).random((side,) * 3, np.float32)
    return lambda: inference.predict(
        network, volume, device="cpu", progress=False, bytes_per_voxel=32 * LAPTOP_CHANNELS[0]
    )


def separation(side):
    from cellseg_nb.cells.separate import separate

    image, _ = simulated(side)
    return lambda: separate(image, diameter=8.0)


def table(side):
    from cellseg_nb.cells import instances

    image, labels = simulated(side)
    return lambda: instances.table(labels, image)


WORKS = {work.__name__: work for work in (step, prediction, separation, table)}


def one(name, side, times):
    """{side, seconds, megabytes} of a work at a side."""
    WORKS[name](32)()  # what is loaded and made once
    call, taken = WORKS[name](side), {}
    before = speed.peak_from_now()
    seconds = []
    for _ in range(times):
        begun = time.process_time()
        call()
        seconds.append(time.process_time() - begun)
    if before is not None:
        taken["megabytes"] = round(speed.peak_above(before), 1)
    return {"side": side, "seconds": min(seconds), **taken}


def before(path):
    """{work: rows} of an earlier run, or nothing."""
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else {}


def markdown(found):
    """For each work and side: cost, and cost for each voxel over that at side 128."""
    lines = ["| work | side | seconds | MB | seconds a voxel | MB a voxel |", "|---|---|---|---|---|---|"]
    for name, rows in found.items():
        for row in rows:
            shares = [against(rows, row, what) for what in ("seconds", "megabytes")]
            cells = [name, row["side"], f"{row['seconds']:.3g}", row.get("megabytes", "")]
            cells += [f"{share:.2f}" if share else "" for share in shares]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def against(rows, row, what, middle=128):
    """Cost a voxel over that of the same work at the middle side; None where one is not known."""
    other = next((each for each in rows if each["side"] == middle), {})
    if not (row.get(what) and other.get(what)):
        return None
    return row[what] / row["side"] ** 3 / (other[what] / middle**3)


def picture(found, path):
    import matplotlib.pyplot as plt

    figure, every = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    for axes, what, words in zip(every, ("seconds", "megabytes"), ("processor seconds", "megabytes")):
        for name, rows in found.items():
            known = [(row["side"], row[what]) for row in rows if row.get(what)]
            if not known:
                continue
            sides, costs = zip(*known)
            axes.plot(sides, costs, "o-", color=COLOURS[name], label=name)
            reach = np.array([sides[0], sides[-1]])
            middle = len(sides) // 2
            axes.plot(reach, costs[middle] * (reach / sides[middle]) ** 3, ":", color=COLOURS[name], lw=1)
        axes.set(xscale="log", yscale="log", xlabel="side, voxels", ylabel=words)
        ticks = sorted({row["side"] for rows in found.values() for row in rows})
        axes.set_xticks(ticks, map(str, ticks))
        axes.minorticks_off()
    every[0].plot([], [], ":", color="grey", label="as the voxels")
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 96, 128, 192, 256])
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--out", default="results/growth")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(one(chosen.one[0], int(chosen.one[1]), int(chosen.one[2]))))
        return
    out = files.writable_folder(chosen.out)
    found = before(out / "growth.json")
    for name in chosen.only:
        for side in (side for side in chosen.sides if name != "step" or side <= STEP):
            command = [sys.executable, __file__, "--one", name, str(side), str(chosen.times)]
            ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            row = json.loads(ran.stdout.splitlines()[-1])
            others = [each for each in found.get(name, []) if each["side"] != side]
            found[name] = sorted([*others, row], key=lambda each: each["side"])
            print(name, row, flush=True)
    files.write_json(out / "growth.json", {"machine": speed.machine(), "rows": found})
    with files.atomic(out / "growth.md") as beside:
        beside.write_text(markdown(found), encoding="utf-8")
    with files.atomic(out / "growth.png") as beside:
        picture(found, beside)


if __name__ == "__main__":
    main()
