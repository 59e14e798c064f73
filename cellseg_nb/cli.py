"""The command line: ``cellseg-nb list``, ``run NOTEBOOK -p NAME VALUE -o OUT``, ``copy FOLDER``,
``look FILE``, ``convert FILE OUT``, ``doctor``, ``serve BUNDLE``, ``reproduce paper``."""

import argparse
import sys
import traceback

from cellseg_nb import __version__
from cellseg_nb.errors import UserError


def main(arguments=None):
    """Returns the exit status: 0, or 1 with one line on standard error when the user's input is at fault."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.command:
        parser.print_help()
        return 1
    try:
        return options.command(options) or 0
    except (Exception, KeyboardInterrupt) as error:
        if options.debug:
            traceback.print_exc()
        message = _words(error)
    print(f"cellseg-nb: {message}", file=sys.stderr)
    return 1


def _words(error):
    """One line: the user's own kind of error as it is, a library's without its depths."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run the same command again to carry on"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]} (--debug shows where)"


def _parser():
    parser = argparse.ArgumentParser(
        prog="cellseg-nb", description="Run the cellseg-nb notebooks from the command line."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(command=None, debug=False)
    commands = parser.add_subparsers(title="commands")
    _for_notebooks(commands)
    _for_files(commands)
    _for_rooms(commands)
    for command in commands.choices.values():
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _for_notebooks(commands):
    listing = commands.add_parser("list", help="show the notebooks and their parameters")
    listing.set_defaults(command=_list)

    run = commands.add_parser(
        "run",
        help="execute a notebook on your data",
        description="Execute a notebook; leave it, its report and its results in a folder.",
    )
    run.add_argument("notebook", help="its name, for example 00_quickstart")
    run.add_argument("-o", "--out", help="folder for the results (default: results/NOTEBOOK)")
    _takes_parameters(run, "set a parameter of the notebook; give it once for each")
    run.set_defaults(command=_run)

    copy = commands.add_parser(
        "copy", help="copy the notebooks into a folder of yours, to open them in Jupyter"
    )
    copy.add_argument("folder", nargs="?", default="notebooks", help="default: notebooks")
    copy.add_argument("--students", action="store_true", help="leave the solutions of the exercises out")
    copy.set_defaults(command=_copy)


def _for_files(commands):
    look = commands.add_parser(
        "look", help="say what a file holds: images, axes, voxel size, channels, levels"
    )
    look.add_argument("file", help="a file of any format that is read, or an OME-Zarr folder")
    look.set_defaults(command=_look)

    convert = commands.add_parser(
        "convert",
        help="write one volume of a file as TIFF or OME-Zarr, or a table as CSV or Parquet",
        description="Write one volume of a file as TIFF (.tif) or OME-Zarr (.zarr), with its voxel size, or "
        "a table (.csv, .parquet) as the other kind; the ending of OUT says which.",
    )
    convert.add_argument("file")
    convert.add_argument("out")
    words = "which volume: channel, timepoint, series, level; axes, voxel_size where the file is wrong"
    _takes_parameters(convert, words)
    convert.set_defaults(command=_convert)


def _for_rooms(commands):
    """For a class, and for the whole paper."""
    doctor = commands.add_parser(
        "doctor", help="say what is installed, what is missing, and which device is used"
    )
    doctor.add_argument(
        "--class",
        dest="classroom",
        action="store_true",
        help="check, with a short training, whether this machine can follow a class",
    )
    doctor.add_argument("--seconds", type=float, default=60.0, help="of that training (default: 60)")
    doctor.set_defaults(command=_doctor)

    serve = commands.add_parser("serve", help="serve a bundle (make bundle) to a room without internet")
    serve.add_argument("folder", help="the folder of the bundle")
    serve.add_argument(
        "--host", default="127.0.0.1", help="this machine's address in the room; default: itself alone"
    )
    serve.add_argument("--port", type=int, default=8000)
    serve.set_defaults(command=_serve)

    reproduce = commands.add_parser(
        "reproduce",
        help="run the paper's experiments in order; one report beside the published numbers",
        description="Run notebooks 01 to 08 in profile paper, one after another; what is finished is not "
        "done again. Ends in report.md, report.html and report.csv, each number beside the published one.",
    )
    reproduce.add_argument("what", choices=["paper"])
    reproduce.add_argument("-c", "--config", help="your own JSON file (default: data/reproduce_paper.json)")
    reproduce.add_argument("-o", "--out", default="results/paper", help="default: results/paper")
    words = "address of a Dask scheduler whose workers do the runs; default: this machine, one by one"
    reproduce.add_argument("--scheduler", default="", metavar="ADDRESS", help=words)
    reproduce.add_argument("--dry-run", action="store_true", help="say hours, memory and disk; run nothing")
    reproduce.set_defaults(command=_reproduce)


def _takes_parameters(command, words):
    command.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help=words
    )


def _list(options):
    from cellseg_nb import runs

    for path in runs.notebooks():
        title, names = runs.describe(path)
        print(f"{path.stem:24s} {title}")
        print(f"{'':24s}   parameters: {', '.join(names)}")


def _run(options):
    from cellseg_nb import runs

    folder = runs.run(options.notebook, dict(options.parameter), options.out)
    runs.print_outcome(folder)


def _copy(options):
    from cellseg_nb import runs
    from cellseg_nb.kit import copies

    for path in (copies.student_copies if options.students else runs.copy)(options.folder):
        print(path)


def _look(options):
    from cellseg_nb.io import convert

    print(*convert.look(options.file), sep="\n")


def _convert(options):
    if options.file.lower().endswith((".csv", ".tsv", ".txt", ".parquet")):
        from cellseg_nb.evaluation import tables

        print(tables.convert(options.file, options.out))
    else:
        from cellseg_nb.io import convert

        print(convert.convert(options.file, options.out, dict(options.parameter)))


def _doctor(options):
    from cellseg_nb import doctor
    from cellseg_nb.kit import classroom

    return classroom.report(options.seconds) if options.classroom else doctor.report()


def _serve(options):
    from cellseg_nb.kit import server

    with server.start(options.folder, options.host, options.port) as serving:
        print(*server.words(serving), sep="\n", flush=True)
        serving.serve_forever()


def _reproduce(options):
    from cellseg_nb.kit import reproduce

    return reproduce.paper(options.config, options.out, options.dry_run, options.scheduler)


if __name__ == "__main__":
    raise SystemExit(main())
