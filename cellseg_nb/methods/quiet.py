"""Silence for libraries that print a line, or draw a bar, for every small step."""

import contextlib
import io
import os


@contextlib.contextmanager
def quiet():
    """Nothing that Python code prints is shown."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def mute():
    """What compiled code writes past Python: geometry warnings on every odd shape, notes of TensorFlow's
    start."""
    try:
        kept = os.dup(2)
    except OSError:  # no such output here
        yield
        return
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(silent)
