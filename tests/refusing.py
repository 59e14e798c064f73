"""How bad input is told: one line, with what is wrong, where, and what to do."""

import pytest

from cellseg_nb.errors import UserError


def refused(call, *words, path=""):
    """The call raises UserError with one line that holds the words and the name of the file, and a colon
    before what is wrong or what to do. Returns the line."""
    with pytest.raises(UserError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line and ": " in line, line
    for word in (path, *words):
        assert str(word) in line, line
    return line
