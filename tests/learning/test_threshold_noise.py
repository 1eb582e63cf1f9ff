"""A threshold chosen again in every resample of the galaxies: the rule is the same, its noise what theory says."""

import numpy as np
import pytest

from skytrace.errors import CatalogueError
from skytrace.learning import ThresholdOptions
from skytrace.learning.metrics import choose_threshold
from skytrace.learning.threshold_noise import _weights, resampled_thresholds


def test_each_resamples_threshold_is_that_of_its_galaxies_repeated_as_often_as_drawn():
    rng = np.random.default_rng(1)
    scores = {"one": np.round(rng.random(120), 2), "two": rng.random(120)}  # rounded: ties
    cells = rng.integers(0, 15, 120)
    for clusters in (None, cells):
        found = resampled_thresholds(scores, rate=0.05, cells=clusters, n_resamples=30, seed=4)
        weight = _weights(clusters, scores, 30, 4)
        for name, values in scores.items():
            for k in range(30):
                drawn = np.repeat(values, weight[k])
                plain = choose_threshold(
                    drawn, np.zeros(len(drawn), int), options=ThresholdOptions(false_positive_rate=0.05)
                )
                assert found[name][k] == plain["value"]


def test_eight_false_positives_of_840_leave_the_rate_uncertain_by_a_third():
    galaxies = np.random.default_rng(2).random(840)  # uniform: the rate behind a threshold t is 1 - t
    rate = 1 - resampled_thresholds({"a": galaxies}, rate=0.01, n_resamples=4000, seed=0)["a"]
    # the ninth highest of 840 uniform numbers lies a Beta(9, 832) below 1: its spread over its mean is about 1 / 3
    assert rate.std() / rate.mean() == pytest.approx(1 / 3, abs=0.12)


def test_detectors_share_the_resample():
    galaxies = np.random.default_rng(3).random(500)
    found = resampled_thresholds({"a": galaxies, "b": galaxies**2}, rate=0.02, n_resamples=200, seed=0)
    np.testing.assert_allclose(found["b"], found["a"] ** 2, atol=1e-12)


def test_whole_cells_are_drawn_where_there_are_enough():
    cells = np.repeat(np.arange(40), 20)
    galaxies = np.random.default_rng(5).random(40)[cells]  # a cell's galaxies score alike
    alone = resampled_thresholds({"a": galaxies}, rate=0.1, n_resamples=400, seed=0)["a"]
    whole = resampled_thresholds({"a": galaxies}, rate=0.1, cells=cells, n_resamples=400, seed=0)["a"]
    assert whole.std() > 2 * alone.std()
    few = resampled_thresholds({"a": galaxies}, rate=0.1, cells=cells // 20, n_resamples=400, seed=0)["a"]
    np.testing.assert_array_equal(few, alone)


def test_scores_of_other_galaxies_do_not_go_together():
    with pytest.raises(CatalogueError, match=r"lengths \[3, 4\]"):
        resampled_thresholds({"a": np.zeros(3), "b": np.zeros(4)}, rate=0.1, seed=0)
