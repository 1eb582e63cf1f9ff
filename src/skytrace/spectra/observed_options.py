"""What must be said about an observed spectrum, and how its faults are handled. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from skytrace.errors import OptionError, check_between, check_choice, check_whole

__all__ = ["CleaningOptions", "SourceOptions"]


@dataclass(frozen=True)
class SourceOptions:
    """What no file says about its supernova.

    frame: "observed" or "rest", of the wavelengths and the flux. redshift: heliocentric, -0.01 to 10; needed in the
    observed frame (or stated by the file). phase_day: rest-frame days from B maximum. distance_modulus_mag: 20 to 50.
    medium: of the wavelengths, "vacuum" or "air" (then converted). mwebv_mag: E(B-V) of the Milky Way on the line of
    sight, 0 to 5; dereddened: whether it has been taken out.
    """

    name: str
    frame: str
    medium: str
    dereddened: bool
    redshift: float | None = None
    phase_day: float | None = None
    distance_modulus_mag: float | None = None
    mwebv_mag: float | None = None

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise OptionError(f"name = {self.name!r} is empty; give the supernova's name")
        check_choice("frame", self.frame, ("observed", "rest"))
        check_choice("medium", self.medium, ("vacuum", "air"))
        check_choice("dereddened", self.dereddened, (True, False))
        for key, low, high in (
            ("redshift", -0.01, 10.0), ("phase_day", -50.0, 1000.0), ("distance_modulus_mag", 20.0, 50.0),
            ("mwebv_mag", 0.0, 5.0),
        ):  # fmt: skip
            if getattr(self, key) is not None:
                check_between(key, getattr(self, key), low, high)


@dataclass(frozen=True)
class CleaningOptions:
    """How the faults of a spectrum are handled; each handling is recorded in words.

    errors: "file" (pixels without an error are masked; a spectrum without any is refused), "scatter" (all errors from
    the local scatter of the flux), "file_or_scatter" (those that the file lacks). scatter_window_px: pixels of the
    running median of that scatter. gap_factor: a step of more than this times the local median step is a gap; it is
    filled with masked pixels. covered_angstrom: what the unmasked pixels must reach across, in the frame of the file;
    min_pixels: how many of them; min_valid_fraction: unmasked share of the pixels of that range.
    """

    errors: str = "file"
    scatter_window_px: int = 101
    gap_factor: float = 5.0
    covered_angstrom: tuple[float, float] = (4000.0, 7000.0)
    min_pixels: int = 50
    min_valid_fraction: float = 0.5

    def __post_init__(self) -> None:
        check_choice("errors", self.errors, ("file", "scatter", "file_or_scatter"))
        check_whole("scatter_window_px", self.scatter_window_px, 11, 10_001)
        check_between("gap_factor", self.gap_factor, 1.5, 1000.0)
        check_whole("min_pixels", self.min_pixels, 11, 1_000_000)
        check_between("min_valid_fraction", self.min_valid_fraction, 0.0, 1.0, include_low=False)
        if len(self.covered_angstrom) != 2:
            raise OptionError(f"covered_angstrom = {self.covered_angstrom!r} is not a pair (low, high) in Angstrom")
        low, high = self.covered_angstrom
        check_between("covered_angstrom[0]", low, 500.0, 50_000.0)
        check_between("covered_angstrom[1]", high, low, 50_000.0, include_low=False)
