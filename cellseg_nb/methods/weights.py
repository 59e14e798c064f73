"""Trained networks: the released ones by name, anybody's from a file or the Hub, your own from a results
folder.

>>> find_cells = weights.load("wnet3d")      # or "results/00_quickstart", "my.pth", "somebody/some-model"
>>> probability = find_cells(volume)
>>> mask = probability > find_cells.threshold

Released weights: Achard et al. 2024, repository C-Achard/cellseg3d on the Hugging Face Hub.
"""

import re

import torch

from cellseg_nb import runtime
from cellseg_nb.data import archives, hub
from cellseg_nb.errors import UserError
from cellseg_nb.io.files import as_path
from cellseg_nb.learning import loop
from cellseg_nb.methods import model_package_files, released, settings
from cellseg_nb.methods.network import flat
from cellseg_nb.methods.predictor import Predictor
from cellseg_nb.networks import monai_nets
from cellseg_nb.parameters import HUB_NAME, one_of

REPO = "C-Achard/cellseg3d"
RELEASED = {
    "wnet3d": "wnet_latest.tar.gz",
    "swinunetr": "SwinUNetR_latest.tar.gz",
    "segresnet": "SegResNet_latest.tar.gz",
}
OURS = (*RELEASED, "unet")  # what a training of this package may leave
WRAPPERS = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")  # left by training on several GPUs, and by torch.compile


def file(name_or_path, cache=None):
    """Path of a weights file, to learn on from: of a released network by its name, downloaded once; else what
    was given."""
    return locate(name_or_path, None, None, cache, None)[0] if name_or_path in RELEASED else name_or_path


def load(name_or_path, architecture=None, device="cpu", url=None, cache=None, token=None, postprocess=None):
    """Find trained weights and build their network. Returns a `Predictor`.

    Parameters
    ----------
    name_or_path : str
        "wnet3d", "swinunetr" or "segresnet" (released); a .pth, .pt, .safetensors, .tar.gz or .onnx file; the
        folder of a training of this package; a bioimage.io package (.zip or folder) that was made by
        `cellseg_nb.methods.model_package`; or a repository on the Hub, "owner/name" or "owner/name:file".
    architecture : "wnet3d", "swinunetr", "segresnet" or None (found out from the weights)
    device : see `cellseg_nb.runtime.device`
    url, cache, token : see `cellseg_nb.data.hub.download`
    postprocess : "probability", or "released": the published chain (`cellseg_nb.methods.released`). None:
        what a package says, else "probability"

    Files are read as data only, and every entry must fit. Raises UserError in one line for weights that are
    missing, damaged, unsafe or of another network.
    """
    device = runtime.device(device)
    if postprocess is not None:
        one_of("postprocess", postprocess, released.CHAINS)
    if architecture not in (None, *OURS):
        raise UserError(f"architecture must be one of {', '.join(OURS)}, not {architecture!r}")
    path, downloaded = locate(str(name_or_path or "").strip(), architecture, url, cache, token)
    if str(path).endswith(".onnx"):
        from cellseg_nb.methods import onnx_files

        return onnx_files.load(path, postprocess or "probability", architecture)
    about = {}
    try:
        if model_package_files.is_package(path):
            about, state = model_package_files.read(path)
        else:
            state = archives.read(path)
    except archives.Damaged:
        if downloaded:
            hub.forget(path)  # so that the next try downloads it again
        raise
    architecture = architecture or (name_or_path if name_or_path in RELEASED else about.get("architecture"))
    if isinstance(state, dict) and state.get("method") in OURS and "settings" in state:
        found = _own(state, path, architecture)
    else:
        found = _bare(state, path, architecture)
    found.model.to(device).eval()
    for name in about.keys() & model_package_files.PREDICTOR.keys():  # as it was when packaged
        setattr(found, name, about[name])
    if found.architecture == "wnet3d" and (found.foreground or 0) >= _classes(found.model):
        raise UserError(f"{path} is damaged (its foreground is {found.foreground}): download it again")
    found.source = str(name_or_path)
    found.postprocess = postprocess or about.get("postprocess", "probability")
    if found.postprocess == "released":
        found.window = settings.of(found.architecture, "paper")["window"]
    return found


def predictor(model, architecture, threshold=None, foreground=None, scaling=None):
    """A `Predictor` around a network you built or loaded yourself, with the published threshold and scaling
    unless you give others."""
    if architecture not in RELEASED:
        raise UserError(f"architecture must be one of {', '.join(RELEASED)}, not {architecture!r}")
    return Predictor(
        model.eval(),
        architecture,
        released.THRESHOLDS[architecture] if threshold is None else threshold,
        foreground,
        scaling or ("volume" if architecture == "wnet3d" else "clipped"),
    )


