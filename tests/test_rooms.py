"""The ready rooms: their files are well formed, name what exists, hold the versions of constraints.txt."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import cellseg_nb
from cellseg_nb import doctor

ROOT = Path(__file__).resolve().parents[1]
DL4MIC = sorted((ROOT / "rooms" / "dl4miceverywhere").glob("*/configuration.yaml"))
PYTHONS = [f"{doctor.OLDEST[0]}.{minor}" for minor in range(doctor.OLDEST[1], doctor.NEWEST[1] + 1)]
KNOWN = "ARG FROM ENV WORKDIR COPY RUN USER EXPOSE CMD".split()


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {plain(name): version for name, _, version in (line.partition("==") for line in lines) if version}


def needed():
    with open(ROOT / "pyproject.toml", "rb") as file:
        listed = tomllib.load(file)["project"]["dependencies"]
    return {plain(re.match(r"[\w.-]+", one)[0]) for one in listed if ";" not in one}


def dockerfile():
    """Instructions of the Dockerfile: [(word, rest), ...], lines that go on joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_dockerfile_is_well_formed():
    steps = dockerfile()
    assert {word for word, _ in steps} <= set(KNOWN)
    assert [word for word, _ in steps[:2]] == ["ARG", "FROM"] and sum(
        word == "FROM" for word, _ in steps
    ) == 1
    assert json.loads(steps[-1][1])[0] == "jupyter"  # CMD as a list: signals reach it
    users = [rest for word, rest in steps if word == "USER"]
    assert users and users[-1] != "root"
    for word, rest in steps:
        for source in rest.split()[:-1] if word == "COPY" else ():
            assert (ROOT / source).exists(), source


def test_dockerfile_has_a_tested_python_the_constraints_and_cuda_as_an_argument():
    steps = dockerfile()
    arguments = dict(rest.partition("=")[::2] for word, rest in steps if word == "ARG")
    assert arguments["PYTHON"] in PYTHONS and arguments["DEVICE"] == "cpu"
    assert "FROM python:${PYTHON}-slim" in f"{steps[1][0]} {steps[1][1]}"
    installs = [rest for word, rest in steps if word == "RUN" and "pip install" in rest]
    assert len(installs) == 2 and all("--constraint constraints.txt" in rest for rest in installs)
    assert "torch" in installs[0] and "DEVICE" in installs[0]


def test_docker_is_sent_what_it_copies_and_no_more():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:].split("/")[0] for line in lines if line.startswith("!")}
    copied = {one for word, rest in dockerfile() if word == "COPY" for one in rest.split()[:-1]}
    assert lines[0] == "*" and sent == copied


def test_devcontainer():
    content = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    version = re.search(r":(\d+\.\d+)-", content["image"])[1]
    assert version in PYTHONS and f"PYTHON=python{version}" in content["postCreateCommand"]
    assert "setup:" in (ROOT / "Makefile").read_text()


def test_binder():
    content = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text())
    *conda, pip = content["dependencies"]
    versions = dict(one.partition("=")[::2] for one in conda)
    assert versions["python"] in PYTHONS and versions["pytorch-cpu"] == pinned()["torch"]
    for word in pip["pip"]:
        assert (ROOT / ".binder" / word.split()[1].partition("[")[0]).exists(), word
    assert pip["pip"][-1] == "-e ..[brains]"  # JupyterLab is Binder's own
    start = ROOT / ".binder" / "start"
    assert start.stat().st_mode & 0o100 and start.read_text().rstrip().endswith('exec "$@"')


def test_there_are_rooms_for_dl4miceverywhere():
    assert len(DL4MIC) == 2


@pytest.mark.parametrize("path", DL4MIC, ids=lambda path: path.parent.name)
def test_dl4miceverywhere(path):
    """The keys that its docs/FORMAT.md asks for, and what its own notebooks have beside them."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    config = content["config"]["dl4miceverywhere"]
    asked = "notebook_url requirements_url cuda_version ubuntu_version python_version sections_to_remove"
    assert set(asked.split()) | {"description", "notebook_version"} <= set(config)
    assert {"name", "description", "type", "version", "tags", "cite", "authors"} <= set(content)
    assert all(isinstance(value, str) and "\n" not in value for value in config.values())
    assert config["python_version"] in PYTHONS
    assert config["notebook_version"] == content["version"] == cellseg_nb.__version__
    raw = "https://raw.githubusercontent.com/cellseg-nb/cellseg-nb/main/"
    for key in ("notebook_url", "requirements_url"):
        assert config[key].startswith(raw) and (ROOT / config[key].removeprefix(raw)).is_file()
    assert config["requirements_url"].removeprefix(raw) == str(
        (path.parent / "requirements.txt").relative_to(ROOT)
    )
    notebook = json.loads((ROOT / config["notebook_url"].removeprefix(raw)).read_text(encoding="utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    for section in config["sections_to_remove"].split():
        assert re.search(rf"(?m)^#+ {re.escape(section)} ", text), section


@pytest.mark.parametrize("path", DL4MIC, ids=lambda path: path.parent.name)
def test_dl4miceverywhere_has_the_versions_of_the_constraints(path):
    lines = (path.parent / "requirements.txt").read_text().splitlines()[1:]
    versions = {
        plain(name): version for name, _, version in (line.partition("==") for line in lines) if version
    }
    assert versions == {name: pinned()[name] for name in needed()}
    assert lines[-1].startswith("cellseg-nb @ git+https://")
