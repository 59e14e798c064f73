"""The steps of notebook 02 that are longer than a cell: choices, volumes, what is watched during the real
training, saving. The short trainings that come before are in `wnet3d_training_lessons`."""

from pathlib import Path

import numpy as np

from cellseg_nb import parameters
from cellseg_nb.cells import inference, instances
from cellseg_nb.cells.inference import brightest
from cellseg_nb.data import datasets, pairing, simulate
from cellseg_nb.data.bundled import path as bundled
from cellseg_nb.data.datasets import Volume
from cellseg_nb.errors import UserError
from cellseg_nb.evaluation import metrics
from cellseg_nb.io import files, folder as folders, volumes
from cellseg_nb.learning import loop, monitor
from cellseg_nb.lessons import common
from cellseg_nb.methods import settings as table_of_settings, weights
from cellseg_nb.networks import ncuts


def _weight(name, value):
    try:
        value = float(value)
    except (TypeError, ValueError):
        raise UserError(f"{name} must be 'auto' or a number such as 0.005, not {value!r}") from None
    return parameters.number(name, value, 0, 1000)


PARAMETERS = parameters.common(
    "dataset", "voxel_size", "epochs", "profile", "seed", "device", "cache", "out", "start_over"
) | {
    "form": parameters.rule(parameters.one_of, tuple(ncuts.FORMS)),
    "classes": parameters.rule(parameters.number, 2, 10, whole=True),
    "learning_rate": parameters.rule(parameters.number, 0, 1),
    "rec_weight": parameters.auto(_weight),
    "start": parameters.text,
    "repo": parameters.repository,  # checked before the training rather than after it
}


# ---------------------------------------------------------------- volumes


def load(choice):
    """Read the volumes and say what was read: a list of `cellseg_nb.data.datasets.Volume`.

    Of a volume without labels, ``labels`` is None; labels are compared with, never learned from. ``dataset``:
    "bundled" (the sample and a simulated volume), a name of `cellseg_nb.data.datasets`, a folder, one TIFF,
    or "auto": "bundled" in the demo, the paper's volumes in ``paper``. Raises UserError.
    """
    dataset = choice["dataset"]
    if dataset == "auto":
        dataset = "bundled" if choice["profile"] == "demo" else "cellseg3d"
    found = _bundled(choice) if dataset == "bundled" else _read(choice, dataset)
    for name, image, labels, size in found:
        cells = "no labels" if labels is None else f"{instances.count(labels)} cells in the labels"
        words = "unknown" if size is None else " x ".join(f"{s:g}" for s in size) + " µm"
        print(f"{name}: {' x '.join(map(str, image.shape))} voxels (Z, Y, X), voxel size {words}, {cells}")
    return found


def _bundled(choice):
    image, size = volumes.read(bundled("sample/sample_image.tif"))
    labels, _ = volumes.read_labels(bundled("sample/sample_labels.tif"))
    second = simulate.volume((48, 64, 64), 50, 100 + choice["seed"])
    return [
        Volume("sample", image, labels, size),
        Volume("simulated", second[0].astype(np.float32), second[1], size),
    ]


def _read(choice, dataset):
    path = Path(dataset).expanduser()
    if path.is_file():
        alone = pairing.Pair(folders.bare(path), path, None)
        return [Volume(alone.name, *datasets.load(alone, choice["voxel_size"]))]
    collection = datasets.collect(dataset, cache=choice["cache"] or None, seed=choice["seed"])
    size = choice["voxel_size"] or collection.voxel_size
    return [Volume(pair.name, *datasets.load(pair, size)) for pair in collection.pairs]


