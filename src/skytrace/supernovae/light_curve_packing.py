"""Light curves as the compiled fit takes them: checked, sorted, one supernova after another without padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError
from skytrace.supernovae.fit_options import LOSSES, FitOptions
from skytrace.supernovae.light_curves import LIGHT_CURVE_COLUMNS
from skytrace.supernovae.opacity import FDR_FLUX_CGS_PER_NM, LIGHT_JY_NM
from skytrace.supernovae.spectral_energy import C2_NM_K, SpectralSeries, blackbody_scale_jy, spectral_series

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PackedLightCurves", "pack_light_curves"]

_ALPHA_BOUNDS = (-60.0, -10.0)
_BEFORE_FIRST_DAYS = 60.0  # rest frame: how long before its first observation a supernova may have exploded


@dataclass(frozen=True, eq=False)
class PackedLightCurves:
    """What the kernel takes: ``observations`` (8 m,), one supernova after another; see ``observations_of``.

    supernovae: one row each (snid, survey, z_hel, n_obs, n_used, n_bands), by snid. stretch (n,) = 1 + z. low, high
    (n, 4): bounds of the parameters. constants, phase, series, slope: of the model, the last three None but for a
    spectral series. rows: of the input table, in the order of ``observations``.
    """

    supernovae: pd.DataFrame
    observations: NDArray[np.float64]
    offsets: NDArray[np.int64]
    stretch: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    constants: NDArray[np.float64]
    phase: NDArray[np.float64] | None
    series: NDArray[np.float64] | None
    slope: NDArray[np.float64] | None
    rows: NDArray[np.int64]

    def observations_of(self, i: int) -> NDArray[np.float64]:
        """(8, m), the kernel's OBSERVATION of supernova i."""
        return self.observations[8 * self.offsets[i] : 8 * self.offsets[i + 1]].reshape(8, -1)

    @property
    def model(self) -> tuple[NDArray[np.float64] | None, ...]:
        """The arguments of every kernel that describe the model."""
        return self.constants, self.phase, self.series, self.slope


def pack_light_curves(
    table: pd.DataFrame, *, options: FitOptions | None = None, series: SpectralSeries | None = None
) -> PackedLightCurves:
    """``table`` as the kernel takes it; raises what ``fit_light_curves`` does."""
    options = options or FitOptions()
    _check(table)
    snid, names = pd.factorize(table["snid"].astype(str), sort=True)
    columns = {
        name: table[name].to_numpy(dtype=np.float64)
        for name in ("mjd", "flux_jy", "flux_err_jy", "wavelength_nm", "z_hel")
    }
    order = _sorted_rows(snid, columns)
    first = order[np.searchsorted(snid[order], np.arange(len(names)))]
    _check_constant(snid, table, first, np.asarray(names))
    stretch = 1.0 + columns["z_hel"][first]
    model = options.model
    series = (series or spectral_series(model)) if model.sed == "template" else None
    used = order[_compared(snid, columns, stretch, options, series)[order]]
    enough = np.bincount(snid[used], minlength=len(names)) >= options.min_observations
    bands = pd.factorize(table["band"])[0]
    pairs = np.unique(snid[used].astype(np.int64) * (bands.max() + 2) + bands[used] + 1) // (bands.max() + 2)
    supernovae = pd.DataFrame(
        {
            "snid": np.asarray(names), "survey": table["survey"].to_numpy()[first], "z_hel": columns["z_hel"][first],
            "n_obs": np.bincount(snid, minlength=len(names)), "n_used": np.bincount(snid[used], minlength=len(names)),
            "n_bands": np.bincount(pairs, minlength=len(names)),
        }
    )  # fmt: skip
    used = used[enough[snid[used]]]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(snid[used], minlength=len(names)))]).astype(np.int64)
    low, high = _bounds(columns["mjd"][used], offsets, stretch, options)
    phase, grid, slope = _grids(series)
    return PackedLightCurves(
        supernovae,
        _observations(
            {name: values[used] for name, values in columns.items()}, offsets, stretch[snid[used]], options, series
        ),
        offsets, stretch, low, high, _constants(options, series), phase, grid, slope, used,
    )  # fmt: skip


