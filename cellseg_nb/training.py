"""One training loop for every network here: history, checkpoints, exact resume, callbacks.

The loop seeds every epoch anew with (seed, epoch). So a run that is killed and started again from its last
checkpoint draws the same cubes and the same dropout as one that was never killed, and ends with the same bits.
"""

import pickle
import time
from pathlib import Path

import numpy as np
import torch

from . import runtime
from .errors import UserError

CHECKPOINT = "checkpoint.pt"


class Stop(Exception):
    """Raised by a callback to end the training after the current epoch; its text says why."""


def train(model, loss, batches, epochs, *, learning_rate=1e-3, weight_decay=0.01, schedule="cosine", clip=1.0,
          seed=0, device="auto", folder=None, meta=None, callbacks=(), progress=True):
    """Train a model, and carry on from the last checkpoint in ``folder`` if there is one.

    Parameters
    ----------
    model : torch.nn.Module
    loss : torch.nn.Module
        ``loss(model, batch)`` returns a dict of scalars; the entry "loss" is minimised, all are recorded.
        Its buffers are saved with the checkpoint. ``loss.start_epoch(model, batch)`` is called, where it exists,
        with the first batch of every epoch.
    batches : callable
        ``batches(epoch, rng)`` yields the batches of one epoch (tensors, or tuples of tensors) and draws all its
        random numbers from the numpy generator ``rng``.
    schedule : "cosine" (falls to 0 at the last epoch, after a short warm-up) or "constant"
    clip : float or None
        Largest norm of the gradient; None: no limit.
    folder : path or None
        Gets ``checkpoint.pt`` after every epoch, written beside and renamed.
    meta : dict
        What the run depends on (widths, sizes, data). A checkpoint made with another meta is refused.
    callbacks : callables
        ``callback(history, model)`` after every epoch; may raise `Stop`.

    Returns the history: a list of dicts, one an epoch, with the mean of each loss term and the seconds it took.
    Raises UserError when a checkpoint does not belong to this run or is damaged, or the loss is not a number.
    """
    device = runtime.device(device)
    model.to(device)
    loss.to(device)
    runtime.seed_everything(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    meta = {"seed": seed, "learning_rate": learning_rate, "weight_decay": weight_decay, "schedule": schedule,
            "clip": clip, "epochs": epochs, **(meta or {})}
    path = Path(folder) / CHECKPOINT if folder else None
    history = _resume(path, model, loss, optimizer, meta, device) if path and path.exists() else []
    bar = runtime.progress(total=epochs, initial=len(history), desc="Training", unit="epoch", disable=not progress)
    stopped = bool(history) and history[-1].get("stopped")
    try:
        while len(history) < epochs and not stopped:
            epoch = len(history)
            _set_learning_rate(optimizer, learning_rate, schedule, epoch, epochs)
            row = _epoch(model, loss, batches, optimizer, clip, seed, epoch, device)
            history.append(row)
            try:
                for callback in callbacks:
                    callback(history, model)
            except Stop as reason:
                row["stopped"] = stopped = str(reason)
            if path:
                _save(path, model, loss, optimizer, meta, history)
            bar.update()
            bar.set_postfix({k: f"{v:.4g}" for k, v in row.items() if k not in ("epoch", "seconds", "stopped")})
    finally:
        bar.close()
    model.eval()
    return history


def _epoch(model, loss, batches, optimizer, clip, seed, epoch, device):
    start = time.perf_counter()
    rng = np.random.default_rng([seed, epoch])
    torch.manual_seed(int(rng.integers(2**31)))
    model.train()
    rows = []
    for number, batch in enumerate(batches(epoch, rng)):
        batch = _to(batch, device)
        if number == 0 and hasattr(loss, "start_epoch"):
            loss.start_epoch(model, batch)
        terms = loss(model, batch)
        if not torch.isfinite(terms["loss"]):
            raise UserError(f"the loss became {float(terms['loss'])} in epoch {epoch + 1}: lower the learning rate "
                            "(try a third of it), then run again; the last good checkpoint is kept")
        optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        rows.append({name: float(term.detach()) for name, term in terms.items()})
    if not rows:
        raise UserError("the training data gave no batch: is there at least one volume as large as one cube?")
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return {"epoch": epoch + 1, **means, "seconds": time.perf_counter() - start}


def _set_learning_rate(optimizer, base, schedule, epoch, epochs):
    if schedule == "cosine":
        warm = min(1.0, (epoch + 1) / max(1, 0.05 * epochs))
        base = base * warm * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
    elif schedule != "constant":
        raise UserError(f"schedule must be 'cosine' or 'constant', not {schedule!r}")
    for group in optimizer.param_groups:
        group["lr"] = base


def _to(batch, device):
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    return tuple(_to(part, device) for part in batch)


def _save(path, model, loss, optimizer, meta, history):
    from .volumes import atomic

    state = {"model": model.state_dict(), "loss": loss.state_dict(), "optimizer": optimizer.state_dict(),
             "meta": meta, "history": history}
    with atomic(path) as beside:
        torch.save(state, beside)


def _resume(path, model, loss, optimizer, meta, device):
    state = read_checkpoint(path)
    different = {k for k in meta.keys() | state["meta"].keys() if meta.get(k) != state["meta"].get(k)}
    if different:
        changes = ", ".join(f"{k} was {state['meta'].get(k)!r}, now {meta.get(k)!r}" for k in sorted(different))
        raise UserError(f"{path} belongs to another run ({changes}): choose another output folder, "
                        "delete this file, or set the parameters back")
    model.load_state_dict(state["model"])
    loss.load_state_dict(state["loss"])
    optimizer.load_state_dict(state["optimizer"])
    return state["history"]


def read_checkpoint(path):
    """Read a checkpoint that `train` wrote, on the CPU and without running code from it.

    Raises UserError when the file is missing, truncated, or not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist: train first, or give the folder of a finished training")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        assert {"model", "meta", "history"} <= state.keys()
    except (RuntimeError, EOFError, OSError, AssertionError, AttributeError, KeyError, ValueError,
            pickle.UnpicklingError) as error:
        raise UserError(f"{path} is damaged or not a checkpoint of this package: delete it and train again, "
                        "or give another file") from error
    return state
