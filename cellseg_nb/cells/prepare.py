"""Mend what `faults` and `light` finds, one step after the other, before a network learns from a volume.

`prepare` looks, says what it sees, and hands back a volume on the scale 0..100. Where nothing is found, that
is the published remapping, voxel by voxel. With ``steps="paper"`` nothing is looked for.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage as ndi

from cellseg_nb.cells import background, faults, light
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes

# In this order: each is looked for in what the steps before have left.
STEPS = {
    "dark": light.find_dark,
    "slices": faults.find_lost_slices,
    "padding": faults.find_padding,
    "hot": faults.find_hot,
    "vessel": light.find_vessel,
    "decay": light.find_decay,
    "background": light.find_uneven,
    "stripes": faults.find_stripes,
    "scale": light.find_top,
    "sampling": light.find_rare,
}
FAULTS = ("dark", "slices", "padding", "hot", "vessel")  # what no brightness of a cell survives
GAIN = 20.0  # the dimmest end is made brighter by no more than this


@dataclass
class Prepared:
    """``volume`` (Z, Y, X) float32 in 0..100; ``valid`` bool: false where nothing was measured (padding,
    vessels), which is background in the result; ``focus`` bool or None: cubes for training are drawn around
    these voxels; ``findings``."""

    volume: np.ndarray
    valid: np.ndarray
    focus: np.ndarray | None = None
    findings: list = field(default_factory=list)
    steps: tuple = ()

    @property
    def changed(self):
        """Whether the volume is anything but the published remapping of what was read."""
        return any(found.switch in self.steps and found.switch != "sampling" for found in self.findings)

    @property
    def record(self):
        """For ``summary.json``: what was seen, and which steps were done."""
        return {
            "seen": [
                {"name": f.name, "text": f.text, "step": f.switch, "done": f.switch in self.steps}
                for f in self.findings
            ],
            "steps": list(self.steps),
            "left_out": float(1 - self.valid.mean()),
        }


def prepare(volume, voxel_size=None, cell_diameter=None, steps="auto"):
    """Look at a volume and mend it.

    Parameters
    ----------
    volume : (Z, Y, X) array of any real dtype
    voxel_size : (z, y, x) in µm or None
    cell_diameter : float or None
        In µm (voxels of the finest axis without a voxel size); None: 8 voxels of the finest axis.
    steps : "auto", "paper" (only remapped, minimum to maximum), or some names of `STEPS`

    Returns `Prepared`. Raises UserError for a step that does not exist.
    """
    done = chosen(steps)
    if steps == "paper":
        return Prepared(volumes.remap(volume), np.ones(np.shape(volume), bool))
    diameter = background.widths(voxel_size, cell_diameter)
    now = np.array(volume, np.float32)
    state = Prepared(now, np.isfinite(now), steps=done)
    if not state.valid.all():
        now[~state.valid] = background.middle(now, state.valid)
        volume = now.copy()  # what is not a number has no place on any scale
    for switch, look in STEPS.items():
        found = look(state.volume, state.valid, diameter)
        if found is None:
            continue
        state.findings.append(found)
        if found.switch in done:
            MEND[switch](state, found, diameter)
        if not state.valid.any():  # all of it is padding: nothing is left to look at
            break
    state.steps = tuple(f.switch for f in state.findings if f.switch in done)
    state.volume = _scaled(state) if state.changed else volumes.remap(volume)
    return state


def bright_side(volume, voxel_size=None, steps="auto"):
    """The volume (Z, Y, X) itself, or its negative where its cells are dark and the step "dark" is chosen: to
    see how large they are, which `prepare` asks for. Cells are looked for at 8 voxels of the finest axis."""
    now = np.array(volume, np.float32)
    valid = np.isfinite(now)
    dark = "dark" in chosen(steps) and light.find_dark(now, valid, background.widths(voxel_size, None))
    return -now if dark else volume


def chosen(steps):
    """The names of steps meant by "auto" (all), "paper" (none), names with commas between them, or
    "auto,-hot" (all but these). Raises UserError."""
    if isinstance(steps, str):
        words = tuple(part.strip() for part in steps.split(",") if part.strip())
        left_out = [word[1:] for word in words if word.startswith("-")]
        steps = {"auto": tuple(STEPS), "paper": ()}.get(steps, words)
        if left_out and {*words} <= {"auto", *(f"-{name}" for name in STEPS)}:
            steps = tuple(name for name in STEPS if name not in left_out)
    unknown = [name for name in steps if name not in STEPS]
    if unknown:
        raise UserError(
            f"preprocess: there is no step {unknown[0]!r}: 'auto', 'paper', or some of {', '.join(STEPS)}"
        )
    return tuple(steps)


def _fill_slices(state, found, diameter):
    """Between the good slices on either side, as far as each is near."""
    lost = found.curve.astype(bool)
    good = np.flatnonzero(~lost)
    for z in np.flatnonzero(lost):
        before, after = good[good < z], good[good > z]
        a, b = (before[-1] if len(before) else after[0]), (after[0] if len(after) else before[-1])
        part = 0.5 if a == b else (z - a) / (b - a)
        state.volume[z] = (1 - part) * state.volume[a] + part * state.volume[b]
        state.valid[z] = state.valid[a] & state.valid[b]


def _mask(state, found, diameter):
    state.valid &= ~found.where
    _fill(state, diameter)


def _fill(state, diameter):
    """Put background with its own noise where nothing was measured, so that no edge is there to be
    learned."""
    inside = state.volume[state.valid]
    if not inside.size or state.valid.all():
        return
    field = background.level(state.volume, state.valid, background.step(state.volume.shape, diameter), 40)
    rest = (state.volume - field)[state.valid]
    usual = rest[np.abs(rest - np.median(rest)) < 3 * background.spread(rest) + 1e-6]
    gaps = ~state.valid
    drawn = np.random.default_rng(0).choice(usual, int(gaps.sum())) if usual.size else 0
    state.volume[gaps] = field[gaps] + drawn


def _replace_hot(state, found, diameter):
    around = ndi.median_filter(
        np.where(found.where, np.nan_to_num(background.middle(state.volume, state.valid)), state.volume), 3
    )
    state.volume[found.where] = around[found.where]


def _even_lines(state, found, diameter):
    state.volume -= found.field


def _negative(state, found, diameter):
    state.volume = state.volume.max() + state.volume.min() - state.volume


def _even_decay(state, found, diameter):
    """Around the level of each slice, so that the background keeps its place while the cells are made equally
    bright."""
    shape = [1, 1, 1]
    shape[found.axis] = -1
    gain = np.minimum(1 / found.curve, GAIN).reshape(shape)
    field = background.level(state.volume, state.valid, background.step(state.volume.shape, diameter))
    state.volume = ((state.volume - field) * gain + np.median(field)).astype(np.float32)
    _fill(state, diameter)


def _flatten(state, found, diameter):
    state.volume = state.volume - found.field + np.median(found.field[state.valid])
    _fill(state, diameter)


def _end_scale(state, found, diameter):
    state.volume = np.minimum(state.volume, found.curve[0]).astype(np.float32)


def _focus(state, found, diameter):
    state.focus = found.where


MEND = {
    "dark": _negative,
    "slices": _fill_slices,
    "padding": _mask,
    "hot": _replace_hot,
    "stripes": _even_lines,
    "vessel": _mask,
    "decay": _even_decay,
    "background": _flatten,
    "scale": _end_scale,
    "sampling": _focus,
}


def _scaled(state):
    """0..100 from the smallest to the largest valid voxel, dark strays clipped as far out as bright ones may
    be."""
    inside = state.volume[state.valid] if state.valid.any() else state.volume
    low, middle = (float(x) for x in np.percentile(inside, [0.1, 50]))
    low = max(float(inside.min()), middle - light.TOP * (middle - low))
    return volumes.remap(np.clip(state.volume, low, max(float(inside.max()), low)))
