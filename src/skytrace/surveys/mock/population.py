"""The galaxies themselves: redshift, magnitudes, colours, sizes and shapes, and what Tractor would report of them.

Colours of early types follow the observed track of DECaLS luminous red galaxies (the photometry of 2,154 lens hosts in
Stein et al. 2022 gives g-r = 1.6-1.7 and r-z = 0.9-1.4 from mag_z 16 to 19); field colours follow 4,830 SDSS galaxies
with g-r = 1.0 +- 0.3, r-z = 0.78 +- 0.17. Shares of the Tractor types with magnitude follow the same rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.imaging.photometry import flux_nmgy
from skytrace.imaging.profiles import effective_area_pixels
from skytrace.imaging.psf import neff_pixels, sky_sigma_nmgy
from skytrace.surveys.interface import BANDS
from skytrace.surveys.mock.conditions import ELECTRONS_PER_NMGY_PER_EXPOSURE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.surveys.mock.options import MockSurveyOptions

__all__ = ["CATEGORIES", "EARLY_TYPES", "band_fluxes", "draw_categories", "draw_hosts", "early_colours", "tractor_rows"]

#: Shares among the confusers. "companion" is an ordinary elliptical with blue companions at arc-like distances.
_CONFUSER_SHARES = {
    "spiral": 0.36, "ring": 0.13, "merger": 0.13, "edge_on": 0.13, "blue_clumpy": 0.10, "companion": 0.15,
}  # fmt: skip
CATEGORIES = ("lens", "early", "disk", *_CONFUSER_SHARES)
#: Categories whose main body is a red early-type galaxy.
EARLY_TYPES = ("lens", "early", "ring", "companion")

_TRACK_Z = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1)
_EARLY_G_R = (0.75, 0.95, 1.20, 1.45, 1.65, 1.75, 1.80, 1.82, 1.85, 1.90, 1.95)
_EARLY_R_Z = (0.52, 0.60, 0.68, 0.76, 0.88, 1.08, 1.32, 1.55, 1.75, 1.92, 2.10)
_LATE_G_R = (0.42, 0.50, 0.60, 0.72, 0.82, 0.86, 0.82, 0.74, 0.65, 0.58, 0.50)
_LATE_R_Z = (0.30, 0.36, 0.42, 0.48, 0.55, 0.64, 0.74, 0.82, 0.86, 0.88, 0.80)
_BRIGHT_LIMIT, _TURNOVER, _FAINT_LIMIT = 15.5, 20.0, 21.0


def draw_categories(*, options: MockSurveyOptions, rng: np.random.Generator) -> NDArray[np.str_]:
    """Category of every galaxy (n,), exactly round(lens_fraction n) of them lenses, in random order."""
    n = options.n_galaxies
    n_lenses = round(options.lens_fraction * n)
    n_confusers = round(options.confuser_fraction * (n - n_lenses))
    confusers = rng.choice(list(_CONFUSER_SHARES), size=n_confusers, p=list(_CONFUSER_SHARES.values()))
    ordinary = np.where(rng.random(n - n_lenses - n_confusers) < options.early_fraction, "early", "disk")
    return rng.permutation(np.concatenate([np.full(n_lenses, "lens", dtype="<U12"), confusers, ordinary]))


def early_colours(redshift: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(g-r, r-z) [AB mag] of a passive galaxy at ``redshift``."""
    return np.interp(redshift, _TRACK_Z, _EARLY_G_R), np.interp(redshift, _TRACK_Z, _EARLY_R_Z)


