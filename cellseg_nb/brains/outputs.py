"""What a run leaves beside its labels: the table, densities, points for atlas tools. Written in parts."""

from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from cellseg_nb.brains import omezarr
from cellseg_nb.cells.background import spacing
from cellseg_nb.errors import UserError
from cellseg_nb.io import volumes
from cellseg_nb.io.files import atomic

ROWS = 200_000  # of a table at a time
BIN = 25.0  # µm, the grid of the common mouse atlases
CELL = 2  # what brainglobe calls a cell, beside 1 for an artefact


def table(folder, cells):
    """``cells.csv`` and ``cells.parquet``, one row a cell. Raises UserError where nothing can be written."""
    with atomic(Path(folder) / "cells.csv") as beside, open(beside, "w", encoding="utf-8") as file:
        cells.iloc[:0].to_csv(file, index=False)
        for start in range(0, len(cells), ROWS):
            cells.iloc[start : start + ROWS].to_csv(file, index=False, header=False, float_format="%.10g")
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            'the table as Parquet needs pyarrow: pip install "cellseg-nb[brains]"; cells.csv is written'
        ) from None
    schema = pa.Schema.from_pandas(cells.iloc[:1], preserve_index=False)
    with atomic(Path(folder) / "cells.parquet") as beside, parquet.ParquetWriter(beside, schema) as writer:
        for start in range(0, max(1, len(cells)), ROWS):
            part = cells.iloc[start : start + ROWS]
            writer.write_table(pa.Table.from_pandas(part, schema, preserve_index=False))


def density(cells, shape, voxel_size=None, width=BIN):
    """Cells per mm³ on a grid of ``width`` µm, (Z, Y, X) float32: each cell counts where its centre lies. The
    last boxes, which the volume does not fill, count their own part only. Without a voxel size, µm are
    voxels."""
    size = spacing(voxel_size)
    extent = np.array(shape) * size
    sides = np.maximum(1, np.ceil(extent / width - 1e-6).astype(int))
    at = ((cells[["z", "y", "x"]].to_numpy() + 0.5) * size // width).astype(int)
    at = np.clip(at, 0, sides - 1)
    counts = np.bincount(np.ravel_multi_index(tuple(at.T), sides), minlength=sides.prod()).reshape(sides)
    filled = [np.minimum(width, e - np.arange(n) * width) for e, n in zip(extent, sides)]
    volume = filled[0][:, None, None] * filled[1][:, None] * filled[2]
    return (counts / (volume * 1e-9)).astype(np.float32)


def write_density(folder, values):
    """``density.tif`` and ``density.ome.zarr``, cells per mm³ in boxes of `BIN`."""
    from cellseg_nb.brains import pyramid

    volumes.write(Path(folder) / "density.tif", values, (BIN,) * 3)
    place = Path(folder) / "density.ome.zarr"
    levels = omezarr.create(place, values.shape, values.dtype, (BIN,) * 3, name="cells per mm3")
    omezarr.writing(place, "0")[:] = values
    for number in range(1, len(levels)):
        for block in pyramid.jobs(levels, number):
            pyramid.write(place, levels, number, block)


def points(folder, cells, name="volume"):
    """The centres, in voxels, as brainglobe's tools read them: ``points.xml`` (cellfinder, napari) and
    ``points.csv`` (columns x, y, z, type)."""
    at = np.rint(cells[["z", "y", "x"]].to_numpy()).astype(int)
    with atomic(Path(folder) / "points.xml") as beside, open(beside, "w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n<CellCounter_Marker_File>\n <Image_Properties>\n')
        file.write(
            f"  <Image_Filename>{escape(name)}</Image_Filename>\n </Image_Properties>\n <Marker_Data>\n"
        )
        file.write(f"  <Current_Type>1</Current_Type>\n  <Marker_Type>\n   <Type>{CELL}</Type>\n")
        for z, y, x in at.tolist():
            file.write(
                f"   <Marker><MarkerX>{x}</MarkerX><MarkerY>{y}</MarkerY><MarkerZ>{z}</MarkerZ></Marker>\n"
            )
        file.write("  </Marker_Type>\n </Marker_Data>\n</CellCounter_Marker_File>\n")
    with atomic(Path(folder) / "points.csv") as beside, open(beside, "w", encoding="utf-8") as file:
        file.write("x,y,z,type\n")
        for z, y, x in at.tolist():
            file.write(f"{x},{y},{z},{CELL}\n")
