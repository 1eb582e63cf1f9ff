"""A user's spectrum from a text, ECSV or FITS file, in our units; what the file and the options say must agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skytrace.errors import CatalogueError, OptionError, SurveyError, check_between
from skytrace.spectra.observed import ObservedSpectrum, observed_spectrum
from skytrace.spectra.observed_options import CleaningOptions, SourceOptions
from skytrace.surveys.data_root import under_data_root
from skytrace.surveys.spectra.file_columns import FileColumns, read_columns
from skytrace.surveys.spectra.interface import no_truth
from skytrace.surveys.spectra.options import SpectrumFileOptions, SpectrumSourceOptions
from skytrace.surveys.supernovae.limits import check_size

if TYPE_CHECKING:
    import os

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["FLUX_UNIT", "SpectrumFile", "read_spectrum"]

FLUX_UNIT = "erg / (Angstrom s cm2)"
#: What a flux may be: energy or photons, by wavelength or frequency; not integrated over either, as nu F_nu is.
_FLUX_DENSITIES = (FLUX_UNIT, "Jy", "ph / (Angstrom s cm2)", "ph / (Hz s cm2)")
#: Units that a name states.
_UNIT_OF_NAME = {"wavelength_angstrom": "Angstrom", "wavelength_nm": "nm", "wavelength_um": "um"}
#: Usual names, in lower case, in the order in which they count.
_NAMES = {
    "wavelength": (
        "wavelength",
        "wave",
        "lambda",
        "lam",
        "wl",
        "wavelength_angstrom",
        "wavelength_nm",
        "wavelength_um",
    ),
    "flux": ("flux", "f_lambda", "flam", "flux_lambda", "fnu", "f_nu"),
    "error": ("error", "err", "flux_error", "flux_err", "fluxerr", "sigma", "uncertainty", "e_flux", "stddev"),
}
_REDSHIFT_KEYS = ("redshift", "z_helio", "zhel", "z")
#: Two redshifts that differ by less are one; 300 km/s.
_SAME_REDSHIFT = 1e-3


def read_spectrum(
    path: str | os.PathLike,
    *,
    source: SourceOptions,
    options: SpectrumFileOptions | None = None,
    cleaning: CleaningOptions | None = None,
) -> ObservedSpectrum:
    """The spectrum of one file, absolute or under the data root, in vacuum Angstrom and erg/s/cm2/A.

    Raises SurveyError for a file that is missing, too large or not of its kind; CatalogueError for units that are
    missing, unknown or contradict the file's own, a redshift or frame that contradicts the file's, and whatever
    ``observed_spectrum`` refuses; each message names the key, the value and what is allowed.
    """
    options = options or SpectrumFileOptions()
    file = under_data_root(Path(path))
    if not file.is_file():
        raise SurveyError(f"no file {file}")
    check_size(file, options.max_file_mb)
    columns = read_columns(file, options.kind)
    found, notes = _found(file, columns, options)
    wavelength, flux, error, more = _in_our_units(file, columns, found, options)
    source, again = _agreed(file, columns.header, source)
    handling = (*notes, *more, *again)
    try:
        return observed_spectrum(wavelength, flux, error, source=source, options=cleaning, handling=handling)
    except CatalogueError as refusal:  # it knows the supernova, not the file
        raise CatalogueError(f"{file}: {refusal}") from refusal


class SpectrumFile:
    """A SpectrumSource of a user's file. ``files_read`` has it once the spectrum was asked for."""

    def __init__(self, folder: str, options: SpectrumSourceOptions) -> None:
        self.path = under_data_root(Path(folder)) / options.file
        self.options = options
        self.name = options.source.name
        self.note = f"the spectrum {options.file} of {options.source.name}: nobody knows its true parameters"
        self.files_read: set[Path] = set()

    def spectrum(self) -> ObservedSpectrum:
        """See ``read_spectrum``."""
        told = self.options
        spectrum = read_spectrum(self.path, source=told.source, options=told.reading, cleaning=told.cleaning)
        self.files_read.add(self.path)
        return spectrum

    def truth(self) -> pd.DataFrame:
        """No row."""
        return no_truth()


def _found(file: Path, columns: FileColumns, options: SpectrumFileOptions) -> tuple[dict[str, str | None], list[str]]:
    """Name of the column of wavelength, flux and error (None: there is none)."""
    names = list(columns.values)
    by_lower = {name.strip().lower(): name for name in names}
    found: dict[str, str | None] = {}
    for position, (role, usual) in enumerate(_NAMES.items()):
        asked = getattr(options, role)
        if asked is not None and asked not in columns.values:
            raise CatalogueError(f"{file}: {role} = {asked!r} is not one of its columns {', '.join(names)}")
        if asked is None and not columns.named:
            asked = names[position] if position < len(names) else None
        found[role] = asked or next((by_lower[name] for name in usual if name in by_lower), None)
    lacking = [role for role in ("wavelength", "flux") if found[role] is None]
    if lacking:
        raise CatalogueError(
            f"{file}: no column for {' and '.join(lacking)} among {', '.join(names)}; name it in {lacking[0]}"
        )
    if columns.named:
        return found, []
    return found, ["no header: the first columns are wavelength, flux" + (", error" if found["error"] else "")]


