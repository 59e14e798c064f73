"""Rehearse Google Colab: `make colab`. See colab/README.md for what is done and checked.

Options: --skip-tests leaves the unit tests out, --only 00,05 runs these notebooks alone.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from install import in_pyenv, version

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-colab"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "pip.log"  # of pip's last run there
LISTED = ROOT / "colab" / "requirements.txt"
# what the install cells name; here the wheel takes its place
SOURCE = "git+https://github.com/cellseg-nb/cellseg-nb"
EXTRA = "cellseg-nb[packages]"  # what notebook 04 says to install before it writes ONNX files and packages
INSTALL_SECONDS = 120  # for the first install cell, with a warm cache
# What each notebook is given. 03 and 10 run shortened, by a parameter that users have.
RUNS = {
    "00_quickstart": {"images": "upload"},
    "01_data": {},
    "03_supervised_training": {"epochs": 3},
    "04_inference": {
        "images": "/content/drive/MyDrive/cells/sample_image.tif",
        "hand_on": "Jane Doe; CC-BY-4.0; simulated volumes",
    },
    "05_cellpose_stardist": {},
    "08_statistics": {},
    "09_whole_brain": {"side": 96},
    "10_label_and_correct": {"epochs": 3},
}
CALLS = {"00_quickstart": ["upload", "download"], "04_inference": ["mount", "download"]}
COMPARED = ("00_quickstart", "05_cellpose_stardist")


def main():
    options = arguments()
    build_environment()
    wheel = build_wheel()
    before = listed_versions()
    for notebook in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        run_install_cell(notebook, wheel, before)
    install_extra(before)
    if not options.skip_tests:
        unit_tests()
    for name, given in RUNS.items():
        if options.only and name[:2] not in options.only.split(","):
            continue
        out = run_in_colab(name, given)
        if name in COMPARED:
            compare(name, out)
    print("The rehearsal passed.")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip-tests", action="store_true", help="leave the unit tests out")
    parser.add_argument("--only", help="numbers of the notebooks to run, such as 00,05")
    return parser.parse_args()


def stop(words):
    sys.exit(f"cellseg-nb: {words}")


def call(command, **options):
    """Run a command to its end; its output is shown only when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    if done.returncode:
        print(done.stdout[-6000:])
        stop(f"{' '.join(map(str, command))[:200]} failed (status {done.returncode}), see above")
    return done.stdout


# ---------------------------------------------------------------- the environment


