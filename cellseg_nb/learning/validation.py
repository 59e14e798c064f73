"""What a supervised training is worth on cubes it does not learn from, and the weights that were best
there."""

import torch

from cellseg_nb.io import files
from cellseg_nb.learning import loop
from cellseg_nb.networks import losses

BEST = "best.pt"


class Validation:
    """Callback: loss and Dice on the validation cubes after every epoch, and the weights with the best Dice
    so far.

    Adds "val_loss" and "val_dice" (at 0.5, all validation voxels together) to the history. The best weights
    are kept in ``best``, and in ``folder``/best.pt where there is a folder, so that a resumed run knows them.
    """

    def __init__(self, loss, cubes, folder=None):
        self.loss, self.cubes, self.best = loss, list(cubes.validation()), None
        self.path = files.writable_folder(folder) / BEST if folder else None

    def __call__(self, history, model):
        if not self.cubes:
            return
        was_training = model.training
        model.eval()
        device = next(model.parameters()).device
        total, both, either = 0.0, 0, 0
        with torch.inference_mode():
            for cube in self.cubes:
                image, target, valid = (part.to(device) for part in cube)
                found = losses.logits(model, image)
                total += float(self.loss.of(found, target, valid))
                found, target = found[:, 0] > 0, target[:, 0] > 0
                both += int((found & target).sum())
                either += int(found.sum()) + int(target.sum())
        model.train(was_training)
        history[-1] |= {"val_loss": total / len(self.cubes), "val_dice": 2 * both / either if either else 1.0}
        if all(history[-1]["val_dice"] > row["val_dice"] for row in history[:-1]):
            self.keep(model, history[-1]["epoch"])

    def keep(self, model, epoch):
        self.best = {
            "method": "best",
            "epoch": epoch,
            "model": {name: value.detach().cpu().clone() for name, value in model.state_dict().items()},
        }
        if self.path:
            with files.atomic(self.path) as beside:
                torch.save(self.best, beside)

    def weights(self):
        """The best state dict, also when it was found before the run was interrupted; None without
        validation."""
        if self.best is None and self.cubes and self.path:
            self.best = loop.read_saved(self.path, BEST, "best")
        return self.best
