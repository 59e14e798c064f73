"""What is installed, what is missing and how to get it, which device would be used."""

import importlib.metadata
import os
import platform
import shutil

CORE = ("torch", "monai", "numpy", "scipy", "pandas", "scikit-image", "connected-components-3d", "tifffile", "imagecodecs",
        "matplotlib", "pooch", "huggingface_hub", "safetensors", "scikit-posthocs", "statsmodels", "jupyterlab",
        "ipywidgets", "ipykernel", "papermill", "nbconvert")
RIVALS = ("cellpose", "stardist")
EXTRA = 'pip install "cellseg-nb[rivals]"  (in a clone: make setup-rivals)'


def report():
    """Print the report. Returns 0 when everything needed is there, else 1."""
    missing = [name for name in CORE if not _line(name, "pip install cellseg-nb")]
    for name in RIVALS:
        _line(name, EXTRA, optional=True)
    print()
    print(f"{'Python':26s}{platform.python_version()} on {platform.system()} {platform.machine()}")
    if "torch" not in missing:
        _device()
    free = shutil.disk_usage(os.getcwd()).free
    print(f"{'free disk here':26s}{free / 1e9:.0f} GB")
    if missing:
        print(f"\nMissing: {', '.join(missing)}. Install them with: pip install cellseg-nb")
    else:
        print("\nEverything the notebooks need is installed.")
    return 1 if missing else 0


def _line(name, remedy, optional=False):
    try:
        print(f"{name:26s}{importlib.metadata.version(name)}")
        return True
    except importlib.metadata.PackageNotFoundError:
        print(f"{name:26s}not installed{' (optional)' if optional else ''}: {remedy}")
        return False


def _device():
    from . import runtime

    chosen = runtime.device()
    print(f"{'device':26s}{chosen} ({runtime.device_words(chosen)})")
    print(f"{'free memory':26s}{runtime.free_memory() / 1e9:.0f} GB")
    if chosen.type == "cpu":
        print(f"{'':26s}no GPU found: everything works on the CPU, with the laptop settings; in Colab choose "
              "Runtime > Change runtime type > GPU")