def draw_hosts(category: NDArray[np.str_], *, options: MockSurveyOptions, rng: np.random.Generator) -> pd.DataFrame:
    """True properties of the galaxies' main bodies: mag_z, redshift, g_r, r_z, radius (major axis), sersic, q, phi.

    Massive early types have the deflectors' distribution of every one of these: only arcs tell them from lenses.
    """
    n = len(category)
    early = np.isin(category, EARLY_TYPES)
    massive = (category == "lens") | (early & (rng.random(n) < options.massive_fraction))
    mag_z = np.where(massive, _truncated_normal(18.5, 0.95, 16.0, 20.3, n, rng), _count_magnitudes(n, options, rng))
    redshift = (
        0.20 * 10.0 ** (0.11 * (mag_z - 18.0)) * np.exp(0.35 * rng.standard_normal(n)) * np.where(early, 1.3, 1.0)
    )
    deflector = 0.56 + 0.13 * (mag_z - 18.4) + 0.10 * rng.standard_normal(n)
    redshift = np.clip(np.where(massive, deflector, redshift), 0.04, 0.95)
    red_g_r, red_r_z = early_colours(redshift)
    # disks lie between the star-forming and the passive track: bulges and dust
    redness = np.where(early, 1.0, np.clip(0.35 + 0.25 * rng.standard_normal(n), 0.0, 0.9))
    redness = np.where(category == "blue_clumpy", 0.0, redness)
    late_g_r = np.interp(redshift, _TRACK_Z, _LATE_G_R) - np.where(category == "blue_clumpy", 0.2, 0.0)
    late_r_z = np.interp(redshift, _TRACK_Z, _LATE_R_Z) - np.where(category == "blue_clumpy", 0.15, 0.0)
    scatter = np.where(early, 0.05, 0.09)
    g_r = redness * red_g_r + (1.0 - redness) * late_g_r + scatter * rng.standard_normal(n)
    r_z = redness * red_r_z + (1.0 - redness) * late_r_z + scatter * rng.standard_normal(n)
    table = pd.DataFrame({"category": category, "mag_z": mag_z, "redshift": redshift, "g_r": g_r, "r_z": r_z})
    return pd.concat([table, _draw_shapes(table, rng)], axis=1)


def _count_magnitudes(n: int, options: MockSurveyOptions, rng: np.random.Generator) -> NDArray[np.float64]:
    """mag_z with dN/dm ~ 10^(slope m) up to the turnover, and a short fainter tail that the selection must remove."""
    slope = options.count_slope * np.log(10.0)
    u, faint = rng.random(n), rng.random(n) < 0.07
    low, high = np.exp(slope * (_BRIGHT_LIMIT - _TURNOVER)), 1.0
    bright = _TURNOVER + np.log(low + u * (high - low)) / slope
    return np.where(faint, _TURNOVER + (_FAINT_LIMIT - _TURNOVER) * (1.0 - np.sqrt(1.0 - u)), bright)


