"""Silence for libraries that print a line, or draw a bar, for every small step."""

import contextlib
import io


@contextlib.contextmanager
def quiet():
    """Nothing that Python code prints within is shown; what compiled code writes is left alone."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
