"""What a file holds, in words; and one volume of it written as a file of its own."""

from cellseg_nb import parameters
from cellseg_nb.errors import UserError
from cellseg_nb.io import axes, loading, units, volumes
from cellseg_nb.io.files import as_path

WHOLE = parameters.rule(parameters.number, 0, whole=True)
# The part of a file that is meant, as notebooks and the command line ask for it; -1 and "" leave it open.
PARTS = {
    "channel": parameters.rule(parameters.number, -1, 100000, whole=True),
    "timepoint": parameters.rule(parameters.number, -1, 10**6, whole=True),
    "series": parameters.text,
    "level": WHOLE,
}


def part(choice):
    """What `volumes.read` takes, of the parameters of a notebook: {channel, timepoint, series, level}."""
    found = {name: choice[name] for name in PARTS if name in choice}
    return {name: None if value in (-1, "") else value for name, value in found.items()}


def look(path):
    """What a file holds, one line an image: number, name, shape, axes, type, voxel size, channels, levels."""
    lines = []
    for number, one in enumerate(loading.look(as_path(path))):
        size = (
            "unknown" if one.size is None else " x ".join(f"{side:g}" for side in one.size) + " µm (Z, Y, X)"
        )
        name = f" {one.name!r}" if one.name else ""
        line = f"series {number}{name}: {' x '.join(map(str, one.shape))} ({', '.join(one.axes)}), "
        line += f"{one.dtype}, voxel size {size}"
        names = [name for name in one.channels if name]
        line += f", channels {', '.join(names)}" if names else ""
        line += f", {len(one.levels) + 1} levels" if one.levels else ""
        words = "; ".join(filter(None, (one.word, one.note)))
        lines.append(line + (f" ({words})" if words else ""))
    return lines


def convert(path, out, given=None):
    """Write one volume of a file as TIFF or OME-Zarr, by the ending of ``out``; numbers stay as they are.

    ``given``: channel, timepoint, series, level, axes, voxel_size, as texts or values. Returns a path. Raises
    UserError for what `volumes.read` refuses but the size, and where ``out`` is there already.
    """
    path, out, given = as_path(path), as_path(out), dict(given or {})
    rules = PARTS | {"axes": parameters.text, "voxel_size": lambda name, value: parameters.voxel_size(value)}
    unknown = [name for name in given if name not in rules]
    if unknown:
        raise UserError(f"convert has no parameter {unknown[0]!r}: it has {', '.join(rules)}")
    if not out.name.lower().endswith((".tif", ".tiff", ".zarr")):
        raise UserError(f"{out} must end in .tif or .zarr: those are written")
    if out.exists():
        raise UserError(f"{out} is there already: choose another name")
    chosen = {name: rules[name](name, _number(name, value)) for name, value in given.items()}
    size = chosen.pop("voxel_size", None)
    named = chosen.pop("axes", None) or None
    array, found = loading.load(path, axes=named, quiet=size is not None, **part(chosen))
    volumes.write(out, axes.three_axes(array, path, 1), units.voxel_size_of(size) if size else found)
    return out


def _number(name, value):
    if name not in ("channel", "timepoint", "level") or not isinstance(value, str):
        return value
    try:
        return int(value)
    except ValueError as error:
        raise UserError(f"{name} must be a whole number, not {value!r}") from error