def _sorted_rows(snid: NDArray[np.int64], columns: dict[str, NDArray[np.float64]]) -> NDArray[np.int64]:
    """Rows by supernova, wavelength and epoch; those that tie by flux and error, so that no order of input matters."""
    keys = [columns["mjd"], columns["wavelength_nm"], snid]
    order = np.lexsort(keys)
    if np.logical_and.reduce([np.diff(key[order]) == 0 for key in keys]).any():
        order = np.lexsort([columns["flux_err_jy"], columns["flux_jy"], *keys])
    return order


def _check(table: pd.DataFrame) -> None:
    """Raise CatalogueError unless the table can be fitted; the message names the first rows of each problem."""
    missing = [name for name in LIGHT_CURVE_COLUMNS if name not in table.columns]
    if missing:
        raise CatalogueError(f"the light curves have no column {', '.join(missing)}")
    if table.empty:
        raise CatalogueError("the table of light curves is empty")
    problems = []
    for name, positive in {
        "mjd": False, "flux_jy": False, "flux_err_jy": True, "wavelength_nm": True, "z_hel": False
    }.items():  # fmt: skip
        try:
            values = table[name].to_numpy(dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise CatalogueError(f"{name} of the light curves is not a column of numbers: {error}") from error
        for wrong, what in (
            (~np.isfinite(values), "not finite"),
            (np.isfinite(values) & (values <= 0.0) & positive, "not positive"),
            ((values <= -1.0) & (name == "z_hel"), "-1 or less"),
        ):
            if wrong.any():
                where = ", ".join(f"{table.index[i]} ({table['snid'].iloc[i]})" for i in np.flatnonzero(wrong)[:5])
                more = ", ..." if wrong.sum() > 5 else ""
                problems.append(f"{name} is {what} in {wrong.sum()} rows: {where}{more}")
    if table["snid"].isna().any():
        problems.append(f"snid is missing in {table['snid'].isna().sum()} rows")
    if problems:
        raise CatalogueError("the light curves cannot be fitted; reject these rows first. " + "; ".join(problems))


def _check_constant(
    snid: NDArray[np.int64], table: pd.DataFrame, first: NDArray[np.int64], names: NDArray[np.object_]
) -> None:
    """Raise CatalogueError where the rows of one supernova differ in redshift or survey."""
    for name in ("z_hel", "survey"):
        values = pd.factorize(table[name])[0]
        other = values != values[first][snid]
        if other.any():
            which = ", ".join(names[np.unique(snid[other])[:5]])
            raise CatalogueError(f"supernovae with more than one {name}: {which}; a fit needs one")


def _compared(
    snid: NDArray[np.int64],
    columns: dict[str, NDArray[np.float64]],
    stretch: NDArray[np.float64],
    options: FitOptions,
    series: SpectralSeries | None,
) -> NDArray[np.bool_]:
    """Rows inside the windows of ``options`` and of the series."""
    rest = columns["wavelength_nm"] / stretch[snid]
    used = (rest >= options.rest_wavelength_nm[0]) & (rest <= options.rest_wavelength_nm[1])
    if series is not None:
        used &= (rest >= series.wavelength_nm[0]) & (rest <= series.wavelength_nm[-1])
    if options.phase_days[0] > -1e5 or options.phase_days[1] < 1e5:
        bright = _brightest_mjd(snid, columns, used, len(stretch))
        phase = (columns["mjd"] - bright[snid]) / stretch[snid]
        used &= (phase >= options.phase_days[0]) & (phase <= options.phase_days[1])
    return used


def _brightest_mjd(
    snid: NDArray[np.int64], columns: dict[str, NDArray[np.float64]], used: NDArray[np.bool_], n: int
) -> NDArray[np.float64]:
    """Epoch of each supernova's largest flux of 5 sigma, of its most significant one where there is none; (n,)."""
    ratio = columns["flux_jy"] / columns["flux_err_jy"]
    strong = ratio >= 5.0
    score = np.where(strong, columns["flux_jy"], ratio)
    ranked = np.lexsort([columns["mjd"], score, strong, used, snid])
    bright = np.full(n, np.nan)
    bright[snid[ranked]] = columns["mjd"][ranked]  # the last of each supernova stays
    return bright


def _observations(
    columns: dict[str, NDArray[np.float64]],
    offsets: NDArray[np.int64],
    stretch: NDArray[np.float64],
    options: FitOptions,
    series: SpectralSeries | None,
) -> NDArray[np.float64]:
    """The kernel's observations: of one supernova after another, each in the order of OBSERVATION."""
    model = options.model
    rest = columns["wavelength_nm"] / stretch
    sigma = np.hypot(columns["flux_err_jy"], options.relative_error_floor * columns["flux_jy"])
    position = np.zeros_like(rest)
    if series is not None:
        step = series.wavelength_nm[1] - series.wavelength_nm[0]
        position = np.minimum((rest - series.wavelength_nm[0]) / step, len(series.wavelength_nm) - 1.000001)
    fdr = (model.xi * model.eta_prime) ** 2 * LIGHT_JY_NM / columns["wavelength_nm"] ** 2 / FDR_FLUX_CGS_PER_NM
    values = (
        columns["mjd"], columns["flux_jy"], 1.0 / sigma, stretch * blackbody_scale_jy(model) / rest**3,
        C2_NM_K / rest, np.log(model.plasma_pivot_nm / rest), fdr, position,
    )  # fmt: skip
    counts = np.diff(offsets)
    length = np.repeat(counts, counts)
    place = 7 * np.repeat(offsets[:-1], counts) + np.arange(offsets[-1])
    packed = np.empty(8 * offsets[-1])
    for k, column in enumerate(values):
        packed[place + k * length] = column
    return packed


def _bounds(
    mjd: NDArray[np.float64], offsets: NDArray[np.int64], stretch: NDArray[np.float64], options: FitOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds of the parameters (n, 4): the explosion is before the last observation, not long before the first."""
    counts = np.diff(offsets)
    owner = np.repeat(np.arange(len(stretch)), counts)
    first, last = np.full(len(stretch), np.inf), np.full(len(stretch), -np.inf)
    np.minimum.at(first, owner, mjd)
    np.maximum.at(last, owner, mjd)
    low = np.stack([first - _BEFORE_FIRST_DAYS * stretch, *np.zeros((2, len(stretch))), 0 * stretch], axis=1)
    high = np.stack([last, *np.zeros((3, len(stretch)))], axis=1)
    low[:, 3], high[:, 3] = _ALPHA_BOUNDS
    high[:, 1], high[:, 2] = options.a_plasma_max, options.beta_max
    return low, high


def _constants(options: FitOptions, series: SpectralSeries | None) -> NDArray[np.float64]:
    """What all supernovae share, in the order of the kernel's CONSTANTS."""
    model, prior = options.model, float(options.estimator == "map")
    scale = {"gaussian": 1.0, "soft_l1": options.soft_l1_scale, "student_t": options.student_t_nu}[options.loss]
    peak = model.rise_days
    if series is not None:
        peak = float(series.phase_days[np.argmax(series.flux(series.phase_days, model.plasma_pivot_nm))])
    return np.array(
        [
            float(series is not None), model.rise_days, model.rise_power, model.join_sharpness, model.decline_days,
            model.temperature_floor_k, model.temperature_drop_k, model.cooling_days, model.plasma_days,
            LOSSES.index(options.loss), scale, prior / options.a_prior_sd**2,
            options.beta_prior_mean, prior / options.beta_prior_sd**2, peak, float(model.xi * model.eta_prime > 0.0),
        ]
    )  # fmt: skip


def _grids(
    series: SpectralSeries | None,
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Phases, fluxes and slopes of the series; None without one, so that the kernel is compiled without its code."""
    if series is None:
        return None, None, None
    return series.phase_days, series.flux_jy, series.slope_jy
