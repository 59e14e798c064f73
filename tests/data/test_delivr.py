"""The c-FOS patches: fetched file by file from a loopback server, axes, values and voxel size put right,
truth made cells."""

import hashlib

import nibabel
import numpy as np
import pandas
import pytest
from servers import Server

from cellseg_nb.data import bundled, datasets, delivr
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes

FOLDER = "/erturklab/delivr_cfos/51ef796da883ace0afbbf589630b0e756dd3c6d3"


def nifti(path, array):
    """A file as the authors' are: X, Y, Z, float64, voxels of 1 x 1 x 1 in the header."""
    nibabel.save(nibabel.Nifti1Image(array.T.astype(np.float64), np.eye(4)), path)
    return path.read_bytes()


@pytest.fixture
def patches(tmp_path, monkeypatch):
    """Two patches, one of them with truth, as {path on the server: bytes}, and the arrays (Z, Y, X)."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 65536, (16, 17, 18)).astype(np.uint16)
    truth = np.zeros(image.shape, np.uint8)
    truth[1:3, 1:3, 1:3] = truth[3:5, 3:5, 3:5] = truth[1:3, 5, 5] = 1  # the first two touch at an edge alone
    files = {
        f"training_data/cFos/{kind}/patchvolume_{name}.nii.gz": nifti(
            tmp_path / f"{kind}{name}.nii.gz", array
        )
        for kind, name, array in (("raw", "1_0", image), ("gt", "1_0", truth), ("raw", "1_1", image[::-1]))
    }
    table = pandas.DataFrame(
        {
            "path": list(files),
            "bytes": [len(data) for data in files.values()],
            "sha256": [hashlib.sha256(data).hexdigest() for data in files.values()],
        }
    )
    table.to_csv(tmp_path / "files.csv", index=False)
    monkeypatch.setattr(
        bundled,
        "path",
        lambda name, real=bundled.path: (
            tmp_path / "files.csv" if name == "published/delivr_cfos_files.csv" else real(name)
        ),
    )
    return files, image, truth


def test_fetched_and_put_right(patches, tmp_path):
    files, image, truth = patches
    with Server() as server:
        for path, data in files.items():
            server.file(f"{FOLDER}/{path}", data)
        collection = datasets.collect("delivr_cfos", cache=tmp_path / "cache", base_url=server.url)
    assert [pair.name for pair in collection.pairs if pair.labels] == ["patchvolume_1_0"]
    pair = next(pair for pair in collection.pairs if pair.labels)
    read, labels, size = datasets.load(pair)
    assert np.array_equal(read, image) and size == (6, 1.62, 1.62)
    assert np.array_equal(labels > 0, truth > 0) and labels.max() == 3
    again = datasets.collect("delivr_cfos", cache=tmp_path / "cache")  # without the server
    assert len(again.pairs) == len(collection.pairs)


def test_broken_off_it_goes_on(patches, tmp_path):
    files, *_ = patches
    paths = list(files)
    with Server() as server:
        server.file(f"{FOLDER}/{paths[0]}", files[paths[0]])
        with pytest.raises(UserError, match="what has arrived is kept"):
            datasets.fetch("delivr_cfos", tmp_path / "cache", server.url)
        for path in paths[1:]:
            server.file(f"{FOLDER}/{path}", files[path])
        folder = datasets.fetch("delivr_cfos", tmp_path / "cache", server.url)
        assert server.count(f"{FOLDER}/{paths[0]}") == 1
    assert len(list(folder.rglob("*.tif"))) == 3


def test_a_file_that_is_another_is_refused(patches, tmp_path):
    files, *_ = patches
    with Server() as server:
        for path, data in files.items():
            server.file(f"{FOLDER}/{path}", data[:-1] + b"x")
        with pytest.raises(UserError, match="not the published file"):
            datasets.fetch("delivr_cfos", tmp_path / "cache", server.url)


def test_what_is_no_patch(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read as NIfTI"):
        delivr.read(tmp_path / "a.nii.gz")
    nifti(tmp_path / "b.nii.gz", np.full((4, 4, 4), 0.5))
    with pytest.raises(UserError, match="no c-FOS patch"):
        delivr.read(tmp_path / "b.nii.gz")


def test_the_table_that_comes_with_the_project():
    files = delivr.listed("delivr_cfos_files.csv")
    assert len(files) == 89 and sum("/gt/" in path for path, _ in files) == 41
    assert all(len(sha256) == 64 for _, sha256 in files)


@pytest.mark.parametrize("name", ["969_0", "1147_0", "695_0", "753_0"])
def test_as_many_cells_as_counted_elsewhere(name, real_data):
    labels, _ = volumes.read_labels(real_data / "delivr" / f"{name}_labels.tif")
    assert delivr.cells(labels > 0).max() == labels.max()
