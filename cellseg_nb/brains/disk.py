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
            f"{words} needs about {sized(needed)} and {folder} has {sized(free)} free: free some space, or "
            "choose another output folder"
        )


def sized(number):
    """Bytes in words: 4 MB, 0.15 GB, 12 GB; never 0.00 GB."""
    if number < 99.5e6:
        return f"{max(1, round(number / 1e6))} MB"
    return f"{number / 1e9:.2f} GB" if number < 9.95e9 else f"{number / 1e9:.0f} GB"
