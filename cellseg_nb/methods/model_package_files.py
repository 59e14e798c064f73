"""A bioimage.io package read as data: a folder or a .zip whose description says that it was made here.

Nothing is unpacked to the disk and no code is run: of a package two files are read, its description (YAML,
with the safe loader) and the weights (`torch.load` with ``weights_only=True``). What was made elsewhere may
hold code of its own, so it is left to bioimageio.core.
"""

import hashlib
import re
import zipfile
import zlib
from pathlib import PurePosixPath

from cellseg_nb import runtime
from cellseg_nb.data import archives
from cellseg_nb.errors import UserError
from cellseg_nb.io.files import reason
from cellseg_nb.methods import model_words, released

DESCRIPTIONS = ("bioimageio.yaml", "rdf.yaml")
OWN = "cellseg_nb"  # our key in the description's ``config``
PREDICTOR = {  # what is said of a `Predictor`, and its type
    "architecture": str,
    "threshold": float,
    "foreground": (int, type(None)),
    "scaling": str,
    "window": int,
    "flips": bool,
    "postprocess": str,
}
KINDS = {**PREDICTOR, "weights": str, "sha256": str}
RANGES = {
    "threshold": lambda value: 0 <= value <= 1,
    "foreground": lambda value: value is None or value >= 0,
    "scaling": lambda value: value in model_words.SCALINGS,
    "window": lambda value: value >= 0,
    "postprocess": lambda value: value in released.CHAINS,
}
LARGEST = 2**20  # bytes of a description
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    UnicodeDecodeError,
)


def is_package(path):
    """Is this a .zip, or a folder with a description of a bioimage.io resource?"""
    if path.is_dir():
        return any((path / name).is_file() for name in DESCRIPTIONS)
    return path.suffix.lower() == ".zip"


def read(path):
    """What `about` gives, and the content of the weights file. Raises UserError as it does."""
    said = about(path)
    name = str(said["weights"])
    content = _bytes(path, name, runtime.free_memory())
    if content is None or hashlib.sha256(content).hexdigest() != said["sha256"]:
        raise UserError(f"{path} is damaged ({name} is missing or was changed): download it again")
    return said, archives.parse(content, path)


def about(path):
    """What was said of the network: our part of the description, a dict.

    Raises UserError for a package that is damaged, unsafe, or was not made by this package.
    """
    import yaml

    text = next((found for name in DESCRIPTIONS if (found := _bytes(path, name, LARGEST))), None)
    if text is None:
        raise UserError(f"{path} is no bioimage.io package: it holds no {' or '.join(DESCRIPTIONS)}")
    try:
        said = yaml.safe_load(text)["config"][OWN]
        full = {"flips": False} | said  # of flips, earlier packages say nothing
        wrong = [key for key, kind in KINDS.items() if not isinstance(full[key], kind)]
        wrong = wrong or [key for key, good in RANGES.items() if not good(said[key])]
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # the last two: dates, depth
        raise UserError(f"{path} is damaged (its description is no YAML): download it again") from error
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path} was not made by cellseg-nb, and may need code of its own: open it with bioimageio.core"
        ) from error
    if wrong:
        raise UserError(f"{path} is damaged (its {wrong[0]} is {said[wrong[0]]!r}): download it again")
    return said


def _bytes(path, name, limit):
    """A file of the package, or None. Raises UserError for a name that leads out of it, and for one that is
    too large."""
    if PurePosixPath(name).name != name or re.search(r"[\\:]", name):
        raise UserError(f"{path} names the file {name!r}, which is not in it: get it from its publisher")
    try:
        if path.is_dir():
            inside = path / name
            if not inside.is_file() or inside.resolve().parent != path.resolve():
                return None
            size, fetch = inside.stat().st_size, inside.read_bytes
        else:
            with zipfile.ZipFile(path) as archive:
                for one in archive.namelist():
                    _safe(one, path)
                if name not in archive.namelist():
                    return None
                size = archive.getinfo(name).file_size
                content = archive.open(name).read(min(size, limit) + 1)
            fetch = lambda: content  # noqa: E731
        if size > limit:
            raise UserError(
                f"{path}: {name} takes {size / 1e6:.0f} MB, more than it may: is it what it says?"
            )
        return fetch()
    except DAMAGED as error:
        raise UserError(f"{path} is damaged ({reason(error)[:80]}): download it again") from error


def _safe(name, path):
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or re.search(r"^[A-Za-z]:|\\", name):
        raise UserError(
            f"{path} holds {name!r}, a path outside its folder, so it was not opened: get it from its "
            "publisher"
        )