def build_environment():
    """.venv-colab, made anew when Colab's list has changed."""
    stamp, wanted = VENV / ".made-from", hashlib.sha256(LISTED.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    on_path = [name for name in ("python3.13",) if version(name) == (3, 13)]
    python = next(iter([*on_path, *in_pyenv((3, 13))]), None)
    if python is None:
        stop(
            "the rehearsal needs python3.13, as Colab has it, and there is none: install it, or  uv python "
            "install 3.13"
        )
    print("Building .venv-colab from colab/requirements.txt: several minutes, several GB", flush=True)
    call([python, "-m", "venv", "--clear", VENV])
    call([PYTHON, "-m", "pip", "install", "--quiet", "-r", LISTED])
    stamp.write_text(wanted)


def build_wheel():
    """The wheel of this clone."""
    folder = VENV / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    call([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT])
    return next(folder.glob("*.whl"))


def versions():
    """{name: version} of all that is installed there."""
    listed = json.loads(
        call([PYTHON, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"])
    )
    return {re.sub(r"[-_.]+", "-", one["name"].lower()): one["version"] for one in listed}


def listed_versions():
    """Those of them that Colab lists."""
    names = {
        re.sub(r"[-_.]+", "-", line.split("==")[0].lower())
        for line in LISTED.read_text().splitlines()
        if "==" in line
    }
    return {name: version for name, version in versions().items() if name in names}


# ---------------------------------------------------------------- the notebooks' own first cells


def install_cell(notebook, wheel):
    """Source of the cell that installs, with the wheel in place of the repository."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    source = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    if SOURCE not in source:
        stop(f"the first cell of {notebook.name} does not install from {SOURCE}")
    return source.replace(SOURCE, wheel.as_uri())


def run_install_cell(notebook, wheel, before):
    """Run it where the package is not installed yet. Nothing of Colab's may change, and nothing be
    compiled."""
    call([PYTHON, "-m", "pip", "uninstall", "--quiet", "--yes", "cellseg-nb"])
    first = "monai" not in versions()
    script = VENV / "install_cell.ipy"
    script.write_text(install_cell(notebook, wheel), encoding="utf-8")
    LOG.unlink(missing_ok=True)
    started = time.time()
    call(
        [VENV / "bin" / "ipython", "--no-banner", "--colors=NoColor", script],
        cwd=VENV,
        env={
            **os.environ,
            "PIP_LOG": str(LOG),
            "PYTHONPATH": str(ROOT / "colab" / "stub"),
            "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}",
        },
    )
    seconds = time.time() - started
    unchanged(before, f"the install cell of {notebook.stem}")
    if "cellseg-nb" not in versions():
        stop(f"the install cell of {notebook.stem} did not install the package")
    if first and seconds > INSTALL_SECONDS:
        print(
            f"The first install cell took {seconds:.0f} s, more than {INSTALL_SECONDS}: was pip's cache cold?"
        )
    print(
        f"{notebook.stem}: install cell {seconds:.0f} s, none of Colab's {len(before)} versions changed",
        flush=True,
    )


def install_extra(before):
    """What a text of notebook 04 says to type, where the package is installed already."""
    if f'pip install \\"{EXTRA}\\"' not in (ROOT / "notebooks" / "04_inference.ipynb").read_text(
        encoding="utf-8"
    ):
        stop(f"notebook 04 does not say to install {EXTRA}")
    LOG.unlink(missing_ok=True)
    call([PYTHON, "-m", "pip", "install", "--quiet", "--log", LOG, EXTRA])
    unchanged(before, EXTRA)
    print(f"{EXTRA}: none of Colab's {len(before)} versions changed", flush=True)


def unchanged(before, what):
    """Stops where what was installed has changed a version of Colab's, or was compiled."""
    now = versions()
    changed = {name: (old, now.get(name)) for name, old in before.items() if now.get(name) != old}
    if changed:
        stop(f"{what} changed versions of Colab's: {changed}")
    compiled = re.findall(r"Building wheel for (\S+)", LOG.read_text() if LOG.exists() else "")
    if compiled:
        stop(f"{what} made pip compile {', '.join(sorted(set(compiled)))}")


# ---------------------------------------------------------------- what runs there


def environment(**more):
    """Variables of a Colab session, as far as the notebooks look at them."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("CELLSEG_NB_BATCH", "PYTHONPATH")
    }
    return {
        **kept,
        "COLAB_RELEASE_TAG": "rehearsal",
        "PYTHONPATH": str(ROOT / "colab" / "stub"),
        "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_PREFER_ENV_PATH": "1",
        **more,
    }


def unit_tests():
    """The quick tests, with the installed package, not the clone's."""
    call(
        [
            PYTHON,
            "-m",
            "pip",
            "install",
            "--quiet",
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "build",
            "hatchling",
            "PyYAML",
        ]
    )
    kept = {
        name: value
        for name, value in environment().items()
        if name not in ("COLAB_RELEASE_TAG", "PYTHONPATH")
    }
    said = call(
        [
            VENV / "bin" / "pytest",
            "-q",
            "-n",
            "2",
            "--dist",
            "loadfile",
            "-m",
            "not notebook and not slow",
            "-p",
            "no:cacheprovider",
            ROOT / "tests",
        ],
        cwd=VENV,
        env={**kept, "OMP_NUM_THREADS": "1"},
    )
    print("unit tests:", said.strip().splitlines()[-1], flush=True)


# nbclient tells the kernel what an Output widget shows while the cell that shows it still runs; Colab's
# ipykernel then misses the message after that, and both wait for ever. Colab's own front end is not nbclient.
PAPERMILL = """
import sys, json, papermill, nbclient.output_widget
nbclient.output_widget.OutputWidget.send = lambda *_, **__: None
source, executed, given = sys.argv[1:]
papermill.execute_notebook(source, executed, json.loads(given), kernel_name="python3", progress_bar=False,
                           execution_timeout=1800)
"""


def run_in_colab(name, given):
    """Run a notebook there as a user would, in a folder of its own. Checks the calls to Colab; returns the
    results."""
    work = VENV / "runs" / name
    shutil.rmtree(work, ignore_errors=True)
    (work / "drive" / "cells").mkdir(parents=True)
    sample = ROOT / "data" / "sample" / "sample_image.tif"
    shutil.copy(sample, work / "drive" / "cells")
    if str(given.get("images", "")).startswith("/content/") and not can_make("/content/drive"):
        print(f"{name}: no folder /content can be made here, so Drive is not tried", flush=True)
        given = {}
    if name == "00_quickstart":
        given = {**given, "labels": str(sample.with_name("sample_labels.tif"))}
    calls = work / "calls.jsonl"
    calls.touch()
    started = time.time()
    call(
        [
            PYTHON,
            "-c",
            PAPERMILL,
            ROOT / "notebooks" / f"{name}.ipynb",
            work / f"{name}.ipynb",
            json.dumps(given),
        ],
        cwd=work,
        env=environment(COLAB_CALLS=str(calls), COLAB_UPLOAD=str(sample), COLAB_DRIVE=str(work / "drive")),
    )
    made = [json.loads(line)["call"] for line in calls.read_text().splitlines()]
    expected = CALLS.get(name, ["download"]) if given or name not in CALLS else ["download"]
    if made != expected:
        stop(f"{name} called {made} of Colab, not {expected}")
    print(f"{name}: ran in {time.time() - started:.0f} s; Colab was asked to {', '.join(made)}", flush=True)
    return work / "results" / name


def can_make(folder):
    """True where the Drive's folder can be made; one that an earlier rehearsal left is taken away."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(parents=True)
        Path(folder).rmdir()
        return True
    except OSError:
        return False


def compare(name, out):
    """The same notebook in .venv ends with the same number of cells, and F1 within 0.02."""
    here = VENV / "runs" / f"{name}_pinned"
    shutil.rmtree(here, ignore_errors=True)
    call([sys.executable, "-m", "cellseg_nb", "run", name, "-o", here], cwd=ROOT)
    ours, theirs = (results(name, folder) for folder in (here, out))
    for key in ours:
        far = abs(ours[key] - theirs[key])
        if far > (0 if key.startswith("cells") else 0.02):
            stop(f"{name}: {key} is {theirs[key]} in Colab's environment and {ours[key]} in .venv")
    print(
        f"{name}: as in .venv: " + ", ".join(f"{key} {value:g}" for key, value in theirs.items()), flush=True
    )


def results(name, folder):
    """What is compared: {words: number}."""
    if name == "00_quickstart":
        summary = json.loads((folder / "summary.json").read_text())
        return {"cells": summary["cells"], "F1": summary["f1_at_0.5"]}
    import pandas

    table = pandas.read_csv(folder / "comparison.csv")
    table = table[(table.matching == "3d") & ((table.threshold - 0.5).abs() < 1e-6)]
    return {f"F1 of {row.method} ({row.variant})": row.f1 for row in table.itertuples()}


if __name__ == "__main__":
    main()
