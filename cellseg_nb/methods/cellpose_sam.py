"""Cellpose-SAM (Cellpose 4) as a method: zero-shot, an eighth one, not in the paper.

Pachitariu, Rariden & Stringer 2025, "Cellpose-SAM: superhuman generalization for cellular segmentation".
Nothing is learned or tuned here: it comes with weights, which its own library downloads once.

Cellpose 4 and the Cellpose 3 of the method ``cellpose`` exclude each other, so it lives in an environment of
its own, and a small worker process (`cellpose_sam_worker`) computes there; volumes go through files.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from cellseg_nb import runtime
from cellseg_nb.errors import UserError
from cellseg_nb.methods import cellpose_sam_worker, tuning
from cellseg_nb.methods.base import COMMON, Method, checked

VARIABLE = "CELLSEG_NB_CELLPOSE4"  # its Python
INSTALL = (
    "python -m venv cellpose4  and  cellpose4/bin/python -m pip install 'cellpose>=4' , "
    f"and set {VARIABLE} to the path of cellpose4/bin/python"
)


class CellposeSAM(Method):
    """Cellpose-SAM as it comes. The environment variable CELLSEG_NB_CELLPOSE4 names the Python that has it.

    Parameters
    ----------
    weights : what Cellpose is to load, by its own name for it (default: what it takes itself), or a path
    diameter : of the cells in voxels, for Cellpose to resize by; None: as they are
    cellprob_threshold, flow_smooth, min_size : Cellpose's own defaults, see its ``eval``
    voxel_size : (z, y, x) in µm or None
        Z is resampled to Y (Cellpose's ``anisotropy``).
    """

    name = "cellpose_sam"
    needs_labels = False
    tunes_on_labels = False
    tunable = ("cellprob_threshold", "flow_smooth", "min_size")
    caution = "its weights may have learned from these very data: no fair score"
    settings = {
        "weights": "cpsam_v2",
        "diameter": None,
        "cellprob_threshold": 0.0,
        "flow_smooth": 0.0,
        "min_size": 15,
        **COMMON,
    }

    @classmethod
    def lacking(cls):
        """What is missing before it can be used, as words; "" when nothing is."""
        python = os.environ.get(VARIABLE, "")
        if not python:
            return f"Cellpose 4 needs an environment of its own: {INSTALL}"
        return "" if Path(python).is_file() else f"{VARIABLE} is {python}, where no Python is: {INSTALL}"

    def fit(self, images, labels=None, *, folder=None, callbacks=(), progress=True):
        """Nothing is learned. Returns an empty history."""
        return []

    def maps(self, volume, *, progress=True):
        """Labels (int32) and probability (float32, 0..1) of a volume, each (Z, Y, X). Raises UserError where
        the environment is missing, and with the last words of Cellpose where it fails."""
        volume = checked(volume)
        size = self.options["voxel_size"]
        request = {
            "device": str(runtime.device(self.device)),
            "weights": self.options["weights"],
            "diameter": self.options["diameter"],
            "anisotropy": None if size is None else float(size[0]) / float(size[1]),
            **self.chosen,
        }
        return worked(volume, request)

    def predict(self, volume, *, progress=True):
        """Probability of being a cell, (Z, Y, X) float32 in 0..1: the mean logit of the three directions."""
        return self.maps(volume)[1]

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32. ``probability`` is not used, unless it is what `maps` gave for this
        volume. ``voxel_size`` is that of the constructor."""
        return (probability if isinstance(probability, tuple) else self.maps(volume))[0]

    def tune(self, images, labels, *, voxel_size=None, progress=True):
        """Nothing is chosen: zero-shot. Returns the one row there is."""
        return tuning.untouched(self)


def worked(volume, request):
    """Labels and probability of a volume, from the worker. Raises UserError."""
    if missing := CellposeSAM.lacking():
        raise UserError(missing)
    python = os.environ[VARIABLE]  # never from a file: it is run
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        np.save(folder / "volume.npy", np.asarray(volume, np.float32))
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        # -I: neither our modules nor PYTHONPATH get into the other environment
        command = [python, "-I", cellpose_sam_worker.__file__, held]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise UserError(f"{python} cannot be started ({error.strerror}): {INSTALL}") from error
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            words = said[-1].strip()[:300] if said else f"it ended with {done.returncode}"
            raise UserError(
                f"Cellpose-SAM failed in {python} ({words}): is Cellpose 4 installed there, and can its "
                "weights be downloaded?"
            )
        try:
            found = [np.load(folder / f"{name}.npy") for name in ("labels", "probability")]
        except (OSError, ValueError) as error:
            raise UserError(f"Cellpose-SAM in {python} gave no result that can be read") from error
    if any(one.shape != np.shape(volume) for one in found):
        raise UserError(f"Cellpose-SAM in {python} gave labels of shape {found[0].shape}, not {volume.shape}")
    return found[0].astype(np.int32), found[1].astype(np.float32)
