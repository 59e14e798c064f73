"""Notebook 04 computes on the numbers that are stored, and gets to the last bit what float32 would give."""

import numpy as np
import pytest
import tifffile

from cellseg_nb.cells import auto, inference, instances
from cellseg_nb.data import simulate
from cellseg_nb.io import volumes
from cellseg_nb.learning import augmentation
from cellseg_nb.lessons import inference as lesson


@pytest.mark.parametrize("dark", [False, True])
def test_the_same_to_the_bit(tmp_path, dark):
    image, _ = simulate.volume((24, 40, 40), 16, 1)
    numbers = np.rint(7.3 * image)
    numbers = (numbers.max() - numbers if dark else numbers - numbers.min()).astype("u2")
    tifffile.imwrite(tmp_path / "a.tif", numbers, metadata={"axes": "ZYX"})
    stored = lesson.read(tmp_path / "a.tif", {"voxel_size": None}).image
    wide = volumes.read(tmp_path / "a.tif")[0]
    assert (stored.dtype, wide.dtype) == ("u2", "f4")
    probability = np.clip((image - 100) / 900, 0, 1).astype("f4")
    classes = np.stack([1 - probability, probability])

    def computed(volume):
        spots = inference.raised(volume, probability, 0.5)
        parting = dict(outline_sigma=0.5, threshold=0.5, spot_sigma=1.0, spots=spots)
        labels = instances.voronoi_otsu(probability, voxel_size=(4, 1, 1), **parting)
        yield labels
        yield instances.table(labels, volume, (4, 1, 1)).to_numpy()
        yield auto.find_cells(volume, probability, (1, 1, 1), threshold=0.5)
        yield inference.brightest([(classes, volume)])
        yield volumes.remap(volume)
        for scale in ("unit", "clipped", "contrast"):
            yield augmentation.prepare(volume, scale)

    for one, other in zip(computed(stored), computed(wide)):
        np.testing.assert_array_equal(one, other)
