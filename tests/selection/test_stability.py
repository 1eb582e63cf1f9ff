"""Stability across the sky: hosts as units, cells held fixed, a size that holds and a difference that is found."""

import numpy as np
import pytest
from scipy.special import expit

from skytrace.errors import CatalogueError, OptionError
from skytrace.selection.stability import StabilityOptions, sky_regions, stability_test

FAST = StabilityOptions(n_bootstrap=199, level=0.05)
N_HOSTS, EACH, N_CELLS, N_REGIONS = 120, 8, 6, 6


def sky(rng, luck=1.2, shift=0.0):
    """Hosts with luck of their own in the logit; completeness by cell; region 0's hosts shifted."""
    host = np.repeat(np.arange(N_HOSTS), EACH)
    region = rng.integers(0, N_REGIONS, N_HOSTS)
    # regions differ in their mix of cells, as they do in PSF and depth
    offset = region % 3
    cell = (offset[host] + rng.integers(0, 4, len(host))) % N_CELLS
    logit = np.linspace(-2.5, 1.0, N_CELLS)[cell] + (luck * rng.normal(size=N_HOSTS) + shift * (region == 0))[host]
    return cell, host, region[host], rng.random(len(host)) < expit(logit)


def test_the_test_keeps_its_size_where_hosts_are_lucky_and_regions_differ_in_their_cells():
    rng = np.random.default_rng(2)
    p = np.array([stability_test(*sky(rng), options=FAST).p_value for _ in range(400)])
    assert 0.025 < (p <= 0.05).mean() < 0.08
    assert 0.15 < (p <= 0.2).mean() < 0.25


def test_independent_trials_would_have_cried_wolf():
    from scipy.stats import chi2

    rng, rejected = np.random.default_rng(4), 0
    for _ in range(200):
        cell, _, region, detected = sky(rng)
        share = np.bincount(cell, weights=detected) / np.bincount(cell)
        excess = np.bincount(region, weights=detected - share[cell])
        variance = np.bincount(region, weights=(share * (1 - share))[cell])
        rejected += chi2.sf(np.sum(excess**2 / variance), N_REGIONS - 1) < 0.05
    assert rejected / 200 > 0.2


def test_a_region_that_differs_is_found_and_named():
    rng = np.random.default_rng(6)
    found = [stability_test(*sky(rng, luck=0.5, shift=1.5), options=FAST) for _ in range(40)]
    assert np.mean([test.verdict == "differs" for test in found]) > 0.9
    z = np.nanmean([test.table["z"].to_numpy() for test in found], axis=0)
    assert z.argmax() == 0 and z[0] > 3
    assert np.mean([test.scatter for test in found]) > np.mean([test.detectable_scatter for test in found])


def test_cells_found_in_one_region_only_say_nothing():
    # region 1 alone holds cell 1, where everything is detected; in the shared cell both are alike
    cell = np.repeat([0, 0, 1], 40)
    region = np.repeat([0, 1, 1], 40)
    host = np.arange(120)
    detected = np.concatenate([np.tile([1, 0], 20), np.tile([1, 0], 20), np.ones(40)])
    found = stability_test(cell, host, region, detected, options=FAST)
    assert found.p_value > 0.9 and found.degrees == 1
    np.testing.assert_allclose(found.table["excess"], 0.0, atol=1e-12)
    assert found.table["completeness"].tolist() == [0.5, 0.75]


def test_the_excess_and_its_error_are_those_of_a_two_sample_difference():
    # one cell, one injection a host: the excess of region 0 is (n_1 / n) times the difference of the shares
    rng = np.random.default_rng(0)
    region = np.repeat([0, 1], [300, 600])
    detected = rng.random(900) < np.where(region == 0, 0.3, 0.35)
    found = stability_test(np.zeros(900, int), np.arange(900), region, detected, options=FAST)
    share = [detected[region == r].mean() for r in (0, 1)]
    row = found.table.iloc[0]
    assert row["excess"] == pytest.approx((share[0] - share[1]) * 600 / 900)
    pooled = detected.mean()
    expected = np.sqrt(pooled * (1 - pooled) * (1 / 300 + 1 / 600)) * 600 / 900
    assert row["standard_error"] == pytest.approx(expected, rel=0.05)
    assert found.statistic == pytest.approx(row["z"] ** 2, rel=0.01)


def test_regions_with_few_hosts_are_listed_and_not_tested():
    rng = np.random.default_rng(1)
    cell, host, region, detected = sky(rng)
    region = np.where(np.isin(host, host[region == 0][:1]), 99, region)
    found = stability_test(cell, host, region, detected, options=FAST)
    last = found.table.iloc[-1]
    assert last["region"] == 99 and not last["tested"] and np.isnan(last["excess"]) and last["n_hosts"] == 1
    alone = stability_test(cell, host, np.zeros(len(host), int), detected, options=FAST)
    assert alone.verdict == "not measured" and np.isnan(alone.p_value)


def test_regions_are_nested_healpix_cells():
    fine, coarse = (sky_regions([10.0, 200.0], [5.0, -40.0], nside=nside) for nside in (4, 2))
    np.testing.assert_array_equal(fine // 4, coarse)


def test_impossible_input_is_refused():
    with pytest.raises(CatalogueError, match="two regions"):
        stability_test([0, 0], [1, 1], [0, 1], [1, 0])
    with pytest.raises(OptionError, match="power of two"):
        StabilityOptions(nside=3)
