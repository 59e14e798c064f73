"""The site: every page is reached, every module has its docstrings there, it builds without a warning."""

import re
from pathlib import Path

import executing
import pytest

from cellseg_nb import runs

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)


@pytest.fixture(scope="module")
def docs():
    return executing.loaded("tools/docs.py")


def test_every_page_is_in_the_contents(docs):
    blocks = re.findall(r"(?s)```\{toctree\}(.*?)```", (ROOT / "docs" / "index.md").read_text())
    listed = {line.strip("<>") for block in blocks for line in block.split() if not line.startswith(":")}
    written = {str(path.relative_to(ROOT / "docs").with_suffix("")) for path in PAGES} - {"index"} | {
        "gallery"
    }
    assert written <= listed and {Path(page).stem for page in docs.TEXTS.values()} <= listed


def test_which_notebook_names_each_in_picture_and_table():
    picture = (ROOT / "docs" / "pictures" / "which_notebook.svg").read_text()
    table = (ROOT / "docs" / "which_notebook.md").read_text()
    for path in runs.notebooks():
        assert path.stem in picture, f"{path.stem} is not in docs/pictures/which_notebook.svg"
        assert path.stem in table, f"{path.stem} is not in docs/which_notebook.md"


def test_links_lead_to_pages_or_to_the_repository(docs, tmp_path):
    moved = {ROOT / "data" / "README.md": tmp_path / "data.md"}
    text = "[a](../../data/README.md#cellseg3d) [b](../../Makefile) [c](https://x.org) [d](one_hour.md)"
    said = docs.relinked(text, ROOT / "docs" / "teaching", tmp_path / "teaching", moved)
    assert "[a](../data.md#cellseg3d)" in said and f"[b]({docs.REPOSITORY}Makefile)" in said
    assert "[c](https://x.org)" in said and "[d](one_hour.md)" in said


def test_the_rooms_of_the_package_all_have_a_page(docs):
    rooms = {path.parent.name for path in (ROOT / "cellseg_nb").glob("*/__init__.py")}
    assert rooms - {"bundle"} == set(docs.ROOMS)


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def test_pictures_of_executed_notebooks_are_the_gallery(docs, tmp_path):
    drawn = {"cell_type": "code", "source": [], "outputs": [{"data": {"image/png": PIXEL}}] * 2}
    texts = [{"cell_type": "markdown", "source": [words]} for words in ("# Cells", "## 3. `x`")]
    seen = docs.pictures({"cells": [texts[0], drawn, texts[1], drawn]}, "00_a", tmp_path / "gallery")
    assert [one[2] for one in seen] == ["Cells", "Cells", "3. `x`", "3. `x`"]
    page = "\n".join(docs.gallery(seen))
    assert page.count("[Cells](notebooks/00_a.ipynb)") == 1 and page.count(":alt: x") == 2
    assert all((tmp_path / "gallery" / one[3]).read_bytes()[:4] == b"\x89PNG" for one in seen)
    assert "No notebook was executed" in "\n".join(docs.gallery([]))


def test_pages_as_sphinx_gets_them(docs, tmp_path):
    docs.pages(tmp_path / "source", tmp_path / "none")
    made = {str(path.relative_to(tmp_path / "source")) for path in (tmp_path / "source").rglob("*.md")}
    assert {"index.md", "readme.md", "gallery.md", "api/kit.md", "teaching/one_hour.md"} <= made
    index = (tmp_path / "source" / "index.md").read_text()
    assert "00: Your volume in, its cells out <notebooks/00_quickstart>" in index
    for page in (tmp_path / "source").rglob("*.md"):  # pictures lie beside, not in the repository's pages
        assert not re.search(r"!\[[^]]*\]\(https://github.com", page.read_text()), page


def test_links_that_lead_nowhere_are_found(docs, tmp_path):
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="b.html#x">b</a><a href="b.html#y">no</a><a href="#top">a</a>'
        '<img src="c.png">'
        '<a href="https://x.org/a">x</a><a href="http:///a">no</a><a href="javascript:x">no</a>'
    )
    (tmp_path / "b.html").write_text('<p id="x"></p>')
    wrong = docs.broken(tmp_path)
    assert [line.split()[1] for line in wrong] == ["b.html#y", "c.png", "http:///a", "javascript:x"]


@pytest.mark.slow
def test_it_builds_without_a_warning(docs, tmp_path):
    for library in ("sphinx", "myst_nb", "furo", "sphinx_copybutton"):
        pytest.importorskip(library, reason="make docs installs it")
    assert docs.main(["--executed", str(tmp_path / "none"), "--out", str(tmp_path)]) == 0
    built = tmp_path / "html"
    assert all((built / "notebooks" / f"{path.stem}.html").is_file() for path in runs.notebooks())
    assert "voronoi_otsu" in (built / "api" / "cells.html").read_text()
