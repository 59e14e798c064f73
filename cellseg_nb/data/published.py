"""Published numbers that come with the project, under the names used here."""

from cellseg_nb.data import bundled

MODELS = {
    "wnet3d": "WNet3D",
    "segresnet": "SegResNet",
    "swinunetr": "SwinUNetR",
    "cellpose": "Cellpose",
    "stardist": "StarDist",
}


def label_efficiency():
    """The Dice values behind Fig. 1f: a table method, training_percent, volume, dice. Methods named as
    here."""
    import pandas

    table = pandas.read_csv(bundled.path("published/label_efficiency_dice.csv"))
    table["method"] = table.model.map({model: name for name, model in MODELS.items()})
    return table.dropna(subset=["method", "training_percent"])[
        ["method", "training_percent", "volume", "dice"]
    ]
