"""Named arrays in one file whose bytes depend on the arrays alone: an npz with fixed member times and no pickle."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.compute.files import atomic_path
from skytrace.errors import AccessError, ShardError

if TYPE_CHECKING:
    import os
    from collections.abc import Collection

__all__ = ["MAX_INFLATED_GB", "is_whole_npz", "load_npz", "save_npz", "write_npz"]

#: What the deflated arrays of one file may become in memory; arrays that are not deflated are as large as their file.
MAX_INFLATED_GB = 4.0

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip member can carry


def save_npz(path: str | os.PathLike, *, compress: Collection[str] = (), **arrays: Any) -> Path:
    """Write ``arrays`` atomically to ``path`` and return it.

    Members keep the order of the arguments. An array that lies on disk (dtype, shape and ``blocks()``, which yields its
    rows in order) is written a block at a time, to the same bytes.
    Those named in ``compress`` are deflated: worth it for weight and mask
    planes, which are mostly constant; pixels do not compress. Arrays of Python strings become fixed-width unicode.
    Raises ShardError for an array that numpy would have to pickle.
    """
    path = Path(path)
    with atomic_path(path) as partial:
        write_npz(partial, arrays, compress=compress)
    return path


def write_npz(path: str | os.PathLike, arrays: dict[str, Any], *, compress: Collection[str] = ()) -> None:
    """Write ``arrays`` straight to ``path``; see save_npz."""
    unknown = sorted(set(compress) - set(arrays))
    if unknown:
        raise ShardError(f"compress names {', '.join(unknown)}, not among the arrays {', '.join(arrays)}")
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name, values in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            member.create_system = 3  # the same bytes on every operating system
            member.external_attr = 0o644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED if name in compress else zipfile.ZIP_STORED
            with archive.open(member, "w", force_zip64=True) as stream:
                if hasattr(values, "blocks"):
                    _write_blocks(stream, values)
                else:
                    np.lib.format.write_array(stream, _plain_array(name, values), allow_pickle=False)


def _write_blocks(stream: Any, values: Any) -> None:
    header = {"descr": np.dtype(values.dtype).str, "fortran_order": False, "shape": tuple(values.shape)}
    np.lib.format.write_array_header_1_0(stream, header)
    for block in values.blocks():
        stream.write(np.ascontiguousarray(block).data)


def load_npz(
    path: str | os.PathLike, *, leave: Collection[str] = (), max_inflated_gb: float = MAX_INFLATED_GB
) -> dict[str, np.ndarray]:
    """Read every array of ``path`` but those in ``leave``.

    Raises ShardError if the file is not a whole npz, holds pickled objects, claims shapes that its bytes do not fill,
    or deflated arrays of more than ``max_inflated_gb``: nothing is allocated before that is known. Raises AccessError
    where this user may not read it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_claims(archive, leave, max_inflated_gb)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files if name not in leave}
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise AccessError(f"{path} may not be read by this user; give it that right and run again") from error
    except Exception as error:  # zipfile, zlib and numpy answer broken files with many kinds of errors
        words = str(error) or type(error).__name__
        raise ShardError(f"{path} is not a whole npz of plain arrays ({words}); delete it and run again") from error


def _check_claims(archive: zipfile.ZipFile, leave: Collection[str], max_inflated_gb: float) -> None:
    """Raise ValueError for members that are no plain arrays or claim to be larger than they are."""
    inflated = 0
    for member in archive.infolist():
        name = member.filename
        if member.comment:  # numpy writes none: one flipped bit can make the members that follow into a comment
            raise ValueError(f"{name} has a comment, which may hide other arrays")
        if name.removesuffix(".npy") in leave:
            continue
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} is packed by method {member.compress_type}; an npz is stored or deflated")
        if member.compress_type == zipfile.ZIP_DEFLATED:
            inflated += member.file_size
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
            held = member.file_size - stream.tell()
        if dtype.hasobject:
            raise ValueError(f"{name} holds pickled objects, which are never loaded")
        # fewer are no better: what is not read to its end is not held against its checksum
        if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != held:
            raise ValueError(f"{name} claims {dtype} {shape}, but holds {held:,} bytes")
    if inflated > max_inflated_gb * 1e9:
        raise ValueError(f"its deflated arrays would fill {inflated / 1e9:.3g} GB, more than {max_inflated_gb:g}")


def _plain_array(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.hasobject:
        if not all(isinstance(value, str) for value in array.flat):
            raise ShardError(f"array {name!r} holds Python objects; convert it to numbers or strings before saving")
        array = array.astype(str)
    return array


def is_whole_npz(path: str | os.PathLike) -> bool:
    """Whether ``path`` is a file that ``load_npz`` can read; a truncated one is not. Raises AccessError as it does."""
    try:
        load_npz(path)
    except (ShardError, FileNotFoundError):
        return False
    return True
