"""Networks as ONNX: what is written is read again and says the same; the released kind is read too."""

import numpy as np
import pytest
import torch

from cellseg_nb import methods
from cellseg_nb.data import simulate
from cellseg_nb.errors import UserError
from cellseg_nb.methods import onnx_files, weights
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


@pytest.mark.slow
def test_segresnet_too(tmp_path):
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    options = dict(blocks_down=(1, 1), blocks_up=(1,), init_filters=8, cores=True, flips=True)
    methods.get("segresnet", device="cpu", threshold=0.3, **options).save(tmp_path)
    own = weights.load(tmp_path)
    again = read_again(own, tmp_path / "any.onnx")
    image, _ = simulate.volume((20, 30, 40), 10, seed=1)
    assert again.window == 0
    assert np.allclose(again(image, progress=False), own(image, progress=False), atol=1e-4)


def test_swinunetr_for_one_window(tmp_path, monkeypatch):
    """Written for windows of 64 voxels a side, and asked in such. That its network says the same as ONNX:
    test_model_package.py, with the function that is another's here."""
    onnx = [pytest.importorskip(name) for name in ("onnx", "onnxscript", "onnxruntime")][0]

    def traced(model, shape, names, any_size):
        assert shape == [64, 64, 64] and not any_size
        return identity(onnx, (1, 1, *shape))

    monkeypatch.setattr(onnx_files, "traced", traced)
    once = (1, 1, 1, 1)
    options = dict(feature_size=12, window_size=4, depths=once, num_heads=once)
    methods.get("swinunetr", device="cpu", threshold=0.3, **options).save(tmp_path)
    again = read_again(weights.load(tmp_path), tmp_path / "any.onnx")
    image, _ = simulate.volume((70, 30, 40), 10, seed=1)
    assert again.window == 64 and again(image, progress=False).shape == image.shape


def read_again(own, path):
    """A network of `methods` after its export, with what is said of both kinds."""
    name = own.architecture
    again = weights.load(onnx_files.export(own, path), name)
    assert (again.architecture, again.threshold, again.scaling) == (name, 0.3, "unit")
    assert again.flips == own.flips
    assert again.bytes_per_voxel == own.bytes_per_voxel
    with pytest.raises(UserError, match=f"holds weights of '{name}', not of 'wnet3d'"):
        weights.load(path, "wnet3d")
    with pytest.raises(UserError, match="is ONNX already"):
        onnx_files.export(again, path)
    return again


def identity(onnx, shape):
    """An ONNX network that gives what it takes, arrays of one shape."""
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "i", ends[:1], ends[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (1, 2, 16, 16, 16), (1, 1, 32, 64, 64), ()])
def test_an_onnx_file_of_no_volumes_is_refused(tmp_path, shape):
    onnx, _ = (pytest.importorskip(name) for name in ("onnx", "onnxruntime"))
    onnx.save(identity(onnx, shape), tmp_path / "foreign.onnx")
    with pytest.raises(UserError, match=r"foreign\.onnx takes arrays of .*give one that notebook 04"):
        weights.load(tmp_path / "foreign.onnx")


def test_missing_libraries_are_told(found, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(UserError, match=r"onnx is not installed.*cellseg-nb\[onnx\]"):
        onnx_files.export(found, tmp_path / "x.onnx")
