"""Downloads that survive a bad line: resumed where they broke off, tried again, checked by hash, unpacked
safely.

pooch keeps the cache and checks the hash. Two things are done by hand, since it does not:

* `Resuming` brings the bytes. pooch's downloader, and its ``retry_if_failed``, begin at the first byte again.
* `unzip` unpacks. pooch's ``Unzip`` writes into the folder it ends in, so that an interrupted run leaves half
  a data set that counts as a whole one; and zipfile bends paths outside the folder instead of refusing them.

Whatever happens, a file in the cache is whole and right. What has arrived of an unfinished one waits beside
it, named ``.part``.
"""

import contextlib
import email.utils
import os
import shutil
import stat
import time
import uuid
import zipfile
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from cellseg_nb.errors import UserError
from cellseg_nb.io.files import reason, writable_folder

TRIES = 5  # in a row, without a single new byte
PAUSE = 1.0  # seconds before the second try, doubled each time
LONGEST_PAUSE = 120.0
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
PIECE = 1 << 18


class NotThere(UserError):
    """The server answers, but has no such file."""


class Offline(UserError):
    """The server cannot be reached, or keeps failing."""


def download(urls, path, sha256):
    """Download a file unless it is there with the right hash. Returns its Path.

    Parameters
    ----------
    urls : list of str
        Tried in order; the next one only when a server answers that it has no such file (404, 410).
    path : path of the file to be
    sha256 : str, hexadecimal

    Raises UserError for a missing file, a wrong hash, a full disk, no connection after several tries.
    """
    import pooch

    path = Path(path)
    writable_folder(path.parent)
    pooch.get_logger().setLevel("WARNING")
    for number, url in enumerate(urls):
        try:
            return _retrieve(url, path, sha256)
        except NotThere:
            if number == len(urls) - 1:
                raise


def _retrieve(url, path, sha256):
    import pooch

    fetch = Resuming(path.with_name(f"{path.name}.part"))
    for last in (False, True):
        try:
            return Path(pooch.retrieve(url, f"sha256:{sha256}", path.name, path.parent, downloader=fetch))
        except UserError:
            raise
        except OSError as error:
            _too_full(error, path)
        except ValueError as error:  # pooch's word for a wrong hash; it has removed the file
            if not fetch.resumed or last:
                raise UserError(
                    f"{path.name} from {_short(url)} is not the published file (its SHA-256 "
                    f"differs), so it was "
                    "removed: try again; if it happens again, download from another place "
                    "(base_url)"
                ) from error
        # The beginning came from an earlier session, perhaps from another server: once more, from the start.
        fetch.resumed = False


