"""How many injected lenses the detector finds, cell by cell, with intervals that know about shared hosts.

A cell is never smoothed. The plain interval (Jeffreys) treats every injection as a trial of its own; the ``_hosts``
interval uses n / design effect trials, because injections into one host succeed and fail together (Kish 1965, ch. 6).
Where fewer than five hosts have a detection, or fewer than five a miss, a cell hardly says how alike its injections
are: its effect is then taken no smaller than that of the correlation pooled over cells that do say, and where none does
a host counts as one trial.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, check_between, check_whole
from skytrace.selection.grid import AXES
from skytrace.statistics import LEVELS, beta_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.grid import SelectionGrid

__all__ = [
    "CELL_STATES", "HOST_COLUMNS", "INJECTION_COLUMNS", "CompletenessOptions", "completeness_table", "host_tallies",
    "marginals",
]  # fmt: skip

#: What a scored injection must say: its cell, its host, how the host came there (matched or degraded), its score.
INJECTION_COLUMNS = ("cell", "galaxy_id", "mode", "score")
#: ok: enough injections and hosts. insufficient: too few of either. no_hosts: none. merged: cells joined by rule.
CELL_STATES = ("ok", "insufficient", "no_hosts", "merged")
#: What each host adds to a cell, as lists: its number (the same in every cell), its injections, how many were detected.
HOST_COLUMNS = ("hosts", "host_n", "host_n_detected")
#: Hosts with a detection, and with a miss, from which a cell's own design effect is believed.
_TELLING_HOSTS = 5


@dataclass(frozen=True)
class CompletenessOptions:
    """thresholds: detected means score >= threshold, each in (0, 1), or one such number; none where only the
    detector's own is meant (see ``with_detector``). min_injections, min_hosts: fewer make a cell insufficient.
    """

    thresholds: tuple[float, ...] = (0.5,)
    min_injections: int = 200
    min_hosts: int = 20

    def __post_init__(self) -> None:
        listed = self.thresholds if isinstance(self.thresholds, list | tuple) else (self.thresholds,)
        for value in listed:
            check_between("thresholds", value, 0.0, 1.0, include_low=False, include_high=False)
        object.__setattr__(self, "thresholds", tuple(float(value) for value in listed))
        if len(set(self.thresholds)) != len(self.thresholds):
            raise OptionError(f"thresholds = {list(self.thresholds)} must be different values")
        check_whole("min_injections", self.min_injections, 1, 1_000_000)
        check_whole("min_hosts", self.min_hosts, 1, 1_000_000)

    def with_detector(self, threshold: float) -> CompletenessOptions:
        """The same with the detector's own threshold first."""
        others = tuple(value for value in self.thresholds if value != threshold)
        return replace(self, thresholds=(threshold, *others))


def completeness_table(
    injections: pd.DataFrame, grid: SelectionGrid, *, options: CompletenessOptions | None = None
) -> pd.DataFrame:
    """One row a (threshold, cell) of ``grid``, cells without injections included.

    injections: INJECTION_COLUMNS, one row an injection; a cell holds one mode only. Columns out: those of
    ``grid.cells()``, threshold, mode (none where empty), state, sufficient, n, n_detected, n_hosts, completeness
    (n_detected / n), low68, high68, low95, high95, design_effect (of the hosts; NaN where all or none are detected or
    there is one host), n_effective, low68_hosts, high68_hosts, low95_hosts, high95_hosts. NaN with state no_hosts.
    Raises CatalogueError on missing columns, cells outside the grid, unusable scores, or two modes in one cell;
    OptionError without a threshold.
    """
    options = _usable(options)
    _check_injections(injections, n_cells=grid.n_cells)
    cell = injections["cell"].to_numpy(dtype=np.int64)
    counts = _HostCounts.of(cell, injections["galaxy_id"], n_groups=grid.n_cells)
    mode = np.full(grid.n_cells, "none", dtype=object)
    mode[cell] = injections["mode"].to_numpy()
    enough = (counts.n >= options.min_injections) & (counts.n_hosts >= options.min_hosts)
    state = np.where(enough, "ok", np.where(counts.n > 0, "insufficient", "no_hosts"))
    score = injections["score"].to_numpy(dtype=np.float64)
    tables = []
    for threshold in options.thresholds:
        table = grid.cells()
        table["threshold"], table["mode"], table["state"] = threshold, mode, state.astype(object)
        table["sufficient"] = state == "ok"
        tables.append(table.assign(**counts.shares(score >= threshold)))
    return pd.concat(tables, ignore_index=True)


