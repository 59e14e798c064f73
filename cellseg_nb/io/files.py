"""Files that appear whole or not at all: written beside, then renamed."""

import contextlib
import errno
import filecmp
import hashlib
import json
import os
import re
import shlex
import unicodedata
import uuid
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from cellseg_nb.errors import UserError


@contextlib.contextmanager
def atomic(path):
    """``with atomic(path) as beside:`` write the file ``beside``; it becomes ``path`` when all went well.

    The folder is made if need be. When anything fails, ``beside`` is removed and an older ``path`` stays as
    it was; a full disk, a read-only folder and the like raise UserError, other exceptions pass.
    """
    path = as_path(path)
    target = Path(os.path.realpath(path))  # a link keeps pointing where it did
    beside = target.with_name(f".{uuid.uuid4().hex[:8]}-{target.name[-200:]}")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "the file that is there is read-only")
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.touch(exist_ok=False)
        yield beside
        with open(beside, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        # torch and safetensors report a full disk with exceptions of their own.
        foreign = (
            isinstance(error, Exception)
            and not isinstance(error, UserError)
            and re.search("inline_container|os error", str(error))
        )
        if isinstance(error, OSError) or foreign:
            full = foreign or error.errno in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            remedy = "free some space" if full else "check the permissions"
            raise UserError(
                f"{path} could not be written ({reason(error)}): {remedy}, or "
                "choose another folder; nothing was changed"
            ) from error
        raise


def write_json(path, obj):
    """Write JSON, atomically. numpy numbers and arrays, and paths, become numbers, lists and text."""

    def plain(value):
        if isinstance(value, (np.generic, np.ndarray)):
            return value.tolist()
        if isinstance(value, Path):
            return str(value)
        raise TypeError(f"{path}: cannot write {type(value).__name__} as JSON")

    text = json.dumps(obj, indent=1, ensure_ascii=False, default=plain)
    with atomic(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def write_table(path, dataframe, index=False):
    """Write a pandas table, atomically: as Parquet where the name ends in .parquet, else as CSV.

    ``index=True`` keeps the row names as the first column. Raises UserError, also where pyarrow is missing.
    """
    if str(path).lower().endswith(".parquet"):
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"{path} needs the library pyarrow: pip install pyarrow, or write a .csv instead"
            ) from error
        with atomic(path) as beside:
            dataframe.to_parquet(beside, index=index)
        return
    with atomic(path) as beside:
        dataframe.to_csv(beside, index=index)


def writable_folder(path):
    """The folder, made if need be. Raises UserError when it is a file, or nothing can be written in it."""
    path = as_path(path)
    probe = path / f".{uuid.uuid4().hex[:8]}-probe"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"{path} cannot be the output folder, since a file is in the way: choose another folder"
        ) from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({reason(error)}): choose another output folder"
        ) from error
    return path


def copies(paths):
    """Pairs of paths of files that hold the same bytes. Files of one size are looked into at five places, and
    compared whole only where these are the same."""
    sizes = {path: path.stat().st_size for path in paths if path.is_file()}
    counts, seen = Counter(sizes.values()), {}
    for path in (path for path, size in sizes.items() if size and counts[size] > 1):
        with contextlib.suppress(OSError):
            other = seen.setdefault((sizes[path], *_sample(path, sizes[path])), path)
            if other != path and filecmp.cmp(path, other, shallow=False):
                yield path, other


def _sample(path, size):
    with open(path, "rb") as file:
        for start in np.linspace(0, max(0, size - 8192), 5).astype(int).tolist():
            file.seek(start)
            yield file.read(8192)


def digest(path):
    """SHA-256 of a file, or of all files in a folder (an OME-Zarr, a stack of planes) with their names."""
    path = Path(path)
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    inner = sorted(one for one in path.rglob("*") if one.is_file())
    words = "".join(f"{one.relative_to(path).as_posix()} {digest(one)}\n" for one in inner)
    return hashlib.sha256(words.encode()).hexdigest()


def as_path(path):
    """A Path with ~ expanded, without the quotes and blanks that come with a path that was pasted; UserError
    for None and the empty text, which would mean the current folder, and for addresses."""
    if isinstance(path, str):
        path = re.sub(r"""^(["'])((?:(?!\1).)*)\1$""", r"\2", path.strip())
        if path.startswith("file://"):
            path = unquote(path.removeprefix("file://"))
        if re.match(r"[a-z][a-z0-9]+://", path, re.IGNORECASE):
            raise UserError(
                f"{path} is an address, and files are read from the disk: download it, give the file"
            )
    if not str(path or "").strip():
        raise UserError("no path was given: name a file or a folder")
    path = Path(path).expanduser()
    return path if str(path).isascii() or os.path.exists(path) else _as_on_disk(path)


def _as_on_disk(path):
    """A path whose letters with accents are written as one character or as two, as the disk has them."""
    found = Path(path.anchor)
    for part in path.parts[bool(path.anchor) :]:
        forms = [part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD"))]
        found = next((found / one for one in forms if os.path.exists(found / one)), found / part)
    return found


def typed(path):
    """A path as it is typed in a shell: in quotes where it holds blanks and the like."""
    if os.name != "nt":
        return shlex.quote(str(path))
    # cmd and PowerShell know double quotes only, which no name holds there.
    return str(path) if re.fullmatch(r"[\w.:\\/+-]+", str(path)) else f'"{path}"'


def reason(error):
    """The first line of what an exception says."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0][:200]
