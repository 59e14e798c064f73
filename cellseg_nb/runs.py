"""Execute a notebook with papermill: parameters checked first, a progress bar, a report, no half-written
results."""

import ast
import json
import os
import re
import sys
from pathlib import Path

from cellseg_nb.errors import UserError
from cellseg_nb.parameters import HUB_NAME


def notebooks():
    """Paths of the project's notebooks, in reading order."""
    from cellseg_nb.data.bundled import folder

    return sorted(folder("notebooks").glob("[0-9][0-9]_*.ipynb"))


def find(name):
    """The path of a notebook given by its name (with or without number or .ipynb) or its path."""
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name)
    stem = Path(name).stem
    found = [p for p in notebooks() if stem in (p.stem, p.stem[:2], p.stem[3:])]
    if not found:
        raise UserError(
            f"there is no notebook {name!r}: choose one of {', '.join(p.stem for p in notebooks())}"
        )
    return found[0]


def copy(folder, change=None):
    """Copy the notebooks into a folder; what is there already stays as it is. Returns the paths of the
    copies. ``change``, where it is given, takes a notebook (its JSON as a dict) and returns what to write.

    Raises UserError when one of them is there, changed or not, or the folder cannot be written.
    """
    from cellseg_nb.io.files import atomic, writable_folder

    copies = {path: writable_folder(absolute(folder)) / path.name for path in notebooks()}
    there = [target for target in copies.values() if target.exists()]
    if there:
        raise UserError(
            f"{there[0]} is there already: give another folder, so that your changes are not lost"
        )
    for source, target in copies.items():
        text = source.read_text(encoding="utf-8")
        if change:
            text = json.dumps(change(json.loads(text)), indent=1, ensure_ascii=False) + "\n"
        with atomic(target) as beside:
            beside.write_text(text, encoding="utf-8")
    return list(copies.values())


