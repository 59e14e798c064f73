"""The notebooks for students: without the folded solutions."""

import re

from cellseg_nb import runs

# With the blanks before it, so that no gap shows where it stood. Other folded texts stay.
SOLUTION = re.compile(r"\s*<details>\s*<summary>\s*Solution\b.*?</details>", re.DOTALL | re.IGNORECASE)


def without_solutions(content):
    """A notebook (its JSON as a dict) without ``<details><summary>Solution...</details>`` in its texts.

    Everything else, code and ids included, stays as it is. Returns a new dict.
    """
    return {**content, "cells": [_stripped(cell) for cell in content["cells"]]}


def student_copies(folder):
    """Copy all notebooks without their solutions into a folder. Returns the paths.

    Raises UserError as `cellseg_nb.runs.copy` does: nothing is ever written over.
    """
    return runs.copy(folder, without_solutions)


def _stripped(cell):
    if cell["cell_type"] != "markdown":
        return cell
    text = SOLUTION.sub("", "".join(cell["source"]))
    return {**cell, "source": text.splitlines(keepends=True)}
