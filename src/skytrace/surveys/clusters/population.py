"""Which clusters there are: masses, halos, and what is measured of them. Vectorised; one stream of numbers a cluster.

Richness to mass as McClintock et al. (2019), concentrations about Duffy et al. (2008) with 0.3 of scatter in ln. Lenses
are richer and more concentrated along the line of sight than their peers, as known ones are (Meneghetti et al. 2010).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.clusters.catalogue import comoving_distance_mpc
from skytrace.clusters.options import BANDS
from skytrace.lensing.nfw import nfw_mean_convergence
from skytrace.sky.split import healpix_cell
from skytrace.statistics.streams import normal_quantile, stream_uniforms
from skytrace.surveys.clusters.interface import CLUSTER_COLUMNS
from skytrace.surveys.clusters.options import CONFUSERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.surveys.clusters.options import MockClusterOptions

__all__ = ["MAIN_SHARE", "angular_distance_mpc", "cluster_table", "einstein_radius_arcsec", "simulate_clusters"]

#: Of a merger's mass and members, what is the main cluster's.
MAIN_SHARE = 0.6
_ARCSEC = 206264.80625
_CRITICAL = 1.663e18  # c^2 / (4 pi G) [Msun / Mpc]
_RICHEST, _POOREST = 200.0, 20.0
_SKY_NSIDE, _SKY_STREAM = 16, 63
(
    _KIND, _CONFUSER, _Z, _ZS, _RICH, _MASS, _CONC, _EPS, _PHI, _MEMBERS, _KNOWN, _RICH_ERR, _Z_ERR, _SIGMA, _SIGMA_ERR,
    _LX, _LX_ERR, _RA, _DEC, _BCG, _SEEING, _DEPTH, _ZERO,
) = (*range(20), 20, 23, 26)  # fmt: skip
_CHANNELS = 29


def simulate_clusters(numbers: NDArray[np.int64], *, options: MockClusterOptions) -> pd.DataFrame:
    """What clusters ``numbers`` (n,) are, and what is measured of them: one row each, all columns of both tables."""
    u = stream_uniforms(numbers, _CHANNELS, seed=options.seed)
    normal = normal_quantile(u)
    is_lens = u[:, _KIND] < options.lens_fraction
    other = np.array(CONFUSERS)[
        np.minimum((u[:, _CONFUSER] / max(options.confuser_fraction, 1e-12) * 5).astype(int), 4)
    ]
    confuser = np.where(u[:, _CONFUSER] < options.confuser_fraction, other, "plain")
    z_lens = 0.2 + 0.4 * u[:, _Z] ** 0.8
    low, high = options.background_z
    z_source = np.maximum(low + (high - low) * u[:, _ZS], z_lens + 0.25)
    slope = np.where(is_lens, 1.9, 2.3)
    ends = _POOREST**-slope, _RICHEST**-slope
    richness = (ends[0] + u[:, _RICH] * (ends[1] - ends[0])) ** (-1.0 / slope)
    m200 = 0.75 * 3.08e14 * (richness / 40.0) ** 1.356 * ((1 + z_lens) / 1.35) ** -0.3 * np.exp(0.25 * normal[:, _MASS])
    concentration = 6.0 * (m200 / 3e14) ** -0.084 * (1 + z_lens) ** -0.47 * np.exp(0.3 * normal[:, _CONC])
    concentration = np.clip(concentration * np.where(is_lens, 1.5, 1.1), 2.5, 14.0)
    table = pd.DataFrame(
        {
            "number": numbers, "cluster_id": [f"mock-{number:07d}" for number in numbers], "is_lens": is_lens,
            "kind": np.where(is_lens, "lens", confuser), "confuser": confuser, "z_lens": z_lens, "z_source": z_source,
            "richness_true": richness, "m200_msun": m200,
            "concentration": concentration, "epsilon": 0.22 * u[:, _EPS], "phi_rad": np.pi * u[:, _PHI],
        }
    )  # fmt: skip
    fewest, most = options.background_members
    members = fewest + np.floor(u[:, _MEMBERS] * (most - fewest + 1)).astype(np.int64)
    table["n_background"] = np.where(is_lens, members, 0)
    table["bcg_mag_offset"] = -1.9 + 0.35 * normal[:, _BCG] - 0.6 * np.log10(richness / 40.0)
    table["kappa_s"], table["scale_arcsec"] = _halo(table)
    dispersion = 290.0 * 10.0 ** (-0.1 * (table["bcg_mag_offset"] + 1.9))  # of the BCG, by Faber and Jackson
    ratio = 1.0 - comoving_distance_mpc(z_lens) / comoving_distance_mpc(z_source)
    table["theta_e_bcg_arcsec"] = 4.0 * np.pi * (dispersion / 299792.458) ** 2 * ratio * _ARCSEC
    table["theta_e_arcsec"] = einstein_radius_arcsec(table)
    return table.assign(**_measured(table, u, normal, options))


def cluster_table(simulated: pd.DataFrame) -> pd.DataFrame:
    """CLUSTER_COLUMNS: what a survey's catalogue says."""
    return simulated[list(CLUSTER_COLUMNS)].reset_index(drop=True)


