"""``doctor --class``: one line a finding, the exit status, a real training that ends in time."""

import json
import re

import pytest

from cellseg_nb import cli, doctor, runs
from cellseg_nb.errors import UserError
from cellseg_nb.kit import classroom

WORDS = {  # how the heads of the notebooks say minutes
    "one to three minutes": 3,
    "about three minutes": 3,
    "about two minutes": 2,
    "about a minute and a half": 1.5,
    "about a minute ": 1,
    "under a minute": 1,
}


@pytest.mark.parametrize("path", [p for p in runs.notebooks() if p.stem[:2] in classroom.MINUTES])
def test_minutes_are_those_of_the_heads(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    line = next(
        re.search(r"\*\*How long it takes:\*\* (.*)", "".join(cell["source"]))
        for cell in cells
        if "How long it takes" in "".join(cell["source"])
    )[1]
    said = next(minutes for words, minutes in WORDS.items() if line.startswith(words))
    assert classroom.MINUTES[path.stem[:2]] == said


def test_it_trains_within_its_time_and_ends_well(capsys):
    assert cli.main(["doctor", "--class", "--seconds", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = {line[8:20].strip(): line for line in lines}
    assert list(said) == "Python libraries kernel memory disk device training class paper".split()
    assert all(line.startswith(("ok ", "slow ")) for line in lines)
    assert re.search(r" 2 steps, \d+\.\d\d s each; SoftNCuts", said["training"])


@pytest.mark.parametrize("seconds", ["-3", "nan", "inf"])
def test_a_time_that_cannot_be_is_one_line(capsys, seconds):
    assert cli.main(["doctor", "--class", "--seconds", seconds]) == 1
    said = capsys.readouterr()
    assert not said.out and said.err.startswith("cellseg-nb: --seconds must be")


def test_what_is_missing_fails(monkeypatch, capsys):
    there = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: None if name == "monai" else there(name))
    assert classroom.report(1) == 1
    assert "FAILED  libraries   missing: monai" in capsys.readouterr().out


def test_too_little_memory_or_disk_fails():
    assert classroom.memory(0.5).grade == classroom.disk(0.1).grade == "FAILED"
    assert classroom.memory(8).grade == classroom.disk(8).grade == "ok"


def test_a_training_that_fails_is_told_in_its_line(monkeypatch, capsys):
    def fault(seconds):
        raise UserError("the loss became nan")

    monkeypatch.setattr(classroom, "training", fault)
    assert classroom.report(1) == 1
    assert "FAILED  training    the loss became nan" in capsys.readouterr().out


def test_a_slow_machine_is_told_what_it_can_run():
    quick, _ = classroom.outlook(0.1)
    slow, _ = classroom.outlook(1.4)
    assert quick.grade == "ok" and "00 3," in quick.words
    assert slow.grade == "slow" and "00 30," in slow.words
