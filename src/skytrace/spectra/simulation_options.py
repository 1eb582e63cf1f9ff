"""How a supernova's spectrum is simulated (``spectral_emulator``). Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skytrace.errors import OptionError, check_between, check_names, check_whole
from skytrace.spectra.atomic_options import AtomicOptions

__all__ = ["SimulationOptions"]


@dataclass(frozen=True)
class SimulationOptions:
    """Grid, iterations and plasma of a simulation.

    zones: equal in velocity from v_inner to outer_velocity_km_s. coarse_km_s, fine_km_s: width of a bin in comoving
    wavelength, and of the rays' cells, in the first coarse_iterations and in the last fine_iterations, of which the
    last gives the spectrum. core_rays: rays that meet the core. merged_depth: optical depth up to which neighbouring
    bins scatter together. shared_borders: whether a zone crossed by a border of composition mixes both sides
    (``ejecta_zones``); spectra then follow the border continuously. zeta: share of recombinations that go directly to
    the ground level (Mazzali & Lucy 1993).
    wavelength_low_angstrom, wavelength_high_angstrom: of the spectra that are given back; transfer runs from 400 to
    30,000 A. tolerance: change of luminosity, and of the median zone's T_rad, in the last iteration above which a model
    is not called converged. atomic: lines and levels; a mapping of its options will do.
    """

    zones: int = 30
    outer_velocity_km_s: float = 30_000.0
    coarse_km_s: float = 1000.0
    fine_km_s: float = 350.0
    coarse_iterations: int = 2
    fine_iterations: int = 3
    core_rays: int = 8
    merged_depth: float = 0.6
    shared_borders: bool = False
    zeta: float = 0.5
    wavelength_low_angstrom: float = 1500.0
    wavelength_high_angstrom: float = 15_000.0
    tolerance: float = 0.05
    atomic: AtomicOptions = field(default_factory=AtomicOptions)

    def __post_init__(self) -> None:
        if isinstance(self.atomic, Mapping):  # YAML gives one
            check_names("atomic", self.atomic, tuple(AtomicOptions.__dataclass_fields__))
            object.__setattr__(self, "atomic", AtomicOptions(**self.atomic))
        check_whole("zones", self.zones, 2, 200)
        check_between("outer_velocity_km_s", self.outer_velocity_km_s, 5000.0, 60_000.0)
        check_between("fine_km_s", self.fine_km_s, 20.0, 1000.0)
        check_between("coarse_km_s", self.coarse_km_s, self.fine_km_s, 2000.0)
        check_whole("coarse_iterations", self.coarse_iterations, 0, 100)
        check_whole("fine_iterations", self.fine_iterations, 1, 100)
        if self.coarse_iterations + self.fine_iterations < 2:
            raise OptionError("coarse_iterations + fine_iterations = 1: at least 2 let the plasma answer the light")
        check_whole("core_rays", self.core_rays, 2, 200)
        check_between("merged_depth", self.merged_depth, 0.0, 2.0)
        check_between("zeta", self.zeta, 0.0, 1.0)
        check_between("wavelength_low_angstrom", self.wavelength_low_angstrom, 1000.0, 20_000.0)
        check_between(
            "wavelength_high_angstrom", self.wavelength_high_angstrom, self.wavelength_low_angstrom, 25_000.0,
            include_low=False,
        )  # fmt: skip
        check_between("tolerance", self.tolerance, 0.0, 1.0, include_low=False)
