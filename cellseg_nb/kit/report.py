"""One report of `reproduce paper`: each number that the notebooks found beside the published one.

It reads what the notebooks leave (``summary.json`` and their tables) and ``data/published``, nothing else.
"""

import html
import json
import os

import pandas

from cellseg_nb import __version__
from cellseg_nb.data import bundled
from cellseg_nb.data.published import MODELS, label_efficiency
from cellseg_nb.io.files import atomic, write_table

COLUMNS = ["panel", "what", "published", "here", "difference", "run"]
H, P = 49.212286777549934, 2.0617114022093387e-08  # outputs of the paper's notebook, see notebook 08
# Panels of the paper, by the notebook that makes them; each has a row even where no number is published.
PANELS = {
    "01_data": ("Fig. 1a", "S1e"),
    "02_wnet3d_training": ("Fig. 1d", "S2a"),
    "03_supervised_training": ("S1b", "S1c"),
    "04_inference": ("Fig. 2b", "Fig. 2c", "Fig. 2d"),
    "05_cellpose_stardist": ("Fig. 1b", "Fig. 1c", "S1a", "S1d"),
    "06_label_efficiency": ("Fig. 1e", "Fig. 1f"),
    "07_labels_from_wnet3d": ("Fig. 1g",),
    "08_statistics": ("S1f",),
}


def write(out, plan, failed=None):
    """Write ``report.csv``, ``report.md`` and ``report.html`` into the folder. Returns their paths.

    ``plan`` as `reproduce.read` gives it; ``failed`` is {run: why}.
    """
    table = rows(plan, failed or {})
    shrunk = os.environ.get("CELLSEG_NB_SHRINK")
    write_table(out / "report.csv", table)
    text = [
        "# The paper, reproduced",
        "",
        f"cellseg-nb {__version__}. Each number beside the published one (Achard et al. 2024, eLife 99848).",
        "Empty: no such number is published as a table, or the run has none. Simulated or shrunk data",
        "reproduce nothing: look at `reproduced.json` in a run's folder before you quote a row.",
        "",
        *([f"**Shrunk** ({shrunk}): these numbers reproduce nothing.", ""] if shrunk else []),
        *_markdown(table),
        "",
    ]
    with atomic(out / "report.md") as beside:
        beside.write_text("\n".join(text), encoding="utf-8")
    with atomic(out / "report.html") as beside:
        beside.write_text(_page(text[2 : 7 if shrunk else 5], table), encoding="utf-8")
    return [out / name for name in ("report.csv", "report.md", "report.html")]


def rows(plan, failed):
    """The report as a table of `COLUMNS`, in the order of the plan: at least one row a panel."""
    found = []
    for one in plan:
        try:
            own = _found(one)
        except FileNotFoundError as error:
            own = [
                (PANELS[one["notebook"]][0], failed.get(one["run"], f"not run: {error.filename}"), None, None)
            ]
        own = own or []
        seen = {panel for panel, *_ in own}
        own += [(panel, _headline(one), None, None) for panel in PANELS[one["notebook"]] if panel not in seen]
        found += [(*row, one["run"]) for row in own]
    table = pandas.DataFrame(found, columns=[name for name in COLUMNS if name != "difference"])
    for name in ("published", "here"):
        table[name] = pandas.to_numeric(table[name])
    return table.assign(difference=table.here - table.published)[COLUMNS]


def _found(one):
    """Rows (panel, what, published, here) of a run. Raises FileNotFoundError where it left nothing."""
    (one["folder"] / "summary.json").stat()
    reader = READERS.get(one["notebook"])
    return reader(one["folder"], one) if reader else []


def _headline(one):
    file = one["folder"] / "summary.json"
    said = json.loads(file.read_text(encoding="utf-8")).get("headline", "") if file.is_file() else "not run"
    return f"picture in {one['notebook']}.ipynb; {said}"


def _dice():
    """Published Dice of Fig. 1b: {(model, volume): dice}."""
    table = pandas.read_csv(bundled.path("published/benchmark_dice.csv"))
    return table.set_index(["model", "volume"]).dice.to_dict()


def _data(folder, one):
    published = pandas.read_csv(bundled.path("published/cell_counts.csv")).set_index("volume").cells
    table = pandas.read_csv(folder / "volumes.csv")
    return [
        ("Fig. 1a", f"annotated cells in {row.volume}", published.get(row.volume), row.cells)
        for row in table.itertuples()
    ]


def _wnet3d(folder, one):
    published, table = _dice(), pandas.read_csv(folder / "final.csv")
    if "Dice" not in table:
        return []
    return [
        ("Fig. 1d", f"Dice of WNet3D on {volume}", published.get(("WNet3D", volume)), dice)
        for volume, dice in zip(table["volume"], table["Dice"])
    ]


