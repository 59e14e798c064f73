"""What a notebook shows and asks: the viewer, the labelling tool, upload, download. In batch runs and reports
a still picture takes the place of what one could click on."""

import base64
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cellseg_nb import runtime
from cellseg_nb.errors import UserError
from cellseg_nb.plots import basic
from cellseg_nb.viewer import session, source, widget


def slices(volume, labels=None, voxel_size=None, probability=None, **options):
    """The viewer: three slices through a volume (Z, Y, X), with labels and a probability; a still picture,
    without the probability, in batch runs and reports.

    What is no numpy array (Zarr, Dask, a path) is read slice by slice. ``options`` are ``position``,
    ``title`` and ``limits`` of `basic.orthogonal`. Raises UserError like `widget.viewer`.
    """
    volume, labels = _on_disk(volume, voxel_size), _on_disk(labels)
    if isinstance(volume, source.Source):
        voxel_size = volume.size  # the one given, or the file's
    if runtime.in_batch():
        basic.orthogonal(volume, labels, voxel_size=voxel_size, **options)
        return plt.show()
    from IPython.display import display

    still = _still(volume, labels, voxel_size=voxel_size, **options)
    display(widget.viewer(volume, labels, probability, voxel_size, still=still, **options))


def _on_disk(volume, voxel_size=None):
    """What is not in memory as a `source.Source`; the rest as it is."""
    if volume is None or isinstance(volume, np.ndarray):
        return volume
    return source.opened(volume, voxel_size)


def label(volume, folder, labels=None, probability=None, voxel_size=None, start_over=False):
    """The labelling tool, shown; a still picture in batch runs. Returns its session, in which
    ``session.canvas.labels`` are the labels at any time, and ``session.times()`` what they took.

    See `cellseg_nb.viewer.widget.label` for the arguments. Raises UserError where no session can be opened,
    below the widget that says so, so that no cell below works on labels that nobody could correct.
    """
    if runtime.in_batch():
        opened = source.opened(volume, voxel_size)
        found = session.Session(folder, opened, widget.drawn(labels), start_over)
        basic.orthogonal(opened.whole(), found.canvas.labels, voxel_size=opened.size)
        plt.show()
        return found
    from IPython.display import display

    tool = widget.label(volume, folder, labels, probability, voxel_size, start_over)
    drawn = tool.view.labels if tool.session is None else tool.session.canvas.labels
    still = _still(tool.view.source, drawn, voxel_size=tool.view.source.size)
    tool.still = base64.b64encode(still).decode()
    display(tool)
    if tool.session is None:
        raise UserError(tool.view.trouble)
    tool.session.tool = tool
    return tool.session


def _still(volume, labels=None, **options):
    """The picture of `basic.orthogonal` as PNG bytes, small enough to be kept in a notebook."""
    import io

    figure, file = basic.orthogonal(volume, labels, **options), io.BytesIO()
    figure.savefig(file, format="png", dpi=60)
    plt.close(figure)
    return file.getvalue()


def choose(images):
    """The path behind the parameter ``images``: ``upload`` asks for a file in Colab, a Drive path mounts the
    Drive."""
    if images == "upload":
        return _upload()
    if (
        images.startswith("/content/drive")
        and runtime.in_colab()
        and not Path("/content/drive/MyDrive").exists()
    ):
        from google.colab import drive

        drive.mount("/content/drive")
    return images


def _upload():
    if not runtime.in_colab():
        raise UserError(
            "images = 'upload' works in Colab only: here, give the path of a TIFF or of a folder of TIFFs"
        )
    from google.colab import files

    names = list(files.upload())
    if not names:
        raise UserError("no file was uploaded: run the cell again and choose a TIFF")
    return str(Path(names[0]).absolute())


def download(folder):
    """Offer a results folder as one zip: a download in Colab, a link in Jupyter, its path in batch runs."""
    import shutil

    folder = Path(folder)
    if runtime.in_batch():
        print(f"results in {folder}")
        return None
    archive = shutil.make_archive(str(folder), "zip", folder)
    if runtime.in_colab():
        from google.colab import files

        return files.download(archive)
    from IPython.display import FileLink

    return FileLink(
        Path(archive).relative_to(Path.cwd()) if Path(archive).is_relative_to(Path.cwd()) else archive
    )
