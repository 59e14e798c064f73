"""What a method is: one signature each for fit, predict, segment, tune, save and load, and what it says of
itself.

A method of your own derives from `Method`, or merely has the six functions: then `adopt` makes one of it.
"""

import functools
import inspect
import json

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io import files

COMMON = {"voxel_size": None, "seed": 0, "device": "auto"}  # options that every method here has


class Method:
    """A way from a volume to labelled cells. All volumes are (Z, Y, X).

    Made with keywords, those of `settings`; what is None takes its default. Raises UserError for an option
    that the method does not have.

    What it is, for those who compare methods
    -----------------------------------------
    name : str
    needs_labels : `fit` learns from labels, and raises UserError without them
    self_tuning : `fit`, given labels, does what `tune` does
    tunes_on_labels : tuning it is part of using it. False where that would spoil the point: no labels at all
    library : names of the modules it needs besides those of this package
    settings : {option: default}, all options of the constructor
    tunable : names of the options that `tune` may choose; they are attributes too
    nothing_found : what is said when `tune` finds no cell at all; then the defaults stay
    caution : what must be said beside its scores
    """

    name = None
    needs_labels = True
    self_tuning = False
    tunes_on_labels = True
    library = ()
    settings = COMMON
    tunable = ()
    nothing_found = None
    caution = None
    model = None

    def __init_subclass__(cls, **keywords):
        """Help, and Jupyter's hints, show the options and their defaults as the signature."""
        super().__init_subclass__(**keywords)
        kind = inspect.Parameter.KEYWORD_ONLY
        if "settings" in vars(cls):
            options = [inspect.Parameter(name, kind, default=value) for name, value in cls.settings.items()]
            cls.__signature__ = inspect.Signature(options)

    def __init__(self, **options):
        self.check_options(options)
        options = self.settings | {name: value for name, value in options.items() if value is not None}
        self.device = options.pop("device", "auto")
        self.options = {name: value for name, value in options.items() if name not in self.tunable}
        self.set(**{name: options[name] for name in self.tunable})

    @classmethod
    def check_options(cls, names):
        """Raises UserError when one of the names is no option of this method."""
        unknown = [name for name in names if name not in cls.settings]
        if unknown:
            raise UserError(
                f"the method {cls.name!r} has no option {', '.join(map(repr, unknown))}: "
                f"its options are {', '.join(cls.settings)}"
            )

    def set(self, **values):
        """Set options of the instance step, those named in `tunable`. Raises UserError for any other."""
        wrong = [name for name in values if name not in self.tunable]
        if wrong:
            raise UserError(
                f"{', '.join(wrong)} of {self.name!r} cannot be set after it was made: "
                f"only {', '.join(self.tunable)}"
            )
        for name, value in values.items():
            setattr(self, name, value)

    @property
    def chosen(self):
        """The options in `tunable` as they are now: {name: value}."""
        return {name: getattr(self, name) for name in self.tunable}

    def _trained(self):
        """The ``model`` that `fit` or `load` has made. Raises UserError before."""
        if self.model is None:
            raise UserError(
                f"{self.name} is not trained yet: call fit first, or load what an earlier fit has saved"
            )
        return self.model

    def fit(self, images, labels=None, *, folder=None, callbacks=(), progress=True):
        """Learn from lists of volumes, and labels (int) of the same shapes where the method needs them.

        A killed training is carried on from ``folder``, where the method can. ``callbacks`` are called as
        ``callback(history, model)`` after every epoch, and may raise `cellseg_nb.learning.loop.Stop`.
        Returns the history, a list with a dict an epoch; empty where there is nothing to train. Raises
        UserError for volumes that do not fit.
        """
        raise NotImplementedError

    def predict(self, volume, *, progress=True):
        """How probable cell is, (Z, Y, X) float32 in 0..1. Raises UserError for no (Z, Y, X) volume."""
        raise NotImplementedError

    def maps(self, volume, *, progress=True):
        """All that `segment` needs of a volume, computed once: given as its ``probability``, it is not
        again."""
        return self.predict(volume, progress=progress)

    def segment(self, volume, probability=None, voxel_size=None):
        """Labels, (Z, Y, X) int32, 0 is background. ``probability``: from `predict` or `maps`; None:
        computed."""
        raise NotImplementedError

    def tune(self, images, labels, *, voxel_size=None, progress=True):
        """Choose the options in `tunable` on labelled *training* volumes. Returns the table tried."""
        raise NotImplementedError

    def save(self, folder):
        """Write ``<name>.json`` with all settings into a folder. Returns its path."""
        path = files.writable_folder(folder) / f"{self.name}.json"
        files.write_json(path, {"method": self.name, **self.options, **self.chosen})
        return path

    @classmethod
    def load(cls, folder, device="auto"):
        """Read what `save` wrote, from its folder or the file. Raises UserError when it is missing or
        damaged."""
        path = cls.file(folder, f"{cls.name}.json")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found.pop("method") != cls.name:
                raise ValueError("another method")
            return cls(**found, device=device)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is missing, damaged or of another method: save it again") from error

    @staticmethod
    def file(folder, name):
        """``name`` in a folder, or the file itself when that was given."""
        path = files.as_path(folder)
        return path / name if path.is_dir() else path


def checked(volume):
    """The volume as an array. Raises UserError unless it is (Z, Y, X) and finite."""
    volume = np.asarray(volume)
    if volume.ndim != 3 or not np.isfinite(volume).all():
        raise UserError(
            f"the volume has shape {volume.shape} and must have three dimensions (Z, Y, X) without NaN"
        )
    return volume


INTERFACE = ("fit", "predict", "segment", "tune", "save", "load")


def adopt(target, name):
    """The class as a `Method`: as it is when it derives from it, else with what it lacks filled in.

    What its functions do not take (such as ``progress``) is not given to them; its options are the keywords
    of its constructor. Raises UserError when one of the six functions is missing.
    """
    missing = [part for part in INTERFACE if not callable(getattr(target, part, None))]
    if missing:
        raise UserError(
            f"the method {name!r} has no {', '.join(missing)}: a method needs {', '.join(INTERFACE)}"
        )
    if issubclass(target, Method):
        return target
    filled = {part: _lenient(getattr(target, part)) for part in ("fit", "predict", "segment", "tune")}
    if not hasattr(target, "settings"):
        options = inspect.signature(target).parameters.values()
        filled["settings"] = {one.name: one.default for one in options}
    if not getattr(target, "name", None):
        filled["name"] = name
    return type(target.__name__, (target, Method), filled)


def _lenient(function):
    """The function, called without the keywords that it does not know."""
    known = inspect.signature(function).parameters
    if any(one.kind == one.VAR_KEYWORD for one in known.values()):
        return function

    @functools.wraps(function)
    def call(*arguments, **options):
        return function(*arguments, **{name: value for name, value in options.items() if name in known})

    return call
