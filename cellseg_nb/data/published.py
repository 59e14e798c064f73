"""Published numbers that come with the project, under the names used here."""

from cellseg_nb.data import bundled

MODELS = {
    "wnet3d": "WNet3D",
    "segresnet": "SegResNet",
    "swinunetr": "SwinUNetR",
    "cellpose": "Cellpose",
    "stardist": "StarDist",
    "cellpose_default": "Cellpose - default",
    "stardist_default": "StarDist - default",
    "wnet3d_pretrained": "WNet3D - Pretrained",
}


def label_efficiency():
    """The Dice values behind Fig. 1f: a table method, training_percent, volume, dice. Methods named as
    here; the pre-trained WNet3D, without the slices that hold artefacts, stands at 0 %."""
    import pandas

    table = pandas.read_csv(bundled.path("published/label_efficiency_dice.csv"))
    table["method"] = table.model.map({model: name for name, model in MODELS.items()})
    table = table[table.artifacts != "included"].fillna({"training_percent": 0})
    return table.dropna(subset=["method", "training_percent"])[
        ["method", "training_percent", "volume", "dice"]
    ]
