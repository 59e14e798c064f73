"""Long files come first: then two workers, each taking the next file when it is free, end close together."""

import os
from pathlib import Path

import pytest

# The longest first: from five minutes to half a minute.
LONG = (
    "test_reproduce.py test_notebooks_06_07.py test_notebook_02.py test_browser.py test_notebook_10.py "
    "test_notebook_05.py test_quickstart.py test_exercises.py test_notebooks.py test_bars.py "
    "test_notebook_09.py test_wheel.py test_rivals.py test_resume.py test_bundle.py test_cli.py "
    "test_install.py test_label_efficiency.py"
).split()


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def real_data():
    """The folder of real volumes, which are never part of the project; without them a test is skipped."""
    if "CELLSEG_NB_REAL_DATA" not in os.environ:
        pytest.skip("set CELLSEG_NB_REAL_DATA to the real volumes")
    return Path(os.environ["CELLSEG_NB_REAL_DATA"])
