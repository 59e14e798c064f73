"""Manners for libraries: silence for those that print a line, or draw a bar, for every small step, and Ctrl-C
given back by those that take it."""

import contextlib
import ctypes
import io
import signal


@contextlib.contextmanager
def quiet():
    """Nothing that Python code prints within is shown; what compiled code writes is left alone."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def interruptible():
    """Ctrl-C, and Jupyter's stop, do afterwards what they did before. Compiled code may install a handler of
    its own, of which Python's `signal` knows nothing (StarDist's stardist3d, with each call)."""
    taken, give = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    taken.restype = give.restype = ctypes.c_void_p
    taken.argtypes, give.argtypes = [ctypes.c_int], [ctypes.c_int, ctypes.c_void_p]
    before = taken(signal.SIGINT)
    try:
        yield
    finally:
        give(signal.SIGINT, before)
