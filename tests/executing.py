"""Notebooks executed by papermill as users do, and what every run must leave."""

import json
import re

from cellseg_nb import runs


def executed(name, out, pictures=3, **given):
    """Run a notebook; check its report; return the folder and its summary."""
    out = runs.run(name, {key: str(value) for key, value in given.items()}, out)
    report = (out / "report.html").read_text()
    assert "Traceback" not in report and report.count("data:image/png;base64") >= pictures
    notebook = json.loads((out / f"{name}.ipynb").read_text())
    shown = "".join(str(cell.get("outputs", "")) for cell in notebook["cells"])
    warned = re.search(r"FutureWarning|RuntimeWarning|UserWarning: (?!The given NumPy)", shown)
    assert not warned, "a warning that users would see"
    return out, json.loads((out / "summary.json").read_text())
