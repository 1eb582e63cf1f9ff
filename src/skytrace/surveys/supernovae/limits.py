"""How large a file of supernovae may be: what is refused before it is read, with the option that allows more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytrace.errors import SurveyError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_FILE_MB", "MAX_ROWS", "check_rows", "check_size"]

#: On disk; packed FITS files are several times larger in memory.
MAX_FILE_MB = 2000.0
#: Of one table: 20 million observations are about 5 GB of memory in all.
MAX_ROWS = 20_000_000


def check_size(path: Path, max_file_mb: float) -> None:
    """Raise SurveyError for a file that is larger than ``max_file_mb`` million bytes."""
    size_mb = path.stat().st_size / 1e6
    if size_mb > max_file_mb:
        raise SurveyError(f"{path} has {size_mb:.6g} MB, more than max_file_mb = {max_file_mb:g}")


def check_rows(path: Path, rows: int, max_rows: int) -> None:
    """Raise SurveyError for a table of more than ``max_rows`` rows."""
    if rows > max_rows:
        raise SurveyError(f"{path} has {rows} rows, more than max_rows = {max_rows}")
