"""Weights of your own, put on the Hub with a model card."""

from cellseg_nb import parameters
from cellseg_nb.data import archives, hub
from cellseg_nb.io.files import as_path
from cellseg_nb.methods import model_words
from cellseg_nb.methods.weights import _in_folder, load


def share(folder, repo, token=None, dry_run=True, url=None, private=True):
    """Put your own weights, with a model card, into a repository of yours on the Hub.

    Only the weights file and the card leave your machine: no volumes, no paths. ``dry_run=True``, the
    default, works offline and only tells what would be uploaded. Returns {file name: bytes}. Raises UserError
    for a folder without weights, a name that is not "owner/name", or a server that refuses.
    """
    parameters.repository("repo", repo)
    path = _in_folder(as_path(folder), None)
    found = load(path)
    contents = {path.name: path, "README.md": card(path, found, repo).encode()}
    sizes = {name: len(c) if isinstance(c, bytes) else c.stat().st_size for name, c in contents.items()}
    for name, size in sizes.items():
        print(f"{'would upload' if dry_run else 'uploading'} {name} ({size / 1e6:.3g} MB) to {repo}")
    if not dry_run:
        print(
            hub.upload(repo, contents, f"{found.architecture} for 3D cell segmentation", url, token, private)
        )
    return sizes


def card(path, found, repo):
    """The model card (README.md) of own weights, as text: what it is, how it was trained, how to use it.

    The words are those of a package (`cellseg_nb.methods.model_words`)."""
    words = model_words.body(found, archives.read(path)["settings"], repo.split("/")[1], repo)
    return f"""---
library_name: cellseg-nb
pipeline_tag: image-segmentation
tags: [3d, microscopy, cell-segmentation, {found.architecture}]
---
{words}"""
