"""Notebook 09 executed by papermill: a small brain, and planes as a microscope writes them."""

import numpy as np
import pandas
import pytest
import tifffile
from executing import executed

from cellseg_nb import runs
from cellseg_nb.data import brain
from cellseg_nb.errors import UserError

pytest.importorskip("distributed")
pytest.importorskip("zarr")
pytest.importorskip("pyarrow")
pytestmark = pytest.mark.notebook
SMALL = {"side": 96, "chunk": 48, "workers": 2}


def test_09_finds_the_cells_of_a_simulated_brain(tmp_path):
    out, summary = executed("09_whole_brain", tmp_path / "out", **SMALL)
    assert summary["score"]["f1"] > 0.95 and summary["failed"] == {}
    cells = pandas.read_parquet(out / "cells.parquet")
    assert len(cells) == summary["cells"] == len(pandas.read_csv(out / "points.csv"))
    assert tifffile.imread(out / "density.tif").sum() > 0
    assert (out / "labels.ome.zarr" / ".zattrs").is_file()


def test_09_on_planes_and_again(tmp_path):
    """Converted, segmented as spots; started again with other sizes of cells, nothing is computed again."""
    (tmp_path / "planes").mkdir()
    box = slice(20, 60), slice(0, 96), slice(0, 96)
    for z, plane in enumerate(brain.render(box, (96, 96, 96))[0]):
        tifffile.imwrite(tmp_path / "planes" / f"ch{z:05d}.tif", plane)
    given = dict(images=tmp_path / "planes", voxel_size="2,2,2", method="spots", cell_diameter="16")
    given |= dict(chunk=48, workers=1, zarr_version="0.5")
    out, summary = executed("09_whole_brain", tmp_path / "out", **given)
    marks = {path: path.stat().st_mtime_ns for path in (out / "work" / "cells").iterdir()}
    assert len(marks) == 4 and summary["cells"] > 20
    out, fewer = executed("09_whole_brain", tmp_path / "out", **given, max_size=300)
    assert fewer["cells"] < summary["cells"]
    assert marks == {path: path.stat().st_mtime_ns for path in (out / "work" / "cells").iterdir()}
    with pytest.raises(UserError, match="holds a run with another how"):
        runs.run("09_whole_brain", {k: str(v) for k, v in (given | {"cell_diameter": 12}).items()}, out)
    assert np.isfinite(summary["plan"]["seconds"])
