"""WNet3D as ONNX: what is written is read again and says the same; the released kind of file is read too."""

import numpy as np
import pytest
import torch

from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.methods import onnx_files, weights
from cellseg_nb.networks import monai_nets
from cellseg_nb.networks.wnet3d import WNet3D


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    return weights.predictor(WNet3D(channels=(4, 8, 8, 8)), "wnet3d", 0.7, 1)


@pytest.mark.slow
def test_written_and_read_it_says_the_same(found, tmp_path):
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    path = onnx_files.export(found, tmp_path / "w" / "wnet3d.onnx")
    again = weights.load(path)
    assert (again.architecture, again.threshold, again.foreground, again.window) == ("wnet3d", 0.7, 1, 0)
    assert again.bytes_per_voxel == found.bytes_per_voxel
    image, _ = simulate.volume((20, 30, 40), 10, seed=1)
    assert np.allclose(again(image, progress=False), found(image, progress=False), atol=1e-4)
    released = weights.load(path, postprocess="released")(image, progress=False)
    assert released.shape == image.shape and released.min() >= 0 and released.max() <= 1
    (tmp_path / "half.onnx").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="is damaged or no ONNX file"):
        weights.load(tmp_path / "half.onnx")


def test_other_networks_and_missing_libraries_are_told(found, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="only a WNet3D can be exported"):
        onnx_files.export(
            weights.predictor(monai_nets.network("segresnet"), "segresnet"), tmp_path / "x.onnx"
        )
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(UserError, match=r"onnx is not installed.*cellseg-nb\[onnx\]"):
        onnx_files.export(found, tmp_path / "x.onnx")
