"""Stamps that stay on disk: rows are read where they lie, so memory holds what was asked for and nothing else.

A shard is an uncompressed array in an npz (``compute.save_npz`` writes such) or an npy. Rows are fetched by positional
reads, not by a memory map: pages of a map count as the process's own memory, those of the file cache do not.

Space of 416,449 stamps in three bands: 20 GB at 64 px and 51 GB at 101 px as float32, half of that as float16.
"""

from __future__ import annotations

import functools
import hashlib
import os
import struct
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.compute import save_npz
from skytrace.errors import PixelError, ShardError, check_between, check_choice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["StampShard", "StampStore", "check_finite", "write_stamp_shards"]

_DTYPES = ("float16", "float32")
#: Bytes of stamps in memory at a time when a whole store is gone through.
_BLOCK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class StampShard:
    """path: of the file. offset: byte of the first stamp. rows: stamps in it. dtype: "float16" or "float32"."""

    path: Path
    offset: int
    rows: int
    dtype: str


@dataclass(frozen=True, eq=False)
class StampStore:
    """Stamps (n, band, y, x) in shards, indexed like an array: ``store[rows]`` and ``store[a:b]`` are float32 arrays.

    stamp_shape: (band, y, x). chosen: (n,) rows of the shards taken one after another; None means all.
    Space: 4 bytes a pixel, or 2 as float16 (relative error 5e-4: 0.005 at most on stamps clipped to +-10).
    """

    shards: tuple[StampShard, ...]
    stamp_shape: tuple[int, int, int]
    chosen: NDArray[np.int64] | None = None
    owner: Any = None  # kept alive by every store of these shards: a temporary folder, where they lie in one

    def __deepcopy__(self, memo: dict) -> StampStore:
        return self  # nothing in it changes, and a copy of the owner would not be the owner

    @classmethod
    def open(cls, paths: Sequence[str | os.PathLike], *, member: str = "stamps") -> StampStore:
        """The stamps in these files, in this order; ``member`` names the array of an npz.

        Raises ShardError for a file that is not whole or is compressed, PixelError where shapes or types do not fit.
        """
        if not paths:
            raise ShardError("a store of stamps needs at least one shard")
        found = [_locate(Path(path), member) for path in paths]
        shapes = {shape for _, shape in found}
        if len(shapes) > 1:
            raise PixelError(f"shards hold stamps of different shapes: {sorted(shapes)}")
        return cls(tuple(shard for shard, _ in found), shapes.pop())

    def __len__(self) -> int:
        return int(self._starts[-1]) if self.chosen is None else len(self.chosen)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, band, y, x)."""
        return (len(self), *self.stamp_shape)

    @property
    def ndim(self) -> int:
        """4, as of an array of stamps."""
        return 4

    @property
    def dtype(self) -> np.dtype:
        """Of what is handed out: float32, whatever lies on disk."""
        return np.dtype(np.float32)

    def __getitem__(self, rows: Any) -> NDArray[np.float32]:
        """Stamps by slice, row numbers or mask, as of an array: one number gives one stamp (band, y, x)."""
        wanted = np.arange(len(self), dtype=np.int64)[rows]
        return self.take(np.atleast_1d(wanted)) if np.ndim(wanted) else self.take(wanted[None])[0]

    def select(self, rows: NDArray[np.int64]) -> StampStore:
        """The store of these rows alone; nothing is read."""
        rows = np.asarray(rows)
        return replace(self, chosen=np.arange(len(self))[rows] if self.chosen is None else self.chosen[rows])

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Stamps (len(rows), band, y, x) float32, in the order asked for; neighbours on disk are read in one go."""
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not ((rows >= 0) & (rows < len(self))).all():
            raise PixelError(f"rows up to {rows.max()} were asked of a store of {len(self)} stamps")
        rows = rows if self.chosen is None else self.chosen[rows]
        stamps = np.empty((len(rows), *self.stamp_shape), dtype=np.float32)
        order = np.argsort(rows, kind="stable")
        which = np.searchsorted(self._starts, rows[order], side="right") - 1
        for number in np.unique(which):
            places = order[which == number]
            _read_rows(self.shards[number], rows[places] - self._starts[number], stamps, places)
        return stamps

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """All stamps in order, in arrays of bounded size."""
        step = max(1, _BLOCK_BYTES // (4 * int(np.prod(self.stamp_shape))))
        for start in range(0, len(self), step):
            yield self[start : start + step]

    @functools.cached_property
    def sha256(self) -> str:
        """``compute.fingerprint(array, length=64)`` of the stamps as one array: the same for the same pixels.

        Reads everything once, and raises PixelError at a pixel that is not finite.
        """
        digest = hashlib.sha256(f"array:{self.dtype.str}:{self.shape};".encode())
        first = 0
        for block in self.blocks():
            check_finite(block, first=first)
            digest.update(block.data)
            first += len(block)
        return digest.hexdigest()

    @functools.cached_property
    def _starts(self) -> NDArray[np.int64]:
        """First row of every shard, and the number of all rows."""
        return np.concatenate([[0], np.cumsum([shard.rows for shard in self.shards])]).astype(np.int64)


def write_stamp_shards(
    folder: str | os.PathLike,
    batches: Iterable[NDArray[np.float32]],
    *,
    rows_per_shard: int = 2048,
    dtype: str = "float32",
) -> StampStore:
    """Write batches (any number, band, y, x), as they come, into ``shard-00000.npz`` ... and open them.

    rows_per_shard: stamps in memory at a time. dtype: "float32", or "float16" for half the space.
    Raises ShardError without stamps, PixelError for values that do not fit into float16.
    """
    check_between("rows_per_shard", rows_per_shard, 1, 10**7)
    check_choice("dtype", dtype, _DTYPES)
    paths: list[Path] = []

    def write(stamps: NDArray[np.float32]) -> None:
        if dtype == "float16" and not np.abs(stamps).max() <= np.finfo(np.float16).max:
            raise PixelError("stamps do not fit into float16: clip them, or store float32")
        paths.append(save_npz(Path(folder) / f"shard-{len(paths):05d}.npz", stamps=stamps.astype(dtype)))

    waiting: list[NDArray[np.float32]] = []
    for batch in batches:
        waiting.append(batch)
        while sum(map(len, waiting)) >= rows_per_shard:
            together = np.concatenate(waiting)
            write(together[:rows_per_shard])
            waiting = [together[rows_per_shard:]]
    rest = [batch for batch in waiting if len(batch)]
    if rest:
        write(np.concatenate(rest))
    return StampStore.open(paths)


def check_finite(stamps: NDArray[np.float32], *, first: int = 0) -> None:
    """Raise PixelError if a pixel of (n, band, y, x) is not finite; ``first``: number of the first stamp given."""
    bad = ~np.isfinite(stamps).all(axis=(1, 2, 3))
    if bad.any():
        raise PixelError(
            f"stamp {first + int(np.flatnonzero(bad)[0])} has pixels that are not finite ({int(bad.sum())} such "
            "stamp(s)); reject such cutouts with imaging.quality, then use imaging.preprocess"
        )


def _read_rows(
    shard: StampShard, rows: NDArray[np.int64], stamps: NDArray[np.float32], places: NDArray[np.int64]
) -> None:
    """Put the shard's ``rows``, in rising order, at ``places`` of ``stamps``."""
    dtype = np.dtype(shard.dtype)
    row_bytes = int(np.prod(stamps.shape[1:])) * dtype.itemsize
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    descriptor = os.open(shard.path, os.O_RDONLY)
    try:
        for run, to in zip(np.split(rows, breaks), np.split(places, breaks), strict=True):
            buffer = np.empty((len(run), *stamps.shape[1:]), dtype=dtype)
            _read_into(descriptor, buffer.data.cast("B"), shard.offset + int(run[0]) * row_bytes, shard.path)
            stamps[to] = buffer
    finally:
        os.close(descriptor)


def _read_into(descriptor: int, view: memoryview, offset: int, path: Path) -> None:
    done = 0
    while done < len(view):  # a read of more than 2 GB comes in pieces
        count = os.preadv(descriptor, [view[done:]], offset + done)
        if count == 0:
            raise ShardError(f"{path} ends before its stamps do; delete it and run again")
        done += count


def _locate(path: Path, member: str) -> tuple[StampShard, tuple[int, int, int]]:
    """Where the stamps of a file begin, how many there are, and their shape."""
    try:
        start = 0 if path.suffix == ".npy" else _member_offset(path, member)
        with path.open("rb") as stream:
            stream.seek(start)
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran_order, dtype = read(stream)
            offset = stream.tell()
    except FileNotFoundError as error:
        raise ShardError(f"the shard {path} is missing") from error
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError, struct.error) as error:
        raise ShardError(f"{path} holds no whole array {member!r} ({error}); delete it and run again") from error
    if len(shape) != 4 or fortran_order or dtype.str[1:] not in ("f2", "f4") or not dtype.isnative:
        raise PixelError(f"{path}: stamps are (n, band, y, x) in float16 or float32; this is {dtype} {shape}")
    if path.stat().st_size < offset + int(np.prod(shape)) * dtype.itemsize:
        raise ShardError(f"{path} ends before its stamps do; delete it and run again")
    return StampShard(path, offset, int(shape[0]), dtype.name), (int(shape[1]), int(shape[2]), int(shape[3]))


def _member_offset(path: Path, member: str) -> int:
    """Byte at which an uncompressed member of a zip begins (PKWARE APPNOTE 4.3.7: 30 bytes, its name, its extras)."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"{member}.npy")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ShardError(f"{path}: {member!r} is compressed and cannot be read in place; save it uncompressed")
    with path.open("rb") as stream:
        stream.seek(entry.header_offset + 26)
        name_length, extra_length = struct.unpack("<HH", stream.read(4))
    return entry.header_offset + 30 + name_length + extra_length