def middle(volume, side):
    """The central part of a `cellseg_nb.data.datasets.Volume`, at most ``side`` voxels a side, each a
    multiple of 8, as the network wants them. Returns a Volume."""
    cut = _middle(volume.image.shape, [min(n, side) // 8 * 8 for n in volume.image.shape])
    labels = None if volume.labels is None else volume.labels[cut]
    return volume._replace(image=volume.image[cut], labels=labels)


def _middle(shape, sides):
    return tuple(slice((n - min(n, s)) // 2, (n - min(n, s)) // 2 + s) for n, s in zip(shape, sides))


# ---------------------------------------------------------------- the real training


def settings(choice):
    """Settings of `cellseg_nb.methods.wnet3d.WNet3DMethod` for the real training: those of the profile, and
    what you chose. Returns a dict."""
    found = table_of_settings.of("wnet3d", choice["profile"], "02")
    found |= {name: choice[name] for name in ("epochs", "learning_rate") if choice[name]}
    if choice["rec_weight"] is not None:
        found |= dict(balance="fixed", rec_weight=choice["rec_weight"])
    if choice["start"]:
        found["start"] = weights.file(choice["start"], choice["cache"] or None)
    return found | dict(form=choice["form"], classes=choice["classes"])


def folder(choice):
    """Folder of the training's checkpoint and pictures; ``start_over`` throws away those that are there."""
    place = files.writable_folder(Path(choice["out"]) / "training")
    for file in [place / loop.CHECKPOINT, *place.glob("epoch_*.npy")] if choice["start_over"] else []:
        file.unlink(missing_ok=True)
    return place


class Pictures:
    """Callback that keeps the classes of the middle slice after some epochs, as files: they outlive a lost
    session."""

    EPOCHS = (1, 2, 5, 10, 20, 50, 100, 200, 500)

    def __init__(self, folder, image, epochs):
        self.folder, self.epochs = Path(folder), {*self.EPOCHS, epochs}
        # only what the slice needs around it
        self.cube = volumes.remap(image)[_middle(image.shape, (16, 96, 96))]
        self.plane = self.cube[len(self.cube) // 2]

    def __call__(self, history, model):
        epoch = history[-1]["epoch"]
        if epoch in self.epochs:
            device = next(model.parameters()).device
            classes = inference.predict(model.encoder, self.cube, device=device, progress=False)
            with files.atomic(self.folder / f"epoch_{epoch:05d}.npy") as beside, open(beside, "wb") as file:
                np.save(file, classes[:, classes.shape[1] // 2])

    def read(self):
        """{epoch: (K, Y, X) float32}, in order."""
        return {int(path.stem[6:]): np.load(path) for path in sorted(self.folder.glob("epoch_*.npy"))}


class Validate:
    """Callback that compares the foreground with the labels every second epoch (``val_dice``). Nothing
    learns from it.

    Of each labelled volume the middle is looked at, at most 48 voxels a side.
    """

    def __init__(self, found):
        self.pairs = []
        for _, image, labels, _ in found:
            if labels is not None:
                cut = _middle(image.shape, (48,) * 3)
                self.pairs.append((volumes.remap(image)[cut], labels[cut]))

    def __call__(self, history, model):
        if not self.pairs or len(history) % 2:
            return
        device = next(model.parameters()).device
        found = []
        for image, labels in self.pairs:
            classes = inference.predict(model.encoder, image, device=device, progress=False)
            found.append(metrics.dice(labels, classes[brightest([(classes, image)])] > 0.5))
        history[-1]["val_dice"] = float(np.mean(found))


# ---------------------------------------------------------------- results


def final(trained, found):
    """Share of each volume called cell; Dice with the labels of each volume that has some: a table."""
    import pandas

    rows = []
    for name, image, labels, _ in found:
        cells = trained.predict(image, progress=False) > trained.threshold
        rows.append(
            {
                "volume": name,
                "foreground (%)": 100 * float(cells.mean()),
                **({} if labels is None else {"Dice": metrics.dice(labels, cells)}),
            }
        )
    return pandas.DataFrame(rows).set_index("volume").round(3)


def save(choice, found, trained, history, tables, started):
    """Write weights, curves, tables, summary and parameters into the output folder, each beside and
    renamed."""
    out, last = Path(choice["out"]), tables["final"].iloc[0]
    trained.save(out)
    words = f", Dice {last['Dice']:.2f}" if np.isfinite(last.get("Dice", np.nan)) else ""
    cuts = np.mean([row["n_cuts"] for row in history[-3:]])
    return common.save(
        out,
        {**choice, "training": trained.training, "network": trained.network, "loss": trained.loss},
        tables,
        headline=f"{found[0].name}: {last['foreground (%)']:.1f} % foreground{words}, SoftNCuts {cuts:.3f} "
        f"after {len(history)} epochs",
        history=history,
        started=started,
        volumes=[volume.name for volume in found],
        final=tables["final"],
        advice=monitor.advice(history, last["foreground (%)"] / 100),
    )
