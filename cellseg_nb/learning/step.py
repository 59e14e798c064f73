"""One step of a training. Nothing is read back from the device in it: a GPU is given the next work while it
is still busy with the last, and need not be waited for.

Where the GPU's memory is too small for a batch, the batch is taken in parts whose gradients are added up.
"""

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cellseg_nb.errors import UserError


class Steps:
    """``steps(batch)`` learns from one batch; returns the loss terms, {name: scalar tensor on the device}.

    Parameters
    ----------
    model, loss, optimizer, clip : see `cellseg_nb.learning.loop.train`
    averaged : RunningAverage or None
    seen : callable
        What the loss is given as its model: ``model``, as `cellseg_nb.learning.fast` makes it faster.
    scaler : torch.amp.GradScaler, or None
    pieces : int
        In how many parts a batch is taken. Doubled where memory is too small, not the batch made smaller: the
        gradient is that of the whole batch (of a loss that is a mean over cubes), so that the learning rate
        stays right. Dropout is drawn otherwise; `WNetLoss` with ``seeded`` squares each part by itself, and
        finds its balance on the first part.

    A loss that is no number ends all learning until `start_epoch`: weights stay as they were before it,
    without the device being asked (with fused optimisers, hence on CUDA and the CPU; a scaler skips such
    steps one by one).
    """

    def __init__(self, model, loss, optimizer, *, clip=None, averaged=None, seen=None, scaler=None, pieces=1):
        self.model, self.loss, self.optimizer, self.clip = model, loss, optimizer, clip
        self.averaged, self.pieces = averaged, pieces
        self.seen = model if seen is None else seen
        self.scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
        self.fused = bool(optimizer.defaults.get("fused"))
        self.bad = None

    def start_epoch(self, batch):
        """Forget what went wrong, and let the loss look at the first batch (or the first part of it)."""
        self.bad = None
        if hasattr(self.loss, "start_epoch"):
            self._fitting(batch, lambda parts: self.loss.start_epoch(self.model, parts[0]))

    def __call__(self, batch):
        terms = self._fitting(batch, self._gradients)
        bad = ~torch.isfinite(terms["loss"])
        self.bad = bad if self.bad is None else self.bad | bad
        self.scaler.unscale_(self.optimizer)
        if self.clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        if self.fused:  # its kernel leaves the weights alone where this is 1
            self.optimizer.found_inf = self.bad.float()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.averaged:
            self.averaged.update_parameters(self.model)
        return terms

    def _gradients(self, parts):
        """The gradients of all parts together; the loss terms of the batch."""
        self.optimizer.zero_grad(set_to_none=True)
        total, whole = {}, sum(map(length, parts))
        for part in parts:
            terms = self.loss(self.seen, part)
            if len(parts) > 1:
                terms = {name: term * (length(part) / whole) for name, term in terms.items()}
            self.scaler.scale(terms["loss"]).backward()
            for name, term in terms.items():  # a copy: a term may be a buffer that changes later
                total[name] = total[name] + term.detach() if name in total else term.detach().clone()
        return total

    def _fitting(self, batch, work):
        """``work(parts)`` in as many parts as the memory of the GPU needs."""
        while True:
            try:
                return work(split(batch, self.pieces))
            except torch.cuda.OutOfMemoryError:
                pass  # the error holds on to what fills the memory: it must be gone before the next try
            self._halve(length(batch))

    def _halve(self, size):
        if self.pieces >= size:
            raise UserError(
                "a single training cube does not fit into the memory of the GPU: choose a smaller cube or a "
                "narrower network, close what else uses the GPU, or give device='cpu'"
            )
        self.pieces = min(2 * self.pieces, size)
        self.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()  # nothing without CUDA
        print(
            f"The memory of the GPU is too small for {size} cubes at once: from here on each batch is taken "
            f"in {self.pieces} parts, and their gradients are added up."
        )


def length(batch):
    """How many cubes a batch has: a tensor, or a tuple of tensors."""
    return len(batch if isinstance(batch, torch.Tensor) else batch[0])


def split(batch, pieces):
    """A batch as a list of at most ``pieces`` parts, none of them empty."""
    pieces = min(pieces, length(batch))
    if isinstance(batch, torch.Tensor):
        return list(batch.tensor_split(pieces))
    return list(zip(*(part.tensor_split(pieces) for part in batch)))


class RunningAverage(AveragedModel):
    """A running average of the weights; short memory at first: the random start is soon forgotten.

    PyTorch's own update sends the number of steps so far to the device, and waits until it is there."""

    def __init__(self, model, decay):
        super().__init__(model)
        self.decay = decay
        self.eval()

    @torch.no_grad()
    def update_parameters(self, model):
        pairs = [list(one.parameters()) for one in (self.module, model)]
        count = float(self.n_averaged)  # lies on the CPU
        if count:
            get_ema_multi_avg_fn(min(self.decay, (1 + count) / (10 + count)))(*pairs, self.n_averaged)
        else:
            torch._foreach_copy_(*pairs)
        for own, other in zip(self.module.buffers(), model.buffers()):
            own.copy_(other)
        self.n_averaged += 1
