"""A trained network as an ONNX file, which other programs open without PyTorch; and such files opened here.

The file takes "input", (1, 1, Z, Y, X) float32 on the scale that the network has learned from, and gives
"scores", what its last layer says before softmax or sigmoid: of WNet3D its encoder's, (1, K, Z, Y, X), of the
others the first map, (1, 1, Z, Y, X). Sides are divisible by 8 (U-Net: 16); SwinUNETR's are 64. Architecture,
threshold, foreground class and scaling are in its metadata.
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
from cellseg_nb.methods.predictor import BYTES, Predictor
from cellseg_nb.networks import losses

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
    """What a network says of a scaled volume, before softmax or sigmoid."""

    def __init__(self, model, architecture):
        super().__init__()
        self.model, self.unsupervised = model, architecture == "wnet3d"

    def forward(self, x):
        return self.model.scores(x) if self.unsupervised else losses.logits(self.model, x)[:, :1]


def export(predictor, path):
    """Write the network of a `Predictor` as ONNX, of a WNet3D its encoder alone: for volumes of any size, but
    of a SwinUNETR for windows of 64 voxels a side. Returns the path.

    Raises UserError for what is ONNX already, and where a library is missing.
    """
    if isinstance(predictor.model, _Session):
        raise UserError(f"{predictor.source} is ONNX already: copy the file")
    onnx, _ = (methods.import_library(name, INSTALL) for name in ("onnx", "onnxscript"))
    path, architecture = files.as_path(path), predictor.architecture
    model = predictor.model.encoder if architecture == "wnet3d" else predictor.model
    fixed = architecture == "swinunetr"  # its windows of attention are drawn for one size
    shape = [released.WINDOW] * 3 if fixed else [predictor.multiple * times for times in (2, 3, 4)]
    made = traced(_Scores(exportable(model), architecture), shape, ("input", "scores"), not fixed)
    about = {
        name: getattr(predictor, name)
        for name in ("architecture", "threshold", "foreground", "scaling", "flips")
    }
    onnx.helper.set_model_props(made, {"cellseg_nb": json.dumps({**about, "width": _width(predictor.model)})})
    files.writable_folder(path.parent)
    with files.atomic(path) as beside:
        beside.write_bytes(made.SerializeToString())
    return path


def _width(model):
    return next(weight.shape[0] for weight in model.parameters() if weight.ndim == 5)


class _Session(nn.Module):
    """An ONNX file in the place of a network. Of a WNet3D ``encoder(x)`` gives probabilities and
    ``encoder.scores(x)`` what comes before the softmax; of the others the call gives what comes before the
    sigmoid."""

    def __init__(self, path):
        super().__init__()
        ort = methods.import_library("onnxruntime", INSTALL)
        try:
            self.session = ort.InferenceSession(str(path), providers=ort.get_available_providers())
            held = self.session.get_modelmeta().custom_metadata_map.get("cellseg_nb")
            self.about = json.loads(held) if held else {}
        except Exception as error:  # onnxruntime has kinds of its own
            raise UserError(f"{path} is damaged or no ONNX file: download or export it again") from error
        self.architecture = self.about.get("architecture", "wnet3d")  # no word: the released one
        self.input = self.session.get_inputs()[0]
        shape, fixed = self.input.shape, {side for side in self.input.shape[2:] if isinstance(side, int)}
        if len(shape) != 5 or isinstance(shape[1], int) and shape[1] != 1 or len(fixed) > 1:
            raise UserError(
                f"{path} takes arrays of {shape}, and a volume comes as (1, 1, Z, Y, X), in cubes: give one "
                "that notebook 04 has written, or the released one of WNet3D"
            )
        width = self.about.get("width", 64)
        self.width = nn.Parameter(torch.zeros(width, 1, 1, 1, 1), requires_grad=False)
        sides = self.input.shape[2:]
        self.side = sides[0] if all(isinstance(side, int) for side in sides) else 0  # 0: any
        self.softmaxed = False
        if self.architecture == "wnet3d":
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
        return self.scores(x).softmax(1) if self.architecture == "wnet3d" else self._run(x)


def load(path, postprocess="probability", architecture=None):
    """An ONNX file as a `Predictor`: one that `export` wrote, or the released one of WNet3D.

    Raises UserError for a file that is damaged or of another ``architecture``, or where onnxruntime is
    missing.
    """
    session = _Session(path)
    about, found = session.about, session.architecture
    if found not in BYTES:
        raise UserError(f"{path} is of an unknown network ({found!r}): it must be one of {', '.join(BYTES)}")
    if architecture not in (None, found):
        raise UserError(f"{path} holds weights of {found!r}, not of {architecture!r}")
    return Predictor(
        session.eval(),
        found,
        float(about.get("threshold", released.THRESHOLDS["wnet3d"])),
        about.get("foreground"),
        about.get("scaling", "volume"),
        str(path),
        postprocess,
        session.side,
        bool(about.get("flips")),
    )
