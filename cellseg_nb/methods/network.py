"""What methods with a network of torch share: first weights, and one file with weights and settings."""

import torch

from cellseg_nb import runtime
from cellseg_nb.io import files
from cellseg_nb.learning import fast, loop
from cellseg_nb.methods.base import Method
from cellseg_nb.parameters import number

# How it is trained on this machine: like the device no part of what is saved. See
# `cellseg_nb.learning.loop.train`
HOW = {"fast": (), "workers": None}


class NetworkMethod(Method):
    """A method whose network, `network_now`, is kept in ``<name>.pt``. ``widths``: options that shape it."""

    widths = ()

    def __init__(self, **options):
        super().__init__(**options)
        self.how = {name: self.options.pop(name) for name in HOW if name in self.options}
        fast.check(self.how.get("fast", ()))
        if self.how.get("workers") is not None:
            self.how["workers"] = number("workers", self.how["workers"], 0, whole=True)

    def pick(self, names):
        """Those options that are set, of these names: {name: value}."""
        return {name: self.options[name] for name in names if self.options[name] is not None}

    def torch_device(self):
        return runtime.device(self.device)

    def network_now(self):
        """The torch.nn.Module with the weights in use."""
        return self.model

    def remembered(self):
        """What `fit` found out besides weights: {name: plain value}, given to `restore`."""
        return {}

    def save(self, folder):
        """Write ``<name>.pt`` (weights in use and settings) into a folder. Returns its path."""
        network = self.network_now()
        path = files.writable_folder(folder) / f"{self.name}.pt"
        state = {
            "method": self.name,
            "settings": {**self.options, **self.chosen},
            **self.remembered(),
            "model": network.state_dict(),
        }
        with files.atomic(path) as beside:
            torch.save(state, beside)
        return path

    @classmethod
    def load(cls, folder, device="auto"):
        """Read what `save` wrote. Raises UserError when the file is missing, damaged or of another method."""
        state = loop.read_saved(folder, f"{cls.name}.pt", cls.name)
        method = cls(**flat(state["settings"]), device=device)
        method.restore(state, folder)
        return method

    def restore(self, state, source):
        """Take up the weights, and what `remembered` gave; ``source`` is named in errors."""
        loop.load_state(self.network_now(), state["model"], source)
        self.network_now().eval()


def flat(settings):
    """Settings of a weights file as keywords; older files hold the widths in a dict of their own."""
    settings = dict(settings)
    return {**settings.pop("network", {}), **settings}
