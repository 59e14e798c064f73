"""Weights that a supervised training starts from."""

from cellseg_nb.data import archives
from cellseg_nb.errors import UserError
from cellseg_nb.learning import loop
from cellseg_nb.methods.base import Method
from cellseg_nb.methods.network import flat


def read(start, name, widths):
    """State dict of a file that ``save`` of the method ``name`` wrote, and its options named in ``widths``;
    or a state dict alone, which tells none.

    ``start``: that file or its folder, or any file that `cellseg_nb.data.archives.read` reads. Raises
    UserError for one that is missing, damaged or of another method.
    """
    path = Method.file(start, f"{name}.pt")
    state = archives.read(path)
    if not isinstance(state, dict):
        raise UserError(f"{path} is no weights file of {name}: give the folder of a training")
    if "settings" in state:
        settings = flat(loop.read_saved(path, path.name, name)["settings"])
        return state["model"], {key: settings[key] for key in widths if key in settings}
    state = state.get("model_state_dict", state)
    # The autoencoder of SegResNetVAE only helps training; predictions do without it.
    return {key: value for key, value in state.items() if not key.startswith("vae_")}, {}
