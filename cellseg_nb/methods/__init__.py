"""The methods by name, each with the same interface: fit, predict, segment, tune, save, load.

>>> method = methods.get("segresnet", epochs=20)
>>> method.fit(images, labels)
>>> method.tune(images, labels)
>>> cells = method.segment(volume)

Your own is one class in one file: ``methods.register("mine", "my_file:MyMethod")``.
"""

import importlib

from cellseg_nb.errors import UserError

# Imported when asked for, so that no method needs the libraries of another.
TARGETS = {
    "otsu": "cellseg_nb.methods.otsu:OtsuMethod",
    "wnet3d": "cellseg_nb.methods.wnet3d:WNet3DMethod",
    "segresnet": "cellseg_nb.methods.segresnet:SegResNetMethod",
    "swinunetr": "cellseg_nb.methods.swinunetr:SwinUNETRMethod",
    "cellpose": "cellseg_nb.methods.cellpose:CellposeMethod",
    "stardist": "cellseg_nb.methods.stardist:StarDistMethod",
}
# How a library that only one method uses gets here. Cellpose 3 asks for a numpy below 2.1, and works with
# later ones: without its dependencies (they are in the extra) it leaves the user's numpy as it is.
CELLPOSE = 'pip install --no-deps "cellpose>=3.1.1.3,<4"'
RIVALS = 'pip install "cellseg-nb[rivals]"'
INTERFACE = ("fit", "predict", "segment", "tune", "save", "load")


def names():
    return list(TARGETS)


def register(name, target):
    """Add a method under a name: ``target`` is a class, or the text "module:Class", imported when it is first
    asked for."""
    TARGETS[name] = target


def kind(name):
    """The class of a method. Raises UserError for an unknown name, or a library that is not installed."""
    if name not in TARGETS:
        raise UserError(f"there is no method {name!r}: choose one of {', '.join(TARGETS)}")
    target = TARGETS[name]
    if isinstance(target, str):
        module, _, attribute = target.partition(":")
        try:
            target = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"the method {name!r} could not be loaded from {TARGETS[name]} ({error}): "
                "is its file on the path, and its library installed?"
            ) from error
    missing = [part for part in INTERFACE if not callable(getattr(target, part, None))]
    if missing:
        raise UserError(
            f"the method {name!r} has no {', '.join(missing)}: a method needs {', '.join(INTERFACE)}"
        )
    return target


def get(name, **options):
    """A method, made with these options. Raises UserError like `kind`, and for an option it does not know."""
    chosen = kind(name)
    try:
        return chosen(**options)
    except TypeError as error:
        raise UserError(f"the method {name!r} cannot be made with these options: {error}") from error


def install_words(library):
    """What to type to install the library of a method."""
    return f"{RIVALS}  and then  {CELLPOSE}" if library.startswith("cellpose") else RIVALS


def need(library):
    """Import a library that only one method uses. Raises UserError that says how to install it."""
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise UserError(
            f"{library} is not installed ({error}): run  {install_words(library)}  and restart the kernel"
        ) from error
