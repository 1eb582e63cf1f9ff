"""The split by sky: definition, shares, and refusals."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.sky import SplitOptions, assign_split, healpix_cell, withhold_anchors


@pytest.fixture
def sky():
    rng = np.random.default_rng(3)
    return rng.uniform(0, 360, 20_000), np.degrees(np.arcsin(rng.uniform(-0.3, 0.5, 20_000)))


def test_the_split_is_the_hash_of_the_cell_and_the_seed(sky):
    ra, dec = sky
    split = assign_split(ra, dec, seed=11)
    for i in range(50):
        cell = healpix_cell(ra[i], dec[i])[0]
        number = int.from_bytes(hashlib.sha256(f"{cell}:11".encode()).digest()[:8], "big") / 2**64
        assert split[i] == ("train" if number < 0.70 else "val" if number < 0.85 else "test")


def test_cells_are_nested_healpix():
    # base pixel 0 is centred on (45, 41.8103) deg, base pixel 4 on (0, 0); a parent is a quarter of its child's index
    assert healpix_cell([45.0, 0.0], [41.8103, 0.0], nside=1).tolist() == [0, 4]
    ra, dec = np.array([10.0, 200.0, 300.0]), np.array([-15.0, 5.0, 30.0])
    np.testing.assert_array_equal(healpix_cell(ra, dec, nside=128) // 4, healpix_cell(ra, dec, nside=64))


def test_shares_of_the_sky_are_the_fractions(sky):
    names, counts = np.unique(assign_split(*sky, seed=5), return_counts=True)
    share = dict(zip(names.tolist(), (counts / counts.sum()).tolist(), strict=True))
    assert share["train"] == pytest.approx(0.70, abs=0.02)
    assert share["val"] == pytest.approx(0.15, abs=0.02)


def test_a_position_keeps_its_split_in_any_order_and_across_ra_360(sky):
    ra, dec = sky
    order = np.random.default_rng(0).permutation(len(ra))
    np.testing.assert_array_equal(assign_split(ra[order], dec[order], seed=2), assign_split(ra, dec, seed=2)[order])
    np.testing.assert_array_equal(assign_split(ra - 360.0, dec, seed=2), assign_split(ra, dec, seed=2))


def test_an_empty_table_has_an_empty_split():
    assert assign_split([], [], seed=1).shape == (0,)


def test_positions_off_the_sky_are_refused():
    with pytest.raises(CatalogueError, match="row 1"):
        assign_split([10.0, np.nan], [0.0, 0.0], seed=1)
    with pytest.raises(CatalogueError, match="dec = 91"):
        assign_split([10.0], [91.0], seed=1)


@pytest.mark.parametrize("bad", [{"nside": 100}, {"fractions": (0.7, 0.2, 0.2)}, {"fractions": (1.2, -0.1, -0.1)}])
def test_split_options_outside_their_range_are_refused(bad):
    with pytest.raises(OptionError, match=next(iter(bad))):
        SplitOptions(**bad)


def test_anchors_are_withheld_from_training_and_validation_only():
    table = pd.DataFrame({"split": ["train", "val", "test", "train"], "is_anchor": [True, True, True, False]})
    kept, ledger = withhold_anchors(table)
    assert kept["split"].tolist() == ["anchor", "anchor", "test", "train"]
    assert ledger[["rows_in", "rows_out", "removed"]].to_numpy().tolist() == [[4, 2, 2]]
    assert table["split"].tolist() == ["train", "val", "test", "train"]
