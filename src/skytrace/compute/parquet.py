"""Parquet tables from outside: their size is known before they are read, and what is broken in them is told by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytrace.errors import SkytraceError, SurveyError, reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

__all__ = ["MAX_CELLS", "read_parquet"]

#: Rows times columns of one table: 4 GB of numbers. A column of one value packs a billion rows into a few kilobytes.
MAX_CELLS = 500_000_000


def read_parquet(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    max_cells: int = MAX_CELLS,
    error: type[SkytraceError] = SurveyError,
) -> pd.DataFrame:
    """A table (``columns`` of it). Raises ``error`` naming the file for one that is no Parquet, damaged, or of more
    than ``max_cells`` rows times columns.
    """
    import pandas as pd
    from pyarrow.parquet import read_metadata

    with reading(path, "a Parquet table", error):
        claimed = read_metadata(path)
        cells = claimed.num_rows * (claimed.num_columns if columns is None else len(columns))
        if cells > max_cells:
            raise error(f"{path} has {claimed.num_rows:,} rows: {cells:,} values, more than the limit of {max_cells:,}")
        return pd.read_parquet(path, columns=None if columns is None else list(columns))
