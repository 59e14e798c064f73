"""A loopback server that speaks Zenodo's file URLs and the Hugging Face Hub's resolve protocol, with faults
on request.

    from servers import Server

    with Server() as server:
        url = server.zenodo("11095111", "DATASET_WITH_GT.zip", data)     #
        .../records/11095111/files/NAME?download=1 url =
        server.file("/juglab/EmbedSeg/releases/download/v0.1.0/X.zip", data)             # any other path
        server.hub("C-Achard/cellseg3d", {"wnet_latest.tar.gz": data})   # .../resolve/main/NAME
        hf_hub_download("C-Achard/cellseg3d", "wnet_latest.tar.gz", endpoint=server.url, cache_dir=...)
        server.fault("wnet_latest.tar.gz", "cut")                        # the next GET breaks off half-way
        server.log                                                       # [Request(method, path, range,
        status), ...]

A fault is asked for a file by the end of its path. It lasts for ``times`` requests (None: for ever), then all
is well:

    missing      404                              slow        bytes trickle, 1/20 every 0.05 s
    busy         429, Retry-After: 0 (``value``)  wrong       right length, other bytes (HEAD and headers as
    before) error        500 (``value``: other codes)     truncated   the first half, whole and well as far as
    HTTP can tell cut          connection closed half-way       silent      the connection is closed without
    an answer no_range     Range is ignored: 200 and the whole file     stalled     half the file, then
    nothing for ``value`` s

``ranges=False`` makes a server that never knows Range. HEAD requests meet only missing, busy, error and
silent, and only when asked with ``head=True``; other faults wait for the GET. Everything is served from
memory, by threads.
"""

import hashlib
import json
import re
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Request = namedtuple("Request", "method path range status")
Served = namedtuple("Served", "data headers")


class Server:
    def __init__(self, ranges=True):
        self.ranges = ranges
        self.log = []
        self._files, self._documents, self._faults = {}, {}, []
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.daemon_threads = True
        self._http.served_by = self
        self._closing = threading.Event()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()

    # ------------------------------------------------------------ what there is

    def file(self, path, data, **headers):
        """Serve bytes at a path. ``headers`` go out with them (_ becomes -). Returns the URL."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers.setdefault("ETag", f'"{hashlib.md5(data).hexdigest()}"')
        self._files[path] = Served(data, headers)
        return self.url + path

    def zenodo(self, record, name, data):
        return self.file(f"/records/{record}/files/{name}", data) + "?download=1"

    def hub(self, repo, files, revision="main", commit=COMMIT):
        """A model repository: {file name: bytes}. All but .json, .md, .txt are LFS files."""
        for name, data in files.items():
            sha256 = hashlib.sha256(data).hexdigest()
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            large = not name.endswith((".json", ".md", ".txt"))
            headers = {"ETag": f'"{sha256 if large else blob}"', "X-Repo-Commit": commit}
            if large:
                headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(data))}
            for name_of_revision in (revision, commit):
                self._files[f"/{repo}/resolve/{name_of_revision}/{name}"] = Served(data, headers)
        siblings = [{"rfilename": name} for name in sorted(files)]
        about = {
            "_id": "0",
            "id": repo,
            "modelId": repo,
            "sha": commit,
            "private": False,
            "disabled": False,
            "gated": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
        }
        tree = [
            {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
            for name, data in sorted(files.items())
        ]
        for path in ("", f"/revision/{revision}", f"/revision/{commit}"):
            self._documents[f"/api/models/{repo}{path}"] = about
        for name_of_revision in (revision, commit):
            self._documents[f"/api/models/{repo}/tree/{name_of_revision}"] = tree
        return f"{self.url}/{repo}"

    # ------------------------------------------------------------ what goes wrong

    def fault(self, name, kind, times=1, value=None, head=False):
        assert kind in ("missing busy error cut no_range slow wrong truncated silent stalled").split(), kind
        with self._lock:
            self._faults.append({"name": name, "kind": kind, "left": times, "value": value, "head": head})

    def well(self):
        """Forget all faults and the log."""
        with self._lock:
            self._faults.clear()
            self.log.clear()

    def count(self, name, method="GET"):
        return sum(request.method == method and request.path.endswith(name) for request in self.log)

    def _next_fault(self, path, method):
        with self._lock:
            for fault in self._faults:
                if path.endswith(fault["name"]) and fault["left"] != 0 and (method == "GET" or fault["head"]):
                    if fault["left"] is not None:
                        fault["left"] -= 1
                    return fault
        return {"kind": None, "value": None}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has seen enough

    def _answer(self):
        server, path = self.server.served_by, unquote(urlsplit(self.path).path)
        fault = server._next_fault(path, self.command)
        if fault["kind"] == "silent":
            self._note(path, None)
            return self._hang_up()
        if fault["kind"] == "busy":
            return self._short(path, 429, {"Retry-After": str(fault["value"] or 0)})
        if fault["kind"] == "error":
            return self._short(path, fault["value"] or 500)
        if path in server._documents and fault["kind"] != "missing":
            return self._short(
                path, 200, {"Content-Type": "application/json"}, json.dumps(server._documents[path]).encode()
            )
        if path not in server._files or fault["kind"] == "missing":
            code = "EntryNotFound" if "/resolve/" in path else "RepoNotFound"
            return self._short(path, 404, {"X-Error-Code": code, "X-Repo-Commit": COMMIT})
        self._file(path, server._files[path], fault)

    def _file(self, path, served, fault):
        data, start, end = served.data, 0, len(served.data)
        if fault["kind"] == "wrong":
            data = bytes(byte ^ 0x55 for byte in data)
        if fault["kind"] == "truncated":
            data, end = data[: end // 2], end // 2
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, served.headers["ETag"])
        if wanted and same and self.server.served_by.ranges and fault["kind"] != "no_range":
            start = int(wanted[1])
            end = min(end, int(wanted[2]) + 1) if wanted[2] else end
            if start >= len(data):
                return self._short(path, 416, {"Content-Range": f"bytes */{len(data)}"})
        status = 206 if (start, end) != (0, len(data)) else 200
        self._note(path, status)
        self.send_response(status)
        for name, value in served.headers.items():
            self.send_header(name, value)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        if self.server.served_by.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "GET":
            self._body(data[start:end], fault)

    def _body(self, body, fault):
        if fault["kind"] in ("cut", "stalled"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if fault["kind"] == "stalled":
                self.server.served_by._closing.wait(fault["value"] or 5)
            return self._hang_up()
        if fault["kind"] == "slow":
            step = max(1, len(body) // 20)
            for i in range(0, len(body), step):
                self.wfile.write(body[i : i + step])
                self.wfile.flush()
                time.sleep(0.05)
            return None
        self.wfile.write(body)

    def _short(self, path, status, headers=None, body=b""):
        self._note(path, status)
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _hang_up(self):
        self.close_connection = True

    def _note(self, path, status):
        self.server.served_by.log.append(Request(self.command, path, self.headers.get("Range"), status))
