"""What is said of a trained network that is handed on: once, for the model card and for the package.

All texts come from the network (`Predictor`) and the settings it was saved with, as plain Markdown.
"""

import json

from cellseg_nb.methods import released

PAPER = "CellSeg3D, Achard et al. 2024"
DOI = "10.7554/eLife.99848"
IDEA, IDEA_URL = "W-Net, Xia and Kulis 2017", "https://arxiv.org/abs/1711.08506"
SPOTS = "by Voronoi-Otsu: one cell for each"
SEPARATIONS = {  # of `separate` of WNet3D and `spots` of the supervised networks
    "voronoi_otsu": SPOTS + " bright spot of the volume blurred by {blur} voxels "
    "(`cellseg_nb.cells.instances.voronoi_otsu`)",
    "published": SPOTS + " peak of the probability blurred by 0.65 voxels, as published "
    "(`cellseg_nb.cells.instances.published`)",
    "auto": "by their brightness, with no number to choose (`cellseg_nb.cells.auto.find_cells`)",
    "volume": SPOTS + " bright spot of the volume blurred by {blur} voxels "
    "(`cellseg_nb.methods.tuning.voronoi`)",
    "probability": SPOTS + " peak of the probability blurred by {blur} voxels "
    "(`cellseg_nb.methods.tuning.voronoi`)",
    "depth": "by depth in the outline and brightness together (`cellseg_nb.methods.tuning.from_depth`)",
    "pieces": "where a higher probability parts them: each piece above {core:g} is a cell "
    "(`cellseg_nb.methods.tuning.from_cores`)",
    "cores": "by the cores that the network says as well (`cellseg_nb.methods.tuning.from_cores`); the "
    "network of a package gives only its first map, the probability of being a cell",
}
SCALINGS = {
    "volume": "its minimum becomes 0 and its maximum 100",
    "unit": "it is clipped to its 1st and 99th percentile, and these become 0 and 1",
    "clipped": "it is clipped to its 1st and 99th percentile",
    "cube": "each window by itself is brought to 0..100, from its minimum to its maximum",
    "none": "it is given as it is",
    "contrast": "how far each voxel rises above the background around it, in units of the noise "
    "(`cellseg_nb.learning.augmentation.contrast`)",
}


def description(found):
    """One sentence about a `Predictor`."""
    learned = "without labels" if found.architecture == "wnet3d" else "from labelled volumes"
    return f"A {found.architecture} network for cells in 3D microscopy volumes, trained {learned}"


def separation(found, settings):
    """How our package makes cells of this network's probability, as a sentence."""
    way = settings.get("separate") or settings.get("spots") or "volume"
    numbers = dict(blur=settings.get("spot_sigma", 1.0), core=settings.get("core_threshold", 0.5))
    words = SEPARATIONS.get(way, way).format(**numbers)
    return (
        f"Cells are where the probability is above {found.threshold:g}. "
        f"Touching ones are told apart {words}. "
        f"Objects under {settings.get('min_size', 5)} voxels are dropped."
    )


def scaling(found):
    """How a volume is scaled before the network sees it, and what is made of what it says, as sentences."""
    known = "cube" if found.architecture == "wnet3d" and found.postprocess == "released" else found.scaling
    words = f"The volume is scaled first: {SCALINGS[known]}. "
    if found.flips:
        words += "The threshold was chosen for the mean over the 8 mirror images of a volume. "
    if found.postprocess == "released":
        return words + (
            f"The network sees windows of {found.window or released.WINDOW} voxels a side; what it says of "
            "each, before softmax or sigmoid, is mapped from its minimum and maximum to 0..1, as published."
        )
    return words + "What the network says becomes a probability, 0..1, by softmax or sigmoid."


def rows(settings):
    """The settings as rows of a Markdown table. Paths are left out."""
    kept = {
        name: value
        for name, value in settings.items()
        if isinstance(value, (int, float, str, bool, list, tuple, dict)) and name != "start"
    }
    return "\n".join(f"| {name} | `{json.dumps(value)}` |" for name, value in kept.items())


def body(found, settings, name, address, licence="", training_data=""):
    """The card as Markdown, without front matter. ``address``: what `cellseg_nb.weights.load` is given."""
    missing = "" if licence else "; a licence"
    given = [f"Licence: {licence}."] * bool(licence) + [f"It learned from: {training_data}."] * bool(
        training_data
    )
    return f"""# {name}

{description(found)} with
[cellseg-nb](https://github.com/cellseg-nb/cellseg-nb) after Achard et al. 2024
([CellSeg3D](https://doi.org/{DOI})). {" ".join(given)}

Before you publish it, add here: which tissue, stain and microscope; voxel size; how wide a cell is in voxels;
how good it is, and on what that was measured{missing}.

```python
from cellseg_nb import weights

find_cells = weights.load("{address}")
probability = find_cells(volume)              # (Z, Y, X), 0..1
mask = probability > find_cells.threshold     # {found.threshold:g}
```

## From volume to cells

{scaling(found)}

{separation(found, settings)}

## Validation

Label a small part of a volume of yours, which the network has not seen, and count (F1 at IoU 0.5, as
`cellseg_nb.metrics.match` does): on volumes of another kind a network fails without a word.

## Settings

| setting | value |
|---|---|
{rows(settings)}
"""
