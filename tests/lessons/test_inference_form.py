"""What notebook 04 is told, in words: which slices and sizes to keep, to whom a network is handed on."""

import pytest

from cellseg_nb import parameters, runs
from cellseg_nb.errors import UserError
from cellseg_nb.lessons import inference

DEFAULTS = runs.parameters(runs.find("04_inference"))


def checked(name, value):
    return parameters.check(inference.PARAMETERS, DEFAULTS | {name: value})[name]


@pytest.mark.parametrize(
    "name, value, found",
    [
        ("slices", "0,-1", (0, -1)),
        ("slices", " 10, 60 ", (10, 60)),
        ("sizes", "5,0", (5, 0)),
        ("hand_on", "", {}),
        ("hand_on", "onnx", {"authors": []}),
        (
            "hand_on",
            "Jane Doe, John Roe; CC0-1.0; twelve brains",
            {"authors": ["Jane Doe", "John Roe"], "licence": "CC0-1.0", "training_data": "twelve brains"},
        ),
        ("hand_on", "Jane Doe", {"authors": ["Jane Doe"], "licence": "CC-BY-4.0", "training_data": ""}),
    ],
)
def test_what_words_mean(name, value, found):
    assert checked(name, value) == found


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("slices", "10", "two whole numbers"),
        ("slices", "-2,5", "at least -1"),
        ("slices", "9,3", "nothing lies from 9 to 3"),
        ("sizes", "30,5", "nothing lies from 30 to 5"),
        ("sizes", "5,many", "two whole numbers"),
        ("sizes", "-1,0", "at least 0"),
        ("sizes", 5, "text in quotes"),
        ("hand_on", "Jane Doe;", "semicolons"),
        ("hand_on", "a; b; c; d", "semicolons"),
        ("hand_on", "; MIT", "semicolons"),
    ],
)
def test_what_is_wrong_is_told(name, value, words):
    with pytest.raises(UserError, match=f"^{name}.*{words}"):
        checked(name, value)
