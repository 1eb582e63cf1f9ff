"""From lenses found to lenses there are: an observed histogram of Einstein radii divided by its completeness.

The rate of a bin is N / C with C the completeness averaged over the searched sky's conditions. N is Poisson (Jeffreys
posterior Gamma(N + 1/2)); every cell's completeness is Beta(k + 1/2, n - k + 1/2) at its *effective* number of trials,
so that shared hosts widen the result. The estimate is N / C divided by 1 + var(C) / C^2, which takes out the bias of
one over a noisy number to second order; the interval is that of posterior draws.

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
from skytrace.selection.grid import AXES, GridOptions, SelectionGrid

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ForwardCorrection", "ForwardOptions", "corrected_rates", "forward_correct"]

_NEEDED = (*AXES, "threshold", "state", "n", "completeness", "n_effective")
_QUANTILES = {"low95": 0.02275, "low68": 0.158655, "high68": 0.841345, "high95": 0.97725}
_USABLE = ("ok", "merged")


@dataclass(frozen=True)
class ForwardOptions:
    """n_draws: of the posterior. dependence: which cells' completeness errors move together: none ("cells"), those of
    one condition, whose hosts are the same ("condition"), or all, as where degraded hosts serve every condition
    ("all"); it changes the total's interval, and with "all" the bins'. refused: what a bin does that cannot be
    corrected: "error" or "nan" (with its state). max_relative_error: of a bin's completeness, above which it is
    refused as unconstrained.
    """

    n_draws: int = 8000
    dependence: str = "condition"
    refused: str = "error"
    max_relative_error: float = 0.5

    def __post_init__(self) -> None:
        check_whole("n_draws", self.n_draws, 100, 10_000_000)
        check_choice("dependence", self.dependence, ("cells", "condition", "all"))
        check_choice("refused", self.refused, ("error", "nan"))
        check_between("max_relative_error", self.max_relative_error, 0.0, 1.0, include_low=False)


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
    share: ArrayLike,
    n_effective: ArrayLike,
    weight: ArrayLike,
    *,
    n_draws: int = 8000,
    dependence: str = "condition",
    rng: np.random.Generator,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Lenses by bin and in total behind observed counts, for any number of surveys at once.

    counts: (..., bin). share, n_effective: (..., bin, condition) completeness and effective trials. weight:
    (condition,) share of the searched sky, adding up to 1. Returns (bins, total): lenses, low68, high68, low95, high95,
    of shape (..., bin) and (...); bins also completeness and completeness_error. NaN where the completeness is 0.
    """
    counts, weight = np.asarray(counts, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    share, n_effective = np.broadcast_arrays(np.asarray(share, np.float64), np.asarray(n_effective, np.float64))
    if share.shape != (*counts.shape, len(weight)):
        raise CatalogueError(f"counts {counts.shape} and weight {weight.shape} do not fit completeness {share.shape}")
    k = share * n_effective
    a, b = k + 0.5, n_effective - k + 0.5
    completeness, error = share @ weight, _completeness_error(share, n_effective, weight, dependence)
    with np.errstate(divide="ignore", invalid="ignore"):
        lenses = np.where(completeness > 0, counts / completeness / (1.0 + (error / completeness) ** 2), np.nan)
    drawn = rng.beta(a, b, size=(n_draws, *share.shape))
    if dependence != "cells":
        drawn = _moving_together(drawn, dependence, rng)
    rates = rng.gamma(counts + 0.5, size=(n_draws, *counts.shape)) / (drawn @ weight)
    bins = {"completeness": completeness, "completeness_error": error, "lenses": lenses, **_intervals(rates)}
    for name in _QUANTILES:
        bins[name] = np.where(completeness > 0, bins[name], np.nan)
    return bins, {"lenses": lenses.sum(axis=-1), **_intervals(rates.sum(axis=-1))}


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
    each: cells are not interpolated. surface: ``completeness_table``, ``merged_completeness`` or the table of a
    SelectionFunction (with n_effective). conditions: psf_fwhm, depth, weight (area searched; scaled to 1) of the sky in
    which the counts were made.
    Raises SelectionEnvelopeError where a condition lies outside the grid, or (unless refused="nan") where a bin lies
    outside it, needs a cell without enough injections, or has too uncertain a completeness; OptionError on counts,
    edges or weights that are none.
    """
    options = options or ForwardOptions()
    counts, edges = _checked_histogram(counts, edges_arcsec)
    rows, grid = _rows_at(surface, threshold)
    weight = _condition_weights(conditions, grid)
    used = np.flatnonzero(weight > 0)
    place = _matched_bins(edges, grid)
    by_cell = rows.set_index("cell").reindex(np.arange(grid.n_cells))
    cell = np.maximum(place, 0)[:, None] * len(weight) + used
    state = by_cell["state"].fillna("no_hosts").to_numpy(dtype=object)[cell]
    share, trials = (by_cell[name].to_numpy(dtype=np.float64)[cell] for name in ("completeness", "n_effective"))
    verdict = _verdicts(place, state)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = _completeness_error(share, trials, weight[used], options.dependence)
        vague = ~(error <= options.max_relative_error * (share @ weight[used]))
    verdict[(verdict == "ok") & vague] = "unconstrained"
    good = verdict == "ok"
    if options.refused == "error" and not good.all():
        raise SelectionEnvelopeError(_refusal(edges, verdict))
    bins, total = corrected_rates(
        counts[good], share[good], trials[good], weight[used],
        n_draws=options.n_draws, dependence=options.dependence, rng=rng,
    )  # fmt: skip
    return _collected(counts, edges, verdict, good, bins, total)


def _completeness_error(
    share: NDArray[np.float64], n_effective: NDArray[np.float64], weight: NDArray[np.float64], dependence: str
) -> NDArray[np.float64]:
    """Posterior standard deviation of the averaged completeness: errors that move together add up, others in square."""
    a, b = share * n_effective + 0.5, (1.0 - share) * n_effective + 0.5
    spread = np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1.0)))
    return spread @ weight if dependence == "all" else np.sqrt(spread**2 @ weight**2)


def _moving_together(drawn: NDArray[np.float64], dependence: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """The same draws of each cell in another order: cells that share hosts are high together and low together."""
    n_draws, surveys = drawn.shape[0], drawn.shape[1:-2]
    shape = (n_draws, *surveys, 1, drawn.shape[-1] if dependence == "condition" else 1)
    rank = np.argsort(rng.random(shape), axis=0)
    drawn.sort(axis=0)
    return np.take_along_axis(drawn, np.broadcast_to(rank, drawn.shape), axis=0)


def _intervals(draws: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    values = np.quantile(draws, list(_QUANTILES.values()), axis=0)
    return dict(zip(_QUANTILES, values, strict=True))


def _checked_histogram(counts: ArrayLike, edges: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    counts, edges = np.asarray(counts, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    if counts.ndim != 1 or edges.shape != (len(counts) + 1,) or not len(counts):
        raise OptionError(f"counts {counts.shape} need one edge more than bins; got {edges.shape}")
    if not ((counts >= 0) & (counts == np.floor(counts))).all():
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
