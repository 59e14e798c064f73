"""What `reproduce paper` costs, before it is run: trainings times steps times what a step was measured to."""

import json

from cellseg_nb.data import bundled
from cellseg_nb.methods import settings


def costs():
    """{method: {cpu_seconds, megabytes, more_megabytes, weights, from}} of a step with one cube, as measured
    (``data/reproduce_costs.json``, by ``benchmarks/steps.py``)."""
    return json.loads(bundled.path("reproduce_costs.json").read_text(encoding="utf-8"))


def training(method, cubes=0):
    """(hours on one CPU core, memory in GB, disk in GB) of one training at the paper's size; None where no
    measurement is stated.

    ``cubes``: how many an epoch sees, where the settings say 0 steps, which means each cube once. Seconds and
    memory grow with the cubes of a batch. On the disk: the weights, and a checkpoint with the running average
    and the optimiser's two moments, five times the weights in all.
    """
    known = costs().get(method)
    if known is None:
        return None
    options = settings.of(method, "paper")
    batch = options["batch"]
    seen = options["steps"] * batch or cubes
    hours = seen * options["epochs"] * known["cpu_seconds"] / 3600
    memory = (known["megabytes"] + (batch - 1) * known["more_megabytes"]) / 1e3
    return hours, memory, 5 * 4 * known["weights"] / 1e9


def words(plan, done=()):
    """Lines that say what the runs of a plan would cost, without those that are ``done``."""
    lines = ["run                       trainings  core hours  memory GB   disk GB"]
    total, largest, disk, unknown = 0.0, 0.0, 0.0, set()
    for one in plan:
        if one["run"] in done:
            lines.append(f"{one['run']:26s}is done already")
            continue
        each = {method: training(method, one["cubes"]) for method in one["trains"]}
        unknown |= {method for method, cost in each.items() if cost is None}
        known = [(one["trains"][method], *cost) for method, cost in each.items() if cost]
        hours = sum(count * needed for count, needed, _, _ in known)
        memory = max((needed for _, _, needed, _ in known), default=0.0)
        space = sum(count * needed for count, _, _, needed in known)
        count = sum(one["trains"].values())
        lines.append(f"{one['run']:26s}{count:9d}{hours:12.1f}{memory:11.1f}{space:10.1f}")
        total, largest, disk = total + hours, max(largest, memory), disk + space
    lines.append(f"{'all':26s}{'':9s}{total:12.1f}{largest:11.1f}{disk:10.1f}")
    lines.append(
        "Hours are of one CPU core, from steps measured with one cube of 64 voxels a side; nobody runs"
    )
    lines.append(
        "this on a CPU. On a GPU it was not measured: time one run there, and take its share of the total."
    )
    if unknown:
        lines.append(f"Not counted, since no step at this size was measured: {', '.join(sorted(unknown))}.")
    return lines
