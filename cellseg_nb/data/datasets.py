"""Data sets: the paper's, the three EmbedSeg ones, your own folder, or volumes simulated after the paper's.

Whatever they are, they become a list of pairs (name, image file, label file), so a notebook treats all alike.
"""

import json
import os
from collections import namedtuple
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from cellseg_nb import __version__
from cellseg_nb.data import bundled
from cellseg_nb.data.pairing import pairs
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.io.files import as_path, writable_folder, write_json

Collection = namedtuple("Collection", "name title folder pairs voxel_size")


class Volume(NamedTuple):
    """A volume with what is known of it; all notebooks pass this on."""

    name: str
    image: np.ndarray  # (Z, Y, X) float32; in notebook 00 also whole numbers of 8 and 16 bits
    labels: np.ndarray | None = None  # (Z, Y, X) int32, 0 = background
    voxel_size: tuple | None = None  # (z, y, x) in µm


PAIRED_IN_ORDER = {"cellseg3d"}  # published so: the names of its labels are not those of its volumes
# Sides (Z, Y, X) of the real volumes; c3, c5 and visual as measured, the others after the paper's table 2.
SHAPES = {
    "c1": (99, 106, 147),
    "c2": (149, 78, 111),
    "c3": (149, 105, 147),
    "c4": (124, 93, 114),
    "c5": (124, 86, 94),
    "visual": (65, 127, 214),
}
CELLS = {"c1": 343, "c2": 365, "c3": 631, "c4": 396, "c5": 347, "visual": 550}


def collect(dataset, folder=None, seed=0, scale=1.0, cache=None, base_url=None):
    """A data set by its name, ready to use: ``Collection(name, title, folder, pairs, voxel_size)``.

    Parameters
    ----------
    dataset : str
        A name in the registry (it is downloaded once), ``"simulated"``, or the path of your own folder.
    folder : path
        Where simulated volumes are written.
    seed, scale : see `simulated`
    cache, base_url : see `fetch`

    ``voxel_size`` is (z, y, x) in µm, or None where only the files know it. Raises UserError.
    """
    known = registry()
    if dataset in known:
        about = known[dataset]
        folder = fetch(dataset, cache, base_url)
        found = pairs(folder, in_order=dataset in PAIRED_IN_ORDER)
        size = about["voxel_size"] and tuple(about["voxel_size"])  # None: not published
        return Collection(dataset, about["title"], folder, found, size)
    if dataset == "simulated":
        folder = simulated(folder or default_cache(cache) / "simulated", seed, scale)
        return Collection(
            dataset, "Simulated volumes named like the paper's", folder, pairs(folder), (5.0, 5.0, 5.0)
        )
    path = as_path(dataset)
    if not path.exists():
        raise UserError(
            f"there is no data set {dataset!r}, nor a folder of that name: choose one of "
            f"{', '.join(['simulated', *known])}, or give the path of your folder"
        )
    return Collection(path.name, f"Your own: {path}", path, pairs(path), None)


# ---------------------------------------------------------------- download


def registry(path=None):
    """What can be downloaded: {name: {title, url, sha256, voxel_size}}, from ``data/registry.json``."""
    return json.loads(Path(path or bundled.path("registry.json")).read_text(encoding="utf-8"))


def default_cache(cache=None):
    """The cache folder: the argument, else the variable CELLSEG_NB_CACHE, else the system's usual place."""
    import pooch

    return as_path(cache or os.environ.get("CELLSEG_NB_CACHE") or pooch.os_cache("cellseg-nb"))


def addresses(url, base_url=None):
    """Where to look for a file: at its publisher, or, with ``base_url``, at that server and nowhere else.

    There, the file may lie under the publisher's path (a mirror), or by its bare name (a class server).
    """
    if not base_url:
        return [url]
    parts = urlsplit(url)
    if urlsplit(base_url).scheme not in ("http", "https"):
        raise UserError(f"base_url must begin with http:// or https://, not {base_url!r}")
    base = base_url.rstrip("/")
    return [
        f"{base}{parts.path}" + (f"?{parts.query}" if parts.query else ""),
        f"{base}/{os.path.basename(parts.path)}",
    ]