class Resuming:
    """A downloader for pooch: continues a ``.part`` file with HTTP Range, tries again, shows progress."""

    def __init__(self, part):
        self.part = Path(part)
        self.resumed = False
        self.same = None  # ETag: continue only while the server has the same file

    def __call__(self, url, output_file, pooch, check_only=False):
        import requests

        failures, pause = 0, PAUSE
        with requests.Session() as session:
            while True:
                before = self._size()
                self.resumed |= before > 0
                try:
                    self._piece(session, url)
                    return os.replace(self.part, output_file)
                except _Again as again:
                    failures = 0 if self._size() > before else failures + 1
                    pause = PAUSE if failures == 0 else pause
                    self._give_up(url, again, failures)
                    time.sleep(pause if again.wait is None else again.wait)
                    pause = min(2 * pause, LONGEST_PAUSE)

    def _size(self):
        return self.part.stat().st_size if self.part.exists() else 0

    def _give_up(self, url, again, failures):
        long = again.wait is not None and again.wait > LONGEST_PAUSE
        if failures < TRIES and not long:
            return
        arrived = self._size() / 1e6
        kept = f" ({arrived:.1f} MB have arrived; the download will go on from there)" if arrived else ""
        when = f"in {again.wait / 60:.0f} minutes" if long else "later"
        raise Offline(f"{_short(url)} could not be downloaded: {again}. Try again {when}{kept}")

    def _piece(self, session, url):
        """Everything from where the part file ends, in one request."""
        import requests

        have = self._size()
        headers = {"Accept-Encoding": "identity"}  # a server that compresses would make ranges meaningless
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.same:
                headers["If-Range"] = self.same
        try:
            with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
                return self._save(answer, have, url)
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            raise _Again(_plain(error)) from error
        except requests.RequestException as error:
            raise UserError(f"{url} could not be downloaded ({reason(error)}): check the address") from error
        except OSError as error:
            with contextlib.suppress(OSError):
                self.part.unlink()
            _too_full(error, self.part)

    def _save(self, answer, have, url):
        status = answer.status_code
        if status in (404, 410):
            raise NotThere(f"{url} does not exist (the server says {status}): check base_url")
        if status == 416:  # nothing beyond what we have: whole, or not the same file
            if answer.headers.get("Content-Range", "").endswith(f"/{have}"):
                return
            self.part.unlink()
            raise _Again("the file has changed on the server")
        if status in (408, 425, 429) or status >= 500:
            raise _Again(f"the server says {status}", _retry_after(answer))
        if status not in (200, 206):
            raise UserError(
                f"{_short(url)} could not be downloaded (the server says {status}): check "
                f"base_url, or try later"
            )
        if status == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            self.part.unlink()
            raise _Again("the server sent another part of the file than asked for")
        have = have if status == 206 else 0  # 200: the server sends it from the start
        tag = answer.headers.get("ETag", "")
        self.same = tag if tag.startswith('"') else None
        left = answer.headers.get("Content-Length")
        self._write(answer, have, None if left is None else have + int(left), url)

    def _write(self, answer, have, total, url):
        from cellseg_nb.runtime import progress

        if total and total - have > shutil.disk_usage(self.part.parent).free:
            raise OSError(
                28, f"{(total - have) / 1e9:.2f} GB are still to come, but the disk has less space left"
            )
        name = os.path.basename(urlsplit(url).path)
        with (
            open(self.part, "r+b" if have else "wb") as file,
            progress(total=total, initial=have, unit="B", unit_scale=True, desc=name) as bar,
        ):
            file.seek(have)
            file.truncate()
            for piece in answer.iter_content(PIECE):
                file.write(piece)
                bar.update(len(piece))
        if total and self._size() < total:
            raise _Again("the connection was lost")


class _Again(Exception):
    def __init__(self, words, wait=None):
        super().__init__(words)
        self.wait = wait


def _retry_after(answer):
    """Seconds the server asks to wait (a number or a date), or None."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _plain(error):
    """What went wrong with a connection, in a few words."""
    text = str(error)
    if "NameResolution" in text or "getaddrinfo" in text:
        return "no network, or the server's name is unknown"
    if "refused" in text or "NewConnection" in text or "unreachable" in text:
        return "no connection to the server"
    slow = "timed out" in text or "Timeout" in text
    return "the server does not answer" if slow else "the connection was lost"


def _short(url):
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _too_full(error, path):
    remedy = "free some space, or choose another cache folder (CELLSEG_NB_CACHE)"
    raise UserError(
        f"{path} could not be written ({reason(error)}): {remedy}; nothing half-written was left"
    ) from error


# ---------------------------------------------------------------- unpacking


def unzip(archive, folder):
    """Unpack a zip into ``folder``, which appears whole or not at all. Returns the folder's Path.

    Raises UserError for members outside the folder (absolute, ``..``), links, passwords, a damaged archive, a
    full disk.
    """
    archive, folder = Path(archive), Path(folder)
    beside = folder.with_name(f".{uuid.uuid4().hex[:8]}-{folder.name}")
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = [m for m in zipped.infolist() if not m.filename.startswith("__MACOSX/")]
            for member in members:
                _safe(member, archive)
            if sum(m.file_size for m in members) > shutil.disk_usage(folder.parent).free:
                raise OSError(
                    28,
                    f"{sum(m.file_size for m in members) / 1e9:.2f} GB are needed, the disk "
                    f"has less space left",
                )
            zipped.extractall(beside, members)
        os.replace(beside, folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise UserError(
            f"{archive} is damaged or no zip ({reason(error)}): delete it and download it again"
        ) from error
    except OSError as error:
        _too_full(error, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _safe(member, archive):
    name = PurePosixPath(member.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in member.filename or ":" in name.parts[0]:
        raise UserError(
            f"{archive} holds {member.filename!r}, a path outside its folder: it was not "
            f"unpacked; get it from its "
            "publisher"
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(
            f"{archive} holds the link {member.filename!r}: it was not unpacked; get it from its publisher"
        )
    if member.flag_bits & 1:
        raise UserError(f"{archive} asks for a password: it was not unpacked; get it from its publisher")
