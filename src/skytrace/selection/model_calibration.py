"""Does a model of P(detected) agree with the published cells, given that injections into one host go together?

In every cell the detected are compared with the sum of the predicted P. Hosts enter as a latent luck common to all of a
host's injections, in every cell: detected where sqrt(rho) z_host + sqrt(1 - rho) z < Phi^-1(P), which keeps every P
as it is (a Gaussian copula). rho is measured from the residuals by the tetrachoric series (Pearson 1900, Phil. Trans.
A 195, 1), and so are the cells' variances; p-values are those of simulated detections, cells that share hosts included.
Two are asked: chi-square, against any disagreement, and the slope of observed against predicted log-odds (Cox 1958,
Biometrika 45, 562), to which a chi-square of hundreds of cells is nearly blind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import ndtri

from skytrace.errors import CatalogueError, check_between

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["CellCalibration", "calibration_test", "host_correlation"]

_TERMS = 12
_RHO_MAX = 0.95
_P_MIN = 1e-6  # predictions are kept this far from 0 and 1, where a single detection would be impossible


@dataclass(frozen=True)
class CellCalibration:
    """table: one row a filled cell: cell, n, n_detected, predicted (expected count), observed and predicted
    completeness, difference, standard_error (hosts, and the model's own where given), z. chi2: sum of z^2.
    p_value: share of simulations with one at least as large. rho: latent correlation within a host. rms_difference:
    of completeness beyond the noise, weighted by n. slope: of observed against predicted log-odds, to first
    order about 1 (above 1: the model is too flat). slope_p_value: two-sided. verdict: "calibrated", "miscalibrated"
    (either p-value below half of ``level``), or "not judged" (fewer than ``min_detections`` detected, or missed).
    """

    table: pd.DataFrame
    chi2: float
    n_cells: int
    p_value: float
    rho: float
    rms_difference: float
    slope: float
    slope_p_value: float
    verdict: str
    sentence: str


def calibration_test(
    detected: ArrayLike,
    predicted: ArrayLike,
    *,
    cell: ArrayLike,
    host: ArrayLike,
    members: ArrayLike | None = None,
    n_simulations: int = 499,
    level: float = 0.01,
    min_detections: int = 50,
    seed: int,
) -> CellCalibration:
    """Chi-square-like comparison of detections with predictions in cells.

    detected: (n,) bool. predicted: (n,) P of each by a model that did not see it (``MonotoneFit.out_of_fold``). cell,
    host: (n,). members: (m, n) P by refits to resampled hosts; their scatter is then allowed for, as the model's own
    error. Raises CatalogueError on unequal lengths or predictions that are no probabilities.
    """
    y, p = np.asarray(detected, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.ndim != 1 or not len(y) or {p.shape, np.shape(cell), np.shape(host)} != {y.shape}:
        raise CatalogueError("detected, predicted, cell and host must be (n,) with n > 0")
    if not ((p >= 0) & (p <= 1)).all():
        raise CatalogueError("predicted holds values that are no probabilities")
    check_between("n_simulations", n_simulations, 19, 1_000_000)
    names, cells = np.unique(np.asarray(cell), return_inverse=True)
    order = np.argsort(cells, kind="stable")
    y, p, cells = y[order], np.clip(p[order], _P_MIN, 1.0 - _P_MIN), cells[order]
    hosts = pd.factorize(np.asarray(host)[order])[0]
    rho = host_correlation(y, p, cell=cells, host=hosts)
    start = np.flatnonzero(np.diff(cells, prepend=-1))
    n = np.diff(np.append(start, len(cells)))
    drift = _model_errors(members, order, start)
    variance = _cell_variance(p, cells, hosts, rho, len(names)) + drift.var(axis=0)
    difference = np.add.reduceat(y - p, start)
    chi2 = float(np.sum(difference**2 / variance))
    expected = np.add.reduceat(p, start)
    lever, curvature = _tilt(p, expected, start)
    simulated = _simulated_counts(p, hosts, rho, start, drift, n_simulations, seed)
    p_value = (1.0 + np.sum(np.sum(simulated**2 / variance, axis=1) >= chi2)) / (1.0 + n_simulations)
    slope = 1.0 + float(lever @ difference) / curvature if curvature > 0 else float("nan")
    steeper = np.abs(simulated @ lever) >= abs(float(lever @ difference))
    slope_p_value = (1.0 + np.sum(steeper)) / (1.0 + n_simulations)
    table = pd.DataFrame({"cell": names, "n": n, "n_detected": np.add.reduceat(y, start).astype(np.int64)})
    table = table.assign(predicted=expected, observed_completeness=table["n_detected"] / n)
    table = table.assign(predicted_completeness=expected / n, difference=difference / n)
    table = table.assign(standard_error=np.sqrt(variance) / n, z=difference / np.sqrt(variance))
    beyond = np.sum((difference**2 - variance) / n) / n.sum()
    rms = float(np.sqrt(max(0.0, beyond)))
    fewest = int(min(y.sum(), len(y) - y.sum()))
    verdict = "miscalibrated" if min(p_value, slope_p_value) <= 0.5 * level else "calibrated"
    sentence = (
        f"The model is {verdict} in the {len(names)} filled cells (chi2 = {chi2:.1f}, p = {p_value:.2g} by simulation "
        f"with a latent correlation of {rho:.2f} within a host); observed against predicted log-odds have the slope "
        f"{slope:.2f} (p = {slope_p_value:.2g} for 1), and its completeness is off by {rms:.4f} rms beyond noise."
    )
    if fewest < min_detections:
        verdict = "not judged"
        sentence = (
            f"With {fewest} injections on the rarer side the model cannot be judged; {min_detections} are needed."
        )
    return CellCalibration(
        table, chi2, len(names), float(p_value), rho, rms, slope, float(slope_p_value), verdict, sentence
    )


def host_correlation(detected: ArrayLike, predicted: ArrayLike, *, cell: ArrayLike, host: ArrayLike) -> float:
    """Latent correlation within hosts, in [0, 0.95], from pairs of residuals about every cell's own mean.

    Taking the cell's mean off keeps a miscalibrated cell from passing for correlated hosts.
    """
    y, p = np.asarray(detected, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    cells, hosts = (np.unique(np.asarray(codes), return_inverse=True)[1] for codes in (cell, host))
    n = np.bincount(cells)
    residual = y - p
    residual = residual - (np.bincount(cells, weights=residual) / n)[cells]
    pairs = np.unique(cells * (hosts.max() + 1) + hosts) // (hosts.max() + 1)
    hosts_of_cell = np.bincount(pairs)
    # what the mean takes away: one host in every cell, and one injection
    many = np.average(hosts_of_cell, weights=n)
    if many <= 1.0:
        return 0.0
    by_host = np.bincount(hosts, weights=residual)
    own = np.sum(residual**2 * (n / np.maximum(n - 1.0, 1.0))[cells])
    target = many / (many - 1.0) * np.sum(by_host**2) - own
    terms = [np.sum(np.bincount(hosts, weights=t) ** 2) - np.sum(t**2) for t in _tetrachoric(p)]

    def excess(rho: float) -> float:
        return float(sum(term * rho**k for k, term in enumerate(terms, start=1)) - target)

    if excess(0.0) >= 0.0:
        return 0.0
    return _RHO_MAX if excess(_RHO_MAX) <= 0.0 else float(brentq(excess, 0.0, _RHO_MAX, xtol=1e-6))


def _tetrachoric(p: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """t_k with cov(detected_i, detected_j) = sum_k rho^k t_ki t_kj: Hermite functions of the limits Phi^-1(p)."""
    limit = ndtri(np.clip(p, _P_MIN, 1.0 - _P_MIN))
    density = np.exp(-0.5 * limit**2) / np.sqrt(2.0 * np.pi)
    terms = [density]
    before, now = np.zeros_like(limit), density  # He_{k-1} phi / sqrt(k!), by the recurrence of He
    for k in range(1, _TERMS):
        before, now = now, limit * now / np.sqrt(k + 1.0) - (k - 1.0) / np.sqrt(k * (k + 1.0)) * before
        terms.append(now)
    return terms


def _cell_variance(
    p: NDArray[np.float64], cells: NDArray[np.int64], hosts: NDArray[np.int64], rho: float, n_cells: int
) -> NDArray[np.float64]:
    variance = np.bincount(cells, weights=p * (1.0 - p), minlength=n_cells).astype(np.float64)
    if rho > 0:
        n_hosts = int(hosts.max()) + 1
        pair, place = np.unique(cells * n_hosts + hosts, return_inverse=True)
        for k, t in enumerate(_tetrachoric(p), start=1):
            together = np.bincount(place, weights=t) ** 2 - np.bincount(place, weights=t**2)
            variance += rho**k * np.bincount(pair // n_hosts, weights=together, minlength=n_cells)
    return variance


def _model_errors(members: ArrayLike | None, order: NDArray[np.int64], start: NDArray[np.int64]) -> NDArray[np.float64]:
    """Expected counts by refit and cell, less their mean, scaled to the unbiased variance; one row of 0 without."""
    if members is None:
        return np.zeros((1, len(start)))
    members = np.asarray(members, dtype=np.float64)
    if members.ndim != 2 or members.shape[1] != len(order) or len(members) < 2:
        raise CatalogueError(f"members {members.shape} must be (m, n) with m >= 2 refits of {len(order)} predictions")
    counts = np.add.reduceat(members[:, order], start, axis=1)
    return (counts - counts.mean(axis=0)) * np.sqrt(len(members) / (len(members) - 1.0))


def _tilt(p: NDArray[np.float64], expected: NDArray[np.float64], start: NDArray[np.int64]) -> tuple[NDArray, float]:
    """Lever of each cell's difference in the score of a slope other than 1, its intercept free; and the curvature."""
    information = np.add.reduceat(p * (1.0 - p), start)
    share = expected / np.diff(np.append(start, len(p)))
    odds = np.log(share / (1.0 - share))
    lever = odds - np.sum(information * odds) / np.sum(information)
    return lever, float(np.sum(information * lever**2))


def _simulated_counts(
    p: NDArray[np.float64], hosts: NDArray[np.int64], rho: float, start: NDArray[np.int64],
    drift: NDArray[np.float64], n_simulations: int, seed: int,
) -> NDArray[np.float64]:  # fmt: skip
    """Detected less expected in every cell where the model holds, (simulation, cell)."""
    rng, n_hosts = np.random.default_rng(seed), int(hosts.max()) + 1
    limit, expected = ndtri(p), np.add.reduceat(p, start)
    found = []
    block = max(1, 2_000_000 // len(p))
    for first in range(0, n_simulations, block):
        size = min(block, n_simulations - first)
        luck = np.sqrt(rho) * rng.standard_normal((size, n_hosts))
        own = np.sqrt(1.0 - rho) * rng.standard_normal((size, len(p)))
        counts = np.add.reduceat((luck[:, hosts] + own < limit).astype(np.float64), start, axis=1)
        found.append(counts - expected + drift[rng.integers(len(drift), size=size)])
    return np.concatenate(found)
