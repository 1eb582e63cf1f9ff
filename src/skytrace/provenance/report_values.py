"""One value of a report: ``auc.value`` of a JSON file, ``#3/auroc`` or ``member=nn_pu/auroc`` of a table."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from skytrace.errors import SkytraceError, unknown_name

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_value"]


def read_value(path: Path, key: str) -> Any:
    """The value at ``key`` in the file ``path``.

    JSON: names and places in lists, joined by dots; a name may hold dots itself (``recall.0.001.value``).
    CSV and Parquet: ``ROW/COLUMN``, where ROW is what the first column says in it, or its number, from ``#1`` on, or
    ``column=value,column=value``. A CSV's value is its text.
    Raises SkytraceError naming what there is, where nothing is at ``key`` or the row is not one row, and for a file of
    another kind.
    """
    readers = {".json": _in_json, ".csv": _in_csv, ".parquet": _in_parquet}
    if path.suffix not in readers:
        raise SkytraceError(f"{path.name}:{key}: values are read from {', '.join(readers)}, not from {path.suffix}")
    try:
        return readers[path.suffix](path, key)
    except (SkytraceError, FileNotFoundError):
        raise
    except Exception as error:  # json answers absurd depth with RecursionError, pyarrow damage with OSError
        raise SkytraceError(f"{path} cannot be read: {error}") from error


def _in_json(path: Path, key: str) -> Any:
    content = json.loads(path.read_text(encoding="utf-8"))
    parts = key.split(".")
    begun = 0
    while begun < len(parts):
        ends = range(len(parts), begun, -1)  # the longest name first: names may hold dots
        end = next((n for n in ends if _has(content, ".".join(parts[begun:n]))), None)
        if end is None:
            done = ".".join(parts[:begun])
            words = f"{path.name} has no {'.'.join(parts[begun:])!r}" + (f" in {done}" if done else "")
            if isinstance(content, dict):
                raise SkytraceError(unknown_name(words, parts[begun], [str(name) for name in content]))
            raise SkytraceError(f"{words}; there {_what(content)}")
        name = ".".join(parts[begun:end])
        content = content[int(name)] if isinstance(content, list) else content[name]
        begun = end
    return content


def _has(content: Any, name: str) -> bool:
    if isinstance(content, list):
        return name.isdecimal() and int(name) < len(content)
    return isinstance(content, dict) and name in content


def _what(content: Any) -> str:
    return f"is a list of {len(content)}, counted from 0" if isinstance(content, list) else f"stands {content!r}"


def _in_csv(path: Path, key: str) -> Any:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    return _in_table(path.name, rows[0] if rows else [], [list(row) for row in rows[1:]], key)


def _in_parquet(path: Path, key: str) -> Any:
    """The asked column and those that choose the row are read, and no other."""
    from pyarrow.parquet import read_schema

    from skytrace.compute.parquet import read_parquet

    schema = read_schema(path)
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    columns = [name for name in schema.names if name not in index]
    asked, column = _asked(path.name, columns, key)
    chosen = [part.partition("=")[0] for part in asked.split(",")] if "=" in asked else []
    read = [name for name in columns if name in (columns[0], column, *chosen)]
    table = read_parquet(path, columns=read, error=SkytraceError)
    return _in_table(path.name, columns, table.to_numpy(dtype=object).tolist(), key, read=read)


def _asked(file: str, columns: list[str], key: str) -> tuple[str, str]:
    """(ROW, COLUMN) of ``key``."""
    asked, _, column = key.rpartition("/")
    if not asked:
        raise SkytraceError(f"{file}:{key} is not ROW/COLUMN; the columns are {', '.join(columns)}")
    if column not in columns:
        raise SkytraceError(unknown_name(f"{file} has no column {column!r}", column, columns))
    return asked, column


def _in_table(file: str, columns: list[str], rows: list[list[Any]], key: str, *, read: list[str] | None = None) -> Any:
    """The value at ``key``. read: the columns that ``rows`` hold, the first of all among them; None: all."""
    asked, column = _asked(file, columns, key)
    held = columns if read is None else read
    place = {name: held.index(name) for name in held}
    found = [row for row in rows if str(row[0]) == asked]
    if asked[0] == "#" and asked[1:].isdecimal():
        found = rows[int(asked[1:]) - 1 : int(asked[1:])] if int(asked[1:]) else []
    elif not found and "=" in asked:
        wanted = [part.partition("=")[::2] for part in asked.split(",")]
        for name, _ in wanted:
            if name not in columns:
                raise SkytraceError(unknown_name(f"{file} has no column {name!r}", name, columns))
        found = [row for row in rows if all(str(row[place[name]]) == value for name, value in wanted)]
    if len(found) != 1:
        words = f"{file} has {len(found)} rows {asked!r}, of {len(rows)}"
        raise SkytraceError(f"{words}: ROW is a value of {columns[0]!r}, a number from #1 on, or column=value")
    return found[0][place[column]]
