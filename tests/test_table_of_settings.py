"""``data/settings.csv``: what the paper says, and what the notebooks really use, row by row."""

import csv
import json

import pytest

from cellseg_nb import methods
from cellseg_nb.data import bundled, splitting
from cellseg_nb.lessons import inference, inference_unseen, label_efficiency, labels_from_wnet3d
from cellseg_nb.methods import settings

with open(bundled.path("settings.csv"), encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))
OF_METHODS = [row for row in ROWS if row["method"]]
AUTO, TEACH = label_efficiency.AUTO, labels_from_wnet3d
OTHERS = {  # what rows without a method name, in paper and in demo
    **{("06", name): (AUTO["paper"][name], AUTO["demo"][name]) for name in AUTO["paper"]},
    ("06", "held_out"): (list(splitting.HELD_OUT),) * 2,
    ("04", "unseen"): (list(inference_unseen.UNSEEN), "simulated"),
    ("04", "method"): (inference.BY_PROFILE["paper"], inference.BY_PROFILE["demo"]),
    ("07", "teacher_data"): (TEACH.TEACHER["paper"], TEACH.TEACHER["demo"]),
    ("07", "network"): (TEACH.NETWORK["paper"], TEACH.NETWORK["demo"]),
    ("07", "held_out"): (TEACH.HELD_OUT["paper"], TEACH.HELD_OUT["demo"]),
}


def same(text, value):
    return json.loads(text) == json.loads(json.dumps(value)) if text else value is None


def test_it_has_a_row_for_each_setting_once():
    keys = [(row["notebook"], row["method"], row["setting"]) for row in ROWS]
    assert len(ROWS) >= 40 and len(set(keys)) == len(keys)
    assert all(row["published"] and row["where"] for row in ROWS)
    assert {key[1:] for key in keys if key[0] == "methods"} == {
        (method, setting) for method, own in settings.PAPER.items() for setting in own
    }
    assert {key for key in keys if key[0] != "methods" and key[1]} == {
        (notebook, method, setting)
        for notebook, some in settings.PAPER_OF.items()
        if notebook not in settings.ALONE
        for method, own in some.items()
        for setting in own
    }
    assert {(key[0], key[2]) for key in keys if not key[1]} == set(OTHERS)


@pytest.mark.parametrize("row", OF_METHODS, ids=lambda row: "-".join(list(row.values())[:3]))
def test_notebooks_use_what_it_says(row):
    notebook, method, name = row["notebook"], row["method"], row["setting"]
    own = methods.method_class(method).settings
    assert name in own  # an option that the method really has
    demo = settings.of(method, "demo", notebook if notebook != "methods" else "")
    assert same(row["paper"], settings.of(method, "paper", notebook)[name])
    assert same(row["demo"], demo.get(name, own[name]))
    if notebook == "methods":  # and no notebook has another one, but those with a row of their own
        for other in ("00", "02", "03", "04", "05", "06", "07"):
            if not any(one["notebook"] == other and one["method"] == method for one in ROWS):
                assert same(row["paper"], settings.of(method, "paper", other)[name]), other


def test_what_is_no_setting_of_a_method():
    for row in ROWS:
        if not row["method"]:
            paper, demo = OTHERS[row["notebook"], row["setting"]]
            assert same(row["paper"], paper) and same(row["demo"], demo), row
