"""How far does the surface move under other choices, and do the priors matter more than the statistics?

Every alternative is a table of injections like the base. Shifts are taken cell by cell, in cells that both have filled,
and averaged over the cells of a bin with equal weights, so that a bin compares like with like. Errors come from hosts
drawn whole, the same draw for base and alternative: hosts that both use, and with them common random numbers, cancel.

The largest of many shifts is large by chance alone. Its p-value and its interval are therefore simultaneous over the
bins (max-t: Westfall & Young 1993; Davison & Hinkley 1997, sect. 4.2.4), and the median of |shift| stands beside that
which noise alone would give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, check_between, check_whole
from skytrace.selection.grid import AXES
from skytrace.statistics import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from skytrace.selection.grid import SelectionGrid

__all__ = ["Sensitivity", "SensitivityOptions", "sensitivity"]

#: "surface" takes every cell as a bin of its own.
SENSITIVITY_AXES = (*AXES, "surface")


@dataclass(frozen=True)
class SensitivityOptions:
    """min_injections: of a cell in both tables, for it to be compared. n_resamples: of hosts. level: below which p
    counts as a shift. dominate_ratio: a prior dominates where the median |shift| (noise taken off) of an axis exceeds
    this many of the base's own median 68 % half-widths. choices: alternatives that are no priors (thresholds, host
    modes): they are tabulated and stay out of the verdict. seed: of the resamples.
    """

    min_injections: int = 20
    n_resamples: int = 500
    level: float = 0.05
    dominate_ratio: float = 1.0
    choices: tuple[str, ...] = ()
    seed: int = 20260901

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))
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
    low68, high68, low95, high95 (of the single bin). summary: one row an (alternative, axis): max_shift (signed, the
    largest by |shift|), at (its bin), its simultaneous 68 % and 95 % intervals, p_max; median_shift with its interval;
    median_abs_shift, noise_median_abs (expected of noise alone), base_half_width (median 68 % half-width of the base's
    bins), ratio (of the median |shift|, noise taken off in square, to it), is_prior, verdict. verdict: over all
    priors: "priors dominate", "priors matter", "no shift seen" or "not measured".
    """

    shifts: pd.DataFrame
    summary: pd.DataFrame
    verdict: str
    sentence: str


def sensitivity(
    base: pd.DataFrame,
    alternatives: Mapping[str, pd.DataFrame],
    grid: SelectionGrid,
    *,
    threshold: float,
    thresholds: Mapping[str, float] | None = None,
    published: pd.DataFrame | None = None,
    options: SensitivityOptions | None = None,
) -> Sensitivity:
    """Compare the surface of every alternative with the base's.

    base, alternatives: injections with cell, galaxy_id, score. threshold: of the base, and of alternatives that
    ``thresholds`` does not name (an alternative of another threshold is the base's table under another name).
    published: the whole base where ``base`` is a part of it, run again under the alternatives: base_half_width is then
    that of the published surface, with whose errors a prior is to be compared. The
    verdict of an (alternative, axis): "dominates" where p_max <= level and ratio > dominate_ratio; "matters" where
    p_max <= level alone; else "not seen"; "not measured" where no cell is filled in both. Raises CatalogueError on
    missing columns, OptionError on thresholds or choices of alternatives that are not there.
    """
    options, thresholds = options or SensitivityOptions(), dict(thresholds or {})
    unknown = (set(thresholds) | set(options.choices)) - set(alternatives)
    if unknown or not alternatives:
        raise OptionError(f"no alternative is called {', '.join(sorted(unknown)) or 'anything: give at least one'}")
    for name, value in {"base": threshold, **thresholds}.items():
        check_between(f"threshold of {name}", value, 0.0, 1.0, include_low=False, include_high=False)
    whole = {} if published is None else {"published": published}
    for name, table in {"base": base, **alternatives, **whole}.items():
        missing = [column for column in ("cell", "galaxy_id", "score") if column not in table.columns]
        if missing:
            raise CatalogueError(f"the injections of {name} lack the columns {', '.join(missing)}")
    shifts, rows = [], []
    drawn = None if published is None else _published_draws(published, threshold, grid.n_cells, options)
    for name, table in alternatives.items():
        resampled = _Resampled.of(base, table, threshold, thresholds.get(name, threshold), grid.n_cells, options)
        for axis in SENSITIVITY_AXES:
            found = _axis_shifts(resampled, grid, axis, drawn)
            is_prior = name not in options.choices
            row: dict[str, Any] = {"alternative": name, "axis": axis, "is_prior": is_prior, "verdict": "not measured"}
            if len(found.table):
                shifts.append(found.table.assign(alternative=name, axis=axis))
                row |= _summary(found, options)
            rows.append(row)
    summary = pd.DataFrame(rows)
    head = ["alternative", "axis", "value"]
    every = pd.concat(shifts, ignore_index=True) if shifts else pd.DataFrame(columns=head)
    verdict, sentence = _overall(summary)
    return Sensitivity(every[[*head, *every.columns.difference(head, sort=False)]], summary, verdict, sentence)


