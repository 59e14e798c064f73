"""The settings of all methods and notebooks in one table: `DEMO`, `PAPER` with its sources, and `DEPARTURES`.

>>> settings.of("wnet3d", "paper")              # for a method's constructor
>>> settings.of("segresnet", "demo", "05")      # as notebook 05 has it
>>> settings.table("wnet3d")                    # to look at
"""

import os

from cellseg_nb.errors import UserError

# The defaults of every method: what a laptop trains in minutes.
DEMO = {
    "otsu": dict(spot_sigma=0.65, outline_sigma=0.65, scale=1.0),
    "wnet3d": dict(
        channels=(16, 32, 64, 128), dropout=0.1, cube=32, batch=2, steps=10, epochs=30, learning_rate=2e-3
    ),
    "segresnet": dict(cube=32, batch=2, steps=10, epochs=20, learning_rate=2e-3, init_filters=8),
    # attention within 64 voxels instead of 343: a third of the time
    "swinunetr": dict(
        cube=(64, 32, 32), batch=2, steps=10, epochs=10, learning_rate=1e-3, feature_size=12, window_size=4
    ),
    "cellpose": dict(
        epochs=14, batch=8, slices=48, bsize=64, learning_rate=0.005, planes="all", rescale=False
    ),
    "stardist": dict(
        epochs=20, steps=30, batch=1, patch=32, learning_rate=1e-3, rays=64, filters=32, features=64, border=0
    ),
}
# What differs from it in the demo of a notebook, so that the whole notebook runs in minutes on two cores.
DEMO_OF = {
    "00": {"wnet3d": dict(restarts=2)},
    "02": {"wnet3d": dict(cube=24, epochs=12)},
    "02 lessons": {
        "wnet3d": dict(channels=(16, 16, 32, 32), cube=16, steps=10, epochs=8, learning_rate=5e-3)
    },
    "02 grid": {"wnet3d": dict(channels=(16, 16, 32, 32), cube=16, steps=10, epochs=6, learning_rate=5e-3)},
    "04": {"wnet3d": dict(channels=(16, 16, 32, 32), cube=16, epochs=16)},
    "05": {
        "wnet3d": dict(channels=(16, 16, 32, 32), cube=16, epochs=24),
        "segresnet": dict(cube=24, epochs=12),
        "swinunetr": dict(epochs=5, batch=1, learning_rate=2e-3),
        "cellpose": dict(bsize=32, slices=64),
        "stardist": dict(epochs=18, rays=32, filters=16, features=32),
    },
    "06": {
        "wnet3d": dict(channels=(16, 16, 32, 32), cube=16, epochs=20),
        "segresnet": dict(cube=16, batch=4, epochs=5, loss="dice_ce"),
    },
    "07": {
        "wnet3d": dict(channels=(16, 16, 32, 32), cube=16, epochs=24),
        "segresnet": dict(cube=24, batch=4, epochs=16, loss="dice_ce"),
        "swinunetr": dict(loss="dice_ce"),
    },
    "10": {
        "wnet3d": dict(channels=(16, 16, 32, 32), cube=16, epochs=24),
        "segresnet": dict(cube=24, batch=4, epochs=16, loss="dice_ce"),
        "swinunetr": dict(loss="dice_ce"),
    },
}
# As published. Where the paper is silent, the authors' scripts; where both are, the demo's value.
PAPER = {
    "otsu": {},
    "wnet3d": dict(
        channels=(64, 128, 256, 512), dropout=0.65, cube=64, batch=2, steps=50, epochs=50, learning_rate=2e-5
    ),
    "segresnet": dict(
        cube=64,
        batch=10,
        steps=20,
        epochs=50,
        learning_rate=1e-3,
        schedule="constant",
        init_filters=8,
        dropout_prob=0.3,
    ),
    "swinunetr": dict(
        cube=64,
        batch=5,
        steps=40,
        epochs=50,
        learning_rate=1e-3,
        schedule="constant",
        feature_size=48,
        window_size=7,
        drop_rate=0.5,
        attn_drop_rate=0.5,
    ),
    "cellpose": dict(epochs=50, batch=8, slices=0, bsize=224, learning_rate=0.005, planes="xy", rescale=True),
    "stardist": dict(
        epochs=400,
        steps=100,
        batch=2,
        patch=(8, 64, 64),
        learning_rate=3e-4,
        rays=96,
        filters=32,
        features=128,
        border=2,
    ),
}
# The narrow trainings that explain something in notebook 02: with "paper" larger, but not the paper's.
PAPER_OF = {
    "02 lessons": {"wnet3d": {**DEMO["wnet3d"], "steps": 20}},
    "02 grid": {"wnet3d": {**DEMO["wnet3d"], "steps": 20, "epochs": 20}},
}
# Where each number of `PAPER` comes from: "paper" is Achard et al. 2024, Methods; "scripts" are those
# behind its figures (C-Achard/CellSeg3D-figures); "plugin" is napari-cellseg3d.
SOURCES = {
    "wnet3d": {
        "channels, dropout": "released code (wnet/model.py): widths 64-128-256-512, dropout 0.65",
        "cube": "plugin and scripts: windows of 64 x 64 x 64 voxels at inference; cubes alike",
        "batch, epochs": "paper: 50 epochs with batches of 2; label-efficiency script: batches of 4 and "
        "6000 / percentage epochs",
        "learning_rate": "paper: between 2e-3 and 2e-5; scripts: 2e-5",
        "steps": "ours: no number of steps is published",
    },
    "segresnet": {
        "epochs": "paper: 50; scripts: 300",
        "batch, learning_rate, schedule": "scripts: 10 and 1e-3, with a scheduler that never acts",
        "cube": "released weights: SegResNetVAE for 64 x 64 x 64 voxels",
        "dropout_prob, init_filters": "released weights: SegResNetVAE with dropout 0.3 and MONAI's 8 filters",
        "steps": "ours: no number of steps is published",
    },
    "swinunetr": {
        "epochs": "paper: 50; scripts: 300",
        "batch, learning_rate, schedule": "scripts: 5 and 1e-3, with a scheduler that never acts",
        "cube": "windows of 64 x 64 x 64 voxels at inference; cubes alike",
        "feature_size, drop_rate, attn_drop_rate": "released weights: 48, 0.5 and 0.5",
        "window_size": "MONAI's default, 7",
        "steps": "ours: no number of steps is published",
    },
    "cellpose": {
        "epochs": "scripts: 50, channels [0, 0]",
        "rescale": "paper: resampling on, mean diameter 3.3 (measured on the labels here)",
        "planes, slices": "scripts: all xy slices",
        "batch, bsize": "Cellpose's defaults, 8 and 224",
        "learning_rate": "Cellpose 3's for AdamW",
    },
    "stardist": {
        "batch, patch, rays": "paper: 2, 8 x 64 x 64 and 96 (default); the tuned one had patches of 64^3",
        "border, features, filters, learning_rate": "StarDist's defaults",
        "epochs, steps": "StarDist's defaults, 400 of 100 steps; the script of the tuned one: 50 epochs",
    },
    "otsu": {},
}
# What is done otherwise than published, on purpose, in both profiles: why.
DEPARTURES = {
    "wnet3d": {
        "balance": "automatic: the reconstruction weight follows the gradients. The authors set it by hand, "
        "between 5e-3 and 5e-1, for each data set; balance='fixed' does so",
        "average": "a running average of the weights is what is kept (0.96 a step): single steps wobble, and "
        "after a short training the last one may be a bad one",
        "optimizer": "AdamW instead of Adam with L2 decay, both 0.01: it does not mix with the step size",
        "schedule": "the learning rate falls by a cosine at the end, not after 10 epochs without progress: "
        "a run of known length ends the same way each time",
        "loss": "one backward pass of the sum; the released code seeds it with the loss itself",
        "remapping": "each volume to 0..100 as the paper writes, not each cube as the scripts do",
    },
    "segresnet": {
        "network": "SegResNet without the autoencoder branch, which only helps training",
        "optimizer": "AdamW with decay 0.01 instead of Adam without",
        "input": "clipped to percentiles 1 and 99 as published, then mapped to 0..1",
        "augment": "MONAI's flips, turns, bends and brightness; no cube without cells in a batch",
    },
    "cellpose": {"optimizer": "AdamW, the default of Cellpose 3; the authors' release had SGD with 0.2"},
    "stardist": {"anisotropy": "measured on the labels, as in the script of the tuned one"},
    "otsu": {},
}
DEPARTURES["swinunetr"] = {
    **DEPARTURES["segresnet"],
    "network": "MONAI's SwinUNETR (use_v2) as published; no gradient checkpointing: same result, more memory",
}


