"""One training loop for every network here: history, checkpoints, exact resume, callbacks.

The loop seeds every epoch anew with (seed, epoch), and leaves random numbers and deterministic mode as it
found them. So a run that is killed and started again from its last checkpoint draws the same cubes and the
same dropout as one that was never killed, and ends with the same bits: on a CPU, with as many threads. On
CUDA it is not promised: the backward pass of trilinear resizing (SegResNet) adds up in any order there, so
that two runs differ in the last digits, killed or not.
"""

import time
from pathlib import Path

import numpy as np
import torch

from cellseg_nb import runtime
from cellseg_nb.errors import UserError
from cellseg_nb.learning import fast as faster, loader
from cellseg_nb.learning.step import RunningAverage, Steps

CHECKPOINT = "checkpoint.pt"


class Stop(Exception):
    """Raised by a callback to end the training after the current epoch; its text says why."""


class Pause(Stop):
    """The same for now only: called again, the training goes on."""


def train(
    model,
    loss,
    batches,
    epochs,
    *,
    learning_rate=1e-3,
    optimizer="adamw",
    weight_decay=0.01,
    schedule="cosine",
    clip=1.0,
    average=None,
    seed=0,
    device="auto",
    fast=(),
    workers=None,
    folder=None,
    meta=None,
    callbacks=(),
    progress=True,
):
    """Train a model, and carry on from the last checkpoint in ``folder`` if there is one.

    Parameters
    ----------
    model : torch.nn.Module
    loss : torch.nn.Module
        ``loss(model, batch)`` returns a dict of scalars; the entry "loss" is minimised, all are recorded.
        Its buffers are saved with the checkpoint. ``loss.start_epoch(model, batch)`` is called, where it
        exists, with the first batch of every epoch.
    batches : callable
        ``batches(epoch, rng)`` yields the batches of one epoch (tensors, or tuples of tensors) and draws all
        its random numbers from the numpy generator ``rng``.
    optimizer : "adamw" (the decay does not mix with the step size) or "adam" (L2 decay, as published)
    schedule : "cosine" (constant until 60 % of the epochs, then falls to 0) or "constant"
    clip : float or None
        Largest norm of the gradient; None or 0: no limit.
    average : float or None
        Decay of a running average of the weights, in steps (0.96 looks back about 25 steps); None or 0: none.
        The average is what callbacks see and what ``model`` holds in the end: it does not wobble from step to
        step.
    fast : names out of `cellseg_nb.learning.fast.WORDS`, for CUDA GPUs
    workers : int or None
        Processes that make the batches, where these are `cellseg_nb.learning.loader.Batches`. 0: this
        process. None: 0 on a CPU, else see `cellseg_nb.learning.loader.usual`.
    folder : path or None
        Gets ``checkpoint.pt`` after every epoch, written beside and renamed.
    meta : dict
        What the run depends on (widths, sizes, data). A checkpoint made with another meta is refused.
    callbacks : callables
        ``callback(history, model)`` after every epoch; may raise `Stop`, or `Pause`.

    Returns the history: a list of dicts, one an epoch, with the mean of each loss term and the seconds it
    took; "pieces", where the memory of the GPU was too small for a batch: then a resumed run begins with as
    many (`cellseg_nb.learning.step`). Raises UserError when a checkpoint does not belong to this run or is
    damaged, or the loss is not a number, which is looked at after each step, on CUDA after each epoch; the
    weights are those before it (but on Apple's GPUs).
    """
    device = runtime.device(device)
    fast = faster.usable(fast, device)
    model.to(device)
    loss.to(device)
    asked = dict(seed=seed, learning_rate=learning_rate, optimizer=optimizer, weight_decay=weight_decay)
    asked |= dict(schedule=schedule, clip=clip, average=average, epochs=epochs)
    meta = asked | ({"fast": fast} if fast else {}) | (meta or {})
    seen, scaler = faster.prepared(model, fast, device)
    optimizer = _optimizer(optimizer, model, learning_rate, weight_decay, device)
    averaged = RunningAverage(model, average) if average else None
    parts = dict(model=model, loss=loss, optimizer=optimizer, averaged=averaged, scaler=scaler)
    parts = {name: part for name, part in parts.items() if part is not None}
    path = Path(folder) / CHECKPOINT if folder else None
    history = _resume(path, parts, meta) if path and path.exists() else []
    last = history[-1] if history else {}
    stopped = last.get("stopped")
    rest = dict(clip=clip, averaged=averaged, seen=seen, scaler=scaler, pieces=last.get("pieces", 1))
    steps = Steps(model, loss, optimizer, **rest)
    batches = loader.loaded(batches, workers, device)
    shown = averaged.module if averaged else model
    with (
        runtime.seeded(seed),
        runtime.deterministic(),
        runtime.enough_memory(),
        faster.products(fast),
        runtime.progress(
            total=epochs, initial=len(history), desc="Training", unit="epoch", disable=not progress
        ) as bar,
    ):
        while len(history) < epochs and not stopped:
            epoch = len(history)
            _set_learning_rate(optimizer, learning_rate, schedule, epoch, epochs)
            history.append(_epoch(steps, batches, seed, epoch, device, late=device.type == "cuda"))
            stopped = _called(callbacks, history, shown)
            if path:
                _save(path, parts, meta, history)
            bar.update()
            bar.set_postfix(_words(history[-1]))
    if averaged:
        model.load_state_dict(averaged.module.state_dict())
    model.eval()
    return history


