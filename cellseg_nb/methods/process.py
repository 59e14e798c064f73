"""An object in a process of its own, for a library that shares badly what this process uses (a GPU's memory),
and gives nothing back before its process ends.

A Python started anew, not a copy of this one: so it is the same on every system, in notebooks and in scripts
without ``if __name__ == "__main__"``. Requests and replies are pickles in pipes, between us alone.
"""

import contextlib
import functools
import importlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import weakref

from cellseg_nb.errors import UserError

# The other side finds modules where this one does, before it looks for the first.
CODE = (
    "import os, sys; sys.path[:] = sys.argv.pop().split(os.pathsep); "
    "from cellseg_nb.methods import process; process.serve()"
)
WAIT = 0.2  # seconds: Windows tells nobody of Ctrl-C who waits without an end


class Process:
    """What derives from it asks an object of the class ``target`` ("module:Class"), made of `made_of` in a
    process of its own. That starts with the first `call`, and anew with the next one where it has ended. It
    ends with `end`, with this object, and with this process, however that ends.
    """

    target = None
    title = None  # what works there, for people
    remedy = None  # what they can do where its memory is short
    _end = None

    def __init__(self):
        self._lock = threading.RLock()

    def made_of(self):
        """The arguments of the class there."""
        return ()

    def call(self, function, *arguments, heard=None):
        """What a method of the object returns. What it tells meanwhile (`tell`) goes to ``heard``, whose
        answer goes back. Whatever is raised here, Ctrl-C too, ends the process.

        Raises UserError as the method does, where memory is short there, and where the process dies;
        RuntimeError, with the traceback, for all else that is raised there.
        """
        with self._lock:
            if self._end is None or not self._end.alive or self._running.poll() is not None:
                self._start()
            return self._ask(function, arguments, heard)

    def end(self):
        """End the process, if there is one."""
        if self._end:
            self._end()

    def _start(self):
        self.end()
        self._said, self._replies = tempfile.TemporaryFile(), queue.Queue()
        path = os.pathsep.join(part for part in sys.path if isinstance(part, str))
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said)
        self._running = subprocess.Popen([sys.executable, "-c", CODE, path], **pipes)
        self._end = weakref.finalize(self, _ended, self._running)
        _listen(self._running.stdout, self._replies, functools.partial(self._replies.put, None))
        try:
            self._ask(self.target, self.made_of())
        except BaseException:
            self.end()
            raise

    def _ask(self, function, arguments, heard=None):
        try:
            self._send(function, arguments)
            while (reply := self._reply())[0] == "told":
                self._send(None, heard(reply[1]))
        except BaseException:  # the other side is in the midst of it
            self.end()
            raise
        kind, value = reply
        if kind == "short":
            raise UserError(f"{self.title} has too little memory ({value}): {self.remedy}")
        if kind == "raised":
            raise value
        return value

    def _send(self, *message):
        try:
            _write(self._running.stdin, message)
        except (OSError, ValueError):  # its end is closed, or ours
            raise self._died() from None

    def _reply(self):
        while True:
            with contextlib.suppress(queue.Empty):
                reply = self._replies.get(timeout=WAIT)
                if reply is None:
                    raise self._died()
                return reply

    def _died(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._running.wait(5)
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").split("\n")
        last = next((f", last line: {line.strip()[:200]}" for line in lines[::-1] if line.strip()), "")
        return UserError(
            f"{self.title} runs in a process of its own, which ended before it was done (status "
            f"{self._running.returncode}{last}). Most likely memory was short: {self.remedy}"
        )


def _ended(running):
    running.kill()
    running.wait()
    with contextlib.suppress(OSError):  # there may be words left that it has not read
        running.stdin.close()


def _write(stream, message):
    pickle.dump(message, stream, protocol=5)
    stream.flush()


def _listen(stream, messages, ended):
    """Put all that comes from a stream into a queue, and call ``ended`` at its end; in a thread."""

    def listen():
        with stream, contextlib.suppress(Exception):  # pickle raises many kinds where it is cut short
            while True:
                messages.put(pickle.load(stream))
        ended()

    threading.Thread(target=listen, daemon=True).start()


# ------------------------------------------------------------ the other side

_made, _requests, _replies = None, queue.Queue(), None


def serve():
    """Make the object that is asked for first, then do what is asked, until the pipe closes."""
    global _replies
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both: the one who waits decides
    asked, _replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)  # on Windows some wait for who reads there
    os.dup2(nothing, 1)  # what libraries print must not get into the pipe
    _listen(asked, _requests, lambda: os._exit(0))
    while True:
        _work(*_requests.get())


def tell(message):
    """Tell the process that waits something, from within what it has asked for. Returns its answer."""
    _write(_replies, ("told", message))
    while True:
        function, arguments = _requests.get()
        if function is None:
            return arguments
        _work(function, arguments)  # it asks for more before it answers


def _work(function, arguments):
    """Do what is asked, and reply."""
    global _made
    try:
        if _made is None:
            module, _, name = function.partition(":")
            _made, value = getattr(importlib.import_module(module), name)(*arguments), None
        else:
            value = getattr(_made, function)(*arguments)
        reply = "returned", value
    except UserError as error:
        reply = "raised", UserError(str(error))
    except Exception as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's
            reply = "short", str(error).split("\n")[0][:200]
        else:
            reply = "raised", RuntimeError(f"in a process of its own:\n{traceback.format_exc()}")
    _write(_replies, reply)
