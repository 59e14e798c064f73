"""Notebooks executed by papermill as users do, and what every run must leave."""

import ast
import contextlib
import importlib.util
import json
import re
import tarfile
from pathlib import Path

from cellseg_nb import runs

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"


def loaded(path):
    """A script of the project as a module, by its path from the root: ``tools`` and ``benchmarks`` are no
    packages."""
    spec = importlib.util.spec_from_file_location(path.replace("/", "_").removesuffix(".py"), ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def executed(name, out, pictures=3, **given):
    """Run a notebook; check its report; return the folder and its summary."""
    out = runs.run(name, {key: str(value) for key, value in given.items()}, out)
    report = (out / "report.html").read_text()
    assert "Traceback" not in report and report.count("data:image/png;base64") >= pictures
    notebook = json.loads((out / f"{name}.ipynb").read_text())
    shown = "".join(str(cell.get("outputs", "")) for cell in notebook["cells"])
    warned = re.search(r"FutureWarning|RuntimeWarning|UserWarning: (?!The given NumPy)", shown)
    assert not warned, "a warning that users would see"
    return out, json.loads((out / "summary.json").read_text())


@contextlib.contextmanager
def released(folder, monkeypatch, name="wnet3d"):
    """The released WNet3D as the Hub would send it, with other numbers in it, from a server of one's own."""
    import torch
    from servers import Server

    from cellseg_nb.methods import weights
    from cellseg_nb.networks.wnet3d import WNet3D

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    with tarfile.open(folder / "w.tar.gz", "w:gz") as archive:
        torch.save(WNet3D().state_dict(), folder / "wnet.pth")
        archive.add(folder / "wnet.pth", "wnet.pth")
    with Server() as server:
        server.hub(weights.REPO, {weights.RELEASED[name]: (folder / "w.tar.gz").read_bytes()})
        monkeypatch.setenv("CELLSEG_NB_HUB_URL", server.url)
        yield server


SHRUNK = {"cube", "patch", "bsize", "window", "steps", "slices", "epochs"}  # and nothing else, in a test


def as_published(used, method, notebook):
    """The settings that a run of the profile paper has used are those of ``data/settings.csv``, but for what
    was shrunk; returns how many were compared."""
    import pandas

    table = pandas.read_csv(ROOT / "data" / "settings.csv", keep_default_na=False)
    rows = table[(table.method == method) & table.notebook.isin(["methods", notebook[:2]])]
    own = {row.setting: json.loads(row.paper) for row in rows.itertuples()}  # a notebook's row comes last
    compared = [name for name in own if name in used and name not in SHRUNK]
    for name in compared:
        assert json.loads(json.dumps(used[name])) == own[name], (method, name)
    return len(compared)


def defined(notebook, name, **given):
    """A function as a cell of a notebook defines it, with the names ``given`` in place of the notebook's."""
    for cell in json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        for node in ast.parse(re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", "".join(cell["source"]))).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                exec(compile(ast.Module([node], []), notebook, "exec"), given)
                return given[name]
    raise AssertionError(f"{notebook} defines no {name}")
