"""Formulas as pictures, and the report they stand in: nothing of it comes from a network."""

import re

import nbformat

from cellseg_nb import runs
from cellseg_nb.plots import formulas


def test_formulas_become_pictures_and_all_else_stays():
    said = formulas.drawn("with $\\sigma_I = 1$ and\n\n$$w = \\frac{a}{b}$$\n\n`$x$` costs 5$ or $6")
    assert len(re.findall(r'<img src="data:image/svg\+xml;base64,[\w+/=]+" alt="[^"]+" style=', said)) == 2
    assert 'alt="\\sigma_I = 1"' in said and said.endswith("`$x$` costs 5$ or $6")
    for text in ("```\n$x$\n```", "$\\nonsense{x}$", "no formula"):
        assert formulas.drawn(text) == text


def test_shell_text_and_prices_are_no_formulas():
    shell = "echo $A $B$"
    for code in (f"`{shell}`", f"``{shell} ` ``", f"```bash\n{shell}\n```", f"~~~\n{shell}\n~~~"):
        said = formulas.drawn(f"{code}\n\nthen $x$, 5` and\n\n$y$ by 6`")
        assert said.count("<img") == 2 and said.startswith(code)
    assert formulas.drawn(f"```\n{shell}") == f"```\n{shell}"  # never closed
    assert formulas.drawn(f"```{shell}``` and $x$").count("<img") == 1  # no fence
    prices = "$5 and $6", "$5-$6", "US$5, A$6", "$ a$", "$a $"
    for text in (*prices, "$PATH:$HOME", "A=$B$C", "kill $$\n\necho $$"):
        assert formulas.drawn(text) == text


def test_a_report_asks_no_network_and_folds_solutions(tmp_path):
    badge = "[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://x.org)"
    text = "An exercise.\n\n<details><summary>Solution</summary>\n\nThe answer is $d_i$.\n</details>"
    cells = [nbformat.v4.new_markdown_cell(words) for words in (f"# Title\n\n{badge}", text)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    runs._report(tmp_path / "a.ipynb", tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'src="(?!data:)[^"]+', page) and "Title" in page
    folded = page[page.index("<summary>") : page.index("</details>")]
    assert "The answer is" in folded and 'alt="d_i"' in folded
