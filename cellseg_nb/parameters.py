"""Parameters of a notebook, checked before anything is computed: one line says which is wrong and what it may
be."""

import math

from cellseg_nb.errors import UserError


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
