"""Everything in a stamp that is not its galaxy: neighbours, satellites of massive galaxies, and stars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.imaging.photometry import flux_nmgy
from skytrace.imaging.profiles import SersicComponents
from skytrace.surveys.mock.population import EARLY_TYPES, band_fluxes, early_colours

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Stars", "draw_neighbours", "draw_stars"]

#: Half-width [arcsec] of the square in which neighbours are drawn: half a stamp and a margin for light from outside.
_HALF_FIELD_ARCSEC = 13.1 + 2.5
#: Field galaxies per square arcminute with 18.5 < r < 24.8, and d log10 N / dm: 20 to r = 24.5, as in deep counts.
_NEIGHBOUR_DENSITY, _NEIGHBOUR_SLOPE, _NEIGHBOUR_RANGE = 26.0, 0.35, (18.5, 24.8)
#: Stars per square arcminute with 15.5 < r < 22.5 at high Galactic latitude, and d log10 N / dm.
_STAR_DENSITY, _STAR_SLOPE, _STAR_RANGE = 2.2, 0.12, (15.5, 22.5)
#: Share of stamps with a star of r = 12.0-15.5 as well, which saturates.
_BRIGHT_STAR_SHARE = 0.025
_CENTRAL_EXCLUSION_ARCSEC = 1.5


@dataclass(frozen=True)
class Stars:
    """m stars: stamp (m,), x_arcsec, y_arcsec from the stamp's centre, flux_nmgy (m, band), mag_r (m,)."""

    stamp: NDArray[np.int64]
    x_arcsec: NDArray[np.float64]
    y_arcsec: NDArray[np.float64]
    flux_nmgy: NDArray[np.float64]
    mag_r: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.stamp)


def _counts(n: int, slope: float, limits: tuple[float, float], rng: np.random.Generator) -> NDArray[np.float64]:
    low, high = 10.0 ** (slope * (limits[0] - limits[1])), 1.0
    return limits[1] + np.log10(low + rng.random(n) * (high - low)) / slope


def draw_neighbours(hosts: pd.DataFrame, *, rng: np.random.Generator) -> SersicComponents:
    """Field galaxies anywhere in the stamps, and red satellites 2.5-14" from massive early types."""
    n = len(hosts)
    area = (2.0 * _HALF_FIELD_ARCSEC / 60.0) ** 2
    stamp = np.repeat(np.arange(n), rng.poisson(_NEIGHBOUR_DENSITY * area, n))
    x, y = rng.uniform(-_HALF_FIELD_ARCSEC, _HALF_FIELD_ARCSEC, (2, len(stamp)))
    mag_r = _counts(len(stamp), _NEIGHBOUR_SLOPE, _NEIGHBOUR_RANGE, rng)
    red = rng.random(len(stamp)) < 0.22
    redshift = np.clip(
        0.2 * 10.0 ** (0.11 * (mag_r - 19.0)) * np.exp(0.35 * rng.standard_normal(len(stamp))), 0.05, 0.95
    )
    red_g_r, red_r_z = early_colours(redshift)
    g_r = np.where(red, red_g_r, rng.normal(0.62, 0.28, len(stamp)))
    r_z = np.where(red, red_r_z, rng.normal(0.50, 0.25, len(stamp)))

    massive = np.isin(hosts["category"].to_numpy(), EARLY_TYPES) & (hosts["mag_z"].to_numpy() < 19.3)
    bound = np.repeat(np.arange(n), rng.poisson(np.where(massive, 1.8, 0.0)))
    distance, angle = rng.uniform(2.5, 14.0, len(bound)), rng.uniform(0.0, 2.0 * np.pi, len(bound))
    host_r = (hosts["mag_z"] + hosts["r_z"]).to_numpy()[bound]
    satellite_r = np.minimum(host_r + 1.2 + rng.gamma(2.0, 0.9, len(bound)), 25.0)

    x = np.concatenate([x, distance * np.cos(angle)])
    y = np.concatenate([y, distance * np.sin(angle)])
    mag_r = np.concatenate([mag_r, satellite_r])
    g_r = np.concatenate([g_r, hosts["g_r"].to_numpy()[bound] - 0.05 + 0.06 * rng.standard_normal(len(bound))])
    r_z = np.concatenate([r_z, hosts["r_z"].to_numpy()[bound] - 0.03 + 0.06 * rng.standard_normal(len(bound))])
    red = np.concatenate([red, np.ones(len(bound), dtype=bool)])
    stamp = np.concatenate([stamp, bound])
    m = len(stamp)
    size = 10.0 ** (np.log10(0.42) - 0.07 * (mag_r - 22.5) + 0.16 * rng.standard_normal(m))
    index = np.where(red, rng.uniform(2.0, 4.5, m), rng.uniform(0.7, 1.8, m))
    q, phi = np.where(red, rng.uniform(0.5, 1.0, m), rng.uniform(0.2, 1.0, m)), rng.uniform(0.0, np.pi, m)
    away = np.hypot(x, y) > _CENTRAL_EXCLUSION_ARCSEC  # anything closer is part of the galaxy, by category
    flux = band_fluxes(mag_r - r_z, g_r, r_z)
    return SersicComponents(stamp, flux, x, y, size, index, q, phi).take(np.flatnonzero(away))


def draw_stars(n: int, *, rng: np.random.Generator) -> Stars:
    """Stars of ``n`` stamps; one stamp in forty also holds a star that saturates."""
    area = (2.0 * _HALF_FIELD_ARCSEC / 60.0) ** 2
    stamp = np.repeat(np.arange(n), rng.poisson(_STAR_DENSITY * area, n))
    mag_r = _counts(len(stamp), _STAR_SLOPE, _STAR_RANGE, rng)
    bright = np.flatnonzero(rng.random(n) < _BRIGHT_STAR_SHARE)
    stamp = np.concatenate([stamp, bright])
    mag_r = np.concatenate([mag_r, _counts(len(bright), _STAR_SLOPE, (12.0, 15.5), rng)])
    x, y = rng.uniform(-_HALF_FIELD_ARCSEC, _HALF_FIELD_ARCSEC, (2, len(stamp)))
    # the stellar locus: from turn-off stars to M dwarfs, r-z following g-r
    g_r = np.where(rng.random(len(stamp)) < 0.55, rng.normal(0.5, 0.12, len(stamp)), rng.normal(1.35, 0.12, len(stamp)))
    r_z = np.where(g_r < 1.0, 0.55 * g_r - 0.05, rng.gamma(4.0, 0.22, len(stamp)) + 0.45)
    flux = np.stack([flux_nmgy(mag_r + g_r), flux_nmgy(mag_r), flux_nmgy(mag_r - r_z)], axis=-1)
    away = np.flatnonzero(np.hypot(x, y) > 2.0 * _CENTRAL_EXCLUSION_ARCSEC)
    order = away[np.argsort(stamp[away], kind="stable")]
    return Stars(stamp[order], x[order], y[order], flux[order], mag_r[order])
