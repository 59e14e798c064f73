"""Notebook 00 with default parameters on the real volume c5 (347 annotated cells), three seeds.

CELLSEG_NB_REAL_DATA=folder python benchmarks/real_volume.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

image = Path(os.environ["CELLSEG_NB_REAL_DATA"]) / "mesospim" / "c5_image.tif"
print("seed  WNet3D  Otsu + Voronoi  minutes")
for seed in (0, 1, 2):
    with tempfile.TemporaryDirectory() as out:
        start = time.time()
        subprocess.run(
            [
                sys.executable,
                "-m",
                "cellseg_nb",
                "run",
                "00_quickstart",
                "-p",
                "images",
                str(image),
                "-p",
                "seed",
                str(seed),
                "-o",
                out,
            ],
            check=True,
            capture_output=True,
        )
        minutes = (time.time() - start) / 60
        counts = [row["cells"] for row in json.loads((Path(out) / "summary.json").read_text())["comparison"]]
    print(f"{seed:4d}  {counts[0]:6d}  {counts[1]:14d}  {minutes:7.1f}", flush=True)
