"""Room on the disk, asked for before anything is begun."""

import shutil

from cellseg_nb.errors import UserError
from cellseg_nb.io.files import writable_folder


def check(folder, needed, words):
    """Raise UserError when a folder cannot be written, or its disk has less than ``needed`` bytes free."""
    folder = writable_folder(folder)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{words} needs about {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free: free some "
            "space, or choose another output folder"
        )
