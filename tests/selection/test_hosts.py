"""Hosts: nothing that the detector learnt from, matched or degraded but never both, never sharpened."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, LeakageError, OptionError
from skytrace.imaging.photometry import psfdepth_from_mag
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.hosts import HostOptions, eligible_hosts, hosts_in_use, match_hosts, verify_hosts

GRID = SelectionGrid(GridOptions(psf_fwhm_arcsec=(1.2, 1.5), depth_mag=(23.5, 24.0)))
NO_LENSES = pd.DataFrame({"galaxy_id": [], "ra": [], "dec": []})


def galaxies(psf, mag) -> pd.DataFrame:
    n = len(psf)
    table = pd.DataFrame({"galaxy_id": [f"g{i:03d}" for i in range(n)], "ra": 150 + 0.01 * np.arange(n), "dec": 2.0})
    for band in "grz":
        table[f"psfsize_{band}"] = np.asarray(psf, dtype=float)
        table[f"psfdepth_{band}"] = psfdepth_from_mag(np.asarray(mag, dtype=float))
    return table.assign(label=0, galdepth_r=table["psfdepth_r"])


def split_of(table: pd.DataFrame, names=None) -> pd.DataFrame:
    return table[["galaxy_id", "ra", "dec"]].assign(split=names or "test")


def test_a_host_from_train_is_named():
    table = galaxies([1.2] * 3, [23.5] * 3)
    with pytest.raises(LeakageError, match=r"by galaxy_id\): g001"):
        verify_hosts(table, NO_LENSES, split_of(table, ["test", "train", "test"]))


def test_a_host_at_the_position_of_a_validation_galaxy_is_named_whatever_its_id():
    table = galaxies([1.2] * 3, [23.5] * 3)
    other = pd.DataFrame({"galaxy_id": ["x"], "ra": [table["ra"][2]], "dec": [2.0 + 0.9 / 3600]}).assign(split="val")
    with pytest.raises(LeakageError, match='within 1" of a galaxy of training or validation: g002'):
        verify_hosts(table, NO_LENSES, other)
    assert verify_hosts(table, NO_LENSES, other.assign(dec=2.0 + 1.2 / 3600))["trained_or_validated"] == 1


def test_a_lens_is_no_host():
    table = galaxies([1.2] * 3, [23.5] * 3)
    lenses = table.iloc[:1][["galaxy_id", "ra", "dec"]]
    assert eligible_hosts(table, lenses, split_of(table))["galaxy_id"].tolist() == ["g001", "g002"]
    with pytest.raises(LeakageError, match="lenses: g000"):
        verify_hosts(table, lenses, split_of(table))


def test_only_the_test_split_gives_hosts_unless_the_sky_is_another():
    table = galaxies([1.2] * 3, [23.5] * 3)
    split = split_of(table, ["train", "val", "test"])
    assert eligible_hosts(table, NO_LENSES, split)["galaxy_id"].tolist() == ["g002"]
    elsewhere = eligible_hosts(table, NO_LENSES, split, options=HostOptions(host_splits="any"))
    assert len(elsewhere) == 3


def test_no_hosts_and_repeated_hosts_are_refused():
    table = galaxies([1.2] * 3, [23.5] * 3)
    with pytest.raises(CatalogueError, match="no host galaxies: of 3"):
        eligible_hosts(table, NO_LENSES, split_of(table, ["train"] * 3))
    with pytest.raises(CatalogueError, match="repeat galaxy_id g000"):
        eligible_hosts(pd.concat([table, table.iloc[:1]]), NO_LENSES, split_of(table))


def test_enough_matched_hosts_are_used_as_they_are_and_too_few_are_replaced_by_degraded_ones():
    table = galaxies([1.2] * 5 + [0.9] * 8, [23.5] * 5 + [24.9] * 8)
    options = HostOptions(min_matched_hosts=5)
    _, conditions = match_hosts(table, GRID, options=options)
    first = conditions.set_index(["psf_fwhm", "depth"]).loc[(1.2, 23.5)]
    assert (first["mode"], first["n_matched"], first["n_degraded"], first["n_hosts"]) == ("matched", 5, 8, 5)
    _, conditions = match_hosts(table, GRID, options=HostOptions(min_matched_hosts=6))
    assert conditions.set_index(["psf_fwhm", "depth"]).loc[(1.2, 23.5), "mode"] == "degraded"


def test_hosts_are_never_sharpened_deepened_or_made_quieter():
    worse = galaxies(
        [1.85, 1.2, 1.2], [24.9, 22.3, 24.3]
    )  # broad; shallow; deep, but its pixels are noisier than the target's
    assignments, conditions = match_hosts(worse.iloc[:2], GRID)
    assert conditions["mode"].eq("no_hosts").all()
    assert len(assignments) == 0
    grid = SelectionGrid(GridOptions(psf_fwhm_arcsec=(2.4, 2.7), depth_mag=(23.5, 24.0)))
    _, conditions = match_hosts(worse.iloc[2:], grid)
    assert conditions.set_index(["psf_fwhm", "depth"]).loc[(2.7, 24.0), "mode"] == "no_hosts"


def test_the_choice_does_not_depend_on_the_order_of_the_rows():
    table = galaxies([1.2] * 40, [23.5] * 40)
    options = HostOptions(max_hosts_per_cell=10)
    first, _ = match_hosts(table, GRID, options=options)
    second, _ = match_hosts(table.sample(frac=1.0, random_state=3), GRID, options=options)
    assert first["galaxy_id"].tolist() == second["galaxy_id"].tolist()
    assert len(first) == 10


def test_few_hosts_leave_a_cell_short_of_injections():
    _, conditions = match_hosts(galaxies([1.2] * 3, [23.5] * 3), GRID, options=HostOptions(max_injections_per_host=20))
    assert conditions.set_index(["psf_fwhm", "depth"]).loc[(1.2, 23.5), "n_per_cell"] == 60


def test_an_unknown_split_is_refused():
    with pytest.raises(OptionError, match="host_splits = 'train' is not one of test, any"):
        HostOptions(host_splits="train")


def test_every_condition_draws_hosts_of_its_own_so_that_no_few_carry_the_sky():
    grid = SelectionGrid(
        GridOptions(psf_fwhm_arcsec=(1.2, 1.35, 1.5), depth_mag=(22.0, 22.5, 23.0), injections_per_cell=200)
    )
    table = galaxies([0.9] * 400, [25.0] * 400)
    assignments, conditions = match_hosts(table, grid, options=HostOptions(max_hosts_per_cell=40))
    assert (conditions["mode"] == "degraded").all() and (conditions["n_hosts"] == 40).all()
    found = hosts_in_use(assignments, conditions)["degraded"]
    # 9 draws of 40 out of 400: 400 (1 - 0.9^9) = 245 different ones, give or take 6
    assert 225 < found["hosts"] < 265
    # of those uses m ~ Binomial(9, 0.1): (sum m)^2 / sum m^2 = 400 E[m]^2 / E[m^2] = 400 * 0.81 / 1.62 = 200
    assert found["effective_hosts"] == pytest.approx(200, abs=15)
    assert found["conditions"] == 9


def test_hosts_used_alike_count_fully_and_one_that_carries_half_counts_for_little():
    conditions = pd.DataFrame({"condition": [0, 1], "n_per_cell": [100, 100], "n_hosts": [5, 1]})
    rows = [(0, "degraded", f"h{i}") for i in range(5)] + [(1, "matched", "h0")]
    assignments = pd.DataFrame(rows, columns=["condition", "mode", "galaxy_id"])
    found = hosts_in_use(assignments, conditions)
    assert found["degraded"] == {"conditions": 1, "hosts": 5, "effective_hosts": pytest.approx(5.0)}
    assert found["all"]["effective_hosts"] == pytest.approx(200**2 / (120**2 + 4 * 20**2))
