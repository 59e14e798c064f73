"""The one error a user is meant to read: what is wrong, in which file, what to do."""


class UserError(ValueError):
    """Bad input or a full disk, told in one line. The command line prints it without a traceback."""
