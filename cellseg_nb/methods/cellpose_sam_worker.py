"""Cellpose-SAM at work: a script that the Python of another environment runs, the one with Cellpose 4.

``python cellpose_sam_worker.py FOLDER`` reads ``volume.npy`` (Z, Y, X) and ``request.json`` there, and writes
``labels.npy`` (int32) and ``probability.npy`` (float32, 0..1). It ends with 1 and a last line on stderr where
it cannot. It needs nothing of cellseg_nb, and has Cellpose download its weights.
"""

import json
import sys
from pathlib import Path


def work(folder):
    """Segment the volume of a folder as its request says."""
    import numpy as np
    import torch
    from cellpose import models

    request = json.loads((folder / "request.json").read_text())
    device = torch.device(request["device"])
    model = models.CellposeModel(
        gpu=device.type != "cpu",
        device=device,
        pretrained_model=request["weights"],
        use_bfloat16=device.type == "cuda",  # 40 times slower on a CPU, and more
    )
    labels, flows, _ = model.eval(
        np.load(folder / "volume.npy"),
        z_axis=0,
        do_3D=True,
        anisotropy=request["anisotropy"],
        diameter=request["diameter"],
        cellprob_threshold=request["cellprob_threshold"],
        flow3D_smooth=request["flow_smooth"],
        min_size=request["min_size"],
    )
    logits = np.asarray(flows[2], np.float32) / 3  # the sum over three directions
    np.save(folder / "labels.npy", labels.astype(np.int32))
    np.save(folder / "probability.npy", (1 / (1 + np.exp(-logits))).astype(np.float32))


if __name__ == "__main__":
    try:
        work(Path(sys.argv[1]))
    except Exception as error:  # Cellpose's, torch's, or the network's; told by whoever started this
        words = " ".join(str(error).split()) or "no reason given"
        print(f"{type(error).__name__}: {words}", file=sys.stderr)
        sys.exit(1)
