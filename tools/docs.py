"""`make docs`: the site in docs/_build/html, from docs/, notebooks, some texts elsewhere, and the docstrings.

python tools/docs.py [--executed results] [--out docs/_build]

A notebook that lies executed in RESULTS/NAME/NAME.ipynb, as `cellseg-nb run` leaves it, is shown with its
pictures, which are the gallery as well; the others without. The pages are put together beside: docs/ holds
what people write and no more. A warning of Sphinx is an error, and so is a link that leads nowhere.
"""

import argparse
import base64
import html
import json
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import cellseg_nb
from cellseg_nb import runs

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "https://github.com/cellseg-nb/cellseg-nb/blob/main/"
ROOMS = (
    *("io", "data", "networks", "learning", "cells", "evaluation", "viewer", "methods", "plots", "brains"),
    *("lessons", "kit"),
)
TEXTS = {
    "README.md": "readme.md",
    "benchmarks/README.md": "benchmarks.md",
    "data/README.md": "data.md",
    "CONTRIBUTING.md": "contributing.md",
}
LINK = re.compile(r"(\]\(|src=\")([^)#\":\s]+)(#[^)\"]*)?([)\"])")


def main(arguments=None):
    """Build the site. Returns the exit status: Sphinx's, or 1 where a link leads nowhere."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executed", type=Path, default=ROOT / "results", help="default: results")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "_build", help="default: docs/_build")
    options = parser.parse_args(arguments)
    source, site = options.out / "source", options.out / "html"
    for folder in (source, site):
        shutil.rmtree(folder, ignore_errors=True)
    pages(source, options.executed)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-j", "auto"]
    status = subprocess.run([*command, "-d", options.out / "doctrees", source, site]).returncode
    if status == 0:
        wrong = broken(site)
        print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
        print(site / "index.html")
        status = int(bool(wrong))
    return status


def pages(source, executed):
    """All pages as Sphinx reads them, in one folder."""
    written = [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
    shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    moved = {(ROOT / old).resolve(): source / new for old, new in TEXTS.items()}
    moved |= {path.resolve(): source / "notebooks" / path.name for path in notebooks()}
    moved |= {path.resolve(): source / path.relative_to(ROOT / "docs") for path in written}
    for path in (*(ROOT / "data" / "pictures").glob("*.png"), *(ROOT / "benchmarks").glob("*.png")):
        moved[path.resolve()] = source / "pictures" / path.name
        shutil.copy(path, source / "pictures")
    (source / "notebooks").mkdir()
    shown, seen = [], []
    for path in notebooks():
        done = executed / path.stem / path.name
        content = json.loads((done if done.is_file() else path).read_text(encoding="utf-8"))
        if done.is_file():
            shown.append(path.stem)
            seen += pictures(content, path.stem, source / "gallery")
        page = notebook(content, lambda text: relinked(text, ROOT / "notebooks", source / "notebooks", moved))
        (source / "notebooks" / path.name).write_text(json.dumps(page), encoding="utf-8")
    listed = "\n".join(
        f"{one.stem[:2]}: {runs.describe(one)[0]} <notebooks/{one.stem}>" for one in notebooks()
    )
    index = source / "index.md"
    index.write_text(index.read_text(encoding="utf-8").replace("notebooks/*", listed), encoding="utf-8")
    (source / "gallery.md").write_text("\n".join(gallery(seen)), encoding="utf-8")
    print(f"{len(shown)} of {len(notebooks())} notebooks are executed: {', '.join(shown) or 'none'}")
    for old, new in TEXTS.items():
        (source / new).write_text((ROOT / old).read_text(encoding="utf-8"), encoding="utf-8")
    for old, new in moved.items():
        if new.suffix == ".md":
            new.write_text(
                relinked(new.read_text(encoding="utf-8"), old.parent, new.parent, moved), encoding="utf-8"
            )
    api(source / "api")


def notebooks():
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def notebook(content, link):
    """A notebook as a page: progress bars and warnings left out, as in the report of `cellseg-nb run`.
    ``link`` mends the links of a text."""
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [one for one in cell["outputs"] if one.get("name") != "stderr"]
        else:
            cell["source"] = link("".join(cell["source"]))
    return content


def pictures(content, name, folder):
    """The pictures of an executed notebook, written into a folder: [(notebook, its title, heading above the
    picture, file), ...]."""
    folder.mkdir(exist_ok=True)
    found, titles = [], [name]
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            titles += re.findall(r"(?m)^#+ +(.+)", "".join(cell["source"]))
        for output in cell.get("outputs", ()):
            if coded := output.get("data", {}).get("image/png"):
                file = folder / f"{name}_{len(found) + 1:02}.png"
                file.write_bytes(base64.b64decode("".join(coded)))
                found.append((name, titles[min(1, len(titles) - 1)], titles[-1], file.name))
    return found


def gallery(seen):
    """The page of all pictures, line by line."""
    yield "# Gallery\n"
    if not seen:
        yield "No notebook was executed when these pages were built: `cellseg-nb run`, then `make docs`."
    else:
        yield "What the notebooks drew. A click opens one for your slides."
    last = None
    for name, title, heading, file in seen:
        if name != last:
            yield f"\n## [{title}](notebooks/{name}.ipynb)\n"
        last = name
        words = re.sub(r"^\d+\. |[`$\[\]{}]", "", heading)  # a number would begin a list
        options = f":alt: {words}\n:figclass: gallery\n:target: _images/{file}"
        yield f"```{{figure}} gallery/{file}\n{options}\n\n{words}\n```"


def broken(site):
    """Links and pictures of the built pages that lead to no file, or to no place in it, as lines; addresses
    elsewhere are looked at, not opened."""
    places = {}
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        places[page.resolve()] = (set(re.findall(r"\sid=\"([^\"]+)\"", text)), text)
    wrong = []
    for page, (_, text) in places.items():
        for tag, target in re.findall(r"<(a|img|link|script)\s[^>]*?(?:href|src)=\"([^\"]*)\"", text):
            parts = urlsplit(html.unescape(target))
            if target.startswith(REPOSITORY) and tag == "img":
                good = False  # that is a page about the picture
            elif parts.scheme in ("http", "https"):
                good = re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", parts.netloc)
            elif parts.scheme:
                good = parts.scheme in ("data", "mailto")
            else:
                file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
                known = places.get(file, (set(),))[0]
                good = file.exists() and (not parts.fragment or parts.fragment in known)
            if not good:
                wrong.append(f"{page.relative_to(site.resolve())}: {target[:100]} leads nowhere")
    return wrong


def relinked(text, old, new, moved):
    """A text whose links lead to the pages of the site, or, where a file is no page, to the repository."""

    def link(found):
        before, target, anchor, end = found[1], found[2], found[3] or "", found[4]
        file = (old / target).resolve()
        if file in moved:
            steps = len(new.relative_to(common(new, moved[file])).parts) * "../"
            return f"{before}{steps}{moved[file].relative_to(common(new, moved[file]))}{anchor}{end}"
        if file.is_relative_to(ROOT / "docs") or not file.exists():
            return found[0]
        return f"{before}{REPOSITORY}{file.relative_to(ROOT)}{anchor}{end}"

    return LINK.sub(link, text)


def common(folder, file):
    """The nearest folder that holds both."""
    return next(parent for parent in (folder, *folder.parents) if file.is_relative_to(parent))


def api(folder):
    """One page a room of the package, its modules' docstrings by autodoc."""
    folder.mkdir()
    modules = {room: [] for room in ROOMS}
    for module in pkgutil.walk_packages(cellseg_nb.__path__, "cellseg_nb."):
        room = module.name.split(".")[1]
        if room in modules and "bundle" not in module.name:
            modules[room].append(module.name)
    for room, names in modules.items():
        parts = [f"# {room}\n"]
        for name in names:
            title = f"## {name.removeprefix('cellseg_nb.')}\n\n" if name.count(".") > 1 else ""
            parts.append(f"{title}```{{eval-rst}}\n.. automodule:: {name}\n```\n")
        (folder / f"{room}.md").write_text("\n".join(parts), encoding="utf-8")
    listed = "\n".join(ROOMS)
    text = f"# The package\n\nWhat each room holds.\n\n```{{toctree}}\n:maxdepth: 2\n\n{listed}\n```\n"
    (folder / "index.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
