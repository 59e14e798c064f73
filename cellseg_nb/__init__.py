"""cellseg-nb: 3D cell segmentation in notebooks, after CellSeg3D (Achard et al. 2024).

Import the module you need (``from cellseg_nb import volumes, instances``): nothing heavy loads before that.
"""

__version__ = "0.1.0"

# ``from cellseg_nb import volumes`` without knowing the room; `data`, `methods` and `plots` are rooms
# themselves.
_ROOMS = {
    "io": "files tiff volumes",
    "data": "archives datasets download hub simulate splitting",
    "networks": "losses ncuts",
    "learning": "augmentation monitor pairs",
    "cells": "inference instances prepare separate",
    "evaluation": "grid metrics statistics tables",
    "methods": "weights",
    "plots": "widgets",
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names.split()}


def __getattr__(name):
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return import_module(f"{__name__}.{_WHERE[name]}.{name}")
