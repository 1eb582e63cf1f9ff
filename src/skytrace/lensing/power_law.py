"""Deflection by an elliptical power law (EPL) of any slope (Tessore & Metcalf 2015).

Three-dimensional density r^-gamma_epl; convergence kappa = (3 - gamma)/2 (theta_E / rho)^(gamma - 1) with
rho = sqrt(q x'^2 + y'^2 / q) and x' along the major axis: theta_E is the product-average Einstein radius, as in
lenstronomy's EPL, and gamma_epl = 2 is the SIE. Angles in arcsec; arrays broadcast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["MAX_SLOPE", "MIN_SLOPE", "epl_convergence", "epl_deflection"]

#: Slopes that the engine renders; lenses measured so far lie between 1.5 and 2.6 (Auger et al. 2010: 2.08, rms 0.16).
MIN_SLOPE, MAX_SLOPE = 1.4, 2.6
_SMALLEST_TERM = 1e-13
_LEAST_RADIUS_ARCSEC = 1e-9  # a steeper lens than the SIE deflects without limit at its centre


def epl_deflection(
    x: ArrayLike, y: ArrayLike, theta_e: ArrayLike, q: ArrayLike, phi: ArrayLike, gamma_epl: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Deflection (alpha_x, alpha_y) [arcsec] at (x, y) [arcsec] from the centre; all arguments broadcast.

    Tessore & Metcalf (2015), eq. 13 with their series of eq. 29: with z = q x' + i y' = R exp(i p), b = theta_E
    sqrt(q), f = (1 - q)/(1 + q) and t = gamma - 1, alpha = 2/(1 + q) (b/R)^t R sum_k a_k, a_0 = exp(i p) and
    a_k = -f (2k - 2 + t)/(2k + 2 - t) exp(2 i p) a_(k-1).
    """
    x, y, theta_e, q, phi, slope = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (x, y, theta_e, q, phi, gamma_epl))
    )
    cos, sin, t = np.cos(phi), np.sin(phi), slope - 1.0
    z = q * (cos * x + sin * y) + 1j * (cos * y - sin * x)
    radius = np.maximum(np.abs(z), _LEAST_RADIUS_ARCSEC)
    term = z / radius
    flattening = (1.0 - q) / (1.0 + q)
    step = -flattening * term**2
    total = term.copy()
    largest = float(flattening.max(initial=0.0))
    terms = 0 if largest == 0 else int(np.ceil(np.log(_SMALLEST_TERM) / np.log(largest)))
    for k in range(1, terms + 1):
        term = term * step * ((2 * k - 2 + t) / (2 * k + 2 - t))
        total += term
    alpha = 2.0 / (1.0 + q) * (theta_e * np.sqrt(q)) ** t * radius ** (1.0 - t) * total
    return cos * alpha.real - sin * alpha.imag, sin * alpha.real + cos * alpha.imag


def epl_convergence(
    x: ArrayLike, y: ArrayLike, theta_e: ArrayLike, q: ArrayLike, phi: ArrayLike, gamma_epl: ArrayLike
) -> NDArray[np.float64]:
    """Convergence kappa at (x, y) [arcsec] from the centre; infinite at the centre."""
    x, y, q, slope = (np.asarray(value, dtype=np.float64) for value in (x, y, q, gamma_epl))
    cos, sin = np.cos(phi), np.sin(phi)
    along, across = cos * x + sin * y, -sin * x + cos * y
    with np.errstate(divide="ignore"):
        return (3.0 - slope) / 2.0 * (np.asarray(theta_e) / np.sqrt(q * along**2 + across**2 / q)) ** (slope - 1.0)
