"""Which spectra an emulator is trained on, and on which wavelengths. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from skytrace.errors import check_between, check_whole

__all__ = ["TrainingSetOptions"]


@dataclass(frozen=True)
class TrainingSetOptions:
    """wavelength_low_angstrom, wavelength_high_angstrom, bins: the grid, equal in log wavelength (vacuum, rest frame);
    500 bins from 2500 to 10,500 A are 860 km/s wide, and hold what HST saw of SN 2011fe. quarantine_unconverged: models
    that did not converge are no training models. max_quarantined: share of the models in quarantine above which
    assembling fails, for then something is wrong with more than single models.
    """

    wavelength_low_angstrom: float = 2500.0
    wavelength_high_angstrom: float = 10_500.0
    bins: int = 500
    quarantine_unconverged: bool = True
    max_quarantined: float = 0.2

    def __post_init__(self) -> None:
        check_between("wavelength_low_angstrom", self.wavelength_low_angstrom, 500.0, 20_000.0)
        check_between(
            "wavelength_high_angstrom", self.wavelength_high_angstrom, self.wavelength_low_angstrom, 30_000.0,
            include_low=False,
        )  # fmt: skip
        check_whole("bins", self.bins, 10, 10_000)
        check_between("max_quarantined", self.max_quarantined, 0.0, 1.0)