# ---------------------------------------------------------------- where the file is


def locate(name, architecture=None, url=None, cache=None, token=None):
    """Path of the weights file or package, and whether it came from the Hub. Raises UserError."""
    if name in RELEASED:
        return hub.download(REPO, RELEASED[name], url, cache, token), True
    path = as_path(name)
    if path.is_dir() and not model_package_files.is_package(path):
        return _in_folder(path, architecture), False
    if not path.exists() and re.fullmatch(HUB_NAME, name) and not archives.is_weights(name.partition(":")[0]):
        repo, _, file = name.partition(":")
        return hub.download(repo, file or _only(repo, url, token), url, cache, token), True
    if not path.exists():
        raise UserError(
            f"{name} is no file, no folder and no name of released weights: give one of "
            f"{', '.join(RELEASED)}, a "
            "path, or a repository on the Hub as owner/name"
        )
    return path, False


def _in_folder(folder, architecture):
    found = [
        folder / f"{name}.pt"
        for name in OURS
        if (folder / f"{name}.pt").is_file() and architecture in (None, name)
    ]
    if len(found) != 1:
        words = (
            f"several ({', '.join(p.name for p in found)}): name one"
            if found
            else (
                f"no {architecture or 'wnet3d, segresnet, swinunetr or unet'}.pt: is the training finished?"
            )
        )
        raise UserError(f"{folder} holds {words}")
    return found[0]


def _only(repo, url, token):
    try:
        found = [
            name
            for name in hub.files(repo, url, token)
            if archives.is_weights(name) and "onnx" not in name.lower()
        ]
    except UserError as error:
        raise UserError(f"there is no file or folder {repo} here, and on the Hub: {error}") from error
    if len(found) != 1:
        raise UserError(
            f"the repository {repo} holds {', '.join(found) or 'no weights'}: name one file, as {repo}:file"
        )
    return found[0]


# ---------------------------------------------------------------- what the file holds


def _own(state, path, architecture):
    """Weights that a method of this package saved, with widths, threshold, foreground, windows, flips."""
    from cellseg_nb import methods

    name = state["method"]
    if architecture not in (None, name):
        raise UserError(f"{path} holds weights of {name!r}, not of {architecture!r}")
    own = dict(state["settings"]) if isinstance(state["settings"], dict) else {}
    chosen = methods.method_class(name)
    try:
        options = {key: value for key, value in flat(own).items() if key in (*chosen.widths, "cores")}
        model = chosen(**options, device="cpu").model
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged (its settings build no {name}: {error}): train again") from error
    _fill(model, state.get("model"), path)
    threshold = float(own.get("threshold", 0.5))
    scaling = own.get("scaling", "volume" if name == "wnet3d" else "unit")
    window, flips = int(own.get("window", 0)), bool(own.get("flips"))
    return Predictor(model, name, threshold, state.get("foreground"), scaling, window=window, flips=flips)


def _classes(model):
    """How many classes a WNet3D has."""
    return model.encoder.out_b.module[-1].out_channels


def _bare(state, path, architecture):
    """A state dict alone: a network built as published."""
    for wrapper in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(v, torch.Tensor) for v in state.values())
    ):
        raise UserError(
            f"{path} holds no state dict (names and tensors): save it with torch.save(model.state_dict(), "
            f"...)"
        )
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name[len(prefix) :]: value for name, value in state.items()}
    architecture = architecture or _guess(state, path)
    if architecture == "wnet3d":
        from cellseg_nb.networks.wnet3d import WNet3D

        model = WNet3D()
    else:
        model = monai_nets.network(architecture)
    _fill(model, state, path)
    return predictor(model, architecture)


def _guess(state, path):
    for architecture, sign in (
        ("wnet3d", "encoder.in_b."),
        ("swinunetr", "swinViT."),
        ("segresnet", "convInit."),
    ):
        if any(name.startswith(sign) for name in state):
            return architecture
    raise UserError(
        f"{path} is of an unknown network (its first entry is {next(iter(state))!r}): it must be one of "
        f"{', '.join(RELEASED)}"
    )


def _fill(model, state, path):
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{path} is damaged (it holds no tensors): train again, or download it again")
    loop.load_state(model, state, path)
    bad = [
        name
        for name, value in model.state_dict().items()
        if value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if bad:
        raise UserError(
            f"{path} holds NaN or infinite numbers in {bad[0]}: that training failed, use another"
        )
