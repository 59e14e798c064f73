"""Which files are read, by which reader, and what is said of those that are not."""

import contextlib
import importlib.util
import zipfile
from collections import namedtuple
from pathlib import Path

from cellseg_nb.errors import UserError
from cellseg_nb.io import hdf5, medical, microscopes, ngff, planes, tiff
from cellseg_nb.io.files import typed

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
PACKED = (".zip", ".gz", ".bz2", ".xz", ".7z", ".rar", ".tar", ".tgz")
FOREIGN = (
    *".oir .oib .oif .vsi .zvi .lei .nd .ics .dv .sld .sldy .sis .obf .msr .dm3 .dm4 .mrc .am".split(),
    *".mha .mhd .dcm .npy .npz .mat".split(),
    *PACKED,
    *".png .jpg .jpeg .gif .bmp .avi .mp4".split(),
)
PACKED_ZARR = (".zarr.zip", ".ozx")
BARE = (".raw", ".img")  # voxels without a head, or those of a head beside them
NO_FIJI = (".sis", ".sldy")
# What the first bytes of a file say that it is, and the endings that it should have.
INSIDE = (
    (0, tiff.MARKS, "TIFF", FORMATS[0].endings),
    (0, (b"\x89HDF\r\n\x1a\n",), "HDF5", (".h5", ".hdf5", ".hdf", ".ims")),
    (344, (b"n+1\0",), "NIfTI", (".nii",)),
    (4, (b"n+2\0",), "NIfTI", (".nii",)),
    (0, (b"NRRD000",), "NRRD", (".nrrd", ".nhdr")),
    (0, (b"ZISRAWFILE",), "Zeiss CZI", (".czi",)),
    (0, (b"\xda\xce\xbe\x0a",), "Nikon ND2", (".nd2",)),
    (0, (b"\x93NUMPY",), "an array of numpy", (".npy",)),
    (0, (b"PK\x03\x04",), "packed (zip)", (".zip",)),
    (0, (b"\x1f\x8b",), "packed (gzip)", (".gz",)),
    (0, (b"\x89PNG",), "a PNG picture", (".png",)),
    (0, (b"\xff\xd8\xff",), "a JPEG picture", (".jpg", ".jpeg")),
    (128, (b"DICM",), "DICOM", (".dcm",)),
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


def as_tiff(path):
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
    if name.endswith(".zip") and _outlines(path):
        return (
            "it holds outlines of ImageJ: in Fiji fill each of them, in its slices, with the number of its "
            "cell on a black stack of the volume's size, and save that as TIFF"
        )
    if name.endswith(".zip"):
        return "unzip it, and give what is in it"
    if name.endswith(PACKED):
        return "unpack it, and give what is in it"
    if name.endswith(".mat"):
        if _head(path, 516)[512:] == b"\x89HDF":  # MATLAB 7.3; it keeps the axes (Y, X, Z) in turned order
            return (
                f"it is HDF5, with y and x exchanged: name it {path.stem}.h5, and write it as TIFF, as in: "
                f"cellseg-nb convert {typed(path.with_suffix('.h5'))} OUT.tif -p axes ZXY"
            )
        loaded = f"scipy.io.loadmat('{path.name}')['NAME'].transpose(2, 0, 1)"
        return (
            "write it as TIFF, as in (in its folder; NAME is that of the array): "
            f"python -c \"import scipy.io, tifffile; tifffile.imwrite('OUT.tif', {loaded})\""
        )
    if name.endswith(BARE):
        return "open it in Fiji (File > Import > Raw..., which asks for its sizes) and save it as TIFF"
    if name.endswith(NO_FIJI):
        return "save it as TIFF with the program that wrote it"
    return "open it in Fiji and save it as TIFF"


def _outlines(path):
    """Whether a .zip is a RoiSet.zip of ImageJ."""
    damaged = OSError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError
    with contextlib.suppress(*damaged), zipfile.ZipFile(path) as packed:
        names = packed.namelist()
        return bool(names) and all(name.endswith(".roi") for name in names)
    return False


def _head(path, size):
    """The first bytes of a file; none where it cannot be read: why, its reader says."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(size)
    return b""


def check_inside(path):
    """UserError for a file whose first bytes say that it is something else than its name does."""
    head = _head(path, 352)
    name, named = path.name.lower(), of(path)
    if head.startswith(b"\0\5\x16\7") and name.startswith("._"):
        raise UserError(f"{path} is a note of macOS on {path.name[2:]}, and holds no image: give that file")
    for start, marks, what, endings in INSIDE:
        if not head[start:].startswith(marks) or name.endswith(endings):
            continue
        ours = what == "TIFF" and not name.endswith(BARE)  # .svs and others, which are read
        if named is None and (ours or name.endswith((*FOREIGN, *PACKED_ZARR))):
            continue
        if what == "packed (gzip)" and named and named.images is medical.nifti:  # its reader says what to do
            continue
        stem = path.name.removesuffix(ending(path)) if named else path.stem
        stem = path.name if path.suffix[1:].isdigit() else stem  # 1.2.840.3, as DICOM is named
        right = (path.name if what.startswith("packed") else stem) + endings[0]
        then = "" if of(Path(right)) else f", and {as_tiff(path.with_name(right))}"
        raise UserError(f"{path} is {what}, not what its name says: name it {right}{then}")


def check_n5(path):
    """UserError for a folder of N5."""
    if path.name.lower().endswith(".n5") or (path / "attributes.json").is_file():
        raise UserError(f"{path} is N5, which is not read here: open it in Fiji and save it as TIFF")


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
        check_n5(path)
        raise UserError(f"{path} is a folder: give one file in it ({words()})")
    name = path.name.lower()
    if name.endswith(PACKED_ZARR):
        raise UserError(f"{path} is a packed OME-Zarr: unzip it, and give the folder that comes out")
    if name.endswith(".img") and path.with_suffix(".hdr").is_file():
        raise UserError(
            f"{path} is the half of a pair that holds the voxels: give {path.with_suffix('.hdr')}"
        )
    if kind is None and name.endswith((*FOREIGN, *BARE)):
        raise UserError(f"{path} is of a format that is not read here ({words()} are): {as_tiff(path)}")
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
