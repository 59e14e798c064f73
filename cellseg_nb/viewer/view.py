"""What the viewer shows and does, without a browser: `View.handle` takes a message of the front end and gives
the answer. Pictures are slices as bytes; the front end only scales and colours them.
"""

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.viewer import surface
from cellseg_nb.viewer.session import CLOSED
from cellseg_nb.viewer.source import grey, opened
from cellseg_nb.viewer.tools import EDITING, Tools


def colours():
    """A bright colour for each label modulo 255, (256, 3) uint8, always the same; 0 is black."""
    from matplotlib import colormaps

    hues = np.random.default_rng(1).permutation(255) / 255
    bright = 0.25 + 0.75 * colormaps["hsv"](hues)[:, :3]
    return np.vstack([np.zeros((1, 3)), np.rint(255 * bright)]).astype(np.uint8)


class View(Tools):
    """A volume, its labels and probability, seen at one place; with a ``session``, its labels are edited.

    ``volume``, ``labels``, ``probability``: (Z, Y, X) arrays, in memory or lazy, or paths; ``voxel_size``
    (z, y, x) in µm; ``trouble`` is a line that is shown all the time. Raises UserError for labels or a
    probability of another shape.
    """

    def __init__(
        self, volume, labels=None, probability=None, voxel_size=None, limits=None, session=None, trouble=""
    ):
        self.source, self.session, self.trouble = opened(volume, voxel_size), session, trouble
        self.labels = None if session else self.source.beside(labels)
        self.probability = self.source.beside(probability, "probability")
        self.at, self.say = [side // 2 for side in self.source.shape], ""
        self.percentiles, self.limits = (1.0, 99.7), limits
        self.cell, self.items, self.item, self.learned = 0, [], -1, 0  # learned: from so many decisions
        self.box = [(0, side) for side in self.source.shape]

    # ------------------------------------------------------------ messages

    def handle(self, message):
        """The answer to a message: a dict, and a list of buffers. What is wrong is said in it (``error``)."""
        do = str(message.get("do", ""))
        try:
            if do not in HANDLERS:
                raise UserError(f"the viewer cannot do {do!r}")
            if do in EDITING and self.session is None:
                raise UserError(
                    self.trouble or "this is a viewer only: open the volume with a session to label it"
                )
            if do in EDITING and self.session.closed:
                raise UserError(CLOSED)
            answer, buffers = self._done(do, message)
        except UserError as error:
            answer, buffers = {"error": str(error)}, []
        except Exception as error:  # whatever happens: a line in the widget, and the labels stay
            answer, buffers = {"error": f"{do} failed: {type(error).__name__}: {error}"}, []
        return answer | self._state() | {"id": message.get("id")}, buffers

    def _done(self, do, message):
        if self.session is None:
            return HANDLERS[do](self, message)
        with self.session.guard:
            before = self.session.canvas.version
            answer, buffers = HANDLERS[do](self, message)
            changed = int(self.session.canvas.version != before)
        if do not in ("hello", "status"):
            self.session.working(self.at[0], self.cell or None, changed)
        if changed:
            pictures, buffers = self._pictures((0, 1, 2), ("labels",))
            answer = {**answer, **pictures}
            if self.cell and do not in ("undo", "redo"):
                self.session.decide(self.cell, "fixed")
        return answer, buffers

    def _state(self):
        status = {"at": self.at, "cell": self.cell, "box": self.box, "trouble": self.trouble}
        if self.session is not None:
            canvas, item = self.session.canvas, None
            if 0 <= self.item < len(self.items):
                one = self.items[self.item]
                item = {
                    "nth": self.item + 1,
                    "of": len(self.items),
                    "doubt": round(one.doubt, 2),
                    "why": one.why,
                    "number": one.number,
                    "state": self.session.states.get(one.number, "") if one.number else "",
                }
            status |= {
                "undo": len(canvas.done),
                "redo": len(canvas.undone),
                "unsaved": self.session.unsaved,
                "cells": len(canvas.boxes),
                "item": item,
                "trouble": CLOSED if self.session.closed else self.session.trouble,
            }
        return status

    # ------------------------------------------------------------ pictures

    def _pictures(self, axes, kinds=("grey", "labels", "probability")):
        """Slices through the place: [{axis, index, kind, rows, columns}] and their bytes."""
        described, buffers = [], []
        for axis in axes:
            for kind in kinds:
                picture = self.picture(kind, axis, self.at[axis])
                if picture is not None:
                    rows, columns = picture.shape
                    described.append(
                        {"axis": axis, "index": self.at[axis], "kind": kind, "rows": rows, "columns": columns}
                    )
                    buffers.append(np.ascontiguousarray(picture).tobytes())
        return {"planes": described}, buffers

    def picture(self, kind, axis, index):
        """A slice as it is sent: grey and probability uint8, labels uint16 (see `fold`); None where there is
        none. Across x, rows are y and columns z."""
        if kind == "grey":
            plane = grey(self.source.plane(axis, index), *self.grey_limits())
        elif kind == "probability":
            plane = None if self.probability is None else grey(self.probability.plane(axis, index), 0.0, 1.0)
        else:
            plane = self.label_plane(axis, index)
            plane = None if plane is None else fold(plane)
        return plane if plane is None or axis != 2 else plane.T

    def label_plane(self, axis, index):
        if self.session is not None:
            return self.session.canvas.labels.take(index, axis)
        return None if self.labels is None else self.labels.plane(axis, index)

    def grey_limits(self):
        return self.limits or self.source.limits(*self.percentiles)

    # ------------------------------------------------------------ what can be asked for

    def _hello(self, message):
        # Of a volume on disk the z slice first, since each slice takes time; the front end asks for the rest.
        answer, buffers = self._pictures((0,) if self.source.lazy else (0, 1, 2))
        setup = {
            "shape": self.source.shape,
            "size": self.source.size or (1.0, 1.0, 1.0),
            "unit": "µm" if self.source.size else "voxels",
            "lazy": self.source.lazy,
            "edits": self.session is not None,
            "labelled": self.session is not None or self.labels is not None,
            "probability": self.probability is not None,
            "percentiles": self.percentiles,
            "folder": str(self.session.folder) if self.session else "",
        }
        return {"setup": setup, "say": self._greeting(), **answer}, [*buffers, colours().tobytes()]

    def _status(self, message):
        return {}, []  # only the status that goes with every answer: trouble with saving, say

    def _sides(self, message):
        return self._pictures((1, 2))

    def _greeting(self):
        if self.session is None:
            return self.say
        words = "the session goes on where it was saved" if self.session.resumed else "a new session"
        return "; ".join([f"{words}: {self.session.folder}", *self.session.damaged])

    def _go(self, message):
        return self._pictures(self.go(message["at"]))

    def go(self, place):
        """Look at the voxel nearest to a place (z, y, x), in the volume. Returns the axes that moved."""
        at = [int(np.clip(round(float(p)), 0, s - 1)) for p, s in zip(place, self.source.shape)]
        axes = [axis for axis in range(3) if at[axis] != self.at[axis]]
        self.at = at
        return axes

    def _contrast(self, message):
        low, high = float(message["low"]), float(message["high"])
        if not 0 <= low < high <= 100:
            raise UserError(f"the contrast needs two percentiles from 0 to 100, not {low:g} and {high:g}")
        self.percentiles, self.limits = (low, high), None
        return self._pictures((0, 1, 2), ("grey",))

    def _projection(self, message):
        top = self.source.whole().max(0)
        low, high = np.percentile(top, (1, 99.7))
        return {"projection": list(top.shape)}, [grey(top, low, max(high, low + 1e-6)).tobytes()]

    def _surface(self, message):
        labels = self.session.canvas.labels if self.session else self.labels and self.labels.whole()
        if labels is None:
            raise UserError("there are no labels to show in 3D")
        points, numbers = surface.points(labels, self.source.size)
        return {"surface": len(points)}, [points.tobytes(), fold(numbers).tobytes()]

    def _box(self, message):
        self.box = [
            (max(0, min(int(a), int(b))), min(side, max(int(a), int(b), min(int(a), int(b)) + 1)))
            for (a, b), side in zip(message["box"], self.source.shape)
        ]
        return {}, []


def fold(labels):
    """Labels as uint16 for the front end: above 65,535 they begin anew at 1, never at 0."""
    labels = np.asarray(labels)
    if labels.dtype.itemsize <= 2 or labels.max(initial=0) <= 65535:
        return labels.astype(np.uint16)
    return np.where(labels > 0, (labels - 1) % 65535 + 1, 0).astype(np.uint16)


LOOKING = "hello go contrast projection surface pick box sides status"
HANDLERS = {name: getattr(View, f"_{name}") for name in (*EDITING, *LOOKING.split())}
