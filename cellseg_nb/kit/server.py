"""A server for a room without internet: the folder that ``make bundle`` leaves, over HTTP.

Python's own server does the work. It knows one thing more, the Hugging Face Hub's addresses of files, so that
``CELLSEG_NB_HUB_URL`` may point here.
"""

import functools
import re
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cellseg_nb.errors import UserError
from cellseg_nb.io.files import as_path, digest, reason

HUB = re.compile(r"/([\w.-]+/[\w.-]+)/resolve/[\w.-]+/(.+)")
COMMIT = "0" * 40  # a bundle has one version of each file


def start(folder, host="127.0.0.1", port=8000):
    """A server of the bundle's folder, ready for ``serve_forever()``. ``port`` 0 takes a free one.

    Only this machine can reach it, unless ``host`` is an address of the machine in the room's network, or
    "0.0.0.0" for all of them. Raises UserError where the folder is no bundle or the port is taken.
    """
    folder = as_path(folder)
    if not (folder / "wheels").is_dir():
        raise UserError(f"{folder} is no bundle (it holds no folder wheels): make one with  make bundle")
    try:
        server = ThreadingHTTPServer((host, port), functools.partial(_Handler, directory=str(folder)))
    except OSError as error:
        raise UserError(
            f"{host}:{port} cannot be served ({reason(error)}): give another --port, or another --host"
        ) from error
    server.daemon_threads = True
    return server


def words(server, host=None):
    """What students type, as lines of text. ``host``: by which name they reach this machine."""
    bound, port = server.server_address[:2]
    host = host or ("THIS-MACHINE" if bound == "0.0.0.0" else bound)
    trusted = "" if host == "127.0.0.1" else f" --trusted-host {host}"
    return [
        f"serving at http://{host}:{port}; end with Ctrl-C. Students type:",
        f"  pip install --no-index --find-links http://{host}:{port}/wheels/{trusted} "
        '"cellseg-nb[lab,brains]"',
        f"  export CELLSEG_NB_BASE_URL=http://{host}:{port}/data CELLSEG_NB_HUB_URL=http://{host}:{port}",
        "  cellseg-nb copy --students my_notebooks && jupyter lab my_notebooks",
    ]


class _Handler(SimpleHTTPRequestHandler):
    """Files of the bundle; OWNER/NAME/resolve/main/FILE, as the Hub has it, is weights/OWNER/NAME/FILE."""

    def translate_path(self, path):
        weights = HUB.fullmatch(unquote(urlsplit(path).path))
        return super().translate_path(f"/weights/{weights[1]}/{weights[2]}" if weights else path)

    def end_headers(self):
        if HUB.fullmatch(unquote(urlsplit(self.path).path)):
            file = Path(self.translate_path(self.path))
            self.send_header("X-Repo-Commit", COMMIT)
            if file.is_file():
                self.send_header("ETag", f'"{_sha256(str(file), file.stat().st_mtime_ns)}"')
            else:
                self.send_header("X-Error-Code", "EntryNotFound")
        super().end_headers()

    def log_message(self, *_):
        pass


@functools.cache
def _sha256(path, _changed):
    return digest(path)
