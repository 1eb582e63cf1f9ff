"""Which injections stand beside which real lens: nearest in the compared conditions, each used once.

A matched set is one anchor with its injections. Within it labels are exchangeable if injections are realistic, so tests
permute labels inside sets, and cross-validation keeps sets whole: a near twin of the other label in the fitted part
would push the score of a stamp the wrong way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.selection.realism.comparison import HOST_AXES

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.realism.comparison import ComparisonSample
    from skytrace.selection.realism.options import GateOptions

__all__ = ["MatchedSets", "fold_groups", "match_injections", "matching_steps"]

#: Candidates of an anchor for the assignment, as a multiple of those wanted: enough for sets that compete.
_CANDIDATES = 16


@dataclass(frozen=True)
class MatchedSets:
    """rows: (m,) positions in anchors followed by injections (an injection's is n_anchors + its own). is_anchor: (m,).
    sets: (m,) number of the matched set, from 0. Anchors come first, in their order; each set has one.
    """

    rows: NDArray[np.int64]
    is_anchor: NDArray[np.bool_]
    sets: NDArray[np.int64]
    n_unmatched: int

    @property
    def anchors(self) -> NDArray[np.int64]:
        """Rows of the anchors table."""
        return self.rows[self.is_anchor]

    def injections(self, n_anchors: int) -> NDArray[np.int64]:
        """Rows of the injections table; n_anchors: length of the anchors table."""
        return self.rows[~self.is_anchor] - n_anchors

    def relabelled(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Labels (m,) with the anchor of each set drawn anew among its members."""
        draw = rng.random(len(self.rows))
        highest = np.full(self.sets.max() + 1, -1.0)
        np.maximum.at(highest, self.sets, draw)
        return draw == highest[self.sets]


def matching_steps(
    table: pd.DataFrame, axes: tuple[str, ...], *, options: GateOptions, arc_snr_step_dex: float | None = None
) -> NDArray[np.float64]:
    """Conditions (n, axis) of a table in the gates' steps; with ``arc_snr_step_dex`` also log10 of the arc S/N."""
    size = {
        "theta_e": options.theta_e_step_arcsec, "psf_fwhm": options.psf_fwhm_step_arcsec,
        "depth": options.depth_step_mag, HOST_AXES[0]: options.host_r_step_mag, HOST_AXES[1]: options.host_g_r_step_mag,
    }  # fmt: skip
    columns = [table[axis].to_numpy(dtype=np.float64) / size[axis] for axis in axes]
    if arc_snr_step_dex is not None:
        snr = table["arc_snr"].to_numpy(dtype=np.float64)
        columns.append(np.log10(np.where(snr > 0, snr, np.nan)) / arc_snr_step_dex)
    return np.stack(columns, axis=1)


def match_injections(
    sample: ComparisonSample,
    *,
    per_anchor: int,
    options: GateOptions,
    arc_snr_step_dex: float | None = None,
    distinct: str | None = None,
) -> MatchedSets:
    """The matched sets of a comparison: to each anchor its ``per_anchor`` nearest injections, none used twice.

    Distance is Euclidean in steps of sample.axes (see ``matching_steps``), at most max_distance_steps in any of them;
    the sum over all pairs is the least possible (assignment problem, Crouse 2016). Anchors without any are left out
    and counted; an anchor whose neighbours are wanted elsewhere may have fewer than per_anchor. distinct: a column of
    the injections (their host) of which no value is used twice either. Raises CatalogueError where it is not there.
    """
    if distinct is not None and distinct not in sample.injections:
        raise CatalogueError(f"the injections lack the column {distinct}, of which no value may be used twice")
    groups = None if distinct is None else sample.injections[distinct].to_numpy().astype(str)
    real = matching_steps(sample.anchors, sample.axes, options=options, arc_snr_step_dex=arc_snr_step_dex)
    fake = matching_steps(sample.injections, sample.axes, options=options, arc_snr_step_dex=arc_snr_step_dex)
    return match_points(real, fake, per_anchor=per_anchor, max_distance=options.max_distance_steps, groups=groups)


def match_points(
    real: NDArray[np.float64],
    fake: NDArray[np.float64],
    *,
    per_anchor: int,
    max_distance: float,
    groups: NDArray[Any] | None = None,
) -> MatchedSets:
    """``match_injections`` of points (n, axis) and (m, axis) in units of their steps; NaN points have no match.

    groups: (m,) of which no value may be used twice.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial import cKDTree

    usable = np.flatnonzero(np.isfinite(fake).all(axis=1))
    known = np.flatnonzero(np.isfinite(real).all(axis=1))
    if not len(usable) or not len(known):
        nothing = np.zeros(0, dtype=np.int64)
        return MatchedSets(nothing, nothing.astype(bool), nothing, len(real))
    # many injections may share a host: then more candidates for as many hosts
    k = min(_CANDIDATES * per_anchor * (1 if groups is None else 8), len(usable))
    near = np.unique(cKDTree(fake[usable]).query(real[known], k=np.arange(1, k + 1))[1])
    usable = usable[near]
    step = np.abs(real[known, None, :] - fake[None, usable, :])
    far = np.asarray((step > max_distance * (1.0 + 1e-9)).any(axis=2))
    never = 1e6  # above any sum of distances within reach
    cost = np.where(far, never, np.sqrt((step**2).sum(axis=2)))
    if groups is None:
        anchor, place = linear_sum_assignment(np.repeat(cost, per_anchor, axis=0))
        anchor //= per_anchor
    else:
        anchor, place = _assign_distinct(cost, groups[usable], per_anchor=per_anchor)
    found = ~far[anchor, place]
    anchor, place = anchor[found], place[found]
    matched = np.unique(anchor)
    rows = np.concatenate([known[matched], len(real) + usable[place]]).astype(np.int64)
    is_anchor = np.arange(len(rows)) < len(matched)
    sets = np.concatenate([np.arange(len(matched)), np.searchsorted(matched, anchor)]).astype(np.int64)
    return MatchedSets(rows, is_anchor, sets, len(real) - len(matched))


def _assign_distinct(
    cost: NDArray[np.float64], groups: NDArray[Any], *, per_anchor: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(anchor, column of cost) of the assignment of least sum that uses each group once: an anchor that is given a
    group has its nearest member, so the assignment is one of anchors to groups.
    """
    from scipy.optimize import linear_sum_assignment

    names, group = np.unique(groups, return_inverse=True)
    best = np.empty((len(cost), len(names)), dtype=np.int64)
    for number in range(len(names)):
        members = np.flatnonzero(group == number)
        best[:, number] = members[np.argmin(cost[:, members], axis=1)]
    of_group = np.take_along_axis(cost, best, axis=1)
    anchor, number = linear_sum_assignment(np.repeat(of_group, per_anchor, axis=0))
    anchor //= per_anchor
    return anchor, best[anchor, number]


def fold_groups(sets: ArrayLike, groups: ArrayLike, *, folds: int) -> tuple[NDArray[np.int64], bool]:
    """Groups (m,) that no fold may split, and whether they hold matched sets together too.

    groups: (m,) host or sky cell of each row. Rows that share a set or a group belong together, and so on through
    chains; where one chain then holds more than 1 / folds of the rows, the given groups alone are kept whole.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    sets = np.unique(np.asarray(sets), return_inverse=True)[1]
    groups = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    if sets.shape != groups.shape:
        raise CatalogueError(f"{len(groups)} groups for {len(sets)} matched rows")
    n_set, n = int(sets.max()) + 1, int(sets.max()) + int(groups.max()) + 2
    links = coo_array((np.ones(len(sets)), (sets, n_set + groups)), shape=(n, n))
    chain = connected_components(links, directed=False)[1][sets]
    if np.bincount(chain).max() * folds <= len(sets):
        return chain.astype(np.int64), True
    return groups.astype(np.int64), False
