"""CZI, ND2 and LIF, through the libraries of their makers or of those who keep them: frame by frame.

bioio's plugins wrap the same libraries, but bring thirty more, and some of those ask for other versions than
Colab has.
"""

import contextlib
import math
import re
from xml.etree import ElementTree

import numpy as np

from cellseg_nb.errors import UserError
from cellseg_nb.io.parts import Image

SPARSEST = 4  # times a CZI may have more voxels than were recorded: mosaics have gaps


def by_frames(axes, shape, dtype, frame):
    """``read`` of an `Image` whose frames, its last axes from Y on, come one at a time.

    ``frame(numbers)`` gives the frame with these numbers along the axes before: {letter: number}.
    """
    lead = axes.index("Y")

    def read(index):
        ranges = [np.arange(n)[one] for n, one in zip(shape[:lead], index)]
        kept = [len(r) for r in ranges if r.ndim]
        places = np.array(np.meshgrid(*ranges, indexing="ij")).reshape(lead, -1).T if lead else [()]
        inner = tuple(index[lead:])
        planes = [
            np.asarray(frame(dict(zip(axes[:lead], map(int, place))))).reshape(shape[lead:])[inner]
            for place in places
        ]
        return np.stack(planes).astype(dtype, copy=False).reshape(*kept, *planes[0].shape)

    return read


def _size(z, y, x):
    """(z, y, x) in µm, or None where one is not known."""
    sides = tuple(abs(float(side or 0)) for side in (z, y, x))
    return sides if all(0 < side < np.inf for side in sides) else None


# ---------------------------------------------------------------- Zeiss


@contextlib.contextmanager
def czi(path):
    """The scenes of a CZI; without scenes, the one image."""
    from pylibCZIrw import czi as library

    with library.open_czi(str(path)) as file:
        box = file.total_bounding_box
        other = [letter for letter, (a, b) in box.items() if letter not in "TCZYX" and b - a > 1]
        if other:
            raise UserError(
                f"{path} has several {', '.join(other)} (views, phases, ...), which are not read here: "
                f"save one "
                "as TIFF"
            )
        scenes = file.scenes_bounding_rectangle or {None: file.total_bounding_rectangle}
        note = _held(path, file, box, scenes)
        text, tree = file.raw_metadata, None
        with contextlib.suppress(ElementTree.ParseError):
            tree = ElementTree.fromstring(text)
        yield [_scene(path, file, box, tree, *scene)._replace(note=note) for scene in scenes.items()]


def _held(path, file, box, scenes):
    """A word where blocks of a CZI lack. UserError where there are far fewer than it declares, or more than
    the file has room for."""
    blocks = []

    def note(number, info):
        if info.get_zoom() >= 1:  # no pyramid
            blocks.append((info.physicalSize.w * info.physicalSize.h, info.compressionModeRaw == 0))
        return True

    file.enumerate_subblocks(note)
    planes = math.prod(box[letter][1] - box[letter][0] for letter in "TCZ")
    voxels = planes * sum(place.w * place.h for place in scenes.values())
    held = sum(size for size, _ in blocks)
    plain = sum(size for size, uncompressed in blocks if uncompressed)
    if planes > SPARSEST * len(blocks) or voxels > SPARSEST * held or plain > path.stat().st_size:
        raise UserError(
            f"{path} is truncated: it declares more data than it holds; copy or download it again"
        )
    return f"{1 - held / voxels:.0%} of it were not recorded, and are read as 0" if held < voxels else ""


def _scene(path, file, box, tree, number, place):
    counts = tuple(box[letter][1] - box[letter][0] for letter in "TCZ")
    kinds = {file.get_channel_pixel_type(c) for c in range(counts[1])}
    kind = sorted(kinds)[0]
    dtypes = {"Gray8": "u1", "Gray16": "u2", "Gray32Float": "f4", "Bgr24": "u1", "Bgr48": "u2"}
    if kind not in dtypes:
        raise UserError(f"{path} has pixels of the kind {kind}: save the intensity as 16-bit TIFF")
    colour = kind.startswith("Bgr")
    shape = (*counts, place.h, place.w, *((3,) if colour else ()))
    axes = "TCZYX" + ("S" if colour else "")
    dtype = np.dtype(dtypes[kind])
    scene = {} if number is None else {"scene": number}

    def frame(where):
        plane = {letter: box[letter][0] + i for letter, i in where.items()}
        return file.read(plane=plane, roi=tuple(place), pixel_type=kind, **scene)

    size, channels = None, ()
    if tree is not None:
        metres = {d.get("Id"): d.findtext("Value") for d in tree.iterfind(".//Scaling/Items/Distance")}
        with contextlib.suppress(TypeError, ValueError):
            size = _size(*(float(metres.get(letter) or 0) * 1e6 for letter in "ZYX"))
        channels = tuple(c.get("Name") or "" for c in tree.iterfind(".//Dimensions/Channels/Channel"))
    name = "image" if number is None else f"scene {number}"
    return Image(name, axes, shape, dtype, by_frames(axes, shape, dtype, frame), size, "", channels)


