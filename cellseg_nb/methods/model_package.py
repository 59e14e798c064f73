"""A trained network as a bioimage.io package: a .zip that other programs open (ilastik, deepImageJ, napari
through bioimageio.core), and `cellseg_nb.methods.weights.load` as well.

It holds the network as ONNX, a test volume with the probability that our own code gives of it, a picture, the
text of the model card, and the weights as PyTorch keeps them (an attachment, which `weights.load` reads).

Scaling is said in the specification's words wherever they exist: minimum to maximum, or percentiles, of the
volume. What is done to each window by itself (``scaling="cube"``, ``postprocess="released"``) has no words
there; it is part of the ONNX graph, and the description says so.
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cellseg_nb import __version__, methods
from cellseg_nb.cells import inference
from cellseg_nb.data import archives
from cellseg_nb.errors import UserError
from cellseg_nb.io import files
from cellseg_nb.methods import (
    model_package_files,
    model_package_spec,
    model_words,
    onnx_files,
    settings,
    weights,
)

INSTALL = 'pip install "cellseg-nb[packages]"'
SIDE = 48  # of the test volume, voxels


def write(found, path, image, authors, licence, training_data="", voxel_size=None, name=""):
    """Write a package of a trained network. Returns the path.

    Parameters
    ----------
    found : `cellseg_nb.methods.predictor.Predictor`
        From `cellseg_nb.methods.weights.load`, of a weights file of WNet3D, SegResNet, SwinUNETR or U-Net.
    path : path of the .zip
    image : (Z, Y, X) array
        A volume as the network will meet them. **Its middle, at most 64 voxels a side, becomes part of the
        package.**
    authors : list of str
    licence : str
        Of all that is in the package, by its SPDX name, such as CC-BY-4.0 or MIT.
    training_data : str
        What the network has learned from, in words.
    voxel_size : (z, y, x) in µm or None
    name : of the network; default: made of the architecture

    Raises UserError where a library is missing, for an ONNX file, for ``scaling="contrast"``, and for what
    the specification refuses.
    """
    needed(authors, licence)
    if found.scaling == "contrast":
        raise UserError(
            f"{found.source} has learned from volumes scaled by 'contrast', which no other program knows: "
            "train a network with scaling='unit', or share the weights themselves "
            "(cellseg_nb.methods.sharing.share)"
        )
    source, state, options = _source(found)
    part = test_part(found, image)
    found = _decided(found, part)
    probability = found(part, flips=False, progress=False)  # what the ONNX graph gives
    name = name or f"Cells by {found.architecture} (cellseg-nb)"
    about = {key: getattr(found, key) for key in model_package_files.PREDICTOR}
    about |= {"weights": source, "version": __version__, "training_data": training_data}
    about["separation"] = model_words.separation(found, options)
    about["graph"] = model_package_spec.graph_words(found)
    text = model_words.body(found, options, name, Path(path).name, licence, training_data)
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        torch.save(state, folder / source)
        about["sha256"] = files.digest(folder / source)
        opset = _onnx(found, part.shape, folder / "network.onnx")
        np.save(folder / "test_input.npy", part[None, None])
        np.save(folder / "test_output.npy", probability[None, None])
        _cover(folder / "cover.png", part, probability)
        (folder / "README.md").write_text(text, encoding="utf-8")
        given = dict(name=name, authors=authors, license=licence)
        described = model_package_spec.description(found, folder, about, opset, given, part.shape, voxel_size)
        return _save(described, files.as_path(path))


def needed(authors, licence):
    """Raises UserError unless a package could be written: authors, a licence, the libraries."""
    if not authors or not licence:
        raise UserError("a package names its authors and its licence: give both, such as CC-BY-4.0")
    for library in ("bioimageio.core", "onnxscript", "onnxruntime"):
        methods.import_library(library, INSTALL)
    from bioimageio.spec.generic.v0_3 import LicenseId

    try:
        LicenseId(licence)
    except ValueError as error:
        raise UserError(
            f"the licence {licence!r} is no SPDX name: choose one of https://spdx.org/licenses, such as "
            "CC-BY-4.0"
        ) from error


def check(path):
    """What bioimageio.core's own test says of a package: "passed", or the reasons why not, a line each.

    It opens the ONNX file, computes the test volume, compares with the probability in the package, and tries
    other sizes. Nothing is downloaded.
    """
    core = methods.import_library("bioimageio.core", INSTALL)
    model_package_spec.hush()
    summary = core.test_model(files.as_path(path))
    wrong = [error.msg for detail in summary.details for error in detail.errors]
    return "passed" if summary.status == "passed" else "\n".join(wrong) or summary.status


# ---------------------------------------------------------------- the network


def _source(found):
    """Name and content of the weights file in the package, and the settings that belong to it."""
    path, _ = weights.locate(found.source, found.architecture)
    if str(path).endswith(".onnx"):
        raise UserError(f"{path} is ONNX already: make the package from the weights it was exported from")
    if model_package_files.is_package(path):
        state = model_package_files.read(path)[1]
    else:
        state = archives.read(path)
    if isinstance(state, dict) and isinstance(state.get("settings"), dict):
        return f"{found.architecture}.pt", state, state["settings"]
    return "weights.pth", state, settings.of(found.architecture, "paper")  # released: a state dict alone


def test_part(found, image):
    """The middle of a volume, with sides that the network takes: (Z, Y, X) float32, unscaled. Small volumes
    are enlarged by mirroring."""
    image = np.asarray(image, np.float32)
    if image.ndim != 3 or 0 in image.shape:
        raise UserError(f"the volume has shape {image.shape}: three dimensions (Z, Y, X) are needed")
    swin, multiple = found.architecture == "swinunetr", found.multiple
    side = 64 if swin else SIDE
    shape = [min(side, max(model_package_spec.LEAST, n // multiple * multiple)) for n in image.shape]
    if swin and max(shape) == 32:
        shape[0] = 64  # it halves five times, and a single voxel would be left
    if window := model_package_spec.window(found):
        shape = [window] * 3
    low = [max(0, (n - want) // 2) for n, want in zip(image.shape, shape)]
    part = image[tuple(slice(a, a + want) for a, want in zip(low, shape))]
    part = inference.pad(torch.from_numpy(np.ascontiguousarray(part))[None, None], shape)[0, 0].numpy()
    if part.min() == part.max():
        raise UserError("the middle of the volume has one value throughout: give another volume to test on")
    return part


def _decided(found, part):
    """The `Predictor` with its class of cells, which a released WNet3D looks for in each volume."""
    if found.architecture != "wnet3d" or found.foreground is not None:
        return found
    device = next(found.model.parameters()).device
    with torch.inference_mode():
        maps = found.network(torch.from_numpy(found.scaled(part))[None, None].to(device))[0].cpu().numpy()
    return dataclasses.replace(found, foreground=inference.brightest([(maps, part)]))


class _Probability(nn.Module):
    """From a scaled volume (1, 1, Z, Y, X) to the probability of being a cell, of the same shape."""

    def __init__(self, found):
        super().__init__()
        self.model = onnx_files.exportable(found.model)
        self.found = dataclasses.replace(found, model=self.model)
        self.cell = found.foreground if found.architecture == "wnet3d" else 0

    def forward(self, x):
        return self.found.network(x)[:, self.cell : self.cell + 1]


def _onnx(found, shape, path):
    """Write the network as ONNX. Returns the version of its operators."""
    free = model_package_spec.any_size(found)
    shape = [found.multiple * times for times in (2, 3, 4)] if free else shape
    made = onnx_files.traced(_Probability(found), shape, ("volume", "probability"), free)
    path.write_bytes(made.SerializeToString())
    return next(one.version for one in made.opset_import if not one.domain)


# ---------------------------------------------------------------- files


def _save(described, path):
    from bioimageio.spec import save_bioimageio_package

    files.writable_folder(path.parent)
    with files.atomic(path) as beside:
        beside.unlink()
        save_bioimageio_package(described, output_path=beside)
    return path


def _cover(path, part, probability):
    """The middle slice, and its probability beside it: twice as wide as high."""
    from matplotlib import image

    def panel(plane):
        side = min(plane.shape)
        top, left = ((n - side) // 2 for n in plane.shape)
        plane = plane[top : top + side, left : left + side]
        return np.kron(plane, np.ones((-(-256 // side),) * 2))

    low, high = np.percentile(part, (1, 99.5))
    grey = np.clip((part - low) / max(high - low, 1e-12), 0, 1)
    middle = len(part) // 2
    both = np.hstack([panel(grey[middle]), panel(probability[middle])])
    image.imsave(path, both, cmap="gray", vmin=0, vmax=1)
