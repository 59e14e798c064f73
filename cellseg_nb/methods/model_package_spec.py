"""What a bioimage.io package says of a network, in the words of its specification (model description 0.5)."""

from cellseg_nb.errors import UserError
from cellseg_nb.io import units
from cellseg_nb.methods import model_package_files, model_words, released

FORMAT = "0.5.12"  # of bioimageio.spec, which the extra "packages" pins
TOLERANCE = 1e-4  # that bioimageio.core's test allows between its probability and ours
LEAST = 32  # side of a volume that other programs may give it, voxels
OVER = {"axes": ("channel", "z", "y", "x")}  # a volume is scaled by itself


def window(found):
    """Side of the windows that the network of a `Predictor` always sees, or 0."""
    return found.window or (released.WINDOW if found.postprocess == "released" else 0)


def any_size(found):
    """Does it take volumes of any size? Windows have one size; SwinUNETR's graph is drawn for one."""
    return not window(found) and found.architecture != "swinunetr"


def each_window(found):
    """Is what the network is given scaled in the graph, each window by itself?"""
    return found.architecture == "wnet3d" and (found.postprocess == "released" or found.scaling == "cube")


def preprocessing(found):
    """Our scaling in the words of the specification: a list of steps. [] where the graph does it."""
    if found.architecture == "wnet3d":
        if found.postprocess == "released" or found.scaling != "volume":
            return []
        scale = {"id": "scale_range", "kwargs": {**OVER, "eps": 1e-12}}
        return [scale, {"id": "scale_linear", "kwargs": {"gain": 100.0, "offset": 0.0}}]
    ends = {**OVER, "min_percentile": 1.0, "max_percentile": 99.0}
    if found.scaling == "clipped":
        return [{"id": "clip", "kwargs": ends}]
    if found.scaling == "unit":
        scale = {"id": "scale_range", "kwargs": {**ends, "eps": 1e-12}}
        return [scale, {"id": "clip", "kwargs": {"min": 0.0, "max": 1.0}}]
    return []


def graph_words(found):
    """What the ONNX graph does besides the network, in words."""
    parts = ["brings what it is given from its minimum and maximum to 0..100"] * each_window(found)
    if found.postprocess == "released":
        parts.append("maps its output, before softmax or sigmoid, from its minimum and maximum to 0..1")
    else:
        parts.append(f"ends with {'softmax' if found.architecture == 'wnet3d' else 'sigmoid'}")
    if found.architecture == "wnet3d":
        parts.append(f"gives class {found.foreground}, which means cell")
    return "The graph " + ", ".join(parts) + "."


def description(found, folder, about, opset, given, shape, voxel_size):
    """The `ModelDescr` of bioimageio.spec for the files in ``folder``. Raises UserError for what it refuses.

    ``about``: our own part of it; ``opset``: of the ONNX file; ``given``: name, authors and license;
    ``shape``: of the test volume.
    """
    from bioimageio.spec import InvalidDescr, ValidationContext, build_description

    axes = _axes(found, shape, voxel_size)
    tolerance = dict(relative_tolerance=0, absolute_tolerance=TOLERANCE, mismatched_elements_per_million=0)
    content = {
        "type": "model",
        "format_version": FORMAT,
        **given,
        "authors": [{"name": author} for author in given["authors"]],
        "description": f"{model_words.description(found)}. {about['separation']}",
        "cite": [
            {"text": model_words.PAPER, "doi": model_words.DOI},
            {"text": model_words.IDEA, "url": model_words.IDEA_URL},
        ],
        "tags": ["3d", "microscopy", "cells", "instance-segmentation", found.architecture, "cellseg-nb"],
        "documentation": {"source": "README.md"},
        "covers": [{"source": "cover.png"}],
        "attachments": [{"source": about["weights"], "sha256": about["sha256"]}],
        "inputs": [
            {
                "id": "volume",
                "axes": axes[0],
                "test_tensor": {"source": "test_input.npy"},
                "data": {"type": "float32"},
                "preprocessing": preprocessing(found),
            }
        ],
        "outputs": [
            {
                "id": "probability",
                "description": "probability of being a cell",
                "axes": axes[1],
                "test_tensor": {"source": "test_output.npy"},
                "data": {"type": "float32", "range": [0.0, 1.0]},
            }
        ],
        "weights": {"onnx": {"source": "network.onnx", "opset_version": opset, "comment": about["graph"]}},
        "config": {"bioimageio": {"reproducibility_tolerance": [tolerance]}, model_package_files.OWN: about},
    }
    hush()
    made = build_description(content, context=ValidationContext(root=folder, file_name="rdf.yaml"))
    if isinstance(made, InvalidDescr):
        wrong = [one for detail in made.validation_summary.details for one in detail.errors]
        words = "; ".join(f"{'.'.join(map(str, one.loc))}: {one.msg}" for one in wrong[:2])
        raise UserError(
            f"no package was written, its description is refused ({' '.join(words.split())[:300]})"
        )
    return made


def _axes(found, shape, voxel_size):
    """Axes of the volume and of the probability, with the voxel size where it is known."""
    sizes = units.voxel_size_of(voxel_size) if voxel_size else (None,) * 3
    batch = {"type": "batch", "size": 1}
    volume = [batch, {"type": "channel", "channel_names": ["volume"]}]
    probability = [batch, {"type": "channel", "channel_names": ["cell"]}]
    for axis, side, size in zip("zyx", shape, sizes):
        common = {"type": "space", "id": axis}
        common |= {} if size is None else {"unit": "micrometer", "scale": size}
        volume.append({**common, "size": {"min": LEAST, "step": found.multiple} if any_size(found) else side})
        same = {"tensor_id": "volume", "axis_id": axis}
        probability.append({**common, "size": same, "halo": min(8, side // 4)})
    return volume, probability


def hush():
    """bioimageio.core says all it does; only what its test finds is of interest here."""
    from loguru import logger

    logger.disable("bioimageio")
