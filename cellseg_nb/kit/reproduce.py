"""``cellseg-nb reproduce paper``: notebooks 01 to 08 in order, each once, and one report of all.

One JSON file says what is run (``data/reproduce_paper.json``, or your own). A run is finished when its folder
holds a summary and, in ``reproduced.json``, the same parameters: then it is not done again.

Runs go one after another on this machine, or, given the address of a Dask scheduler, on its workers, each
when those runs whose folders it reads are over.
"""

import json
import os
import re
import time

from cellseg_nb import __version__, parameters, runs
from cellseg_nb.brains import engine
from cellseg_nb.data import bundled
from cellseg_nb.errors import UserError
from cellseg_nb.io.files import as_path, reason, writable_folder, write_json
from cellseg_nb.kit import cost, report

RECORD = "reproduced.json"


def paper(config=None, out="results/paper", dry_run=False, scheduler=""):
    """Run what is not finished, then write the report. Returns 0, or 1 where a run failed.

    A run that fails is told in one line, and the others go on; started again, the command tries it again.
    ``scheduler``: address of a Dask scheduler whose workers do the runs, all in the one folder ``out``; "":
    this machine. Raises UserError for a configuration that cannot be right, before anything is run.
    """
    out = as_path(runs.absolute(out))
    plan = read(config, out)
    done = []
    for one in plan:  # what came of another run is as old as that
        done += [one["run"]] if finished(one) and set(one["after"]) <= set(done) else []
    if dry_run:
        print(*cost.words(plan, done), sep="\n")
        return 0
    writable_folder(out)
    for name in done:
        print(f"{name}: is done already", flush=True)
    left = [one for one in plan if one["run"] not in done]
    for one in left:
        (one["folder"] / RECORD).unlink(missing_ok=True)
    failed = {}
    for one, words in _on_workers(left, scheduler) if scheduler and left else _here(left):
        if words:
            failed[one["run"]] = words
        said = f"failed: {words}" if words else "is done"
        print(f"{one['run']}: {said}", flush=True)
    for path in report.write(out, plan, failed):
        print(path)
    return int(bool(failed))


def _here(left):
    """(run, why it failed or "") of each, one after another."""
    for number, one in enumerate(left, 1):
        print(f"[{number}/{len(left)}] {one['run']}: runs", flush=True)
        yield one, attempted(one)


def _on_workers(left, scheduler):
    """The same, as the workers of a Dask scheduler end them. Raises UserError for workers that cannot."""
    with engine.connected(scheduler) as client:
        import distributed

        workers = client.nthreads()
        if set(workers.values()) != {1}:
            raise UserError(
                f"the workers of {scheduler} take several runs at once, and a training wants a machine for "
                "itself: start one a machine, with  dask worker ADDRESS --nthreads 1"
            )
        print(f"{len(left)} runs on {len(workers)} workers", flush=True)
        sent = {}
        for one in left:
            before = [future for future, other in sent.items() if other["run"] in one["after"]]
            future = client.submit(attempted, one, before, pure=False)  # False: it may have failed before
            sent[future] = one
        for future in distributed.as_completed(list(sent), loop=client.loop):
            one = sent[future]
            words = future.result() if future.status == "finished" else engine.why(future.exception())
            unseen = f"its worker left nothing in {one['folder']}: all machines must see that folder"
            yield one, words or ("" if finished(one) else unseen)


def attempted(one, before=()):
    """Do a run of a plan. Returns "", or why it failed, in a line. ``before``: of what it waited for."""
    try:
        _run(one)
    except UserError as error:
        return str(error)
    return ""


def read(config, out):
    """The runs of a configuration: a list of dicts with run, notebook, parameters, trains, cubes, folder,
    after.

    ``parameters`` holds what `runs.run` is given, the ones common to all included; ``after`` are the earlier
    runs whose folders these name, as {out}/RUN. Raises UserError.
    """
    path = as_path(config) if config else bundled.path("reproduce_paper.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        listed, common = content["runs"], content.get("common", {})
        plan = [_one(one, common, out) for one in listed]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason(error)}): give a JSON file") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no configuration ({type(error).__name__}: {reason(error)}): compare with "
            f"{bundled.path('reproduce_paper.json')}"
        ) from error
    names = [one["run"] for one in plan]
    twice = [name for name in names if names.count(name) > 1]
    if twice or not names:
        raise UserError(f"{path}: {f'the run {twice[0]} is there twice' if twice else 'it has no runs'}")
    for number, one in enumerate(plan):
        one["after"] = [name for name in one["after"] if name in names[:number]]
    return plan


def _one(one, common, out):
    path = runs.find(one["notebook"])
    known = runs.parameters(path)
    own = {
        name: value.replace("{out}", str(out)) if isinstance(value, str) else value
        for name, value in one.get("parameters", {}).items()
    }
    unknown = [name for name in own if name not in known]
    if unknown or "out" in own:
        raise UserError(
            f"{one['run']}: {path.stem} has no parameter {unknown[0]!r}: it has {', '.join(known)}"
            if unknown
            else f"{one['run']}: out is the run's own folder, and not to be given"
        )
    given = {name: value for name, value in common.items() if name in known} | own
    for name, value in given.items():
        if isinstance(value, str):
            runs.convert(name, value, known[name])
    made = {"run": one["run"], "notebook": path.stem, "parameters": given, "trains": one.get("trains", {})}
    texts = " ".join(map(str, one.get("parameters", {}).values()))
    made["after"] = re.findall(r"\{out\}/(\w+)", texts)
    made["cubes"] = parameters.number(f"{one['run']}: cubes", one.get("cubes", 0), 0, whole=True)
    for method, count in made["trains"].items():
        parameters.number(f"{one['run']}: trains {method}", count, 0, whole=True)
    if not str(one["run"]).replace("_", "").isalnum():
        raise UserError(f"{one['run']!r} cannot be the name of a folder: letters, digits and _ only")
    return made | {"folder": out / one["run"]}


def record(one):
    """What a finished run was made with."""
    return {
        "notebook": one["notebook"],
        "parameters": one["parameters"],
        "version": __version__,
        "shrunk": os.environ.get("CELLSEG_NB_SHRINK", ""),
    }


def finished(one):
    """Whether a run is there, made with the same parameters and version."""
    try:
        noted = json.loads((one["folder"] / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    same = {name: noted.get(name) for name in record(one)} == record(one)
    return same and (one["folder"] / "summary.json").is_file()


def _run(one):
    begun = time.time()
    runs.run(one["notebook"], one["parameters"], one["folder"])
    write_json(one["folder"] / RECORD, record(one) | {"seconds": round(time.time() - begun, 1)})
