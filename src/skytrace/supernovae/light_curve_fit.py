"""One fit per supernova, all at once: t0, A, beta and alpha with the errors of the four-parameter problem.

A table of light curves becomes rows packed one supernova after another (no padding); the compiled kernel fits each on
its own, so that the result does not depend on the order of the rows, the chunks or the number of threads. Every
supernova of the table has a row in the result: where it could not be fitted its parameters are NaN and its flags say
why.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.supernovae.cosmology import ALPHA_PER_MAG
from skytrace.supernovae.fit_options import FitOptions
from skytrace.supernovae.light_curve_model import mu_from_alpha
from skytrace.supernovae.light_curve_packing import PackedLightCurves, pack_light_curves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.supernovae.spectral_energy import SpectralSeries

__all__ = ["PARAMETERS", "fit_light_curves", "fit_packed"]

#: The parameters of the fit; covariance columns are cov_<i>_<j> of their places, i <= j.
PARAMETERS = ("t0", "a_plasma", "beta", "alpha")
_RANK_TOLERANCE = 1e-8  # of the eigenvalues of the Fisher matrix scaled to a unit diagonal
_LARGEST_SHIFT = 0.25  # of alpha's mean from its mode, in sigmas, without a flag
_FAR_BELOW = -50.0
_CHUNK = 128


def fit_light_curves(
    table: pd.DataFrame, *, options: FitOptions | None = None, series: SpectralSeries | None = None
) -> pd.DataFrame:
    """Fit every supernova of ``table`` (columns LIGHT_CURVE_COLUMNS, one row an observation, in any order).

    Returns one row a supernova, by snid: snid, survey, z_hel, n_obs, n_used (compared with the model), n_bands, the
    PARAMETERS (best fit) with <name>_err, mu_mag, mu_err_mag, alpha_mean, alpha_mean_err, mu_mean_mag,
    mu_mean_err_mag, cov_<i>_<j>, corr_alpha_a, fisher_condition, posterior_condition, rank, chi2, ndof, objective
    (-2 ln posterior up to a constant), skew, kurtosis (of the residuals in sigmas), n_iterations, at_bound_<name>,
    converged, and flags: reasons joined by ';', '' for none.
    alpha_mean is alpha's posterior mean: where A is poorly known the mode is biased towards A = 0, the mean is not.
    Errors are of the curvature of the posterior (of the likelihood for ``mle``) in all four parameters; NaN where it
    is singular. fisher_condition and rank are of the data alone, scaled to a unit diagonal.
    Raises CatalogueError where a column is missing, the table is empty, a value is not finite, an error is not
    positive, or a supernova has two redshifts or surveys.
    """
    options = options or FitOptions()
    return fit_packed(pack_light_curves(table, options=options, series=series), options=options)


def fit_packed(packed: PackedLightCurves, *, options: FitOptions) -> pd.DataFrame:
    """``fit_light_curves`` of a table that ``pack_light_curves`` has packed with the same options."""
    from skytrace.supernovae import _fit_kernels as kernels

    n = len(packed.supernovae)
    theta, fisher, gradient = (np.full(shape, np.nan) for shape in ((n, 4), (n, 4, 4), (n, 4)))
    summary, status = np.full((n, 5), np.nan), np.full(n, kernels.STATUS.index("no_signal"), dtype=np.int64)
    # a supernova with too few observations is packed without any: it gives no signal
    chunks = [(first, min(first + _CHUNK, n)) for first in range(0, n, _CHUNK)]

    def fit(chunk: tuple[int, int]) -> None:
        kernels.fit_supernovae(  # type: ignore[call-arg]
            packed.observations, packed.offsets, packed.stretch, packed.low, packed.high, *packed.model,
            (options.n_starts, options.n_refined, options.max_iterations), *chunk,
            (theta, fisher, gradient, summary, status),
        )  # fmt: skip

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(options.workers or cores, len(chunks))
    if workers == 1:
        for chunk in chunks:
            fit(chunk)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(fit, chunks))
    theta[status == kernels.STATUS.index("no_signal")] = np.nan
    return _result_table(packed, theta, fisher, gradient, summary, np.asarray(kernels.STATUS)[status], options)


def _result_table(
    packed: PackedLightCurves,
    theta: NDArray[np.float64],
    fisher: NDArray[np.float64],
    gradient: NDArray[np.float64],
    summary: NDArray[np.float64],
    status: NDArray[np.str_],
    options: FitOptions,
) -> pd.DataFrame:
    """One row a supernova; see ``fit_light_curves``."""
    fitted = np.asarray(np.isfinite(theta).all(axis=1))
    precision = np.diag([0.0, packed.constants[11], packed.constants[13], 0.0])
    condition, rank = _scaled_condition(fisher)
    posterior_condition, posterior_rank = _scaled_condition(fisher + precision)
    covariance = _inverse(fisher + precision, posterior_rank == 4)
    error = np.sqrt(np.einsum("nii->ni", covariance))
    out = {str(name): column.to_numpy() for name, column in packed.supernovae.items()}
    for k, name in enumerate(PARAMETERS):
        out[name], out[f"{name}_err"] = theta[:, k], error[:, k]
    out["alpha_mean"], out["alpha_mean_err"] = _posterior_mean(theta, gradient, covariance)
    for name in ("", "_mean"):
        out[f"mu{name}_mag"] = mu_from_alpha(out[f"alpha{name}"])
        out[f"mu{name}_err_mag"] = out[f"alpha{name}_err"] / ALPHA_PER_MAG
    for i in range(4):
        for j in range(i, 4):
            out[f"cov_{i}_{j}"] = covariance[:, i, j]
    out["corr_alpha_a"] = covariance[:, 1, 3] / (error[:, 1] * error[:, 3])
    out["fisher_condition"], out["posterior_condition"], out["rank"] = condition, posterior_condition, rank
    out["chi2"], out["ndof"] = summary[:, 1], out["n_used"] - len(PARAMETERS)
    out["objective"], out["skew"], out["kurtosis"] = summary[:, 0], summary[:, 2], summary[:, 3]
    out["n_iterations"] = np.where(fitted, summary[:, 4], 0).astype(np.int64)
    for k, name in enumerate(PARAMETERS):
        out[f"at_bound_{name}"] = (theta[:, k] <= packed.low[:, k]) | (theta[:, k] >= packed.high[:, k])
    out["converged"] = status == "converged"
    table = pd.DataFrame(out, index=packed.supernovae.index)
    return table.assign(flags=_flags(table, fitted, status, options))


def _posterior_mean(
    theta: NDArray[np.float64], gradient: NDArray[np.float64], covariance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of alpha's posterior: the Gaussian of its curvature, cut off at A = 0.

    A's Gaussian is centred a Newton step from the mode: below 0 where the bound holds A. Cut at 0, its mean is
    s (u + h), its variance s^2 (1 - u h - h^2), u = centre / s, h = phi(u) / Phi(u); alpha follows A linearly.
    """
    from scipy.special import log_ndtr

    variance, sd = covariance[:, 1, 1], np.sqrt(covariance[:, 1, 1])
    u = theta[:, 1] / sd - np.where(theta[:, 1] > 0.0, 0.0, sd * gradient[:, 1])
    near = np.maximum(u, _FAR_BELOW)
    hazard = np.exp(-0.5 * near * near - 0.5 * np.log(2.0 * np.pi) - log_ndtr(near))
    # far below 0 the Gaussian's tail is an exponential: mean s / |u|, standard deviation the same
    mean = np.where(u > _FAR_BELOW, u + hazard, -1.0 / u)
    left = np.where(u > _FAR_BELOW, 1.0 - near * hazard - hazard**2, 1.0 / u**2)
    follows = covariance[:, 1, 3] / variance
    alpha = theta[:, 3] + follows * (sd * mean - theta[:, 1])
    return alpha, np.sqrt(covariance[:, 3, 3] - follows**2 * variance * (1.0 - left))


