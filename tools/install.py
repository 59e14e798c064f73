"""Build .venv for `make`: python3 tools/install.py [rivals]. Only the standard library, and any Python 3: it looks for a
Python that will do itself, and says in one line what is wrong where something is.

1. A Python: the variable PYTHON where it is set, else the newest of 3.13, 3.12, 3.11 that runs, else one of pyenv's,
   else uv brings one.
2. torch first and alone: left to choose freely, pip takes a build with several GB of CUDA libraries where a small one is
   at hand.
3. The package in place (pip install -e .), with the versions of constraints.txt.
4. With `rivals`: StarDist, TensorFlow, what Cellpose imports; then Cellpose without its dependencies, since its numpy < 2.1
   has no wheel for Python 3.13, and it works with later ones.
"""

import glob
import os
import shutil
import subprocess
import sys

SUPPORTED = ((3, 13), (3, 12), (3, 11))
CELLPOSE = "cellpose>=3.1.1.3,<4"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
BIN, LIB = ("Scripts", "Lib") if os.name == "nt" else ("bin", "lib")
PYTHON_IN_VENV = os.path.join(VENV, BIN, "python.exe" if os.name == "nt" else "python")
NEEDED_GB = {"core": 3, "rivals": 5}  # without CUDA; with it torch alone takes 5 more


class Fault(Exception):
    """What is wrong and what to do, in one line."""


def main(arguments):
    rivals = "rivals" in arguments
    try:
        check_folder(NEEDED_GB["rivals" if rivals else "core"])
        build_venv()
        install(rivals)
    except Fault as fault:
        sys.exit("cellseg-nb: {}".format(fault))
    except KeyboardInterrupt:
        sys.exit("cellseg-nb: interrupted; run the same command again to carry on")


def check_folder(needed):
    probe = os.path.join(ROOT, ".writable")
    try:
        with open(probe, "w"):
            pass
        os.remove(probe)
    except OSError as error:
        raise Fault("{} cannot be written ({}): copy the folder to a place of yours, and run make there".format(
            ROOT, error.strerror))
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < needed and not os.path.exists(PYTHON_IN_VENV):
        raise Fault("{:.1f} GB are free at {}, and the installation takes {} GB: free some space, or copy the folder to "
                    "another disk".format(free, ROOT, needed))


def version(python):
    """(major, minor) of an interpreter, or None where it does not run."""
    try:
        said = subprocess.check_output([python, "-c", "import sys; print(*sys.version_info[:2])"],
                                       stderr=subprocess.DEVNULL)
        return tuple(int(part) for part in said.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def in_pyenv(wanted):
    """Interpreters of a version that pyenv has, though none of them is switched on."""
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    found = glob.glob(os.path.join(root, "versions", "{}.{}.*".format(*wanted), "bin", "python"))
    return [path for path in found if version(path) == wanted]


def find_python():
    """The interpreter to build with; None where only uv can bring one. Raises Fault."""
    words = " or ".join("{}.{}".format(*one) for one in SUPPORTED[::-1])
    wanted = os.environ.get("PYTHON")
    if wanted:
        found = version(wanted)
        if found not in SUPPORTED:
            raise Fault("cellseg-nb needs Python {}, and PYTHON={} is {}: give another, such as make PYTHON=python3.12"
                        .format(words, wanted, "{}.{}".format(*found) if found else "no Python that runs"))
        return wanted
    for one in SUPPORTED:
        name = "python{}.{}".format(*one)
        if version(name) == one:
            return name
    if version(sys.executable) in SUPPORTED:
        return sys.executable
    for one in SUPPORTED:
        for path in in_pyenv(one):
            return path
    if shutil.which("uv"):
        return None
    raise Fault("cellseg-nb needs Python {}, and there is none here (this is {}.{}): install one, for example with  "
                "pip install uv  (it then brings its own), conda, or your system's packages".format(
                    words, *sys.version_info[:2]))


def build_venv():
    """Make .venv, unless it is there and whole; one that is half-built is made anew."""
    whole = version(PYTHON_IN_VENV) in SUPPORTED and run([PYTHON_IN_VENV, "-m", "pip", "--version"])[0] == 0
    wanted = os.environ.get("PYTHON")
    if whole and (not wanted or version(wanted) == version(PYTHON_IN_VENV)):
        return
    python = find_python()
    if os.path.exists(VENV):
        print("The .venv that is here is half-built or of another Python: it is made anew", flush=True)
    if python is None:
        command = ["uv", "venv", "--quiet", "--clear", "--seed", "--python", "{}.{}".format(*SUPPORTED[0]), VENV]
    else:
        command = [python, "-m", "venv", "--clear", VENV]
    status, said = run(command)
    if status:
        raise Fault("{} could not be built ({}): on Debian and Ubuntu install python3-venv; see also that the disk is not "
                    "full".format(VENV, last_line(said)))


def install(rivals):
    found = "{}.{}".format(*version(PYTHON_IN_VENV))
    print("Installing into .venv with Python {}: a few minutes the first time".format(found), flush=True)
    pip(["torch"], "1. PyTorch")
    pip(["-e", ROOT + ("[test,brains,rivals]" if rivals else "[test,brains]")],
        "2. The package and what it needs" + (", StarDist and TensorFlow" if rivals else ""))
    if rivals:
        pip(["--no-deps", CELLPOSE], "3. Cellpose")
    # pip would compile on one core, the packages' own tests included. A few files of some packages cannot be compiled.
    run([PYTHON_IN_VENV, "-m", "compileall", "-q", "-j", "0", "-x", "/tests/", os.path.join(VENV, LIB),
         os.path.join(ROOT, "cellseg_nb")])


def pip(what, words):
    print("  " + words, flush=True)
    command = [PYTHON_IN_VENV, "-m", "pip", "install", "--no-compile", "--quiet", "--disable-pip-version-check",
               "--no-input", "-c", os.path.join(ROOT, "constraints.txt")]
    status, said = run(command + what)
    if status:  # a quiet pip does not say that it had no connection, only that it found nothing
        again = [word for word in command if word != "--quiet"] + ["--retries", "1", "--dry-run"]
        raise Fault(reason(said if "No space left" in said else run(again + what)[1] + said))


def reason(said):
    """pip's own words as one line with a remedy."""
    if "No space left" in said or "Errno 28" in said:
        return "the disk is full: free some space (3 GB, with StarDist 5, with CUDA 5 more) and run the same command again"
    if any(sign in said for sign in ("connection error", "NewConnectionError", "Failed to establish", "Temporary failure in name resolution",
                                     "ConnectTimeout", "ProxyError", "Network is unreachable", "Connection refused")):
        return ("pip cannot reach its package index: check the network (or pip's proxy and index settings) and run the "
                "same command again")
    return 'pip could not install it ({}): run the same command again; to see all, "{}" -m pip install -e .'.format(
        last_line(said), PYTHON_IN_VENV)


def last_line(said):
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith(("WARNING", "[notice]"))]
    errors = [line for line in lines if "ERROR" in line or "rror:" in line]
    return (errors or lines or ["no reason given"])[-1].strip()[:300]


def run(command):
    """Exit status and all that was said; 127 where there is no such program."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace")


if __name__ == "__main__":
    main(sys.argv[1:])
