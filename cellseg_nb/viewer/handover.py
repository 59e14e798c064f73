"""Labels and volumes in the programs of a desktop: napari, where it is installed, and 3D views."""

from cellseg_nb.errors import UserError
from cellseg_nb.viewer.source import opened


def open_in_napari(volume, labels=None, voxel_size=None):
    """Open a volume, and labels on it, in a napari window, to scale. Returns napari's viewer.

    ``volume`` and ``labels``: (Z, Y, X) arrays, lazy ones too, or paths; ``voxel_size`` (z, y, x) in µm.
    Raises UserError where napari is not installed, and for labels of another shape.
    """
    try:
        import napari
    except ImportError:
        raise UserError(
            'napari is not installed: run  pip install "napari[all]"  on a desktop (not in Colab), or open '
            "labels.tif of the session there"
        ) from None
    source = opened(volume, voxel_size)
    window = napari.Viewer()
    low_high = source.limits()
    window.add_image(source.array, name="volume", scale=source.size, contrast_limits=low_high)
    if labels is not None:
        window.add_labels(source.beside(labels).whole(), name="cells", scale=source.size)
    return window
