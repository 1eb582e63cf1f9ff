"""Glue of what is given: the observed spectrum, and the atomic tables."""

from typing import Any

import numpy as np
import pandas as pd

from skytrace.compute.json_values import json_ready
from skytrace.pipelines.spectral_emulator.simulators import SimulatorOptions
from skytrace.surveys.spectra.interface import SpectrumSource

Arrays = dict[str, np.ndarray]
Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["read_spectrum", "tabulate_atoms"]


def read_spectrum(source: SpectrumSource) -> tuple[Arrays, Table, Report]:
    """The spectrum as it was delivered; its true parameters (no row of a real one); what was done to its pixels."""
    from skytrace.spectra.observed import check_absolute, spectrum_to_arrays

    spectrum = source.spectrum()
    check_absolute(spectrum)  # before an hour of models
    seen = spectrum.wavelength_angstrom[~spectrum.mask]
    report = {
        "source": source.name, "note": source.note, "name": spectrum.name, "frame": spectrum.frame,
        "redshift": spectrum.redshift, "phase_day": spectrum.phase_day, "mwebv_mag": spectrum.mwebv_mag,
        "distance_modulus_mag": spectrum.distance_modulus_mag, "dereddened": spectrum.dereddened,
        "pixels": len(spectrum.mask), "masked": int(spectrum.mask.sum()), "shortest_angstrom": float(seen.min()),
        "longest_angstrom": float(seen.max()), "signal_to_noise": spectrum.signal_to_noise,
        "handling": list(spectrum.handling),
    }  # fmt: skip
    return spectrum_to_arrays(spectrum), source.truth(), json_ready(report)


def tabulate_atoms(simulator: SimulatorOptions) -> tuple[Arrays, Report]:
    """Levels and lines of the installed list as its options cut them, and how many there are of each element."""
    from skytrace.spectra.atomic_data import atomic_to_arrays
    from skytrace.spectra.atomic_lines import load_atomic_data

    atomic = load_atomic_data(options=simulator.built_in.atomic)
    element = atomic.ion_z[atomic.line_ion]
    lines = {str(z): int((element == z).sum()) for z in atomic.element_z}
    report = {
        "lines": len(element), "levels": len(atomic.level_ion), "sum_f_lu": float(atomic.line_f_lu.sum()),
        "lines_by_element": lines,
    }  # fmt: skip
    return atomic_to_arrays(atomic), json_ready(report)
