"""What a file of supernovae may hold: how large it is, before it is read; values that are no measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytrace.errors import CatalogueError, SurveyError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["MAX_FILE_MB", "MAX_ROWS", "check_reddening", "check_rows", "check_size", "without_sentinels"]

#: On disk; packed FITS files are several times larger in memory.
MAX_FILE_MB = 2000.0
#: Of one table: 20 million observations are about 5 GB of memory in all.
MAX_ROWS = 20_000_000
#: What surveys write where there is no flux.
_FLUX_SENTINELS = (-777.0, -999.0)


def check_size(path: Path, max_file_mb: float) -> None:
    """Raise SurveyError for a file that is larger than ``max_file_mb`` million bytes."""
    size_mb = path.stat().st_size / 1e6
    if size_mb > max_file_mb:
        raise SurveyError(f"{path} has {size_mb:.6g} MB, more than max_file_mb = {max_file_mb:g}")


def check_rows(path: Path, rows: int, max_rows: int) -> None:
    """Raise SurveyError for a table of more than ``max_rows`` rows."""
    if rows > max_rows:
        raise SurveyError(f"{path} has {rows} rows, more than max_rows = {max_rows}")


def check_reddening(snid: pd.Series, mwebv: pd.Series, *, source: str) -> pd.Series:
    """E(B-V) [mag], sentinels (-9 and less) NaN. Raises CatalogueError for any other negative one."""
    import pandas as pd

    values = pd.to_numeric(mwebv, errors="coerce").astype(float)
    values = values.where(values > -9.0)
    bad = values < 0
    if bad.any():
        raise CatalogueError(
            f"{source} has {int(bad.sum())} supernova(e) of mwebv < 0, the first {values[bad].iloc[0]:g} of "
            f"{str(snid[bad].iloc[0])!r}; leave the field empty where it is unknown"
        )
    return values


def without_sentinels(fluxes: pd.Series, among: pd.Series | None = None) -> tuple[pd.Series, str]:
    """Fluxes with exactly -777 and -999 made NaN, which validation rejects and counts (flux_not_finite); how many, in
    words. Every other negative flux is noise and stays. among: where these values may be sentinels; None: everywhere,
    as in Jy, where no supernova has them.
    """
    import pandas as pd

    values = pd.to_numeric(fluxes, errors="coerce") if fluxes.dtype.kind in "iuf" else fluxes
    sentinel = values.isin(_FLUX_SENTINELS)
    if among is not None:
        sentinel &= among
    n = int(sentinel.sum())
    return values.where(~sentinel), f"{n} fluxes of exactly -777 or -999 are no measurements" if n else ""
