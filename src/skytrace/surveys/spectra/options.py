"""Where an observed spectrum lies and how its columns are to be read. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from skytrace.errors import OptionError, check_between, check_choice

__all__ = ["SN2011feOptions", "SpectrumFileOptions"]

#: A spectrum of 10^6 pixels in text has about 60 MB.
MAX_FILE_MB = 500.0


@dataclass(frozen=True)
class SpectrumFileOptions:
    """What a spectrum's file means.

    kind: "text" (white space or commas, with or without a header), "ecsv", "fits" (a table, else a one-dimensional
    image with its wavelengths in the header), "auto" (by the suffix), or "specutils:NAME", one of the instruments'
    formats that specutils knows. wavelength_unit, flux_unit: as astropy writes them ("Angstrom", "nm", "um";
    "erg / (s cm2 Angstrom)", "1e-15 erg / (s cm2 Angstrom)", "mJy"); needed where the file states none, and not to
    contradict what it states. wavelength, flux, error: names of columns, None: by their usual names, or the first,
    second and third of a text without a header. max_file_mb: larger files are refused unread.
    """

    kind: str = "auto"
    wavelength_unit: str | None = None
    flux_unit: str | None = None
    wavelength: str | None = None
    flux: str | None = None
    error: str | None = None
    max_file_mb: float = MAX_FILE_MB

    def __post_init__(self) -> None:
        if not (self.kind.startswith("specutils:") and len(self.kind) > len("specutils:")):
            check_choice("kind", self.kind, ("auto", "text", "ecsv", "fits", "specutils:NAME"))
        if self.kind == "specutils:NAME":
            raise OptionError("kind = 'specutils:NAME': put the name of a format that specutils reads for NAME")
        check_between("max_file_mb", self.max_file_mb, 0.0, 1e6, include_low=False)


@dataclass(frozen=True)
class SN2011feOptions:
    """Which HST spectrum of SN 2011fe (Mazzali et al. 2014, MNRAS 439, 1959).

    folder: absolute or under the data root. file: of all epochs (Parquet), or of one (CSV). epoch: UT date. redshift:
    of M101. distance_modulus_mag: Shappee & Stanek (2011), Cepheids; Pantheon+SH0ES has 29.177. mwebv_mag: what the
    authors took out. longest_angstrom: beyond about 10,200 A the spectra come from the ground and are less certain.
    """

    folder: str = "spectra/sn2011fe"
    file: str = "sn2011fe_spectra.parquet"
    epoch: str = "2011-09-10"
    redshift: float = 0.000804
    distance_modulus_mag: float = 29.04
    mwebv_mag: float = 0.009
    longest_angstrom: float = 10_200.0

    def __post_init__(self) -> None:
        check_between("redshift", self.redshift, -0.01, 0.01)
        check_between("distance_modulus_mag", self.distance_modulus_mag, 28.0, 30.0)
        check_between("mwebv_mag", self.mwebv_mag, 0.0, 5.0)
        check_between("longest_angstrom", self.longest_angstrom, 7000.0, 30_000.0)
