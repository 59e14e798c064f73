"""The solutions of the exercises, run where they stand: behind the cells of their notebook, all shrunk.

A solution is a ```python block within <details> of a text. It may use what the notebook has made up to there.
"""

import json
import re
import textwrap

import pytest

from cellseg_nb import runs

pytestmark = [pytest.mark.notebook, pytest.mark.slow]
SHRINK = "cube=16,steps=1,epochs=1"  # of every training, see `cellseg_nb.methods.settings.shrunk`
GIVEN = {  # {notebook: parameters that make it short}
    "05_cellpose_stardist": {"methods": "otsu"},
    "06_label_efficiency": {"methods": "otsu", "processes": "1"},
    "09_whole_brain": {"side": "96", "chunk": "48", "workers": "1"},
}


def solutions(text):
    """The code of the solutions in a text."""
    details = "".join(re.findall(r"(?s)<details>(.*?)</details>", text))
    return [textwrap.dedent(block) for block in re.findall(r"(?s)```python\n(.*?)```", details)]


def source(cell):
    return "".join(cell["source"])


def code(number, text):
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": f"solution-{number}",
        "metadata": {},
        "outputs": [],
        "source": text,
    }


def solved(path):
    """The notebook with each solution as a cell behind its text, up to the last one; None without any."""
    content, cells = json.loads(path.read_text(encoding="utf-8")), []
    for cell in content["cells"]:
        cells.append(cell)
        if cell["cell_type"] == "markdown":
            cells += [code(n, text) for n, text in enumerate(solutions(source(cell)), len(cells))]
    last = max((n for n, cell in enumerate(cells) if cell["id"].startswith("solution")), default=-1)
    return {**content, "cells": cells[: last + 1]} if last >= 0 else None


@pytest.mark.parametrize("path", [p for p in runs.notebooks() if solved(p)], ids=lambda p: p.stem)
def test_solutions_run(path, tmp_path, monkeypatch):
    monkeypatch.setenv("CELLSEG_NB_SHRINK", SHRINK)
    copy = tmp_path / path.name
    copy.write_text(json.dumps(solved(path)), encoding="utf-8")
    out = runs.run(str(copy), GIVEN.get(path.stem, {}), tmp_path / "out")
    executed = json.loads((out / path.name).read_text(encoding="utf-8"))["cells"]
    ran = [cell for cell in executed if cell["id"].startswith("solution")]
    assert ran and all(cell["execution_count"] for cell in ran)
