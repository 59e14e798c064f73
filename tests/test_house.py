"""How the package is built: imports point down, never in a circle; modules are short; few things load."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cellseg_nb"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FLOORS = [
    ("runtime", "parameters", "errors"),
    ("io",),
    ("data", "networks"),
    ("learning", "evaluation", "cells"),
    ("viewer",),
    ("methods", "plots"),
    ("brains",),
    ("lessons",),
    ("runs", "doctor"),
    ("kit",),
    ("cli",),
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ALONE = ("__init__", "__main__")  # the package itself, and the door of ``python -m``


def dotted(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py")) if "bundle" not in path.parts}


def test_no_two_test_files_have_one_name():
    """pytest, which imports them by their bare name, refuses the second of two."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert not {name for name in names if names.count(name) > 1}


def imported(path):
    """Modules of the package that a module imports, at its head or within a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("cellseg_nb") for alias in node.names), (
                f"{path}: from ... import"
            )
        if not isinstance(node, ast.ImportFrom):
            continue
        assert not node.level, f"{path}, line {node.lineno}: imports are absolute"
        if node.module.split(".")[0] == "cellseg_nb":
            base = node.module.partition(".")[2]
            for alias in node.names:
                name = f"{base}.{alias.name}".strip(".")
                found.add(name if name in MODULES else base or "__init__")
    return found


IMPORTS = {name: imported(path) for name, path in MODULES.items()}


def test_every_module_has_its_floor():
    assert {name.split(".")[0] for name in MODULES} == {*FLOOR, *ALONE}


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ALONE])
def test_imports_point_down(name):
    room = name.split(".")[0]
    for other in IMPORTS[name] - {"__init__"}:
        floor = FLOOR[other.split(".")[0]]
        assert other.split(".")[0] == room or floor < FLOOR[room] or floor == 0 == FLOOR[room], (
            f"{name} imports {other}"
        )


def test_no_lesson_needs_another():
    lessons = [name for name in MODULES if name.startswith("lessons.")]

    def lesson(name):  # it may be several modules: quickstart, quickstart_results
        return min((one for one in lessons if name.startswith(one)), key=len, default=None)

    for name in lessons:
        for other in IMPORTS[name]:
            assert lesson(other) in (None, lesson(name), "lessons.common"), (name, other)


def test_no_circle():
    done, way = set(), []

    def follow(name):
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            way.append(name)
            for other in IMPORTS[name] - {"__init__"}:
                follow(other)
            done.add(way.pop())

    for name in MODULES:
        follow(name)


def test_few_names_at_the_top():
    names = [path.name for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "bundle")]
    assert len(names) <= 21, names


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_short(name):
    lines = MODULES[name].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 300
    assert max(map(len, lines), default=0) <= 110


UNIX = set("fcntl resource pwd grp termios tty pty posix syslog".split())
UNIX_OS = set("fork getuid geteuid getpgid killpg setsid sched_getaffinity uname statvfs getloadavg".split())


@pytest.mark.parametrize("name", MODULES)
def test_what_windows_lacks_is_asked_for_with_care(name):
    """Such modules are imported in a ``try``, such functions looked for with ``hasattr`` in their line."""
    lines = MODULES[name].read_text(encoding="utf-8").splitlines()
    tree = ast.parse("\n".join(lines))
    tried = {id(one) for node in ast.walk(tree) if isinstance(node, ast.Try) for one in ast.walk(node)}
    for node in ast.walk(tree):
        asked = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        asked += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert not UNIX & set(asked) or id(node) in tried, f"{name}, line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            guarded = f'hasattr(os, "{node.attr}")' in lines[node.lineno - 1]
            assert node.attr not in UNIX_OS or guarded, f"{name}, line {node.lineno}"


def test_nothing_heavy_loads_first():
    code = """if True:
        import sys, cellseg_nb
        assert not {"torch", "numpy", "pandas", "scipy", "matplotlib"} & set(sys.modules)
        from cellseg_nb import volumes, plots, methods, data
        assert volumes.read and volumes.__name__ == "cellseg_nb.io.volumes"
        assert plots.orthogonal and methods.get
        assert cellseg_nb.metrics.match
        print("fine")"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout == "fine\n", run.stderr


def test_short_names_lead_to_modules():
    import cellseg_nb

    for name, room in cellseg_nb._WHERE.items():
        assert f"{room}.{name}" in MODULES
        assert getattr(cellseg_nb, name).__name__ == f"cellseg_nb.{room}.{name}"
    with pytest.raises(ImportError):
        from cellseg_nb import nothing_of_this_name  # noqa: F401


# ---------------------------------------------------------------- what notebooks ask for


def code(path):
    """All code of a notebook, that of its texts (solutions, things to copy) included."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        blocks = re.findall(r"(?s)```python\n(.*?)```", text)
        parts += [text] if cell["cell_type"] == "code" else [textwrap.dedent(block) for block in blocks]
    return ast.parse(re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", "\n".join(parts)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_find_what_they_ask_for(path):
    tree, known = code(path), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "cellseg_nb":
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                known[alias.asname or alias.name] = getattr(module, alias.name)
    assert known
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            assert node.id not in known, f"{path.name}: {node.id} hides a module of the package"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
            assert hasattr(known[node.value.id], node.attr), f"{path.name}: {node.value.id}.{node.attr}"
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            module = known.get(node.func.value.id)
            if module is not None and not any(isinstance(a, ast.Starred) for a in node.args):
                named = {k.arg: None for k in node.keywords if k.arg}
                bind = inspect.signature(getattr(module, node.func.attr)).bind_partial
                bind(*node.args, **named)  # TypeError: an argument that is not there
