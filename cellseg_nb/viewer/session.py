"""A session of labelling: labels, what was decided on each cell, and the time it took, in one folder.

``labels.tif`` opens in Fiji and napari as it is, ``times.csv`` in a spreadsheet, ``queue.json`` holds what
the queue has learned from, ``session.json`` says whose volume it is. Each is written beside and renamed,
labels first, so that a kernel may die at any moment. A lock keeps a second notebook out.
"""

import json
import os
import threading
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas

from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.io.files import as_path, writable_folder, write_json, write_table
from cellseg_nb.viewer import review
from cellseg_nb.viewer.canvas import Canvas

EVERY = 45.0  # seconds between saves: never older than a minute
IDLE = 30.0  # a longer pause is no work
STATES = ("accepted", "fixed", "wrong")
CLOSED = "this session was closed, or opened again elsewhere: run its cell again to go on with what is saved"
_OPEN = {}  # sessions of this kernel by folder: a cell that is run again takes over its own


def fingerprint(source):
    """What tells a volume from another: shape, voxel size, and a sum over its middle slice."""
    middle = np.ascontiguousarray(source.plane(0, source.shape[0] // 2))
    size = None if source.size is None else [round(s, 6) for s in source.size]
    return {"shape": list(source.shape), "voxel_size_um": size, "middle": zlib.crc32(middle.tobytes())}


class Saved(NamedTuple):
    """What a session's folder holds: ``labels`` (Z, Y, X), ``states`` {cell: word}, ``spent``
    {(kind, number): [seconds, edits]}, ``seen`` {(number, place): (`review.Item`, edits that mended it)},
    and the names of the ``damaged`` files, which are as if they were not there."""

    labels: np.ndarray
    states: dict
    spent: dict
    seen: dict
    damaged: tuple = ()


# what a damaged file can lead to
WRONG = (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


def saved(folder, source):
    """What was saved last in a folder: a `Saved`, or None where there is no session.

    Raises UserError for a session that cannot be read, and for one of another volume than ``source``.
    """
    folder = as_path(folder).absolute()
    file, volume = folder / "session.json", fingerprint(source)
    if not file.exists():
        return None
    try:
        known = dict(json.loads(file.read_text(encoding="utf-8")))
        states = {int(number): str(state) for number, state in known.get("states", {}).items()}
        labels, _ = volumes.read_labels(folder / "labels.tif", own=True)
    except WRONG as error:
        raise UserError(
            f"the session in {folder} cannot be read ({str(error).splitlines()[0][:120]}): choose another "
            "folder, where the labels.tif of this one can be given as labels, or throw it away by start_over"
        ) from error
    if known.get("volume") != volume or labels.shape != source.shape:
        shape = (known.get("volume") or {}).get("shape")
        raise UserError(
            f"{folder} holds a session of another volume (of shape {shape}): choose another folder for this "
            "one"
        )
    found, damaged = [], []
    for name, read in (("times.csv", _spent), ("queue.json", _seen)):
        try:
            found.append(read(folder / name, volume) if (folder / name).exists() else {})
        except WRONG:
            found.append({})
            damaged.append(name)
    return Saved(labels, states, *found, tuple(damaged))


def _spent(table, _):
    rows = pandas.read_csv(table).to_dict("records")
    return {(row["kind"], int(row["number"])): [float(row["seconds"]), int(row["edits"])] for row in rows}


def _seen(file, volume):
    known = json.loads(file.read_text(encoding="utf-8"))
    if known["volume"] != volume or known["reasons"] != list(review.REASONS):
        raise ValueError("of another volume, or of another version")
    seen = {}
    for number, place, reasons, count in known["decided"]:
        item = review.Item(int(number), tuple(map(int, place)), 0.0, "", tuple(map(float, reasons)))
        fits = len(item.place) == 3 and len(reasons) == len(review.REASONS)
        if not fits or not all(0 <= reason <= 1 for reason in item.reasons) or int(count) < 0:
            raise ValueError("no reasons of a queue")
        seen[item.number, item.place] = item, int(count)
    return seen


class Session:
    """Opens a folder: a new session, or the one that is there, as it was saved last.

    Parameters
    ----------
    folder : path
    source : `source.Source`, the volume
    labels : (Z, Y, X) or None, to start from; a session that is there wins, unless ``start_over``
    every : seconds between saves
    clock : function of no argument, seconds

    Raises UserError for labels of another shape, a folder of another volume's session, a folder that cannot
    be written, and one that another notebook has open.
    """

    def __init__(self, folder, source, labels=None, start_over=False, every=EVERY, clock=time.monotonic):
        self.folder, self.source, self.every, self.clock = as_path(folder).absolute(), source, every, clock
        if labels is not None and np.shape(labels) != source.shape:
            raise UserError(
                f"the labels have shape {np.shape(labels)}, the volume {source.shape}: give the labels of "
                "this volume"
            )
        writable_folder(self.folder)
        previous = _OPEN.get(self.folder)
        if previous is not None:
            previous.save()  # where this fails, or what follows, it stays open with all that was drawn
        self._lock = _locked(self.folder) if previous is None else previous._lock
        self.guard, self._writing = threading.RLock(), threading.Lock()
        try:
            found = None if start_over else saved(self.folder, source)
            self.resumed = found is not None
            start, self.states, self.spent, self.seen, damaged = found or Saved(labels, {}, {}, {})
            self.canvas = Canvas(np.zeros(source.shape, np.int32) if start is None else start, source.size)
        except BaseException:
            if previous is None:
                self._lock.release()
            raise
        if previous is not None:
            previous._end()
        self._saved, self._changed, self._last, self._at = 0.0, True, None, None
        self._decided, self._version = False, -1  # the version of the labels that is saved
        self.trouble, self._ended, self.tool = "", threading.Event(), None
        self.damaged = [self._aside(name) for name in damaged]  # in words
        _OPEN[self.folder] = self
        self.save()

    # ------------------------------------------------------------ time

    def working(self, plane=None, cell=None, edits=0):
        """The person does something, at this slice and this cell: the time since the last sign of life
        belongs to where they were; a pause of more than `IDLE` seconds counts as that."""
        now = self.clock()
        with self.guard:
            if self._last is not None:
                seconds = min(now - self._last, IDLE)
                for place in self._at or ():
                    self.spent.setdefault(place, [0.0, 0])[0] += seconds
            self._last = now
            pairs = (("slice", plane), ("cell", cell))
            self._at = [(kind, int(number)) for kind, number in pairs if number is not None]
            for place in self._at if edits else ():
                self.spent.setdefault(place, [0.0, 0])[1] += edits
            self._changed = True

    def times(self):
        """A table: kind (slice or cell), number, seconds, edits, state of the cell."""
        with self.guard:
            rows = []
            for (kind, number), (seconds, count) in sorted(self.spent.items(), reverse=True):
                state = self.states.get(number, "") if kind == "cell" else ""
                rows.append([kind, number, round(seconds, 2), count, state])
        return pandas.DataFrame(rows, columns=["kind", "number", "seconds", "edits", "state"])

    def edits(self, number):
        """How many edits were made with this cell in hand."""
        return self.spent.get(("cell", int(number)), (0, 0))[1]

    def decide(self, number, state):
        """Note that a cell is accepted, fixed or wrong. Raises UserError for another word."""
        if state not in STATES:
            raise UserError(f"a cell is one of {', '.join(STATES)}, not {state!r}")
        with self.guard:
            self.states[int(number)] = state
            self._changed = self._decided = True

    # ------------------------------------------------------------ files

    def _aside(self, name):
        """Keep a file that cannot be read under another name. Returns what to say of it."""
        kept = f"{name.replace('.', '_unreadable.')}"
        os.replace(self.folder / name, self.folder / kept)
        return f"{name} cannot be read: it begins anew, and the old one is kept as {kept}"

    def save(self):
        """Write all, each file whole or not at all. Raises UserError where that fails, nothing is lost; and
        when it is closed."""
        with self._writing:  # one at a time: what is older must not be written last
            if self.closed:
                raise UserError(CLOSED)
            self._save()

    def _save(self):
        with self.guard:
            labels = self.canvas.labels.astype(np.uint16)  # a copy, so that drawing goes on
            volume, states, table = fingerprint(self.source), dict(self.states), self.times()
            decided = [(n, at, item.reasons, count) for (n, at), (item, count) in self.seen.items()]
            self._changed = self._decided = False
            version = self.canvas.version
        try:
            volumes.write(self.folder / "labels.tif", labels, self.source.size, compress=True)
            write_table(self.folder / "times.csv", table)
            learned = {"volume": volume, "reasons": list(review.REASONS), "decided": decided}
            write_json(self.folder / "queue.json", learned)
            write_json(
                self.folder / "session.json", {"volume": volume, "states": states, "saved": time.time()}
            )
        except UserError as error:
            self.trouble, self._changed, self._decided = str(error), True, True
            raise
        self._saved, self._version, self.trouble = self.clock(), version, ""

    @property
    def unsaved(self):
        """Whether labels or decisions are not saved yet; times do not count."""
        return self._decided or self.canvas.version != self._version

    def due(self):
        """Whether something is unsaved for so long that it must be saved now."""
        changed = self._changed or self.canvas.version != self._version
        return changed and self.clock() - self._saved >= self.every

    def autosave(self):
        """From now on, save by a thread of its own whenever it is due. Returns the session."""

        def run():
            while not self._ended.wait(min(5.0, self.every / 2)):
                if self.due():
                    try:
                        self.save()
                    except UserError:
                        self._saved = self.clock()  # it stands in `trouble`; try again later
                    except Exception as error:
                        self.trouble, self._saved = f"saving failed: {error}", self.clock()

        threading.Thread(target=run, daemon=True, name="autosave").start()
        return self

    @property
    def closed(self):
        """Whether another may have the folder now: nothing is edited or saved here any more."""
        return self._ended.is_set()

    def close(self):
        """Save, and let others open the folder. Raises UserError where that fails: it stays open then."""
        if not self.closed:
            self.save()
            self._end()
            self._lock.release()
            _OPEN.pop(self.folder)

    def _end(self):
        with self._writing:
            self._ended.set()


def _locked(folder):
    """The lock of a session's folder; it goes with the process that holds it. Raises UserError when held."""
    from filelock import FileLock, Timeout

    lock = FileLock(Path(folder) / ".session.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"the session in {folder} is open in another notebook or tab: close it there (shut its kernel "
            "down), or choose another folder"
        ) from None
    return lock
