"""Data sets: downloads through every fault, archives, which labels are whose, simulations, folds, splits."""

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings, strategies as st
from refusing import refused
from servers import Server

from cellseg_nb import parameters, runs
from cellseg_nb.data import datasets, download, pairing, splitting
from cellseg_nb.lessons import common, data
from cellseg_nb.plots import data as data_figures

matplotlib.use("Agg")
ZENODO = "/records/11095111/files/DATASET_WITH_GT.zip"


def tiff_bytes(array):
    held = io.BytesIO()
    tifffile.imwrite(held, array)
    return held.getvalue()


def zipped(files):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


def volume(seed=0, shape=(18, 20, 22)):
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.uint16)


@pytest.fixture(scope="module")
def archive():
    """An archive as the published one: image and label names are not alike, only their order tells."""
    files = {}
    for number, name in enumerate(("c1image", "c3image", "visual")):
        files[f"DATASET_WITH_GT/{name}.tif"] = tiff_bytes(volume(number))
        labels = (volume(number) > 900).astype(np.uint16)
        files[f"DATASET_WITH_GT/labels/{'abz'[number]}_new.tif"] = tiff_bytes(labels)
    files["__MACOSX/DATASET_WITH_GT/._c1image.tif"] = b"resource fork"
    return zipped(files)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(download, "PIECE", 1 << 12)
    for name in ("CELLSEG_NB_BASE_URL", "CELLSEG_NB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture
def set_up(server, archive, tmp_path):
    """(server, get): the archive on the server, and the call that a user makes."""
    server.zenodo("11095111", "DATASET_WITH_GT.zip", archive)
    book = registered(tmp_path, archive)
    return server, lambda **k: datasets.fetch(
        "cellseg3d", tmp_path / "cache", **{"base_url": server.url, "registry_file": book} | k
    )


def registered(folder, archive):
    """A registry of one data set, this archive."""
    about = {"title": "t", "url": f"https://zenodo.org{ZENODO}?download=1", "voxel_size": [5, 5, 5]}
    about["sha256"] = hashlib.sha256(archive).hexdigest()
    (folder / "registry.json").write_text(json.dumps({"cellseg3d": about}))
    return folder / "registry.json"


def held(cache):
    """What lies in the cache, hidden lock files apart."""
    return sorted(p.name for p in cache.iterdir() if not p.name.endswith(".lock")) if cache.exists() else []


def whole(folder, archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        for name in source.namelist():
            if not name.startswith("__MACOSX"):
                assert (folder / name).read_bytes() == source.read(name)
    assert not (folder / "__MACOSX").exists()


# ---------------------------------------------------------------- download


def test_the_registry_is_that_of_the_publishers():
    known = datasets.registry()
    names = "cellseg3d platynereis_nuclei platynereis_ish mouse_skull_nuclei delivr_cfos"
    assert list(known) == names.split()
    for about in known.values():
        assert "files" in about or len(bytes.fromhex(about["sha256"])) == 32
        assert about["voxel_size"] is None or len(about["voxel_size"]) == 3
        assert about["url"].startswith("https://")
    assert known["cellseg3d"]["url"] == f"https://zenodo.org{ZENODO}?download=1"
    assert known["cellseg3d"]["voxel_size"] is None  # not published: none is made up
    assert known["platynereis_nuclei"]["voxel_size"] == [2.031, 0.406, 0.406]


def test_fetch_once_then_no_network(set_up, archive, tmp_path):
    server, get = set_up
    folder = get()
    whole(folder, archive)
    assert folder == tmp_path / "cache" / "cellseg3d" and held(folder.parent) == ["cellseg3d"]
    assert [r.path for r in server.log] == [ZENODO]
    assert get() == folder and len(server.log) == 1
    assert [p.name for p in pairing.pairs(folder, True)] == ["c1", "c3", "visual"]
    assert [p.labels.name for p in pairing.pairs(folder, True)] == ["a_new.tif", "b_new.tif", "z_new.tif"]


def test_variables_name_cache_and_server(set_up, monkeypatch, tmp_path, archive):
    server, _ = set_up
    monkeypatch.setenv("CELLSEG_NB_BASE_URL", server.url)
    monkeypatch.setenv("CELLSEG_NB_CACHE", str(tmp_path / "elsewhere"))
    folder = datasets.fetch("cellseg3d", registry_file=tmp_path / "registry.json")
    assert folder == tmp_path / "elsewhere" / "cellseg3d"
    whole(folder, archive)


def test_a_class_server_may_hold_the_bare_file(set_up, archive):
    server, get = set_up
    server._files.clear()
    server.file("/class/DATASET_WITH_GT.zip", archive)
    whole(get(base_url=server.url + "/class/"), archive)


@pytest.mark.parametrize("kind", ["cut", "busy", "error", "silent", "no_range", "slow"])
def test_passing_faults_end_in_the_right_file(set_up, archive, kind):
    server, get = set_up
    server.fault(ZENODO, kind)
    folder = get()
    whole(folder, archive)
    assert held(folder.parent) == ["cellseg3d"]
    assert server.count(ZENODO) == (1 if kind in ("no_range", "slow") else 2)


def test_a_cut_download_goes_on_where_it_stopped(set_up, archive):
    server, get = set_up
    server.fault(ZENODO, "cut", times=3)
    whole(get(), archive)
    asked = [r.range for r in server.log]
    starts = [int(text[6:-1]) for text in asked[1:]]
    assert asked[0] is None and starts == sorted(set(starts)) and starts[0] > 0
    assert [r.status for r in server.log] == [200, 206, 206, 206]


def test_stalled_is_given_up_and_resumed(set_up, archive, monkeypatch):
    server, get = set_up
    monkeypatch.setattr(download, "TIMEOUT", (2, 0.3))
    server.fault(ZENODO, "stalled", value=30)
    whole(get(), archive)
    assert server.log[1].status == 206


def test_a_new_session_resumes(set_up, archive):
    server, get = set_up
    server.fault(ZENODO, "cut")
    server.fault(ZENODO, "error", times=download.TRIES)
    line = refused(get, "500", "have arrived", "Try again")
    cache = Path(line.split("copy it to ")[1]).parent
    assert held(cache) == ["DATASET_WITH_GT.zip.part"]  # never under the name of the file itself
    server.well()
    whole(get(), archive)
    assert server.log[0].status == 206 and held(cache) == ["cellseg3d"]


def test_a_server_without_ranges_sends_it_all_again(set_up, archive):
    server, get = set_up
    server.ranges = False
    server.fault(ZENODO, "cut", times=2)
    whole(get(), archive)
    assert [r.status for r in server.log] == [200, 200, 200]


@pytest.mark.parametrize("left", ["wrong bytes", "too long", "complete"])
def test_a_part_file_of_something_else(set_up, archive, tmp_path, left):
    server, get = set_up
    (tmp_path / "cache").mkdir()
    content = {"wrong bytes": b"x" * 500, "too long": archive + b"more", "complete": archive}[left]
    (tmp_path / "cache" / "DATASET_WITH_GT.zip.part").write_bytes(content)
    whole(get(), archive)


def test_wrong_content_is_removed(set_up, tmp_path):
    server, get = set_up
    server.fault(ZENODO, "wrong", times=None)
    refused(get, "not the published file", "removed", "DATASET_WITH_GT.zip")
    assert held(tmp_path / "cache") == [] and server.count(ZENODO) == 1


def test_a_truncated_archive_is_removed(set_up, tmp_path):
    server, get = set_up
    server.fault(ZENODO, "truncated", times=None)
    refused(get, "not the published file")
    assert held(tmp_path / "cache") == []


def test_missing_says_what_to_do(set_up, tmp_path):
    server, get = set_up
    server.fault("DATASET_WITH_GT.zip", "missing", times=None)
    refused(get, "does not exist", "404", "base_url", tmp_path / "cache" / "DATASET_WITH_GT.zip")
    assert held(tmp_path / "cache") == []


@pytest.mark.parametrize("code", [401, 403])
def test_forbidden_is_told_at_once(set_up, tmp_path, code):
    server, get = set_up
    server.fault("DATASET_WITH_GT.zip", "error", times=None, value=code)
    refused(get, str(code))
    assert len(server.log) == 1 and held(tmp_path / "cache") == []


def test_retry_after_is_honoured(set_up, monkeypatch):
    server, get = set_up
    slept = []
    monkeypatch.setattr(download.time, "sleep", slept.append)
    server.fault(ZENODO, "busy", value=7)
    server.fault(ZENODO, "busy", value="Thu, 01 Jan 1970 00:00:10 GMT")
    server.fault(ZENODO, "busy", value="soon")
    get()
    assert slept[:2] == [7.0, 0.0] and slept[2] > 0


def test_an_hour_is_not_waited_for(set_up, tmp_path):
    server, get = set_up
    server.fault(ZENODO, "busy", times=None, value=3600)
    refused(get, "429", "in 60 minutes")
    assert len(server.log) == 1 and held(tmp_path / "cache") == []


def test_busy_for_ever_ends(set_up, tmp_path):
    server, get = set_up
    server.fault(ZENODO, "busy", times=None)
    refused(get, "429", "later")
    assert len(server.log) == download.TRIES and held(tmp_path / "cache") == []


def test_offline_is_one_line_that_helps(set_up, tmp_path, archive):
    server, get = set_up
    closed = Server()
    closed._http.server_close()
    line = refused(lambda: get(base_url=closed.url), "no connection", "base_url", "copy it to")
    target = Path(line.split("copy it to ")[1])
    target.write_bytes(archive[:-10])
    refused(lambda: get(base_url=closed.url), "the file there is not the published one")
    target.write_bytes(archive)  # as the line says
    whole(get(base_url=closed.url), archive)
    # the user's own copy is not ours to delete
    assert held(target.parent) == ["DATASET_WITH_GT.zip", "cellseg3d"]


def test_two_at_once_download_once(set_up, archive):
    server, get = set_up
    server.fault(ZENODO, "slow")
    folders = []
    threads = [threading.Thread(target=lambda: folders.append(get())) for _ in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(folders) == 3 and server.count(ZENODO) == 1
    whole(folders[0], archive)


def test_names_and_addresses_that_make_no_sense(tmp_path):
    refused(lambda: datasets.fetch("cellseg4d", tmp_path), "cellseg4d", "cellseg3d")
    refused(lambda: datasets.fetch("cellseg3d", tmp_path, base_url="ftp://x"), "http")
    refused(lambda: datasets.collect("cellseg4d"), "no data set", "simulated")


FULL_DISK = """
import resource, signal, sys
from cellseg_nb import datasets, errors
cache, url, book, limit = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit),) * 2)
try:
    print(datasets.fetch("cellseg3d", cache, url, book))
except errors.UserError as error:
    print("UserError", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
@pytest.mark.parametrize("where", ["download", "unpacking"])
def test_disk_full(server, tmp_path, where):
    """For real: the operating system refuses bytes, first in the archive, then in a file of the archive."""
    content = zipped({"DATASET_WITH_GT/a.tif": bytes(3_000_000) + os.urandom(60_000)})
    server.zenodo("11095111", "DATASET_WITH_GT.zip", content)
    book = registered(tmp_path, content)
    limit = 30_000 if where == "download" else 1_000_000
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path / "cache", server.url, book, str(limit)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("UserError") and done.stdout.count("\n") == 1, done.stdout
    assert "could not be written" in done.stdout and "free some space" in done.stdout
    assert "cellseg3d" not in held(tmp_path / "cache")
    # whole, hash checked
    assert held(tmp_path / "cache") == ([] if where == "download" else ["DATASET_WITH_GT.zip"])


def test_too_little_space_is_told_before_anything_is_written(set_up, tmp_path, monkeypatch):
    server, get = set_up
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    refused(get, "still to come", "free some space")
    assert held(tmp_path / "cache") == []


# ---------------------------------------------------------------- archives


def linked():
    held_in = io.BytesIO()
    with zipfile.ZipFile(held_in, "w") as archive:
        link = zipfile.ZipInfo("DATASET_WITH_GT/link.tif")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return held_in.getvalue()


@pytest.mark.parametrize(
    "content, word",
    [
        (zipped({"ok.tif": b"1", "../evil.tif": b"2"}), "outside"),
        (zipped({"/evil.tif": b"2"}), "outside"),
        (zipped({"a/../../evil.tif": b"2"}), "outside"),
        (zipped({"C:/evil.tif": b"2"}), "outside"),
        (zipped({"..\\evil.tif": b"2"}), "outside"),
        (linked(), "link"),
        (b"PK\x03\x04 no zip", "damaged"),
        (b"", "damaged"),
    ],
)
def test_bad_archives_leave_nothing(tmp_path, content, word):
    archive = tmp_path / "in" / "x.zip"
    archive.parent.mkdir()
    archive.write_bytes(content)
    refused(lambda: download.unzip(archive, tmp_path / "in" / "out"), word, archive)
    assert held(tmp_path / "in") == ["x.zip"] and held(tmp_path) == ["in"]


def test_a_damaged_member_leaves_nothing(tmp_path):
    content = bytearray(zipped({"a.tif": b"1", "b.tif": os.urandom(5000)}))
    content[2000] ^= 1
    (tmp_path / "x.zip").write_bytes(content)
    refused(lambda: download.unzip(tmp_path / "x.zip", tmp_path / "out"), "damaged")
    assert held(tmp_path) == ["x.zip"]


# ---------------------------------------------------------------- pairs


@pytest.fixture
def lay(tmp_path):
    """lay({"c1.tif": volume, ...}): write TIFFs as others would."""

    def write(files):
        for name, array in files.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, array)
        return tmp_path / "set"

    return write


LABELS = (volume() > 500).astype(np.uint16)


def test_embedseg_layout(lay):
    folder = lay(
        {
            f"Mouse-Skull-Nuclei-CBG/{part}/{kind}/X{n}.tif": LABELS if kind == "masks" else volume(n)
            for part, n in (("train", 1), ("train", 2), ("test", 1))
            for kind in ("images", "masks")
        }
    )
    found = pairing.pairs(folder)
    assert [p.name for p in found] == ["test/X1", "train/X1", "train/X2"]
    assert all(p.labels.parent.name == "masks" and p.labels.name == p.image.name for p in found)
    image, labels, size = datasets.load(found[0], (5, 1, 1))
    assert image.dtype == np.float32 and labels.dtype == np.int32 and size == (5, 1, 1)


@pytest.mark.parametrize(
    "files",
    [
        ["images/c10.tif", "images/c2.tif", "labels/c2.tif", "labels/c10.tif"],
        ["c2.tif", "c10.tif", "Labels/c2_labels.tif", "Labels/c10_labels.tif"],
        ["c2_image.tif", "c10_image.tif", "c2_labels.tif", "c10_labels.tif"],
        ["c2.tif", "c10.tif", "c2_mask.tif", "c10_mask.tif"],
        ["c2_img.tif", "c10_img.tif", "c2_cp_masks.tif", "c10_cp_masks.tif"],
        ["x/raw/c2.tif", "x/raw/c10.tif", "x/gt/C2-mask.tif", "x/gt/c10_seg.tif"],
    ],
)
def test_own_folders(lay, files):
    found = pairing.pairs(lay({f: volume() for f in files}))
    assert [p.name for p in found] == ["c2", "c10"] and all(p.labels is not None for p in found)
    assert all(p.name in p.labels.stem.lower() for p in found)


def test_images_alone(lay):
    folder = lay({"images/b.tif": volume(), "images/a.tif": volume()})
    assert [(p.name, p.labels) for p in pairing.pairs(folder)] == [("a", None), ("b", None)]
    collection = datasets.collect(str(folder))
    assert collection.name == "set" and collection.voxel_size is None
    assert datasets.load(collection.pairs[0])[1] is None


@pytest.mark.parametrize(
    "files, words",
    [
        ({}, ["holds no volume"]),
        (
            {"images/a.tif": volume(), "images/b.tif": volume(), "labels/a.tif": LABELS},
            ["2 volumes", "1 label", "look at b"],
        ),
        ({"a.tif": volume(), "b.tif": volume(), "a_labels.tif": LABELS}, ["b.tif has no labels"]),
        (
            {"a.tif": volume(), "z_labels.tif": LABELS, "a_labels.tif": LABELS},
            ["z_labels.tif belongs to no volume"],
        ),
        (
            {"images/a.tif": volume(), "labels/a.tif": LABELS[1:]},
            ["a.tif has shape (17, 20, 22)", "(18, 20, 22)"],
        ),
        ({"images/a.tif": volume(), "labels/a.tif": volume() / 7}, ["not whole"]),
        ({"images/a.tif": volume(), "labels/a.tif": volume().astype(np.int16) - 5}, ["negative"]),
        ({"x/a.tif": volume(), "y/a.tif": volume(1)}, ["same name", "x/a.tif and ", "call it labels"]),
        ({"x/a.tif": volume(), "y/a.tif": volume()}, ["are the same file", "move one of them"]),
    ],
)
def test_folders_that_do_not_fit(lay, tmp_path, files, words):
    (tmp_path / "set").mkdir()

    def all_of_it():
        return [datasets.load(pair) for pair in pairing.pairs(lay(files))]

    refused(all_of_it, *words)


def test_labels_stored_as_whole_floats_are_fine(lay):
    found = pairing.pairs(lay({"images/a.tif": volume(), "labels/a.tif": LABELS.astype(np.float32)}))
    assert datasets.load(found[0])[1].dtype == np.int32


def test_a_file_or_nothing_is_no_folder(tmp_path):
    refused(lambda: pairing.pairs(tmp_path / "nowhere"), "is no folder")


# ---------------------------------------------------------------- simulated


def test_simulated_reads_like_the_real_ones(tmp_path):
    collection = datasets.collect("simulated", tmp_path, scale=0.25)
    assert sorted(p.name for p in collection.pairs) == ["c1", "c2", "c3", "c4", "c5", "visual"]
    image, labels, size = datasets.load(collection.pairs[-1], collection.voxel_size)
    assert image.shape == labels.shape and size == (5, 5, 5) and labels.max() >= 3
    times = [p.image.stat().st_mtime_ns for p in collection.pairs]
    again = datasets.collect("simulated", tmp_path, scale=0.25)
    assert [p.image.stat().st_mtime_ns for p in again.pairs] == times
    other = datasets.collect("simulated", tmp_path / "other", scale=0.25, seed=1)
    assert not np.array_equal(datasets.load(other.pairs[0])[0], datasets.load(collection.pairs[0])[0])


# ---------------------------------------------------------------- the data card


def test_survey_counts_what_is_there(tmp_path):
    folder = tmp_path / "own"
    (folder / "labels").mkdir(parents=True)
    labels = np.zeros((20, 20, 20), np.uint16)
    labels[2:4, 2:4, 2:4], labels[10:13, 10:13, 10:13] = 7, 9
    tifffile.imwrite(folder / "c1.tif", volume(0, (20, 20, 20)))
    tifffile.imwrite(folder / "labels" / "c1.tif", labels)
    found = data.survey(datasets.collect(str(folder)), voxel_size=(2, 1, 1))
    row = found.volumes.iloc[0]
    assert row.cells == 2 and row.foreground == 35 / 8000 and row.cells_per_mm3 == pytest.approx(2 / 16000e-9)
    assert found.cells.volume_voxels.tolist() == [8, 27] and pd.isna(row.published)
    assert found.cells.diameter.tolist() == pytest.approx(np.cbrt(6 * np.array([16, 54]) / np.pi).tolist())
    edges, background, inside = found.histograms["c1"]
    assert len(edges) == len(background) + 1 and 30 <= inside.sum() <= 35 and background.sum() > 7900


def test_figures_of_images_alone_and_of_all(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", volume())
    lonely = data.survey(datasets.collect(str(tmp_path)))
    assert len(lonely.cells) == 0 and lonely.volumes.cells.isna().all()
    for figure in (data_figures.histograms, data_figures.counts, data_figures.sizes):
        figure(lonely)
    assert data.headline(lonely) == "1 volume"
    found = data.survey(datasets.collect("simulated", tmp_path / "sim", scale=0.25))
    table = splitting.cube_table({r.volume: (r.z, r.y, r.x) for r in found.volumes.itertuples()}, 16)
    split = splitting.splits(table)
    figures = {
        "counts": data_figures.counts(found),
        "sizes": data_figures.sizes(found),
        "splits": data_figures.splits(split),
        "cubes": data_figures.cubes(volume(), table),
    }
    out = common.save(
        tmp_path / "out", {"seed": 0}, {"volumes": found.volumes, "splits": split}, figures, "a line"
    )
    written = {p.name for p in out.iterdir()}
    assert {"config.json", "volumes.csv", "splits.csv", "summary.json", "counts.png"} <= written
    assert pd.read_csv(out / "splits.csv").equals(split)


DEFAULTS = runs.parameters(runs.find("01_data"))


def chosen(**changes):
    return common.resolved(parameters.check(data.PARAMETERS, {**DEFAULTS, **changes}))


def test_the_notebooks_choices(tmp_path):
    out = str(tmp_path / "out")
    choice = chosen(out=out, held_out=" c3, c5 ", percentages="10, 12.5", voxel_size="5,1,1")
    assert choice["dataset"] == "simulated" and choice["held_out"] == ["c3", "c5"]
    assert choice["percentages"] == [10, 12.5] and choice["voxel_size"] == (5, 1, 1)
    assert chosen(profile="paper")["dataset"] == "cellseg3d" and chosen()["held_out"] is None
    assert not (tmp_path / "out").exists()  # nothing is made before something is written
    for wrong in ({"profile": "big"}, {"percentages": "ten"}, {"cube": 2}, {"voxel_size": "5"}, {"seed": -1}):
        refused(lambda: chosen(**wrong), *wrong)


def test_a_single_volume_has_no_folds(capsys):
    choice = chosen()
    plan = data.divide(choice, splitting.cube_table({"a": (80, 80, 80)}))
    assert [len(table) for table in plan] == [0, 0, 0] and "one volume only" in capsys.readouterr().out
    data_figures.splits(plan.splits)
    plan = data.divide(choice, splitting.cube_table({"a": (80, 80, 80), "b": (80, 80, 80)}))
    assert plan.folds.held_out.tolist() == ["a", "b"]
    assert len(plan.splits) == 2 * 4 * 8 and len(plan.shared) == 8


# ---------------------------------------------------------------- folds and splits


def test_folds():
    table = splitting.folds(["c1", "c2", "c3", "c4", "c5", "visual"])
    assert table.held_out.tolist() == ["visual", "c3", "c5"] and table.training[0] == "c1, c2, c3, c4, c5"
    assert splitting.folds(["a", "b"]).held_out.tolist() == ["a", "b"]
    assert splitting.folds(["c3_crop", "visual_cortex", "c5x", "c1"]).held_out.tolist() == [
        "visual_cortex",
        "c3_crop",
        "c5x",
    ]
    assert splitting.folds(["a", "b", "ab"], ["a"]).training[0] == "b, ab"
    refused(lambda: splitting.folds(["a"]), "two volumes")
    refused(lambda: splitting.folds(["a", "b"], ["q"]), "no volume", "a, b")
    refused(lambda: splitting.folds(["ax", "ay"], ["a"]), "more than one")


def test_cubes_are_those_of_the_volumes_module():
    table = splitting.cube_table({"c3": (149, 105, 147), "visual": (65, 127, 214)})
    assert table.volume.value_counts().to_dict() == {"c3": 18, "visual": 16}
    assert (table[["depth", "height", "width"]] == 64).all().all()
    array = np.arange(149 * 105 * 147).reshape(149, 105, 147)
    assert splitting.cut(array, table.iloc[17])[-1, -1, -1] == array[-1, -1, -1]


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(1, 12), min_size=2, max_size=6), seed=st.integers(0, 2**31))
def test_splits_are_nested_seeded_and_apart(counts, seed):
    cubes = pd.DataFrame(
        [(f"v{v}", c) for v, n in enumerate(counts) for c in range(n)], columns=["volume", "cube"]
    )
    table = splitting.splits(cubes, seed=seed)
    pd.testing.assert_frame_equal(table, splitting.splits(cubes, seed=seed))
    for held_out, fold in table.groupby("held_out"):
        assert held_out not in set(fold.volume)
        smaller = set()
        for percentage, part in fold.groupby("percentage"):
            keys = [tuple(k) for k in part[["volume", "cube"]].to_numpy()]
            assert len(keys) == len(set(keys)) == len(cubes) - (cubes.volume == held_out).sum()
            training = {k for k, role in zip(keys, part.role) if role == "training"}
            assert len(training) == max(1, round(len(keys) * percentage / 100)) and smaller <= training
            smaller = training


def test_splits_of_names_seeds_and_refusals():
    names = ["c1", "c2", "c3", "c4", "c5", "visual"]
    table = splitting.splits(names)
    assert set(table.fold) == {1, 2, 3} and set(table.percentage) == {10, 20, 60, 80}
    cubes = splitting.cube_table({name: (128, 128, 128) for name in names})
    assert not splitting.splits(cubes, seed=0).equals(splitting.splits(cubes, seed=1))
    refused(lambda: splitting.splits(names, percentages=(0, 50)), "percentages")
    refused(lambda: splitting.splits(names, percentages=()), "percentages")


def test_shared_counts_the_voxels_of_overlapping_cubes():
    apart = splitting.splits(
        splitting.cube_table({"a": (128, 64, 64), "b": (128, 64, 64)}), (50,), held_out=["a"]
    )
    assert splitting.shared(apart).shared.tolist() == [0]
    over = splitting.splits(
        splitting.cube_table({"a": (96, 64, 64), "b": (96, 64, 64)}), (50,), held_out=["a"]
    )
    assert splitting.shared(over).shared.tolist() == [0.5]


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 40)] * 3), size=st.integers(1, 20), apart=st.booleans())
def test_cubes_cover_a_volume_and_may_be_apart(shape, size, apart):
    times = np.zeros(shape, int)
    for row in splitting.cube_table({"a": shape}, size, apart).to_dict("records"):
        assert min(row["depth"], row["height"], row["width"]) >= 1
        splitting.cut(times, row)[...] += 1
    assert times.min() == 1 and (not apart or times.max() == 1)


def test_cubes_as_files_are_a_data_set(tmp_path):
    """Notebook 01 writes them, every notebook takes them: the voxels of the volume, labels numbered anew."""
    from cellseg_nb.lessons import data as lesson

    folder = datasets.simulated(tmp_path / "data", scale=0.3, names=("c5", "visual"))
    collection = datasets.collect(str(folder))
    shapes = {pair.name: datasets.load(pair)[0].shape for pair in collection.pairs}
    cubes = splitting.cube_table(shapes, 16)
    made = datasets.collect(str(lesson.write_cubes(tmp_path / "out", collection, cubes)))
    assert len(made.pairs) == len(cubes)
    whole = {pair.name: datasets.load(pair) for pair in collection.pairs}
    for row, pair in zip(cubes.to_dict("records"), made.pairs):
        image, labels, size = datasets.load(pair)
        assert size == (5, 5, 5) and np.array_equal(image, splitting.cut(whole[row["volume"]][0], row))
        truth = splitting.cut(whole[row["volume"]][1], row)
        assert np.array_equal(labels > 0, truth > 0) and labels.max() == len(np.unique(truth[truth > 0]))
