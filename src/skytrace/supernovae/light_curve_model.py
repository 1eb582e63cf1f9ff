"""The flux of a supernova as an observer receives it: the readable form of what the compiled fit works with.

F_nu(t, lambda) = e^alpha (1 + z) F10(t_rest, lambda / (1 + z)) e^-tau_plasma e^-tau_FDR, t_rest = (mjd - t0) / (1 + z).
F10 is F_nu at 10 pc, so e^alpha = (10 pc / D_L)^2 and alpha = -(ln 10 / 2.5) mu exactly: mu = 40 is alpha = -36.84.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.supernovae.cosmology import ALPHA_PER_MAG
from skytrace.supernovae.fit_options import ModelOptions
from skytrace.supernovae.opacity import tau_fdr_of_flux, tau_plasma
from skytrace.supernovae.spectral_energy import SpectralSeries, flux_10pc_jy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["alpha_from_mu", "model_flux_jy", "mu_from_alpha"]


def alpha_from_mu(mu_mag: ArrayLike) -> NDArray[np.float64]:
    """alpha of a distance modulus."""
    return -ALPHA_PER_MAG * np.asarray(mu_mag, dtype=np.float64)


def mu_from_alpha(alpha: ArrayLike) -> NDArray[np.float64]:
    """Distance modulus [mag] of alpha."""
    return -np.asarray(alpha, dtype=np.float64) / ALPHA_PER_MAG


def model_flux_jy(
    mjd: ArrayLike,
    wavelength_nm: ArrayLike,
    z_hel: ArrayLike,
    t0_mjd: ArrayLike,
    a_plasma: ArrayLike,
    beta: ArrayLike,
    alpha: ArrayLike,
    *,
    options: ModelOptions | None = None,
    series: SpectralSeries | None = None,
) -> NDArray[np.float64]:
    """Flux density [Jy] at ``mjd`` and observer-frame ``wavelength_nm``; all arrays broadcast. 0 before t0.

    t0_mjd: explosion. options: ``ModelOptions()`` by default. series: see ``flux_10pc_jy``.
    """
    options = options or ModelOptions()
    stretch = 1.0 + np.asarray(z_hel, dtype=np.float64)
    t_days = (np.asarray(mjd, dtype=np.float64) - np.asarray(t0_mjd, dtype=np.float64)) / stretch
    observed_nm = np.asarray(wavelength_nm, dtype=np.float64)
    rest_nm = observed_nm / stretch
    tau = tau_plasma(
        t_days, rest_nm, a_plasma, beta, plasma_days=options.plasma_days, plasma_pivot_nm=options.plasma_pivot_nm
    )
    emitted = flux_10pc_jy(t_days, rest_nm, options=options, series=series)
    flux = np.exp(np.asarray(alpha, dtype=np.float64)) * stretch * emitted * np.exp(-tau)
    if options.xi * options.eta_prime > 0.0:
        flux = flux * np.exp(-tau_fdr_of_flux(flux, observed_nm, xi=options.xi, eta_prime=options.eta_prime))
    return flux
