"""Damaged files of every kind, in a process of their own: never a traceback, a hang, much memory, or a "
"file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# All 2,000 take about a minute: CELLSEG_NB_FUZZ=2000. Another seed damages other bytes.
COUNT, SEED = os.environ.get("CELLSEG_NB_FUZZ", "240"), os.environ.get("CELLSEG_NB_FUZZ_SEED", "0")


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux counts it"
)
def test_damaged_files_are_read_or_refused_in_one_line():
    command = [sys.executable, str(Path(__file__).with_name("fuzzing.py")), COUNT, SEED]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, f"crashed at: {run.stderr[-600:]}"
    found = json.loads(run.stdout.splitlines()[-1])
    assert not found["problems"], "\n".join(found["problems"])
    counts = found["outcomes"].values()
    assert sum(sum(one.values()) for one in counts) == int(COUNT) and len(counts) >= 16
    assert all(one.get("refused") for one in counts)  # damage of each kind is noticed
