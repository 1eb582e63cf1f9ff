"""Deflection by halos of clusters: a Navarro-Frenk-White profile, and truncated isothermal subhalos.

NFW in projection (Bartelmann 1996; Wright & Brainerd 2000, eq. 11 and 13): with x = R / r_s and kappa_s = rho_s r_s /
Sigma_cr, kappa = 2 kappa_s (1 - F) / (x^2 - 1) and alpha = 4 kappa_s r_s (ln(x / 2) + F) / x, where F = A(1 / x) / x
and A is the analytic function of ``deflection.regular_arccos``: one formula on both sides of x = 1. Ellipticity is in
the potential (Golse & Kneib 2002): closed formulae, sensible for epsilon < 0.25. Angles in arcsec; arrays broadcast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.lensing.deflection import check_range, regular_arccos

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["nfw_convergence", "nfw_deflection", "nfw_mean_convergence", "truncated_isothermal_deflection"]

#: Below this x the closed forms cancel; their series is exact to x^2 there.
_SMALL = 1e-3
_MAX_EPSILON = 0.4


def nfw_deflection(
    x: ArrayLike,
    y: ArrayLike,
    kappa_s: ArrayLike,
    scale_arcsec: ArrayLike,
    epsilon: ArrayLike = 0.0,
    phi: ArrayLike = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(alpha_x, alpha_y) [arcsec] at (x, y) [arcsec] from the centre of an NFW halo.

    kappa_s >= 0: rho_s r_s / Sigma_cr. scale_arcsec > 0: r_s. epsilon: of the potential, 0 to 0.4; phi: its major axis,
    counter-clockwise from +x. Raises OptionError naming the value out of range.
    """
    x, y, kappa_s, scale, epsilon, phi = _arrays(x, y, kappa_s, scale_arcsec, epsilon, phi)
    cos, sin = np.cos(phi), np.sin(phi)
    stretch = np.sqrt(1.0 - epsilon), np.sqrt(1.0 + epsilon)
    along, across = stretch[0] * (cos * x + sin * y), stretch[1] * (cos * y - sin * x)
    radius = np.hypot(along, across)
    mean = _mean_shape(radius / scale) * 4.0 * kappa_s
    alpha_along, alpha_across = stretch[0] * mean * along, stretch[1] * mean * across
    return cos * alpha_along - sin * alpha_across, sin * alpha_along + cos * alpha_across


def nfw_convergence(
    x: ArrayLike,
    y: ArrayLike,
    kappa_s: ArrayLike,
    scale_arcsec: ArrayLike,
    epsilon: ArrayLike = 0.0,
    phi: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """Convergence of ``nfw_deflection``: kappa(R) + epsilon cos(2 angle) gamma(R) at the stretched radius R (Golse &
    Kneib 2002, eq. 12); infinite at the centre.
    """
    x, y, kappa_s, scale, epsilon, phi = _arrays(x, y, kappa_s, scale_arcsec, epsilon, phi)
    cos, sin = np.cos(phi), np.sin(phi)
    along, across = np.sqrt(1.0 - epsilon) * (cos * x + sin * y), np.sqrt(1.0 + epsilon) * (cos * y - sin * x)
    squared = along**2 + across**2
    ratio = np.sqrt(squared) / scale
    round_kappa = 2.0 * kappa_s * _shape(ratio)
    shear = 4.0 * kappa_s * _mean_shape(ratio) - round_kappa
    twice = np.divide(along**2 - across**2, squared, out=np.zeros_like(ratio), where=squared > 0)
    return round_kappa + epsilon * twice * shear


def nfw_mean_convergence(radius_arcsec: ArrayLike, kappa_s: ArrayLike, scale_arcsec: ArrayLike) -> NDArray[np.float64]:
    """Mean convergence inside ``radius_arcsec`` of a round NFW halo: its projected mass over pi R^2 Sigma_cr."""
    ratio = np.asarray(radius_arcsec, dtype=np.float64) / np.asarray(scale_arcsec, dtype=np.float64)
    return 4.0 * np.asarray(kappa_s, dtype=np.float64) * _mean_shape(ratio)


def truncated_isothermal_deflection(
    x: ArrayLike, y: ArrayLike, theta_e: ArrayLike, truncation_arcsec: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(alpha_x, alpha_y) [arcsec] of a round isothermal subhalo whose density falls as r^-4 beyond its truncation s.

    alpha = theta_E (1 + (s - sqrt(s^2 + R^2)) / R) (Brainerd, Blandford & Smail 1996, eq. 2.8-2.10; dPIE without core);
    theta_e is that of the isothermal sphere it is inside. Raises OptionError for a value out of range.
    """
    x, y, theta_e, s = (np.asarray(value, dtype=np.float64) for value in (x, y, theta_e, truncation_arcsec))
    check_range("subhalo theta_e", theta_e, 0.0, np.inf)
    check_range("subhalo truncation_arcsec", s, 1e-6, np.inf)
    radius = np.hypot(x, y)
    safe = np.where(radius > 0, radius, 1.0)
    # s - sqrt(s^2 + R^2) without cancellation
    over_radius = np.where(radius > 0, theta_e * (1.0 - safe / (s + np.sqrt(s**2 + safe**2))) / safe, 0.0)
    return over_radius * x, over_radius * y


def _arrays(
    x: ArrayLike, y: ArrayLike, kappa_s: ArrayLike, scale: ArrayLike, epsilon: ArrayLike, phi: ArrayLike
) -> tuple[NDArray[np.float64], ...]:
    check_range("NFW kappa_s", kappa_s, 0.0, np.inf)
    check_range("NFW scale_arcsec", scale, 1e-6, np.inf)
    check_range("NFW epsilon", epsilon, 0.0, _MAX_EPSILON)
    return tuple(np.asarray(value, dtype=np.float64) for value in (x, y, kappa_s, scale, epsilon, phi))


def _mean_shape(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """(ln(x / 2) + F) / x^2: the mean convergence inside x over 4 kappa_s; large but finite at the centre."""
    x = np.maximum(np.asarray(ratio, dtype=np.float64), 1e-12)
    small = x < _SMALL
    safe = np.where(small, 1.0, x)
    closed = (np.log(0.5 * safe) + regular_arccos(1.0 / safe) / safe) / safe**2
    return np.where(small, 0.5 * (np.log(2.0 / x) - 0.5), closed)


def _shape(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 - F) / (x^2 - 1), 1/3 at x = 1; infinite at the centre."""
    x = np.asarray(ratio, dtype=np.float64)
    away = x - 1.0
    near = np.abs(away) < 1e-4
    safe = np.where(near | (x <= 0), 2.0, x)
    closed = (1.0 - regular_arccos(1.0 / safe) / safe) / (safe**2 - 1.0)
    return np.where(near, 1.0 / 3.0 - 0.4 * away, np.where(x > 0, closed, np.inf))