def _flags(
    table: pd.DataFrame, fitted: NDArray[np.bool_], status: NDArray[np.str_], options: FitOptions
) -> NDArray[np.object_]:
    """Reasons, joined by ';', in this order."""
    shift = ((table["alpha_mean"] - table["alpha"]).abs() / table["alpha_err"]).to_numpy()
    few = (table["n_used"] < options.min_observations).to_numpy()
    reasons = {
        "too_few_observations": few,
        "no_signal": ~fitted & ~few,
        "not_converged_iterations": status == "iterations",
        "not_converged_stalled": status == "stalled",
        **{f"at_bound_{name}": table[f"at_bound_{name}"].to_numpy() for name in PARAMETERS},
        "one_band": fitted & (table["n_bands"] == 1).to_numpy(),
        # the posterior is cut off at A = 0 so near its mode that alpha's mean lies elsewhere: use alpha_mean
        "near_bound_a_plasma": (shift >= _LARGEST_SHIFT) & ~table["at_bound_a_plasma"].to_numpy(),
        "rank_deficient": fitted & (table["rank"] < 4).to_numpy(),
    }
    flags = np.full(len(table), "", dtype=object)
    for reason, where in reasons.items():
        flags[where] += np.where(flags[where] == "", "", ";") + reason
    return flags


def _scaled_condition(matrices: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Condition number (inf where singular, NaN where not fitted) and rank, each matrix scaled to a unit diagonal."""
    diagonal = np.einsum("nii->ni", matrices)
    known = np.asarray(np.isfinite(matrices).all(axis=(1, 2)))
    scale = np.where(diagonal > 0.0, 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0)), 0.0)
    scaled = np.where(known[:, None, None], matrices, 0.0) * scale[:, :, None] * scale[:, None, :]
    values = np.linalg.eigvalsh(scaled)
    rank = (values > _RANK_TOLERANCE).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        condition = np.where(rank == 4, values[:, -1] / values[:, 0], np.inf)
    return np.where(known, condition, np.nan), rank


def _inverse(matrices: NDArray[np.float64], invertible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Inverses, by way of a unit diagonal; NaN where ``invertible`` says no."""
    safe = np.where(invertible[:, None, None], matrices, np.eye(4))
    scale = 1.0 / np.sqrt(np.einsum("nii->ni", safe))
    inverse = np.linalg.inv(safe * scale[:, :, None] * scale[:, None, :]) * scale[:, :, None] * scale[:, None, :]
    return np.where(invertible[:, None, None], inverse, np.nan)
