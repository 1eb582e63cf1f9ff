"""Supernovae from tables: light curves as Parquet or CSV, and Hubble diagrams as their authors published them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from skytrace.compute.parquet import read_parquet
from skytrace.errors import CatalogueError, SurveyError, reading
from skytrace.supernovae.light_curves import LIGHT_CURVE_COLUMNS
from skytrace.surveys.data_root import require_folder, under_data_root
from skytrace.surveys.supernovae.interface import TRUTH_COLUMNS, hubble_table, objects_table
from skytrace.surveys.supernovae.limits import (
    MAX_FILE_MB,
    MAX_ROWS,
    check_reddening,
    check_rows,
    check_size,
    without_sentinels,
)
from skytrace.surveys.supernovae.options import SupernovaTableOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = ["TabulatedSupernovae", "one_row_each", "read_hubble_table", "read_light_curve_table"]

#: Names that light-curve tables use, in lower case, for ours.
_LIGHT_CURVE_NAMES = {"z": "z_hel", "zhel": "z_hel", "z_helio": "z_hel", "filter": "band"}
#: Names that Hubble tables use, in lower case; of several for one of ours the first counts.
_HUBBLE_NAMES = {
    "snid": ("snid", "cid"),
    "survey": ("survey", "idsurvey"),
    "z_hd": ("zhd", "z_hd"),
    "z_hel": ("zhel", "z_hel"),
    "mu_mag": ("mu", "mu_mag", "mu_sh0es"),
    "mu_err_mag": ("mu_err", "muerr_final", "muerr", "mu_err_mag", "mu_sh0es_err_diag"),
    "prob_ia": ("prob_ia", "probia_beams"),
    "mb": ("mb",),
}
#: Columns of text, in lower case: taken as they are written, whatever they look like.
_TEXT = ("snid", "cid", "band", "filter", "survey")
#: What stands for no number in the other columns.
_MISSING = ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "null", "NULL", "None"]
_NEEDED = ("snid", "z_hd", "z_hel", "mu_mag", "mu_err_mag")


class TabulatedSupernovae:
    """A SupernovaSurvey of tables in ``folder``, absolute or under $SKYTRACE_DATA."""

    name = "tables"

    def __init__(
        self, folder: str | os.PathLike, options: SupernovaTableOptions | Mapping[str, Any] | None = None
    ) -> None:
        self.folder = under_data_root(folder)
        self.options = (
            options if isinstance(options, SupernovaTableOptions) else SupernovaTableOptions.from_mapping(options or {})
        )
        self.files_read: set[Path] = set()
        self._notes: dict[str, str] = {}

    @property
    def note(self) -> str:
        """What was left out or taken for unknown in the tables that were read so far, in words."""
        return "; ".join(words for words in self._notes.values() if words)

    def light_curves(self) -> pd.DataFrame:
        """Observations, LIGHT_CURVE_COLUMNS, of the surveys asked for. A flux of exactly -777 or -999 Jy is unknown.

        Raises CatalogueError naming the file, the columns that it lacks and how its columns were told apart.
        """
        path = self._file(self.options.light_curves)
        table = read_light_curve_table(path, survey=self.options.survey, **self._limits())
        _check_columns(path, table, LIGHT_CURVE_COLUMNS)
        table = self._of_surveys(table)
        fluxes, self._notes["fluxes"] = without_sentinels(table["flux_jy"])
        return table.assign(flux_jy=fluxes)

    def objects(self) -> pd.DataFrame:
        """One row a SN, OBJECT_COLUMNS; mb and z_hd from the Hubble tables (the median where releases differ)."""
        if self.options.index is None:
            index = self.light_curves().drop_duplicates("snid")[["snid", "survey", "z_hel"]]
        else:
            path = self._file(self.options.index)
            table = _read(path, **self._limits())
            _check_columns(path, table, ("snid", "survey") if self.options.surveys else ("snid",))
            index = self._of_surveys(table)
            if "mwebv" in index:
                index = index.assign(mwebv=check_reddening(index["snid"], index["mwebv"], source=str(path)))
        tables = list(self.hubble_tables().values())
        if tables:
            published = pd.concat(tables, ignore_index=True).groupby("snid")[["z_hd", "mb"]].median()
            index = index.drop(columns=["z_hd", "mb"], errors="ignore").join(published, on="snid")
        return objects_table(index, source=f"{self.folder}")

    def hubble_tables(self) -> dict[str, pd.DataFrame]:
        """Published distances by release, HUBBLE_COLUMNS; ``note`` says how many rows were second ones of a SN."""
        files = self.options.hubble.items()
        tables = {name: read_hubble_table(self._file(file), **self._limits()) for name, file in files}
        repeated = {name: int(table["snid"].duplicated().sum()) for name, table in tables.items()}
        done = "were left out (the smallest error stays)" if self.options.repeats == "best" else "were kept"
        self._notes["repeats"] = "; ".join(
            f"{n} of {len(tables[name])} rows of {name} are further light curves of a supernova and {done}"
            for name, n in repeated.items() if n
        )  # fmt: skip
        if self.options.repeats == "keep":
            return tables
        return {name: one_row_each(table) for name, table in tables.items()}

    def truth(self) -> pd.DataFrame:
        """No row: nobody knows."""
        return pd.DataFrame(columns=list(TRUTH_COLUMNS))

    def resimulated(self, *, n_supernovae: int, seed: int, omega_m: float) -> None:
        """Nothing: no simulation of these surveys is at hand."""

    def _limits(self) -> dict[str, Any]:
        return {"max_file_mb": self.options.max_file_mb, "max_rows": self.options.max_rows}

    def _file(self, name: str) -> Path:
        path = require_folder(self.folder, files="light curves and Hubble tables of supernovae") / name
        if not path.is_file():
            there = ", ".join(sorted(other.name for other in self.folder.glob("*")))
            raise SurveyError(f"no file {path}; the folder holds {there or 'nothing'}")
        self.files_read.add(path)
        return path

    def _of_surveys(self, table: pd.DataFrame) -> pd.DataFrame:
        wanted = self.options.surveys
        if not wanted:
            return table
        unknown = sorted(set(wanted) - set(table["survey"]))
        if unknown:
            raise SurveyError(
                f"{self.folder} has no survey {', '.join(unknown)}; it has {', '.join(sorted(set(table['survey'])))}"
            )
        return table[table["survey"].isin(wanted)].reset_index(drop=True)


def read_light_curve_table(
    path: Path, *, survey: str, max_file_mb: float = MAX_FILE_MB, max_rows: int = MAX_ROWS
) -> pd.DataFrame:
    """Observations of a Parquet or CSV file with our names for the columns; identifiers of a CSV stay text, leading
    zeros and all. survey: of rows where the file has no such column. Raises SurveyError for a file that is no table or
    is larger than the limits.
    """
    table = _read(path, max_file_mb=max_file_mb, max_rows=max_rows)
    lower = {name: name.strip().lower() for name in table.columns}
    table = table.rename(columns={name: _LIGHT_CURVE_NAMES.get(low, low) for name, low in lower.items()})
    repeated = sorted(set(table.columns[table.columns.duplicated()]))
    if repeated:
        raise CatalogueError(f"{path} has several columns for {', '.join(repeated)}")
    return table if "survey" in table else table.assign(survey=survey)


def read_hubble_table(path: Path, *, max_file_mb: float = MAX_FILE_MB, max_rows: int = MAX_ROWS) -> pd.DataFrame:
    """HUBBLE_COLUMNS of a published table: zHD, zHEL, MU, MUERR and P(Ia), by the names that DES-SN5YR, DES-Dovekie and
    Pantheon+ give them. Sentinels (-9 and less) become NaN. Raises CatalogueError naming what the file lacks, and
    rows whose error is not positive.
    """
    table = _read(path, max_file_mb=max_file_mb, max_rows=max_rows)
    by_lower = {name.strip().lower(): name for name in table.columns}
    found = {
        ours: next((by_lower[name] for name in names if name in by_lower), None)
        for ours, names in _HUBBLE_NAMES.items()
    }
    missing = [name for name in _NEEDED if found[name] is None]
    if missing:
        raise CatalogueError(f"{path} lacks columns for {', '.join(missing)}; it has {', '.join(table.columns)}")
    read = pd.DataFrame({ours: table[name] for ours, name in found.items() if name is not None})
    for name in ("snid", "survey"):
        read[name] = (read[name] if name in read else pd.Series("unknown", index=read.index)).astype("str")
    if "prob_ia" not in read and "probcc_beams" in by_lower:
        read["prob_ia"] = 1.0 - pd.to_numeric(table[by_lower["probcc_beams"]], errors="coerce")
    for name in [ours for ours in read.columns if ours not in ("snid", "survey")]:
        values = pd.to_numeric(read[name], errors="coerce").astype(float)
        read[name] = values.where(values > -9.0)
    bad = read[read["mu_err_mag"] <= 0]
    if len(bad):
        raise CatalogueError(
            f"{path} has {len(bad)} row(s) whose {found['mu_err_mag']} is not positive, the first "
            f"{bad['mu_err_mag'].iloc[0]:g} of {bad['snid'].iloc[0]!r}; leave them out, or the field empty if unknown"
        )
    return hubble_table(read)


def one_row_each(table: pd.DataFrame) -> pd.DataFrame:
    """Of each SN the row with the smallest mu_err_mag (the first of equal ones), in the order of the table."""
    best = table.sort_values("mu_err_mag", kind="stable", na_position="last").drop_duplicates("snid")
    return best.sort_index().reset_index(drop=True)


def _read(path: Path, *, max_file_mb: float, max_rows: int) -> pd.DataFrame:
    """Parquet by its suffix, else text with commas or white space; a line that begins with # is a comment."""
    check_size(path, max_file_mb)
    with reading(path, "a table"):
        if path.suffix == ".parquet":
            from pyarrow.parquet import read_metadata

            check_rows(path, read_metadata(path).num_rows, max_rows)
            return read_parquet(path)
        return _read_text(path, max_rows)


