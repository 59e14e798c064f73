"""A panel a task: the functions of `cellseg_nb.lessons.tasks` behind a form, with start, stop, and the call
as code. Core ipywidgets only, so that Colab shows them too."""

import html
import inspect
import threading

from cellseg_nb import methods, parameters
from cellseg_nb.errors import UserError
from cellseg_nb.lessons.tasks import TASKS
from cellseg_nb.viewer import forms

# What a field offers: its words, and what it may be. A range is (lowest, highest, step).
FIELDS = {
    "images": ("TIFF or folder", ""),
    "labels": ("labels, TIFF or folder", ""),
    "truth": ("true labels, TIFF or folder", ""),
    "trained": ("folder of a training", ""),
    "out": ("results into", "results/panel"),
    "method": (
        "method",
        tuple(name for name in ("wnet3d", "segresnet", "swinunetr") if name in methods.TARGETS),
    ),
    "profile": ("profile", ("demo", "paper")),
    "device": ("device", ("auto", "cpu", "cuda", "mps")),
    "epochs": ("epochs (0: profile)", (0, 200, 1)),
    "seed": ("seed", (0, 100, 1)),
    "min_size": ("smallest cell (voxels)", (0, 500, 1)),
    "iou": ("IoU", (0.1, 0.9, 0.05)),
    "voxel_size": ("voxel size Z,Y,X (µm)", "auto"),
}


# What is said is scrolled to its last line.
LAST_LINE = "display: flex; flex-direction: column-reverse; max-height: 200px; overflow: auto"


class Panel:
    """The form of a task, ``"train"``, ``"segment"`` or ``"evaluate"``; ``given`` fills in fields.

    `values` is what stands in it, `code` the call for a script, `start` and `stop` what the buttons do,
    ``lines`` what was said so far, ``result`` what the task returned. Raises UserError for other names.
    """

    def __init__(self, task, **given):
        parameters.one_of("task", task, tuple(TASKS))
        self.task, self.function = task, TASKS[task]
        known = inspect.signature(self.function).parameters
        self.names = [name for name in known if name in FIELDS]
        wrong = [name for name in given if name not in self.names]
        if wrong:
            raise UserError(
                f"the panel {task} has no field {wrong[0]!r}: its fields are {', '.join(self.names)}"
            )
        self.lines, self.result, self._stop, self.thread = [], None, threading.Event(), None
        self._build(given)

    def _build(self, given):
        import ipywidgets as w

        wide, style = w.Layout(width="540px", max_width="100%"), {"description_width": "170px"}
        self.fields = {}
        for name in self.names:
            words, kind = FIELDS[name]
            shared = {"description": words, "layout": wide, "style": style}
            if isinstance(kind, str):
                field = w.Text(value=kind, **shared)
            elif isinstance(kind[0], str):
                field = w.Dropdown(options=kind, **shared)
            else:
                slider = w.FloatSlider if isinstance(kind[2], float) else w.IntSlider
                field = slider(
                    value=kind[0] if name != "iou" else 0.5, min=kind[0], max=kind[1], step=kind[2], **shared
                )
            if given.get(name) not in (None, ""):
                field.value = given[name]
            self.fields[name] = field
        acts = {"Start": self.start, "Stop": self.stop, "Export": self.export}
        self.shown = w.HTML()
        title = w.HTML(f"<b>{self.task}</b>")
        self.widget = w.VBox([title, *self.fields.values(), forms.buttons(acts), self.shown])

    def values(self):
        """{name: value} of the fields, as the function takes them. Raises UserError for a bad voxel size."""
        found = {name: field.value for name, field in self.fields.items()}
        if "voxel_size" in found:
            found["voxel_size"] = parameters.voxel_size(found["voxel_size"])
        return {name: value.strip() if isinstance(value, str) else value for name, value in found.items()}

    def code(self):
        """The call as code for a script, defaults left out."""
        known = inspect.signature(self.function).parameters
        given = {name: value for name, value in self.values().items() if known[name].default != value}
        words = ",\n    ".join(f"{name}={value!r}" for name, value in given.items())
        return f"from cellseg_nb.lessons import tasks\n\ntasks.{self.task}(\n    {words},\n)"

    def export(self):
        """Show the call."""
        try:
            self.say(self.code())
        except UserError as error:
            self.say(f"Look out: {error}")

    def say(self, line):
        """Add a line to what is shown."""
        self.lines.append(str(line))
        words = html.escape("\n".join(self.lines[-200:]), quote=False)
        self.shown.value = f'<div style="{LAST_LINE}"><pre style="margin: 4px">{words}</pre></div>'

    def start(self, wait=False):
        """Run the task beside the notebook, so that other cells and *Stop* work; ``wait`` for its end."""
        if self.thread is not None and self.thread.is_alive():
            return self.say("it is running: press Stop first")
        self._stop.clear()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        if wait:
            self.thread.join()

    def _run(self):
        try:
            self.say(f"{self.task} started")
            self.result = self.function(**self.values(), watch=self.say, stop=self._stop.is_set)
            self.say("stopped" if self._stop.is_set() else "done")
        except UserError as error:
            self.say(f"Look out: {error}")
        except Exception as error:  # in a thread nobody would see it
            self.say(f"{self.task} failed: {type(error).__name__}: {error}")

    def stop(self):
        """End the task: `train` after this epoch, `segment` at once, `evaluate` after this volume. What is
        done is kept."""
        if self.thread is None or not self.thread.is_alive():
            return self.say("nothing is running")
        self._stop.set()
        self.say("stopping …")


def panel(task, **given):
    """A `Panel`, shown; in batch runs its call is printed instead. Returns it."""
    return forms.shown(Panel(task, **given))
