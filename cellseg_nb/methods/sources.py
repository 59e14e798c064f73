"""Where the settings in `cellseg_nb.methods.settings` come from, and what is done otherwise in `paper`
all the same."""

# Where each number of `PAPER` comes from: "paper" is Achard et al. 2024, Methods; "scripts" are those
# behind its figures (C-Achard/CellSeg3D-figures); "plugin" is napari-cellseg3d.
CHAIN = "plugin: windows of 64, each output mapped from its minimum and maximum to 0..1"
OF_NETWORKS = {
    "epochs": "paper: 50; scripts: 300, and 50 in the plugin's remote_training.py",
    "learning_rate, schedule": "scripts: 1e-3, with a scheduler that never acts",
    "cube": "scripts: volumes cut into cubes of 64 x 64 x 64",
    "steps": "0: every cube there is, once an epoch (plugin: each image once)",
    "loss": "paper: generalised Dice",
    "optimizer, weight_decay": "scripts: Adam without weight decay",
    "clip, average": "none in the plugin",
    "scaling": "paper: clipped to the 1st and 99th percentile, not rescaled",
    "augment": "plugin: shift, elastic, flip, quarter turn, each with probability 0.1",
    "window, postprocess": CHAIN,
    "spots, min_size": "paper: Voronoi-Otsu on the prediction, sigmas 0.65; objects under 5 voxels removed",
}
SOURCES = {
    "wnet3d": {
        "channels, dropout": "plugin (wnet/model.py): widths 64-128-256-512, dropout 0.65",
        "cube": "scripts: volumes cut into cubes of 64 x 64 x 64",
        "batch, epochs": "paper: 50 epochs with batches of 2; label-efficiency script: batches of 4 and "
        "6000 / percentage epochs",
        "steps": "0: every cube there is, once an epoch (plugin: each image once)",
        "learning_rate": "paper: between 2e-3 and 2e-5; scripts: 2e-5",
        "optimizer, weight_decay": "scripts: Adam with 0.01 as L2 decay",
        "schedule": "paper: none told; plugin: halved after 10 epochs without progress",
        "clip, average": "none in the plugin",
        "balance, n_cuts_weight, rec_weight": "paper: reconstruction 5e-3 to 5e-1, by hand; "
        "scripts: 0.5 and 0.5",
        "seeded": "plugin: loss.backward(loss)",
        "intensity_sigma, spatial_sigma, radius": "paper: 1, 4 and 2",
        "turns": "paper: flips and rotation; plugin: two axes, quarter turns, with probability 0.1",
        "scaling": "paper: each image to 0..100; scripts: each cube, and each window at inference",
        "window, postprocess": CHAIN,
        "threshold": "plugin: 0.6, on the output before the softmax",
        "separate, min_size": "paper: Voronoi-Otsu on the prediction, sigmas 0.65; under 5 voxels removed",
    },
    "segresnet": {
        **OF_NETWORKS,
        "batch": "scripts: 10",
        "threshold": "plugin: 0.3",
        "dropout_prob, init_filters": "released weights: SegResNetVAE with dropout 0.3 and MONAI's 8 filters",
    },
    "unet": {
        **{names: "ours: as SegResNet here" for names in OF_NETWORKS if names != "window, postprocess"},
        "batch": "ours: as SegResNet here",
        "window, postprocess": "ours: windows of 64; no threshold was published for it, so the probability",
        "threshold": "ours: 0.5 of a probability",
        "init_filters": "MONAI's default for BasicUNet, 32",
    },
    "swinunetr": {
        **OF_NETWORKS,
        "batch": "scripts: 5",
        "threshold": "plugin: 0.4",
        "feature_size, drop_rate, attn_drop_rate": "released weights: 48, 0.5 and 0.5",
        "window_size": "MONAI's default, 7",
        "use_checkpoint": "plugin: gradient checkpointing",
    },
    "cellpose": {
        "epochs": "scripts: 50, channels [0, 0]",
        "rescale": "paper: resampling on",
        "diameter": "paper: mean diameter 3.3",
        "criterion": "paper: chosen by Dice on the training set",
        "cellprob_threshold": "paper: 0 (default), -9 (tuned); fixed in Fig. 1f",
        "planes, slices": "scripts: all xy slices",
        "batch, bsize": "Cellpose's defaults, 8 and 224",
        "learning_rate": "Cellpose 3's for AdamW",
        "scaling": "Cellpose's own: 1st to 99th percentile to 0..1",
    },
    "stardist": {
        "batch, rays": "paper: 2 and 96",
        "patch, grid": "paper: tuned 64 x 64 x 64 and (1, 1, 1); default 8 x 64 x 64 and (2, 1, 1)",
        "anisotropy": "scripts: measured on the labels (extents 11 x 4 x 4 voxels in one run)",
        "border, features, filters, learning_rate": "StarDist's defaults",
        "epochs": "scripts: 50",
        "steps": "StarDist's default, 100; in notebook 06 they follow the number of cubes",
    },
    "wnet3d_pretrained": {
        "postprocess": CHAIN,
        "threshold, min_size": "plugin: 0.6; paper: objects under 5 voxels removed",
    },
    "otsu": {},
}
SOURCES["cellpose_default"] = SOURCES["cellpose"]
SOURCES["stardist_default"] = SOURCES["stardist"]
# What is done otherwise than published in `paper` all the same: why.
DEPARTURES = {
    "wnet3d": {
        "schedule": "none, as the paper tells none; the plugin's halving on a plateau is not there",
        "start of a run": "no early end and no choice of the best epoch: 50 epochs, the last weights",
    },
    "segresnet": {
        "network": "SegResNet without the autoencoder branch, whose output the authors' code throws away: "
        "no gradient reaches it",
        "best epoch": "chosen on a fifth of the cubes; in notebook 06 none is chosen, since the cubes left "
        "over are labels that the percentage says one does not have",
    },
    "cellpose": {
        "optimizer": "AdamW, the default of Cellpose 3; the authors' release had SGD with 0.2",
        "resample": "Cellpose 3 has it on in 3D; off is not tried",
    },
    "stardist": {
        "thresholds": "chosen by F1 on the training volumes; StarDist's own search wants validation data"
    },
    "wnet3d_pretrained": {},
    "unet": {"it": "is no method of the paper"},
    "otsu": {
        "it": "is no method of the paper; its Otsu threshold stands in data/published/benchmark_dice.csv"
    },
}
DEPARTURES["swinunetr"] = {"best epoch": DEPARTURES["segresnet"]["best epoch"]}
DEPARTURES["cellpose_default"] = DEPARTURES["cellpose"]
DEPARTURES["stardist_default"] = {}
