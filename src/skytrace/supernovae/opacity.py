"""What the surroundings of a supernova take away: the opacity of its plasma, and flux-dependent dimming (FDR).

tau_plasma = A (1 - exp(-t / 30 d)) (440 nm / lambda_rest)^beta, t rest-frame days since explosion.
tau_FDR is the fixed point of tau = a exp(-tau / 2), a = xi eta' sqrt(F_lambda exp(-tau_plasma) / F_0) with
F_0 = 1e-12 erg/s/cm2/nm: light that is already dimmed drives the dimming. With u = tau / 2 it reads u e^u = a / 2, so
tau = 2 W0(a / 2), W0 the principal branch of Lambert's function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["FDR_FLUX_CGS_PER_NM", "LIGHT_JY_NM", "tau_fdr", "tau_fdr_of_flux", "tau_plasma"]

#: F_0 of tau_FDR [erg/s/cm2/nm].
FDR_FLUX_CGS_PER_NM = 1e-12
#: F_lambda [erg/s/cm2/nm] = LIGHT_JY_NM F_nu [Jy] / lambda^2 [nm^2]: 1e-23 c, c = 2.99792458e17 nm/s.
LIGHT_JY_NM = 2.99792458e-6


def tau_plasma(
    t_days: ArrayLike,
    wavelength_rest_nm: ArrayLike,
    a_plasma: ArrayLike,
    beta: ArrayLike,
    *,
    plasma_days: float = 30.0,
    plasma_pivot_nm: float = 440.0,
) -> NDArray[np.float64]:
    """Opacity of the plasma t_days (rest frame) after the explosion; 0 before. All broadcast."""
    grown = -np.expm1(-np.maximum(np.asarray(t_days, dtype=np.float64), 0.0) / plasma_days)
    colour = (plasma_pivot_nm / np.asarray(wavelength_rest_nm, dtype=np.float64)) ** np.asarray(beta, dtype=np.float64)
    return np.asarray(a_plasma, dtype=np.float64) * grown * colour


def tau_fdr(strength: ArrayLike) -> NDArray[np.float64]:
    """Solution of tau = a exp(-tau / 2) for a = ``strength`` >= 0 (NaN below): 2 W0(a / 2)."""
    from scipy.special import lambertw

    strength = np.asarray(strength, dtype=np.float64)
    return 2.0 * np.where(strength >= 0.0, lambertw(0.5 * np.maximum(strength, 0.0)).real, np.nan)


def tau_fdr_of_flux(
    flux_jy: ArrayLike, wavelength_nm: ArrayLike, *, xi: float, eta_prime: float
) -> NDArray[np.float64]:
    """tau_FDR of light of that F_nu [Jy] at that wavelength [nm], both in the observer's frame, after tau_plasma."""
    flux = LIGHT_JY_NM * np.asarray(flux_jy, dtype=np.float64) / np.asarray(wavelength_nm, dtype=np.float64) ** 2
    return tau_fdr(xi * eta_prime * np.sqrt(flux / FDR_FLUX_CGS_PER_NM))