# ---------------------------------------------------------------- Nikon


@contextlib.contextmanager
def nd2(path):
    """The positions of an ND2."""
    import nd2 as library

    with library.ND2File(path) as file:
        sizes = dict(file.sizes)
        loops = [letter for letter in sizes if letter not in "CYXS"]
        strange = [letter for letter in loops if letter not in "TPZ" and sizes[letter] > 1]
        if strange:
            raise UserError(
                f"{path} has several {', '.join(strange)}, which are not read here: save one as TIFF"
            )
        size, channels, word = _calibrated(file)
        if "Z" not in sizes:
            size = None
        # The library gives zeros for frames that are not there.
        if file.attributes.compressionType is None and path.stat().st_size < file.nbytes:
            raise UserError(f"{path} is truncated: it declares more data than it holds; copy it again")
        yield [_position(file, sizes, loops, p, size, channels, word) for p in range(sizes.get("P", 1))]


def _calibrated(file):
    """Voxel size, names of the channels and a word; the library gives 1 µm for an axis that has no "
    "calibration."""
    try:
        about = file.metadata.channels
        volume = about[0].volume
        names = tuple(one.channel.name for one in about)
    except Exception:  # metadata of old versions, and those in which the library finds no spectrum
        return None, (), "its metadata cannot be read: give voxel_size in µm"
    if not all(volume.axesCalibrated):
        return None, names, "it was not calibrated along all axes: give voxel_size in µm"
    return _size(*volume.axesCalibration[::-1]), names, ""


def _position(file, sizes, loops, position, size, channels, word):
    inner = [letter for letter in sizes if letter in "CYXS"]
    outer = [letter for letter in loops if letter != "P"]
    # Channels lie within a frame; they stand before Y and X all the same.
    axes = "".join(outer) + "".join(sorted(inner, key="CYXS".index))
    shape = tuple(sizes[letter] for letter in axes)
    counts = [sizes[letter] for letter in loops]

    def frame(where):
        at = [position if letter == "P" else where[letter] for letter in loops]
        whole = file.read_frame(int(np.ravel_multi_index(at, counts)) if loops else 0)
        whole = np.asarray(whole).reshape([sizes[letter] for letter in sorted(inner, key="CYXS".index)])
        return whole[where["C"]] if "C" in where else whole

    read = by_frames(axes, shape, file.dtype, frame)
    return Image(f"position {position}", axes, shape, file.dtype, read, size, word, channels)


# ---------------------------------------------------------------- Leica


@contextlib.contextmanager
def lif(path):
    """The images of a LIF."""
    import liffile

    with liffile.LifFile(path) as file:
        yield [_leica(image) for image in file.images]


def _leica(image):
    sizes = dict(image.sizes)
    axes, shape = "".join(sizes), tuple(sizes.values())
    spacing = {}
    for letter in "ZYX":
        where = image.coords.get(letter)
        if where is not None and len(where) > 1:
            spacing[letter] = float(where[-1] - where[0]) / (len(where) - 1) * 1e6  # stored in metres
    size = _size(*(spacing.get(letter) for letter in "ZYX"))
    name = re.sub(r"\s+", " ", image.name)

    def whole(index):
        return image.asarray()[index]

    if "Y" not in sizes or "X" not in sizes or any(len(letter) > 1 for letter in sizes):
        return Image(name, axes, shape, image.dtype, whole, size, step=10**9)
    if axes.index("Y") + 1 == axes.index("X") and axes.index("X") >= len(axes) - 2:
        read = by_frames(axes, shape, image.dtype, lambda where: image.frame(**where))
        return Image(name, axes, shape, image.dtype, read, size)
    return Image(name, axes, shape, image.dtype, whole, size, step=10**9)
