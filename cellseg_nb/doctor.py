"""What is installed, what is missing and how to get it, which device would be used."""

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path

from cellseg_nb import __version__, methods
from cellseg_nb.io import formats

CORE = (
    "torch monai numpy scipy pandas scikit-image connected-components-3d tifffile imagecodecs zarr h5py "
    "nibabel pynrrd matplotlib pooch huggingface_hub safetensors scikit-posthocs statsmodels ipywidgets "
    "anywidget ipykernel papermill nbconvert"
).split()
RIVALS = ("cellpose", "stardist")
OLDEST, NEWEST = (3, 11), (3, 13)  # Pythons the project is tested with


def report():
    """Print the report. Returns 0 when everything needed is there, else 1."""
    missing = [name for name in CORE if not _line(name, "pip install cellseg-nb")]
    _line("jupyterlab", "pip install jupyterlab  (or open the notebooks in VS Code)", optional=True)
    for name in RIVALS:
        _line(name, f"{methods.install_words(name)}  (in a clone: make setup-rivals)", optional=True)
    for name, what in formats.EXTRAS.items():
        _line(name, f"pip install {name}  ({what})", optional=True)
    _line(_tensorflow(), methods.install_words("tensorflow") + "  (StarDist needs it)", optional=True)
    print()
    print(f"{'cellseg-nb':26s}{__version__} in {Path(__file__).parent}")
    print(f"{'Python':26s}{platform.python_version()} on {platform.system()} {platform.machine()}{_tested()}")
    if "torch" not in missing:
        _device()
    free = shutil.disk_usage(os.getcwd()).free
    print(f"{'free disk here':26s}{free / 1e9:.0f} GB")
    if missing:
        print(f"\nMissing: {', '.join(missing)}. Install them with: pip install cellseg-nb")
    else:
        print("\nEverything the notebooks need is installed.")
    return 1 if missing else 0


def _tested():
    """A word about a Python that nobody has tried this with; empty for the others."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return ""
    return f": not tested; {'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))} are"


def _tensorflow():
    """TensorFlow comes under one of two names: for the CPU alone, or with CUDA, as in Colab."""
    names = ("tensorflow", "tensorflow-cpu")
    return next((name for name in names if version(name)), names[0])


def version(name):
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _line(name, remedy, optional=False):
    found = version(name)
    print(f"{name:26s}{found or 'not installed' + (' (optional)' if optional else '') + ': ' + remedy}")
    return found is not None


def _device():
    from cellseg_nb import runtime

    chosen = runtime.device()
    print(f"{'device':26s}{chosen} ({runtime.device_words(chosen)})")
    print(f"{'free memory':26s}{runtime.free_memory() / 1e9:.0f} GB")
    if chosen.type == "cpu":
        print(
            f"{'':26s}no GPU found: everything works on the CPU, with the laptop settings; in Colab choose "
            "Runtime > Change runtime type > GPU"
        )
