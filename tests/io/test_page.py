"""The page of formats and names in data/README.md is the one that the code makes."""

import importlib.util
from pathlib import Path

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())


def test_the_page_of_formats_is_up_to_date():
    spec = importlib.util.spec_from_file_location("formats_page", ROOT / "tools" / "formats_page.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    made = text.split(tool.BEGIN)[1].split(tool.END)[0].strip()
    assert made == tool.page().strip(), "run: python tools/formats_page.py"
