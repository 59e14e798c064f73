"""Files that come with the project: the sample, the published tables, the data card."""

import sys
from pathlib import Path

from .errors import UserError


def path(name):
    """Path of a file in the project's ``data/`` folder: beside the package in a clone, else under ``share/``.

    Raises UserError when it is in neither place.
    """
    clone = Path(__file__).resolve().parents[1] / "data"
    for folder in (clone, Path(sys.prefix) / "share" / "cellseg-nb" / "data"):
        if (folder / name).exists():
            return folder / name
    raise UserError(f"data/{name} is missing: install cellseg-nb again, or work in a clone of it")
