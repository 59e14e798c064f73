"""Where volumes have artefacts: bright sheets or vessels that are no cells."""

from cellseg_nb import parameters
from cellseg_nb.data import splitting
from cellseg_nb.errors import UserError

AWAY, INSIDE = "away from the artefact", "inside the artefact"


def clean_slices(text, images, known=None):
    """How many slices come before an artefact, {volume: slices}; volumes without one are left out.

    ``text`` names volumes and their first bad slice, such as "visual:50, c3:90"; "none"; or "auto", for what
    ``known(name, depth)`` says (slices, or None). Raises UserError for unknown volumes, and slices they do
    not have.
    """
    if text == "auto":
        found = {name: known(name, len(image)) for name, image in images.items()} if known else {}
        return {name: first for name, first in found.items() if first and first < len(images[name])}
    found = {}
    for part in parameters.listed("artefact_from", text) if text != "none" else []:
        word, _, first = part.rpartition(":")
        names = splitting.matching(images, word) if word else []
        if len(names) != 1 or not first.strip().isdigit() or not 0 < int(first) < len(images[names[0]]):
            raise UserError(
                f"artefact_from must name volumes and their first bad slice, such as visual:50, or be "
                f"none; {part!r} does not fit the volumes {', '.join(images)}"
            )
        found[names[0]] = int(first)
    return found


def known_artefact(dataset):
    """Of the paper's data, and of the volumes simulated after it: a function for `clean_slices`."""
    first = {"simulated": lambda depth: depth * 3 // 4, "cellseg3d": lambda depth: 50}.get(dataset)
    return first and (lambda name, depth: first(depth) if "visual" in name else None)
