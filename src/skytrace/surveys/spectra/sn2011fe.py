"""The HST/STIS spectra of SN 2011fe (Mazzali et al. 2014, MNRAS 439, 1959): at rest, dereddened for the Milky Way.

Their wavelengths are taken for vacuum wavelengths, which is what STIS's calibration delivers; the files do not say it.
Were they air wavelengths, velocities of lines at 6000 A would be 80 km/s lower.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from skytrace.compute.parquet import read_parquet
from skytrace.errors import SkytraceError, SurveyError, reading
from skytrace.spectra.observed import ObservedSpectrum, observed_spectrum
from skytrace.spectra.observed_options import CleaningOptions, SourceOptions
from skytrace.surveys.data_root import require_folder, under_data_root
from skytrace.surveys.spectra.interface import no_truth
from skytrace.surveys.spectra.options import SN2011feOptions

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["SN2011fe", "read_sn2011fe", "sn2011fe_table"]

_FILES = "sn2011fe_spectra.parquet or sn2011fe_p00.1d.csv (HST spectra of SN 2011fe)"
_COLUMNS = ("epoch", "mjd", "phase_day", "wavelength_angstrom", "flux", "flux_err")


def sn2011fe_table(options: SN2011feOptions | None = None) -> pd.DataFrame:
    """All pixels of ``options.file``: epoch, mjd, phase_day, wavelength_angstrom, flux, flux_err [erg/s/cm2/A].

    Raises SurveyError where the folder, the file or a column is missing.
    """
    import pandas as pd

    options = options or SN2011feOptions()
    path = require_folder(under_data_root(options.folder), files=_FILES) / options.file
    if not path.is_file():
        raise SurveyError(f"no file {path}; the folder must hold {_FILES}")
    with reading(path, "a table of spectra"):
        table = read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"epoch": "str"})
    missing = [name for name in _COLUMNS if name not in table]
    if missing:
        raise SurveyError(f"{path} lacks columns {', '.join(missing)}; it has {', '.join(map(str, table.columns))}")
    with reading(path, "a table of numbers"):
        return table[list(_COLUMNS)].astype({name: float for name in _COLUMNS if name != "epoch"})


def read_sn2011fe(
    options: SN2011feOptions | None = None, *, cleaning: CleaningOptions | None = None
) -> ObservedSpectrum:
    """The spectrum of ``options.epoch``. Raises SurveyError naming the epochs that there are if it is not among them,
    and whatever ``observed_spectrum`` raises.
    """
    options = options or SN2011feOptions()
    table = sn2011fe_table(options)
    rows = table[table["epoch"].astype("str") == options.epoch]
    if rows.empty:
        there = ", ".join(sorted(set(table["epoch"].astype("str"))))
        raise SurveyError(f"epoch = {options.epoch!r} is not among those of {options.file}: {there}")
    kept = rows[rows["wavelength_angstrom"] <= options.longest_angstrom]
    cut = len(rows) - len(kept)
    notes = (
        (f"{cut} pixels beyond {options.longest_angstrom:g} A left out (ground-based, less certain)",) if cut else ()
    )
    columns = [kept[name].to_numpy() for name in ("wavelength_angstrom", "flux", "flux_err")]
    try:
        source = SourceOptions(
            name=f"SN 2011fe, {options.epoch}", frame="rest", medium="vacuum", dereddened=True,
            phase_day=float(rows["phase_day"].iloc[0]),
            **{key: asdict(options)[key] for key in ("redshift", "distance_modulus_mag", "mwebv_mag")},
        )  # fmt: skip
        return observed_spectrum(*columns, source=source, options=cleaning, handling=notes)
    except SkytraceError as error:
        raise type(error)(f"{options.file}: {error}") from error


class SN2011fe:
    """A SpectrumSource of one epoch of SN 2011fe."""

    name = "sn2011fe"
    note = "an HST spectrum of SN 2011fe (Mazzali et al. 2014): nobody knows its true parameters"

    def __init__(self, options: SN2011feOptions) -> None:
        self.options = options
        self.files_read: set[Path] = set()

    def spectrum(self) -> ObservedSpectrum:
        """See ``read_sn2011fe``."""
        spectrum = read_sn2011fe(self.options)
        self.files_read.add(under_data_root(self.options.folder) / self.options.file)
        return spectrum

    def truth(self) -> pd.DataFrame:
        """No row."""
        return no_truth()
