"""What a notebook shows and asks: slices with sliders, upload, download. Only core ipywidgets, so Colab works
too."""

from pathlib import Path

import matplotlib.pyplot as plt

from cellseg_nb import runtime
from cellseg_nb.errors import UserError
from cellseg_nb.plots import basic


def slices(volume, labels=None, voxel_size=None, **options):
    """Three slices through a volume, with a slider for each axis; a still picture in batch runs and
    reports."""
    if runtime.in_batch():
        basic.orthogonal(volume, labels, voxel_size=voxel_size, **options)
        return plt.show()
    from ipywidgets import IntSlider, interact

    sliders = {
        axis: IntSlider(side // 2, 0, side - 1, description=f"slice {axis}", continuous_update=False)
        for axis, side in zip("zyx", volume.shape)
    }

    def show(z, y, x):
        basic.orthogonal(volume, labels, (z, y, x), voxel_size, **options)
        plt.show()

    interact(show, **sliders)


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
