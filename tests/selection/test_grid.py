"""The design grid: centres are named, edges lie half a step away, and nothing outside counts."""

import numpy as np
import pytest

from skytrace.errors import OptionError
from skytrace.selection.grid import GridOptions, SelectionGrid


def test_the_default_grid_is_the_published_eleven_by_seven_by_five():
    grid = SelectionGrid(GridOptions())
    assert grid.shape == (11, 7, 5)
    assert grid.n_cells == 385
    assert grid.edges["theta_e"][[0, -1]] == pytest.approx([0.375, 3.125])
    assert grid.edges["psf_fwhm"][[0, -1]] == pytest.approx([0.825, 1.875])
    assert grid.edges["depth"][[0, -1]] == pytest.approx([22.25, 24.75])


def test_every_centre_lies_in_its_own_bin_and_what_is_outside_in_none():
    grid = SelectionGrid(GridOptions())
    for axis, centres in grid.centres.items():
        assert grid.bin_of(axis, centres).tolist() == list(range(len(centres)))
        edges = grid.edges[axis]
        assert grid.bin_of(axis, [edges[0] - 1e-6, edges[-1], np.nan]).tolist() == [-1, -1, -1]
        assert grid.bin_of(axis, edges[:1]).tolist() == [0]


def test_cell_numbers_run_with_depth_fastest():
    cells = SelectionGrid(GridOptions()).cells()
    row = cells.iloc[3 * 35 + 2 * 5 + 4]
    assert (row["theta_index"], row["psf_index"], row["depth_index"]) == (3, 2, 4)
    assert (row["theta_e"], row["psf_fwhm"], row["depth"]) == (1.25, 1.2, 24.5)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"theta_e_arcsec": [0.5, 1.0, 1.2]}, "equal steps"),
        ({"depth_mag": [23.0]}, "at least two"),
        ({"psf_fwhm_arcsec": [1.2, 90.0]}, r"psf_fwhm_arcsec = 90"),
        ({"depth_column": "depth"}, "psfdepth_r, galdepth_r"),
        ({"injections_per_cell": 0}, "injections_per_cell"),
    ],
)
def test_an_impossible_grid_is_refused_by_key_and_value(bad, words):
    with pytest.raises(OptionError, match=words):
        GridOptions(**bad)
