"""benchmarks/volumes.py on two tiny simulated volumes, with the methods that need no training."""

import executing
import numpy as np
import pandas
import pytest

from cellseg_nb.data import simulate
from cellseg_nb.io import volumes


@pytest.fixture(scope="module")
def script():
    return executing.loaded("benchmarks/volumes.py")


@pytest.fixture
def cases(tmp_path, monkeypatch):
    monkeypatch.delenv("CELLSEG_NB_REAL_DATA", raising=False)
    for name, seed in (("one", 1), ("two", 2)):
        image, labels = simulate.volume((32, 40, 40), cells=10, seed=seed, touching=0)
        volumes.write(tmp_path / "cases" / name / "image.tif", image)
        volumes.write(tmp_path / "cases" / name / "labels.tif", labels)
    return tmp_path / "cases"


def test_table_of_the_baselines(script, cases, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [str(cases), "--only", "two", "one", "--methods", "otsu", "dog", "--out", str(out)]
    script.main(arguments)
    table = pandas.read_csv(out / "volumes.csv")
    assert list(table.columns) == script.COLUMNS
    assert list(zip(table.volume, table.method)) == [
        ("two", "otsu"),
        ("two", "dog"),
        ("one", "otsu"),
        ("one", "dog"),
    ]
    assert (table["true cells"] == 10).all() and (abs(table["cells"] - 10) <= 1).all()
    assert (table["F1 of centres"] >= 0.9).all() and table["F1@0.5"].between(0.5, 1).all()
    assert table["verdict"].isin(["ok", "doubtful", "failed"]).all() and (table["CPU seconds"] > 0).all()
    lines = (out / "volumes.md").read_text().splitlines()
    assert len(lines) == 2 + 4 and lines[2].startswith("| two | otsu | 0 | ")
    assert len(capsys.readouterr().out.splitlines()) == 4

    script.main(["--only", "sample", "--methods", "dog", "--out", str(out)])
    script.main([*arguments[:3], "--methods", "dog", "--out", str(out)])
    again = pandas.read_csv(out / "volumes.csv")
    assert len(again) == 5 and again.volume.nunique() == 3  # kept, and the row done again is there once
    same = table.set_index(["volume", "method"])["cells"].to_dict() | {("sample", "dog"): again.cells[3]}
    assert again.set_index(["volume", "method"])["cells"].to_dict() == same


def test_a_volume_that_is_refused_is_a_row(script, cases, tmp_path):
    volumes.write(cases / "small" / "image.tif", np.random.default_rng(0).random((10, 40, 40), np.float32))
    volumes.write(cases / "small" / "labels.tif", np.ones((10, 40, 40), np.int32))
    script.main([str(cases), "--only", "small", "--methods", "wnet3d", "--out", str(tmp_path / "out")])
    row = pandas.read_csv(tmp_path / "out" / "volumes.csv").iloc[0]
    assert row.verdict == "refused" and "under 16 voxels" in row.said


def test_an_unknown_name_says_what_there_is(script, cases, capsys):
    with pytest.raises(SystemExit):
        script.main([str(cases), "--only", "three"])
    assert "no volume three: choose from sample, one, two" in capsys.readouterr().err
