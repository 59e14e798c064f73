"""How bad input is told: one line, with what is wrong, where, and what to do."""

import re

import pytest

from cellseg_nb.errors import UserError


def refused(call, *words, path=""):
    """The call raises UserError with one line that holds the words and the name of the file. It says "what is
    wrong: what to do", or "what it must be, not what it is". Returns the line."""
    with pytest.raises(UserError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line and re.search(": |[,;] not ", line), line
    for word in (path, *words):
        assert str(word) in line, line
    return line