@dataclass(frozen=True)
class _Resampled:
    """Detected and injected by cell of both sides: of the tables themselves (cell,), and by resample of hosts
    (resample, cell). compared: cells that are filled in both.
    """

    share: tuple[NDArray[np.float64], NDArray[np.float64]]
    drawn: tuple[NDArray[np.float64], NDArray[np.float64]]
    compared: NDArray[np.bool_]

    @classmethod
    def of(
        cls, base: pd.DataFrame, other: pd.DataFrame, threshold: float, other_threshold: float, n_cells: int,
        options: SensitivityOptions,
    ) -> _Resampled:  # fmt: skip
        """Both sides by cell, hosts drawn whole with replacement: one draw of (resample, host) weights, so that
        what they share cancels in the difference.

        base, other: columns cell (within 0..n_cells - 1), galaxy_id and score; threshold, other_threshold: detected
        means score >= it, in (0, 1). Shares are numbers in [0, 1] without unit, NaN where a cell, or a resample of it,
        holds no injection. Raises CatalogueError for a cell outside the grid.
        """
        names = pd.Index(pd.unique(pd.concat([base["galaxy_id"], other["galaxy_id"]]))).sort_values()
        weight = np.random.default_rng(options.seed).multinomial(
            len(names), np.full(len(names), 1.0 / len(names)), size=options.n_resamples
        )
        shares, draws, filled = [], [], []
        for table, limit in ((base, threshold), (other, other_threshold)):
            cell = table["cell"].to_numpy(dtype=np.int64)
            if ((cell < 0) | (cell >= n_cells)).any():
                raise CatalogueError(f"injections lie in cells outside 0..{n_cells - 1}")
            detected = table["score"].to_numpy(dtype=np.float64) >= limit
            host = names.get_indexer(pd.Index(table["galaxy_id"]))
            n = np.bincount(cell, minlength=n_cells).astype(np.float64)
            k = np.bincount(cell, weights=detected, minlength=n_cells)
            with np.errstate(invalid="ignore", divide="ignore"):
                shares.append(k / n)
                drawn_k = _cell_sums(weight, host, cell, detected.astype(np.float64), len(names), n_cells)
                draws.append(drawn_k / _cell_sums(weight, host, cell, np.ones(len(cell)), len(names), n_cells))
            filled.append(n >= options.min_injections)
        return cls((shares[0], shares[1]), (draws[0], draws[1]), filled[0] & filled[1])


@dataclass(frozen=True)
class _AxisShifts:
    """table: a row a bin. deviation: (resample, bin) of the shift about its value. half_width: (bin,) of the base."""

    table: pd.DataFrame
    deviation: NDArray[np.float64]
    half_width: NDArray[np.float64]


def _cell_sums(
    weight: NDArray,
    host: NDArray[np.intp],
    cell: NDArray[np.int64],
    value: NDArray[np.float64],
    n_hosts: int,
    n_cells: int,
) -> NDArray[np.float64]:
    """(resample, cell) sums with every host counted as often as it was drawn."""
    from scipy.sparse import csr_array

    return (csr_array((value, (cell, host)), shape=(n_cells, n_hosts)) @ weight.T.astype(np.float64)).T


def _published_draws(
    published: pd.DataFrame, threshold: float, n_cells: int, options: SensitivityOptions
) -> NDArray[np.float64]:
    """(resample, cell) shares of the whole base, hosts drawn whole."""
    itself = _Resampled.of(published, published, threshold, threshold, n_cells, options)
    return _filled(itself.drawn[0], itself.share[0])


def _axis_shifts(
    resampled: _Resampled, grid: SelectionGrid, axis: str, published: NDArray[np.float64] | None
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
        drawn = [_filled(side[:, cells], share[cells]) @ mean
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


def _filled(drawn: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Resamples in which a cell lost all of its hosts take the cell's own share."""
    return np.where(np.isfinite(drawn), drawn, share)


def _summary(found: _AxisShifts, options: SensitivityOptions) -> dict[str, Any]:
    table, deviation = found.table, found.deviation
    shift, error = table["shift"].to_numpy(), table["standard_error"].to_numpy()
    sure = error > 0
    largest = int(np.argmax(np.abs(shift)))
    row: dict[str, Any] = {"bins": len(shift), "max_shift": shift[largest], "at": table["value"].iloc[largest]}
    t_drawn = np.max(np.abs(deviation[:, sure] / error[sure]), axis=1) if sure.any() else np.zeros(len(deviation))
    t_seen = np.max(np.abs(shift[sure]) / error[sure]) if sure.any() else (np.inf if np.any(shift != 0) else 0.0)
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
    seen = row["p_max"] <= options.level
    row["verdict"] = (
        "dominates" if seen and row["ratio"] > options.dominate_ratio else ("matters" if seen else "not seen")
    )
    return row


def _overall(summary: pd.DataFrame) -> tuple[str, str]:
    priors = summary[summary["is_prior"]]
    measured = priors[priors["verdict"] != "not measured"]
    if measured.empty:
        return "not measured", "Whether the priors dominate is not measured: no prior was varied in cells that compare."
    names = {word: list(dict.fromkeys(measured.loc[measured["verdict"] == word, "alternative"]))
             for word in ("dominates", "matters")}  # fmt: skip
    # one cell's largest shift is mostly noise: it is named only where it was seen, or no axis was measured
    seen = measured[measured["verdict"].isin(["dominates", "matters"])]
    along = measured[measured["axis"] != "surface"]
    ranked = next(rows for rows in (seen, along, measured) if len(rows))
    worst = ranked.iloc[int(ranked["max_shift"].abs().argmax())]
    largest = (
        f"the largest shift is {worst['max_shift']:+.4f} ({worst['alternative']}, {worst['axis']} = {worst['at']:g})"
    )
    if names["dominates"]:
        verb = "moves" if len(names["dominates"]) == 1 else "move"
        words = f"Priors dominate: {', '.join(names['dominates'])} {verb} the surface by more than its own errors"
        return "priors dominate", f"{words}; {largest}."
    if names["matters"]:
        words = f"Priors matter within the errors: {', '.join(names['matters'])}"
        return "priors matter", f"{words}; {largest}."
    return "no shift seen", f"No shift beyond noise was seen under any prior; {largest}."
