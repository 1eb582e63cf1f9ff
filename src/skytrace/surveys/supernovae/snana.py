"""Supernovae from SNANA's own files: FITS pairs (HEAD, PHOT) and text files of one SN each.

SNANA counts rows from 1 and both ends belong to a SN: its photometry is rows PTROBS_MIN to PTROBS_MAX of PHOT, and a
row of MJD -777 follows it. FLUXCAL has zero point 27.5 in the survey's native system, so
F = FLUXCAL 3631 Jy 10^(-0.4 (27.5 + ab_offset)), which is FLUXCAL 3.631e-8 Jy at no offset.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.compute.files import is_temporary
from skytrace.errors import CatalogueError, SurveyError, reading
from skytrace.surveys.data_root import require_folder, under_data_root
from skytrace.surveys.fits_files import open_fits
from skytrace.surveys.supernovae.filters import known_filters
from skytrace.surveys.supernovae.interface import TRUTH_COLUMNS, objects_table
from skytrace.surveys.supernovae.limits import (
    MAX_FILE_MB,
    MAX_ROWS,
    check_reddening,
    check_rows,
    check_size,
    without_sentinels,
)
from skytrace.surveys.supernovae.options import SnanaOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["JY_PER_FLUXCAL", "SnanaSupernovae", "photometry_rows", "read_snana_fits", "read_snana_text"]

JY_PER_FLUXCAL = 3.631e-8
_SEPARATOR_MJD = -777.0
#: Names of SNANA's keywords and columns for ours; the first one that is there counts. REDSHIFT_FINAL is in the frame of
#: the CMB: where there is no REDSHIFT_HELIO, z_hel is unknown and validation rejects the rows by name.
_HEAD_NAMES = {
    "z_hel": ("REDSHIFT_HELIO",), "z_cmb": ("REDSHIFT_CMB", "REDSHIFT_FINAL"), "mwebv": ("MWEBV",),
    "sntype": ("SNTYPE", "TYPE"), "peakmjd": ("PEAKMJD", "SEARCH_PEAKMJD"),
}  # fmt: skip
_BAND_NAMES = ("BAND", "FLT")
_PAIR = re.compile(r"_HEAD\.FITS(\.gz)?$", re.IGNORECASE)


class SnanaSupernovae:
    """A SupernovaSurvey of SNANA files in ``folder``, absolute or under $SKYTRACE_DATA."""

    name = "snana"

    def __init__(self, folder: str | os.PathLike, options: SnanaOptions | Mapping[str, Any] | None = None) -> None:
        self.folder = under_data_root(folder)
        self.options = options if isinstance(options, SnanaOptions) else SnanaOptions.from_mapping(options or {})
        self.files_read: set[Path] = set()
        self.note = ""
        self._tables: tuple[pd.DataFrame, pd.DataFrame] | None = None

    def light_curves(self) -> pd.DataFrame:
        """Observations, LIGHT_CURVE_COLUMNS; wavelength_nm is NaN for a band that the table of filters lacks."""
        objects, photometry = self._read()
        filters = self._filters()
        name = _filter_names(photometry["band"], filters.index)
        unknown = sorted(set(photometry["band"][~name.isin(filters.index)]))
        known = f"no filter is known of band {', '.join(unknown)}" if unknown else ""
        flux, error = photometry["fluxcal"], photometry["fluxcal_err"]
        # in these units a supernova may have such a flux once; not twice, and not without an error
        doubtful = (error <= 0) | flux.duplicated(keep=False)
        flux, sentinels = without_sentinels(flux, doubtful)
        self.note = "; ".join(words for words in (known, sentinels) if words)
        offset = name.map(filters["ab_offset_mag"]).fillna(0.0) if self.options.ab_offset else 0.0
        jy = JY_PER_FLUXCAL * 10.0 ** (-0.4 * offset)
        return pd.DataFrame(
            {
                "snid": photometry["snid"], "mjd": photometry["mjd"], "flux_jy": flux * jy,
                "flux_err_jy": photometry["fluxcal_err"] * jy,
                "wavelength_nm": name.map(filters["wavelength_nm"]).astype(float),
                "band": photometry["band"], "z_hel": photometry["snid"].map(objects.set_index("snid")["z_hel"]),
                "survey": self.options.survey,
            }
        )  # fmt: skip

    def objects(self) -> pd.DataFrame:
        """One row a SN, OBJECT_COLUMNS."""
        table = self._read()[0]
        mwebv = check_reddening(table["snid"], table["mwebv"], source=str(self.folder))
        return objects_table(table.assign(survey=self.options.survey, mwebv=mwebv), source=str(self.folder))

    def hubble_tables(self) -> dict[str, pd.DataFrame]:
        """None: SNANA files hold photometry."""
        return {}

    def truth(self) -> pd.DataFrame:
        """No row: what SNANA simulated is not read."""
        return pd.DataFrame(columns=list(TRUTH_COLUMNS))

    def resimulated(self, *, n_supernovae: int, seed: int, omega_m: float) -> None:
        """Nothing: no simulation of these surveys is at hand."""

    def _read(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        if self._tables is None:
            folder = require_folder(self.folder, files="SNANA files: *_HEAD.FITS with *_PHOT.FITS, or text")
            heads = sorted(path for path in folder.iterdir() if _PAIR.search(path.name) and not is_temporary(path))
            texts = sorted(path for path in folder.glob(self.options.text) if not is_temporary(path))
            limits: dict[str, Any] = {"max_file_mb": self.options.max_file_mb, "max_rows": self.options.max_rows}
            parts = [read_snana_fits(head, _photometry_file(head), **limits) for head in heads]
            if texts:
                parts.append(read_snana_text(texts, **limits))
            if not parts:
                raise SurveyError(f"{folder} holds neither *_HEAD.FITS files nor text files {self.options.text}")
            self.files_read |= {*heads, *map(_photometry_file, heads), *texts}
            objects, photometry = (pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True))
            if self.options.strip_zeros:
                objects["snid"], photometry["snid"] = _stripped(objects["snid"]), _stripped(photometry["snid"])
            self._tables = objects, photometry
        return self._tables

    def _filters(self) -> pd.DataFrame:
        path = self.folder / self.options.filters
        if path.is_file():
            check_size(path, self.options.max_file_mb)
            self.files_read.add(path)
            with reading(path, "a table of filters"):
                filters = pd.read_csv(path, comment="#", dtype={"band": "str"})
        else:
            filters = known_filters()
        _check_filters(path, filters)
        mine = filters[filters["survey"] == self.options.survey]
        if mine.empty and not path.is_file():
            known = ", ".join(filters["survey"].unique())
            raise SurveyError(
                f"no filter is known of survey {self.options.survey!r} (known: {known}), and there is no table of "
                f"filters {path} (columns survey, band, wavelength_nm, ab_offset_mag)"
            )
        if mine.empty or mine["band"].duplicated().any():
            raise CatalogueError(f"{path} has no filter of survey {self.options.survey!r}, or one band of it twice")
        return mine.set_index("band")


def read_snana_fits(
    head: Path, phot: Path, *, max_file_mb: float = MAX_FILE_MB, max_rows: int = MAX_ROWS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Objects (snid, z_hel, z_cmb, mwebv, sntype, peakmjd) and photometry (snid, mjd, band, fluxcal, fluxcal_err).

    All SNe at once, every observation of each, no separator. Raises SurveyError where the two files do not fit, are no
    FITS tables, or are larger than the limits.
    """
    for path in (head, phot):
        check_size(path, max_file_mb)
    with reading(f"{head} and {phot}", "a pair of SNANA files"):
        with open_fits(head) as first, open_fits(phot) as second:
            for path, file in ((head, first), (phot, second)):
                check_rows(path, int(file[1].header["NAXIS2"]), max_rows)
            objects, observed = first[1].data, second[1].data
            ids = _text(objects["SNID"])
            rows, owner = photometry_rows(
                np.asarray(objects["PTROBS_MIN"]), np.asarray(objects["PTROBS_MAX"]), np.asarray(observed["MJD"]),
                names=ids,
            )  # fmt: skip
            head_columns = {name.upper(): _native(objects[name]) for name in objects.names if name != "SNID"}
            band = next((name for name in _BAND_NAMES if name in observed.names), None)
            if band is None:
                raise SurveyError(f"{phot} has no column BAND or FLT")
            photometry = pd.DataFrame(
                {
                    "snid": ids[owner], "mjd": _native(observed["MJD"])[rows], "band": _text(observed[band])[rows],
                    "fluxcal": _native(observed["FLUXCAL"])[rows].astype(float),
                    "fluxcal_err": _native(observed["FLUXCALERR"])[rows].astype(float),
                }
            )  # fmt: skip
        return _objects(ids, head_columns), _as_text(photometry)


