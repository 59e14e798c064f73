"""What every notebook in the folder keeps to: one parameters cell, stripped outputs, a badge that points at
itself, short cells."""

import ast
import json
import re
from pathlib import Path

import pytest

from cellseg_nb import runs
from cellseg_nb.plots import formulas

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def notebook(request):
    return request.param, json.loads(request.param.read_text())


def code(content):
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def test_there_are_notebooks():
    assert NOTEBOOKS and NOTEBOOKS[0].stem == "00_quickstart"


def test_one_parameters_cell_of_plain_values(notebook):
    path, content = notebook
    tagged = [cell for cell in content["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1 and tagged[0]["cell_type"] == "code"
    assert "out" in runs.parameters(path)
    for line in "".join(tagged[0]["source"]).splitlines():
        assert not line.strip() or line.startswith("#") or "# @param" in line, line


def test_outputs_are_stripped(notebook):
    for cell in code(notebook[1]):
        assert cell["outputs"] == [] and cell["execution_count"] is None


def test_badge_points_at_itself(notebook):
    path, content = notebook
    first = "".join(content["cells"][0]["source"])
    links = re.findall(
        r"https://colab\.research\.google\.com/github/[\w.-]+/[\w.-]+/blob/main/(\S+?\.ipynb)", first
    )
    assert links == [f"notebooks/{path.name}"]
    assert first.startswith("# ")


def test_short_cells_and_small_file(notebook):
    path, content = notebook
    assert path.stat().st_size < 60_000
    for cell in code(content):
        if "parameters" not in cell["metadata"].get("tags", []):
            assert len("".join(cell["source"]).splitlines()) <= 15


def test_cells_are_python_and_have_ids(notebook):
    content = notebook[1]
    assert content["nbformat"] == 4 and content["nbformat_minor"] >= 5
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    for cell in code(content):
        ast.parse(re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", "".join(cell["source"])))


def test_install_cell_and_no_fixed_device(notebook):
    text = "\n".join("".join(cell["source"]) for cell in code(notebook[1]))
    assert 'find_spec("cellseg_nb")' in text
    assert "cuda:0" not in text


def test_kernel_and_exercise(notebook):
    path, content = notebook
    assert content["metadata"]["kernelspec"]["name"] == "python3"
    text = "\n".join("".join(cell["source"]) for cell in content["cells"])
    assert "<details>" in text and "What next" in text


def test_pictures_are_inside_the_text(notebook):
    """Colab shows neither attachments nor files beside the notebook; and there may be no network."""
    for cell in notebook[1]["cells"]:
        assert "attachments" not in cell
        for address in re.findall(r"!\[[^]]*\]\(([^)]+)\)", "".join(cell["source"])):
            assert address.startswith(("data:image/png;base64,", "https://colab.research.google.com/assets/"))


def test_formulas_can_be_drawn_in_a_report(notebook):
    for cell in notebook[1]["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and "$" in text:
            shown = re.sub(formulas.CODE, "", formulas.drawn(text))
            assert "$" not in shown, f"matplotlib cannot draw a formula of: {text[:60]}"
