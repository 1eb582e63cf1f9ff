"""Two selection functions on the cells that they share: differences with intervals, common marginals, a summary.

The interval of a difference is that of the difference of two independent Jeffreys posteriors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from skytrace.errors import CatalogueError, OptionError, check_between
from skytrace.selection.completeness import CompletenessOptions, marginals
from skytrace.selection.grid import AXES
from skytrace.statistics import LEVELS, beta_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.grid import SelectionGrid
    from skytrace.selection.selection_function import SelectionFunction

__all__ = ["ROLES", "common_marginals", "compare_surfaces", "comparison_summary", "difference_interval"]

_ENDS = ("low68", "high68", "low95", "high95")
#: Points of each posterior in the distribution of a difference; the ends move by less than 1 % of the width beyond.
_POSTERIOR_POINTS = 256

#: What a cell of the comparison can be.
ROLES = {
    "both": "measured in both",
    "filled_matched": "empty there, filled here by hosts of its own conditions",
    "filled_degraded": "empty there, filled here by degraded hosts",
    "only_theirs": "measured there, empty here",
    "neither": "empty in both",
}


def difference_interval(
    k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike, level: float = 0.6827
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Equal-tailed interval of p1 - p2 after k1 of n1 and k2 of n2 (all (m,), fractional counts allowed).

    Independent Jeffreys posteriors Beta(k + 1/2, n - k + 1/2), as in ``beta_interval``, each by its quantiles at equal
    steps; widened to hold k1 / n1 - k2 / n2, so that two empty counts are never called different. NaN where n is 0.
    """
    check_between("level", level, 0.0, 1.0, include_low=False, include_high=False)
    arrays = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (k1, n1, k2, n2)))
    low, high = np.full(arrays[0].shape, np.nan), np.full(arrays[0].shape, np.nan)
    use = (arrays[1] > 0) & (arrays[3] > 0)
    steps = (np.arange(_POSTERIOR_POINTS) + 0.5) / _POSTERIOR_POINTS
    tails = np.array([0.5 * (1.0 - level), 0.5 * (1.0 + level)])
    for place in np.array_split(np.flatnonzero(use), max(1, int(use.sum()) // 16)):  # 16 cells: 8 MB of differences
        if not len(place):
            continue
        a, na, b, nb = (x[place, None] for x in arrays)
        first = special.betaincinv(a + 0.5, na - a + 0.5, steps)
        second = special.betaincinv(b + 0.5, nb - b + 0.5, steps)
        differences = (first[:, :, None] - second[:, None, :]).reshape(len(place), -1)
        ends = np.quantile(differences, tails, axis=1)
        value = (a / na - b / nb)[:, 0]
        low[place], high[place] = np.minimum(ends[0], value), np.maximum(ends[1], value)
    return low, high


def compare_surfaces(
    ours: SelectionFunction,
    theirs: SelectionFunction,
    *,
    threshold: float | None = None,
    their_threshold: float | None = None,
    their_design_effect: float = 1.0,
) -> pd.DataFrame:
    """One row a cell whose centre both grids have: columns of AXES, role (ROLES), and of each side n, n_detected,
    n_hosts, mode, state, completeness, low68, high68, low95, high95 with the endings _ours and _theirs; difference
    (ours - theirs) with its low68 .. high95, excludes_zero (at 95 %), edge_theirs, same_width.

    Our intervals are the host-aware ones where the file has them. their_design_effect: what their trials are divided
    by; 1, the narrowest, because their hosts were not counted. edge_theirs: outermost bin of PSF or depth there.
    same_width: the cells of both are as wide in PSF and depth. Raises CatalogueError where no centre coincides.
    """
    check_between("their_design_effect", their_design_effect, 1.0, 1e6)
    sides = {"ours": _side(ours, threshold, 1.0), "theirs": _side(theirs, their_threshold, their_design_effect)}
    keyed = [
        side.assign(**{f"_{axis}": (side[axis] * 1e6).round().astype(np.int64) for axis in AXES})
        for side in sides.values()
    ]
    both = keyed[0].merge(
        keyed[1].drop(columns=list(AXES)), on=[f"_{axis}" for axis in AXES], suffixes=("_ours", "_theirs")
    )
    if both.empty:
        raise CatalogueError("the two grids have no cell centre in common: there is nothing to compare cell by cell")
    both = both.drop(columns=[f"_{axis}" for axis in AXES])
    both.insert(len(AXES), "role", _roles(both))
    value = both["completeness_ours"] - both["completeness_theirs"]
    both["difference"] = value
    trials = [both[f"n_effective_{side}"].to_numpy() for side in sides]
    hits = [both[f"completeness_{side}"].fillna(0.0).to_numpy() * n for side, n in zip(sides, trials, strict=True)]
    for name, level in LEVELS.items():
        ends = difference_interval(hits[0], trials[0], hits[1], trials[1], level)
        both[f"difference_low{name}"], both[f"difference_high{name}"] = ends
    both["excludes_zero"] = (both["difference_low95"] > 0) | (both["difference_high95"] < 0)
    edges = [both[axis].isin([theirs.table[axis].min(), theirs.table[axis].max()]) for axis in AXES[1:]]
    both["edge_theirs"] = edges[0] | edges[1]
    both["same_width"] = all(np.isclose(_step(ours, axis), _step(theirs, axis)) for axis in AXES[1:])
    both.attrs = {
        "threshold_ours": sides["ours"].attrs["threshold"],
        "threshold_theirs": sides["theirs"].attrs["threshold"],
    }
    return both


def common_marginals(
    comparison: pd.DataFrame, injections: pd.DataFrame, grid: SelectionGrid, *, sufficient_only: bool = True
) -> pd.DataFrame:
    """Both surfaces along each axis, pooled over the *same* cells: those measured in both with matching widths.

    comparison: ``compare_surfaces``, or its rows of one mode_ours to keep matched and degraded hosts apart.
    injections, grid: what our surface was measured from; ours are the host-aware ``marginals`` of the injections in
    these cells. Columns: side (ours, theirs), threshold, axis, value, n, n_detected, n_hosts (NaN for theirs), n_cells,
    completeness, low68, high68, low95, high95, equal_weights (cells of a bin have the same n on that side).
    sufficient_only: cells that are sufficient on both sides. Raises CatalogueError where no cell is left.
    """
    used = comparison[(comparison["role"] == "both") & comparison["same_width"]]
    if sufficient_only:
        used = used[used["state_ours"].isin(["ok", "merged"]) & used["state_theirs"].isin(["ok", "merged"])]
    if used.empty:
        raise CatalogueError("no cell was measured (sufficiently) in both surfaces; there is no common marginal")
    index = tuple(grid.bin_of(axis, used[axis]) for axis in AXES)
    mine = injections[injections["cell"].isin(np.ravel_multi_index(index, grid.shape))]
    threshold = float(comparison.attrs["threshold_ours"])
    ours = marginals(mine, grid, options=CompletenessOptions((threshold,)))
    ours = ours[ours["n"] > 0].assign(side="ours")
    for name in LEVELS:
        ours[[f"low{name}", f"high{name}"]] = ours[[f"low{name}_hosts", f"high{name}_hosts"]]
    tables = [ours]
    for axis in AXES:
        sums = used.groupby(axis, as_index=False)[["n_theirs", "n_detected_theirs"]].sum()
        sums = sums.rename(columns={axis: "value", "n_theirs": "n", "n_detected_theirs": "n_detected"})
        sums = sums.assign(
            axis=axis, side="theirs", threshold=float(comparison.attrs["threshold_theirs"]), n_hosts=np.nan
        )
        sums["completeness"] = sums["n_detected"] / sums["n"]
        for name, level in LEVELS.items():
            sums[f"low{name}"], sums[f"high{name}"] = beta_interval(sums["n_detected"], sums["n"], level)
        tables.append(sums)
    names = ["side", "threshold", "axis", "value", "n", "n_detected", "n_hosts", "completeness", *_ENDS]
    table = pd.concat([part[names] for part in tables], ignore_index=True)
    return _with_cell_counts(table, used)


def comparison_summary(comparison: pd.DataFrame) -> dict[str, Any]:
    """What the cells say, in JSON's own types: cells by role, means over cells measured in both, median difference,
    Spearman's rank correlation of the cells, how many differences exclude zero at 95 %, and sentences.
    """
    both = comparison[comparison["role"] == "both"]
    roles = {name: int((comparison["role"] == name).sum()) for name in ROLES}
    filled = roles["filled_matched"] + roles["filled_degraded"]
    degraded = int((both["mode_ours"] == "degraded").sum())
    means = {side: float(both[f"completeness_{side}"].mean()) if len(both) else None for side in ("ours", "theirs")}
    ranks = both[["completeness_ours", "completeness_theirs"]].rank()
    varied = len(both) > 2 and bool((ranks.nunique() > 1).all())
    correlation = float(np.corrcoef(ranks.to_numpy().T)[0, 1]) if varied else None
    sentences = [
        f"{len(comparison)} cells have the same centre in both grids; {roles['both']} were measured in both "
        f"({degraded} of these by degraded hosts here), {filled} are empty there and filled here "
        f"({roles['filled_degraded']} by degraded hosts), {roles['only_theirs']} are empty here only, "
        f"{roles['neither']} in both."
    ]
    summary: dict[str, Any] = {"cells": len(comparison), "roles": roles, "mean": means, "rank_correlation": correlation}
    summary["both_degraded_here"] = degraded
    if len(both):
        beyond = int(both["excludes_zero"].sum())
        summary |= {"median_difference": float(both["difference"].median()), "excluding_zero": beyond}
        limits = [f"{comparison.attrs[f'threshold_{side}']:.3g}" for side in ("ours", "theirs")]
        sentences += [
            f"Over the cells measured in both the mean is {means['ours']:.4f} here (score >= {limits[0]}) and "
            f"{means['theirs']:.4f} there (score >= {limits[1]}); the median difference is "
            f"{summary['median_difference']:+.4f}.",
            f"{beyond} of {len(both)} differences exclude zero at 95 %; about {0.0455 * len(both):.0f} would if both "
            "were equal and cells independent. Cells of one condition share hosts, so this count is no test.",
        ]
        sentences.append(
            "Detectors, thresholds, sources and sky differ: a difference in level is not an error of either surface."
        )
    return {**summary, "sentences": sentences}


def _side(surface: SelectionFunction, threshold: float | None, effect: float) -> pd.DataFrame:
    """One threshold's rows with host-aware ends where there are any, and n_effective = trials of these ends."""
    wanted = surface.metadata.get("threshold_default", surface.thresholds[0]) if threshold is None else threshold
    known = np.asarray(surface.thresholds)
    value = float(known[np.argmin(np.abs(known - float(wanted)))])
    if not np.isclose(value, float(wanted), rtol=0.0, atol=1e-6):
        raise OptionError(f"threshold = {wanted:g} was not measured; there are {', '.join(f'{x:g}' for x in known)}")
    table = surface.table[surface.table["threshold"] == value].copy()
    table["n_effective"] = table.get("n_effective", table["n"]).fillna(0.0) / effect
    share = table["completeness"].fillna(0.0)
    for name, level in LEVELS.items():
        low, high = beta_interval(share * table["n_effective"], table["n_effective"], level)
        full = table["n_effective"] > 0
        table[f"low{name}"], table[f"high{name}"] = np.where(full, low, np.nan), np.where(full, high, np.nan)
    names = ["n", "n_detected", "n_hosts", "n_effective", "mode", "state", "completeness", *_ENDS]
    table = table[[*AXES, *names]].reset_index(drop=True)
    table.attrs = {"threshold": value}
    return table


def _roles(both: pd.DataFrame) -> NDArray[np.object_]:
    here, there = both["n_ours"].to_numpy() > 0, both["n_theirs"].to_numpy() > 0
    degraded = (both["mode_ours"] == "degraded").to_numpy()
    conditions = [here & there, here & degraded, here, there]
    return np.select(conditions, ["both", "filled_degraded", "filled_matched", "only_theirs"], "neither").astype(object)


def _step(surface: SelectionFunction, axis: str) -> float:
    return float(np.diff(np.sort(surface.table[axis].unique())[:2])[0])


def _with_cell_counts(table: pd.DataFrame, used: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for key, rows in table.groupby(["side", "axis"], sort=False):
        side, axis = map(str, key)
        groups = used.groupby(axis)[f"n_{side}"]
        nearest = np.searchsorted(groups.size().index.to_numpy() - 1e-6, rows["value"]) - 1
        parts.append(
            rows.assign(
                n_cells=groups.size().to_numpy()[nearest], equal_weights=(groups.nunique() == 1).to_numpy()[nearest]
            )
        )
    return pd.concat(parts, ignore_index=True)
