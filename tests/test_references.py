"""No dead ends: every notebook, section, module, file, figure, link and command that a text names exists.

Web links are checked by their form only; nothing is asked of a network.
"""

import ast
import functools
import importlib
import json
import pkgutil
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import cellseg_nb
from cellseg_nb import cli, runs

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
OURS = re.compile(r"github(?:\.com)?/cellseg-nb/cellseg-nb/(?:blob|tree|raw)/main/([^\s)#?\"']+)")
FENCE = re.compile(r"^( *)```[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FOLDERS = "cellseg_nb notebooks data tests benchmarks tools colab docs rooms .github".split()


def ours(pattern):
    """Files of the project: at the top and in its own folders, not in environments built there."""
    found = [*ROOT.glob(pattern), *(path for folder in FOLDERS for path in (ROOT / folder).rglob(pattern))]
    return sorted(path for path in found if "site-packages" not in path.parts)


def cells(path, kind):
    content = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in content if cell["cell_type"] == kind]


@functools.cache
def markdown(path):
    """What a text says in Markdown, pictures within it left out."""
    text = (
        "\n\n".join(cells(path, "markdown")) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    )
    return re.sub(r"data:image/\w+;base64,[\w+/=]+", "data:", text)


def whole(path):
    """All of a text that readers may see: of a notebook its code as well, of a module everything."""
    code = "\n\n".join(cells(path, "code")) if path.suffix == ".ipynb" else ""
    return f"{markdown(path)}\n\n{code}"


def name(path):
    return str(path.relative_to(ROOT))


TEXTS = [*ours("*.md"), *NOTEBOOKS.values()]
MODULES = sorted((ROOT / "cellseg_nb").rglob("*.py"))
OTHERS = [
    ROOT / "Makefile",
    ROOT / "pyproject.toml",
    ROOT / "CITATION.cff",
    *sorted((ROOT / ".github").rglob("*.yml")),
]
in_texts = pytest.mark.parametrize("path", TEXTS, ids=name)
everywhere = pytest.mark.parametrize("path", [*TEXTS, *MODULES, *OTHERS], ids=name)


def has_section(path, number):
    return any(heading.startswith(f"{number}. ") for heading in headings(path))


def headings(path):
    return re.findall(r"^#{1,6} +(.+?) *#*$", FENCE.sub("", markdown(path)), re.MULTILINE)


def anchors(path):
    """What may stand behind # in a link to this text, as GitHub makes it from the headings."""
    words = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings(path)]
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in words}


def links(path):
    text = CODE.sub("", FENCE.sub("", markdown(path)))
    inline = re.findall(r"\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)", text)
    below = re.findall(r"^\[[^]]+\]: *(\S+)", text, re.MULTILINE)
    return inline + below + re.findall(r"(?:href|src)=[\"']([^\"']+)[\"']", text)


@in_texts
def test_links_and_figures_lead_to_files_and_headings(path):
    for link in links(path):
        if re.match(r"https?:|data:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / unquote(target)).resolve() if target else path
        assert file.exists(), f"{name(path)}: {link} leads nowhere"
        assert not anchor or anchor in anchors(file), f"{name(path)}: {link}: no such heading"


@everywhere
def test_web_links_are_well_formed(path):
    for link in re.findall(r"https?://[^\s\"'`<>\\]*", whole(path)):
        link = link.rstrip(".,;:!?)]*")
        parts = urlsplit(link)
        if "{" in link or link in ("http://", "https://") or parts.hostname in ("localhost", "127.0.0.1"):
            continue  # put together by the program, or an example of a class server
        assert parts.hostname and re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.hostname), f"{name(path)}: {link}"
        assert link.count("(") == link.count(")") and ".." not in parts.path, f"{name(path)}: {link}"


@everywhere
def test_links_to_our_own_repository_lead_to_files(path):
    for file in OURS.findall(whole(path)):
        assert (ROOT / file).exists(), f"{name(path)}: {file} is not in the repository"


@everywhere
def test_notebooks_named_exist(path):
    text = whole(path)
    for found in re.findall(r"(?<![\w.])\d\d_[a-z]\w*", text):
        assert found in NOTEBOOKS, f"{name(path)} names {found}, which does not exist"
    known = {stem[:2] for stem in NOTEBOOKS}
    for group in re.findall(r"[Nn]otebooks? (\d\d(?:(?:, (?:and )?| and | or | to )\d\d)*)\b", text):
        for number in re.findall(r"\d\d", group):
            assert number in known, f"{name(path)} names notebook {number}, which does not exist"


