"""Make ``data/prior/prior.npz``: a small network that learns what cells look like on simulated tissues alone.

    OMP_NUM_THREADS=1 python tools/train_prior.py [--out FILE] [--scenes N] [--steps N] [--seed N]
        [--start FILE] [--check]

No recorded volume is read. How instances are taken from the network's maps (`SETTINGS` of
`cellseg_nb.cells.prior`) is chosen here too, on simulated tissues that it has not learned from; ``--check``
prints the table of what was tried for the weights that are there.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import torch

from cellseg_nb.cells import prior
from cellseg_nb.data import tissues
from cellseg_nb.evaluation import centres, metrics
from cellseg_nb.io import files
from cellseg_nb.learning.simulated import Cubes, PriorLoss, target

CUBE, BATCH, RATE = 36, 5, 3e-3
HELD_OUT = 100_000  # seeds of the tissues it is checked on begin here


def width(tissue, seed, spread):
    """Of a cell in voxels, wrong by as much as an estimate may be."""
    wrong = np.random.default_rng(seed).normal(0, spread)
    return tissue.width * np.exp(np.clip(wrong, -2 * spread, 2 * spread))


def scene(seed):
    """One tissue as the network sees it, the size of its cells not quite right: view and target, float16."""
    tissue = tissues.draw(seed)
    view = prior.view(tissue.image, width(tissue, [seed, 15], 0.18))
    wanted = prior.resized(target(tissue.labels, tissue.width), view.shape[1:])
    more = [(0, 0), *((0, max(0, CUBE - side)) for side in view.shape[1:])]
    return [np.pad(part, more, "symmetric").astype(np.float16) for part in (view, wanted)]


def train(scenes, steps, seed, start=None):
    """The network: AdamW, one cycle of the learning rate (Smith 2018)."""
    torch.manual_seed(seed)
    began = time.time()
    drawn = [scene(seed * 10_000 + number) for number in range(scenes)]
    print(f"{len(drawn)} tissues, {time.time() - began:.0f} s", flush=True)
    model = (prior.read(start) if start else prior.network()).train()
    model = model.to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    loss, total = PriorLoss(), 0.0
    cubes = Cubes(drawn, CUBE, BATCH, steps)
    for step, (seen, wanted) in enumerate(cubes(0, np.random.default_rng(seed)), 1):
        with torch.autocast("cpu", torch.bfloat16):  # half the time where the processor knows it
            found = model(seen.to(memory_format=torch.channels_last_3d))
        value = loss.of(found.float(), wanted)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += value.item()
        if step % 100 == 0:
            print(f"step {step}: loss {total / 100:.3f}, {time.time() - began:.0f} s", flush=True)
            total = 0.0
    return model.eval()


def save(model, path):
    arrays = {
        name: value.detach().numpy().astype(np.float16)
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    files.writable_folder(path.parent)
    with files.atomic(path) as beside, open(beside, "wb") as file:
        np.savez_compressed(file, **arrays)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def check(model, count=30):
    """F1@0.5 and F1 of centres over held-out tissues, for each way to take the instances."""
    ways = [dict(zip(prior.TRIED, values)) for values in itertools.product(*prior.TRIED.values())]
    scores = np.zeros((len(ways), count, 2))
    for number in range(count):
        tissue = tissues.draw(HELD_OUT + number, layout=tissues.LAYOUTS[number % len(tissues.LAYOUTS)])
        wide = width(tissue, [number, 16], 0.15)
        found = prior.maps(model, tissue.image, wide)
        for way, options in enumerate(ways):
            prior.SUMMIT, prior.BLUR = options["SUMMIT"], options["BLUR"]
            given = {name: options[name] for name in prior.SETTINGS}
            labels = prior.instances_of(found, wide, **given)
            near = centres.match_centres(tissue.labels, labels, 1 / tissue.width, 0.5)
            scores[way, number] = metrics.match(tissue.labels, labels, (0.5,)).f1[0], near["f1"]
    scores = np.where(np.isfinite(scores), scores, np.nan)
    mean = np.nanmean(scores, 1)
    for way in np.argsort(-mean.sum(1), kind="stable")[:12]:
        print(ways[way], "F1@0.5 {:.3f}, of centres {:.3f}".format(*mean[way]))
    best = int(np.argmax(mean.sum(1)))
    for first, layout in enumerate(tissues.LAYOUTS):
        own = scores[best, first :: len(tissues.LAYOUTS)]
        print(layout, "F1@0.5 {:.3f}, of centres {:.3f}".format(*np.nanmean(own, 0)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    root = Path(__file__).parents[1]
    parser.add_argument("--out", type=Path, default=root / "data" / prior.FILE)
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="weights to learn on from")
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    if not chosen.check:
        save(train(chosen.scenes, chosen.steps, chosen.seed, chosen.start), chosen.out)
    if chosen.check:
        check(prior.read(chosen.out))


if __name__ == "__main__":
    main()
