"""Tables in shards: each file carries the fingerprint of its own content, and all are joined in order of an id."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.compute.files import atomic_path
from skytrace.compute.fingerprint import fingerprint
from skytrace.errors import AccessError, ShardError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

__all__ = ["is_whole", "join_shards", "read_shard", "save_shard"]

#: Key of a shard's own fingerprint in the metadata of its Parquet file.
_CONTENT = b"skytrace.content"
#: Number that stands for a missing text while shards are joined.
_MISSING = -1


def save_shard(table: pd.DataFrame, path: Path) -> None:
    """Write a shard with the fingerprint of its content in the file's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    kept = {**(arrow.schema.metadata or {}), _CONTENT: _content(arrow)}
    with atomic_path(path) as partial_path:
        pq.write_table(arrow.replace_schema_metadata(kept), partial_path, compression="zstd")


def read_shard(path: Path) -> pd.DataFrame:
    """A shard as it was computed. Raises ShardError where the file is damaged or its content was changed, AccessError
    where this user may not read it.
    """
    import pyarrow.parquet as pq

    try:
        arrow = pq.read_table(path)
        whole = (arrow.schema.metadata or {}).get(_CONTENT) == _content(arrow)
        table = arrow.to_pandas()
    except PermissionError as error:
        raise AccessError(f"shard {path} may not be read by this user; give it that right and run again") from error
    except Exception as error:  # of pyarrow, and of what pandas makes of metadata that were changed
        raise ShardError(f"shard {path} cannot be read ({error}); delete it and run again") from error
    if not whole:
        raise ShardError(f"shard {path} is not what was computed: its content was changed; delete it and run again")
    return table


def is_whole(path: Path) -> bool:
    """Whether ``read_shard`` can read the file. Raises AccessError as it does."""
    try:
        read_shard(path)
    except ShardError:
        return False
    return True


def join_shards(paths: Sequence[Path], *, by: str) -> pd.DataFrame:
    """All rows of the shards, in order of the numbers in column ``by``.

    Every shard's rows are put straight into their places, so that no second copy of the table is ever made; text is
    held as numbers until the end. Raises ShardError where shards have other columns than the first.
    """
    import pyarrow.parquet as pq

    ids = np.concatenate([pq.read_table(path, columns=[by]).column(0).to_numpy() for path in paths])
    place = np.empty(len(ids), dtype=np.int64)
    place[np.argsort(ids, kind="stable")] = np.arange(len(ids))
    columns: dict[str, np.ndarray] = {}
    texts: dict[str, dict[str, int]] = {}
    start = 0
    for path in paths:
        part = read_shard(path)
        rows = place[start : start + len(part)]
        start += len(part)
        if start == len(part):
            texts = {name: {} for name in part.columns if not isinstance(part[name].dtype, np.dtype)}
            columns = {name: np.empty(len(ids), _stored(part[name], text=name in texts)) for name in part.columns}
        if list(part) != list(columns):
            raise ShardError(f"shard {path} has other columns than {paths[0]}; delete their folder and run again")
        for name, values in list(columns.items()):
            if name in texts:
                codes, words = pd.factorize(part[name])
                known = texts[name]
                numbers = [known.setdefault(str(word), len(known)) for word in words]
                values[rows] = np.array([*numbers, _MISSING])[codes]  # factorize's own code of a missing text is -1
            else:
                kind = np.promote_types(values.dtype, part[name].to_numpy().dtype)
                if kind != values.dtype:  # numbers of this shard that the first one's kind cannot hold
                    columns[name] = values = values.astype(kind)
                values[rows] = part[name].to_numpy()
    return pd.DataFrame(
        {
            name: pd.array(list(texts[name]), dtype="str").take(values, allow_fill=True) if name in texts else values
            for name, values in columns.items()
        },
        copy=False,
    )


def _content(table: pa.Table) -> bytes:
    """SHA-256, as hexadecimal digits, of the names, types and values of the columns and of what pandas makes of them;
    of Arrow's own buffers, since spelling texts out for ``fingerprint`` takes longer than to fit a light curve.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    digest = hashlib.sha256((table.schema.metadata or {}).get(b"pandas", b""))
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        kind = column.type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if not (text or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            digest.update(f"{name}:{fingerprint(column.to_pandas().to_numpy(), length=64)};".encode())
            continue
        digest.update(f"{name}:{'text' if text else kind}:{len(column)}:{column.null_count};".encode())
        if column.null_count:
            digest.update(np.packbits(column.is_valid().to_numpy()).tobytes())
            column = pc.fill_null(column, "" if text else False if pa.types.is_boolean(kind) else 0)
        if text:
            digest.update(pc.binary_length(column).to_numpy().astype(np.int64).tobytes())
            for part in column.chunks:
                offsets = np.frombuffer(part.buffers()[1], np.int64 if pa.types.is_large_string(kind) else np.int32)
                if len(part):
                    first, last = offsets[part.offset], offsets[part.offset + len(part)]
                    digest.update(memoryview(part.buffers()[2] or b"")[first:last])
        else:
            digest.update(np.ascontiguousarray(column.to_numpy()).tobytes())
    return digest.hexdigest().encode()


def _stored(values: pd.Series, *, text: bool) -> np.dtype:
    return np.dtype(np.int32) if text else values.to_numpy().dtype
