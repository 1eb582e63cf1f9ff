"""The stated rule by which adjacent cells with too few injections are published together.

Only insufficient cells join, only along one axis at a time (the other two bins are the same), only neighbours without a
gap, and never matched with degraded hosts. The rule reads n and mode alone, never a detection, so that it cannot choose
a result. Along every line of cells, from its low end: neighbours are joined until their injections reach the minimum,
then the next group begins; a rest that stays short joins the group before it where the span allows. A cell without
injections is never filled. Groups that never reach the minimum are dissolved, and may join along the next axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, check_choice, check_whole
from skytrace.selection.completeness import CompletenessOptions, completeness_table
from skytrace.selection.grid import AXES

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.grid import SelectionGrid

__all__ = ["MergeOptions", "merge_groups", "merged_completeness"]

#: Columns of a cell's row that say which cell it is; all others are the group's after merging.
_OF_THE_CELL = ("cell", "theta_index", "psf_index", "depth_index", *AXES, "threshold", "mode")


@dataclass(frozen=True)
class MergeOptions:
    """axes: along which cells may join, in this order. max_cells: the most cells of a group."""

    axes: tuple[str, ...] = ("theta_e",)
    max_cells: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        if not self.axes or len(set(self.axes)) != len(self.axes):
            raise OptionError(f"axes = {list(self.axes)} must name one axis or more, each once")
        for axis in self.axes:
            check_choice("axes", axis, AXES)
        check_whole("max_cells", self.max_cells, 2, 100)


def merge_groups(
    n: ArrayLike,
    mode: ArrayLike,
    grid: SelectionGrid,
    *,
    min_injections: int = 200,
    options: MergeOptions | None = None,
) -> NDArray[np.int64]:
    """Group of every cell, (n_cells,): the number of its lowest cell; a cell alone is its own group.

    n: (n_cells,) injections in cell order. mode: (n_cells,) matched, degraded, or anything else where empty.
    """
    options = options or MergeOptions()
    n, mode = np.asarray(n, dtype=np.int64), np.asarray(mode, dtype=object)
    if n.shape != (grid.n_cells,) or mode.shape != (grid.n_cells,):
        raise CatalogueError(f"n {n.shape} and mode {mode.shape} must each be ({grid.n_cells},), one value a cell")
    group = np.arange(grid.n_cells)
    for axis in options.axes:
        joined = np.bincount(group, minlength=grid.n_cells)[group] > 1
        open_cell = (n > 0) & (n < min_injections) & ~joined
        order = np.moveaxis(np.arange(grid.n_cells).reshape(grid.shape), AXES.index(axis), -1)
        for line in order.reshape(-1, order.shape[-1]):
            for members in _line_groups(n[line], mode[line], open_cell[line], min_injections, options.max_cells):
                group[line[members]] = line[members].min()
    return group


def merged_completeness(
    injections: pd.DataFrame,
    grid: SelectionGrid,
    *,
    options: CompletenessOptions | None = None,
    merging: MergeOptions | None = None,
) -> pd.DataFrame:
    """``completeness_table`` in which the cells of a group carry the counts and intervals of the whole group.

    Further columns: merge_group (lowest cell of the group), merge_cells (how many), n_own, n_detected_own (the cell's
    own counts: these add up to the injections; n does so over one row a group). State is "merged" in groups
    that have enough hosts too, and ``sufficient`` is true there. The shared completeness weighs the group's
    injections alike: it is that of no single cell. Raises as ``completeness_table``.
    """
    options = options or CompletenessOptions()
    table = completeness_table(injections, grid, options=options)
    first = table["threshold"] == table["threshold"].iloc[0]
    alone = table[first].sort_values("cell")
    group = merge_groups(
        alone["n"].to_numpy(), alone["mode"].to_numpy(), grid, min_injections=options.min_injections, options=merging
    )
    pooled = completeness_table(injections.assign(cell=group[injections["cell"].to_numpy()]), grid, options=options)
    size = np.bincount(group, minlength=grid.n_cells)
    keys = pd.MultiIndex.from_arrays([table["threshold"], group[table["cell"]]])
    shared = pooled.set_index(["threshold", "cell"]).loc[keys].reset_index(drop=True)
    merged = table.copy()
    for name in table.columns:
        if name not in _OF_THE_CELL:
            merged[name] = shared[name].to_numpy()
    members = size[group[table["cell"]]]
    # a group of enough injections can still lack hosts
    merged["state"] = np.where((members > 1) & merged["sufficient"], "merged", merged["state"]).astype(object)
    merged["merge_group"], merged["merge_cells"] = group[table["cell"]], members
    merged["n_own"], merged["n_detected_own"] = table["n"], table["n_detected"]
    return merged


def _line_groups(
    n: NDArray[np.int64], mode: NDArray, open_cell: NDArray[np.bool_], minimum: int, max_cells: int
) -> list[NDArray[np.int64]]:
    """Places of the groups of two cells or more along one line that reach the minimum."""
    breaks = np.flatnonzero((np.diff(open_cell.astype(int)) != 0) | (mode[1:] != mode[:-1])) + 1
    groups = []
    for run in np.split(np.arange(len(n)), breaks):
        if not open_cell[run[0]]:
            continue
        found, start = [], 0
        for stop in range(1, len(run) + 1):
            if n[run[start:stop]].sum() >= minimum:
                found.append(run[start:stop])
                start = stop
            elif stop - start == max_cells:  # too wide and still short: its first cell stays alone
                start += 1
        rest = run[start:]
        if found and len(rest) and found[-1][-1] + 1 == rest[0] and len(found[-1]) + len(rest) <= max_cells:
            found[-1] = np.concatenate([found[-1], rest])
        groups += found
    return groups
