"""Weights that a supervised training starts from."""

import torch

from cellseg_nb.errors import UserError
from cellseg_nb.io import files
from cellseg_nb.learning import loop
from cellseg_nb.methods.network import flat


def read(start, name, widths):
    """State dict of a file that ``save`` of the method ``name`` wrote, and its options named in ``widths``;
    or a state dict alone, which tells none. Raises UserError for a file that is missing, damaged or of
    another method."""
    path = files.as_path(start)
    path = path / f"{name}.pt" if path.is_dir() else path
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: give the folder that a finished {name} training wrote, or a weights file"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise UserError(f"{path} is damaged or no weights file: train or download it again") from error
    if not isinstance(state, dict):
        raise UserError(
            f"{path} is no weights file of {name}: give the folder of a training, or a state dict"
        )
    if "settings" in state:
        state = loop.read_saved(path, path.name, name)
        settings = flat(state["settings"])
        return state["model"], {key: settings[key] for key in widths if key in settings}
    state = state.get("model_state_dict", state)
    # The autoencoder of SegResNetVAE only helps training; predictions do without it.
    return {key: value for key, value in state.items() if not key.startswith("vae_")}, {}
