"""From lenses found to lenses there are: an observed histogram of Einstein radii divided by its completeness.

The rate of a bin is N / C with C the completeness averaged over the searched sky's conditions. N is Poisson; intervals
of rates, and of their sum, are mid-p gamma intervals (Fay & Kim 2017, Biometrical J. 59, 572): half of the draws come
from the gamma distribution of the lower limit, half from that of the upper, which has one more lens, of the greatest
weight 1/C. (Half a lens for every bin, as a posterior of each would have, adds up: at 0.5 % it is 100 lenses.) C has
the variance V of that average with hosts drawn whole: a host serves many cells, and its luck moves them together
(linearised, m / (m - 1); Kish 1965, ch. 6). Its posterior is the Beta of as many trials as have this variance,
C (1 - C) / V, with Jeffreys' halves once a bin (one a cell would add up where completeness is low).
Bins that share hosts are drawn together (ranks of correlated normals; Iman & Conover 1982). The estimate is N / C
divided by 1 + V / C^2, which takes out the bias of one over a noisy number to second order; the interval is that of
posterior draws.

Where so few injections are found that bare hosts pass the threshold as often, a bin is refused: its completeness is the
hosts' own false positives.

What is estimated is the expected number of lenses of the injected population (its sources, magnifications and hosts) in
the searched sky, not the number that happens to lie there. It takes the observed lenses for real ones with well
measured radii: neither false positives nor migration between bins is corrected, and the density of lenses is taken to
be the same under all conditions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import (
    CatalogueError,
    OptionError,
    SelectionEnvelopeError,
    check_between,
    check_choice,
    check_whole,
)
from skytrace.selection.completeness import HOST_COLUMNS
from skytrace.selection.grid import AXES, GridOptions, SelectionGrid

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "DEPENDENCES", "ForwardCorrection", "ForwardOptions", "cell_covariance", "corrected_rates", "forward_correct",
    "host_covariance",
]  # fmt: skip

_NEEDED = (*AXES, "threshold", "state", "n", "completeness", "n_effective")
_QUANTILES = {"low95": 0.02275, "low68": 0.158655, "high68": 0.841345, "high95": 0.97725}
_USABLE = ("ok", "merged")
DEPENDENCES = ("hosts", "cells", "condition", "all")


@dataclass(frozen=True)
class ForwardOptions:
    """n_draws: of the posterior. dependence: which cells' completeness errors move together: "hosts", as the tallies of
    their hosts say (a surface with HOST_COLUMNS, as the Parquet file has); "cells": none; "condition": those of one
    condition; "all". refused: what a bin does that cannot be corrected: "error" or "nan" (with its state).
    max_relative_error: of a bin's completeness, above which it is refused as unconstrained. host_excess_sigma: standard
    errors by which it must exceed the share of its hosts that pass without an injection (where the surface knows it).
    """

    n_draws: int = 8000
    dependence: str = "hosts"
    refused: str = "error"
    max_relative_error: float = 0.5
    host_excess_sigma: float = 1.645

    def __post_init__(self) -> None:
        check_whole("n_draws", self.n_draws, 100, 10_000_000)
        check_choice("dependence", self.dependence, DEPENDENCES)
        check_choice("refused", self.refused, ("error", "nan"))
        check_between("max_relative_error", self.max_relative_error, 0.0, 1.0, include_low=False)
        check_between("host_excess_sigma", self.host_excess_sigma, 0.0, 10.0)


@dataclass(frozen=True)
class ForwardCorrection:
    """table: one row a bin: theta_e_low, theta_e_high, observed, completeness, completeness_error, state (ok, or why it
    was refused), lenses (the estimate), low68, high68, low95, high95. total: lenses and intervals summed over the bins
    that are ok, how many were refused, and the observed lenses left out with them.
    """

    table: pd.DataFrame
    total: dict[str, Any]


def corrected_rates(
    counts: ArrayLike,
    completeness: ArrayLike,
    covariance: ArrayLike,
    *,
    n_draws: int = 8000,
    rng: np.random.Generator,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Lenses by bin and in total behind observed counts, for any number of surveys at once.

    counts, completeness: (..., bin), the latter averaged over the searched sky. covariance: (..., bin, bin) of the
    completeness. Returns (bins, total): lenses, low68, high68, low95, high95, of shape (..., bin) and (...); bins also
    completeness and completeness_error. NaN where the completeness is 0.
    """
    counts, covariance = np.asarray(counts, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    completeness = np.broadcast_to(np.asarray(completeness, dtype=np.float64), counts.shape)
    if covariance.shape[-2:] != (counts.shape[-1],) * 2:
        raise CatalogueError(f"counts {counts.shape} need a covariance of their bins; got {covariance.shape}")
    covariance = np.broadcast_to(covariance, (*counts.shape, counts.shape[-1]))
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    error = np.sqrt(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        lenses = np.where(completeness > 0, counts / completeness / (1.0 + variance / completeness**2), np.nan)
        trials = np.nan_to_num(completeness * (1.0 - completeness) / variance, nan=0.0, posinf=1e15)
    a, b = completeness * trials + 0.5, (1.0 - completeness) * trials + 0.5
    drawn = np.sort(rng.beta(a, b, size=(n_draws, *counts.shape)), axis=0)
    drawn = np.take_along_axis(drawn, _ranks(covariance, n_draws, rng), axis=0)
    upper = (np.arange(n_draws) % 2).reshape(-1, *[1] * counts.ndim)
    rates = rng.gamma(counts + upper, size=(n_draws, *counts.shape)) / drawn
    bins = {"completeness": completeness, "completeness_error": error, "lenses": lenses, **_intervals(rates)}
    for name in _QUANTILES:
        bins[name] = np.where(completeness > 0, bins[name], np.nan)
    return bins, {"lenses": lenses.sum(axis=-1), **_intervals(_summed_rates(counts, 1.0 / drawn, upper[..., 0], rng))}


def _summed_rates(
    counts: NDArray[np.float64], weight: NDArray[np.float64], upper: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draws (draw, ...) of the weighted sum of Poisson rates: gamma of its mean and variance, with the greatest weight
    once more where ``upper`` is 1 (Fay & Feuer 1997, Statist. Med. 16, 791). weight: (draw, ..., bin).
    """
    greatest = upper * weight.max(axis=-1, initial=0.0)
    mean = (counts * weight).sum(axis=-1) + greatest
    variance = (counts * weight**2).sum(axis=-1) + greatest**2
    shape = np.divide(mean**2, variance, out=np.zeros_like(mean), where=variance > 0)
    scale = np.divide(variance, mean, out=np.zeros_like(mean), where=mean > 0)
    return rng.gamma(shape) * scale


def cell_covariance(
    share: ArrayLike, n_effective: ArrayLike, weight: ArrayLike, *, dependence: str
) -> NDArray[np.float64]:
    """Covariance (..., bin, bin) of the averaged completeness where only each cell's effective trials are known.

    share, n_effective: (..., bin, condition). weight: (condition,), adding up to 1. dependence: "cells" (errors are
    independent), "condition" (those of one condition are the same number of standard deviations), or "all".
    """
    check_choice("dependence", dependence, DEPENDENCES[1:])
    share, n_effective = np.broadcast_arrays(np.asarray(share, np.float64), np.asarray(n_effective, np.float64))
    error = np.sqrt(share * (1.0 - share) / n_effective) * np.asarray(weight, dtype=np.float64)
    if dependence == "all":
        summed = error.sum(axis=-1)
        return summed[..., :, None] * summed[..., None, :]
    if dependence == "condition":
        return error @ np.swapaxes(error, -1, -2)
    return (error**2).sum(axis=-1)[..., None] * np.eye(share.shape[-2])


def host_covariance(
    host: ArrayLike, n: ArrayLike, n_detected: ArrayLike, place: ArrayLike, weight: ArrayLike, *, shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Covariance (bin, bin) of the averaged completeness with hosts drawn whole, from the tallies of hosts in cells.

    host, n, n_detected: (pair,) number of the host, its injections and detections in a cell. place: (pair,) the cell,
    bin * conditions + condition. weight: (condition,), adding up to 1. shape: (bins, conditions). A variance is never
    taken smaller than that of independent injections.
    """
    n, hits, place = np.asarray(n, np.float64), np.asarray(n_detected, np.float64), np.asarray(place, np.int64)
    cells, weight = shape[0] * shape[1], np.asarray(weight, dtype=np.float64)
    names, code = np.unique(np.asarray(host), return_inverse=True)
    trials = np.bincount(place, n, cells)
    with np.errstate(divide="ignore", invalid="ignore"):
        share, scale = np.bincount(place, hits, cells) / trials, np.tile(weight, shape[0]) / trials
        plain = (share * (1.0 - share) * np.tile(weight, shape[0]) ** 2 / trials).reshape(shape).sum(axis=1)
    bins = place // shape[1]
    pulled = np.zeros((len(names), shape[0]))
    np.add.at(pulled, (code, bins), scale[place] * (hits - share[place] * n))
    different = np.zeros((len(names), shape[0]), dtype=bool)
    different[code, bins] = True
    many = different.sum(axis=0).astype(np.float64)
    correction = np.sqrt(many / np.maximum(many - 1.0, 1.0))
    covariance = pulled.T @ pulled * correction[:, None] * correction
    short = np.maximum(plain - np.diagonal(covariance), 0.0)
    return covariance + np.diag(np.where(many > 1, short, np.inf))  # one host says nothing of how hosts differ


def forward_correct(
    counts: ArrayLike,
    edges_arcsec: ArrayLike,
    surface: pd.DataFrame,
    *,
    conditions: pd.DataFrame,
    threshold: float,
    options: ForwardOptions | None = None,
    rng: np.random.Generator,
) -> ForwardCorrection:
    """Correct the histogram of theta_E of lenses found at ``threshold``.

    counts: (n,) lenses found. edges_arcsec: (n + 1,) edges, which must be edges of the surface's own bins, one bin
    each: cells are not interpolated. surface: ``completeness_table`` with ``host_tallies`` joined, or the table of a
    SelectionFunction (without tallies, ``dependence`` must be said). conditions: psf_fwhm, depth, weight (area
    searched; scaled to 1) of the sky in which the counts were made.
    Raises SelectionEnvelopeError where a condition lies outside the grid, or (unless refused="nan") where a bin lies
    outside it, needs a cell without enough injections, has too uncertain a completeness, or one that its bare hosts
    reach too; OptionError on counts, edges, weights or conditions that are none.
    """
    options = options or ForwardOptions()
    if not isinstance(conditions, pd.DataFrame):
        raise OptionError(f"conditions must be a table of psf_fwhm, depth and weight, not {type(conditions).__name__}")
    if not isinstance(rng, np.random.Generator):
        raise OptionError(f"rng = {rng!r} must be a numpy Generator: numpy.random.default_rng(seed)")
    counts, edges = _checked_histogram(counts, edges_arcsec)
    rows, grid = _rows_at(surface, threshold)
    weight = _condition_weights(conditions, grid)
    used = np.flatnonzero(weight > 0)
    place = _matched_bins(edges, grid)
    by_cell = rows.set_index("cell").reindex(np.arange(grid.n_cells))
    cell = np.maximum(place, 0)[:, None] * len(weight) + used
    state = by_cell["state"].fillna("no_hosts").to_numpy(dtype=object)[cell]
    share = by_cell["completeness"].to_numpy(dtype=np.float64)[cell]
    verdict = _verdicts(place, state)
    covariance = np.full((len(cell),) * 2, np.nan)
    known = np.flatnonzero(verdict == "ok")
    covariance[np.ix_(known, known)] = _covariance(by_cell, cell[known], weight[used], options.dependence)
    with np.errstate(invalid="ignore"):
        completeness = share @ weight[used]
        vague = ~(np.sqrt(np.diagonal(covariance)) <= options.max_relative_error * completeness) | ~(completeness > 0)
    verdict[(verdict == "ok") & vague] = "unconstrained"
    if "share_host_detected" in by_cell.columns:
        bare = by_cell["share_host_detected"].to_numpy(dtype=np.float64)[cell] @ weight[used]
        with np.errstate(invalid="ignore"):
            none_new = completeness - options.host_excess_sigma * np.sqrt(np.diagonal(covariance)) <= bare
        verdict[(verdict == "ok") & none_new] = "false_positives"
    good = verdict == "ok"
    if options.refused == "error" and not good.all():
        raise SelectionEnvelopeError(_refusal(edges, verdict))
    bins, total = corrected_rates(
        counts[good], completeness[good], covariance[np.ix_(good, good)], n_draws=options.n_draws, rng=rng
    )
    return _collected(counts, edges, verdict, good, bins, total)


def _covariance(
    by_cell: pd.DataFrame, cell: NDArray[np.int64], weight: NDArray[np.float64], dependence: str
) -> NDArray[np.float64]:
    """Covariance of the averages over ``cell`` (bin, condition), as ``dependence`` says."""
    if dependence != "hosts":
        share, trials = (by_cell[name].to_numpy(dtype=np.float64)[cell] for name in ("completeness", "n_effective"))
        return cell_covariance(share, trials, weight, dependence=dependence)
    if not set(HOST_COLUMNS) <= set(by_cell.columns):
        raise OptionError(
            'dependence = "hosts" needs to know which cells share hosts, and this table does not say (only the Parquet '
            'file of a selection function does); choose "condition" or, where one set of hosts serves all, "all"'
        )
    place = by_cell.iloc[cell.ravel()]
    host, n, hits = (np.concatenate([np.empty(0, np.int64), *place[name]]) for name in HOST_COLUMNS)
    sizes = [len(one) for one in place["hosts"]]
    return host_covariance(host, n, hits, np.repeat(np.arange(cell.size), sizes), weight, shape=cell.shape)


def _ranks(covariance: NDArray[np.float64], n_draws: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Ranks (draw, ..., bin) of normal numbers that are correlated as the bins are."""
    error = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.nan_to_num(covariance / (error[..., :, None] * error[..., None, :]), posinf=0.0, neginf=0.0)
    diagonal = np.arange(correlation.shape[-1])
    correlation[..., diagonal, diagonal] = 1.0
    value, vector = np.linalg.eigh(correlation)  # singular where bins move together wholly, which Cholesky cannot do
    root = vector * np.sqrt(np.maximum(value, 0.0))[..., None, :]
    normal = rng.standard_normal((n_draws, *error.shape))
    return np.argsort(np.argsort((root @ normal[..., None])[..., 0], axis=0), axis=0)


def _intervals(draws: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    values = np.quantile(draws, list(_QUANTILES.values()), axis=0)
    return dict(zip(_QUANTILES, values, strict=True))


def _checked_histogram(counts: ArrayLike, edges: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    try:
        counts, edges = np.asarray(counts, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(f"counts and edges_arcsec must be numbers: {error}") from error
    if counts.ndim != 1 or edges.shape != (len(counts) + 1,) or not len(counts):
        raise OptionError(f"counts {counts.shape} need one edge more than bins; got {edges.shape}")
    if not ((counts >= 0) & (counts < 1e15) & (counts == np.floor(counts))).all():
        raise OptionError("counts must be whole numbers >= 0: lenses found in each bin")
    if not (np.diff(edges) > 0).all():
        raise OptionError(f"edges_arcsec = {edges.tolist()} must rise")
    return counts, edges


def _rows_at(surface: pd.DataFrame, threshold: float) -> tuple[pd.DataFrame, SelectionGrid]:
    missing = [name for name in _NEEDED if name not in surface.columns]
    if missing:
        raise CatalogueError(f"the surface lacks the columns {', '.join(missing)}")
    rows = surface[np.isclose(surface["threshold"], threshold, rtol=0.0, atol=1e-6)]
    if rows.empty:
        known = ", ".join(f"{value:g}" for value in np.unique(surface["threshold"]))
        raise SelectionEnvelopeError(f"threshold = {threshold:g} was not measured; there are {known}")
    theta_e, psf_fwhm, depth = (tuple(map(float, np.sort(rows[axis].unique()))) for axis in AXES)
    grid = SelectionGrid(GridOptions(theta_e, psf_fwhm, depth))
    index = tuple(grid.bin_of(axis, rows[axis]) for axis in AXES)
    return rows.assign(cell=np.ravel_multi_index(index, grid.shape)), grid


def _condition_weights(conditions: pd.DataFrame, grid: SelectionGrid) -> NDArray[np.float64]:
    """Weight of every (PSF, depth) condition of the grid, adding up to 1."""
    missing = [name for name in ("psf_fwhm", "depth", "weight") if name not in conditions.columns]
    if missing:
        raise CatalogueError(f"conditions lack the columns {', '.join(missing)}")
    weight = conditions["weight"].to_numpy(dtype=np.float64)
    if not (weight >= 0).all() or not 0 < weight.sum() < np.inf:
        raise OptionError("the weights of the conditions must be >= 0 and add up to more than 0")
    index = [grid.bin_of(axis, conditions[axis]) for axis in AXES[1:]]
    outside = (weight > 0) & ((index[0] < 0) | (index[1] < 0))
    if outside.any():
        first = conditions.iloc[int(np.argmax(outside))]
        raise SelectionEnvelopeError(
            f"{weight[outside].sum() / weight.sum():.1%} of the searched sky lies outside the measured conditions "
            f"(first: psf_fwhm = {first['psf_fwhm']:g} arcsec, depth = {first['depth']:g} mag); correct the lenses of "
            "the other sky alone"
        )
    flat = np.maximum(index[0], 0) * grid.shape[2] + np.maximum(index[1], 0)
    return np.bincount(flat, weight / weight.sum(), grid.shape[1] * grid.shape[2]).astype(np.float64)


def _matched_bins(edges: NDArray[np.float64], grid: SelectionGrid) -> NDArray[np.int64]:
    """Bin of the grid of every bin of the histogram, -1 outside; raises OptionError where they overlap askew."""
    own = grid.edges["theta_e"]
    low = np.abs(edges[:-1, None] - own[:-1]) < 1e-6
    high = np.abs(edges[1:, None] - own[1:]) < 1e-6
    same = low & high
    outside = (edges[1:] <= own[0] + 1e-6) | (edges[:-1] >= own[-1] - 1e-6)
    askew = ~same.any(axis=1) & ~outside
    if askew.any():
        first = int(np.argmax(askew))
        raise OptionError(
            f"the bin {edges[first]:g}-{edges[first + 1]:g} arcsec is no bin of the surface, whose edges are "
            f"{', '.join(f'{value:g}' for value in own)}; count the lenses in these"
        )
    return np.where(same.any(axis=1), same.argmax(axis=1), -1)


def _verdicts(place: NDArray[np.int64], state: NDArray) -> NDArray:
    empty, short = (state == "no_hosts").any(axis=1), (~np.isin(state, _USABLE)).any(axis=1)
    words = np.where(place < 0, "outside", np.where(empty, "no_hosts", np.where(short, "insufficient", "ok")))
    return words.astype(object)


def _refusal(edges: NDArray[np.float64], verdict: NDArray) -> str:
    named = [
        f"{edges[i]:g}-{edges[i + 1]:g} arcsec ({verdict[i]})" for i in np.flatnonzero(verdict != "ok")[:5]
    ]  # fmt: skip
    return (
        f"{int((verdict != 'ok').sum())} bin(s) cannot be corrected: {', '.join(named)}. Leave them out, measure more, "
        'merge cells, or ask with refused="nan"'
    )


def _collected(
    counts: NDArray[np.float64], edges: NDArray[np.float64], verdict: NDArray, good: NDArray[np.bool_],
    bins: dict[str, NDArray[np.float64]], total: dict[str, NDArray[np.float64]],
) -> ForwardCorrection:  # fmt: skip
    table = pd.DataFrame({"theta_e_low": edges[:-1], "theta_e_high": edges[1:], "observed": counts.astype(np.int64)})
    table["state"] = verdict
    for name in ("completeness", "completeness_error", "lenses", *_QUANTILES):
        table[name] = np.nan
        table.loc[good, name] = bins[name]
    summed: dict[str, Any] = {name: float(values) for name, values in total.items()}
    summed |= {"bins": int(good.sum()), "bins_refused": int((~good).sum())}
    summed |= {"observed": int(counts[good].sum()), "observed_refused": int(counts[~good].sum())}
    return ForwardCorrection(table, summed)
