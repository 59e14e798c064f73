"""Which files are read, by which reader, and what is said of those that are not."""

import importlib.util
from collections import namedtuple

from cellseg_nb.errors import UserError
from cellseg_nb.io import hdf5, medical, microscopes, ngff, planes, tiff

Format = namedtuple("Format", "name endings images size library extra folder", defaults=(None, False))
# The order is that of the page in data/README.md, which is made of this table.
FORMATS = (
    Format(
        "TIFF: plain, multi-page, BigTIFF, ImageJ, OME (also in several files), LSM, STK",
        (".tif", ".tiff", ".btf", ".tf8", ".tf2", ".lsm", ".stk"),
        tiff.images,
        "OME, ImageJ, LSM, MetaMorph, Micro-Manager, FluoView, Volocity; else not known",
        "tifffile",
    ),
    Format(
        "OME-Zarr 0.1 to 0.5, and Zarr arrays",
        (".zarr",),
        ngff.images,
        "scale, in the units of the axes",
        "zarr",
        folder=True,
    ),
    Format(
        "NIfTI, also in pairs with .img",
        (".nii", ".nii.gz", ".hdr"),
        medical.nifti,
        "pixdim, in xyzt_units; the transform where pixdim is 1",
        "nibabel",
    ),
    Format("NRRD", (".nrrd", ".nhdr"), medical.nrrd, "spacings or space directions, with units", "pynrrd"),
    Format(
        "HDF5",
        (".h5", ".hdf5", ".hdf"),
        hdf5.images,
        "element_size_um (z, y, x); of BigDataViewer, the .xml beside it",
        "h5py",
    ),
    Format("Imaris", (".ims",), hdf5.imaris, "extent and unit", "h5py"),
    Format("Zeiss CZI", (".czi",), microscopes.czi, "scaling", "pylibCZIrw", "czi"),
    Format("Nikon ND2", (".nd2",), microscopes.nd2, "voxel size", "nd2", "nd2"),
    Format("Leica LIF", (".lif", ".lof", ".xlif"), microscopes.lif, "coordinates", "liffile", "lif"),
)
# Libraries that only some files need, and for what.
EXTRAS = {one.library: one.name for one in FORMATS if one.extra} | {"pyarrow": "tables as Parquet"}
# Pictures and tables that lie among volumes; and volumes that others read.
FOREIGN = tuple(
    ".oir .oib .oif .vsi .dv .sld .sldy .mrc .mha .mhd .npy .npz .dcm .zip .obf .msr .png .jpg .jpeg "
    ".gif "
    ".bmp .avi .mp4".split()
)


def of(path):
    """The `Format` of a path by its ending; None where nobody here reads such files."""
    name = path.name.lower()
    return next((one for one in FORMATS if name.endswith(one.endings)), None)


def listed(path):
    """Whether a path within a folder is a file (for OME-Zarr, a folder) of a format that is read."""
    kind = of(path)
    if path.name.lower().endswith(".hdr") and not path.with_suffix(".img").is_file():
        return False  # the head of something else
    return kind is not None and not path.name.startswith(".") and path.is_dir() == kind.folder


def ending(path):
    """The ending that says the format, such as ".ome.tif" or ".nii.gz"; "" where there is none."""
    kind = of(path)
    found = max((e for e in kind.endings if path.name.lower().endswith(e)), key=len) if kind else ""
    more = ".ome" + found
    return (
        path.name[-len(more) :]
        if path.name.lower().endswith(more)
        else path.name[len(path.name) - len(found) :]
    )


def words():
    """The formats in a few words."""
    return ", ".join(one.endings[0] for one in FORMATS)


def _as_tiff(path):
    """How a file of a foreign format becomes a TIFF."""
    name, loaded = path.name.lower(), f"numpy.load('{path.name}')"
    if name.endswith("_seg.npy"):  # of Cellpose
        loaded = f"numpy.load('{path.name}', allow_pickle=True).item()['masks']"
    elif name.endswith(".npz"):
        loaded += "['NAME']"
    if name.endswith((".npy", ".npz")):
        return (
            "write it as TIFF, as in (in its folder): "
            f"python -c \"import numpy, tifffile; tifffile.imwrite('OUT.tif', {loaded})\""
        )
    if name.endswith(".zip"):
        return "unzip it, and give what is in it"
    return "open it in Fiji and save it as TIFF"


def reader(path):
    """The reader for a path: a context manager that gives a list of `cellseg_nb.io.parts.Image`.

    Raises UserError for a folder that is no volume, a format that is not read, and a library that is missing.
    """
    kind = of(path)
    if path.is_dir():
        if ngff.is_zarr(path):
            return ngff.images
        if planes.only(path):
            return planes.images
        if path.name.lower().endswith(".n5") or (path / "attributes.json").is_file():
            raise UserError(f"{path} is N5, which is not read here: open it in Fiji and save it as TIFF")
        raise UserError(f"{path} is a folder: give one file in it ({words()})")
    name = path.name.lower()
    if name.endswith((".zarr.zip", ".ozx")):
        raise UserError(f"{path} is a packed OME-Zarr: unzip it, and give the folder that comes out")
    if name.endswith(".img") and path.with_suffix(".hdr").is_file():
        raise UserError(
            f"{path} is the half of a pair that holds the voxels: give {path.with_suffix('.hdr')}"
        )
    if kind is None and name.endswith(FOREIGN):
        raise UserError(f"{path} is of a format that is not read here ({words()} are): {_as_tiff(path)}")
    kind = kind or FORMATS[0]
    if kind.folder:
        raise UserError(f"{path} is a file, but OME-Zarr is a folder: copy the whole folder, or unzip it")
    if kind.extra and importlib.util.find_spec(kind.library) is None:
        raise UserError(
            f"{path} needs the library {kind.library}, which is not installed: pip install {kind.library}, "
            f"or "
            "open it in Fiji and save it as TIFF"
        )
    return kind.images
