"""The compiled loops of ``surveys.clusters.rendering``: deflection by many subhalos, light of many sources."""

from __future__ import annotations

import math

import numba

__all__ = ["add_sources", "subtract_subhalos"]

_FARTHEST = 6.0  # half-light radii at which a source ends: 1e-3 of the light of n = 1.5 lies beyond


@numba.njit(nogil=True, cache=True)
def subtract_subhalos(axis, halos, beta_x, beta_y):  # pragma: no cover
    """Subtract the deflection of truncated isothermal halos (k, 4: x, y, theta_E, truncation) from beta (y, x).

    The formula is ``lensing.truncated_isothermal_deflection``'s; positions are axis[x], axis[y] [arcsec].
    """
    for k in range(halos.shape[0]):
        x0, y0, theta_e, s = halos[k, 0], halos[k, 1], halos[k, 2], halos[k, 3]
        for i in range(axis.size):
            dy = axis[i] - y0
            for j in range(axis.size):
                dx = axis[j] - x0
                radius = math.sqrt(dx * dx + dy * dy) + 1e-9
                over = theta_e * (1.0 - radius / (s + math.sqrt(s * s + radius * radius))) / radius
                beta_x[i, j] -= over * dx
                beta_y[i, j] -= over * dy


@numba.njit(nogil=True, cache=True)
def add_sources(beta_x, beta_y, sources, flux, light):  # pragma: no cover
    """Add the surface brightness [nanomaggies / arcsec^2] of Sersic sources to ``light`` (band, y, x).

    sources (k, 8): x, y, half-light radius, 1 / n, q, cos phi, sin phi, b_n; flux (k, band): brightness I_e at the
    half-light radius, whose ellipse has the area of its circle.
    """
    bands = flux.shape[1]
    for k in range(sources.shape[0]):
        x0, y0, radius, power = sources[k, 0], sources[k, 1], sources[k, 2], sources[k, 3]
        q, cos, sin, b = sources[k, 4], sources[k, 5], sources[k, 6], sources[k, 7]
        reach = _FARTHEST * radius / math.sqrt(q)
        for i in range(beta_x.shape[0]):
            for j in range(beta_x.shape[1]):
                dx, dy = beta_x[i, j] - x0, beta_y[i, j] - y0
                if abs(dx) > reach or abs(dy) > reach:
                    continue
                u, v = cos * dx + sin * dy, cos * dy - sin * dx
                squared = (q * u * u + v * v / q) / (radius * radius)
                if squared < _FARTHEST * _FARTHEST:
                    value = math.exp(-b * (squared ** (0.5 * power) - 1.0))
                    for band in range(bands):
                        light[band, i, j] += flux[k, band] * value
