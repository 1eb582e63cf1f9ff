"""The mock sky's strong lenses: massive early types, sources of a population of their own, and who was found.

The population differs on purpose from the priors of injections: theta_E follows from the host's luminosity and
redshift (Faber-Jackson, flat cosmology with Omega_m = 0.3), sources have a magnitude break, redshift-dependent colours
and often clumps. A lens enters the sky only once it has been "discovered", with a probability that rises softly with
its arc S/N; undiscovered ones are not placed, so that the negatives hold no hidden lenses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import expit

from skytrace.imaging.photometry import EXTINCTION_PER_EBV, flux_nmgy
from skytrace.imaging.psf import MoffatPsf, sky_sigma_nmgy
from skytrace.selection.arcs import arc_annulus_snr
from skytrace.surveys.interface import BANDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.lensing.deflection import LensModel
    from skytrace.lensing.sources import SourceModel
    from skytrace.surveys.mock.options import MockSurveyOptions

__all__ = ["LENS_PIXELS", "LensSystems", "einstein_radius_arcsec", "find_lenses", "lens_table"]

#: Side [pixels] of the rendered lensed light; the little that falls outside at theta_E > 3.5" is lost.
LENS_PIXELS = 64
_N_CLUMPS = 6
_MAX_ROUNDS = 30
_LARGEST_ARCSEC = 3.9
#: Deflectors whose group adds to theirs. With it the discovered lenses have theta_E of 1.1-3.3" about 2.0", as the ten
#: DESI candidates with a published radius do (Huang et al. 2020, 2021: median 2.3").
_GROUP_SHARE = 0.45
_OMEGA_M = 0.3
_HUBBLE_DISTANCE_MPC = 4282.7  # c / (70 km/s/Mpc)
_ARCSEC = 206264.806


@dataclass(frozen=True)
class LensSystems:
    """n lenses as flat columns (n,) in a table, with the sources' clumps (n, k): everything that a render needs."""

    table: pd.DataFrame
    clumps: dict[str, NDArray[np.float64]]

    def take(self, index: NDArray[np.int64]) -> LensSystems:
        """The systems ``index``."""
        rows = self.table.iloc[index].reset_index(drop=True)
        return LensSystems(rows, {name: values[index] for name, values in self.clumps.items()})

    def replaced(self, rows: NDArray[np.int64], other: LensSystems) -> LensSystems:
        """These systems with ``other`` in place of ``rows``."""
        source = np.arange(len(self.table))
        source[rows] = len(self.table) + np.arange(len(rows))
        table = pd.concat([self.table, other.table], ignore_index=True)
        joined = {name: np.concatenate([self.clumps[name], other.clumps[name]]) for name in self.clumps}
        return LensSystems(table, joined).take(source)

    def models(self) -> tuple[LensModel, SourceModel]:
        """Deflectors and sources in the terms of skytrace.lensing."""
        from skytrace.lensing import Clumps, LensModel, SourceModel

        t = {name: self.table[name].to_numpy() for name in self.table.columns}
        lenses = LensModel(t["theta_e_arcsec"], t["lens_q"], t["lens_phi_rad"], gamma1=t["gamma1"], gamma2=t["gamma2"])
        flux = np.stack([t[f"source_flux_{band}"] for band in BANDS], axis=-1)
        shape = (t[f"source_{name}"] for name in ("x_arcsec", "y_arcsec", "radius_arcsec", "sersic", "q", "phi_rad"))
        return lenses, SourceModel(flux, *shape, clumps=Clumps(**self.clumps))

    def render(self, psf: MoffatPsf) -> NDArray[np.float32]:
        """Lensed light (n, band, LENS_PIXELS, LENS_PIXELS) [nanomaggies]."""
        from skytrace.lensing import render_lenses

        return render_lenses(*self.models(), psf, pixels=LENS_PIXELS)


def _comoving_mpc(redshift: NDArray[np.float64]) -> NDArray[np.float64]:
    grid = np.linspace(0.0, 8.0, 4001)
    inverse_hubble = 1.0 / np.sqrt(_OMEGA_M * (1.0 + grid) ** 3 + 1.0 - _OMEGA_M)
    step = 0.5 * (inverse_hubble[1:] + inverse_hubble[:-1]) * (grid[1] - grid[0])
    return np.interp(redshift, grid, _HUBBLE_DISTANCE_MPC * np.append(0.0, np.cumsum(step)))


def einstein_radius_arcsec(
    sigma_km_s: NDArray[np.float64], z_lens: NDArray[np.float64], z_source: NDArray[np.float64]
) -> NDArray[np.float64]:
    """theta_E = 4 pi (sigma / c)^2 D_ls / D_s of an isothermal sphere [arcsec]; 0 for z_source <= z_lens."""
    ratio = np.maximum(1.0 - _comoving_mpc(z_lens) / _comoving_mpc(z_source), 0.0)
    return 4.0 * np.pi * (sigma_km_s / 299792.458) ** 2 * ratio * _ARCSEC


