"""Notebook 08's own table: every wrong parameter is told before anything runs, and what the line names
helps."""

import pandas
import pytest

from cellseg_nb import parameters, runs
from cellseg_nb.errors import UserError
from cellseg_nb.lessons import statistics as lesson

ROWS = [
    {"method": m, "fold": f, "seed": s, "f1": 0.5 + 0.1 * i + 0.03 * f + 0.011 * s * (i + 1)}
    for i, m in enumerate("abc")
    for f in range(4)
    for s in range(2)
]


def own(tmp_path, rows=ROWS, **given):
    pandas.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    given = runs.parameters(runs.find("08_statistics")) | {"table": str(tmp_path / "t.csv")} | given
    return lesson.own(parameters.check(lesson.PARAMETERS, given), None)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"value": "dize"}, ["value: ", "no column 'dize'", "one that it has (method, fold, seed, f1)"]),
        ({"group": "model"}, ["group: ", "no column 'model'", "one that it has (method, fold, seed, f1)"]),
        ({"unit": "folds"}, ["unit: ", "no column 'folds'", "it has method, fold, seed, f1"]),
        ({"block": "folds"}, ["block: ", "no column 'folds'", "it has method, fold, seed, f1"]),
        ({"keep": "fold=9"}, ["keep: no row is left", "holds 0, 1, 2, 3"]),
        ({"keep": "method=a"}, ["only the group 'a'", "two or more"]),
        ({"table": "nowhere.csv"}, ["there is no table nowhere.csv"]),
        (
            {"value": "method", "group": "fold", "unit": "rows"},
            ["column 'method' must hold numbers, not 'a'"],
        ),
    ],
)
def test_what_is_wrong_is_told(tmp_path, wrong, words):
    with pytest.raises(UserError) as caught:
        own(tmp_path, **wrong)
    line = str(caught.value)
    assert "\n" not in line and all(word in line for word in words), line


def test_the_names_that_the_lines_list_work(tmp_path):
    rows, value, group, blocks = own(tmp_path, value="f1", group="method", unit="fold", block="fold")
    assert (value, group, blocks, len(rows)) == ("f1", "method", ["fold"], len(ROWS))
    assert lesson.paired(rows, value, group, blocks).blocks == 4
    assert len(own(tmp_path, keep="fold!=3")[0]) == 18


@pytest.mark.parametrize("given", [{"value": "", "group": ""}, {"value": "F1", "group": "Method"}])
def test_an_emptied_name_is_auto_and_capitals_do_not_matter(tmp_path, given):
    assert own(tmp_path, **given)[1:3] == ("f1", "method")


def test_percentages_and_names_that_differ_little(tmp_path, capsys):
    rows = [row | {"f1": f"{100 * row['f1']:.1f} %", "share": "80%"} for row in ROWS]
    rows += [row | {"method": "A"} for row in rows if row["method"] == "a"]
    found, value, _, _ = own(tmp_path, rows)
    assert list(found[value])[: len(ROWS)] == pytest.approx([row["f1"] for row in ROWS], abs=1e-3)
    assert set(found.share) == {"80%"}  # it may name a group
    out = capsys.readouterr().out
    assert "f1: percentages are read as parts of 1" in out
    assert "method: 'a' and 'A' differ in capitals or blanks: one group?" in out
