"""The viewer's speed: a slice and a brush stroke in a real browser, and a Zarr volume of 1024 voxels a side.

Needs Chromium and playwright for the first, zarr for the second; what is missing is said and left out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
OPEN = """
import json, resource, sys, time
import zarr
from cellseg_nb.viewer.view import View
started = time.perf_counter()
view = View(sys.argv[1], voxel_size=(1, 1, 1))
view.handle({"do": "hello"})
opened = time.perf_counter() - started
slices = []
for z in range(500, 540):
    started = time.perf_counter()
    view.handle({"do": "go", "at": [z, 512, 512]})
    slices.append(time.perf_counter() - started)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"open": opened, "slice": sorted(slices)[20], "MB": peak}))
"""


def in_browser():
    """Median milliseconds from the hand to the new picture, of a slice and of a stroke, 512 x 512 voxels."""
    import browser

    with tempfile.TemporaryDirectory() as folder, browser.page() as page:
        slices, strokes = browser.slices_and_strokes(page, folder)
    return float(np.median(slices)), float(np.median(strokes))


def on_disk(side=1024):
    """Seconds to open a Zarr volume of simulated cells, seconds a slice, peak memory in MB."""
    import zarr

    from cellseg_nb.data import simulate

    tile, _ = simulate.volume((128, 128, 128), 200, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        store = zarr.create_array(f"{folder}/v.zarr", shape=(side,) * 3, chunks=(64,) * 3, dtype="uint16")
        for z in range(0, side, 128):
            store[z : z + 128] = np.tile(tile, (1, side // 128, side // 128))
        run = subprocess.run([sys.executable, "-c", OPEN, f"{folder}/v.zarr"], capture_output=True, text=True)
        assert not run.returncode, run.stderr
        return json.loads(run.stdout)


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    import pytest

    for words, measure in (
        ("slice and stroke in the browser, ms", in_browser),
        ("Zarr, 1024 voxels a side", on_disk),
    ):
        try:
            print(f"{words}: {measure()}", flush=True)
        except (ImportError, pytest.skip.Exception) as error:
            print(f"{words}: left out, {error}")


if __name__ == "__main__":
    main()
