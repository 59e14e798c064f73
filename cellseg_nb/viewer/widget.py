"""The viewer in a notebook: one anywidget, which tells a `view.View` what is clicked, and draws its answers.

anywidget runs in JupyterLab, Notebook 6 and 7, VS Code and Colab (where it is installed already) without an
extension of our own; ipycanvas would need one, and is reported not to work in Colab.
"""

import base64
from pathlib import Path

from cellseg_nb.viewer.session import Session
from cellseg_nb.viewer.source import opened
from cellseg_nb.viewer.view import View

HERE = Path(__file__).parent


def viewer(volume, labels=None, probability=None, voxel_size=None, limits=None, still=None):
    """Three linked slices through a volume, as a widget.

    Parameters
    ----------
    volume, labels, probability : (Z, Y, X) arrays (numpy, Zarr, Dask), or paths of a TIFF or a Zarr store
    voxel_size : (z, y, x) in µm
    limits : (dark, bright) of the grey
    still : PNG bytes or None, shown where no widget can be (GitHub, a saved report)

    Raises UserError for shapes that do not fit, and for files that cannot be read.
    """
    return _widget(View(volume, labels, probability, voxel_size, limits), still)


def label(volume, folder, labels=None, probability=None, voxel_size=None, start_over=False, still=None):
    """The labelling tool, as a widget: the viewer, with labels that are edited and saved in ``folder``.

    ``labels`` to start from, or None for nothing; a session that is in the folder goes on, unless
    ``start_over``. ``widget.session.canvas.labels`` are the labels, at any time. For the others see `viewer`.
    Raises UserError like `viewer` and `session.Session`.
    """
    source = opened(volume, voxel_size)
    session = Session(folder, source, labels, start_over).autosave()
    return _widget(View(source, probability=probability, session=session), still)


def _widget(view, still=None):
    import anywidget
    import traitlets

    png = base64.b64encode(still).decode() if still else ""

    class Viewer(anywidget.AnyWidget):
        """Passes messages on; ``view`` and ``session`` are what is shown."""

        _esm = (HERE / "viewer.js").read_text(encoding="utf-8")
        _css = (HERE / "viewer.css").read_text(encoding="utf-8")
        still = traitlets.Unicode("").tag(sync=True)  # what a page without a kernel shows
        _ipython_display_ = None  # ipywidgets 7 has one, which would leave the still picture out

        def _repr_mimebundle_(self, **options):
            data, metadata = super()._repr_mimebundle_(**options)
            data["text/plain"] = "a viewer: run this notebook to use it"
            if png:
                data["image/png"] = png
            return data, metadata

    widget = Viewer(still=png)
    widget.view, widget.session = view, view.session
    widget.on_msg(lambda _, message, buffers: widget.send(*view.handle(message)))
    return widget
