"""The page of formats and names in data/README.md is the one that the code makes."""

import executing


def test_the_page_of_formats_is_up_to_date():
    tool = executing.loaded("tools/formats_page.py")
    text = (executing.ROOT / "data" / "README.md").read_text(encoding="utf-8")
    made = text.split(tool.BEGIN)[1].split(tool.END)[0].strip()
    assert made == tool.page().strip(), "run: python tools/formats_page.py"
