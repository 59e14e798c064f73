"""Parameters of a notebook checked by a spec: names, rules, one line for what is wrong."""

import pytest

from cellseg_nb import parameters
from cellseg_nb.errors import UserError

SPEC = parameters.common("profile", "voxel_size", "seed", "out") | {
    "percentages": parameters.auto(parameters.numbers, 0.001, 100),
    "cube": parameters.rule(parameters.number, 8, 512, whole=True),
}
GOOD = dict(profile="demo", voxel_size="5, 1,1", seed=0, out="results", percentages="auto", cube=32)


def test_checked_values():
    found = parameters.check(SPEC, GOOD | {"something": "else"})
    assert found == GOOD | {"voxel_size": (5, 1, 1), "percentages": None}
    assert parameters.check(SPEC, GOOD | {"percentages": "10, 20,10"})["percentages"] == [10, 20]


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("profile", "huge", "one of"),
        ("voxel_size", "1,2", "three positive"),
        ("seed", -1, "between"),
        ("out", 3, "text in quotes"),
        ("out", "C:\new", "Windows write /"),
        ("percentages", "10,a lot", "numbers with commas"),
        ("percentages", "0", "between 0.001 and 100"),
        ("cube", 8.5, "a whole number"),
    ],
)
def test_what_is_wrong_is_named(name, value, words):
    with pytest.raises(UserError, match=f"^{name}.*{words}"):
        parameters.check(SPEC, GOOD | {name: value})


def test_a_missing_parameter():
    with pytest.raises(UserError, match="cube is missing"):
        parameters.check(SPEC, {name: value for name, value in GOOD.items() if name != "cube"})
