"""HST/ACS stamps of galaxies as lensed sources: a folder of hst_stamps.npz and hst_stamps.parquet (source_id, band)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytrace.compute import load_npz
from skytrace.compute.parquet import read_parquet
from skytrace.errors import SurveyError, check_choice
from skytrace.surveys.data_root import require_folder, under_data_root

if TYPE_CHECKING:
    import os

    import numpy as np

__all__ = ["FOLDER", "read_source_stamps"]

#: Under the data root.
FOLDER = "imaging/hst_source_galaxies"
_FILES = "hst_stamps.npz and hst_stamps.parquet (HST/ACS stamps of single galaxies)"


def read_source_stamps(folder: str | os.PathLike = FOLDER, *, band: str = "F814W") -> dict[str, np.ndarray]:
    """source_id -> stamp (rows, columns) of one band, each galaxy once; flux units are the files' own.

    Raises SurveyError where the folder, a file, a column or a stamp is missing.
    """
    check_choice("band", band, ("F606W", "F814W"))
    root = require_folder(under_data_root(folder), files=_FILES)
    if not ((root / "hst_stamps.npz").is_file() and (root / "hst_stamps.parquet").is_file()):
        raise SurveyError(f"{root} must hold {_FILES}")
    table, arrays = read_parquet(root / "hst_stamps.parquet"), load_npz(root / "hst_stamps.npz")
    if not {"source_id", "band"} <= set(table.columns):
        raise SurveyError(f"{root / 'hst_stamps.parquet'} lacks the columns source_id and band")
    names = [str(name) for name in table["source_id"][table["band"] == band]]
    missing = [name for name in names if name not in arrays]
    if missing or not names:
        raise SurveyError(f"{root / 'hst_stamps.npz'} lacks {', '.join(missing) or f'any stamp in {band}'}")
    return {name: arrays[name] for name in names}
