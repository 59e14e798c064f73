"""The project's own machinery: workflows, hooks, forms, citation: well formed, pinned, call what exists."""

import re
from pathlib import Path

import pytest
import yaml

import cellseg_nb

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = [
    path for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"
]
YAML = [ROOT / "CITATION.cff", ROOT / ".pre-commit-config.yaml", *sorted((ROOT / ".github").rglob("*.yml"))]
each = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


class Once(yaml.SafeLoader):
    """YAML keeps the last of two equal keys without a word; here they are an error."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key twice: {keys}"
        return super().construct_mapping(node, deep)


def read(path):
    content = yaml.load(path.read_text(encoding="utf-8"), Once)
    # YAML 1.1 reads `on` as true
    return {"on" if key is True else key: value for key, value in content.items()}


def steps(path):
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_parses_and_ends_with_a_newline(path):
    text = path.read_text(encoding="utf-8")
    assert read(path) and text.endswith("\n") and "\t" not in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_workflows_are_there():
    assert {"test", "newest", "rooms", "docs"} <= {path.stem for path in WORKFLOWS}


@each
def test_actions_are_pinned_by_commit_with_their_version_beside(path):
    used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert used
    for line in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*", line), line


def test_an_action_has_one_version_everywhere():
    used = {
        line for path in WORKFLOWS for line in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    }
    assert len({line.partition("@")[0] for line in used}) == len(used)


@each
def test_workflows_may_only_read_and_end(path):
    content = read(path)
    assert content["permissions"] == {"contents": "read"} and "concurrency" in content
    assert "secrets." not in path.read_text(encoding="utf-8") and "pull_request_target" not in content["on"]
    for name, job in content["jobs"].items():
        assert 0 < job["timeout-minutes"] <= 90, name
        may = {"pages": "write", "id-token": "write"} if (path.stem, name) == ("docs", "publish") else None
        assert job.get("permissions") == may, name
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@each
def test_commands_call_what_exists(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z][\w-]*)(?: [\w-]+)*:(?!=)", makefile, re.MULTILINE)
    for command in (step["run"] for step in steps(path) if "run" in step):
        assert "${{ github.event" not in command and "github.head_ref" not in command, (
            "text of strangers in a shell"
        )
        for target in re.findall(r"\bmake ([a-z][\w-]*)", command):
            assert target in targets, f"make {target}"
        for file in re.findall(r"\b(?:tests|tools|benchmarks)/[\w./-]+", command):
            assert (ROOT / file).exists(), file


def test_the_pythons_that_are_promised_are_tested():
    matrix = read(ROOT / ".github/workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"]  # text: as a number, 3.10 would be 3.1
    assert "macos-latest" in [case["os"] for case in matrix["include"]]


def test_the_newest_versions_are_tried_weekly_without_constraints():
    path = ROOT / ".github/workflows/newest.yml"
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", read(path)["on"]["schedule"][0]["cron"])
    assert not any(re.search(r"constraints|\bmake\b", step.get("run", "")) for step in steps(path))


def test_hooks_check_python_and_notebooks():
    repos = read(ROOT / ".pre-commit-config.yaml")["repos"]
    hooks = {hook["id"]: hook for repo in repos for hook in repo["hooks"]}
    assert {"ruff-check", "ruff-format", "nbstripout"} <= set(hooks)
    for hook in ("ruff-check", "ruff-format"):  # their default includes notebooks
        assert not {"types", "types_or", "files", "exclude"} & set(hooks[hook])
    assert all(re.fullmatch(r"v?\d+\.\d+\.\d+", repo["rev"]) for repo in repos)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_ask_for_what_doctor_prints(path):
    content = read(path)
    asked = [field for field in content["body"] if field["type"] != "markdown"]
    assert content["name"] and content["description"]
    assert len({field["id"] for field in asked}) == len(asked)
    doctor = next(field for field in asked if field["id"] == "doctor")
    assert "cellseg-nb doctor" in doctor["attributes"]["label"] and doctor["validations"]["required"]


def test_a_wrong_result_is_told_with_its_voxel_size():
    asked = {field.get("id") for field in read(ROOT / ".github/ISSUE_TEMPLATE/wrong_result.yml")["body"]}
    assert {"voxel_size", "cells", "run"} <= asked


def test_citation_names_this_version_and_the_paper():
    content = read(ROOT / "CITATION.cff")
    assert content["version"] == cellseg_nb.__version__ and content["license"] == "MIT"
    paper = content["references"][0]
    assert paper["doi"] == "10.7554/eLife.99848" and paper["authors"][0]["family-names"] == "Achard"


def test_changelog_has_this_version_or_says_unreleased():
    found = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found and (found[0] == "Unreleased" or found[0] == cellseg_nb.__version__)


def test_results_are_not_committed():
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/results/", "notebooks/results/", ".venv/"} <= set(ignored)
