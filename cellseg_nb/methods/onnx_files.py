"""WNet3D as an ONNX file, which other programs open without PyTorch; and such files opened here.

The file holds the encoder alone. It takes "input", (1, 1, Z, Y, X) float32 on the scale 0..100 with sides
divisible by 8, and gives "scores", (1, K, Z, Y, X), what the last layer says before the softmax. Threshold,
foreground class and scaling are in its metadata.
"""

import copy
import json
import logging
import warnings

import numpy as np
import torch
from torch import nn

from cellseg_nb import methods
from cellseg_nb.errors import UserError
from cellseg_nb.io import files
from cellseg_nb.methods import released
from cellseg_nb.methods.predictor import Predictor

INSTALL = 'pip install "cellseg-nb[onnx]"'


class _Normalised(nn.Module):
    """GroupNorm or InstanceNorm3d, with means and variances in float64. ONNX Runtime's own are summed up in
    float32: over 110,000 voxels they moved a probability by 1.4e-4; these, by 1e-6."""

    def __init__(self, norm):
        super().__init__()
        self.groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else norm.num_features
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x):
        groups = x.reshape(x.shape[0], self.groups, -1)
        exact = groups.double()
        mean = exact.mean(2, keepdim=True)
        variance = (exact - mean).square().mean(2, keepdim=True).float()
        x = ((groups - mean.float()) * torch.rsqrt(variance + self.eps)).reshape(x.shape)
        return x if self.weight is None else x * _column(self.weight) + _column(self.bias)


def _column(values):
    return values[None, :, None, None, None]


def exportable(model):
    """A copy of a network, on the CPU and in eval mode, whose ONNX file says the same to the last digits."""
    model = copy.deepcopy(model).cpu().float().to(memory_format=torch.contiguous_format).eval()
    for part in list(model.modules()):
        for name, child in part.named_children():
            if isinstance(child, (nn.GroupNorm, nn.InstanceNorm3d)):
                setattr(part, name, _Normalised(child))
    return model


def traced(model, shape, names, any_size=True):
    """A module that takes and gives one tensor, as an ONNX ModelProto.

    ``shape`` (z, y, x): of the volume it is drawn with; the only one it then takes, unless ``any_size``.
    ``names``: of the tensors in and out.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # that torchvision is not installed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch among its own parts
        return torch.onnx.export(
            model.eval(),
            (torch.zeros(1, 1, *shape),),
            input_names=names[:1],
            output_names=names[1:],
            dynamic_shapes=({axis: torch.export.Dim.DYNAMIC for axis in (2, 3, 4)} if any_size else {},),
            dynamo=True,
            verbose=False,
        ).model_proto


class _Scores(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        return self.encoder.scores(x)


def export(predictor, path):
    """Write the encoder of a WNet3D `Predictor` as ONNX, for volumes of any size. Returns the path.

    Raises UserError for another network, and where a library is missing.
    """
    if predictor.architecture != "wnet3d" or not hasattr(predictor.model, "decoder"):
        raise UserError(
            f"only a WNet3D can be exported as ONNX here, not {predictor.architecture!r}: make a bioimage.io "
            "package of it (cellseg_nb.methods.model_package.write), which holds it as ONNX"
        )
    onnx, _ = (methods.import_library(name, INSTALL) for name in ("onnx", "onnxscript"))
    path, model = files.as_path(path), _Scores(exportable(predictor.model.encoder))
    made = traced(model, (16, 24, 32), ("input", "scores"))
    about = {name: getattr(predictor, name) for name in ("threshold", "foreground", "scaling")}
    onnx.helper.set_model_props(made, {"cellseg_nb": json.dumps({**about, "width": _width(predictor.model)})})
    files.writable_folder(path.parent)
    with files.atomic(path) as beside:
        beside.write_bytes(made.SerializeToString())
    return path


def _width(model):
    return next(weight.shape[0] for weight in model.parameters() if weight.ndim == 5)


class _Session(nn.Module):
    """An ONNX file in the place of a WNet3D: ``encoder(x)`` gives probabilities, ``encoder.scores(x)`` what
    comes before the softmax."""

    def __init__(self, path, width):
        super().__init__()
        ort = methods.import_library("onnxruntime", INSTALL)
        try:
            self.session = ort.InferenceSession(str(path), providers=ort.get_available_providers())
        except Exception as error:  # onnxruntime has kinds of its own
            raise UserError(f"{path} is damaged or no ONNX file: download or export it again") from error
        self.input = self.session.get_inputs()[0]
        self.width = nn.Parameter(torch.zeros(width, 1, 1, 1, 1), requires_grad=False)
        sides = self.input.shape[2:]
        self.side = sides[0] if all(isinstance(side, int) for side in sides) else 0  # 0: any
        shape = (1, 1, *[self.side or 16] * 3)
        out = self._run(torch.from_numpy(np.random.default_rng(0).random(shape, np.float32) * 100))
        ones = torch.allclose(out.sum(1), torch.ones(()), atol=1e-3)
        self.softmaxed = bool(out.min() >= 0) and ones

    def _run(self, x):
        found = self.session.run(None, {self.input.name: x.cpu().numpy()})[0]
        return torch.from_numpy(found).to(x.device)

    @property
    def encoder(self):
        return self

    def scores(self, x):
        out = self._run(x)
        return out.clamp_min(1e-12).log() if self.softmaxed else out

    def forward(self, x):
        return self.scores(x).softmax(1)


def load(path, postprocess="probability"):
    """An ONNX file of a WNet3D as a `Predictor`: one that `export` wrote, or the released one.

    Raises UserError for a file that is damaged, or where onnxruntime is missing.
    """
    session = _Session(path, 64)
    held = session.session.get_modelmeta().custom_metadata_map.get("cellseg_nb")
    about = json.loads(held) if held else {}
    session.width = nn.Parameter(torch.zeros(about.get("width", 64), 1, 1, 1, 1), requires_grad=False)
    return Predictor(
        session.eval(),
        "wnet3d",
        float(about.get("threshold", released.THRESHOLDS["wnet3d"])),
        about.get("foreground"),
        about.get("scaling", "volume"),
        str(path),
        postprocess,
        session.side,
    )
