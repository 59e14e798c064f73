"""The labelling tool's side of `cellseg_nb.viewer.view`: what each button and click does to the session."""

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.viewer import edits, review

EDITING = frozenset(
    "paint erase fill delete merge split new interpolate undo redo save queue next previous decide".split()
)


class Tools:
    """Answers to the messages that edit labels or go through the queue; each returns (dict, buffers)."""

    # ------------------------------------------------------------ labelling

    def _paint(self, message):
        if not self.cell:
            self.cell = self.session.canvas.new_number()
        over = bool(message.get("over"))
        self.session.canvas.paint(
            message["points"], float(message["radius"]), self.cell, _flat(message), over
        )
        return {}, []

    def _erase(self, message):
        only = self.cell or None if message.get("own") else None
        self.session.canvas.erase(message["points"], float(message["radius"]), _flat(message), only)
        return {}, []

    def _pick(self, message):
        plane = self.session.canvas.labels if self.session else self.labels
        if plane is None:
            return {"say": ""}, []
        place = tuple(int(np.clip(round(p), 0, s - 1)) for p, s in zip(message["point"], self.source.shape))
        self.cell = int(plane[place]) if self.session else int(plane.plane(0, place[0])[place[1:]])
        return {"say": f"cell {self.cell}" if self.cell else "background"}, []

    def _fill(self, message):
        axis = _flat(message)
        index = None if axis is None else self.at[axis]
        self.session.canvas.fill(self._clicked(message), axis, index)
        return {}, []

    def _delete(self, message):
        self.session.canvas.delete(self._clicked(message))
        self.session.decide(self.cell, "wrong")
        self.cell = 0
        return {}, []

    def _merge(self, message):
        if not self.cell:
            raise UserError("pick the cell that is to grow first, then click on the one to join to it")
        other = edits.pick(self.session.canvas.labels, message["point"])
        if not other:
            raise UserError("there is no cell here: click on the cell to join")
        self.session.canvas.merge(self.cell, other)
        return {}, []

    def _split(self, message):
        first, second = message["points"]
        self.cell = edits.pick(self.session.canvas.labels, first)
        self.session.canvas.split(first, second)
        return {}, []

    def _new(self, message):
        self.cell = self.session.canvas.new_number()
        return {"say": f"cell {self.cell} is new: paint it"}, []

    def _interpolate(self, message):
        self.session.canvas.interpolate(self._clicked(message), int(message.get("axis") or 0))
        return {}, []

    def _undo(self, message):
        self.session.canvas.undo()
        return {}, []

    def _redo(self, message):
        self.session.canvas.redo()
        return {}, []

    def _save(self, message):
        self.session.save()
        return {"say": f"saved in {self.session.folder}"}, []

    def _clicked(self, message):
        """The cell at the point that was clicked; without one, the cell in hand."""
        point = message.get("point")
        number = edits.pick(self.session.canvas.labels, point) if point else self.cell
        if not number:
            raise UserError("there is no cell here: click on a cell")
        self.cell = number
        return number

    # ------------------------------------------------------------ review

    def _queue(self, message):
        """Make the queue anew, and go to its first item that is not decided."""
        probability = None if self.probability is None else self.probability.whole()
        labels, size = self.session.canvas.labels, self.source.size
        found = review.queue(self.source.whole(), labels, probability, size)
        self._judge()
        self.learned = len(self.session.seen)
        left = [one for one in found if not self._done_with(one)]
        self.items, self.item = review.learned(left, list(self.session.seen.values())), -1
        if not left:
            return {"say": f"nothing is left to look at: all {len(found)} are decided"}, []
        return self._step(1)

    def _done_with(self, one):
        if one.number:
            return self.session.states.get(one.number) in ("accepted", "fixed")
        return (0, one.place) in self.session.seen

    def _judge(self):
        """Note with how many edits the items shown so far were mended, 0 for those that were accepted; a
        place without a label is mended once it has one."""
        for one in self.items[: self.item + 1]:
            drawn = 0 if one.number else int(self.session.canvas.labels[one.place])
            state = self.session.states.get(one.number) if one.number else drawn and "fixed"
            if state:
                edits = self.session.edits(one.number or drawn)
                self.session.seen[one.number, one.place] = one, 0 if state == "accepted" else max(1, edits)

    def _learn(self):
        """After some decisions more, the order of what was not shown yet follows from them."""
        self._judge()
        if len(self.session.seen) - self.learned >= review.EVERY:
            seen = list(self.session.seen.values())
            self.learned = len(seen)
            self.items[self.item + 1 :] = review.learned(self.items[self.item + 1 :], seen)

    def _step(self, by):
        if not self.items:
            raise UserError("the queue is empty: press Queue to make it")
        while True:
            self.item = int(np.clip(self.item + by, 0, len(self.items) - 1))
            one, last = self.items[self.item], self.item in (0, len(self.items) - 1)
            if last or one.number == 0 or self.session.canvas.box(one.number):
                break  # cells that were deleted or merged since are passed over
        self.cell = one.number
        self.at = list(one.place)
        return self._pictures((0, 1, 2))

    def _next(self, message):
        self._learn()
        return self._step(1)

    def _previous(self, message):
        return self._step(-1)

    def _decide(self, message):
        one = self.items[self.item] if 0 <= self.item < len(self.items) else None
        number = one.number if one else self.cell
        if number:
            self.session.decide(number, message["state"])
        elif one:  # a bright place is none after all, or a cell
            self.session.seen[0, one.place] = one, int(message["state"] != "accepted")
        else:
            raise UserError("which cell? Press Queue, or pick one")
        self._learn()
        if self.item < len(self.items) - 1:
            return self._step(1)
        return {
            "say": "that was the last one of the queue" if one else f"cell {number}: {message['state']}"
        }, []


def _flat(message):
    """The axis of the slice that an edit keeps to, or None for 3D."""
    axis = message.get("axis")
    return int(axis) if message.get("flat") and axis is not None else None
