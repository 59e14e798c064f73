"""No text claims a panel of the paper that no cell draws: the table of docs/reproduce.md, the tagged
cells, and the claims.

A code cell that draws a panel has the tag ``panel-1b`` (and so on).
"""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = {path.stem[:2]: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
README = (ROOT / "README.md").read_text(encoding="utf-8")
PANELS = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
CLAIM = re.compile(r"(?:Suppl\. )?Figs?\. ((?:S?\d)[a-h](?:(?:-|, ?|,? and )(?:S?\d)?[a-h](?![a-z]))*)")


def panels(text):
    """The panels that a claim names: "1b and c" is 1b and 1c, "2b-d" is 2b, 2c and 2d."""
    found, figure, last = [], "", ""
    for sign, number, letter in re.findall(r"(-|, ?|,? and |^)(S?\d)?([a-h])(?![a-z])", text):
        figure = number or figure
        between = range(ord(last) + 1, ord(letter)) if sign == "-" else ()
        found += [f"{figure}{chr(one)}" for one in between] + [f"{figure}{letter}"]
        last = letter
    return found


def drawn():
    """{panel: the notebooks in which a code cell is tagged with it}."""
    found = {}
    for number, path in NOTEBOOKS.items():
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for tag in cell["metadata"].get("tags", []):
                if tag.startswith("panel-"):
                    assert cell["cell_type"] == "code", (number, cell["id"])
                    found.setdefault(tag.removeprefix("panel-"), set()).add(number)
    return found


DRAWN = drawn()


def listed():
    table = PANELS.split("## The paper, panel by panel")[1].split("\n## ")[0]
    rows = [row.split("|")[1:3] for row in table.splitlines() if re.match(r"\| S?\d[a-h]", row)]
    return {panel: number.strip() for names, number in rows for panel in panels(names.strip())}


@pytest.mark.parametrize("text", ["1b and c", "1b, c", "2b-d", "S1a and S1d", "1e,f", "2b and 2d"])
def test_claims_are_read(text):
    expected = {"1b and c": "1b 1c", "1b, c": "1b 1c", "2b-d": "2b 2c 2d", "S1a and S1d": "S1a S1d"}
    assert panels(text) == (expected | {"1e,f": "1e 1f", "2b and 2d": "2b 2d"})[text].split()
    assert CLAIM.findall(f"as in Fig. {text} of it")[0] == text


def test_each_panel_of_the_table_is_drawn_where_it_says():
    table = listed()
    assert len(table) >= 17
    for panel, number in table.items():
        assert number in DRAWN.get(panel, ()), f"docs/reproduce.md says that notebook {number} draws {panel}"
    assert set(DRAWN) == set(table)  # and what is drawn is listed


@pytest.mark.parametrize(
    "path",
    [*map(ROOT.joinpath, ("README.md", "docs/reproduce.md", "data/README.md")), *NOTEBOOKS.values()],
    ids=str,
)
def test_no_panel_is_claimed_that_no_cell_draws(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    for claim in CLAIM.findall(text):
        for panel in panels(claim):
            assert panel in DRAWN, f"{path.name}: Fig. {claim}"


def test_the_notebooks_of_the_readme_draw_what_their_row_says():
    for number, claim in re.findall(r"notebooks/(\d\d)_\w+\.ipynb\)(?:[^|]*\|){2} ([^|]+) \|", README):
        for panel in panels(re.sub(r"Fig\. ", "", claim)) if re.match(r"(Fig\. )?S?\d[a-h]", claim) else ():
            assert number in DRAWN.get(panel, ()), f"README: notebook {number} and {panel}"
