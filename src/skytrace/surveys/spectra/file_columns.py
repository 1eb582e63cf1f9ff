"""The columns of a spectrum's file: values, units as the file states them, and its header. Nothing is unpickled: text,
ECSV and FITS are read by formats named outright, never by letting a registry guess from content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError, SurveyError
from skytrace.surveys.fits_files import open_fits

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["FileColumns", "read_columns"]

_KIND_OF_SUFFIX = {".ecsv": "ecsv", ".fits": "fits", ".fit": "fits", ".txt": "text", ".dat": "text", ".ascii": "text",
                   ".csv": "text", ".asc": "text"}  # fmt: skip


@dataclass(frozen=True)
class FileColumns:
    """values: by name, (m,) each; units: astropy's name, or None where the file states none; header: its keywords in
    lower case; named: whether the names are the file's own.
    """

    values: dict[str, NDArray[np.float64]]
    units: dict[str, str | None]
    header: dict[str, Any] = field(default_factory=dict)
    named: bool = True


def read_columns(path: Path, kind: str) -> FileColumns:
    """The numeric columns of a file. Raises SurveyError for a file that is not of its ``kind``."""
    if kind == "auto":
        if path.suffix.lower() not in _KIND_OF_SUFFIX:
            raise SurveyError(
                f"kind = 'auto' does not know the suffix of {path}; it knows {', '.join(_KIND_OF_SUFFIX)}"
            )
        kind = _KIND_OF_SUFFIX[path.suffix.lower()]
    try:
        if kind.startswith("specutils:"):
            return _from_specutils(path, kind.removeprefix("specutils:"))
        return {"text": _text, "ecsv": _ecsv, "fits": _fits}[kind](path)
    except (SurveyError, CatalogueError):
        raise
    except Exception as error:  # astropy raises whatever a broken file provokes, InconsistentTableError to TypeError
        raise SurveyError(f"{path} cannot be read as a spectrum of kind {kind!r}: {error}") from error


def _text(path: Path) -> FileColumns:
    from astropy.table import Table

    with path.open(encoding="utf-8", errors="replace") as file:
        if file.readline().startswith("# %ECSV"):
            return _ecsv(path)
    table = Table.read(path, format="ascii")
    names = list(table.colnames)
    return _of_table(path, table, named=names != [f"col{i + 1}" for i in range(len(names))])


def _ecsv(path: Path) -> FileColumns:
    from astropy.table import Table

    return _of_table(path, Table.read(path, format="ascii.ecsv"))


def _fits(path: Path) -> FileColumns:
    from astropy.io import fits
    from astropy.table import Table

    with open_fits(path) as hdus:
        tables = [i for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        primary = dict(hdus[0].header)
        extensions = {hdu.name for hdu in hdus}
    if not tables:  # specutils 2.4 takes extensions of these names for errors, but fails to name their type itself
        deviations = {"uncertainty_type": "std"} if extensions & {"ERR", "UNCERT"} else {}
        return _from_specutils(path, "wcs1d-fits", **deviations)
    if len(tables) > 1:
        raise SurveyError(f"{path} has {len(tables)} tables, and it is not clear which is the spectrum; keep one")
    with open_fits(path) as hdus:
        table = Table.read(hdus, format="fits", hdu=tables[0])
    table.meta = {**primary, **table.meta}
    return _of_table(path, table)


def _of_table(path: Path, table: Any, *, named: bool = True) -> FileColumns:
    """Numeric columns of an astropy Table (masked values NaN; a table of one row of arrays is that row)."""
    values, units = {}, {}
    for name in table.colnames:
        column = table[name]
        data = getattr(column, "value", column)
        if getattr(data, "dtype", np.dtype(object)).kind not in "iuf":
            continue
        values[name] = np.ma.filled(np.ma.asarray(data).astype(np.float64), np.nan).ravel()
        units[name] = None if column.unit is None else str(column.unit)
    if not values:
        raise SurveyError(f"{path} has no column of numbers; its columns are {', '.join(table.colnames) or 'none'}")
    header = {str(key).lower(): value for key, value in dict(table.meta).items()}
    return FileColumns(values, units, header, named)


def _from_specutils(path: Path, name: str, **how: str) -> FileColumns:
    """Through one of specutils' loaders: wavelength, flux, error (standard deviation); masked flux NaN."""
    from astropy.nddata import StdDevUncertainty
    from specutils import Spectrum

    with path.open("rb") as stream:
        begin = stream.read(6)
    if begin == b"SIMPLE" or begin.startswith(b"\x1f\x8b"):
        with open_fits(path):  # for what its headers claim: a loader allocates it
            pass
    spectrum = Spectrum.read(path, format=name, **how)
    if spectrum.flux.ndim != 1:
        raise SurveyError(f"{path} holds an array of shape {spectrum.flux.shape}; one spectrum is asked")
    flux = np.array(spectrum.flux.value, dtype=np.float64)
    if spectrum.mask is not None:
        flux[np.asarray(spectrum.mask, dtype=bool)] = np.nan
    axis = spectrum.spectral_axis
    values = {"wavelength": np.array(axis.value, dtype=np.float64), "flux": flux}
    units = {"wavelength": str(axis.unit) or None, "flux": str(spectrum.flux.unit) or None}
    if spectrum.uncertainty is not None:
        values["error"] = np.array(spectrum.uncertainty.represent_as(StdDevUncertainty).array, dtype=np.float64)
        units["error"] = units["flux"]
    header = spectrum.meta.get("header") or {}
    return FileColumns(values, units, {str(key).lower(): value for key, value in dict(header).items()})
