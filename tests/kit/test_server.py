"""The server of a room without internet: its files, the Hub's addresses, who can reach it."""

import threading
import urllib.error
import urllib.request

import pytest

from cellseg_nb.data import hub
from cellseg_nb.errors import UserError
from cellseg_nb.kit import server


@pytest.fixture
def bundle(tmp_path):
    for folder in ("wheels", "data", "weights/owner/name"):
        (tmp_path / "bundle" / folder).mkdir(parents=True)
    (tmp_path / "bundle" / "wheels" / "one-1.0-py3-none-any.whl").write_bytes(b"wheel")
    (tmp_path / "bundle" / "data" / "set.zip").write_bytes(b"zip")
    (tmp_path / "bundle" / "weights" / "owner" / "name" / "w.tar.gz").write_bytes(b"weights" * 999)
    (tmp_path / "secret").write_text("not yours")
    return tmp_path / "bundle"


@pytest.fixture
def url(bundle):
    with server.start(bundle, port=0) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def get(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def test_files_and_a_list_of_wheels_for_pip(url):
    assert get(f"{url}/data/set.zip") == b"zip"
    assert b"one-1.0-py3-none-any.whl" in get(f"{url}/wheels/")


def test_weights_under_the_hubs_addresses(url, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "PAUSE", 0.0)
    path = hub.download("owner/name", "w.tar.gz", url=url, cache=tmp_path / "cache")
    assert path.read_bytes() == b"weights" * 999
    with pytest.raises(UserError, match="nothing.pth"):
        hub.download("owner/name", "nothing.pth", url=url, cache=tmp_path / "cache")


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/o/n/resolve/main/../../../../../secret"])
def test_nothing_outside_the_bundle(url, path):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(url + path)


def test_what_cannot_be_served_is_told(bundle, tmp_path):
    with pytest.raises(UserError, match="make bundle"):
        server.start(tmp_path)
    with server.start(bundle, port=0) as first, pytest.raises(UserError, match="--port"):
        server.start(bundle, port=first.server_address[1])


def test_students_are_told_addresses_that_they_can_reach(bundle):
    with server.start(bundle, port=0) as alone:
        assert "--trusted-host" not in "".join(server.words(alone))
        assert "--trusted-host desk.local " in "".join(server.words(alone, "desk.local"))
