"""The Beta interval: reference values, limits, symmetry, coverage."""

import numpy as np
import pytest
from scipy import stats

from skytrace.errors import OptionError
from skytrace.statistics import beta_interval, beta_mean

# k, n, 68.27 % Jeffreys interval (mpmath, 1 sigma to full precision)
REFERENCE = [
    (0, 200, 0.00010004361709032699, 0.00494899690155793),
    (1, 200, 0.0020851628971058672, 0.012898016546148276),
    (100, 200, 0.4647328286037623, 0.5352671713962377),
    (199, 200, 0.9871019834538517, 0.9979148371028941),
    (200, 200, 0.9950510030984421, 0.9998999563829096),
    (7, 35, 0.1414126568777862, 0.2754523757956235),
]


def test_interval_matches_the_reference_values():
    k, n, low, high = np.array(REFERENCE).T
    got_low, got_high = beta_interval(k, n, 0.6827)
    np.testing.assert_allclose(got_low, low, atol=1e-9)
    np.testing.assert_allclose(got_high, high, atol=1e-9)


def test_any_other_level_is_taken_literally():
    low, high = beta_interval(13, 47, 0.9)
    posterior = stats.beta(13.5, 34.5)
    assert posterior.cdf(low) == pytest.approx(0.05, abs=1e-12)
    assert posterior.cdf(high) == pytest.approx(0.95, abs=1e-12)


def test_detections_and_misses_mirror_each_other():
    k = np.arange(36)
    low, high = beta_interval(k, 35, 0.9545)
    mirrored_low, mirrored_high = beta_interval(35 - k, 35, 0.9545)
    np.testing.assert_allclose(low, 1.0 - mirrored_high, atol=1e-14)
    np.testing.assert_allclose(high, 1.0 - mirrored_low, atol=1e-14)


def test_nothing_tried_gives_the_wide_interval_of_the_prior():
    low, high = beta_interval(0, 0)
    # arcsine law: cdf(p) = 2/pi asin(sqrt(p))
    tail = 0.5 * (1.0 - 0.682689492137086)
    assert low == pytest.approx(np.sin(0.5 * np.pi * tail) ** 2, abs=1e-12)
    assert high == pytest.approx(1.0 - low, abs=1e-12)
    assert beta_mean(0, 0) == 0.5


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 5), (5.1, 5), (np.nan, 5), (1, np.nan), (1, np.inf)])
def test_impossible_counts_are_refused_by_value(k, n):
    with pytest.raises(OptionError, match=r"0 <= k <= n"):
        beta_interval(k, n)


def test_effective_counts_between_whole_ones_have_the_same_posterior():
    low, high = beta_interval(2.6, 13.4, 0.9)
    posterior = stats.beta(3.1, 11.3)
    assert posterior.cdf(low) == pytest.approx(0.05, abs=1e-12)
    assert posterior.cdf(high) == pytest.approx(0.95, abs=1e-12)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, np.nan])
def test_a_level_outside_zero_to_one_is_refused(level):
    with pytest.raises(OptionError, match="level"):
        beta_interval(1, 2, level)


def test_68_percent_intervals_cover_the_truth_of_a_simulated_detector():
    """10,000 cells of 200 injections whose P(det) is a known smooth function of theta_E, seeing and depth."""
    rng = np.random.default_rng(68)
    theta_e, seeing, depth = rng.uniform(0.5, 3, 10_000), rng.uniform(0.9, 1.8, 10_000), rng.uniform(22.5, 24.5, 10_000)
    truth = 1.0 / (1.0 + np.exp(-(2.0 * (theta_e - 1.5) - 2.5 * (seeing - 1.2) + 0.8 * (depth - 23.5))))
    low, high = beta_interval(rng.binomial(200, truth), 200)
    assert 0.64 <= np.mean((low <= truth) & (truth <= high)) <= 0.73
