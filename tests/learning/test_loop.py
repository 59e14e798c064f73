"""The loop: exact resume (also after SIGKILL), atomic checkpoints, clear refusals, balance, early
warnings."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from cellseg_nb.errors import UserError
from cellseg_nb.learning import loop, monitor
from cellseg_nb.learning.cubes import cube_batches
from cellseg_nb.methods.wnet3d import WNet3DMethod
from cellseg_nb.networks.wnet3d import WNet3D
from cellseg_nb.networks.wnet3d_loss import WNetLoss

TINY = dict(channels=(4, 4, 8, 8), cube=16, steps=2, epochs=4, dropout=0.3, device="cpu")


def blobs(shape=(24, 24, 24), seed=0):
    rng = np.random.default_rng(seed)
    volume = rng.random(shape, dtype=np.float32)
    volume[6:12, 6:12, 6:12] += 10
    return volume


def fit(folder=None, callbacks=(), **changes):
    method = WNet3DMethod(**{**TINY, **changes})
    history = method.fit([blobs()], folder=folder, callbacks=callbacks, progress=False)
    return method, history


def same(a, b):
    return all(
        torch.equal(x, y)
        for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    )


def test_seeded_and_deterministic():
    a, b, c = fit()[0], fit()[0], fit(seed=1)[0]
    assert same(a, b) and not same(a, c)


def test_a_run_stopped_between_epochs_ends_with_the_same_bits(tmp_path):
    class PowerCut(Exception):
        pass

    def cut(history, model):
        if len(history) == 3:
            raise PowerCut

    with pytest.raises(PowerCut):
        fit(tmp_path, callbacks=[cut])
    resumed, history = fit(tmp_path)
    whole, expected = fit()
    assert same(resumed, whole)
    assert [row["loss"] for row in history] == [row["loss"] for row in expected]


SCRIPT = """
    import sys, time
    sys.path.insert(0, {tests!r})
    import test_loop
    def slow(history, model):
        print(len(history), flush=True)
        time.sleep(0.3)
    method, history = test_loop.fit({folder!r}, callbacks=[slow])
    method.save({folder!r})
