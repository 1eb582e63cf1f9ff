import json

import numpy as np
import pytest
from scipy.stats import beta, chi2, norm
from sklearn.covariance import LedoitWolf

from skytrace.errors import CatalogueError, OptionError
from skytrace.learning.anomaly import AnomalyDetector, anomalies_over_chance, fit_anomaly_detector


def correlated(n, *, seed, d=5):
    mixing = np.random.default_rng(0).normal(size=(d, d))
    return np.random.default_rng(seed).normal(size=(n, d)) @ mixing + np.arange(d)


def test_squared_distances_of_many_gaussian_objects_are_chi_squared():
    detector = fit_anomaly_detector(correlated(20_000, seed=1))
    squared = detector.distances(correlated(20_000, seed=2)) ** 2
    np.testing.assert_allclose(np.quantile(squared, [0.5, 0.99]), chi2(5).ppf([0.5, 0.99]), rtol=0.05)


def test_distances_are_scikit_learns_on_standardised_features():
    x = correlated(60, seed=3)
    peer = LedoitWolf().fit((x - x.mean(0)) / x.std(0))
    detector = fit_anomaly_detector(x, quantile=0.9)
    other = correlated(10, seed=4)
    np.testing.assert_allclose(
        detector.distances(other) ** 2, peer.mahalanobis((other - x.mean(0)) / x.std(0)), rtol=1e-9
    )
    assert detector.shrinkage == pytest.approx(peer.shrinkage_)


def test_threshold_keeps_its_quantile_of_new_non_lenses_also_with_few_rows_a_feature():
    """30 features and 120 non-lenses: distances of the fitted rows themselves would set it far too low."""
    shares, in_sample = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mixing = rng.normal(size=(30, 30))  # else shrinkage is complete, and nothing is fitted
        x, new = rng.normal(size=(120, 30)) @ mixing, rng.normal(size=(500, 30)) @ mixing
        detector = fit_anomaly_detector(x, quantile=0.9)
        shares.append(detector.is_anomalous(new).mean())
        in_sample.append((detector.distances(new) > np.quantile(detector.distances(x), 0.9)).mean())
    assert 0.05 < np.mean(shares) < 0.12
    assert np.mean(in_sample) > 0.2


def test_units_of_a_feature_change_no_distance():
    x, units = correlated(300, seed=5), np.array([1.0, 1e4, 1e-3, 7.0, 1.0])
    np.testing.assert_allclose(
        fit_anomaly_detector(x * units).distances(x * units), fit_anomaly_detector(x).distances(x), rtol=1e-8
    )


def test_a_constant_feature_adds_nothing_and_a_far_object_is_anomalous():
    x = correlated(400, seed=6)
    with_constant = np.column_stack([x, np.full(400, 3.0)])
    detector = fit_anomaly_detector(with_constant)
    assert np.isfinite(detector.distances(with_constant)).all()
    assert detector.is_anomalous(with_constant[:1] + 100.0).all()


def test_stored_as_json_it_gives_the_same_distances():
    x = correlated(300, seed=7)
    detector = fit_anomaly_detector(x)
    again = AnomalyDetector.from_dict(json.loads(json.dumps(detector.as_dict())))
    np.testing.assert_array_equal(again.distances(x), detector.distances(x))


def test_too_few_non_lenses_nan_rows_and_another_width_are_named():
    x = correlated(200, seed=8)
    with pytest.raises(OptionError, match=r"n_reference = 50 is outside its allowed range \[99, "):
        fit_anomaly_detector(x[:50], quantile=0.99)
    with pytest.raises(OptionError, match=r"quantile = 1.0 .*\(0, 1\)"):
        fit_anomaly_detector(x, quantile=1.0)
    with pytest.raises(CatalogueError, match=r"\(n, 5\) is wanted"):
        fit_anomaly_detector(x).distances(x[:, :3])
    x[[4, 9], 0] = np.nan
    with pytest.raises(CatalogueError, match="2 of 200 rows of features hold NaN or inf, the first is row 4"):
        fit_anomaly_detector(x)


def test_tail_shares_of_new_skewed_non_lenses_are_uniform_and_anomalies_are_the_smallest():
    """A quantile, not a number of sigma: exponential features, whose distances are nothing like chi."""
    rng = np.random.default_rng(11)
    detector = fit_anomaly_detector(rng.exponential(size=(2000, 4)), quantile=0.95)
    new = rng.exponential(size=(4000, 4))
    shares = detector.tail_shares(new)
    np.testing.assert_allclose(np.quantile(shares, [0.05, 0.25, 0.5, 0.75]), [0.05, 0.25, 0.5, 0.75], atol=0.03)
    assert shares.min() >= 1 / 2001
    np.testing.assert_array_equal(detector.is_anomalous(new), shares < shares[~detector.is_anomalous(new)].min())


def test_two_lenses_in_seven_anomalies_of_810_fields_are_what_chance_may_find():
    labels = np.repeat([1, 0], [125, 685])
    called = np.isin(np.arange(810), [3, 50, 130, 200, 300, 400, 500])
    over = anomalies_over_chance(called, labels)
    tail = norm.sf(2.0)
    ends = beta(2.5, 5.5).ppf([tail, 1 - tail]) / (125 / 810)
    assert (over["called"], over["found"]) == (7, 2)
    assert over["by_chance"] == pytest.approx(7 * 125 / 810)
    assert over["ratio"] == pytest.approx(2 / over["by_chance"])
    assert (over["low_95"], over["high_95"]) == pytest.approx(tuple(ends))
    assert over["low_95"] < 1.0 < over["high_95"]


def test_a_backstop_that_calls_nothing_knows_nothing_and_one_without_lenses_is_refused():
    over = anomalies_over_chance([False] * 10, [1] + [0] * 9)
    assert np.isnan(over["ratio"]) and over["low_95"] < 0.1 and over["high_95"] > 9.0
    with pytest.raises(CatalogueError, match="0 positives"):
        anomalies_over_chance([True, False], [0, 0])