def host_tallies(
    injections: pd.DataFrame, grid: SelectionGrid, *, options: CompletenessOptions | None = None
) -> pd.DataFrame:
    """HOST_COLUMNS of every row of ``completeness_table``: which cells share hosts, and how these fared in each.

    With them any average over cells has an uncertainty, hosts taken whole. Raises as ``completeness_table``.
    """
    options = _usable(options)
    _check_injections(injections, n_cells=grid.n_cells)
    cell = injections["cell"].to_numpy(dtype=np.int64)
    counts = _HostCounts.of(cell, injections["galaxy_id"], n_groups=grid.n_cells)
    score = injections["score"].to_numpy(dtype=np.float64)
    ends = np.cumsum(np.bincount(counts.pair_group, minlength=grid.n_cells))[:-1]

    def by_cell(values: NDArray) -> list[NDArray[np.int32]]:
        return np.split(values.astype(np.int32), ends)

    tables = []
    for threshold in options.thresholds:
        hits = np.bincount(counts.pair, weights=score >= threshold, minlength=len(counts.pair_n))
        columns = (by_cell(counts.pair_host), by_cell(counts.pair_n), by_cell(hits))
        tables.append(
            pd.DataFrame({name: pd.Series(v, dtype=object) for name, v in zip(HOST_COLUMNS, columns, strict=True)})
        )
    return pd.concat(tables, ignore_index=True)


def marginals(
    injections: pd.DataFrame, grid: SelectionGrid, *, options: CompletenessOptions | None = None
) -> pd.DataFrame:
    """Completeness along each axis, the other two pooled: one row a (threshold, axis, bin).

    Columns: threshold, axis, value (bin centre), then those of ``completeness_table`` from n on. Which conditions are
    pooled differs from bin to bin where cells are empty; ``trend_test`` compares like with like.
    """
    options = _usable(options)
    _check_injections(injections, n_cells=grid.n_cells)
    index = np.unravel_index(injections["cell"].to_numpy(dtype=np.int64), grid.shape)
    score = injections["score"].to_numpy(dtype=np.float64)
    tables = []
    for axis, bins in zip(AXES, index, strict=True):
        centres = grid.centres[axis]
        counts = _HostCounts.of(bins, injections["galaxy_id"], n_groups=len(centres))
        for threshold in options.thresholds:
            head = pd.DataFrame({"threshold": threshold, "axis": axis, "value": centres})
            tables.append(head.assign(**counts.shares(score >= threshold)))
    order = {axis: place for place, axis in enumerate(AXES)}
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values(["threshold", "axis", "value"], key=_axis_order(order), ignore_index=True)


def _axis_order(order: dict[str, int]):
    return lambda column: column.map(order) if column.name == "axis" else column


