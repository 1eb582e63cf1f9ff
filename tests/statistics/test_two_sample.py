"""Two-sample tests: closed forms, brute force, and p-values that are uniform when nothing differs."""

import numpy as np
import pytest
from scipy import stats

from skytrace.errors import OptionError
from skytrace.statistics import (
    energy_distance,
    energy_distance_permutation,
    ks_fixed_sample,
    ks_statistic,
    standardised_mean_difference,
)


def test_ks_matches_scipy_with_ties_and_leaves_nan_out():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 20, 300).astype(float), rng.integers(2, 25, 500).astype(float)
    expected = stats.ks_2samp(a, b, method="asymp")
    statistic, p_value = ks_statistic(np.append(a, np.nan), b)
    assert statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert p_value == pytest.approx(stats.kstwobign.sf(np.sqrt(300 * 500 / 800) * statistic), rel=1e-9)


def test_ks_at_a_fixed_size_forgives_a_difference_that_only_millions_of_pixels_see():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=400_000), rng.normal(0.01, 1.0, 400_000)
    assert ks_statistic(a, b)[1] < 0.01
    fixed = ks_fixed_sample(a, b, n=2000, n_resamples=50, seed=2)
    assert fixed.n == 2000 and fixed.p_value > 0.05
    assert fixed.statistic_low < fixed.statistic < fixed.statistic_high
    shifted = ks_fixed_sample(a, b + 0.2, n=2000, n_resamples=50, seed=2)
    # two unit Gaussians 0.21 apart: D = 2 Phi(0.105) - 1
    assert shifted.statistic == pytest.approx(2 * stats.norm.cdf(0.105) - 1, abs=0.015)
    assert shifted.p_value < 1e-4


def test_ks_falls_to_the_smaller_sample():
    assert ks_fixed_sample(np.arange(30.0), np.arange(500.0), n=2000, n_resamples=3, seed=1).n == 30


@pytest.mark.parametrize("dimensions", [1, 3])
def test_energy_distance_is_its_definition(dimensions):
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(40, dimensions)), rng.normal(0.5, 1.0, (25, dimensions))

    def mean_distance(x, y):
        return np.mean([np.linalg.norm(p - q) for p in x for q in y])

    expected = 2 * mean_distance(a, b) - mean_distance(a, a) - mean_distance(b, b)
    assert energy_distance(a, b) == pytest.approx(expected, rel=1e-10)
    if dimensions == 1:
        assert energy_distance(a[:, 0], b[:, 0]) == pytest.approx(
            stats.energy_distance(a[:, 0], b[:, 0]) ** 2, rel=1e-9
        )


def test_two_points_are_twice_their_distance_apart():
    assert energy_distance([0.0], [3.0]) == pytest.approx(6.0)
    assert energy_distance([1.0, 2.0], [2.0, 1.0]) == pytest.approx(0.0, abs=1e-12)


def test_permutation_p_values_are_uniform_when_the_samples_are_alike():
    rng = np.random.default_rng(4)
    p = [energy_distance_permutation(*rng.normal(size=(2, 15)), n_permutations=99, seed=i).p_value for i in range(300)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_permutation_p_value_of_a_clear_difference_is_the_smallest_possible():
    rng = np.random.default_rng(5)
    result = energy_distance_permutation(rng.normal(size=60), rng.normal(2.0, 1.0, 50), n_permutations=199, seed=1)
    assert result.p_value == 1 / 200
    assert (result.n_a, result.n_b) == (60, 50)


def test_identical_samples_have_p_value_one():
    assert energy_distance_permutation([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], n_permutations=50, seed=1).p_value == 1.0


def test_standardised_mean_difference_is_in_units_of_the_pooled_spread():
    assert standardised_mean_difference([1.0, 3.0], [4.0, 8.0]) == pytest.approx(-4.0 / np.sqrt(2.5))
    assert standardised_mean_difference([2.0, 2.0], [2.0]) == 0.0
    assert standardised_mean_difference([2.0], [1.0]) == np.inf


def test_samples_without_values_are_refused():
    with pytest.raises(OptionError, match="sample b"):
        ks_statistic([1.0], [np.nan])
    with pytest.raises(OptionError, match="dimensions"):
        energy_distance(np.ones((3, 2)), np.ones((3, 1)))
