"""The methods by name, each with the same interface: fit, predict, segment, tune, save, load (`base.Method`).

>>> method = methods.get("segresnet", epochs=20)
>>> method.fit(images, labels)
>>> method.tune(images, labels)
>>> cells = method.segment(volume)

Your own is one class in one file: ``methods.register("mine", "my_file:MyMethod")``.
"""

import importlib
import importlib.util

from cellseg_nb.errors import UserError

# Imported when asked for, so that no method needs the libraries of another.
TARGETS = {
    "otsu": "cellseg_nb.methods.otsu:OtsuMethod",
    "wnet3d": "cellseg_nb.methods.wnet3d:WNet3DMethod",
    "segresnet": "cellseg_nb.methods.segresnet:SegResNetMethod",
    "swinunetr": "cellseg_nb.methods.swinunetr:SwinUNETRMethod",
    "cellpose": "cellseg_nb.methods.cellpose:CellposeMethod",
    "stardist": "cellseg_nb.methods.stardist:StarDistMethod",
    "cellpose_default": "cellseg_nb.methods.cellpose:CellposeDefault",
    "stardist_default": "cellseg_nb.methods.stardist:StarDistDefault",
    "wnet3d_pretrained": "cellseg_nb.methods.pretrained:PretrainedWNet3D",
    "unet": "cellseg_nb.methods.unet:UNetMethod",
    "cellpose_sam": "cellseg_nb.methods.cellpose_sam:CellposeSAM",
}
AGAIN = (
    "cellpose_default",
    "stardist_default",
    "wnet3d_pretrained",
)  # others of these, as the paper has them
MORE = ("unet", "cellpose_sam")  # not in the paper; run where they are named
# How a library that only one method uses gets here. Cellpose 3 asks for a numpy below 2.1, and works with
# later ones: without its dependencies (they are in the extra) it leaves the user's numpy as it is.
CELLPOSE = 'pip install --no-deps "cellpose>=3.1.1.3,<4"'
RIVALS = 'pip install "cellseg-nb[rivals]"'


def usual():
    """The names without those in `AGAIN` and `MORE`: each way to segment once."""
    return [name for name in TARGETS if name not in (*AGAIN, *MORE)]


def register(name, target):
    """Add a method under a name: ``target`` is a class, or the text "module:Class", imported when it is first
    asked for."""
    TARGETS[name] = target


def method_class(name):
    """The class of a method, a `base.Method`. Raises UserError for an unknown name, a class that cannot be
    imported, or one that is no method."""
    from cellseg_nb.methods import base

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
    return base.adopt(target, name)


def get(name, **options):
    """A method, made with these options. Raises UserError like `method_class`, and for an option it does not
    have."""
    chosen = method_class(name)
    chosen.check_options(options)
    return chosen(**options)


def known_options(name, **offered):
    """Those of the options offered that the method has: {option: value}."""
    return {key: value for key, value in offered.items() if key in method_class(name).settings}


def missing_libraries(name):
    """The libraries of a method that are not installed: a list of module names."""
    return [library for library in method_class(name).library if importlib.util.find_spec(library) is None]


def lacking(name):
    """What must be installed before a method can be used, in words; "" when nothing."""
    chosen = method_class(name)
    if hasattr(chosen, "lacking"):  # it knows better
        return chosen.lacking()
    libraries = missing_libraries(name)
    words = (
        f"{' and '.join(libraries)} is not installed: run  {install_words(libraries[0])}" if libraries else ""
    )
    return words and f"{words}  and restart the kernel"


def install_words(library):
    """What to type to install the library of a method."""
    return f"{RIVALS}  and then  {CELLPOSE}" if library.startswith("cellpose") else RIVALS


def import_library(library, install=None):
    """Import a library that only one method or format uses. Raises UserError that says how to install it
    (``install``, default: `install_words`)."""
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise UserError(
            f"{library} is not installed ({error}): run  {install or install_words(library)}  and restart "
            "the kernel"
        ) from error
