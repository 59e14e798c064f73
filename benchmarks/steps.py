"""What a training step at the paper's size costs: CPU seconds and memory with one cube, one thread.

    python benchmarks/steps.py [wnet3d segresnet swinunetr]

CPU seconds depend little on who else uses the machine. Each network in a process of its own, so that its
memory is its own; one step to warm up, one measured. Prints JSON, which data/reproduce_costs.json holds.
"""

import json
import resource
import subprocess
import sys
import time

NETWORKS = ("wnet3d", "segresnet", "swinunetr")


def main(names):
    found = {}
    for name in names:
        run = subprocess.run(
            [sys.executable, __file__, "--one", name], stdout=subprocess.PIPE, text=True, check=True
        )
        found[name] = json.loads(run.stdout.splitlines()[-1])
        print(name, found[name], flush=True)
    print(json.dumps(found, indent=1))


def one(name):
    """{cpu_seconds, megabytes, more_megabytes, weights}: of a step, of the process, of these for the cube."""
    import numpy as np
    import torch

    from cellseg_nb import methods
    from cellseg_nb.methods import settings

    torch.set_num_threads(1)
    options = settings.of(name, "paper") | {"batch": 1, "steps": 1, "epochs": 2, "device": "cpu"}
    method = methods.get(name, **options)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(64, 64, 64)).astype(np.float32)
    labels = np.zeros((64, 64, 64), np.int32)
    labels[20:40, 20:40, 20:40] = 1
    before, spent = peak(), []

    def note(history, model):
        spent.append(time.process_time())

    begun = time.process_time()
    method.fit([image], [labels], callbacks=[note], progress=False)
    weights = sum(weight.numel() for weight in method.model.parameters())
    second = spent[1] - (spent[0] if spent else begun)
    return {
        "cpu_seconds": round(second, 1),
        "megabytes": peak(),
        "more_megabytes": peak() - before,
        "weights": weights,
    }


def peak():
    """Largest memory of this process so far, in MB (Linux counts in kB)."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(sys.argv[2])))
    else:
        main(sys.argv[1:] or NETWORKS)