def _check_columns(path: Path, table: pd.DataFrame, needed: tuple[str, ...]) -> None:
    """Raise CatalogueError naming the columns that are not there, and how those that are were told apart."""
    missing = [name for name in needed if name not in table]
    if not missing:
        return
    how = ""
    if path.suffix != ".parquet":
        separator = _layout(path)[2]
        how = f", read with {'a comma' if separator == ',' else 'white space'} between columns"
        how += "; they seem to be separated by ';'" if any(";" in str(name) for name in table.columns) else ""
    raise CatalogueError(f"{path} lacks columns {', '.join(missing)}; it has {', '.join(map(str, table.columns))}{how}")


def _layout(path: Path) -> tuple[list[int], int, str]:
    """Lines that are comments (from 0), the number of lines, and what separates columns, by the header."""
    comments, header, n_lines = [], None, 0
    with path.open(encoding="utf-8-sig") as file:
        for n_lines, line in enumerate(file, start=1):
            if line.lstrip().startswith("#"):
                comments.append(n_lines - 1)
            elif header is None and line.strip():
                header = line
    return comments, n_lines, "," if "," in (header or "") else r"\s+"


def _read_text(path: Path, max_rows: int) -> pd.DataFrame:
    comments, n_lines, separator = _layout(path)
    check_rows(path, n_lines - len(comments) - 1, max_rows)
    shared: dict[str, Any] = {"sep": separator, "skiprows": comments, "encoding": "utf-8-sig", "index_col": False}
    names = pd.read_csv(path, nrows=0, **shared).columns
    text = [name for name in names if name.strip().lower() in _TEXT]
    missing = {name: _MISSING for name in names if name not in text}  # a supernova may be called NA
    table = pd.read_csv(
        path, dtype=dict.fromkeys(text, "str"), keep_default_na=False, na_values=missing, **shared
    )  # fmt: skip
    return table.assign(**{name: table[name].str.strip() for name in text})