def _draw_deflectors(
    hosts: pd.DataFrame, group_share: float, rng: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    n = len(hosts)
    z_lens = hosts["redshift"].to_numpy()
    distance_modulus = 5.0 * np.log10(_comoving_mpc(z_lens) * (1.0 + z_lens)) + 25.0
    absolute = hosts["mag_z"].to_numpy() - distance_modulus - 0.6 * z_lens  # a rough K correction of the z band
    sigma = 215.0 * 10.0 ** (-0.1 * (absolute + 22.9)) * np.exp(0.12 * rng.standard_normal(n))
    z_source = np.maximum(z_lens + 0.25, rng.gamma(6.0, 0.32, n))
    theta_e = einstein_radius_arcsec(sigma, z_lens, z_source)
    group = rng.random(n) < group_share  # a group's halo adds to the galaxy's
    theta_e = np.clip(theta_e * np.where(group, rng.uniform(1.2, 2.4, n), 1.0), 0.35, _LARGEST_ARCSEC)
    q = np.clip(1.0 - (1.0 - hosts["q"].to_numpy()) * rng.uniform(0.6, 1.3, n), 0.45, 0.98)
    gamma, angle = np.abs(rng.normal(0.0, 0.055, n)).clip(0, 0.2), rng.uniform(0.0, np.pi, n)
    return {
        "theta_e_arcsec": theta_e, "lens_q": q,
        "lens_phi_rad": np.mod(hosts["phi"].to_numpy() + np.radians(12.0) * rng.standard_normal(n), np.pi),
        "gamma1": gamma * np.cos(2 * angle), "gamma2": gamma * np.sin(2 * angle),
        "z_lens": z_lens, "z_source": z_source,
    }  # fmt: skip


def _draw_systems(
    hosts: pd.DataFrame, ebv: NDArray[np.float64], group_share: float, rng: np.random.Generator
) -> LensSystems:
    """One candidate system on every host; ``rng`` belongs to the round."""
    from skytrace.lensing import LensModel, sample_source_positions

    n = len(hosts)
    t = _draw_deflectors(hosts, group_share, rng)
    # counts flatten from 0.55 to 0.20 per magnitude at r = 24.3
    bright = rng.random(n) < 0.70
    u = rng.random(n)
    mag_r = np.where(bright, 24.3 + np.log10(0.03 + 0.97 * u) / 0.55, 24.3 + np.log10(1 + u * (10**0.44 - 1)) / 0.20)
    z = t["z_source"]
    g_r = np.clip(0.45 - 0.12 * (z - 1.5) + 0.24 * rng.standard_normal(n), -0.3, 1.6)
    r_z = np.clip(0.45 - 0.20 * (z - 1.5) + 0.26 * rng.standard_normal(n), -0.4, 1.6)
    for band, mag in zip(BANDS, (mag_r + g_r, mag_r, mag_r - r_z), strict=True):
        t[f"source_flux_{band}"] = flux_nmgy(mag + EXTINCTION_PER_EBV[band] * ebv)
    deflector = LensModel(t["theta_e_arcsec"], t["lens_q"], t["lens_phi_rad"], gamma1=t["gamma1"], gamma2=t["gamma2"])
    t["source_x_arcsec"], t["source_y_arcsec"] = sample_source_positions(deflector, uniforms=rng.random((n, 2)))
    radius = 0.27 * 10.0 ** (-0.08 * (mag_r - 24.0) + 0.18 * rng.standard_normal(n))
    t["source_radius_arcsec"] = np.clip(radius, 0.06, 0.9)
    t["source_sersic"] = np.clip(rng.lognormal(np.log(1.05), 0.35, n), 0.5, 3.5)
    t["source_q"] = np.clip(rng.beta(3.0, 2.2, n), 0.25, 0.98)
    t["source_phi_rad"] = rng.uniform(0.0, np.pi, n)
    t["source_mag_r"] = mag_r
    clumpy = rng.random(n) < 0.45
    share = np.where(clumpy, rng.uniform(0.15, 0.6, n), 0.0)[:, None] * rng.dirichlet(np.full(_N_CLUMPS, 0.9), n)
    size = t["source_radius_arcsec"][:, None]
    distance, angle = size * rng.gamma(2.0, 0.5, (n, _N_CLUMPS)), rng.uniform(0, 2 * np.pi, (n, _N_CLUMPS))
    clumps = {
        "flux_fraction": share, "dx_arcsec": distance * np.cos(angle), "dy_arcsec": distance * np.sin(angle),
        "sigma_arcsec": np.clip(size * rng.uniform(0.08, 0.25, (n, _N_CLUMPS)), 0.015, None),
    }  # fmt: skip
    return LensSystems(pd.DataFrame(t), clumps)


def find_lenses(
    hosts: pd.DataFrame, sky: pd.DataFrame, psf: MoffatPsf, *, options: MockSurveyOptions, seed: tuple[int, ...]
) -> LensSystems:
    """A discovered system for every host: candidates are drawn round by round until one has been found.

    The chance of discovery is a logistic in log10 of the S/N of all bands together, times one in theta_E / FWHM(r),
    because an arc inside the seeing disk of a bright galaxy is not seen, times one in the source's offset over theta_E,
    because an image without an arc or a counter-image beside it looks like any neighbour. theta_E > 3.9" is left to
    cluster searches. A host still without a lens after several rounds is more and more likely to sit in a group, whose
    halo widens theta_E; the few that wait to the end keep the likeliest candidate they had, as lenses found by other
    means (spectra) are in catalogues too.
    """
    sigma = np.stack([sky_sigma_nmgy(sky[f"psfdepth_{b}"], sky[f"psfsize_{b}"]) for b in BANDS], axis=-1)
    ebv = sky["ebv"].to_numpy()
    waiting = np.arange(len(hosts))
    best = _draw_systems(hosts, ebv, 0.0, np.random.default_rng([*seed, _MAX_ROUNDS]))
    best.table["arc_snr"], best.table["rounds"] = 0.0, 0
    likeliest = np.full(len(hosts), -1.0)
    for attempt in range(_MAX_ROUNDS):
        rng = np.random.default_rng([*seed, attempt])
        group_share = min(_GROUP_SHARE + 0.05 * max(attempt - 4, 0), 1.0)
        candidates = _draw_systems(hosts.iloc[waiting], ebv[waiting], group_share, rng)
        luck = rng.random(len(waiting))
        snr, chance = _discovery(candidates, psf.take(waiting), sigma[waiting], luck, options)
        candidates.table["arc_snr"], candidates.table["rounds"] = snr, attempt + 1
        seen = luck < chance
        better = seen | (chance > likeliest[waiting])
        likeliest[waiting] = np.maximum(likeliest[waiting], chance)
        best = best.replaced(waiting[better], candidates.take(np.flatnonzero(better)))
        waiting = waiting[~seen]
        if len(waiting) == 0:
            break
    return best


def _discovery(
    candidates: LensSystems,
    psf: MoffatPsf,
    sigma_pix: NDArray[np.float64],
    luck: NDArray[np.float64],
    options: MockSurveyOptions,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Arc S/N of all bands together and the chance of discovery, each (n,).

    Candidates that their geometry alone keeps from being found with this ``luck`` are not rendered: S/N and chance 0.
    """
    table = candidates.table
    theta_e = table["theta_e_arcsec"].to_numpy()
    offset = np.hypot(table["source_x_arcsec"].to_numpy(), table["source_y_arcsec"].to_numpy()) / theta_e
    chance = expit((theta_e / psf.fwhm_arcsec[:, 1] - 0.9) / 0.12) * expit((0.75 - offset) / 0.08)
    chance = np.where(theta_e < _LARGEST_ARCSEC, chance, 0.0)
    able = np.flatnonzero(luck < chance)
    seen_through = psf.take(able)
    arcs = candidates.take(able).render(seen_through)
    snr = np.zeros(len(theta_e))
    by_band = arc_annulus_snr(arcs, theta_e[able], seen_through.fwhm_arcsec, sigma_pix[able]).integrated
    snr[able] = np.sqrt((by_band**2).sum(axis=1))
    brightness = np.log10(snr + 1e-9) - np.log10(options.arc_snr_half + 1e-9)
    return snr, np.where(luck < chance, chance, 0.0) * expit(brightness / options.arc_snr_width_dex)


def lens_table(galaxies: pd.DataFrame, systems: LensSystems, *, rng: np.random.Generator) -> pd.DataFrame:
    """LENS_COLUMNS of the discovered lenses, rows as in ``galaxies``.

    Brighter arcs get better grades: by S/N with 0.15 dex of human scatter, a quarter are confirmed, 35 % A, the rest B.
    Only confirmed systems have a published theta_E (2 % error). 15 % of confirmed and A are anchors.
    """
    n = len(galaxies)
    score = np.log10(systems.table["arc_snr"].to_numpy() + 1e-9) + 0.15 * rng.standard_normal(n)
    rank = np.argsort(np.argsort(-score, kind="stable"), kind="stable") / max(n, 1)
    tier = np.select([rank < 0.25, rank < 0.60], ["confirmed", "A"], "B")
    theta_e = systems.table["theta_e_arcsec"].to_numpy() * (1.0 + 0.02 * rng.standard_normal(n))
    columns: dict[str, Any] = {
        "lens_id": [f"lens-{i:05d}" for i in range(n)],
        "galaxy_id": galaxies["galaxy_id"].to_numpy(),
        "ra": galaxies["ra"].to_numpy(),
        "dec": galaxies["dec"].to_numpy(),
        "tier": tier,
        "theta_e_arcsec": np.where(tier == "confirmed", theta_e, np.nan),
        "is_anchor": (tier != "B") & (rng.random(n) < 0.15),
    }
    return pd.DataFrame(columns)
