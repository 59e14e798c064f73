"""The one error a user is meant to read: what is wrong, in which file, what to do."""


class UserError(ValueError):
    """Bad input or a full disk, told in one line. The command line and notebooks show it without a
    traceback."""

    def _render_traceback_(self):
        """What IPython shows below a cell: a list of lines."""
        return [f"{type(self).__name__}: {self}"]
