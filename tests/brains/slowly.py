"""A run over a brain that takes its time at each chunk, as a process of its own: for tests that kill it."""

import sys
import time
from pathlib import Path

from cellseg_nb.brains import engine, outputs, run, segment, sources, stages

DIAMETER, CHUNK, REST = 16.0, 24, 0.15
quick = stages.cells


def cells(job, block):
    time.sleep(REST)
    return quick(job, block)


def everything(client, source, out):
    """From the coarse maps to the table. Returns the table."""
    source = sources.find(source)
    how = segment.recipe("otsu", DIAMETER, source.voxel_size)
    job, _ = run.measure(client, run.begin(source, out, run.look(source, DIAMETER), how, CHUNK))
    failed, _ = run.segment_all(client, job)
    assert not failed, failed
    table = run.number(job, 20)
    run.write_labels(client, job)
    outputs.table(out, table)
    outputs.points(out, table)
    outputs.write_density(out, outputs.density(table, source.shape, source.voxel_size))
    return table


if __name__ == "__main__":
    import slowly  # by the name that workers know it by

    stages.cells = slowly.cells
    with engine.connected(workers=2) as one:
        everything(one, sys.argv[1], Path(sys.argv[2]))