def _supervised(folder, one):
    published = _dice()
    volume = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["held_out"]
    models = MODELS | {"otsu": "Otsu threshold"}
    table = pandas.read_csv(folder / "scores.csv")
    return [
        ("S1b", f"Dice of {method} on {volume}", published.get((models.get(method), volume)), dice)
        for method, dice in zip(table.iloc[:, 0], table["Dice"])
    ]


def _inference(folder, one):
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    published = pandas.read_csv(bundled.path("published/cell_counts.csv")).set_index("volume").cells
    name = summary["volume"]
    what = f"cells found in {name} by {summary['architecture']}; published: annotated"
    found = [("Fig. 2", what, published.get(name), summary["cells"])]
    unseen = folder / "zero_shot_f1.csv"
    if unseen.is_file():
        table = pandas.read_csv(unseen)
        table = table[(table.threshold - 0.5).abs() < 1e-6]
        found += [("Fig. 2b", f"F1 at IoU 0.5 on {row.volume}", None, row.f1) for row in table.itertuples()]
    return found


def _comparison(folder, one):
    published, table = _dice(), pandas.read_csv(folder / "comparison.csv")
    table = table[(table.matching == "3d") & ((table.threshold - 0.5).abs() < 1e-6)]
    table = table.groupby(["method", "variant", "fold"], sort=False)[["dice", "f1"]].mean().reset_index()
    found = []
    for row in table.itertuples():
        model = {"otsu": "Otsu threshold"}.get(row.method, MODELS.get(row.method))
        untuned = row.variant == "default" and row.method in ("cellpose", "stardist")
        key = (f"{model} - default" if untuned else model, row.fold)
        what = f"of {row.method} ({row.variant}) on {row.fold}"
        found.append(("Fig. 1b", f"Dice {what}", published.get(key), row.dice))
        found.append(("S1d", f"F1 at IoU 0.5 {what}", None, row.f1))
    return found


def _efficiency(folder, one):
    keys = ["method", "volume", "training_percent"]
    published = label_efficiency().groupby(keys).dice.mean().to_dict()
    here = pandas.read_csv(folder / "results.csv").groupby(keys, sort=False).dice.mean()
    return [
        ("Fig. 1f", f"Dice of {key[0]} on {key[1]}, {key[2]:g} % of the cubes", published.get(key), dice)
        for key, dice in here.items()
    ]


def _labels(folder, one):
    table = pandas.read_csv(folder / "scores.csv", index_col="method")
    return [
        ("Fig. 1g", f"{column}: {method}", None, value)
        for column in ("F1 away from the artefact", "Dice away from the artefact")
        for method, value in table[column].items()
    ]


def _statistics(folder, one):
    kruskal = json.loads((folder / "kruskal.json").read_text(encoding="utf-8"))
    own = bool(one["parameters"].get("table"))
    what = "own table of 06" if own else "published table"
    published = (None, None) if own else (H, P)
    return [
        ("S1f", f"Kruskal-Wallis {name}, {what}", number, kruskal[name])
        for name, number in zip(("H", "p"), published)
    ]


READERS = {
    "01_data": _data,
    "02_wnet3d_training": _wnet3d,
    "03_supervised_training": _supervised,
    "04_inference": _inference,
    "05_cellpose_stardist": _comparison,
    "06_label_efficiency": _efficiency,
    "07_labels_from_wnet3d": _labels,
    "08_statistics": _statistics,
}


def _text(value):
    """A number with the digits that matter, a word as it is, nothing for what is not there."""
    if isinstance(value, str):
        return value
    return "" if pandas.isna(value) else f"{value:.6g}"


def _markdown(table):
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|" + " --- |" * len(COLUMNS)
    for row in table.itertuples(index=False):
        yield f"| {' | '.join(_text(value).replace('|', '/') for value in row)} |"


def _page(lines, table):
    cells = [
        "".join(f"<td>{html.escape(_text(value))}</td>" for value in row)
        for row in table.itertuples(index=False)
    ]
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    body = "\n".join(f"<tr>{row}</tr>" for row in cells)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>The paper, reproduced</title>\n'
        "<style>body{font:15px sans-serif;margin:2em;max-width:70em}td,th{padding:2px 10px;text-align:left;"
        "border-bottom:1px solid #ccc}</style>\n<h1>The paper, reproduced</h1>\n"
        f"<p>{html.escape(' '.join(lines).replace('**', ''))}</p>\n"
        f"<table><tr>{head}</tr>\n{body}\n</table></html>\n"
    )
