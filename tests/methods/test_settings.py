"""The one table of settings: complete, with sources, shrunk in tests, and what methods really have."""

import pytest

from cellseg_nb import methods
from cellseg_nb.errors import UserError
from cellseg_nb.methods import settings

EVERY = pytest.mark.parametrize("name", list(settings.PAPER))


@EVERY
def test_every_setting_is_an_option_and_has_a_source(name):
    chosen = methods.method_class(name)
    tables = [settings.DEMO, settings.PAPER, *settings.DEMO_OF.values(), *settings.PAPER_OF.values()]
    for table in tables:
        chosen.check_options(table.get(name, {}))
    told = {one for names in settings.SOURCES[name] for one in names.split(", ")}
    assert told == set(settings.PAPER[name])
    assert {option: chosen.settings[option] for option in settings.DEMO[name]} == settings.DEMO[name]
    assert all(settings.DEPARTURES[name].values())
    table = settings.table(name)
    assert list(table.columns) == ["setting", "demo", "paper", "source"]
    assert len(table) >= len(settings.PAPER[name]) + len(settings.DEPARTURES[name])


def test_paper_learns_with_one_rate_in_every_notebook():
    assert {
        settings.of("wnet3d", "paper", notebook)["learning_rate"] for notebook in ("", "00", "02", "05")
    } == {2e-5}


def test_of_a_notebook():
    assert settings.of("wnet3d", "demo", "00")["restarts"] == 2 and "restarts" not in settings.of("wnet3d")
    assert settings.of("segresnet", notebook="05") == {**settings.DEMO["segresnet"], "cube": 24, "epochs": 12}
    assert settings.of("of my own", "paper") == {}
    with pytest.raises(UserError, match="profile must be 'demo' or 'paper', not 'Paper'"):
        settings.of("wnet3d", "Paper")


@EVERY
def test_shrunk_it_is_the_same_but_for_cubes_steps_and_epochs(name, monkeypatch):
    whole = settings.of(name, "paper")
    monkeypatch.setenv("CELLSEG_NB_SHRINK", "cube=32, steps=1,epochs=2")
    small = settings.of(name, "paper")
    changed = {option for option in whole if whole[option] != small[option]}
    assert changed <= {"cube", "patch", "bsize", "window", "steps", "slices", "epochs"}
    assert small.get("epochs", 2) == 2 and small.get("steps", 1) == 1 and small.get("slices", 8) == 8
    if name not in ("wnet3d", "swinunetr", "wnet3d_pretrained"):  # these take a second or two to make
        methods.get(name, **small)
    expected = {"stardist_default": (8, 32, 32), "stardist": (32, 32, 32), "swinunetr": (64, 32, 32)}
    expected |= {"otsu": None, "wnet3d_pretrained": None}
    side = next((small[one] for one in ("cube", "patch", "bsize") if one in small), None)
    assert side == expected.get(name, 32)