def describe(path):
    """Title and parameter names of a notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines = [line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"]]
    titles = [line.lstrip("# ").strip() for line in lines if line.startswith("# ")]
    return (titles or [path.stem])[0], list(parameters(path))


def parameters(path):
    """Defaults in the cell tagged ``parameters``: {name: value}."""
    # papermill.inspect_notebook gives them as text, to be read by Python's parser all the same, and takes
    # over a second to import: too long for ``cellseg-nb list``.
    tree = ast.parse(_parameters_cell(path))
    return {
        node.targets[0].id: ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)
    }


def _parameters_cell(path):
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise UserError(f"{path} has {len(tagged)} cells tagged 'parameters'; exactly one is needed")
    return "".join(tagged[0]["source"])


def path_parameters(path):
    """The parameters that are paths: {name: True where a repository on the Hub, ``owner/name``, will do as
    well}.

    The notebook marks them in its parameters cell, in one line: ``# Paths: weights (or owner/name), images,
    out``.
    """
    line = re.search(r"(?m)^# Paths: (.+)$", _parameters_cell(path))
    marked = [word.strip() for word in line[1].split(",")] if line else []
    return {word.removesuffix(" (or owner/name)"): word.endswith(" (or owner/name)") for word in marked}


def choices(path, name):
    """What the Colab form of a parameter offers, such as the names of data sets; empty where it is free
    text."""
    form = re.search(rf"(?m)^{re.escape(name)} = .*# ?@param (\[.*?\])", _parameters_cell(path))
    return ast.literal_eval(form[1]) if form else []


def absolute(text, hub=False):
    """A path that somebody typed, from where they stand, with ~ expanded.

    With ``hub``, ``owner/name`` and ``owner/name:file`` stay as they are where no such file is.
    """
    text = str(text)
    if re.match(r"[a-z][a-z0-9]+://", text, re.IGNORECASE):
        return text  # an address, of which as much is said later
    file = os.path.abspath(os.path.expanduser(text))
    return text if hub and re.fullmatch(HUB_NAME, text) and not os.path.exists(file) else file


def _listed(text, hub=False):
    """Paths and names of data sets with commas between: a bare name that is no file or folder here stays."""
    words = (word.strip() for word in str(text).split(","))
    bare = re.compile(r"\w*")
    return ", ".join(
        w if bare.fullmatch(w) and not os.path.exists(w or "nothing") else absolute(w, hub) for w in words
    )


def convert(name, text, default):
    """A parameter's text from the command line as a value of its default's type."""
    kind = type(default)
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
                text.lower()
            ]
        if kind in (int, float):
            return kind(text)
    except (KeyError, ValueError):
        words = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise UserError(f"parameter {name} must be {words}, not {text!r} (default: {default})") from None
    return text


def run(name, given=None, out=None, kernel="python3"):
    """Execute a notebook and write the executed copy and ``report.html`` beside its results.

    ``given`` maps parameter names to texts or values. Returns the output folder.
    Raises UserError for unknown or ill-typed parameters, and with the notebook's own line when its input is
    at fault.
    """
    from cellseg_nb.io.files import writable_folder

    path = find(name)
    known = parameters(path)
    given = dict(given or {})
    unknown = [n for n in given if n not in known]
    if unknown:
        raise UserError(f"{path.stem} has no parameter {unknown[0]!r}: it has {', '.join(known)}")
    values = {n: convert(n, v, known[n]) if isinstance(v, str) else v for n, v in given.items()}
    paths = path_parameters(path)
    values["out"] = out = out or values.get("out") or Path("results") / path.stem
    for key in values.keys() & paths.keys():  # a word of the form, such as a data set's name, is no path
        if values[key] and values[key] not in choices(path, key):
            values[key] = (_listed if key == "other" else absolute)(values[key], hub=paths[key])
    out = Path(values["out"])
    writable_folder(out)
    _execute(path, out, values, kernel)
    _report(out / path.name, out)
    return out


def _execute(path, out, values, kernel):
    import logging
    import shutil
    import tempfile

    import papermill
    from papermill.exceptions import PapermillExecutionError

    from cellseg_nb.io.axes import Colour, Several
    from cellseg_nb.io.files import atomic

    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ.update(CELLSEG_NB_BATCH="1", PYDEVD_DISABLE_FILE_VALIDATION="1")
    # the kernel of this environment, not of the user's home
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    with tempfile.TemporaryDirectory(prefix="cellseg-nb-") as scratch:
        executed = Path(scratch) / path.name
        try:
            papermill.execute_notebook(
                str(path),
                str(executed),
                values,
                kernel_name=kernel,
                progress_bar=True,
                cwd=str(path.parent),
                stderr_file=sys.stderr,
                **_encrypted(),
            )
        except PapermillExecutionError as error:
            if error.ename in ("UserError", Several.__name__, Colour.__name__):
                raise UserError(" ".join(error.evalue.split())) from error
            with atomic(out / f"{path.stem}.failed.ipynb") as beside:
                shutil.copy(executed, beside)
            raise UserError(
                f"{path.stem} stopped in cell {error.cell_index}: {error.ename}: "
                f"{' '.join(error.evalue.split())[:300]} (see {out / (path.stem + '.failed.ipynb')})"
            ) from error
        with atomic(out / path.name) as beside:
            shutil.copy(executed, beside)


def _encrypted():
    """What makes papermill encrypt its talk with the kernel, where Jupyter can (jupyter_client >= 8.9, libzmq
    with Curve).

    Without it, everybody with an account on the machine might listen, and ipykernel greets the user with a
    warning of that.
    """
    import zmq
    from jupyter_client import KernelManager
    from traitlets.config import Config

    if "transport_encryption" not in KernelManager.class_trait_names() or not zmq.has("curve"):
        return {}
    return {"config": Config(KernelManager={"transport_encryption": "auto"})}


def _report(notebook, out):
    """The executed notebook as one HTML page: text and pictures, without the code."""
    import nbconvert
    import nbformat
    from jupyter_core.paths import jupyter_path

    from cellseg_nb.io.files import atomic

    own = _templates(nbconvert)
    exporter = nbconvert.HTMLExporter(
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        extra_template_basedirs=own,  # where names of templates are looked for, and what they extend
        template_data_paths=[*jupyter_path("nbconvert", "templates"), *own],
    )
    exporter.embed_images = True
    content = nbformat.read(notebook, as_version=4)
    for cell in content.cells:  # progress bars and warnings are for the terminal, not for the report
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    said = _headline(out)
    if said:
        content.cells.insert(0, nbformat.v4.new_markdown_cell(f"**{said}**"))
    page, _ = exporter.from_notebook_node(content, {"metadata": {"name": notebook.stem}})
    with atomic(out / "report.html") as beside:
        beside.write_text(page, encoding="utf-8")


def _templates(nbconvert):
    """Folders of nbconvert's own templates, also where it does not look: pip install --target puts them so,
    and in layered environments (uv run --with) they belong to the environment below."""
    import importlib.metadata

    own = importlib.metadata.files("nbconvert") or []
    places = [Path(file.locate()).parents[1] for file in own if file.parts[-2:] == ("lab", "conf.json")]
    places.append(Path(nbconvert.__file__).parents[1] / "share" / "jupyter" / "nbconvert" / "templates")
    return [str(place.resolve()) for place in places if place.is_dir()]


def _headline(out):
    """What the run found in one line, as its summary has it; empty where there is none."""
    summary = Path(out) / "summary.json"
    return json.loads(summary.read_text(encoding="utf-8")).get("headline", "") if summary.is_file() else ""


def print_outcome(out):
    """What was found and where it lies, for people."""
    summary = out / "summary.json"
    if summary.is_file():
        found = json.loads(summary.read_text(encoding="utf-8"))
        for name in ("headline", "cells", "f1_at_0.5"):
            if name in found:
                print(f"{name.replace('_', ' ')}: {found[name]}")
    print(f"results in {out}:")
    for path in sorted(p for p in out.iterdir() if not p.name.startswith(".")):
        if path.is_dir():
            print(f"  {path.name}/")
        else:
            print(f"  {path.name:28s} {max(1, path.stat().st_size / 1e3):9.0f} kB")