def fetch(name, cache=None, base_url=None, registry_file=None):
    """Download and unpack a data set once; afterwards, no network is needed. Returns the folder of its files.

    Parameters
    ----------
    name : str, one of `registry`
    cache : path or None
        Where to keep it; see `default_cache`.
    base_url : str or None
        Another server (see `addresses`); else the variable CELLSEG_NB_BASE_URL, else the publisher.
    registry_file : path or None
        A registry of your own, for example for a class.

    Two processes may ask for the same data set: one downloads, the other waits. A zip that you have put into
    the cache yourself is used, if it is the published one. Raises UserError; see `download.download` and
    `download.unzip`.
    """
    from filelock import FileLock

    from cellseg_nb.data import download

    known = registry(registry_file)
    if name not in known:
        raise UserError(f"there is no data set {name!r}: choose one of {', '.join(known)}")
    about, cache = known[name], default_cache(cache)
    folder = cache / name
    if folder.is_dir():
        return folder
    writable_folder(cache)
    base_url = base_url or os.environ.get("CELLSEG_NB_BASE_URL")
    if "files" in about:
        return _file_by_file(about, folder, base_url)
    archive = cache / os.path.basename(urlsplit(about["url"]).path)
    with FileLock(cache / f".{name}.lock"):
        if folder.is_dir():
            return folder
        mine = archive.exists()
        try:
            download.download(addresses(about["url"], base_url), archive, about["sha256"])
        except (download.Offline, download.NotThere) as error:
            bad = " (the file there is not the published one: replace it)" if mine else ""
            raise UserError(
                f"{error}. Or set base_url to a server near you, or download {about['url']} on "
                f"another computer and copy it to {archive}{bad}"
            ) from error
        download.unzip(archive, folder)
        if not mine:
            archive.unlink()
    return folder


def _file_by_file(about, folder, base_url):
    """A data set of single files; the folder gets its name when all of them are there."""
    from filelock import FileLock

    from cellseg_nb.data import delivr, download

    unfinished = folder.with_name(f".{folder.name}-unfinished")
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not folder.is_dir():
            try:
                delivr.fetch(about, unfinished, lambda url: addresses(url, base_url))
            except (download.Offline, download.NotThere) as error:
                raise UserError(
                    f"{error}. Run again, what has arrived is kept; or set base_url to a server near you "
                    f"that holds the files of {about['url']}"
                ) from error
            os.replace(unfinished, folder)
    return folder


# ---------------------------------------------------------------- which files belong together


def load(pair, voxel_size=None):
    """Read a pair: volume (Z, Y, X) float32, labels (Z, Y, X) int32 or None, voxel size in µm or None.

    A ``voxel_size`` given counts more than the file's. Raises UserError.
    """
    image, size = volumes.read_one(pair.image, "in a data set", voxel_size=voxel_size)
    if pair.labels is None:
        return image, None, size
    labels, _ = volumes.read_labels(pair.labels)
    if labels.shape != image.shape:
        raise UserError(
            f"{pair.labels} has shape {labels.shape}, but {pair.image} has {image.shape}: are "
            f"these two a pair?"
        )
    return image, labels, size


# ---------------------------------------------------------------- simulated


def simulated(folder, seed=0, scale=1.0, names=tuple(SHAPES)):
    """Volumes named, sized and filled like the paper's, written as the published archive is laid out.

    Parameters
    ----------
    folder : path
    seed : int
    scale : float
        Of the sides, 16 voxels at least; the number of cells goes with the number of voxels. 0.5 is an eighth
        of the work.
    names : which of c1, c2, c3, c4, c5, visual; visual has an artefact in its last quarter, as in reality.

    Returns the folder. Volumes that are there already, made with the same seed and scale, are kept.
    """
    from cellseg_nb.data import simulate

    folder = as_path(folder) / "DATASET_WITH_GT"
    writable_folder(folder / "labels")
    for name in names:
        made = {"seed": int(seed), "scale": float(scale), "version": __version__}
        note = folder / f".{name}.json"
        if _noted(note) == made and (folder / f"{name}.tif").exists():
            continue
        shape = tuple(max(16, round(side * scale)) for side in SHAPES[name])
        cells = max(3, round(CELLS[name] * np.prod(shape) / np.prod(SHAPES[name])))
        number = list(SHAPES).index(name)
        image, labels = simulate.volume(shape, cells, seed=100 * seed + number, artefact=name == "visual")
        volumes.write(folder / f"{name}.tif", image, (5.0, 5.0, 5.0))
        volumes.write(folder / "labels" / f"{name}.tif", labels, (5.0, 5.0, 5.0))
        write_json(note, made)
    return folder.parent


def _noted(note):
    """What a JSON file says; None where it is missing or damaged, and the volume is then made anew."""
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