@dataclass(frozen=True)
class _HostCounts:
    """Trials by group (cell or bin) and by (group, host) pair: counts, without unit.

    group, pair: (injection,), of each injection. pair_group, pair_host, pair_n: (pair,), the pair's group, the number
    of its host and its trials. n, n_hosts: (n_groups,), trials and different hosts of each group.
    """

    group: NDArray[np.int64]
    pair: NDArray[np.int64]
    pair_group: NDArray[np.int64]
    pair_host: NDArray[np.int64]
    pair_n: NDArray[np.float64]
    n: NDArray[np.int64]
    n_hosts: NDArray[np.int64]

    @classmethod
    def of(cls, group: ArrayLike, host: pd.Series, *, n_groups: int) -> _HostCounts:
        """Count injections. group: (injection,) numbers within 0..n_groups - 1, as ``_check_injections`` leaves them
        (a negative one is numpy's ValueError). host: (injection,) names. A group without injections has n = 0.
        """
        group = np.asarray(group, dtype=np.int64)
        codes, names = pd.factorize(host, sort=True)
        pairs, pair = np.unique(group * max(len(names), 1) + codes, return_inverse=True)
        pair_group = pairs // max(len(names), 1)
        return cls(
            group, pair, pair_group, pairs % max(len(names), 1),
            np.bincount(pair, minlength=len(pairs)).astype(np.float64),
            np.bincount(group, minlength=n_groups), np.bincount(pair_group, minlength=n_groups),
        )  # fmt: skip

    def shares(self, detected: NDArray[np.bool_]) -> dict[str, NDArray]:
        """Columns n to high95_hosts of every group."""
        groups, full = len(self.n), self.n > 0
        k = np.bincount(self.group, weights=detected, minlength=groups).astype(np.int64)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(full, k / self.n, np.nan)
        effect, telling = self._design_effect(detected, share)
        expected = self._expected_effect(np.where(telling, effect, np.nan))
        used = np.where(telling, effect, np.fmax(effect, expected))
        with np.errstate(invalid="ignore"):
            # hosts never make the interval narrower than independent trials would
            effective = np.where(full, self.n / np.maximum(used, 1.0), 0.0)
        columns: dict[str, NDArray] = {"n": self.n, "n_detected": k, "n_hosts": self.n_hosts, "completeness": share}
        for name, level in LEVELS.items():
            low, high = beta_interval(k, self.n, level)
            columns[f"low{name}"], columns[f"high{name}"] = np.where(full, low, np.nan), np.where(full, high, np.nan)
        columns["design_effect"], columns["n_effective"] = effect, effective
        for name, level in LEVELS.items():
            low, high = beta_interval(np.where(full, share, 0.0) * effective, effective, level)
            columns[f"low{name}_hosts"] = np.where(full, low, np.nan)
            columns[f"high{name}_hosts"] = np.where(full, high, np.nan)
        return columns

    def _design_effect(
        self, detected: NDArray[np.bool_], share: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """``statistics.design_effect`` of every group at once, NaN where it cannot be measured; and whether enough
        hosts have a detection, and enough a miss, for it to tell how alike they are.
        """
        hits = np.bincount(self.pair, weights=detected, minlength=len(self.pair_n))
        residual = (hits - share[self.pair_group] * self.pair_n) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.bincount(self.pair_group, weights=residual, minlength=len(self.n))
            clustered = self.n_hosts / (self.n_hosts - 1.0) * spread / self.n**2
            effect = clustered / (share * (1.0 - share) / self.n)
        effect = np.where((self.n_hosts > 1) & (share > 0) & (share < 1), effect, np.nan)
        hit = np.bincount(self.pair_group, weights=hits > 0, minlength=len(self.n))
        missed = np.bincount(self.pair_group, weights=hits < self.pair_n, minlength=len(self.n))
        return effect, np.minimum(hit, missed) >= _TELLING_HOSTS

    def _expected_effect(self, effect: NDArray[np.float64]) -> NDArray[np.float64]:
        """1 + (m - 1) rho with the intra-host correlation rho pooled over the groups whose ``effect`` is finite.

        A cell with none (or all) detected says nothing of its own correlation, and its trials are no more independent.
        m: trials a host, weighted by trials. rho is 1 where it was measured nowhere: then a host is one trial.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            size = np.bincount(self.pair_group, weights=self.pair_n**2, minlength=len(self.n)) / self.n
        known = np.isfinite(effect) & (size > 1)
        rho = np.clip(np.sum(effect[known] - 1.0) / np.sum(size[known] - 1.0), 0.0, 1.0) if known.any() else 1.0
        return 1.0 + (np.nan_to_num(size, nan=1.0) - 1.0) * rho


def _usable(options: CompletenessOptions | None) -> CompletenessOptions:
    options = options or CompletenessOptions()
    if not options.thresholds:
        raise OptionError("thresholds = () leaves nothing to count: name one, or take with_detector's")
    return options


def _check_injections(injections: pd.DataFrame, *, n_cells: int) -> None:
    """Raise CatalogueError with every problem of the table in one message."""
    missing = [name for name in INJECTION_COLUMNS if name not in injections.columns]
    if missing:
        raise CatalogueError(f"injections lack the columns {', '.join(missing)}")
    problems = []
    cell, score = injections["cell"], injections["score"].to_numpy(dtype=np.float64)
    outside = ~cell.between(0, n_cells - 1)
    if outside.any():
        problems.append(f"{int(outside.sum())} lie in cells outside 0..{n_cells - 1} (first: {cell[outside].iloc[0]})")
    bad = ~((score >= 0) & (score <= 1))
    if bad.any():
        problems.append(f"{int(bad.sum())} have a score that is no probability (first: {score[bad][0]})")
    unknown = set(injections["mode"]) - {"matched", "degraded"}
    if unknown:
        problems.append(f"have modes {', '.join(sorted(map(str, unknown)))}; known are matched and degraded")
    mixed = injections.groupby("cell")["mode"].nunique()
    if (mixed > 1).any():
        named = ", ".join(map(str, mixed.index[mixed > 1][:5]))
        problems.append(f"mix matched and degraded hosts in cell(s) {named}; publish each mode in a table of its own")
    if problems:
        raise CatalogueError("injections: " + "; ".join(problems))
