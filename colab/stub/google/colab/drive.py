"""The user's Google Drive."""

import os
import shutil
from pathlib import Path

from . import note


def mount(mountpoint, **options):
    """The Drive appears below the mount point, holding the folder COLAB_DRIVE."""
    note("mount", place=mountpoint)
    shutil.copytree(os.environ["COLAB_DRIVE"], Path(mountpoint) / "MyDrive", dirs_exist_ok=True)