def photometry_rows(
    first: NDArray[np.integer], last: NDArray[np.integer], mjd: NDArray[np.floating], *, names: NDArray[np.str_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of PHOT, from 0, that belong to SNe with PTROBS ``first`` to ``last`` (from 1, both ends theirs), and each
    row's SN. Raises SurveyError naming the first SN whose range leaves the file, or that holds a separator or lacks it
    behind: pointers off by one show here.
    """
    start, stop = first.astype(np.int64) - 1, last.astype(np.int64)
    count = np.maximum(stop - start, 0)
    outside = (start < 0) | (stop > len(mjd))
    if outside.any():
        raise SurveyError(f"PTROBS of {names[outside][0]} leave the {len(mjd)} rows of photometry")
    owner = np.repeat(np.arange(len(first)), count)
    rows = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + start[owner]
    separator = np.append(np.asarray(mjd) == _SEPARATOR_MJD, True)
    wrong = np.zeros(len(first), dtype=bool)
    np.logical_or.at(wrong, owner, separator[rows])
    if separator[:-1].any():
        wrong |= ~separator[stop] & (count > 0)
    if wrong.any():
        raise SurveyError(
            f"PTROBS of {names[wrong][0]} do not end at a separator (MJD -777); they are counted from 1, both ends in"
        )
    return rows, owner


def read_snana_text(
    paths: Iterable[Path], *, max_file_mb: float = MAX_FILE_MB, max_rows: int = MAX_ROWS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As ``read_snana_fits``, of text files of one SN each (keywords, then VARLIST and OBS lines), in UTF-8."""
    from sncosmo.snanaio import read_snana_ascii

    heads, parts = [], []
    for path in paths:
        check_size(path, max_file_mb)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SurveyError(f"{path} is no text in UTF-8: {error}") from error
        check_rows(path, len(re.findall(r"^\s*OBS:", text, re.MULTILINE)), max_rows)
        # sncosmo makes numbers of identifiers: 000123 would be 123, and 2001e5 two hundred million
        snid = re.search(r"^\s*SNID:\s*(\S+)", text, re.MULTILINE)
        try:
            with path.open(encoding="utf-8") as file:
                keywords, tables = read_snana_ascii(file, default_tablename="OBS")
            observed = tables["OBS"]
            band = next(name for name in _BAND_NAMES if name in observed.colnames)
            part = {"mjd": "MJD", "band": band, "fluxcal": "FLUXCAL", "fluxcal_err": "FLUXCALERR"}
            photometry = pd.DataFrame({ours: np.asarray(observed[name]) for ours, name in part.items()})
        except Exception as error:  # sncosmo's reader fails on broken files in many ways
            raise SurveyError(
                f"{path} is no SNANA text file with OBS of MJD, BAND, FLUXCAL, FLUXCALERR: {error}"
            ) from error
        if snid is None:
            raise SurveyError(f"{path} has no keyword SNID")
        parts.append(_as_text(photometry.assign(snid=snid[1])))
        heads.append({**keywords, "SNID": snid[1]})
    table = pd.DataFrame(heads)
    columns = {str(name).upper(): table[name].to_numpy() for name in table if name != "SNID"}
    return _objects(table["SNID"].to_numpy(dtype=str), columns), pd.concat(parts, ignore_index=True)


def _check_filters(path: Path, filters: pd.DataFrame) -> None:
    """Raise CatalogueError naming what a table of filters lacks, and a column of numbers that holds something else."""
    needed = ("survey", "band", "wavelength_nm", "ab_offset_mag")
    missing = [name for name in needed if name not in filters]
    if missing:
        raise CatalogueError(f"{path} lacks columns {', '.join(missing)}; it has {', '.join(map(str, filters))}")
    for name in needed[2:]:
        if filters[name].dtype.kind not in "iuf":
            raise CatalogueError(f"{path}: {name} holds something that is no number")


def _objects(ids: NDArray[np.str_], columns: Mapping[str, NDArray]) -> pd.DataFrame:
    """The columns of _HEAD_NAMES; sentinels (-9 and less; a type stays what it is) become NaN."""
    table = pd.DataFrame({"snid": ids})
    for ours, names in _HEAD_NAMES.items():
        name = next((name for name in names if name in columns), None)
        values = pd.to_numeric(pd.Series(columns[name]), errors="coerce") if name else pd.Series(np.nan, table.index)
        table[ours] = values.astype(float).where(values > -9.0).to_numpy()
    return table.astype({"snid": "str"})


def _as_text(photometry: pd.DataFrame) -> pd.DataFrame:
    band = photometry["band"].astype("str").str.strip()
    return photometry.assign(band=band, snid=photometry["snid"].astype("str"))


def _photometry_file(head: Path) -> Path:
    return head.with_name(_PAIR.sub(lambda end: end[0].replace("HEAD", "PHOT").replace("head", "phot"), head.name))


def _stripped(ids: pd.Series) -> pd.Series:
    return ids.str.replace(r"^0+(?=\d+$)", "", regex=True)  # "000" is 0, not nothing


def _filter_names(bands: pd.Series, known: pd.Index) -> pd.Series:
    """What each band is called in the table of filters: its name, or that before a slash (SNANA's "CFA3K-U/f")."""
    return bands.where(bands.isin(known), bands.str.split("/").str[0])


def _text(values: Any) -> NDArray[np.str_]:
    return np.char.strip(np.asarray(values).astype(str))


def _native(values: Any) -> NDArray:
    array = np.asarray(values)
    return array.astype(array.dtype.newbyteorder("="))
