"""How far does the surface move under other choices, and do the priors matter more than the statistics?

Every alternative is a table of injections like the base. Shifts are taken cell by cell, in cells that both have filled,
and averaged over the cells of a bin with equal weights, so that a bin compares like with like. Errors come from hosts
drawn whole, the same draw for base and alternative: hosts that both use, and with them common random numbers, cancel.

The largest of many shifts is large by chance alone. Its p-value and its interval are therefore simultaneous over the
bins (max-t: Westfall & Young 1993; Davison & Hinkley 1997, sect. 4.2.4), p-values are adjusted over alternatives and
axes together (Holm 1979), and the median of |shift| stands beside that which noise alone would give.

Alternatives are of four kinds, and the verdict is on the first alone: what the sky may hold (prior), what is done to
the pixels (processing), what no sky can hold and shows a cause (ablation), and what the user decides (choice).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, check_between, check_choice, check_whole
from skytrace.selection.grid import AXES
from skytrace.selection.surface_draws import ResampledPair, Side, with_own_share
from skytrace.statistics import LEVELS, holm_adjusted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.grid import SelectionGrid

__all__ = ["KINDS", "Sensitivity", "SensitivityOptions", "sensitivity"]

#: "surface" takes every cell as a bin of its own.
SENSITIVITY_AXES = (*AXES, "surface")
#: Kinds of alternatives, and what a sentence calls them.
KINDS = {"prior": "Priors", "processing": "Pixel operations", "ablation": "Ablations", "choice": "Choices"}


@dataclass(frozen=True)
class SensitivityOptions:
    """min_injections: of a cell in both tables, for it to be compared. n_resamples: of hosts; Holm's p cannot be
    smaller than (tests) / (n_resamples + 1). level: at or below which Holm's p counts as a shift. dominate_ratio: it
    dominates where the median |shift| (noise taken off) of an axis exceeds this many of the base's own median 68 %
    half-widths. seed: of the resamples.
    """

    min_injections: int = 20
    n_resamples: int = 4000
    level: float = 0.05
    dominate_ratio: float = 1.0
    seed: int = 20260901

    def __post_init__(self) -> None:
        check_whole("min_injections", self.min_injections, 1, 1_000_000)
        check_whole("n_resamples", self.n_resamples, 50, 100_000)
        check_between("level", self.level, 0.0, 1.0, include_low=False, include_high=False)
        if self.level * (self.n_resamples + 1) < 1.0:
            raise OptionError(f"n_resamples = {self.n_resamples} cannot give a p as small as level = {self.level:g}")
        check_between("dominate_ratio", self.dominate_ratio, 0.0, 100.0, include_low=False)
        check_whole("seed", self.seed, 0, 2**63 - 1)


@dataclass(frozen=True)
class Sensitivity:
    """shifts: one row an (alternative, axis, value): n_cells, base, alternative_completeness, shift, standard_error,
    low68, high68, low95, high95 (of the single bin). summary: one row an (alternative, axis): kind, against (what it is
    compared with), max_shift (signed, the largest by |shift| among the bins whose simultaneous 95 % interval leaves out
    0, or among all where there is none), at (its bin), its simultaneous 68 % and 95 % intervals, p_max (simultaneous
    over the bins), p_holm (over all rows too); median_shift with its interval; median_abs_shift, noise_median_abs
    (expected of noise alone), base_half_width (median 68 % half-width of the base's bins), ratio (of the median |shift|
    to it, noise taken off in square), verdict. verdict: over the priors: "priors dominate", "priors matter", "no shift
    seen" or "not measured". sentence: the same in words. others: kind -> sentence of the kinds that are no priors.
    """

    shifts: pd.DataFrame
    summary: pd.DataFrame
    verdict: str
    sentence: str
    others: dict[str, str] = field(default_factory=dict)


def sensitivity(
    base: pd.DataFrame,
    alternatives: Mapping[str, pd.DataFrame],
    grid: SelectionGrid,
    *,
    threshold: float,
    thresholds: Mapping[str, float] | None = None,
    threshold_draws: Mapping[str, ArrayLike] | None = None,
    kinds: Mapping[str, str] | None = None,
    against: Mapping[str, str] | None = None,
    published: pd.DataFrame | None = None,
    options: SensitivityOptions | None = None,
) -> Sensitivity:
    """Compare the surface of every alternative with the base's.

    base, alternatives: injections with cell, galaxy_id, score. threshold: of the base, and of alternatives that
    ``thresholds`` does not name (an alternative of another threshold is the base's table under another name).
    threshold_draws: (n_resamples,) thresholds by name, "base" among them, chosen again in every resample of what they
    were chosen on: their error then is in the intervals. kinds: of alternatives, one of KINDS; prior where not named.
    against: alternative -> another alternative that it is compared with in place of the base.
    published: the whole base where ``base`` is a part of it, run again under the alternatives: base_half_width is then
    that of the published surface, with whose errors a prior is to be compared.

    The verdict of an (alternative, axis): "matters" where p_holm <= level and the simultaneous 95 % interval of the
    largest shift leaves out 0; "dominates" where moreover ratio > dominate_ratio; else "not seen"; "not measured" where
    no cell is filled in both. Raises CatalogueError on missing columns, OptionError on names that are no alternative's,
    on an unknown kind, and where n_resamples cannot give a Holm's p as small as level.
    """
    options, thresholds, against = options or SensitivityOptions(), dict(thresholds or {}), dict(against or {})
    kinds = dict.fromkeys(alternatives, "prior") | dict(kinds or {})
    draws = {name: np.asarray(values, dtype=np.float64) for name, values in (threshold_draws or {}).items()}
    _check_names(alternatives, thresholds, draws, kinds, against)
    tests = len(alternatives) * len(SENSITIVITY_AXES)
    if options.level * (options.n_resamples + 1) < tests:
        raise OptionError(
            f"n_resamples = {options.n_resamples} cannot give a Holm's p of {tests} tests as small as level = "
            f"{options.level:g}; {int(np.ceil(tests / options.level))} can"
        )
    for name, value in {"base": threshold, **thresholds}.items():
        check_between(f"threshold of {name}", value, 0.0, 1.0, include_low=False, include_high=False)
    for name, values in draws.items():
        if values.shape != (options.n_resamples,):
            raise OptionError(f"threshold_draws of {name} have shape {values.shape}, not ({options.n_resamples},)")
    whole = {} if published is None else {"published": published}
    for name, table in {"base": base, **alternatives, **whole}.items():
        missing = [column for column in ("cell", "galaxy_id", "score") if column not in table.columns]
        if missing:
            raise CatalogueError(f"the injections of {name} lack the columns {', '.join(missing)}")
    shifts, rows = [], []
    drawn = None if published is None else _published_draws(published, threshold, grid.n_cells, options)
    tables = {"base": base, **alternatives}
    for name in alternatives:
        other = against.get(name, "base")
        sides = [Side(tables[key], thresholds.get(key, threshold), draws.get(key)) for key in (other, name)]
        resampled = _drawn_pair(sides[0], sides[1], grid.n_cells, options)
        for axis in SENSITIVITY_AXES:
            found = _axis_shifts(resampled, grid, axis, drawn)
            row: dict[str, Any] = {"alternative": name, "axis": axis, "kind": kinds[name], "against": other}
            if len(found.table):
                shifts.append(found.table.assign(alternative=name, axis=axis))
                row |= _summary(found)
            rows.append(row)
    summary = _with_verdicts(pd.DataFrame(rows), options)
    head = ["alternative", "axis", "value"]
    every = pd.concat(shifts, ignore_index=True) if shifts else pd.DataFrame(columns=head)
    words = {kind: _overall(summary[summary["kind"] == kind], kind) for kind in ("prior", *summary["kind"].unique())}
    verdict, sentence = words.pop("prior")
    return Sensitivity(
        every[[*head, *every.columns.difference(head, sort=False)]], summary, verdict, sentence,
        {kind: found[1] for kind, found in words.items()},
    )  # fmt: skip


def _check_names(
    alternatives: Mapping[str, Any],
    thresholds: Mapping[str, Any],
    draws: Mapping[str, Any],
    kinds: Mapping[str, str],
    against: Mapping[str, str],
) -> None:
    named = set(thresholds) | (set(draws) - {"base"}) | set(kinds) | set(against) | set(against.values())
    unknown = named - set(alternatives)
    if unknown or not alternatives:
        raise OptionError(f"no alternative is called {', '.join(sorted(unknown)) or 'anything: give at least one'}")
    for name, kind in kinds.items():
        check_choice(f"kind of {name}", kind, tuple(KINDS))


@dataclass(frozen=True)
class _AxisShifts:
    """table: a row a bin. deviation: (resample, bin) of the shift about its value. half_width: (bin,) of the base."""

    table: pd.DataFrame
    deviation: NDArray[np.float64]
    half_width: NDArray[np.float64]


def _drawn_pair(base: Side, other: Side, n_cells: int, options: SensitivityOptions) -> ResampledPair:
    return ResampledPair.of(
        base, other, n_cells=n_cells, min_injections=options.min_injections, n_resamples=options.n_resamples,
        seed=options.seed,
    )  # fmt: skip


def _published_draws(
    published: pd.DataFrame, threshold: float, n_cells: int, options: SensitivityOptions
) -> NDArray[np.float64]:
    """(resample, cell) shares of the whole base, hosts drawn whole."""
    itself = _drawn_pair(Side(published, threshold), Side(published, threshold), n_cells, options)
    return with_own_share(itself.drawn[0], itself.share[0])


def _axis_shifts(
    resampled: ResampledPair, grid: SelectionGrid, axis: str, published: NDArray[np.float64] | None
) -> _AxisShifts:
    cells = np.flatnonzero(resampled.compared)
    if axis == "surface":
        bins, values = cells, np.arange(grid.n_cells, dtype=np.float64)
    else:
        bins, values = np.unravel_index(cells, grid.shape)[AXES.index(axis)], grid.centres[axis]
    used, place = np.unique(bins, return_inverse=True)
    mean = np.zeros((len(cells), len(used)))
    mean[np.arange(len(cells)), place] = 1.0 / np.bincount(place, minlength=len(used))[place] if len(cells) else 0.0
    base, other = (share[cells] @ mean for share in resampled.share)
    with np.errstate(invalid="ignore"):
        drawn = [with_own_share(side[:, cells], share[cells]) @ mean
                 for side, share in zip(resampled.drawn, resampled.share, strict=True)]  # fmt: skip
    shift = other - base
    deviation = (drawn[1] - drawn[0]) - shift
    error = deviation.std(axis=0, ddof=1) if len(cells) else np.zeros(0)
    table = pd.DataFrame({"value": values[used], "n_cells": np.bincount(place, minlength=len(used))})
    table = table.assign(base=base, alternative_completeness=other, shift=shift, standard_error=error)
    for name, level in LEVELS.items():
        tail = 0.5 * (1.0 - level)
        low, high = np.quantile(deviation, [tail, 1.0 - tail], axis=0) if len(cells) else (error, error)
        # the basic interval: the shift less the deviations' quantiles (Davison & Hinkley 1997, eq. 5.6)
        table[f"low{name}"], table[f"high{name}"] = shift - high, shift - low
    of_base = drawn[0] if published is None else published[:, cells] @ mean
    spread = of_base.std(axis=0, ddof=1) if len(cells) else error
    return _AxisShifts(table, deviation, spread)


def _summary(found: _AxisShifts) -> dict[str, Any]:
    table, deviation = found.table, found.deviation
    shift, error = table["shift"].to_numpy(), table["standard_error"].to_numpy()
    sure = error > 0
    t_drawn = np.max(np.abs(deviation[:, sure] / error[sure]), axis=1) if sure.any() else np.zeros(len(deviation))
    t_seen = np.max(np.abs(shift[sure]) / error[sure]) if sure.any() else (np.inf if np.any(shift != 0) else 0.0)
    apart = np.abs(shift) > np.quantile(t_drawn, LEVELS["95"]) * error
    largest = int(np.argmax(np.where(apart, 1.0, 0.0 if apart.any() else 1.0) * np.abs(shift)))
    row: dict[str, Any] = {"bins": len(shift), "max_shift": shift[largest], "at": table["value"].iloc[largest]}
    row["p_max"] = float((1.0 + np.sum(t_drawn >= t_seen)) / (1.0 + len(t_drawn)))
    median = float(np.median(shift))
    median_deviation = np.median(shift + deviation, axis=1) - median
    row["median_shift"] = median
    for name, level in LEVELS.items():
        reach = float(np.quantile(t_drawn, level)) * error[largest]
        row[f"max_low{name}"], row[f"max_high{name}"] = shift[largest] - reach, shift[largest] + reach
        low, high = np.quantile(median_deviation, [0.5 * (1.0 - level), 0.5 * (1.0 + level)])
        row[f"median_low{name}"], row[f"median_high{name}"] = median - high, median - low
    typical, noise = float(np.median(np.abs(shift))), float(np.median(np.abs(deviation), axis=1).mean())
    row |= {"median_abs_shift": typical, "noise_median_abs": noise}
    row["base_half_width"] = float(np.median(found.half_width))
    beyond = np.sqrt(max(0.0, typical**2 - noise**2))
    row["ratio"] = beyond / row["base_half_width"] if row["base_half_width"] > 0 else np.nan
    return row


def _with_verdicts(summary: pd.DataFrame, options: SensitivityOptions) -> pd.DataFrame:
    """The same with p_holm, over all its rows that are measured, and the verdict of each."""
    head = ["alternative", "axis", "kind", "against", "verdict"]
    if "p_max" not in summary:
        return summary.assign(p_max=np.nan, p_holm=np.nan, verdict="not measured")
    p_holm = holm_adjusted(summary["p_max"])
    apart = (summary["max_low95"] > 0) | (summary["max_high95"] < 0)
    seen = (p_holm <= options.level) & apart
    words = np.where(
        seen & (summary["ratio"] > options.dominate_ratio), "dominates", np.where(seen, "matters", "not seen")
    )
    summary = summary.assign(p_holm=p_holm, verdict=np.where(np.isnan(p_holm), "not measured", words))
    return summary[[*head, *summary.columns.difference(head, sort=False)]]


def _overall(rows: pd.DataFrame, kind: str) -> tuple[str, str]:
    """Verdict and sentence on the alternatives of one kind, of whose rows of the summary alone."""
    name = KINDS[kind]
    measured = rows[rows["verdict"] != "not measured"]
    if measured.empty:
        return "not measured", f"{name}: nothing is measured, since none was varied in cells that compare."
    names = {word: list(dict.fromkeys(measured.loc[measured["verdict"] == word, "alternative"]))
             for word in ("dominates", "matters")}  # fmt: skip
    # one cell's largest shift is mostly noise: it is named only where it was seen, or no axis was measured
    seen = measured[measured["verdict"].isin(["dominates", "matters"])]
    along = measured[measured["axis"] != "surface"]
    ranked = next(part for part in (seen, along, measured) if len(part))
    worst = ranked.iloc[int(ranked["max_shift"].abs().argmax())]
    of_what = "" if worst["against"] == "base" else f" against {worst['against']}"
    largest = (
        f"the largest shift is {worst['max_shift']:+.4f} (95 % interval {worst['max_low95']:+.4f} to "
        f"{worst['max_high95']:+.4f}; {worst['alternative']}{of_what}, {worst['axis']} = {worst['at']:g})"
    )
    if names["dominates"]:
        verb = "moves" if len(names["dominates"]) == 1 else "move"
        words = f"{name} dominate: {', '.join(names['dominates'])} {verb} the surface by more than its own errors"
        return f"{name.lower()} dominate", f"{words}; {largest}."
    if names["matters"]:
        words = f"{name} matter within the errors: {', '.join(names['matters'])}"
        return f"{name.lower()} matter", f"{words}; {largest}."
    return "no shift seen", f"{name}: no shift beyond noise was seen; {largest}."
