"""Compiled level populations and binned optical depths of one model. Private to ``plasma``.

Units are cgs, temperatures in K, energies in eV. Zones are the last axis, so that the inner loops run over them.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["SOBOLEV_FACTOR", "bin_optical_depths", "level_populations", "nebular_ratio"]

BOLTZMANN_EV_PER_K = 8.617333262145e-5
#: 2 (2 pi m_e k / h^2)^1.5 [cm^-3 K^-1.5]: the free electrons' factor of the Saha equation.
SAHA_FACTOR = 2.0 * 2.4146829e15
#: pi e^2 / (m_e c) [cm^2 Hz]: Sobolev depth per f, wavelength [cm], time [s] and density [cm^-3].
SOBOLEV_FACTOR = 0.0265400871
_BISECTIONS = 48


@njit(nogil=True, cache=True)
def nebular_ratio(ionization_ev, threshold_ev, t_rad_k, t_electron_k, dilution, zeta):  # pragma: no cover
    """The factor on the Saha ratio n(i+1) n_e / n(i) taken at T_rad (Mazzali & Lucy 1993, equations 16 and 20).

    W (delta zeta + W (1 - zeta)) (T_e / T_R)^0.5, delta being the correction for the optically thick continuum
    above ``threshold_ev`` (equation 15) and its complement below.
    """
    per_rad = 1.0 / (BOLTZMANN_EV_PER_K * t_rad_k)
    per_electron = 1.0 / (BOLTZMANN_EV_PER_K * t_electron_k)
    ratio = t_electron_k / t_rad_k
    if ionization_ev >= threshold_ev:
        delta = ratio * math.exp(ionization_ev * (per_rad - per_electron))
    else:
        delta = 1.0 - math.exp((ionization_ev - threshold_ev) * per_rad)
        delta += ratio * math.exp(ionization_ev * per_rad - threshold_ev * per_electron)
    return dilution * (delta * zeta + dilution * (1.0 - zeta)) * math.sqrt(ratio)


@njit(nogil=True, cache=True)
def _electron_density(atoms, ratios):  # pragma: no cover
    """Free electrons [cm^-3] of elements with densities atoms (e,) and Saha ratios (e, s): the root, by bisection."""
    total = 0.0
    for e in range(atoms.size):
        total += atoms[e]
    low, high = math.log(1e-8 * total), math.log(ratios.shape[1] * total)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        density, charges = math.exp(middle), 0.0
        for e in range(atoms.size):
            weight, weights, charge = 1.0, 1.0, 0.0
            for s in range(ratios.shape[1]):
                weight *= ratios[e, s] / density
                weights += weight
                charge += (s + 1) * weight
            charges += atoms[e] * charge / weights
        if charges > density:
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


@njit(nogil=True, cache=True)
def level_populations(state, atoms, levels, ions, zeta, populations, ion_density):  # pragma: no cover
    """Fill populations (k, z) and ion_density (e, 5, z) [cm^-3]; return the free electrons (z,) [cm^-3].

    state: T_rad (z,), T_electron (z,), W (z,); atoms (e, z) [cm^-3]; levels: energy_ev (k,), g (k,), metastable (k,),
    start (4 e, 2): first and last + 1 of each ion's levels; ions: ionization_ev (e, 4), threshold_ev. Excitation is
    Boltzmann's at T_rad, diluted by W except for metastable levels; the stage above the fourth has one level, g = 1.
    """
    t_rad_k, t_electron_k, dilution = state
    energy_ev, g, metastable, start = levels
    ionization_ev, threshold_ev = ions
    n_elements, n_zones = atoms.shape
    partition = np.ones((n_elements, 5))
    ratios = np.empty((n_elements, 4))
    electrons = np.empty(n_zones)
    for z in range(n_zones):
        per_kt = 1.0 / (BOLTZMANN_EV_PER_K * t_rad_k[z])
        for e in range(n_elements):
            for s in range(4):
                total = 0.0
                for k in range(start[4 * e + s, 0], start[4 * e + s, 1]):
                    weight = g[k] * math.exp(-energy_ev[k] * per_kt)
                    if not metastable[k]:
                        weight *= dilution[z]
                    populations[k, z] = weight
                    total += weight
                partition[e, s] = total
            for s in range(4):
                chi = ionization_ev[e, s]
                saha = SAHA_FACTOR * t_rad_k[z] ** 1.5 * math.exp(-chi * per_kt) * partition[e, s + 1] / partition[e, s]
                ratios[e, s] = saha * nebular_ratio(chi, threshold_ev, t_rad_k[z], t_electron_k[z], dilution[z], zeta)
        electrons[z] = _electron_density(atoms[:, z], ratios)
        for e in range(n_elements):
            weight, weights = 1.0, 1.0
            for s in range(4):
                weight *= ratios[e, s] / electrons[z]
                weights += weight
            neutral = atoms[e, z] / weights
            ion_density[e, 0, z] = neutral
            for s in range(4):
                ion_density[e, s + 1, z] = ion_density[e, s, z] * ratios[e, s] / electrons[z]
                scale = ion_density[e, s, z] / partition[e, s]
                for k in range(start[4 * e + s, 0], start[4 * e + s, 1]):
                    populations[k, z] *= scale
    return electrons


@njit(nogil=True, cache=True, fastmath=True)
def bin_optical_depths(populations, lines, bins, time_s, depths, crowds):  # pragma: no cover
    """Add to depths (b, z) the Sobolev optical depths of the lines in each bin, to crowds the sum of 1 - exp(-tau).

    lines: strength (l,) = f_lu lambda [cm], lower (l,), upper (l,), g_ratio (l,) = g_l / g_u; bins (l,): a line's bin,
    negative where it lies outside. Stimulated emission is taken off; inverted levels count as transparent.
    """
    strength, lower, upper, g_ratio = lines
    n_zones = populations.shape[1]
    for line in range(bins.size):
        b = bins[line]
        if b < 0:
            continue
        factor = np.float32(SOBOLEV_FACTOR * time_s * strength[line])
        ratio = np.float32(g_ratio[line])
        below, above, row, crowd = populations[lower[line]], populations[upper[line]], depths[b], crowds[b]
        for z in range(n_zones):
            depth = factor * max(below[z] - ratio * above[z], np.float32(0.0))
            row[z] += depth
            # 1 - exp(-tau) within 2 %, in operations that vectorise.
            taken = depth * (np.float32(1.0) + depth * (np.float32(0.5) + depth * np.float32(1.0 / 6.0)))
            crowd[z] += taken / (np.float32(1.0) + taken)
