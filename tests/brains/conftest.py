"""A small simulated brain as OME-Zarr."""

import pytest


@pytest.fixture(scope="session")
def small_brain(tmp_path_factory):
    """96 voxels a side, 2 µm each: the path of its OME-Zarr."""
    pytest.importorskip("zarr")
    from cellseg_nb.lessons import whole_brain

    out = tmp_path_factory.mktemp("brain")
    whole_brain.made({"out": out, "side": 96, "seed": 0, "zarr_version": "0.4"})
    return out / "image.ome.zarr"