@in_texts
def test_sections_named_exist(path):
    text = markdown(path)
    for number, section in re.findall(r"[Nn]otebook (\d\d), section (\d+)", text):
        other = next(p for stem, p in NOTEBOOKS.items() if stem[:2] == number)
        assert has_section(other, section), f"{name(path)}: notebook {number}, section {section}"
    for section in re.findall(r"(?<!\d, )sections? (\d+)", text):
        assert has_section(path, section), f"{name(path)}: section {section}"


@functools.cache
def by_last_name():
    """{last part of a module's name: the modules of that name}, in whichever room they are."""
    found = {}
    for module in pkgutil.walk_packages(cellseg_nb.__path__, "cellseg_nb."):
        if not module.name.endswith("__main__"):
            found.setdefault(module.name.rpartition(".")[2], []).append(module.name)
    return found


def resolves(dotted):
    """Whether a dotted name is a module, or something in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@everywhere
def test_names_in_the_package_exist(path):
    for dotted in set(re.findall(r"(?<![\w/.-])cellseg_nb(?:\.[A-Za-z_]\w*)+", whole(path))):
        assert resolves(dotted), f"{name(path)} names {dotted}, which does not exist"


@in_texts
def test_short_names_in_code_exist(path):
    """``metrics.match`` in a text is something in a module called metrics."""
    for code in CODE.findall(FENCE.sub("", markdown(path))):
        found = re.match(r"([a-z_]\w*)\.([A-Za-z_]\w*)(?=$|[(.\s])", code)
        if found and found[2] not in "pt json csv tif png py md toml ome xml parquet".split():
            modules = by_last_name().get(found[1], [])
            there = [resolves(f"{module}.{found[2]}") for module in modules]
            assert any(there) or not modules, f"{name(path)} names {code}"


@pytest.mark.parametrize("path", NOTEBOOKS.values(), ids=name)
def test_imports_of_notebooks_exist(path):
    for cell in cells(path, "code"):
        for node in ast.walk(ast.parse(re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", cell))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("cellseg_nb"):
                for alias in node.names:
                    dotted = f"{node.module}.{alias.name}"
                    assert resolves(dotted), f"{name(path)} imports {dotted}"


def test_modules_in_the_readme_exist():
    tables = re.findall(r"\| (?:module|room)s? .*\n\|[-| ]+\n((?:\|.*\n)+)", markdown(ROOT / "README.md"))
    rows = [row for table in tables for row in table.splitlines()]
    assert rows
    for token in [token for row in rows for token in CODE.findall(row.split("|")[1])]:
        dotted = "cellseg_nb." + token.strip("/").replace("/", ".")
        assert resolves(dotted), f"README.md names the module {token}"


@in_texts
def test_files_named_exist(path):
    for code in CODE.findall(FENCE.sub("", markdown(path))):
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", code) and "NAME" not in code:
            first, slash, _ = code.partition("/")
            own = slash and first in FOLDERS and not (path.suffix == ".ipynb" and code.endswith("/"))
            if own or re.fullmatch(r"[A-Za-z_-]+\.(md|toml|cff|yml)|Makefile", code):
                assert (ROOT / code).exists() or (path.parent / code).exists(), f"{name(path)} names {code}"


def pieces_of_code(path):
    """Lines that a reader may type: in fences, between backquotes, and in strings of the program."""
    if path.suffix == ".py":
        return re.findall(r"(?:`|clone: )((?:make|cellseg-nb) [^\n\"']+)", path.read_text(encoding="utf-8"))
    text = markdown(path)
    return [line.strip() for block in FENCE.findall(text) for line in block[1].splitlines()] + CODE.findall(
        text
    )


@functools.cache
def targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][\w-]*)(?: [\w-]+)*:(?!=)", makefile, re.MULTILINE))


@pytest.mark.parametrize("path", [*TEXTS, *MODULES], ids=name)
def test_commands_named_exist(path, capsys):
    for line in pieces_of_code(path):
        for target in re.findall(r"(?:^|[;&] ?)make ([a-z][\w-]*)", line):
            assert target in targets(), f"{name(path)}: make {target}"
        for command, rest in re.findall(r"(?:^|[!/ ])cellseg-nb ([a-z]+)\b(.*)", line):
            with pytest.raises(SystemExit) as end:
                cli.main([command, "--help"])
            assert end.value.code == 0, f"{name(path)}: cellseg-nb {command}"
            notebook = re.match(r" (\d\d\w+)", rest)
            if command == "run" and notebook:
                known = runs.parameters(NOTEBOOKS[notebook[1]])
                for parameter in re.findall(r"-p (\w+)", rest):
                    assert parameter in known, f"{name(path)}: {notebook[1]} has no parameter {parameter}"
