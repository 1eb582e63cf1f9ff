"""Values in JSON's own types, for reports: JSON has neither NaN nor numpy's numbers."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

__all__ = ["json_ready", "json_records", "leaves"]


def json_ready(value: Any, *, other: Callable[[Any], Any] | None = None) -> Any:
    """``value`` with dataclasses as dicts, arrays, tuples and sets as lists, and NaN and infinities as None.

    other: what is made of a value that JSON has no type for; without it such a value stays, and writing it fails.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_ready(getattr(value, field.name), other=other) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): json_ready(item, other=other) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_ready(item, other=other) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return json_ready(value.tolist(), other=other)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int) or other is None:
        return value
    return other(value)


def json_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as ``json_ready`` dicts, by column name."""
    return json_ready(table.to_dict(orient="records"))


def leaves(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """(dotted name, value) of everything in nested mappings that is no mapping; (prefix, value) for what is none."""
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for name, item in value.items() for pair in leaves(item, f"{prefix}.{name}" if prefix else name)]