"""


@pytest.mark.slow
def test_killed_then_started_again(tmp_path):
    script = textwrap.dedent(SCRIPT.format(tests=os.path.dirname(__file__), folder=str(tmp_path / "run")))
    (tmp_path / "run").mkdir()
    first = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    for line in first.stdout:
        if line.strip() == "2":
            first.send_signal(signal.SIGKILL)
            break
    assert first.wait() == -signal.SIGKILL
    assert (tmp_path / "run" / loop.CHECKPOINT).is_file()
    second = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert "1" not in second.stdout.split()  # it carried on, it did not begin again
    assert same(WNet3DMethod.load(tmp_path / "run"), fit()[0])


def test_no_temporary_files_left(tmp_path):
    fit(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [loop.CHECKPOINT]


@pytest.mark.parametrize(
    "change, word",
    [
        (dict(channels=(8, 8, 8, 8)), "channels"),
        (dict(seed=5), "seed"),
        (dict(pull=0.5), "pull"),
        (dict(epochs=9), "epochs"),
    ],
)
def test_checkpoint_of_another_run(tmp_path, change, word):
    fit(tmp_path)
    before = (tmp_path / loop.CHECKPOINT).read_bytes()
    with pytest.raises(UserError, match=rf"belongs to another run.*{word}"):
        fit(tmp_path, **change)
    assert (tmp_path / loop.CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"not a checkpoint at all"]
)
def test_damaged_checkpoint(tmp_path, damage):
    fit(tmp_path)
    path = tmp_path / loop.CHECKPOINT
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="damaged") as error:
        fit(tmp_path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_pickle_with_code_is_not_run(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'owned'}",)

    (tmp_path / loop.CHECKPOINT).write_bytes(pickle.dumps(Evil()))
    torch.save({"model": Evil(), "meta": {}, "history": []}, tmp_path / "evil.pt")
    for name in (loop.CHECKPOINT, "evil.pt"):
        with pytest.raises(UserError, match="damaged"):
            loop.read_checkpoint(tmp_path / name)
    assert not (tmp_path / "owned").exists()


def test_nan_stops_with_advice(tmp_path):
    with pytest.raises(UserError, match="learning rate"):
        fit(tmp_path, learning_rate=1e30, balance="fixed")


def test_stop_from_a_callback_is_remembered(tmp_path):
    def enough(history, model):
        if len(history) == 2:
            raise loop.Stop("enough")

    _, history = fit(tmp_path, callbacks=[enough])
    assert len(history) == 2 and history[-1]["stopped"] == "enough"
    assert len(fit(tmp_path)[1]) == 2


def test_save_and_load(tmp_path):
    method, _ = fit()
    method.threshold = 0.7
    method.save(tmp_path)
    loaded = WNet3DMethod.load(tmp_path)
    assert same(method, loaded) and loaded.threshold == 0.7 and loaded.foreground == method.foreground
    assert np.array_equal(method.predict(blobs(), progress=False), loaded.predict(blobs(), progress=False))


def test_load_of_another_method_or_nothing(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        WNet3DMethod.load(tmp_path)
    torch.save({"method": "segresnet", "settings": {}, "model": {}}, tmp_path / "wnet3d.pt")
    with pytest.raises(UserError, match="'segresnet', not of 'wnet3d'"):
        WNet3DMethod.load(tmp_path)


def test_load_state_names_what_is_wrong():
    model = torch.nn.Linear(2, 3)
    with pytest.raises(
        UserError, match="missing 1 .bias.; surplus 1 .other.; misshapen 1 .weight: .5, 5. instead of .3, 2."
    ):
        loop.load_state(model, {"weight": torch.zeros(5, 5), "other": torch.zeros(1)}, "file.pth")


def test_either_class_may_be_the_foreground():
    from cellseg_nb.cells.inference import brightest

    volume = blobs()
    cell = (volume > 5).astype(np.float32)
    assert brightest(np.stack([cell, 1 - cell]), volume) == 0
    assert brightest(np.stack([1 - cell, cell]), volume) == 1
    assert brightest(np.stack([1 - cell, cell * 0.2, cell * 0.8 * (volume > 10.5)]), volume) == 2


def test_balance_keeps_the_pulls_comparable():
    torch.manual_seed(0)
    model, loss = WNet3D(2, (8, 8, 8, 8)), WNetLoss(pull=0.1)
    x = torch.rand(1, 1, 16, 16, 16) * 100
    model.eval()
    loss.start_epoch(model, x)
    p, _ = model(x)
    p = p.detach().requires_grad_()
    cut = torch.autograd.grad(loss.n_cuts_weight * loss.cut(p, x, **loss.sigmas), p)[0].norm()
    rec = torch.autograd.grad(loss.rec_weight * torch.nn.functional.mse_loss(model.decoder(p), x), p)[
        0
    ].norm()
    assert float(rec / cut) == pytest.approx(0.1, rel=1e-3)
    fixed = WNetLoss(balance="fixed", rec_weight=0.25)
    fixed.start_epoch(model, x)
    assert float(fixed.rec_weight) == 0.25


@pytest.mark.parametrize("reconstruction", ["mse", "bce"])
@pytest.mark.parametrize("form", ["class_mean", "pairwise"])
def test_both_forms_both_reconstructions_three_classes(form, reconstruction):
    method, history = fit(classes=3, form=form, reconstruction=reconstruction, epochs=1)
    assert np.isfinite(history[0]["loss"])
    assert method.classes(blobs(), progress=False).shape == (3, 24, 24, 24)


@pytest.mark.parametrize(
    "wrong", [dict(form="x"), dict(reconstruction="l1"), dict(balance="by hand"), dict(cube=20)]
)
def test_wrong_options(wrong):
    with pytest.raises(UserError):
        fit(**wrong)


def test_volume_smaller_than_a_cube():
    with pytest.raises(UserError, match="smaller than one training cube"):
        cube_batches([np.zeros((16, 16, 12), np.float32)], 16)


def test_early_warnings():
    fine = [{"epoch": 1, "n_cuts": 0.01, "shares": [0.97, 0.03]}]
    assert monitor.advice(fine, 0.03) == []
    assert "empty" in monitor.advice([{**fine[0], "shares": [1.0, 0.0]}], 0.03)[0]
    assert "broad regions" in monitor.advice(fine, 0.6)[0]
    assert "not done" in monitor.advice([{**fine[0], "n_cuts": 0.2}], 0.03)[0]
    assert "no voxel" in monitor.advice(fine, 0.0)[0]


def test_watch_records_shares_and_draws():
    drawn = []
    watch = monitor.Watch(
        blobs(), show=lambda history, plane, classes: drawn.append((plane.shape, classes.shape)), every=2
    )
    _, history = fit(callbacks=[watch])
    assert all(sum(row["shares"]) == pytest.approx(1, abs=1e-4) for row in history)
    assert drawn == [((24, 24), (2, 24, 24))] * 3


def test_enough_is_enough():
    """Three epochs below the limit end a training; two, or a mean above it, do not."""
    low, high = {"n_cuts": 0.005}, {"n_cuts": 0.02}
    for history in ([low, low], [high, low, low], [low] * 3 + [high]):
        monitor.stop_when_enough(history, None)
    with pytest.raises(loop.Stop, match="arrived"):
        monitor.stop_when_enough([high, low, low, low], None)


def test_another_start_where_one_led_to_broad_regions(monkeypatch, capsys, tmp_path):
    """Killed in its second start, the run resumes there, and ends with the same bits as one that nobody
    disturbed."""
    monkeypatch.setattr(monitor, "SOON", 2)
    monkeypatch.setattr(monitor, "STUCK", 0.0)  # every start is an unlucky one
    seen = []

    def run(folder, *callbacks):
        return fit(
            tmp_path / folder, [*callbacks, lambda history, model: seen.append(len(history))], restarts=2
        )

    def killed(history, model):
        if len(seen) == 8 + 3:
            raise KeyboardInterrupt

    undisturbed, history = run("one")
    assert seen == [1, 2, 1, 2, 1, 2, 3, 4] and len(history) == 4  # the last start is not ended
    said = capsys.readouterr().out
    assert said.count("broad regions") == 2 and "number 3" in said
    with pytest.raises(KeyboardInterrupt):
        run("two", killed)
    resumed, again = run("two")
    assert seen[8 + 3 :] == [2, 1, 2, 3, 4]  # of the second start, only what was not saved
    assert same(undisturbed, resumed) and [row["loss"] for row in again] == [row["loss"] for row in history]


def test_one_start_where_it_is_a_good_one(monkeypatch):
    monkeypatch.setattr(monitor, "SOON", 2)
    monkeypatch.setattr(monitor, "STUCK", 2.0)
    assert same(fit(restarts=2)[0], fit()[0])
