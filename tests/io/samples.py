"""One small file of each kind, for tests that damage them; and files that no library writes, by hand."""

import importlib.util
import struct

import h5py
import nibabel
import nrrd
import numpy as np
import tifffile
import zarr

from cellseg_nb.io import ngff_writing

SHAPE = (18, 20, 22)
VOLUME = np.random.default_rng(0).integers(0, 999, SHAPE).astype(np.uint16)
SIZE = (2.0, 0.5, 0.25)
SQUARE = (2.0, 0.5, 0.5)
OME = {"axes": "ZYX"} | {f"PhysicalSize{axis}": side for axis, side in zip("ZYX", SIZE)}
IMAGEJ = {"imagej": True, "resolution": (4, 2), "metadata": {"axes": "ZYX", "spacing": 2.0, "unit": "um"}}


def all_of_them(place):
    """Write one file of each kind into a folder: {kind: path}. Kinds whose library is missing are left "
    "out."""
    made = {}

    def new(kind, name):
        made[kind] = place / f"{kind.replace(' ', '_')}{name}"
        return made[kind]

    tifffile.imwrite(new("tiff", ".tif"), VOLUME, metadata={"axes": "ZYX"})
    tifffile.imwrite(
        new("tiff zlib", ".tif"), VOLUME, compression="zlib", tile=(16, 16), metadata={"axes": "ZYX"}
    )
    tifffile.imwrite(
        new("tiff lzw", ".tif"), VOLUME, compression="lzw", byteorder=">", metadata={"axes": "ZYX"}
    )
    tifffile.imwrite(new("bigtiff", ".tif"), VOLUME, bigtiff=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(new("imagej", ".tif"), VOLUME, **IMAGEJ)
    tifffile.imwrite(new("ome-tiff", ".ome.tif"), VOLUME, ome=True, metadata=OME)
    lsm(new("lsm", ".lsm"), VOLUME, SIZE)
    ngff_writing.write(new("ome-zarr 0.4", ".zarr"), VOLUME, SIZE)
    ngff_writing.write(new("ome-zarr 0.5", ".zarr"), VOLUME, SIZE, "0.5")
    zarr.create_array(str(new("zarr", ".zarr")), data=VOLUME, chunks=(8, 8, 8))
    for kind, ending in (("nifti", ".nii"), ("nifti packed", ".nii.gz")):
        image = nibabel.Nifti1Image(VOLUME.T, None)
        image.header.set_zooms(SIZE[::-1])
        image.header.set_xyzt_units("micron")
        nibabel.save(image, new(kind, ending))
    for kind in ("raw", "gzip"):
        words = {"encoding": kind, "spacings": list(SIZE[::-1]), "units": ["micrometer"] * 3}
        nrrd.write(str(new(f"nrrd {kind}", ".nrrd")), VOLUME.T, words)
    for kind, more in (("hdf5", {}), ("hdf5 packed", {"compression": "gzip", "chunks": (4, 20, 22)})):
        with h5py.File(new(kind, ".h5"), "w") as file:
            file.create_dataset("raw", data=VOLUME, **more).attrs["element_size_um"] = SIZE
    imaris(new("imaris", ".ims"), VOLUME, SIZE)
    lif(new("lif", ".lif"), [("one", VOLUME[None], SIZE)])
    try:
        czi(new("czi", ".czi"), VOLUME, SIZE)
    except ImportError:
        del made["czi"]
    nd2(new("nd2", ".nd2"), VOLUME[None], SQUARE)
    for kind, library in (("lif", "liffile"), ("nd2", "nd2")):
        if importlib.util.find_spec(library) is None:
            made.pop(kind).unlink()
    return made


def lsm(path, array, size):
    """An LSM: Zeiss's tag 34412 (CZ_LSMINFO), and behind each plane a thumbnail of it."""
    z, y, x = array.shape
    info = struct.pack(
        "<I9i6d", 0x0400494C, 300, x, y, z, 1, 1, 2, 8, 8, *(s * 1e-6 for s in size[::-1]), 0, 0, 0
    )
    with tifffile.TiffWriter(path, byteorder="<") as writer:
        for i, plane in enumerate(array):
            tags = [(34412, 1, 300, info.ljust(300, b"\0"), False)] if i == 0 else []
            writer.write(plane, metadata=None, contiguous=False, extratags=tags)
            small = np.zeros((8, 8, 3), np.uint8)
            writer.write(small, photometric="rgb", subfiletype=1, metadata=None, contiguous=False)


def imaris(path, array, size, channels=1, times=1):
    """An Imaris file: two resolution levels, the data padded to whole chunks."""

    def text(words):
        return np.frombuffer(str(words).encode(), "S1")

    with h5py.File(path, "w") as file:
        about = file.create_group("DataSetInfo/Image")
        about.attrs["Unit"] = text("um")
        for axis, (n, side) in enumerate(zip(array.shape[::-1], size[::-1])):
            about.attrs[f"ExtMin{axis}"] = text("-3.5")
            about.attrs[f"ExtMax{axis}"] = text(n * side - 3.5)
        for channel in range(channels):
            file.create_group(f"DataSetInfo/Channel {channel}").attrs["Name"] = text(f"dye {channel}")
        for level in range(2):
            cut = array[:, :: 2**level, :: 2**level]
            padded = np.zeros([-(-n // 8) * 8 for n in cut.shape], cut.dtype)
            padded[tuple(map(slice, cut.shape))] = cut
            for time in range(times):
                for channel in range(channels):
                    place = file.create_group(
                        f"DataSet/ResolutionLevel {level}/TimePoint {time}/Channel {channel}"
                    )
                    for axis, n in zip("ZYX", cut.shape):
                        place.attrs[f"ImageSize{axis}"] = text(n)
                    place.create_dataset(
                        "Data", data=padded + channel + 10 * time, chunks=(8, 8, 8), compression="gzip"
                    )


def lif(path, images):
    """A LIF of (name, array (C, Z, Y, X), voxel size (z, y, x) in µm): one stack after the other."""
    xml, blocks = "", b""
    for number, (name, array, size) in enumerate(images):
        whole, block = np.ascontiguousarray(array), f"MemBlock_{number + 10}"
        _, z, y, x = array.shape
        plane = y * x * array.itemsize
        channels = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * array.itemsize}" '
            f'NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" LUTName="Gray" IsLUTInverted="0" '
            f'BytesInc="{c * z * plane}" BitInc="0"/>'
            for c in range(len(array))
        )
        sides = [(1, x, size[2], array.itemsize), (2, y, size[1], x * array.itemsize), (3, z, size[0], plane)]
        dimensions = "".join(
            f'<DimensionDescription DimID="{d}" NumberOfElements="{n}" Origin="0" '
            f'Length="{side * 1e-6 * (n - 1)}" Unit="m" BitInc="0" BytesInc="{step}"/>'
            for d, n, side, step in sides
        )
        xml += (
            f'<Element Name="{name}" Visibility="1" UniqueID="{number}"><Data><Image TextDescription="">'
            f"<ImageDescription><Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions>"
            f'</ImageDescription></Image></Data><Memory Size="{whole.nbytes}" MemoryBlockID="{block}"/>'
            "</Element>"
        )
        named = block.encode("utf-16-le")
        blocks += struct.pack("<ii", 0x70, 14 + len(named)) + b"\x2a" + struct.pack("<q", whole.nbytes)
        blocks += b"\x2a" + struct.pack("<i", len(block)) + named + whole.tobytes()
    head = (
        '<LMSDataContainerHeader Version="2"><Element Name="p" Visibility="1"><Data><Experiment/></Data>'
        f'<Memory Size="0" MemoryBlockID="MemBlock_0"/><Children>{xml}</Children></Element>'
        "</LMSDataContainerHeader>"
    ).encode("utf-16-le")
    start = struct.pack("<ii", 0x70, 5 + len(head)) + b"\x2a" + struct.pack("<i", len(head) // 2)
    path.write_bytes(start + head + blocks)


def nd2(path, array, size, calibrated=True):
    """An ND2 of version 2.1, whose heads are XML: a frame a slice, of an array (C, Z, Y, X); its pixels "
    "are square."""
    count, z, y, x = array.shape
    kinds = {int: "lx_uint32", float: "double", str: "CLxStringW", bool: "bool"}

    def variant(items):
        def node(name, value):
            if isinstance(value, dict):
                inner = "".join(node(*one) for one in value.items())
                return f'<{name} runtype="CLxListVariant">{inner}</{name}>'
            return f'<{name} runtype="{kinds[type(value)]}" value="{str(value).lower()}"/>'

        return f'<variant version="1.0">{node("no_name", items)}</variant>'.encode()

    attributes = dict(uiWidth=x, uiWidthBytes=x * count * 2, uiHeight=y, uiComp=count, uiBpcInMemory=16)
    attributes |= dict(uiBpcSignificant=16, uiSequenceCount=z, uiTileWidth=x, uiTileHeight=y, eCompression=2)
    probe = {"m_sName": "x", "m_ExcitationSpectrum": {"uiCount": 0}, "m_EmissionSpectrum": {"uiCount": 0}}
    planes = {
        f"a{i}": {
            "sDescription": f"dye {i}",
            "uiCompCount": 1,
            "uiSampleIndex": 0,
            "pFluorescentProbe": probe,
        }
        for i in range(count)
    }
    picture = {"bCalibrated": calibrated, "dCalibration": size[2], "dAspect": size[1] / size[2]}
    picture["sPicturePlanes"] = {"uiCount": count, "uiCompCount": count, "sPlaneNew": planes}
    loop = {"eType": 4, "uLoopPars": {"uiCount": z, "dZStep": float(size[0])}}
    whole, chunks = b"", {}

    def chunk(name, data, padded=None):
        nonlocal whole
        chunks[name] = (len(whole), len(data))
        label = name.ljust(padded or len(name), b"\0")
        whole += struct.pack("<IIQ", 0x0ABECEDA, len(label), len(data)) + label + data

    chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver2.1".ljust(64, b"\0"))
    del chunks[b"ND2 FILE SIGNATURE CHUNK NAME01!"]
    chunk(b"ImageAttributes!", variant(attributes))
    chunk(b"ImageMetadataSeq|0!", variant(picture))
    chunk(b"ImageMetadata!", variant(loop))
    for i in range(z):
        frame = np.ascontiguousarray(array[:, i].transpose(1, 2, 0))
        chunk(b"ImageDataSeq|%d!" % i, bytes(8) + frame.tobytes(), 4072)
    place = len(whole)
    listed = b"".join(name + struct.pack("<QQ", *where) for name, where in chunks.items())
    last = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", place)
    chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", listed + last)
    path.write_bytes(whole)


def czi(path, array, size, scenes=False):
    """A CZI of an array (Z, Y, X), or (T, C, Z, Y, X), or, with ``scenes``, (scene, Z, Y, X)."""
    from pylibCZIrw import czi as library

    whole = array if array.ndim == 5 else array[None, None] if array.ndim == 3 else array[:, None]
    with library.create_czi(str(path), exist_ok=True) as file:
        for first, second, z in np.ndindex(whole.shape[:3]):
            plane = {"T": 0 if scenes else first, "C": second, "Z": z}
            more = {"scene": first, "location": (100 * first, 50 * first)} if scenes else {}
            file.write(np.ascontiguousarray(whole[first, second, z])[..., None], plane=plane, **more)
        scales = {f"scale_{axis}": side * 1e-6 for axis, side in zip("zyx", size)}
        file.write_metadata("made", channel_names={0: "DAPI", 1: "GFP"}, **scales)
