"""Labels being edited: every edit can be undone and redone, each cell's box is known, numbers run out with
a word."""

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.errors import UserError
from cellseg_nb.viewer import edits

REMEMBERED = 256e6  # bytes of diffs kept for undo


class Canvas:
    """Labels (Z, Y, X) int32 under edit. ``labels`` is changed in place; ``version`` counts the changes.

    Raises UserError for labels that are not whole numbers from 0 to 65,535 in three dimensions.
    """

    def __init__(self, labels, voxel_size=None):
        labels = np.asarray(labels)
        if labels.ndim != 3 or labels.dtype.kind not in "bui" or labels.size == 0:
            raise UserError(
                f"labels of shape {labels.shape} and type {labels.dtype} cannot be edited: give (Z, Y, X) "
                "whole numbers"
            )
        if labels.min() < 0 or labels.max() > edits.LARGEST:
            raise UserError(
                f"labels go from {labels.min()} to {labels.max()}: number the cells from 1 again, at most "
                f"{edits.LARGEST} (Fiji's labels have 16 bits); a larger volume can be cut into cubes first"
            )
        self.labels = np.array(labels, np.int32, order="C")
        self.size = tuple(voxel_size) if voxel_size is not None else None
        self.boxes = {n: box for n, box in enumerate(ndi.find_objects(self.labels), 1) if box}
        self.done, self.undone, self.version = [], [], 0

    # ------------------------------------------------------------ cells and their numbers

    def numbers(self):
        """Numbers of the cells that are there, ascending."""
        return [number for number in sorted(self.boxes) if self.box(number)]

    def box(self, number):
        """Slices around a cell, or None where there is none."""
        rough = self.boxes.get(number)
        if rough is None:
            return None
        found = ndi.find_objects((self.labels[rough] == number).astype(np.uint8))
        if not found:
            del self.boxes[number]
            return None
        box = tuple(slice(a.start + b.start, a.start + b.stop) for a, b in zip(rough, found[0]))
        self.boxes[number] = box
        return box

    def centre(self, number):
        """A voxel (z, y, x) in the cell, the deepest one. Raises UserError where there is no such cell."""
        box = self._box(number)
        return edits.deepest(self.labels[box] == number, box, self.size)

    def new_number(self):
        """A number that no cell has. Raises UserError when all are used up."""
        highest = max(self.boxes, default=0)
        if highest < edits.LARGEST:
            return highest + 1
        free = set(range(1, edits.LARGEST + 1)) - set(self.numbers())
        if not free:
            raise UserError(
                f"all {edits.LARGEST} numbers of cells are used: delete cells that are none, or cut the "
                "volume into cubes and label these"
            )
        return min(free)

    def _box(self, number):
        box = self.box(number)
        if box is None:
            raise UserError(f"there is no cell {number}: click on a cell")
        return box

    # ------------------------------------------------------------ change, undo, redo

    def apply(self, diff):
        """Carry out an edit, so that `undo` takes it back. Returns the diff; an empty one is not kept."""
        if len(diff.where):
            self._write(diff)
            self.done.append(diff)
            self.undone.clear()
            while sum(16 * len(one.where) for one in self.done) > REMEMBERED and len(self.done) > 1:
                self.done.pop(0)
        return diff

    def undo(self):
        """Take back the last edit. Returns what changed. Raises UserError where there is none."""
        if not self.done:
            raise UserError("there is nothing to undo")
        self.undone.append(self.done.pop())
        return self._write(self.undone[-1].reversed())

    def redo(self):
        """Do again what was undone last. Returns what changed. Raises UserError where there is none."""
        if not self.undone:
            raise UserError("there is nothing to redo")
        self.done.append(self.undone.pop())
        return self._write(self.done[-1])

    def _write(self, diff):
        self.labels.reshape(-1)[diff.where] = diff.after
        places = np.unravel_index(diff.where, self.labels.shape)
        for number in np.unique(diff.after[diff.after > 0]).tolist():
            own = diff.after == number
            spans = [slice(int(p[own].min()), int(p[own].max()) + 1) for p in places]
            old = self.boxes.get(number, spans)
            self.boxes[number] = tuple(
                slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(old, spans)
            )
        self.version += 1
        return diff

    # ------------------------------------------------------------ the tools

    def paint(self, points, radius, number, axis=None, over=False):
        return self.apply(edits.paint(self.labels, points, radius, number, self.size, axis, over))

    def erase(self, points, radius, axis=None, only=None):
        return self.apply(edits.erase(self.labels, points, radius, self.size, axis, only))

    def delete(self, number):
        return self.apply(edits.delete(self.labels, number, self._box(number)))

    def fill(self, number, axis=None, index=None):
        return self.apply(edits.fill(self.labels, number, self._box(number), axis, index))

    def merge(self, number, other):
        self._box(number)
        return self.apply(edits.merge(self.labels, number, other, self._box(other)))

    def split(self, first, second):
        """Part the cell in which both points lie. Returns the diff; its new cell is ``diff.after[0]``."""
        number = edits.pick(self.labels, first)
        box = self._box(number) if number else edits.WHOLE
        return self.apply(edits.split(self.labels, first, second, self.new_number(), self.size, box))

    def interpolate(self, number, axis=0):
        return self.apply(edits.interpolate(self.labels, number, self._box(number), axis))
