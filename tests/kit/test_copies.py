"""Student copies: no solution is left, nothing else is lost."""

import json
import subprocess
import sys

import pytest

from cellseg_nb import runs
from cellseg_nb.kit import copies


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def text(cell):
    return "".join(cell["source"])


@pytest.mark.parametrize("path", runs.notebooks(), ids=lambda path: path.stem)
def test_only_solutions_go(path):
    before = read(path)
    after = copies.without_solutions(before)
    assert before == read(path)  # the notebook itself is untouched
    assert {**after, "cells": 0} == {**before, "cells": 0}
    changed = 0
    for old, new in zip(before["cells"], after["cells"], strict=True):
        assert {**old, "source": 0} == {**new, "source": 0}
        if text(old) == text(new):
            assert "<details>" not in text(new)
            continue
        changed += 1
        # what is left is what stood outside of the folded parts, in its order
        outside = [part.partition("</details>") for part in text(old).split("<details>")]
        kept = outside[0][0] + "".join(rest for _, _, rest in outside[1:])
        assert text(new).split() == kept.split()
        assert "Solution" not in text(new) and "details" not in text(new)
    assert changed, "every notebook has an exercise"


def test_a_fold_that_is_no_solution_stays():
    folded = "Why?\n\n<details><summary>A longer proof</summary>\n\nSo.\n\n</details>\n"
    both = folded + "\n<details><summary>Solution</summary>\n\n42\n\n</details>\n\n## What next\n"
    cells = [{"cell_type": "markdown", "source": [both]}, {"cell_type": "code", "source": "'<details>'"}]
    after = copies.without_solutions({"cells": cells})["cells"]
    assert text(after[0]) == folded.rstrip() + "\n\n## What next\n" and after[1] == cells[1]


def test_one_command_makes_them_and_overwrites_nothing(tmp_path):
    command = [sys.executable, "-m", "cellseg_nb", "copy", "--students", "mine"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    made = sorted((tmp_path / "mine").iterdir())
    assert [path.name for path in made] == [path.name for path in runs.notebooks()]
    assert not any("Solution" in path.read_text(encoding="utf-8") for path in made)
    assert [runs.parameters(path) for path in made] == [runs.parameters(path) for path in runs.notebooks()]
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 1 and "there already" in again.stderr
