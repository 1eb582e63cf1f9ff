"""The built-in supernova: a spectrum of our own simulator of known parameters, as a telescope would deliver it.

It is redshifted, reddened by the Milky Way and noisy, with a calibration that is off by a little, so that the whole way
of an observed spectrum is walked. What it leaves out: sky lines, the host's light, and every error of the simulator,
since the emulator learns from the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.spectra.ejecta import EJECTA_PARAMETERS
from skytrace.spectra.extinction import extinction_mag
from skytrace.spectra.inference_target import CM_PER_PARSEC
from skytrace.spectra.observed import ObservedSpectrum, observed_spectrum
from skytrace.spectra.observed_options import SourceOptions
from skytrace.spectra.resampling import resample
from skytrace.spectra.simulate import simulate_spectra

if TYPE_CHECKING:
    from pathlib import Path

    from skytrace.surveys.spectra.options import MockSpectrumOptions

__all__ = ["MockSpectrum"]

_STREAM = 81


class MockSpectrum:
    """A SpectrumSource of ``options``."""

    name = "mock_spectrum"
    note = "a simulated spectrum of known parameters, by the simulator that the emulator learns from: on no real sky"

    def __init__(self, options: MockSpectrumOptions) -> None:
        self.options = options
        self.files_read: set[Path] = set()

    def truth(self) -> pd.DataFrame:
        """The fifteen parameters, one row."""
        return pd.DataFrame({name: [float(self.options.parameters[name])] for name in EJECTA_PARAMETERS})

    def spectrum(self) -> ObservedSpectrum:
        """In the observer's frame, reddened. Raises what ``simulate_spectra`` raises for unphysical parameters."""
        options = self.options
        model = simulate_spectra(self.truth(), options=options.simulation)
        stretch = 1.0 + options.redshift
        step = options.pixel_angstrom
        wavelength = np.arange(options.shortest_angstrom, options.longest_angstrom + 0.5 * step, step)
        distance_cm = 10.0 ** (0.2 * options.distance_modulus_mag + 1.0) * CM_PER_PARSEC
        at_rest = model.luminosity[0] / (4.0 * np.pi * distance_cm**2)
        nothing = np.ones_like(at_rest)
        seen = resample(model.wavelength_angstrom * stretch, at_rest / stretch, nothing, wavelength).flux[0]
        seen *= 10.0 ** (-0.4 * extinction_mag(wavelength, options.mwebv_mag))
        rng = np.random.default_rng([options.seed, _STREAM])
        scale = 1.0 + options.calibration_error * rng.standard_normal()
        # photons of source and sky: the error falls with the flux, but never below that of the sky
        level = np.median(seen)
        error = level / options.signal_to_noise * np.sqrt(0.5 + 0.5 * np.maximum(seen, 0.0) / level)
        flux = scale * (seen + error * rng.standard_normal(len(seen)))
        source = SourceOptions(
            name="a simulated supernova", frame="observed", medium="vacuum", dereddened=False,
            redshift=options.redshift, distance_modulus_mag=options.distance_modulus_mag,
            mwebv_mag=options.mwebv_mag, phase_day=options.phase_day,
        )  # fmt: skip
        return observed_spectrum(wavelength, flux, scale * error, source=source)
