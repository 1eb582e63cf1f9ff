"""Where an observed spectrum lies and how its columns are to be read. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from skytrace.errors import OptionError, check_between, check_choice, check_names, check_whole
from skytrace.spectra.observed_options import CleaningOptions, SourceOptions
from skytrace.spectra.simulation_options import SimulationOptions

__all__ = ["MockSpectrumOptions", "SN2011feOptions", "SpectrumFileOptions", "SpectrumSourceOptions"]

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
class SpectrumSourceOptions:
    """A user's spectrum: the file in its folder, what no file says of its supernova, what the file means where it does
    not say, and how its faults are handled.
    """

    file: str
    source: SourceOptions
    reading: SpectrumFileOptions = field(default_factory=SpectrumFileOptions)
    cleaning: CleaningOptions = field(default_factory=CleaningOptions)

    def __post_init__(self) -> None:
        if not self.file or PurePath(self.file).is_absolute() or ".." in PurePath(self.file).parts:
            raise OptionError(f"file = {self.file!r} is not the name of a file in the folder")
        kinds: dict[str, Any] = {"source": SourceOptions, "reading": SpectrumFileOptions, "cleaning": CleaningOptions}
        for name, kind in kinds.items():
            given = getattr(self, name)
            if isinstance(given, Mapping):  # YAML gives one
                object.__setattr__(self, name, _from_names(name, kind, given))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SpectrumSourceOptions:
        """Options from a plain mapping (a catalog entry); raises OptionError naming keys that do not exist, or lack."""
        found: SpectrumSourceOptions = _from_names("spectrum's file", cls, values)
        return found


def _from_names(what: str, kind: Any, values: Mapping[str, Any]) -> Any:
    fields = dataclasses.fields(kind)
    check_names(what, values, [one.name for one in fields])
    none = dataclasses.MISSING
    needed = [one.name for one in fields if one.default is none and one.default_factory is none]
    if missing := [name for name in needed if name not in values]:
        raise OptionError(f"{what} lacks {', '.join(missing)}; it needs {', '.join(needed)}")
    return kind(**values)


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

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SN2011feOptions:
        """Options from a plain mapping (a catalog entry); raises OptionError naming a key that does not exist."""
        check_names("spectrum of SN 2011fe", values, [f.name for f in dataclasses.fields(cls)])
        return cls(**values)


@dataclass(frozen=True)
class MockSpectrumOptions:
    """What the built-in supernova is and how it was observed.

    parameters: the fifteen of ``spectra.EJECTA_PARAMETERS``. redshift, distance_modulus_mag, mwebv_mag, phase_day: of
    the observed spectrum; phase_day in rest-frame days from B maximum, None where unknown. shortest_angstrom,
    longest_angstrom, pixel_angstrom: its grid. signal_to_noise: of a pixel at the median flux. calibration_error: one
    standard deviation, of the whole flux. seed: of noise and calibration. simulation: SimulationOptions; a mapping will
    do.
    """

    parameters: Mapping[str, float]
    redshift: float = 0.000804
    distance_modulus_mag: float = 29.04
    mwebv_mag: float = 0.009
    phase_day: float | None = 0.0
    shortest_angstrom: float = 2000.0
    longest_angstrom: float = 10_200.0
    pixel_angstrom: float = 5.0
    signal_to_noise: float = 50.0
    calibration_error: float = 0.01
    seed: int = 20261122
    simulation: SimulationOptions = field(default_factory=SimulationOptions)

    def __post_init__(self) -> None:
        from skytrace.spectra.ejecta import EJECTA_PARAMETERS

        if isinstance(self.simulation, Mapping):  # YAML gives one
            check_names("simulation", self.simulation, tuple(SimulationOptions.__dataclass_fields__))
            object.__setattr__(self, "simulation", SimulationOptions(**self.simulation))
        check_names("parameters of the mock spectrum", self.parameters, EJECTA_PARAMETERS)
        missing = [name for name in EJECTA_PARAMETERS if name not in self.parameters]
        if missing:
            raise OptionError(f"parameters of the mock spectrum lack {', '.join(missing)}")
        check_between("redshift", self.redshift, -0.01, 10.0)
        check_between("distance_modulus_mag", self.distance_modulus_mag, 20.0, 50.0)
        check_between("mwebv_mag", self.mwebv_mag, 0.0, 5.0)
        if self.phase_day is not None:
            check_between("phase_day", self.phase_day, -50.0, 1000.0)
        low, high = (getattr(self.simulation, f"wavelength_{end}_angstrom") for end in ("low", "high"))
        stretch = 1.0 + self.redshift
        check_between("shortest_angstrom", self.shortest_angstrom, low * stretch, high * stretch)
        check_between(
            "longest_angstrom", self.longest_angstrom, self.shortest_angstrom, high * stretch, include_low=False
        )
        check_between("pixel_angstrom", self.pixel_angstrom, 0.1, 100.0)
        check_between("signal_to_noise", self.signal_to_noise, 1.0, 1e6)
        check_between("calibration_error", self.calibration_error, 0.0, 0.5)
        check_whole("seed", self.seed, 0, 2**62)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> MockSpectrumOptions:
        """Options from a plain mapping (a catalog entry); raises OptionError naming a key that does not exist."""
        check_names("mock spectrum", values, [f.name for f in dataclasses.fields(cls)])
        if "parameters" not in values:
            raise OptionError("the mock spectrum has no parameters; give the fifteen of spectra.EJECTA_PARAMETERS")
        return cls(**values)
