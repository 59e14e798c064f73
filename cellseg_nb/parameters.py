"""Parameters of a notebook, checked before anything is computed: one line says which is wrong and what it may
be."""

import math
import os
import re
from pathlib import Path

from cellseg_nb import runtime
from cellseg_nb.errors import UserError

HUB_NAME = r"[\w.-]+/[\w.-]+(:[\w./-]+)?"  # a repository on the Hub, or a file in it
INPUTS = ("images", "labels", "dataset", "folder", "other", "table")  # parameters that are paths of inputs


def check(spec, given):
    """The parameters of a notebook, each checked by its rule: {name: checked value}. Nothing is written.

    ``spec`` is {name: rule}, where ``rule(name, value)`` returns the value or raises UserError; rules that
    all notebooks share are in `COMMON`. ``given`` holds the values, such as a notebook's ``globals()``.
    """
    missing = [name for name in spec if name not in given]
    if missing:
        raise UserError(f"the parameter {missing[0]} is missing: run the cell of parameters first")
    for name in (*INPUTS, "weights", "cache", "out"):
        _backslashes(name, given[name] if name in spec else "")
    checked = {name: rule(name, given[name]) for name, rule in spec.items()}
    apart(checked)
    return checked


def _backslashes(name, value):
    """UserError for a path of Windows typed as text of Python: C:\\new becomes a C:, a line break, and ew."""
    if isinstance(value, str) and any(ord(letter) < 32 for letter in value.strip()):
        raise UserError(
            f"{name} is {value!r}: Python reads a backslash and the letter after it as one; in a path of "
            "Windows write / in place of each backslash"
        )


def apart(checked):
    """UserError where results would land among the files that they are made of."""
    for name in INPUTS if checked.get("out") else ():
        value = checked.get(name)
        place = Path(value).expanduser() if value and isinstance(value, (str, Path)) else None
        if place is None or not os.path.exists(place):
            continue
        folder = place if place.is_dir() else place.parent
        if folder.resolve() == Path(checked["out"]).expanduser().resolve():
            raise UserError(
                f"out is {folder}, where {name} lies, so results would land among the inputs: choose another "
                "folder as out (on the command line: -o FOLDER)"
            )


def rule(function, *limits, **more):
    """A rule of `check` from one of the functions below: ``rule(number, 0, 100, whole=True)``."""
    return lambda name, value: function(name, value, *limits, **more)


def text(name, value):
    """Any text, without blanks around it, nor the quotes that a path has which was copied in Windows."""
    if not isinstance(value, str):
        raise UserError(f"{name} must be text in quotes, not {value!r}")
    return re.sub(r"""^(["'])((?:(?!\1).)*)\1$""", r"\2", value.strip())


def truth(name, value):
    """True or False."""
    if not isinstance(value, bool):
        raise UserError(f"{name} must be True or False, not {value!r}")
    return value


def numbers(name, value, low=None, high=None, whole=False):
    """'10, 20' as [10, 20], each once. Raises UserError."""
    found = []
    for word in listed(name, value):
        try:
            one = float(word)
        except ValueError:
            raise UserError(f"{name} must be numbers with commas between them, not {value!r}") from None
        number(name, one, low, high, whole)
        found.append(int(one) if one.is_integer() else one)
    return list(dict.fromkeys(found))


def span(name, value, low):
    """'10,60' as (10, 60), two whole numbers of ``low`` or more; ``low`` as the second: without an end.
    Raises UserError."""
    words = text(name, value).split(",")
    if len(words) != 2 or not all(re.fullmatch(r"\s*-?\d+\s*", word) for word in words):
        raise UserError(f"{name} must be two whole numbers with a comma between them, not {value!r}")
    first, last = (number(name, int(word), low, whole=True) for word in words)
    if low < last < first:
        raise UserError(f"{name}: nothing lies from {first} to {last}: give the smaller number first")
    return first, last


def auto(function, *limits, **more):
    """A rule that lets "auto" (and nothing) be: both become None."""
    return lambda name, value: (
        None if str(value).strip() in ("", "auto") else function(name, value, *limits, **more)
    )


def device(name, value):
    """A device that is here, by the name that torch gives it, or "auto". Raises UserError."""
    runtime.device(value)
    return value


def number(name, value, low=None, high=None, whole=False):
    """Return ``value`` as int or float. Raises UserError when it is no such number or outside [low, high]."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or (whole and value != int(value)):
        raise UserError(f"{name} must be {'a whole number' if whole else 'a number'}, not {value!r}")
    if (low is not None and value < low) or (high is not None and value > high):
        limits = (
            f"between {low} and {high}"
            if high is not None and low is not None
            else (f"at least {low}" if high is None else f"at most {high}")
        )
        raise UserError(f"{name} must be {limits}, not {value!r}")
    return int(value) if whole else float(value)


def one_of(name, value, allowed):
    if value not in allowed:
        raise UserError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def repository(name, value):
    """A name on the Hub, owner/name. Raises UserError."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(value)):
        raise UserError(f"{name} must be owner/name, such as jane/cells-of-my-lab, not {value!r}")
    return value


def voxel_size(text):
    """'5,1.2,1.2' (Z,Y,X in µm) as a tuple of three floats; 'auto' or '' as None. Raises UserError."""
    if text in (None, "", "auto"):
        return None
    parts = text.replace(";", ",").split(",") if isinstance(text, str) else list(text)
    try:
        size = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        size = ()
    if len(size) != 3 or not all(0 < s < 1e5 and math.isfinite(s) for s in size):
        raise UserError(
            f"voxel_size must be three positive numbers Z,Y,X in µm, such as 5,1.2,1.2, or auto; not {text!r}"
        )
    return size


def listed(name, text):
    """'a, b' as ["a", "b"], each once. Raises UserError when none is left."""
    words = list(dict.fromkeys(word.strip() for word in str(text).split(",") if word.strip()))
    if not words:
        raise UserError(f"{name} is empty: name at least one, with commas between several")
    return words


COMMON = {  # what has one meaning in all notebooks
    "dataset": text,
    "held_out": text,
    "voxel_size": lambda name, value: voxel_size(value),
    "profile": rule(one_of, ("demo", "paper")),
    "epochs": rule(number, 0, 100000, whole=True),
    "min_size": rule(number, 0, whole=True),
    "max_size": rule(number, 0, whole=True),
    "seed": rule(number, 0, 2**31 - 1, whole=True),
    "device": device,
    "cache": text,
    "out": text,
    "start_over": truth,
}


def common(*names):
    """The rules of these parameters: {name: rule}."""
    return {name: COMMON[name] for name in names}
