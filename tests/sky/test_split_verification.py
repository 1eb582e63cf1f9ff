"""Verification of the split: each kind of leak is caught and named; the balance report measures what differs."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, LeakageError
from skytrace.sky import assign_split, verify_split


@pytest.fixture
def table():
    rng = np.random.default_rng(4)
    n = 6000
    frame = pd.DataFrame(
        {
            "galaxy_id": [f"g{i:04d}" for i in range(n)],
            "ra": rng.uniform(100, 200, n),
            "dec": rng.uniform(-10, 30, n),
            "psfsize_r": rng.normal(1.3, 0.1, n),
            "nobs_z": rng.integers(3, 9, n),
            "type": rng.choice(["SER", "DEV"], n),
            "label": 0,
            "is_anchor": False,
        }
    )
    frame["split"] = assign_split(frame["ra"], frame["dec"], seed=1)
    return frame


def test_a_clean_split_is_balanced(table):
    report = verify_split(table)
    assert sum(report["rows"].values()) == 6000
    seeing = report["columns"]["psfsize_r"]["train_vs_test"]
    assert seeing["ks"] < 0.08 and abs(seeing["standardised_mean_difference"]) < 0.12
    assert report["type_share_max_difference"] < 0.08
    assert report["type_share"]["train"]["SER"] + report["type_share"]["train"]["DEV"] == pytest.approx(1.0)


def test_a_shifted_split_shows_in_the_report(table):
    test = table["split"] == "test"
    table.loc[test, "psfsize_r"] += 0.2
    difference = verify_split(table)["columns"]["psfsize_r"]["train_vs_test"]
    # two unit Gaussians two sigma apart: D = 2 Phi(1) - 1, d = -2
    assert difference["ks"] == pytest.approx(0.683, abs=0.06)
    assert difference["standardised_mean_difference"] == pytest.approx(-2.0, abs=0.1)
    assert difference["p_value"] < 1e-6


def _row(table, split):
    return table.index[table["split"] == split][0]


def test_a_cell_in_two_splits_is_named(table):
    row = _row(table, "train")
    table.loc[len(table)] = table.loc[row].copy()
    table.loc[len(table) - 1, ["galaxy_id", "split"]] = ["extra", "test"]
    table.loc[len(table) - 1, "dec"] += 2.0 / 3600
    with pytest.raises(LeakageError, match=r"HEALPix cell in two splits: \d+"):
        verify_split(table)


def test_a_galaxy_in_two_splits_is_named(table):
    first, second = _row(table, "train"), _row(table, "test")
    table.loc[second, "galaxy_id"] = table.loc[first, "galaxy_id"]
    with pytest.raises(LeakageError, match=f"galaxy_id in two splits: {table.loc[first, 'galaxy_id']}"):
        verify_split(table)


def test_two_positions_an_arcsecond_apart_across_a_cell_border_are_named(table):
    table = table.copy()
    # walk along a parallel until the split changes, and put two galaxies astride
    ra = np.arange(150.0, 160.0, 0.4 / 3600)
    split = assign_split(ra, np.full(len(ra), 5.0), seed=1)
    edge = np.flatnonzero(split[1:] != split[:-1])[0]
    for k in (0, 1):
        new = table.iloc[0].copy()
        new[["galaxy_id", "ra", "dec", "split"]] = [f"edge{k}", ra[edge + k], 5.0, split[edge + k]]
        table.loc[len(table)] = new
    with pytest.raises(LeakageError, match="edge0 and edge1"):
        verify_split(table)
    assert verify_split(table, separation_arcsec=0.3)["rows"]


def test_an_evaluation_anchor_in_train_is_named_and_a_withheld_one_is_not(table):
    row = _row(table, "train")
    table.loc[row, "is_anchor"] = True
    with pytest.raises(LeakageError, match=f"anchor in train or val: {table.loc[row, 'galaxy_id']}"):
        verify_split(table)
    table.loc[row, "split"] = "anchor"
    assert verify_split(table)["rows"]["anchor"] == 1


def test_all_leaks_are_told_at_once(table):
    first, second = _row(table, "train"), _row(table, "test")
    table.loc[second, ["galaxy_id", "ra", "dec"]] = table.loc[first, ["galaxy_id", "ra", "dec"]].to_numpy()
    with pytest.raises(LeakageError, match=r"HEALPix cell.*galaxy_id.*position"):
        verify_split(table)


def test_unknown_splits_and_missing_columns_are_refused(table):
    with pytest.raises(CatalogueError, match="is_anchor"):
        verify_split(table.drop(columns="is_anchor"))
    with pytest.raises(CatalogueError, match="'dev'"):
        verify_split(table.replace({"split": {"val": "dev"}}))
