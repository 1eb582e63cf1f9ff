"""Which lines can matter: the largest Sobolev optical depth of each in LTE, over the conditions of a type Ia supernova.

The conditions are generous: each element at the top of its allowed mass fraction, 10^-12.5 g/cc at 15 days. The Saha
ladder ends with the last ion that has levels (a bare ion above it would hide lines of that ion at 15,000 K), partition
functions are over levels below the ionisation energy, and stimulated emission is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.spectra.atomic_data import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.spectra.atomic_data import AtomicData

__all__ = ["MASS_FRACTIONS", "bound_levels", "largest_sobolev_depth"]

TEMPERATURES_K = (5000.0, 6000.0, 7000.0, 8000.0, 9500.0, 11_000.0, 13_000.0, 15_000.0)
ELECTRONS_PER_CM3 = (10.0**8, 10.0**9.5)
DENSITY_G_PER_CM3 = 10.0**-12.5
TIME_S = 15.0 * 86_400.0
#: By atomic number; an element that is not named is taken to be all there is.
MASS_FRACTIONS = {
    6: 0.05, 8: 0.90, 12: 0.10, 14: 0.75, 16: 0.20, 20: 0.10, 22: 0.02, 24: 0.02, 26: 0.85, 27: 0.25, 28: 0.40,
}  # fmt: skip
ATOMIC_MASS_G = 1.66053907e-24
_SOBOLEV_CM2_HZ = 0.0265400  # pi e^2 / (m_e c); tau = this f_lu lambda t n_l
#: (2 pi m_e k / h^2)^(3/2), of the Saha equation.
_SAHA_PER_CM3_K15 = (2.0 * np.pi * 9.1093837e-28 * 1.380649e-16 / 6.62607015e-27**2) ** 1.5


def bound_levels(atomic: AtomicData) -> NDArray[np.bool_]:
    """(k,) levels below the ionisation energy of their ion; that of a bare ion is bound."""
    limit = np.where(atomic.ion_bare, np.inf, atomic.ionization_ev)
    return atomic.level_energy_ev < limit[atomic.level_ion]


def largest_sobolev_depth(atomic: AtomicData) -> NDArray[np.float64]:
    """(l,) the largest Sobolev optical depth of each line over all conditions."""
    densest, bound = np.zeros(len(atomic.level_ion)), bound_levels(atomic)
    for temperature in TEMPERATURES_K:
        boltzmann = atomic.level_g * np.exp(-atomic.level_energy_ev / (BOLTZMANN_EV_PER_K * temperature))
        sums = np.add.reduceat(np.where(bound, boltzmann, 0.0), atomic.ion_first_level)
        for electrons in ELECTRONS_PER_CM3:
            ions = _ion_densities_per_cm3(atomic, sums, temperature, electrons)
            densest = np.maximum(densest, (ions / sums)[atomic.level_ion] * boltzmann)
    wavelength_cm = 1e-8 * atomic.line_wavelength_angstrom
    return _SOBOLEV_CM2_HZ * atomic.line_f_lu * wavelength_cm * TIME_S * densest[atomic.line_lower]


def _ion_densities_per_cm3(
    atomic: AtomicData, sums: NDArray, temperature_k: float, electrons_per_cm3: float
) -> NDArray[np.float64]:
    """(i,) Saha densities with partition functions ``sums`` (i,); that of the bare ions is 0."""
    element, step = atomic.ion_element, np.zeros(len(sums))
    ladder = (element[1:] == element[:-1]) & ~atomic.ion_bare[1:]
    saha = 2.0 * _SAHA_PER_CM3_K15 * temperature_k**1.5 / electrons_per_cm3 * sums[1:] / sums[:-1]
    exponent = np.where(ladder, atomic.ionization_ev[:-1], 0.0) / (BOLTZMANN_EV_PER_K * temperature_k)
    step[1:][ladder] = np.log(saha[ladder]) - exponent[ladder]
    climbed = np.cumsum(step)  # along all elements: what the earlier ones add cancels within each
    climbed[atomic.ion_bare] = -np.inf
    first = np.flatnonzero(np.r_[True, np.diff(element) > 0])
    share = np.exp(climbed - np.maximum.reduceat(climbed, first)[element])
    share /= np.add.reduceat(share, first)[element]
    fraction = np.array([MASS_FRACTIONS.get(int(z), 1.0) for z in atomic.element_z])
    nuclei = DENSITY_G_PER_CM3 * fraction / (atomic.atomic_mass_u * ATOMIC_MASS_G)
    return nuclei[element] * share
