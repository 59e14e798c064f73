"""Cellpose-SAM in an environment of its own: the worker is a real process of another Python. Its library
is a stand-in, since its weights need a network; what Cellpose 4 itself finds is not tested."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from cellseg_nb import methods
from cellseg_nb.data import datasets, simulate
from cellseg_nb.errors import UserError
from cellseg_nb.lessons import common, comparison
from cellseg_nb.methods import cellpose_sam

STAND_IN = '''
import numpy as np
from scipy import ndimage


class CellposeModel:
    """Called as Cellpose 4 is; cells are what is bright."""

    def __init__(self, gpu, device, pretrained_model, use_bfloat16):
        assert not gpu and device.type == "cpu" and not use_bfloat16 and pretrained_model == "cpsam_v2"

    def eval(self, x, z_axis, do_3D, anisotropy, diameter, cellprob_threshold, flow3D_smooth, min_size):
        assert x.dtype == np.float32 and x.ndim == 3 and z_axis == 0 and do_3D and anisotropy == 2.0
        assert (diameter, cellprob_threshold, flow3D_smooth, min_size) == (None, 0.0, 0.0, 15)
        logits = (x - np.quantile(x, 0.9)) / x.std()
        return ndimage.label(logits > 0)[0], [None, None, 3 * logits], None
'''
REFUSES = """
class CellposeModel:
    def __init__(self, **options):
        from urllib.error import URLError
        raise URLError("Name or service not known")
"""


@pytest.fixture
def other(tmp_path, monkeypatch):
    """Makes an environment whose ``cellpose.models`` is the code given, and names it as users do."""

    def make(code):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
        python = next(path for path in (tmp_path / "env").glob("*/python*") if path.is_file())
        ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        place = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
        (place / "numpy_and_torch.pth").write_text(str(Path(np.__file__).parents[1]))
        (place / "cellpose").mkdir()
        (place / "cellpose" / "__init__.py").touch()
        (place / "cellpose" / "models.py").write_text(code)
        monkeypatch.setenv(cellpose_sam.VARIABLE, str(python))
        return python

    return make


@pytest.fixture(scope="module")
def pair():
    return simulate.volume((16, 32, 32), 8, seed=1, voxel_size=(2, 1, 1))


def test_the_worker_is_another_process_and_gives_labels_and_probability(pair, other, tmp_path):
    other(STAND_IN)
    method = methods.get("cellpose_sam", voxel_size=(2, 1, 1), device="cpu")
    assert method.fit([pair[0]]) == [] and len(method.tune([pair[0]], [pair[1]])) == 1
    labels, probability = maps = method.maps(pair[0])
    assert labels.dtype == np.int32 and probability.dtype == np.float32 and labels.max() > 1
    assert labels.shape == pair[0].shape and 0 <= probability.min() and probability.max() <= 1
    assert np.array_equal(labels > 0, probability > 0.5)
    assert method.segment(pair[0], maps) is labels  # computed once
    again = methods.method_class("cellpose_sam").load(method.save(tmp_path).parent, device="cpu")
    assert again.chosen == method.chosen
    assert "python" not in (tmp_path / "cellpose_sam.json").read_text()  # what is run comes from no file


def test_without_its_environment_one_line_says_how_to_make_it(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv(cellpose_sam.VARIABLE, raising=False)
    assert common.available(["otsu", "cellpose_sam"]) == ["otsu"]
    said = capsys.readouterr().out
    assert (
        said.count("\n") == 1 and "cellpose_sam is left out" in said and "pip install 'cellpose>=4'" in said
    )
    with pytest.raises(UserError, match="needs an environment of its own"):
        methods.get("cellpose_sam").predict(np.zeros((8, 8, 8)))
    monkeypatch.setenv(cellpose_sam.VARIABLE, str(tmp_path / "python"))
    assert "where no Python is" in methods.lacking("cellpose_sam")


def test_where_it_fails_its_words_are_told_and_the_comparison_goes_on(pair, other, tmp_path, capsys):
    other(REFUSES)
    every = [datasets.Volume(name, *pair, (2, 1, 1)) for name in ("a", "b")]
    choice = dict(methods=["otsu", "cellpose_sam"], seeds=[0], profile="demo", epochs=0, processes=1)
    choice |= dict(device="cpu", out=str(tmp_path / "out"))
    table = comparison.run(choice, every, ["b"])
    assert set(table.method) == {"otsu"}
    said = capsys.readouterr().out
    assert (
        "No result for cellpose_sam" in said and "URLError: <urlopen error Name or service not known>" in said
    )
    assert "can its weights be downloaded?" in said


def test_its_score_never_stands_alone(pair, other, tmp_path):
    """The caution is in the table of scores, and in the first line of the report."""
    other(STAND_IN)
    every = [datasets.Volume(name, *pair, (2, 1, 1)) for name in ("a", "b")]
    choice = dict(methods=["otsu", "cellpose_sam"], seeds=[0], profile="demo", epochs=0, processes=1)
    choice |= dict(device="cpu", out=str(tmp_path / "out"))
    table = comparison.run(choice, every, ["b"])
    shown = comparison.runs(table).set_index("method").caution
    assert set(shown["otsu"]) == {""} and "learned from these very data" in shown["cellpose_sam"].iloc[0]
    assert "cellpose_sam: its weights may have learned" in comparison.headline(table)
    assert "caution" not in comparison.runs(table[table.method == "otsu"])


def test_another_python_without_cellpose(pair, monkeypatch):
    """The worker's own words where the library is not there: here, a Python without any library."""
    bare = (
        Path(sysconfig.get_config_var("BINDIR")) / f"python{sys.version_info.major}.{sys.version_info.minor}"
    )
    if not bare.is_file():
        pytest.skip("the Python below this environment was not found")
    monkeypatch.setenv(cellpose_sam.VARIABLE, str(bare))
    with pytest.raises(UserError, match="Cellpose-SAM failed .*Error: .*Cellpose 4 installed there"):
        methods.get("cellpose_sam", device="cpu").segment(pair[0])