def _called(callbacks, history, model):
    """Call them after an epoch. Returns why one of them ends the training, or None; what is no `Pause` is
    noted in the history as well."""
    try:
        for callback in callbacks:
            callback(history, model)
    except Stop as reason:
        if not isinstance(reason, Pause):
            history[-1]["stopped"] = str(reason)
        return str(reason)


def _words(row):
    """The loss terms of an epoch, as the bar shows them."""
    terms = {name: value for name, value in row.items() if isinstance(value, float) and name != "seconds"}
    return {name: f"{value:.4g}" for name, value in terms.items()}


def _optimizer(name, model, learning_rate, weight_decay, device):
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    if name not in kinds:
        raise UserError(f"optimizer must be 'adamw' or 'adam', not {name!r}")
    # fused: one pass over the weights instead of ten
    rest = dict(weight_decay=weight_decay, fused=device.type in ("cpu", "cuda"))
    return kinds[name](model.parameters(), lr=learning_rate, **rest)


def _epoch(steps, batches, seed, epoch, device, late):
    """One epoch. ``late``: look at the loss at its end alone, since to look at a number of CUDA is to wait
    until all before it is done."""
    start = time.perf_counter()
    rng = np.random.default_rng([seed, epoch])
    torch.manual_seed(int(rng.integers(2**31)))
    steps.model.train()
    rows = []
    for number, batch in enumerate(batches(epoch, rng)):
        batch = _to(batch, device)
        if number == 0:
            steps.start_epoch(batch)
        rows.append(steps(batch))
        if not late:
            _check(rows[-1:], epoch)
    if not rows:
        raise UserError("the training data gave no batch: is there at least one volume as large as one cube?")
    means = {name: float(np.mean(values)) for name, values in _check(rows, epoch).items()}
    pieces = {"pieces": steps.pieces} if steps.pieces > 1 else {}
    return {"epoch": epoch + 1, **means, **pieces, "seconds": time.perf_counter() - start}


def _check(rows, epoch):
    """The loss terms of some steps as numbers: {name: list}. Raises UserError where the loss is none."""
    found = {name: torch.stack([row[name] for row in rows]).tolist() for name in rows[0]}
    wrong = [loss for loss in found["loss"] if not np.isfinite(loss)]
    if wrong:
        raise UserError(
            f"the loss became {wrong[0]} in epoch {epoch + 1}: lower the learning rate "
            "(try a third of it), then run again; the last good checkpoint is kept"
        )
    return found


def _set_learning_rate(optimizer, base, schedule, epoch, epochs):
    if schedule == "cosine":
        fallen = max(0.0, (epoch / epochs - 0.6) / 0.4)
        base = base * 0.5 * (1 + np.cos(np.pi * fallen))
    elif schedule != "constant":
        raise UserError(f"schedule must be 'cosine' or 'constant', not {schedule!r}")
    for group in optimizer.param_groups:
        group["lr"] = float(base)


def _to(batch, device):
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)  # does not wait where the batch lies in pinned memory
    return tuple(_to(part, device) for part in batch)


def _save(path, parts, meta, history):
    from cellseg_nb.io.files import atomic

    state = {**{name: part.state_dict() for name, part in parts.items()}, "meta": meta, "history": history}
    with atomic(path) as beside:
        torch.save(state, beside)


def _resume(path, parts, meta):
    state = read_checkpoint(path)
    different = {k for k in meta.keys() | state["meta"].keys() if meta.get(k) != state["meta"].get(k)}
    if different:
        changes = ", ".join(
            f"{k} was {state['meta'].get(k)!r}, now {meta.get(k)!r}" for k in sorted(different)
        )
        raise UserError(
            f"{path} belongs to another run ({changes}): choose another output folder, "
            "or set the parameters back"
        )
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (RuntimeError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} holds another network than this run trains: choose another output folder"
        ) from error
    return state["history"]


def read_checkpoint(path):
    """Read a checkpoint that `train` wrote. Raises UserError when it is missing, cut short or something
    else."""
    return _read(Path(path), {"model", "meta", "history"}, "a checkpoint")


def read_saved(folder, name, method):
    """Read the weights file ``name`` of a method from its folder (or the file itself).

    Raises UserError when it is missing, damaged, or another method's.
    """
    path = Path(folder)
    path = path / name if path.is_dir() else path
    state = _read(path, {"method"}, "a weights file")
    if state["method"] != method:
        raise UserError(
            f"{path} holds weights of {state['method']!r}, not of {method!r}: give the folder of a {method} "
            "training"
        )
    return state


def _read(path, entries, words):
    """A file that was written here, as data: code in it is not run."""
    if not path.is_file():
        raise UserError(f"{path} does not exist: train first, or give the folder of a finished training")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not entries <= state.keys():
            raise KeyError(*entries)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise UserError(
            f"{path} is damaged or not {words} of this package: delete it and train again, or give "
            "another file"
        ) from error
    return state


def load_state(model, state, path):
    """Load a state dict strictly; a UserError names the first missing, surplus and misshapen entries."""
    own = model.state_dict()
    missing, surplus = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{k}: {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own.keys() & state.keys()
        if own[k].shape != state[k].shape
    ]
    wrong = [
        f"{what} {len(names)} ({', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("surplus", surplus), ("misshapen", shapes))
        if names
    ]
    if wrong:
        raise UserError(
            f"{path} does not fit this network: {'; '.join(wrong)}. Choose the architecture and widths "
            "it was trained with"
        )
    model.load_state_dict(state)
