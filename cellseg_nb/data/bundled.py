"""Files that come with the project: the notebooks, the sample, the published tables, the data card."""

import importlib.resources
from pathlib import Path

from cellseg_nb.errors import UserError


def folder(name):
    """The project's folder ``notebooks`` or ``data``: inside the package where it is installed, beside it in
    a clone.

    Raises UserError when it is in neither place.
    """
    package = Path(str(importlib.resources.files("cellseg_nb")))
    places = package / "bundle" / name, package.parent / name
    for place in places:
        if place.is_dir():
            return place
    raise UserError(
        f"there is no folder {name} at {places[0]} or {places[1]}: install cellseg-nb again, or work in a "
        "clone of it"
    )


def path(name):
    """Path of a file in the project's ``data/`` folder, such as ``sample/sample_image.tif``.

    Raises UserError when it is missing.
    """
    file = folder("data") / name
    if not file.exists():
        raise UserError(f"{file} is missing: install cellseg-nb again, or work in a clone of it")
    return file
