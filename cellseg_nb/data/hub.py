"""Files from and to the Hugging Face Hub, with Hugging Face's own client: tried again, checked, told in one
line.

``CELLSEG_NB_HUB_URL`` points to another server that speaks the Hub's protocol (a mirror, a class server). It
is handed to every call, since huggingface_hub reads its own variable only once, at import.
"""

import errno
import os
import re
import time
from pathlib import Path

from cellseg_nb.errors import UserError
from cellseg_nb.io.files import digest, reason

# The client tries again when a connection fails or breaks, and goes on where it broke off. But not when the
# server answers a download with an error (500, 429), and of the bytes it checks the number only: so we do.
TRIES = 4
PAUSE = 1.0  # seconds before the second try, doubled each time


def endpoint(url=None):
    """The server: the argument, else CELLSEG_NB_HUB_URL, else None (the Hub itself)."""
    return (url or os.environ.get("CELLSEG_NB_HUB_URL") or "").rstrip("/") or None


def _token(token, url):
    """Your own token goes to the Hub, and to another server only when you gave it for that."""
    return token if token or url is None else False


def download(repo, name, url=None, cache=None, token=None):
    """One file of a repository, from the Hub's cache or downloaded. Returns its Path.

    A file that arrives with another SHA-256 than the server announced is removed and fetched again.
    ``cache``: a folder, else CELLSEG_NB_CACHE/hub, else the Hub's usual place. Raises UserError when there is
    no such file, no connection after several tries, or no space.
    """
    from huggingface_hub import hf_hub_download

    url = endpoint(url)
    if cache is None and os.environ.get("CELLSEG_NB_CACHE"):
        cache = Path(os.environ["CELLSEG_NB_CACHE"]) / "hub"

    def once():
        path = Path(hf_hub_download(repo, name, endpoint=url, cache_dir=cache, token=_token(token, url)))
        if _intact(path):
            return path
        forget(path)
        raise _OtherBytes("it arrived with other bytes than the server announced")

    return _again(once, repo, name, url, "try again later, or download it by hand and give its path")


def files(repo, url=None, token=None):
    """Names of a repository's files. Raises UserError like `download`."""
    from huggingface_hub import HfApi

    url = endpoint(url)
    return _again(
        lambda: HfApi(endpoint=url, token=_token(token, url)).list_repo_files(repo),
        repo,
        "",
        url,
        "try again later",
    )


class _OtherBytes(Exception):
    pass


def _again(call, repo, name, url, remedy):
    """What ``call()`` returns, tried up to `TRIES` times as long as another try may help."""
    for number in range(TRIES):
        try:
            return call()
        except Exception as error:  # of the client, of its HTTP library (which changes), of the system
            words = str(error) if isinstance(error, _OtherBytes) else _explain(error, repo, name, url)
        if number < TRIES - 1:
            time.sleep(PAUSE * 2**number)
    raise UserError(f"{_where(repo, name, url)} could not be downloaded ({words}): {remedy}")


def forget(path):
    """Remove a file from the Hub's cache, with the bytes it points to."""
    path = Path(path)
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def upload(repo, contents, message, url=None, token=None, private=True):
    """Put {name: bytes or path} into a model repository of yours, which is made if need be. Returns its
    address.

    Raises UserError when the server refuses (no token, no right to write) or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    url = endpoint(url)
    api = HfApi(endpoint=url, token=_token(token, url))
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        return api.create_commit(
            repo,
            [CommitOperationAdd(name, content) for name, content in contents.items()],
            commit_message=message,
        ).commit_url
    except Exception as error:
        raise UserError(
            f"nothing was uploaded to {_where(repo, '', url)} ({_words(error)}): make a token with the right "
            "to write at huggingface.co/settings/tokens, and check the name (yours/name)"
        ) from error


def _intact(path):
    """The Hub names large files by their SHA-256, and the cache its blobs likewise; other names cannot be
    checked."""
    name = path.resolve().name
    return not re.fullmatch("[0-9a-f]{64}", name) or digest(path) == name


def _explain(error, repo, name, url):
    """What went wrong, in words, when another try may help; raises UserError when none will."""
    from huggingface_hub import errors

    where = _where(repo, name, url)
    if isinstance(error, errors.GatedRepoError):
        raise UserError(
            f"{where} asks for a login: accept its terms on its page, then  hf auth login , or give a token"
        ) from error
    # the server could not be asked, and no copy is here
    if isinstance(error, errors.LocalEntryNotFoundError):
        return _words(error.__cause__ or error)
    missing = (
        errors.EntryNotFoundError,
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
        errors.HFValidationError,
    )
    if isinstance(error, missing):
        raise UserError(
            f"{where} does not exist, or is private: check the names of the repository and of the file"
        ) from error
    if _status(error) in (401, 403):
        raise UserError(
            f"{where} asks for a login ({_status(error)}): log in with  hf auth login , or give a token"
        ) from error
    if isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
    ):
        raise UserError(
            f"{where} could not be written into the cache ({reason(error)}): free some space, or set "
            "CELLSEG_NB_CACHE to another folder; nothing half-written was left"
        ) from error
    return _words(error)


def _status(error):
    return getattr(getattr(error, "response", None), "status_code", None)


def _words(error):
    status, text = _status(error) or _status(error.__cause__), str(error)
    if status:
        return {429: "the server is busy, 429"}.get(status, f"the server says {status}")
    if "Consistency check" in text:
        return "it arrived incomplete"
    if re.search("offline", text, re.I):
        return "the Hub's client is set to offline"
    slow = "timed out" in text.lower() or "timeout" in type(error).__name__.lower()
    return "the server does not answer" if slow else f"no connection, or it was lost: {reason(error)[:80]}"


def _where(repo, name, url):
    return "/".join(part for part in (url or "https://huggingface.co", repo, name) if part)
