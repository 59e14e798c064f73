"""The viewer in a notebook: one anywidget, which tells a `view.View` what is clicked, and draws its answers.

anywidget runs in JupyterLab, Notebook 6 and 7, VS Code and Colab (where it is installed already) without an
extension of our own; ipycanvas would need one, and is reported not to work in Colab.
"""

import base64
import contextlib
from pathlib import Path

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.viewer.session import Session, saved
from cellseg_nb.viewer.source import opened
from cellseg_nb.viewer.view import View

HERE = Path(__file__).parent


def viewer(
    volume, labels=None, probability=None, voxel_size=None, limits=None, still=None, position=None, title=None
):
    """Three linked slices through a volume, as a widget.

    Parameters
    ----------
    volume, labels, probability : (Z, Y, X) arrays (numpy, Zarr, Dask), or paths of a TIFF or a Zarr store
    voxel_size : (z, y, x) in µm
    limits : (dark, bright) of the grey
    still : PNG bytes or None, shown where no widget can be (GitHub, a saved report)
    position : (z, y, x) in voxels, where to begin; the middle by default
    title : words to begin with

    Raises UserError for shapes that do not fit, and for files that cannot be read.
    """
    view = View(volume, labels, probability, voxel_size, limits)
    view.say = title or ""
    if position is not None:
        view.go(position)
    return _widget(view, still)


def label(volume, folder, labels=None, probability=None, voxel_size=None, start_over=False):
    """The labelling tool, as a widget: the viewer, with labels that are edited and saved in ``folder``.

    ``labels`` to start from, or None for nothing; a session that is in the folder goes on, unless
    ``start_over``. ``widget.session.canvas.labels`` are the labels, at any time. For the others see `viewer`.

    Where no session can be opened (labels of another shape or with too large numbers, a session of another
    volume, a folder that cannot be written or that another notebook has open), the widget says so in a line,
    also in ``widget.view.trouble``. It shows what is there, writes nothing, and its ``session`` is None.
    Raises UserError like `viewer` for the volume and the probability.
    """
    source = opened(volume, voxel_size)
    seen = View(source, probability=probability)  # shapes that do not fit end here, before a session begins
    try:
        session = Session(folder, source, drawn(labels), start_over).autosave()
        view = View(source, probability=seen.probability, session=session)
    except UserError as error:
        there = _there(source, folder, labels)
        view = View(source, there, seen.probability, trouble=f"{error}. Until then nothing can be drawn.")
    return _widget(view)


def drawn(labels):
    """Labels as they were given, or out of the file whose path was given. Raises UserError for that."""
    is_path = isinstance(labels, str) or hasattr(labels, "__fspath__")
    return volumes.read_labels(labels)[0] if is_path else labels


def _there(source, folder, labels):
    """Labels to look at where none can be edited: the session's, else those given, if they fit; or None."""
    with contextlib.suppress(UserError):
        found = saved(folder, source)
        if found is not None:
            return found.labels
    with contextlib.suppress(UserError):
        given = drawn(labels)
        return given if np.shape(given) == source.shape else None
    return None


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
            if self.still:
                data["image/png"] = self.still
            return data, metadata

    widget = Viewer(still=png)
    widget.view, widget.session = view, view.session
    widget.on_msg(lambda _, message, buffers: widget.send(*view.handle(message)))
    return widget
