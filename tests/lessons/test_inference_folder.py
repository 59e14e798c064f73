"""Notebook 04's folder: what is done is kept, what is damaged is done anew, what cannot be read is a row."""

import numpy as np
import pytest
import tifffile

from cellseg_nb.data import simulate
from cellseg_nb.io import volumes
from cellseg_nb.lessons import inference_folder


def test_done_once_and_anew_where_the_note_is_damaged(tmp_path):
    for number in (1, 2):
        volumes.write(
            tmp_path / "in" / f"v{number}.tif", simulate.volume((24, 32, 32), 5, number)[0], (1, 1, 1)
        )
    (tmp_path / "in" / "v3.tif").write_bytes(b"II*\0 no volume")
    choice = {"out": str(tmp_path / "out"), "voxel_size": None, "folder": str(tmp_path / "in"), "seed": 0}
    seen, end = [], 6

    def segment(image, voxel_size):
        seen.append(image.shape)
        labels = np.zeros(image.shape, np.int32)
        labels[2:end, 2:6, 2:6] = 1
        return labels

    def run():
        seen.clear()
        return inference_folder.batch(choice, segment, tmp_path / "in")

    table = run()
    assert len(seen) == 2 and list(table.cells[:2]) == [1, 1] and "v3.tif" in table.problem[2]
    assert list(run().cells[:2]) == [1, 1] and not seen
    (tmp_path / "out" / "batch" / "v1.json").write_text('{"settings": ')
    assert list(run().cells[:2]) == [1, 1] and len(seen) == 1
    end = 7  # a number that `segment` uses
    assert list(run().cells[:2]) == [1, 1] and len(seen) == 2
    seen.clear()
    inference_folder.batch(choice, segment, tmp_path / "in", "other weights")
    assert len(seen) == 2


@pytest.mark.parametrize("imagej", [True, False])
def test_a_volume_cut_in_its_middle_is_told_not_left_out(tmp_path, imagej):
    (tmp_path / "in").mkdir()
    for number in (1, 2):
        noise = np.random.default_rng(number).integers(0, 60000, (24, 32, 32), dtype=np.uint16)
        tifffile.imwrite(tmp_path / "in" / f"v{number}.tif", noise, imagej=imagej, metadata={"axes": "ZYX"})
    cut = tmp_path / "in" / "v2.tif"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    choice = {"out": str(tmp_path / "out"), "voxel_size": (1, 1, 1), "folder": str(tmp_path / "in")}
    table = inference_folder.batch(
        choice, lambda image, size: np.ones(image.shape, np.int32), tmp_path / "in"
    )
    assert list(table.file) == ["v1.tif", "v2.tif"] and table.problem[0] == ""
    assert "v2.tif is truncated" in table.problem[1]
