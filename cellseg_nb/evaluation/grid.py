"""A grid of runs (methods x folds x seeds ...): each done once, kept on the disk, and put together as one
tidy table.

A notebook that is stopped and run again computes only what is missing.
"""

import hashlib
import json
import os
import re
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from cellseg_nb import runtime
from cellseg_nb.errors import UserError
from cellseg_nb.io import files


def run(jobs, work, context, folder, settings=None, processes=1, desc="Runs"):
    """Do every job that is not done yet. Returns a tidy table: for each job its rows, the job's own values
    first.

    Parameters
    ----------
    jobs : list of dicts
        Plain values that name a run, such as {"method": "otsu", "fold": "c3", "seed": 0}.
    work : function of a module
        ``work(job, context)`` returns a list of rows (dicts of plain values).
    context : anything that can be pickled
        What all jobs share: data, options. Sent once to each process.
    folder : path
        Each finished job is one JSON file in it, written beside and renamed.
    settings : dict, or a function that returns it for a job
        What the results depend on besides the job (sizes, a fingerprint of the data). A file made with others
        is not used, and replaced. As a function, it lets one method's settings change without the others'.
    processes : int
        1: one after the other, here. More: that many processes with an equal share of the cores each.

    The column "seconds" says how long a job took. A job that ends in UserError has no rows; its line is
    printed, the others go on, and it is tried again next time.
    """
    import pandas

    folder = files.writable_folder(folder)
    depends = [settings(job) if callable(settings) else settings or {} for job in jobs]
    done = [kept(_file(job, folder), own) for job, own in zip(jobs, depends)]
    rows = [found and found["rows"] for found in done]
    waiting = [number for number, found in enumerate(rows) if found is None]
    problems = []
    with runtime.progress(total=len(jobs), initial=len(jobs) - len(waiting), desc=desc, unit="run") as bar:
        for number, found, seconds, problem in _results(waiting, jobs, work, context, processes, bar):
            if problem:
                problems.append(f"{_words(jobs[number])}: {problem}")
            else:
                rows[number] = [{**jobs[number], **row, "seconds": round(seconds, 1)} for row in found]
                file = _file(jobs[number], folder)
                keep(file, depends[number], job=jobs[number], rows=rows[number])
            bar.update()
    for line in problems:
        print("No result for", line)
    return pandas.DataFrame([row for some in rows for row in some or []])


def keep(file, settings, **found):
    """Write plain values to a JSON file, with the settings they were made with; see `kept`."""
    files.write_json(file, {"settings": _plain(settings), **found})


def kept(file, settings):
    """What `keep` wrote: a dict. None where nothing is, where it is damaged, and where it was made with other
    settings: then it must be made anew."""
    try:
        found = json.loads(files.as_path(file).read_text(encoding="utf-8"))
        return found if found["settings"] == _plain(settings) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _plain(settings):
    return json.loads(json.dumps(settings, default=str))


def at_once(processes, device):
    """How many runs at a time; 0: one a core, at most 8, or one alone on a GPU, which they would share."""
    if processes:
        return processes
    return min(8, os.cpu_count() or 1) if runtime.device(device).type == "cpu" else 1


def _results(waiting, jobs, work, context, processes, bar):
    """(number, rows, seconds, problem) of each job as it ends."""
    processes = max(1, min(processes, len(waiting), os.cpu_count() or 1))
    if processes == 1:
        for number in waiting:
            bar.set_postfix_str(_words(jobs[number]))
            yield number, *_timed(work, jobs[number], context)
        return
    share = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(processes, get_context("spawn"), _start, (work, context, share)) as pool:
        running = {pool.submit(_elsewhere, jobs[number]): number for number in waiting}
        try:
            for future in as_completed(running):
                yield running[future], *future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _timed(work, job, context):
    start = time.perf_counter()
    try:
        return work(job, context), time.perf_counter() - start, ""
    except UserError as error:
        return [], time.perf_counter() - start, str(error)


_shared = {}  # in a process of the pool: what its jobs share


def _start(work, context, threads):
    import torch

    torch.set_num_threads(threads)
    _shared.update(work=work, context=context)


def _elsewhere(job):
    return _timed(_shared["work"], job, _shared["context"])


def _words(job):
    return ", ".join(str(value) for value in job.values())


def _file(job, folder):
    """A name for people, and a few digits that tell apart what it leaves out."""
    text = json.dumps(job, sort_keys=True, default=str)
    name = re.sub(r"[^\w.-]+", "-", "_".join(str(value) for value in job.values()))[:100]
    return Path(folder) / f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:6]}.json"