def of(method, profile="demo", notebook=""):
    """Settings of a method for its constructor, as a dict.

    ``profile`` is "demo" or "paper"; ``notebook`` a key of `DEMO_OF` or `PAPER_OF`, such as "05", or "". A
    method that is not in the table has its own defaults, hence {}. Raises UserError for another profile.
    """
    if profile not in ("demo", "paper"):
        raise UserError(f"profile must be 'demo' or 'paper', not {profile!r}")
    general, special = (DEMO, DEMO_OF) if profile == "demo" else (PAPER, PAPER_OF)
    return shrunk(method, {**general.get(method, {}), **special.get(notebook, {}).get(method, {})})


def shrunk(method, settings):
    """The settings with smaller cubes, fewer steps and epochs, where the environment asks for it.

    ``CELLSEG_NB_SHRINK="cube=32,steps=1,epochs=1"``: none is larger than that. So tests run every line of
    ``profile="paper"``, with the published networks, within seconds.
    """
    given = os.environ.get("CELLSEG_NB_SHRINK", "")
    limits = {
        name.strip(): int(value)
        for name, _, value in (part.partition("=") for part in given.split(",") if part)
    }
    found = dict(settings)
    for names, limit in (
        (("cube", "patch", "bsize"), "cube"),
        (("steps",), "steps"),
        (("epochs",), "epochs"),
    ):
        for name in set(names) & found.keys() if limit in limits else ():
            sides = found[name] if isinstance(found[name], tuple) else (found[name],)
            sides = tuple(min(side, limits[limit]) for side in sides)
            found[name] = sides if isinstance(found[name], tuple) else sides[0]
    if "slices" in found and "steps" in limits:  # Cellpose counts slices, not steps
        found["slices"] = min(found["slices"] or found["batch"], found["batch"] * limits["steps"])
    if method == "swinunetr" and "cube" in limits and "cube" in found:
        found["cube"] = (64, 32, 32)  # the smallest it takes
    return found


def table(method):
    """What a method is trained with: a pandas.DataFrame of setting, demo, paper, source; departures last."""
    import pandas

    sources = {name: text for names, text in SOURCES[method].items() for name in names.split(", ")}
    demo, paper = DEMO[method], PAPER[method]
    rows = [
        (name, demo.get(name, ""), paper.get(name, ""), sources.get(name, "")) for name in {**demo, **paper}
    ]
    rows += [(name, "", "", f"departs: {why}") for name, why in DEPARTURES[method].items()]
    return pandas.DataFrame(rows, columns=["setting", "demo", "paper", "source"], dtype=object)