def angular_distance_mpc(z_low: NDArray[np.float64], z_high: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Angular diameter distance [Mpc] to ``z_low``, or between the two (flat)."""
    near = comoving_distance_mpc(z_low)
    if z_high is None:
        return near / (1.0 + z_low)
    return (comoving_distance_mpc(z_high) - near) / (1.0 + z_high)


def einstein_radius_arcsec(table: pd.DataFrame) -> NDArray[np.float64]:
    """Radius (n,) [arcsec] inside which halo (round; a merger's main one) and BCG have a mean convergence of 1."""
    share = np.where(table["confuser"] == "merger", MAIN_SHARE, 1.0)
    low, high = np.full(len(table), 1e-3), np.full(len(table), 120.0)
    kappa_s, scale, bcg = (table[name].to_numpy() for name in ("kappa_s", "scale_arcsec", "theta_e_bcg_arcsec"))
    for _ in range(50):  # bisection
        middle = 0.5 * (low + high)
        inside = nfw_mean_convergence(middle, share * kappa_s, scale) + bcg / middle > 1.0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return 0.5 * (low + high)


def _halo(table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """kappa_s and r_s [arcsec] of NFW halos of m200_msun and concentration (200 times critical)."""
    z, zs = table["z_lens"].to_numpy(), table["z_source"].to_numpy()
    c = table["concentration"].to_numpy()
    critical = 1.36e11 * (0.3 * (1 + z) ** 3 + 0.7)  # rho_c [Msun / Mpc^3], h = 0.7
    r200 = (3.0 * table["m200_msun"].to_numpy() / (800.0 * np.pi * critical)) ** (1.0 / 3.0)
    scale = r200 / c
    density = 200.0 / 3.0 * critical * c**3 / (np.log1p(c) - c / (1.0 + c))
    lens = angular_distance_mpc(z)
    sigma_critical = _CRITICAL * angular_distance_mpc(zs) / (lens * angular_distance_mpc(z, zs))
    return density * scale / sigma_critical, scale / lens * _ARCSEC


def _measured(
    table: pd.DataFrame, u: NDArray[np.float64], normal: NDArray[np.float64], options: MockClusterOptions
) -> dict[str, NDArray]:
    """The columns of the catalogue, with its errors."""
    z, richness, m200 = (table[name].to_numpy() for name in ("z_lens", "richness_true", "m200_msun"))
    expansion = np.sqrt(0.3 * (1 + z) ** 3 + 0.7)
    sigma_v = 1082.9 * (0.7 * expansion * m200 / 1e15) ** 0.3361 * np.exp(0.15 * normal[:, _SIGMA_ERR])
    l_x = 10**44.274 * expansion ** (7 / 3) * (0.72 * m200 / 3e14) ** 1.64 * np.exp(0.4 * normal[:, _LX_ERR])
    columns: dict[str, NDArray] = {
        "ra": 360.0 * u[:, _RA], "dec": np.degrees(np.arcsin(2.0 * u[:, _DEC] - 1.0)),
        "redshift": np.clip(z + 0.015 * (1 + z) * normal[:, _Z_ERR], 0.05, 2.0),
        "richness": richness * np.exp(0.15 * normal[:, _RICH_ERR]),
        "sigma_v_km_s": np.where(u[:, _SIGMA] < options.known_sigma_v, sigma_v, np.nan),
        "l_x_erg_s": np.where(u[:, _LX] < options.known_l_x, l_x, np.nan),
        "known_lens": table["is_lens"].to_numpy() & (u[:, _KNOWN] < options.label_fraction),
    }  # fmt: skip
    # neighbours on the sky were observed in the same nights
    cell = healpix_cell(columns["ra"], columns["dec"], nside=_SKY_NSIDE)
    nights = normal_quantile(stream_uniforms(cell, 6, seed=options.seed + _SKY_STREAM))
    sky = np.sqrt(0.5) * (np.column_stack([normal[:, _SEEING : _SEEING + 3], normal[:, _DEPTH : _DEPTH + 3]]) + nights)
    for b, band in enumerate(BANDS):
        columns[f"psf_fwhm_{band}_arcsec"] = options.psf_fwhm_arcsec[b] * np.exp(options.seeing_scatter * sky[:, b])
        columns[f"depth_{band}_mag"] = options.depth_mag[b] + options.depth_scatter_mag * sky[:, 3 + b]
        columns[f"zero_point_{band}_mag"] = 22.5 + options.zero_point_scatter_mag * normal[:, _ZERO + b]
    return columns
