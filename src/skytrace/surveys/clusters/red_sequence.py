"""Galaxies of a cluster: the colours of its red sequence, its luminosity function and where its members lie.

Colours below z = 0.3 are medians of SDSS DR8 galaxies by their red-sequence redshift (the redMaPPer test field); above
they follow a passively evolving old population, by hand and good to 0.1 mag. m*(z) in i is that of redMaPPer (Rykoff et
al. 2012), whose polynomial is carried on beyond z = 0.7.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from skytrace.lensing.nfw import nfw_mean_convergence

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["projected_nfw_radius", "red_sequence_colours", "schechter_count_ratio", "schechter_mag", "star_mag_i"]

_Z = (0.05, 0.125, 0.19, 0.27, 0.35, 0.45, 0.55, 0.65, 0.80, 1.00, 1.20, 1.50, 2.00)
_G_R = (0.80, 0.93, 1.15, 1.43, 1.57, 1.64, 1.67, 1.70, 1.72, 1.66, 1.50, 1.20, 0.90)
_R_I = (0.36, 0.39, 0.46, 0.54, 0.61, 0.76, 0.93, 1.08, 1.22, 1.20, 1.10, 0.95, 0.75)
#: Schechter slope of red members in number per luminosity, and the brightest member below the BCG [mag from m*].
_SLOPE, _BRIGHTEST = -1.0, -1.6


def red_sequence_colours(redshift: ArrayLike) -> NDArray[np.float64]:
    """(..., 2): g-r and r-i [mag] of the red sequence at ``redshift``."""
    z = np.asarray(redshift, dtype=np.float64)
    return np.stack([np.interp(z, _Z, _G_R), np.interp(z, _Z, _R_I)], axis=-1)


def star_mag_i(redshift: ArrayLike) -> NDArray[np.float64]:
    """m* in i [mag] of red cluster galaxies: 22.44 + 3.36 u + 0.273 u^2 - 0.0618 u^3 - 0.0227 u^4, u = ln z."""
    u = np.log(np.asarray(redshift, dtype=np.float64))
    return 22.44 + 3.36 * u + 0.273 * u**2 - 0.0618 * u**3 - 0.0227 * u**4


@lru_cache(maxsize=32)
def _schechter(faintest: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Magnitudes from m* on a grid, and the cumulative number per m* normalisation."""
    mag = np.linspace(_BRIGHTEST, faintest, 400)
    luminosity = 10.0 ** (-0.4 * mag)
    density = luminosity ** (_SLOPE + 1.0) * np.exp(-luminosity)
    return mag, np.append(0.0, np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(mag)))


def schechter_mag(uniforms: ArrayLike, *, faintest: float) -> NDArray[np.float64]:
    """Magnitudes relative to m* of uniforms in (0, 1), down to ``faintest``."""
    mag, cumulative = _schechter(float(faintest))
    return np.interp(np.asarray(uniforms) * cumulative[-1], cumulative, mag)


def schechter_count_ratio(faintest: float) -> float:
    """Members down to ``faintest`` over those above 0.2 L*, which richness counts."""
    counted = _schechter(1.747)[1][-1]  # -2.5 log10 0.2
    return float(_schechter(float(faintest))[1][-1] / counted)


@lru_cache(maxsize=1)
def _nfw_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    radius = np.append(0.0, np.geomspace(1e-3, 30.0, 600))
    return radius, np.append(0.0, nfw_mean_convergence(radius[1:], 1.0, 1.0) * radius[1:] ** 2)


def projected_nfw_radius(uniforms: ArrayLike, *, concentration: float) -> NDArray[np.float64]:
    """Projected radii in units of r_s of members that follow an NFW profile out to ``concentration`` scale radii."""
    radius, number = _nfw_table()
    return np.interp(np.asarray(uniforms) * np.interp(concentration, radius, number), number, radius)
