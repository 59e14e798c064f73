"""The settings of all methods and notebooks in one table: `DEMO`, `PAPER` with its sources, and `DEPARTURES`.

>>> settings.of("wnet3d", "paper")              # for a method's constructor
>>> settings.of("segresnet", "demo", "05")      # as notebook 05 has it
>>> settings.table("wnet3d")                    # to look at
"""

import os

from cellseg_nb.errors import UserError
from cellseg_nb.methods.sources import DEPARTURES, SOURCES

# The defaults of every method: what a laptop trains in minutes.
DEMO = {
    "otsu": dict(spot_sigma=0.65, outline_sigma=0.65, scale=1.0),
    "wnet3d": dict(
        channels=(16, 32, 64, 128), dropout=0.1, cube=32, batch=2, steps=10, epochs=30, learning_rate=2e-3
    ),
    "segresnet": dict(cube=32, batch=2, steps=10, epochs=20, learning_rate=2e-3, init_filters=8),
    "unet": dict(cube=32, batch=2, steps=10, epochs=20, learning_rate=2e-3, init_filters=8),
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
    "04": {"wnet3d": dict(channels=(16, 16, 32, 32), cube=24, epochs=12)},
    "05": {
        "wnet3d": dict(channels=(16, 16, 32, 32), cube=16, epochs=24),
        "segresnet": dict(cube=24, epochs=12),
        "unet": dict(epochs=12),
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
    "09": {"wnet3d": dict(channels=(16, 16, 32, 32), cube=16, epochs=16)},
}
# As published. Where the paper is silent, the authors' scripts; where both are, their libraries' defaults.
PUBLISHED_NETWORK = dict(  # what the supervised networks share
    cube=64,
    steps=0,
    epochs=50,
    learning_rate=1e-3,
    loss="generalized_dice",
    optimizer="adam",
    weight_decay=0.0,
    schedule="constant",
    clip=0,
    average=0,
    scaling="clipped",
    augment=("published",),
    window=64,
    postprocess="released",
    spots="published",
    min_size=5,
)
PAPER = {
    "otsu": {},
    "wnet3d": dict(
        channels=(64, 128, 256, 512),
        dropout=0.65,
        cube=64,
        batch=2,
        steps=0,
        epochs=50,
        learning_rate=2e-5,
        optimizer="adam",
        weight_decay=0.01,
        schedule="constant",
        clip=0,
        average=0,
        balance="fixed",
        n_cuts_weight=0.5,
        rec_weight=0.5,
        seeded=True,
        intensity_sigma=1.0,
        spatial_sigma=4.0,
        radius=2,
        turns="published",
        scaling="cube",
        window=64,
        postprocess="released",
        threshold=0.6,
        separate="published",
        min_size=5,
    ),
    "segresnet": {**PUBLISHED_NETWORK, "batch": 10, "threshold": 0.3, "init_filters": 8, "dropout_prob": 0.3},
    "swinunetr": {
        **PUBLISHED_NETWORK,
        "batch": 5,
        "threshold": 0.4,
        "feature_size": 48,
        "window_size": 7,
        "drop_rate": 0.5,
        "attn_drop_rate": 0.5,
        "use_checkpoint": True,
    },
    # no method of the paper: trained as its SegResNet, but for what belongs to released weights
    "unet": {
        **PUBLISHED_NETWORK,
        "batch": 10,
        "postprocess": "probability",
        "threshold": 0.5,
        "init_filters": 32,
    },
    "cellpose": dict(
        epochs=50,
        batch=8,
        slices=0,
        bsize=224,
        learning_rate=0.005,
        planes="xy",
        rescale=True,
        diameter=3.3,
        criterion="dice",
        cellprob_threshold=0.0,
        scaling="unit",
    ),
    "stardist": dict(
        epochs=50,
        steps=100,
        batch=2,
        patch=(64, 64, 64),
        grid=(1, 1, 1),
        anisotropy="labels",
        learning_rate=3e-4,
        rays=96,
        filters=32,
        features=128,
        border=2,
    ),
    "wnet3d_pretrained": dict(postprocess="released", threshold=0.6, min_size=5),
}
PAPER["cellpose_default"] = PAPER["cellpose"]
PAPER["stardist_default"] = {**PAPER["stardist"], "patch": (8, 64, 64), "grid": (2, 1, 1)}
for _name in ("cellpose", "stardist"):  # the demo trains each once, and tunes it
    DEMO[f"{_name}_default"] = DEMO[_name]
    for _own in DEMO_OF.values():
        if _name in _own:
            _own[f"{_name}_default"] = _own[_name]
DEMO["wnet3d_pretrained"] = {}
# What explains something in notebook 02 is narrow, with "paper" larger, but not the paper's. Notebook 06:
# thresholds are those found for Fig. 1b, and the steps of an epoch follow the number of cubes.
PAPER_OF = {
    "02 lessons": {"wnet3d": {**DEMO["wnet3d"], "steps": 20}},
    "02 grid": {"wnet3d": {**DEMO["wnet3d"], "steps": 20, "epochs": 20}},
    "06": {
        "cellpose": dict(cellprob_threshold=-9.0),
        "stardist": dict(steps=0),
        "stardist_default": dict(steps=0),
    },
}
ALONE = ("02 lessons", "02 grid")  # these have nothing of the profile's own


def of(method, profile="demo", notebook=""):
    """Settings of a method for its constructor, as a dict.

    ``profile`` is "demo" or "paper"; ``notebook`` a key of `DEMO_OF` or `PAPER_OF`, such as "05", or "". A
    method that is not in the table has its own defaults, hence {}. Raises UserError for another profile.
    """
    if profile not in ("demo", "paper"):
        raise UserError(f"profile must be 'demo' or 'paper', not {profile!r}")
    general, special = (DEMO, DEMO_OF) if profile == "demo" else (PAPER, PAPER_OF)
    own = {} if profile == "paper" and notebook in ALONE else general.get(method, {})
    return shrunk(method, {**own, **special.get(notebook, {}).get(method, {})})


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
    names = {"cube": ("cube", "patch", "bsize", "window"), "steps": ("steps",), "epochs": ("epochs",)}
    for limit in names.keys() & limits.keys():
        for name in found.keys() & set(names[limit]):
            found[name] = _at_most(found[name], limits[limit])
    if "slices" in found and "steps" in limits:  # Cellpose counts slices, not steps
        found["slices"] = min(found["slices"] or found["batch"], found["batch"] * limits["steps"])
    if method == "swinunetr" and "cube" in limits and "cube" in found:
        found |= {name: (64, 32, 32) for name in {"cube", "window"} & found.keys()}  # the smallest it takes
    return found


def _at_most(value, limit):
    """A number, or each of several, no larger than the limit; 0 steps are as many as there are cubes."""
    if isinstance(value, tuple):
        return tuple(_at_most(one, limit) for one in value)
    return min(value, limit) or limit


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
