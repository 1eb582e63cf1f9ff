"""The built-in supernovae: a flat LambdaCDM sky of known truth, seen with the cadence, bands and errors of DES.

Each SN has a random stream of its own (``statistics.streams``), so any part of the survey can be made alone. Light
curves are the model of ``skytrace.supernovae.model_flux_jy`` plus noise: epochs before explosion and negative fluxes
are there. What it leaves out: dust of the Milky Way and of hosts, selection by brightness, and correlated errors.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.statistics.streams import normal_quantile, stream_uniforms
from skytrace.supernovae.light_curve_model import alpha_from_mu, model_flux_jy
from skytrace.surveys.supernovae.interface import TRUTH_COLUMNS, hubble_table, objects_table
from skytrace.surveys.supernovae.options import MockSupernovaOptions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MockSupernovae", "simulate_light_curves", "simulate_truth"]

H0_KM_S_MPC = 70.0
_LIGHT_KM_S = 299_792.458
_SURVEY = "SIM"
_BANDS = ("g", "r", "i", "z")
_WAVELENGTH_NM = np.array([480.94, 642.04, 781.60, 917.11])  # DECam pivots
# Errors of the sky in a shallow field [microJy], and their spread in ln: with 22 % of the SNe in deep fields the
# percentiles 5/50/95 of all errors are those of the 251 SNe of DES-SN3YR, 0.08/0.27/0.73 microJy.
_SKY_ERR_UJY = np.array([0.253, 0.300, 0.357, 0.431])
_NIGHT_SPREAD, _VISIT_SPREAD = 0.46, 0.20
_DEEP_FRACTION, _DEEP_FACTOR, _DEEP_REACH = 0.22, 0.37, 0.25
_POISSON_UJY = 5e-4  # variance of the source's photons per flux: S/N 270 at 20 mag AB
_FIRST_NIGHT_MJD, _N_SEASONS = 56_530.0, 5
_LOW_Z = (0.03, 0.10)
_CHUNK = 20_000
# channels of a SN's stream, and the seeds' offsets of streams that belong to visits
_Z, _LOW, _SEASON, _T0, _A, _BETA, _KIND, _SCATTER, _SHIFT, _DEEP, _VELOCITY, _MU, _MU_ERR, _TYPE, _CHI2 = range(15)
_FIRST_OF_VISITS = 64
_MIRRORED = [_A, _BETA, _SCATTER]  # channels of which the second of a mirrored pair has 1 - u


class MockSupernovae:
    """A SupernovaSurvey of ``options.n_supernovae``, computed when asked for."""

    name = "mock_supernovae"
    #: What a reader of results must know about this sky.
    note = "simulated supernovae of known truth: they show that the machinery measures what it should, and no cosmology"

    def __init__(self, options: MockSupernovaOptions | None = None) -> None:
        self.options = options or MockSupernovaOptions()
        self.files_read: set[Path] = set()

    def light_curves(self) -> pd.DataFrame:
        """Observations, LIGHT_CURVE_COLUMNS."""
        return simulate_light_curves(self._simulated(), options=self.options)

    def objects(self) -> pd.DataFrame:
        """One row a SN, OBJECT_COLUMNS. The Sun is at rest here: z_hel = z_cmb = z_hd, peculiar velocity included."""
        simulated = self._simulated()
        table = simulated[["snid"]].assign(survey=_SURVEY, z_hel=simulated["z_hel"], mwebv=0.0)
        return objects_table(table, source=self.name)

    def hubble_tables(self) -> dict[str, pd.DataFrame]:
        """``simulated``: the truth with the stated noise, as another pipeline might have published it."""
        simulated, options = self._simulated(), self.options
        u = _uniforms(simulated["number"].to_numpy(), options)
        error = options.hubble_error_mag * (1.0 + simulated["z_hel"]) * np.exp(0.2 * normal_quantile(u[:, _MU_ERR]))
        table = pd.DataFrame(
            {
                "snid": simulated["snid"],
                "survey": _SURVEY,
                "z_hd": simulated["z_hel"],
                "z_hel": simulated["z_hel"],
                "mu_mag": simulated["mu_mag"] + error * normal_quantile(u[:, _MU]),
                "mu_err_mag": error,
                "prob_ia": _prob_ia(simulated["kind"].to_numpy() == "non_ia", u[:, _TYPE], options),
            }
        )
        return {"simulated": hubble_table(table)}

    def truth(self) -> pd.DataFrame:
        """TRUTH_COLUMNS, one row a SN."""
        return self._simulated()[list(TRUTH_COLUMNS)].copy()

    def resimulated(self, *, n_supernovae: int, seed: int, omega_m: float) -> MockSupernovae:
        """Mirrored pairs of other SNe under the nights of this survey, none of them an outlier."""
        options = self.options
        nights = options.seed if options.sky_seed is None else options.sky_seed
        made = replace(
            options, n_supernovae=n_supernovae, seed=seed, sky_seed=nights, mirrored=True, omega_m=omega_m,
            non_ia_fraction=0.0, brightened_fraction=0.0,
        )  # fmt: skip
        return MockSupernovae(made)

    def _simulated(self) -> pd.DataFrame:
        return _cached_truth(self.options)


def simulate_truth(numbers: NDArray[np.int64], *, options: MockSupernovaOptions) -> pd.DataFrame:
    """What SNe ``numbers`` (n,) are: TRUTH_COLUMNS with number, z_hel, season and deep (its field)."""
    u = _uniforms(numbers, options)
    mirrored = _is_mirrored(numbers, options)[:, None]
    u[:, _MIRRORED] = np.where(mirrored, 1.0 - u[:, _MIRRORED], u[:, _MIRRORED])
    kind = np.select(
        [u[:, _KIND] < options.non_ia_fraction, u[:, _KIND] > 1.0 - options.brightened_fraction],
        ["non_ia", "brightened"], default="ia",
    )  # fmt: skip
    low = _LOW_Z[0] ** 3 + u[:, _Z] * (_LOW_Z[1] ** 3 - _LOW_Z[0] ** 3)
    deep = u[:, _DEEP] < _DEEP_FRACTION
    found = np.where(deep, _redshift(u[:, _Z], options, reach=_DEEP_REACH), _redshift(u[:, _Z], options))
    z_cosmo = np.where(u[:, _LOW] < options.low_z_fraction, np.cbrt(low), found)
    doppler = 1.0 + options.peculiar_velocity_kms / _LIGHT_KM_S * normal_quantile(u[:, _VELOCITY])
    z_hel = (1.0 + z_cosmo) * doppler - 1.0
    scatter = options.sigma_int_mag * _deviate(u[:, _SCATTER], options.scatter_nu)
    faint = options.non_ia_faint_mag + options.non_ia_sd_mag * normal_quantile(u[:, _SHIFT])
    magnified = -2.5 * np.log10(options.brightened_min / np.sqrt(u[:, _SHIFT]))
    shift = np.select([kind == "non_ia", kind == "brightened"], [faint, magnified], default=0.0)
    mu_cosmo = _distance_modulus_mag(z_cosmo, z_hel, options.omega_m)
    season = np.floor(u[:, _SEASON] * _N_SEASONS)
    # the peak comes 19 rest-frame days after the explosion: a few SNe are past it when the season begins
    since = u[:, _T0] * options.season_days - 22.0 * (1.0 + z_hel)
    mu = mu_cosmo + scatter + shift
    return pd.DataFrame(
        {
            "number": numbers, "snid": [f"sim-{number:07d}" for number in numbers], "kind": kind, "z_cosmo": z_cosmo,
            "z_hel": z_hel, "t0_mjd": _season_start(season) + since,
            "a_plasma": options.a_plasma_sd * normal_quantile(0.5 + 0.5 * u[:, _A]),
            "beta": np.clip(options.beta_mean + options.beta_sd * normal_quantile(u[:, _BETA]), 0.0, 4.0),
            "alpha": alpha_from_mu(mu), "mu_mag": mu, "mu_cosmo_mag": mu_cosmo, "scatter_mag": scatter,
            "shift_mag": shift, "season": season.astype(np.int64), "deep": deep,
        }
    )  # fmt: skip


def simulate_light_curves(simulated: pd.DataFrame, *, options: MockSupernovaOptions) -> pd.DataFrame:
    """Observations of the SNe of ``simulate_truth``, LIGHT_CURVE_COLUMNS, in order of SN and MJD."""
    parts = [_observe(simulated.iloc[start : start + _CHUNK], options) for start in range(0, len(simulated), _CHUNK)]
    return pd.concat(parts, ignore_index=True)


def _observe(simulated: pd.DataFrame, options: MockSupernovaOptions) -> pd.DataFrame:
    """One chunk of SNe; arrays are (SN, night, band)."""
    n, n_bands = len(simulated), len(_BANDS)
    nights = int(options.season_days // options.cadence_days) + 1
    visits = nights * n_bands
    number = simulated["number"].to_numpy()
    u = stream_uniforms(
        _stream(number, options), 4 * visits, seed=options.seed, first_channel=_FIRST_OF_VISITS
    ).reshape(n, 4, nights, n_bands)
    mirrored = _is_mirrored(number, options)[:, None, None, None]
    u[:, 1:3] = np.where(mirrored, 1.0 - u[:, 1:3], u[:, 1:3])
    season = simulated["season"].to_numpy()
    shared = _nights(nights, options)[season]  # (SN, 3, night, band): weather and timing are the survey's, not the SN's
    start = _season_start(season)[:, None, None]
    mjd = start + options.cadence_days * (np.arange(nights)[:, None] + 0.6 * shared[:, 0]) + 0.01 * np.arange(n_bands)
    names = ("z_hel", "t0_mjd", "a_plasma", "beta", "alpha")
    parameters = [simulated[name].to_numpy()[:, None, None] for name in names]
    flux = 1e6 * model_flux_jy(mjd, _WAVELENGTH_NM, *parameters, options=options.model)
    spread = _NIGHT_SPREAD * normal_quantile(shared[:, 1]) + _VISIT_SPREAD * normal_quantile(u[:, 0])
    depth = np.where(simulated["deep"].to_numpy(), _DEEP_FACTOR, 1.0)[:, None, None]
    sky = options.error_scale * depth * _SKY_ERR_UJY * np.exp(spread)
    error = np.sqrt(sky**2 + _POISSON_UJY * flux)
    seen = flux * (1.0 + options.relative_scatter * normal_quantile(u[:, 1])) + error * normal_quantile(u[:, 2])
    # half of the losses are whole nights, the others single visits
    kept = (shared[:, 2, :, :1] > options.loss / 2) & (u[:, 3] > options.loss / 2)
    sn, _, band = np.nonzero(kept)
    return pd.DataFrame(
        {
            "snid": simulated["snid"].to_numpy()[sn], "mjd": mjd[kept], "flux_jy": 1e-6 * seen[kept],
            "flux_err_jy": 1e-6 * error[kept], "wavelength_nm": _WAVELENGTH_NM[band],
            "band": np.array(_BANDS)[band], "z_hel": simulated["z_hel"].to_numpy()[sn], "survey": _SURVEY,
        }
    ).astype({"snid": "str", "band": "str", "survey": "str"})  # fmt: skip


def _nights(nights: int, options: MockSupernovaOptions) -> NDArray[np.float64]:
    """Uniforms (season, 3, night, band) that all SNe of a season share: time within the slot, transparency, loss."""
    ids = np.arange(_N_SEASONS) + 1_000_000_007  # numbers that no SN has
    u = stream_uniforms(
        ids, 3 * nights * len(_BANDS), seed=options.seed if options.sky_seed is None else options.sky_seed
    )
    u = u.reshape(_N_SEASONS, 3, nights, len(_BANDS))
    u[:, 0] = u[:, 0, :, :1]  # the four bands of a night follow each other
    return u


def _season_start(season: NDArray[np.float64]) -> NDArray[np.float64]:
    return _FIRST_NIGHT_MJD + 365.25 * np.asarray(season, dtype=np.float64)


def _uniforms(numbers: NDArray[np.int64], options: MockSupernovaOptions) -> NDArray[np.float64]:
    return stream_uniforms(_stream(numbers, options), _CHI2 + 1, seed=options.seed)


def _stream(numbers: NDArray[np.int64], options: MockSupernovaOptions) -> NDArray[np.int64]:
    return numbers // 2 if options.mirrored else numbers


def _is_mirrored(numbers: NDArray[np.int64], options: MockSupernovaOptions) -> NDArray[np.bool_]:
    return (numbers % 2 == 1) & options.mirrored


def _deviate(u: NDArray[np.float64], nu: float | None) -> NDArray[np.float64]:
    if nu is None:
        return normal_quantile(u)
    from scipy.stats import t

    return t.ppf(u, nu)


def _redshift(u: NDArray[np.float64], options: MockSupernovaOptions, *, reach: float = 0.0) -> NDArray[np.float64]:
    """Redshifts of uniforms: comoving volume, rate and time dilation, times the logistic of what is found."""
    from scipy.special import expit

    z = np.linspace(_LOW_Z[0], 2.5, 5000)
    expansion = np.sqrt(options.omega_m * (1 + z) ** 3 + 1 - options.omega_m)
    volume = _comoving_mpc(z, options.omega_m) ** 2 / expansion
    density = volume * (1 + z) ** 0.7 * expit((options.z_half + reach - z) / options.z_half_width)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    return np.interp(u * cumulative[-1], cumulative, z)


def _comoving_mpc(z: NDArray[np.float64], omega_m: float) -> NDArray[np.float64]:
    from astropy.cosmology import FlatLambdaCDM

    return FlatLambdaCDM(H0=H0_KM_S_MPC, Om0=omega_m, Tcmb0=0.0).comoving_distance(z).value


def _distance_modulus_mag(
    z_cosmo: NDArray[np.float64], z_hel: NDArray[np.float64], omega_m: float
) -> NDArray[np.float64]:
    """mu of D_L = (1 + z_hel) D_M(z_cosmo): light is shifted by what we see, distance is of the expansion."""
    return 5.0 * np.log10((1.0 + z_hel) * _comoving_mpc(z_cosmo, omega_m)) + 25.0


def _prob_ia(other: NDArray[np.bool_], u: NDArray[np.float64], options: MockSupernovaOptions) -> NDArray[np.float64]:
    """Posterior of being an Ia from a score that is N(+-d/2, 1): calibrated by construction."""
    from scipy.special import expit, logit

    if options.non_ia_fraction == 0.0:
        return np.ones(len(u))
    d = options.type_separation
    score = np.where(other, -0.5 * d, 0.5 * d) + normal_quantile(u)
    return expit(logit(1.0 - options.non_ia_fraction) + d * score)


@lru_cache(maxsize=4)
def _cached_truth(options: MockSupernovaOptions) -> pd.DataFrame:
    return simulate_truth(np.arange(options.n_supernovae, dtype=np.int64), options=options)
