"""Weights files read as data, never as programs: .pth and .pt (PyTorch), .safetensors, and either in a
.tar.gz.

A PyTorch file is a pickle, which may hold code that runs while it is read; `torch.load` with
``weights_only=True`` refuses that. Archives are read in memory and nothing is unpacked to the disk; even so,
one that holds a path outside its folder or a link is refused, since no honest archive of weights does.
"""

import io
import pickle
import re
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from cellseg_nb import runtime
from cellseg_nb.errors import UserError
from cellseg_nb.io.files import as_path, reason

ARCHIVES = (".tar.gz", ".tgz", ".tar")
WEIGHTS = (".pth", ".pt", ".safetensors")


class Damaged(UserError):
    """The file is cut short or not what its name says; another copy of it may be good."""


def is_weights(name):
    """Does a file name look like weights, or an archive of weights?"""
    return str(name).lower().endswith(ARCHIVES + WEIGHTS)


def read(path):
    """What a weights file holds: mostly a dict of tensors, on the CPU.

    Raises UserError, in one line with the name of the file, for a missing or damaged file, for code in a
    pickle, for unsafe members of an archive, and for an archive that does not hold exactly one weights file.
    """
    path = as_path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist: check the spelling, or download the weights first")
    if str(path).lower().endswith(ARCHIVES):
        name, content = _member(path)
        return _safetensors(content, path) if name.endswith(".safetensors") else parse(content, path)
    if path.suffix.lower() == ".safetensors":
        return _safetensors(path.read_bytes(), path)
    return _pickle(path, path)


def parse(content, path):
    """What the bytes of a PyTorch file hold, read as `read` does; ``path`` is named in errors."""
    return _pickle(io.BytesIO(content), path)


def _pickle(source, path):
    import torch

    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(
            r"GLOBAL ([\w.]+)|Unsupported class (\S+)|(?:type|class) <class '([\w.]+)'>", str(error)
        )
        if code:
            raise UserError(
                f"{path} holds code ({next(filter(None, code.groups()))}) and not only numbers, so it was "
                "not opened: get the weights as a plain state dict or as .safetensors from somebody you trust"
            ) from error
        raise _damaged(path, error) from error
    except Exception as error:  # torch raises many kinds for a damaged file
        if "TorchScript" in str(error):
            raise UserError(
                f"{path} holds a program (TorchScript) and not only numbers, so it was not opened: get the "
                "weights as a plain state dict or as .safetensors"
            ) from error
        raise _damaged(path, error) from error


def _safetensors(content, path):
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content)
    except (SafetensorError, KeyError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path, error):
    return Damaged(f"{path} is damaged or holds no weights ({reason(error)[:80]}): download it again")


def _member(path):
    """Name and bytes of the one weights file in a tar archive, after every member has been looked at."""
    try:
        with tarfile.open(path, "r:*") as archive:
            members = archive.getmembers()
            for member in members:
                _safe(member, path)
            # macOS adds ._ files
            found = [
                m
                for m in members
                if m.isfile()
                and m.name.lower().endswith(WEIGHTS)
                and not PurePosixPath(m.name).name.startswith("._")
            ]
            if len(found) != 1:
                names = ", ".join(m.name for m in found[:5]) or "none"
                raise UserError(
                    f"{path} must hold one weights file ({', '.join(WEIGHTS)}), and holds {names}: unpack it "
                    "and give the file"
                )
            if found[0].size > runtime.free_memory():
                raise UserError(
                    f"{path}: {found[0].name} takes {found[0].size / 1e9:.1f} GB, more than the memory that "
                    "is free: is it really a weights file?"
                )
            content = archive.extractfile(found[0]).read()
            if len(content) < found[0].size:
                raise EOFError("it ends too early")
            return found[0].name.lower(), content
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise _damaged(path, error) from error


def _safe(member, path):
    """Refuse what could write or point outside the archive's folder, with Python's own filter ("data").

    The filter takes a leading slash away and lets links within the folder pass, and on Linux it knows no
    Windows paths; no honest archive of weights holds any of these, so they are refused as well.
    """
    refusal = "so it was not opened: get the weights from their publisher"
    try:
        kept = tarfile.data_filter(member, str(Path(path).parent))
    except tarfile.OutsideDestinationError:
        kept = None
    except tarfile.FilterError as error:
        words = f"which is no plain file ({reason(error)})"
        raise UserError(f"{path} holds {member.name!r}, {words}, {refusal}") from error
    if kept is None or kept.name != member.name or re.search(r"^[A-Za-z]:|\\", member.name):
        raise UserError(f"{path} holds {member.name!r}, a path outside its folder, {refusal}")
    if not (member.isfile() or member.isdir()):
        raise UserError(f"{path} holds the link {member.name!r}, {refusal}")
