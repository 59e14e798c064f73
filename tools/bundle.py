"""`make bundle`: wheels, notebooks, data and weights in one folder, for a room without internet.

python tools/bundle.py [--out dist/bundle] [--extras rivals] [--data cellseg3d] [--weights wnet3d]

The wheels are those of this machine's system and Python, in the versions of constraints.txt: make the bundle
on a machine like those of the room. The sample and the published tables travel in the package. Data sets and
weights are fetched from their publishers where they are asked for: for your room, not to be passed on.
"""

import argparse
import glob
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cellseg_nb.data import datasets, download, hub
from cellseg_nb.errors import UserError
from cellseg_nb.methods import weights

ROOT = Path(__file__).resolve().parents[1]
CELLPOSE = (
    "cellpose>=3.1.1.3,<4"  # as in tools/install.py: alone, since it asks for an older numpy than it needs
)
START = """# cellseg-nb without internet

This folder holds all that the notebooks need. Python {python} on {platform}, as on the machine that made it.

From a stick or a shared disk, standing in this folder:

    python3 -m venv ~/cellseg
    ~/cellseg/bin/pip install --no-index --find-links wheels "cellseg-nb[lab,brains]"
    ~/cellseg/bin/cellseg-nb doctor --class
    ~/cellseg/bin/cellseg-nb copy --students ~/my_notebooks
    ~/cellseg/bin/jupyter lab ~/my_notebooks

Over the room's network, from one machine that has it installed:

    ~/cellseg/bin/cellseg-nb serve . --host ADDRESS-OF-THIS-MACHINE

It prints what students type. `--host 0.0.0.0` answers on all of its addresses.

| folder | holds |
|---|---|
| wheels | {wheels} packages: cellseg-nb and what it needs |
| notebooks | the notebooks with their solutions, for the instructor |
| data | {data} |
| weights | {weights} |

Data sets and weights are their publishers' (see the project's data card): for this room, not to be passed on.
"""


def main(arguments=None):
    """Make the bundle. Returns the exit status: 0, or 1 with one line on standard error."""
    options = _parser().parse_args(arguments)
    out = Path(options.out).resolve()
    try:
        _wheels(out / "wheels", options)
        _notebooks(out / "notebooks")
        data = [_data_set(name, out / "data") for name in options.data]
        kept = [_weights(name, out / "weights") for name in options.weights]
    except UserError as error:
        print(f"cellseg-nb: {error}", file=sys.stderr)
        return 1
    text = START.format(
        python="{}.{}".format(*sys.version_info[:2]),
        platform=sys.platform,
        wheels=len(glob.glob(str(out / "wheels" / "*.whl"))),
        data=", ".join(data) or "nothing: the sample and the published tables are in the package",
        weights=", ".join(kept) or "nothing: notebooks 00 to 03 train their own",
    )
    (out / "START.md").write_text(text, encoding="utf-8")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 1e6:.0f} MB; read {out / 'START.md'}")
    return 0


def _parser():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default=ROOT / "dist" / "bundle", help="default: dist/bundle")
    parser.add_argument("--extras", default="", help="such as rivals: Cellpose, StarDist and TensorFlow too")
    parser.add_argument("--data", nargs="*", default=[], help="data sets of data/registry.json")
    parser.add_argument("--weights", nargs="*", default=[], choices=sorted(weights.RELEASED))
    parser.add_argument("--only-ours", action="store_true", help="leave out the wheels of libraries")
    return parser


def _wheels(folder, options):
    """Our wheel, and those of all that it needs, torch first: alone, in the build that is installed here."""
    _call("-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    ours = sorted(folder.glob("cellseg_nb-*.whl"))[-1]
    if options.only_ours:
        return
    pip = ["-m", "pip", "wheel", "--quiet", "--constraint", ROOT / "constraints.txt", "--wheel-dir", folder]
    pip += ["--find-links", folder]
    torch = next(iter(folder.glob("torch-*.whl")), None) or f"torch=={_installed('torch')}"
    _call(*pip, "--no-deps", torch)
    extras = ",".join(["lab", "brains", *filter(None, [options.extras])])
    _call(*pip, f"{ours}[{extras}]")
    if "rivals" in options.extras or "cellpose" in options.extras:
        _call(*pip, "--no-deps", CELLPOSE)


def _installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        raise UserError(f"{name} is not installed here: run  make setup  first") from None


def _call(*arguments):
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line]
        words = " ".join(map(str, arguments[:3]))
        raise UserError(f"python {words} failed ({(lines or ['no reason given'])[-1].strip()[:300]})")


def _notebooks(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        shutil.copy(path, folder)


def _data_set(name, folder):
    """The archive of a data set as published, where ``CELLSEG_NB_BASE_URL=.../data`` finds it. Returns its
    name."""
    known = datasets.registry()
    archives = [one for one, about in known.items() if "files" not in about]
    if name not in archives:
        raise UserError(f"there is no archive of {name!r} to pack: choose one of {', '.join(archives)}")
    urls = datasets.addresses(known[name]["url"])
    file = folder / Path(urls[0].partition("?")[0]).name
    download.download(urls, file, known[name]["sha256"])
    return f"{name} ({file.name})"


def _weights(name, folder):
    """Released weights, where ``CELLSEG_NB_HUB_URL`` finds them. Returns their name."""
    file = folder / weights.REPO / weights.RELEASED[name]
    if not file.exists():
        got = hub.download(weights.REPO, weights.RELEASED[name])
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(got, file)
    return f"{name} ({file.name})"


if __name__ == "__main__":
    sys.exit(main())
