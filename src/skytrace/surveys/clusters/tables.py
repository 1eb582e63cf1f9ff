"""Catalogues of clusters as files: Parquet, CSV or FITS, with whatever names their columns have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from skytrace.errors import SurveyError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["read_cluster_table"]


def read_cluster_table(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """The ``columns`` (our name -> the file's) under our names, cluster_id as text. Raises SurveyError naming the file
    and what is wrong with it.
    """
    try:
        table = _read_table(path)
    except (OSError, ValueError) as error:
        raise SurveyError(f"cluster catalogue {path} cannot be read: {error}") from error
    missing = [name for name in columns.values() if name not in table]
    if missing:
        raise SurveyError(
            f"cluster catalogue {path} lacks {', '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
    found = pd.DataFrame({ours: table[theirs].to_numpy() for ours, theirs in columns.items()})
    found["cluster_id"] = found["cluster_id"].astype(str)
    return found


def _read_table(path: Path) -> pd.DataFrame:
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if suffix == ".parquet":
        return pd.read_parquet(path)
    if suffix == ".csv":
        return pd.read_csv(path)
    from astropy.table import Table

    table = Table.read(path)
    return table[[name for name in table.colnames if table[name].ndim == 1]].to_pandas()
