"""Notebook 00 on 8 and 16 bit files, which it keeps as they are stored: the same results to the last bit."""

import numpy as np
import pytest
import tifffile

from cellseg_nb import parameters, runs, simulate
from cellseg_nb.io import volumes
from cellseg_nb.lessons import quickstart, quickstart_remedies as remedies, quickstart_results as results
from cellseg_nb.methods.wnet3d import WNet3DMethod


def every_step(path, place, **given):
    """What the notebook computes of a file, with a training of one epoch: arrays and tables."""
    given = runs.parameters(runs.find("00_quickstart")) | {"images": str(path), "out": str(place)} | given
    choice = quickstart.resolved(parameters.check(quickstart.PARAMETERS, given))
    read = quickstart.load(choice)
    diameter = quickstart.cell_size(choice, read)
    seen = quickstart.prepared(choice, read, diameter)
    images = [one.volume if one.changed else volume.image for one, volume in zip(seen, read)]
    working = quickstart.resampled(read, images, choice, diameter)
    short = dict(channels=(4, 4, 4, 4), cube=16, batch=1, steps=2, epochs=1, cell_diameter=diameter or None)
    method = WNet3DMethod(**short, separate=choice["separate"])
    history = method.fit(working, progress=False)
    maps = [quickstart.on_grid(method.predict(working[0]), images[0].shape)]
    found = [method.segment(images[0], maps[0], read[0].voxel_size)]
    verdicts = results.judged(read, seen, maps, found, diameter, history)
    first = remedies.Result("", method, history, maps, found, verdicts)
    bright = next(iter(remedies.tries(choice, first, read, images, seen, diameter))).found
    arrays = [seen[0].volume, *working, *maps, *found, *bright, *results.plain(read, images, diameter)]
    arrays.append(quickstart.to_separate(read, images, seen, diameter)[0])
    return (
        read[0].image.dtype,
        arrays,
        results.table(read, found),
        [diameter, str(verdicts[0]), method.foreground],
    )


@pytest.mark.parametrize(
    "dtype, given",
    [("u1", {}), ("u2", {"cell_diameter": 4.0}), ("i2", {"preprocess": "paper", "separate": "voronoi_otsu"})],
)
def test_the_same_results_to_the_last_bit(tmp_path, dtype, given):
    image, _ = simulate.volume((28, 40, 44), 14, seed=3)
    image = np.rint(image / image.max() * 200).astype(dtype)
    if dtype == "u2":
        image[:10] //= 3  # something to mend
    words = {"axes": "ZYX", "spacing": 1.0, "unit": "um"}
    done = []
    for kind in (dtype, "f4"):
        path = tmp_path / f"{kind}.tif"
        tifffile.imwrite(path, image.astype(kind), resolution=(1, 1), metadata=words)
        done.append(every_step(path, tmp_path / "out", **given))
    (narrow, arrays, table, numbers), (wide, same, other, more) = done
    assert narrow == dtype and wide == np.float32 and numbers == more and table.equals(other)
    for one, two in zip(arrays, same, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "dtype, kept", [("u1", "u1"), (">i2", "i2"), ("u4", "f4"), ("f8", "f4"), ("?", "f4")]
)
def test_what_stays_as_stored(tmp_path, dtype, kept):
    array = (np.arange(18 * 20 * 22) % 101).reshape(18, 20, 22).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": "ZYX"}, byteorder=">")
    found, _ = volumes.read(tmp_path / "a.tif", narrow=True)
    assert found.dtype == kept and found.dtype.isnative and found.flags.c_contiguous
    np.testing.assert_array_equal(found.astype(np.float32), volumes.read(tmp_path / "a.tif")[0])
