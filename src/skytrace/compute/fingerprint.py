"""A short name for a set of inputs, so that shards computed from other inputs are never taken for these."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

import numpy as np

__all__ = ["fingerprint", "source_fingerprint"]


def fingerprint(*values: Any, length: int = 12) -> str:
    """Return ``length`` hexadecimal digits of the SHA-256 of ``values``, equal on every machine and in every process.

    Takes numbers, strings, None, paths, tuples, lists, dicts, dataclasses, numpy arrays and pandas tables.
    Raises TypeError for anything whose content it cannot read.
    """
    digest = hashlib.sha256()
    for value in values:
        _update(digest, value)
    return digest.hexdigest()[:length]


def source_fingerprint(*names: str) -> str:
    """64 hexadecimal digits of the SHA-256 of the .py sources, as they lie on disk, of packages and modules ``names``.

    Full names; of a package every source below it counts. Part of the name of a cached result, so that one computed
    by other code is never taken for this code's. Raises ModuleNotFoundError for a name that has no source.
    """
    digest = hashlib.sha256()
    for name in names:
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            root = Path(next(iter(spec.submodule_search_locations)))
            paths = sorted(root.rglob("*.py"))
        elif spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            root, paths = Path(spec.origin).parent, [Path(spec.origin)]
        else:
            raise ModuleNotFoundError(f"{name} is not a package or module whose sources can be read")
        for path in paths:
            content = path.read_bytes()
            digest.update(f"{name}/{path.relative_to(root).as_posix()}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        plain = value.item() if isinstance(value, np.generic) else value
        digest.update(f"{type(plain).__name__}:{json.dumps(plain)};".encode())
    elif isinstance(value, bytes):
        digest.update(b"bytes:%d:" % len(value) + value)
    elif isinstance(value, PurePath):
        digest.update(f"path:{value.as_posix()};".encode())
    elif isinstance(value, np.ndarray):
        _update_array(digest, value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        digest.update(f"{type(value).__name__}(".encode())
        for field in dataclasses.fields(value):
            digest.update(f"{field.name}=".encode())
            _update(digest, getattr(value, field.name))
        digest.update(b")")
    elif isinstance(value, dict):
        digest.update(b"{")
        for key in sorted(value, key=str):
            digest.update(f"{key}=".encode())
            _update(digest, value[key])
        digest.update(b"}")
    elif isinstance(value, list | tuple):
        digest.update(b"[")
        for item in value:
            _update(digest, item)
        digest.update(b"]")
    elif hasattr(value, "columns") and hasattr(value, "to_numpy"):
        digest.update(b"table(")
        for name in value.columns:
            digest.update(f"{name}=".encode())
            _update_array(digest, value[name].to_numpy())
        digest.update(b")")
    else:
        raise TypeError(f"cannot take the fingerprint of a {type(value).__name__}")


def _update_array(digest: Any, array: np.ndarray) -> None:
    if array.dtype.hasobject:
        array = array.astype(str)
    digest.update(f"array:{array.dtype.str}:{array.shape};".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
