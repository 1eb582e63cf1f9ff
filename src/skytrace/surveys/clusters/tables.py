"""Catalogues of clusters as files: Parquet, CSV or FITS, with whatever names their columns have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from skytrace.compute.parquet import read_parquet
from skytrace.errors import SurveyError, reading
from skytrace.surveys.fits_files import open_fits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["known_flags", "read_cluster_table"]

_FLAGS = dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True)
_FLAGS |= dict.fromkeys(("false", "f", "no", "n", "0", "0.0", "", "nan", "none", "<na>", "--"), False)


def read_cluster_table(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """The ``columns`` (our name -> the file's) under our names, cluster_id as text. Raises SurveyError naming the file
    and what is wrong with it.
    """
    with reading(f"cluster catalogue {path}", "a table"):
        table = _read_table(path)
    missing = [name for name in columns.values() if name not in table]
    if missing:
        raise SurveyError(
            f"cluster catalogue {path} lacks {', '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
    unnamed = int(table[columns["cluster_id"]].isna().sum())
    if unnamed:
        raise SurveyError(f"cluster catalogue {path} has {unnamed} rows without {columns['cluster_id']}; name them all")
    found = pd.DataFrame({ours: table[theirs].to_numpy() for ours, theirs in columns.items()})
    found["cluster_id"] = found["cluster_id"].astype(str)
    return found


def known_flags(values: pd.Series, path: Path) -> NDArray[np.bool_]:
    """Which rows (n,) are known lenses: what is not filled in is not known. Raises SurveyError naming the file
    and the first value that is neither true nor false.
    """
    words = values.map(lambda value: value.decode() if isinstance(value, bytes) else str(value)).str.strip().str.lower()
    unknown = ~words.isin(_FLAGS.keys())
    if unknown.any():
        raise SurveyError(
            f"cluster catalogue {path} has known_lens = {values[unknown].iloc[0]!r} in {int(unknown.sum())} rows; "
            "true, t, yes, y, 1 and false, f, no, n, 0 are understood, and nothing for fields that nobody knows"
        )
    return words.map(_FLAGS).to_numpy(dtype=bool)


def _read_table(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return read_parquet(path)
    if path.suffix == ".csv":
        return pd.read_csv(path)
    from astropy.table import Table

    with open_fits(path, label=f"cluster catalogue {path}") as hdus:
        table = Table.read(hdus, format="fits")
    return table[[name for name in table.colnames if table[name].ndim == 1]].to_pandas()