def _unit(file: Path, key: str, stated: str | None, asked: str | None) -> Any:
    """The unit on which the file and the option agree. Raises CatalogueError if there is none."""
    from astropy import units

    parsed = []
    for text in (stated, asked):
        try:
            parsed.append(None if text is None else units.Unit(text))
        except ValueError as error:
            raise CatalogueError(f"{file}: {key} = {text!r} is no unit that astropy knows") from error
    in_file, by_option = parsed
    if in_file is None and by_option is None:
        example = "Angstrom, nm or um" if key == "wavelength_unit" else f"{FLUX_UNIT!r} or 'mJy'"
        raise CatalogueError(f"{file} states no unit and {key} is None; give {key}, such as {example}")
    if in_file is not None and by_option is not None and in_file != by_option:
        raise CatalogueError(f"{file} is in {in_file}, but {key} = {asked!r}; leave it out, or correct the file")
    return by_option if in_file is None else in_file


def _ampere_words(unit: Any) -> str:
    """What to write in place of the A that astropy takes for ampere; empty where there is none."""
    return " (A is ampere: write Angstrom)" if "A" in {base.name for base in unit.bases} else ""


def _in_our_units(
    file: Path, columns: FileColumns, found: dict[str, str | None], options: SpectrumFileOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None, list[str]]:
    """Wavelength [A], flux and error [FLUX_UNIT], and the conversions made."""
    from astropy import units

    name = {role: found[role] or "" for role in _NAMES}
    stated = columns.units.get(name["wavelength"]) or _UNIT_OF_NAME.get(name["wavelength"].lower())
    wavelength_unit = _unit(file, "wavelength_unit", stated, options.wavelength_unit)
    if not wavelength_unit.is_equivalent(units.AA):
        raise CatalogueError(
            f"{file}: wavelength_unit = {wavelength_unit} is not a length, such as Angstrom, nm or um"
            f"{_ampere_words(wavelength_unit)}"
        )
    flux_unit = _unit(file, "flux_unit", columns.units.get(name["flux"]), options.flux_unit)
    wavelength = (columns.values[name["wavelength"]] * wavelength_unit).to(units.AA)
    positive = wavelength.value > 0
    if not positive.all():
        raise CatalogueError(f"{file}: {int((~positive).sum())} wavelengths are not positive")
    converted = []
    for role in ("flux", "error"):
        if found[role] is None:
            continue
        unit = flux_unit if role == "flux" else columns.units.get(name["error"]) or flux_unit
        if not any(units.Unit(unit).is_equivalent(kind) for kind in _FLUX_DENSITIES):
            raise CatalogueError(
                f"{file}: flux_unit = {unit} of {role} is no flux density by wavelength or frequency, such as "
                f"{FLUX_UNIT}{_ampere_words(units.Unit(unit))}"
            )
        try:
            values = (columns.values[name[role]] * units.Unit(unit)).to(
                FLUX_UNIT, equivalencies=units.spectral_density(wavelength)
            )
        except units.UnitConversionError as error:
            raise CatalogueError(f"{file}: flux_unit = {unit} of {role} cannot be turned into {FLUX_UNIT}") from error
        converted.append(values.value)
    notes = [f"wavelengths converted from {wavelength_unit}"] if wavelength_unit != units.AA else []
    notes += [f"flux converted from {flux_unit}"] if flux_unit != units.Unit(FLUX_UNIT) else []
    return wavelength.value, converted[0], converted[1] if len(converted) > 1 else None, notes


def _agreed(file: Path, header: dict[str, Any], source: SourceOptions) -> tuple[SourceOptions, list[str]]:
    """The source with the redshift of the file's header where the options have none. Raises CatalogueError where the
    header contradicts the redshift or the frame.
    """
    frame = str(header.get("frame", source.frame)).strip().lower()
    if frame in ("observed", "rest") and frame != source.frame:
        raise CatalogueError(f"{file} says frame = {frame!r}, but the option frame = {source.frame!r}")
    value = next((header[key] for key in _REDSHIFT_KEYS if key in header), None)
    if value is None:
        return source, []
    try:
        redshift = float(value)
        check_between("redshift", redshift, -0.01, 10.0)
    except (TypeError, ValueError, OptionError) as error:
        raise CatalogueError(f"{file}: its header's redshift = {value!r} is no number in [-0.01, 10]") from error
    if source.redshift is None:
        return replace(source, redshift=redshift), [f"redshift {redshift:g} taken from the file's header"]
    if abs(redshift - source.redshift) > _SAME_REDSHIFT:
        raise CatalogueError(
            f"{file} says redshift = {redshift:g}, but the option redshift = {source.redshift:g}; they may differ by "
            f"{_SAME_REDSHIFT:g} at most"
        )
    return source, []
