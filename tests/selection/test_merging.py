"""Merging of insufficient cells: a rule that reads counts and modes alone, and conserves what was counted."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.selection.completeness import CompletenessOptions, completeness_table
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.merging import MergeOptions, merge_groups, merged_completeness
from skytrace.selection.selection_function import SelectionFunction

GRID = SelectionGrid(GridOptions((0.5, 0.75, 1.0, 1.25, 1.5), (0.9, 1.05), (23.0, 23.5)))
STRIDE = 4  # cells between neighbours along theta_E


def cells_with(n, mode=None, grid=GRID):
    """(n, mode) of all cells from those along theta_E of the first condition; the other conditions are ample."""
    counts, modes = np.full(grid.n_cells, 500), np.full(grid.n_cells, "matched", dtype=object)
    counts[::STRIDE] = n
    if mode is not None:
        modes[::STRIDE] = mode
    modes[counts == 0] = "none"
    return counts, modes


def groups_of_first_line(n, mode=None, **options):
    group = merge_groups(*cells_with(n, mode), GRID, min_injections=200, options=MergeOptions(**options))
    assert (np.delete(group, np.arange(0, 20, 4)) == np.delete(np.arange(20), np.arange(0, 20, 4))).all()
    return list(group[::STRIDE] // STRIDE)


@pytest.mark.parametrize(
    "n, expected",
    [
        ([100, 100, 100, 100, 300], [0, 0, 2, 2, 4]),  # pairs that reach 200; a sufficient cell stays alone
        ([100, 100, 50, 300, 10], [0, 0, 0, 3, 4]),  # a short rest joins its neighbour; across a full cell it does not
        ([150, 0, 150, 60, 300], [0, 1, 2, 2, 4]),  # an empty cell is a gap, and is never filled
        ([60, 60, 60, 60, 150], [0, 1, 2, 2, 2]),  # at most three cells: the first two never reach 200
        ([300, 300, 300, 300, 199], [0, 1, 2, 3, 4]),  # no insufficient neighbour: left insufficient
    ],
)
def test_the_rule_along_a_line(n, expected):
    assert groups_of_first_line(n) == expected


def test_matched_and_degraded_cells_never_join():
    modes = ["matched", "degraded", "degraded", "matched", "matched"]
    assert groups_of_first_line([150, 150, 150, 150, 150], modes) == [0, 1, 1, 3, 3]


def test_cells_join_along_the_second_axis_where_the_first_gave_nothing():
    n = np.full(GRID.n_cells, 500)
    n[[0, 1]] = 120  # neighbours in depth, alone along theta_E
    mode = np.full(GRID.n_cells, "matched", dtype=object)
    assert (merge_groups(n, mode, GRID, options=MergeOptions(("theta_e",))) == np.arange(20)).all()
    group = merge_groups(n, mode, GRID, options=MergeOptions(("theta_e", "depth")))
    assert list(group[:3]) == [0, 0, 2]


def sample(seed=0):
    rng = np.random.default_rng(seed)
    n, mode = cells_with([90, 120, 0, 150, 30], ["matched", "matched", "matched", "degraded", "degraded"])
    cell = np.repeat(np.arange(GRID.n_cells), n)
    return pd.DataFrame(
        {
            "cell": cell, "galaxy_id": [f"h{i % 23}" for i in range(len(cell))], "mode": mode[cell],
            "score": rng.random(len(cell)),
        }
    )  # fmt: skip


def test_counts_are_conserved_at_every_threshold():
    injections = sample()
    options = CompletenessOptions((0.5, 0.9))
    table = merged_completeness(injections, GRID, options=options)
    for threshold, rows in table.groupby("threshold"):
        detected = int((injections["score"] >= threshold).sum())
        assert (rows["n_own"].sum(), rows["n_detected_own"].sum()) == (len(injections), detected)
        once = rows.drop_duplicates("merge_group")
        assert (once["n"].sum(), once["n_detected"].sum()) == (len(injections), detected)
    assert len(table) == 2 * GRID.n_cells


def test_a_group_has_the_pooled_counts_hosts_and_intervals_and_says_merged():
    injections = sample()
    table = merged_completeness(injections, GRID)
    rows = table[table["merge_group"] == 0]
    inside = injections[injections["cell"].isin([0, 4])]
    assert list(rows["cell"]) == [0, 4] and list(rows["n_own"]) == [90, 120]
    assert (rows["state"] == "merged").all() and rows["sufficient"].all() and (rows["merge_cells"] == 2).all()
    assert (rows["n"] == 210).all() and (rows["n_hosts"] == inside["galaxy_id"].nunique()).all()
    assert (rows["completeness"] == (inside["score"] >= 0.5).mean()).all()
    assert list(rows["theta_e"]) == [0.5, 0.75]
    plain = completeness_table(injections, GRID)
    others = ~table["state"].eq("merged")
    pd.testing.assert_frame_equal(table.loc[others, plain.columns], plain[others])
    assert set(table.loc[table["cell"].isin([12, 16]), "state"]) == {"insufficient"}  # 180 together, still short
    assert table.loc[8, "state"] == "no_hosts"


def test_a_group_of_enough_injections_into_too_few_hosts_stays_insufficient():
    table = merged_completeness(sample().assign(galaxy_id="h0"), GRID)
    rows = table[table["merge_group"] == 0]
    assert (rows["n"] == 210).all() and (rows["state"] == "insufficient").all() and not rows["sufficient"].any()


def test_the_groups_do_not_depend_on_what_was_detected():
    injections = sample()
    groups = [merged_completeness(injections.assign(score=s), GRID)["merge_group"] for s in (0.1, 0.9)]
    pd.testing.assert_series_equal(*groups)


def test_a_merged_surface_is_a_selection_function():
    answer = SelectionFunction.from_table(merged_completeness(sample(), GRID)).probability(
        theta_e=0.75, psf_fwhm=0.9, depth=23.0
    )
    assert (answer.state, answer.sufficient, answer.n) == ("merged", True, 210)


def test_impossible_options_are_refused():
    with pytest.raises(OptionError, match="axes = 'colour'"):
        MergeOptions(("colour",))
    with pytest.raises(OptionError, match="each once"):
        MergeOptions(("depth", "depth"))
    with pytest.raises(CatalogueError, match="one value a cell"):
        merge_groups([1, 2], ["matched", "matched"], GRID)
