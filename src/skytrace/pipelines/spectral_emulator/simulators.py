"""Which simulator computes the spectra: the built-in one, or an external program."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import pandas as pd
from numpy.typing import NDArray

from skytrace.compute import fingerprint
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.errors import OptionError, check_choice
from skytrace.spectra.atomic_data import AtomicData
from skytrace.spectra.emulator_inputs import EMULATED_OUTER_KM_S
from skytrace.spectra.simulate import SimulatedSpectra, simulate_spectra
from skytrace.spectra.simulation_options import SimulationOptions
from skytrace.surveys.spectra.external_options import ExternalSimulatorOptions
from skytrace.surveys.spectra.external_simulator import external_fingerprint, simulate_externally

__all__ = ["SimulatorOptions", "open_simulator", "simulator_fingerprint"]

#: What a spectrum of either simulator depends on, beside options and the external program.
_EJECTA = ("skytrace.spectra.ejecta", "skytrace.spectra.composition", "skytrace.spectra.abundance_profiles")
_BUILT_IN = (
    "skytrace.spectra.simulate", "skytrace.spectra.plasma", "skytrace.spectra.transfer",
    "skytrace.spectra.wavelengths", "skytrace.spectra._plasma_kernels", "skytrace.spectra._transfer_kernels",
    "skytrace.spectra.atomic_cut", "skytrace.spectra.atomic_data", "skytrace.spectra.atomic_files",
    "skytrace.spectra.atomic_lines", "skytrace.spectra.atomic_options", "skytrace.spectra.gf_overrides",
    "skytrace.spectra.line_tables", "skytrace.spectra.simulation_options",
)  # fmt: skip
_EXTERNAL = (
    "skytrace.surveys.spectra.external_files", "skytrace.surveys.spectra.external_simulator",
    "skytrace.surveys.spectra.external_options", "skytrace.spectra.plasma", "skytrace.spectra.transfer",
)  # fmt: skip


@dataclass(frozen=True)
class SimulatorOptions:
    """simulator: "built_in" or "external"; external: its options, needed for that one. built_in: grid and plasma."""

    simulator: str = "built_in"
    built_in: SimulationOptions = field(default_factory=SimulationOptions)
    external: ExternalSimulatorOptions | None = None

    def __post_init__(self) -> None:
        check_choice("simulator", self.simulator, ("built_in", "external"))
        if self.simulator == "external" and self.external is None:
            raise OptionError("simulator = 'external' needs the options external, at least executable, "
                              "reference_folder and work_folder")  # fmt: skip
        if self.built_in.outer_velocity_km_s != EMULATED_OUTER_KM_S:
            raise OptionError(
                f"built_in.outer_velocity_km_s = {self.built_in.outer_velocity_km_s:g}: the emulator's inputs, the "
                f"draws and the figures of composition are made for {EMULATED_OUTER_KM_S:g} km/s alone"
            )


def open_simulator(options: SimulatorOptions, atomic: AtomicData) -> Callable[[pd.DataFrame, int], SimulatedSpectra]:
    """A function of one row of parameters and a seed, which the built-in simulator, drawing nothing, does not use.

    atomic: tables of the built-in simulator; an external one has its own.
    """
    if options.simulator == "external":
        return partial(simulate_externally, options=options.external)
    return partial(_built_in, options=options.built_in, atomic=atomic)


def simulator_fingerprint(options: SimulatorOptions, atomic: Mapping[str, NDArray]) -> str:
    """A name for everything that a spectrum depends on beside parameters and seed: sources, options, atomic tables."""
    if options.external is not None and options.simulator == "external":
        return fingerprint(
            source_fingerprint(*_EJECTA, *_EXTERNAL), options.external, external_fingerprint(options.external)
        )
    return fingerprint(source_fingerprint(*_EJECTA, *_BUILT_IN), options.built_in, dict(atomic))


def _built_in(
    parameters: pd.DataFrame, seed: int, *, options: SimulationOptions, atomic: AtomicData
) -> SimulatedSpectra:
    return simulate_spectra(parameters, options=options, atomic=atomic)
