"""How much memory and time reading a large volume takes, by kind of file.

    python benchmarks/reading.py [GB] [callers]

Writes a volume of that many GB (1) as uint16 and as float32 into the folder for temporary files, reads each
in a process of its own, and prints the peak of that process above what it held before, as a multiple of the
file and of the volume that is returned: as stored (``narrow``, as notebook 00 reads) and as float32. Then the
same for a TIFF of uint16 as each notebook and command reads it. The files are deleted.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

# Who reads: what is run, of a path; what it leaves has nbytes.
CALLERS = {
    "notebook 00": """
from cellseg_nb import parameters, runs
from cellseg_nb.lessons import quickstart
given = runs.parameters(runs.find("00_quickstart"))
def call():
    choice = parameters.check(quickstart.PARAMETERS, given | {"images": path, "out": path + ".out"})
    return quickstart.load(quickstart.resolved(choice))[0].image""",
    "viewer": """
from cellseg_nb.viewer import source
call = lambda: source.opened(path).array""",
    "convert": """
import numpy as np, os
from cellseg_nb.io import convert
call = lambda: np.empty(os.path.getsize(convert.convert(path, path + ".out.tif")), "u1")""",
    "notebook 09 (a block)": """
from cellseg_nb.brains import sources
call = lambda: sources.find(path).read((slice(0, 64),) * 3)""",
    "data sets (01 to 03, 05 to 07)": """
from cellseg_nb.data import datasets
from cellseg_nb.data.pairing import Pair
from pathlib import Path
call = lambda: datasets.load(Pair("a", Path(path), None))[0]""",
    "notebook 04": """
from cellseg_nb.lessons import inference
from pathlib import Path
call = lambda: inference.read(Path(path), {"voxel_size": None}).image""",
    "notebook 10, panels": """
from cellseg_nb.io import volumes
call = lambda: volumes.read_one(path, "here")[0]""",
    "labels": """
from cellseg_nb.io import volumes
call = lambda: volumes.read_labels(path)[0]""",
}
BY = """
import shutil, sys, time
def memory(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
from pathlib import Path
path = sys.argv[2]
{caller}
call()  # libraries load
path = sys.argv[1]
before = memory("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
start = time.perf_counter()
found = call()
print(memory("VmHWM") - before, found.nbytes, round(time.perf_counter() - start, 1))
"""
READ = """
import sys, time
def memory(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))
from pathlib import Path
import numpy as np
from cellseg_nb.io import loading, volumes
small = Path(sys.argv[2])
volumes.read(small)  # libraries load
before = memory("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
start = time.perf_counter()
volume, size = volumes.read(sys.argv[1], narrow=sys.argv[3] == "narrow")
print(memory("VmHWM") - before, volume.nbytes, round(time.perf_counter() - start, 1))
"""


def write(path, kind, array):
    import h5py
    import nibabel
    import tifffile

    from cellseg_nb.io import ngff_writing

    if kind in ("tiff", "bigtiff zlib"):
        more = {"compression": "zlib"} if "zlib" in kind else {}
        tifffile.imwrite(path, array, bigtiff="big" in kind, metadata={"axes": "ZYX"}, **more)
    elif kind == "tiff pages":
        with tifffile.TiffWriter(path) as writer:
            for plane in array:
                writer.write(plane, metadata=None, contiguous=False)
    elif kind == "ome-zarr":
        ngff_writing.write(path, array, (1, 1, 1))
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file.create_dataset("raw", data=array, chunks=(16, 16, 16))
    else:
        nibabel.save(nibabel.Nifti1Image(array.T, None), path)


ENDINGS = {
    "tiff": ".tif",
    "bigtiff zlib": ".tif",
    "tiff pages": ".tif",
    "ome-zarr": ".zarr",
    "hdf5": ".h5",
    "nifti": ".nii",
}


def callers(size):
    side = round((size * 1e9 / 2) ** (1 / 3))
    rng = np.random.default_rng(0)
    print("read by, peak / file, peak / what is returned, seconds")
    for name, caller in CALLERS.items():
        with tempfile.TemporaryDirectory() as folder:
            large, other = Path(folder) / "large.tif", Path(folder) / "small.tif"
            cell = np.ones((20, 20, 20), np.uint16)
            cell[-4:] = cell[:, -4:] = cell[:, :, -4:] = 0
            for path, n in ((other, 40), (large, side)):
                if name == "labels":
                    blocks = np.arange(1, (n // 20 + 1) ** 3 + 1, dtype=np.uint16).reshape([n // 20 + 1] * 3)
                    array = np.kron(blocks, cell)[:n, :n, :n]
                else:
                    plane = rng.integers(0, 999, (n, n), np.uint16)
                    array = np.stack([np.roll(plane, z) for z in range(n)])
                write(path, "tiff", array)
                nbytes = array.nbytes
                del array
            command = [sys.executable, "-c", BY.format(caller=caller), str(large), str(other)]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                print(name, run.stderr.strip().splitlines()[-1])
                continue
            peak, returned, seconds = run.stdout.split()[-3:]
            print(f"{name}, {int(peak) / nbytes:.2f}, {int(peak) / int(returned):.2f}, {seconds}", flush=True)


def main(size):
    rng = np.random.default_rng(0)
    print("kind, stored as, read as, file GB, peak / file, peak / volume, seconds")
    for dtype in (np.uint16, np.float32):
        side = round((size * 1e9 / np.dtype(dtype).itemsize) ** (1 / 3))
        small = rng.integers(0, 999, (20, 24, 28)).astype(dtype)
        plane = rng.integers(0, 999, (side, side)).astype(dtype)
        for kind, ending in ENDINGS.items():
            with tempfile.TemporaryDirectory() as folder:
                large, other = Path(folder) / f"large{ending}", Path(folder) / f"small{ending}"
                write(other, kind, small)
                array = np.empty((side, side, side), dtype)
                for z in range(side):
                    array[z] = np.roll(plane, z)
                write(large, kind, array)
                nbytes = array.nbytes
                del array
                for read in ("narrow", "float32")[np.dtype(dtype) == np.float32 :]:
                    command = [sys.executable, "-c", READ, str(large), str(other), read]
                    run = subprocess.run(command, capture_output=True, text=True, check=True)
                    shown = "progress" if "Reading" in run.stderr else "no progress"
                    peak, volume, seconds = run.stdout.split()[-3:]
                    print(
                        f"{kind}, {np.dtype(dtype).name}, {read}, {nbytes / 1e9:.2f}, "
                        f"{int(peak) / nbytes:.2f}, {int(peak) / int(volume):.2f}, {seconds}, {shown}",
                        flush=True,
                    )


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:] if word != "callers"] or [1.0]
    if "callers" not in sys.argv:
        main(*given)
    callers(*given)
