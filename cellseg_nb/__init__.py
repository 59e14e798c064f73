"""cellseg-nb: 3D cell segmentation in notebooks, after CellSeg3D (Achard et al. 2024).

Import the module you need (``from cellseg_nb import volumes, instances``): nothing heavy loads before that.
"""

__version__ = "0.1.0"