def _truncated_normal(
    mean: float, sigma: float, low: float, high: float, n: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    from scipy.special import ndtr, ndtri

    a, b = ndtr((low - mean) / sigma), ndtr((high - mean) / sigma)
    return mean + sigma * ndtri(a + rng.random(n) * (b - a))


def _draw_shapes(hosts: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Half-light radius of the major axis [arcsec], Sersic index, axis ratio, position angle and Tractor type."""
    n = len(hosts)
    category, mag = hosts["category"].to_numpy(), hosts["mag_z"].to_numpy()
    early = np.isin(category, EARLY_TYPES)
    log_radius = np.where(early, np.log10(0.85) - 0.15 * (mag - 19.0), np.log10(1.05) - 0.12 * (mag - 19.0))
    radius = 10.0 ** (log_radius + np.where(early, 0.13, 0.17) * rng.standard_normal(n))
    inclination = np.arccos(rng.random(n))
    thickness = 0.2
    disk_q = np.sqrt(np.cos(inclination) ** 2 * (1.0 - thickness**2) + thickness**2)
    face_on = np.isin(category, ["spiral", "ring"])
    disk_q = np.where(face_on, np.maximum(disk_q, rng.uniform(0.4, 0.95, n)), disk_q)
    disk_q = np.where(category == "edge_on", rng.uniform(0.12, 0.26, n), disk_q)
    q = np.where(early, _truncated_normal(0.80, 0.13, 0.4, 0.99, n, rng), disk_q)
    radius *= np.select([category == "edge_on", category == "spiral", category == "blue_clumpy"], [1.5, 1.35, 1.1], 1.0)
    radius = np.clip(radius, 0.25, 5.0)
    bulgy = np.clip(4.0 + 0.9 * rng.standard_normal(n), 2.0, 6.0)
    disky = np.clip(1.0 + 0.35 * np.abs(rng.standard_normal(n)) * rng.choice([-0.6, 1.6], n), 0.5, 2.8)
    kind = _tractor_types(early, mag, radius, rng)
    sersic = np.where(kind == "DEV", 4.0, np.where(early, bulgy, disky))
    sersic = np.where(kind == "EXP", 1.0, sersic)
    q = np.where(kind == "REX", np.maximum(q, 0.75), q)
    phi = rng.uniform(0.0, np.pi, n)
    return pd.DataFrame({"type": kind, "radius": radius, "sersic": sersic, "q": q, "phi": phi})


def _tractor_types(
    early: NDArray[np.bool_], mag: NDArray[np.float64], radius: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.str_]:
    n, u = len(mag), rng.random(len(mag))
    small = (radius < 0.75) & (rng.random(n) < 0.6)
    ser_share = np.interp(mag, (16.5, 18.0, 19.5), (0.9, 0.75, 0.4))
    kind = np.where(early, np.where(u < ser_share, "SER", "DEV"), np.where(u < 0.72, "SER", "EXP"))
    return np.where(small, "REX", kind)


def band_fluxes(mag_z: NDArray, g_r: NDArray, r_z: NDArray) -> NDArray[np.float64]:
    """Fluxes (n, band) [nanomaggies] in g, r, z of magnitudes and colours."""
    return np.stack([flux_nmgy(mag_z + r_z + g_r), flux_nmgy(mag_z + r_z), flux_nmgy(mag_z)], axis=-1)


def tractor_rows(
    hosts: pd.DataFrame, flux: NDArray[np.float64], sky: pd.DataFrame, *, rng: np.random.Generator
) -> pd.DataFrame:
    """What the catalogue lists: noisy fluxes and shapes with their inverse variances, and galdepth.

    hosts: table of draw_hosts. flux: (n, band) true total flux [nanomaggies]. sky: table of place_galaxies.
    Flux noise is that of a matched filter of the galaxy's size: sky noise over its effective area, photon noise, and
    1.5 % of flux for the profile's misfit (not in flux_ivar, as in Tractor).
    """
    n = len(hosts)
    kind = hosts["type"].to_numpy().astype(str)
    rex = kind == "REX"
    q, phi = hosts["q"].to_numpy(), hosts["phi"].to_numpy()
    columns: dict[str, NDArray] = {"type": kind}
    for b, band in enumerate(BANDS):
        size, depth = sky[f"psfsize_{band}"].to_numpy(), sky[f"psfdepth_{band}"].to_numpy()
        radius = np.minimum(hosts["radius"].to_numpy() * np.sqrt(q), 2.0)
        sigma2 = sky_sigma_nmgy(depth, size) ** 2 * effective_area_pixels(size, radius)
        electrons = ELECTRONS_PER_NMGY_PER_EXPOSURE[band] * sky[f"nobs_{band}"].to_numpy()
        variance = sigma2 + flux[:, b] / electrons
        misfit = 0.015 * flux[:, b] * rng.standard_normal(n)
        columns[f"flux_{band}"] = flux[:, b] + np.sqrt(variance) * rng.standard_normal(n) + misfit
        columns[f"flux_ivar_{band}"] = 1.0 / variance
        columns[f"galdepth_{band}"] = depth * neff_pixels(size) / effective_area_pixels(size, 0.45)
    measured = hosts["radius"].to_numpy() * np.exp(0.04 * rng.standard_normal(n))
    columns["shape_r"] = np.where(rex, measured * np.sqrt(q), measured)
    ellipticity = np.where(rex, 0.0, np.clip((1.0 - q) / (1.0 + q) + 0.01 * rng.standard_normal(n), 0.0, 0.95))
    # Tractor's position angle runs from north towards east, and east is towards decreasing columns
    columns["shape_e1"] = -ellipticity * np.cos(2.0 * phi)
    columns["shape_e2"] = -ellipticity * np.sin(2.0 * phi)
    index = np.clip(hosts["sersic"].to_numpy() * np.exp(0.06 * rng.standard_normal(n)), 0.5, 6.0)
    columns["sersic"] = np.select([rex | (kind == "EXP"), kind == "DEV"], [1.0, 4.0], index)
    return pd.DataFrame(columns)
