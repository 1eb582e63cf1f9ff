import json

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score

from skytrace.errors import CatalogueError, OptionError
from skytrace.learning import rare_events
from skytrace.learning.rare_events import RareEventOptions

FEW = RareEventOptions(prior=1e-3, survey_size=100_000, n_resamples=100, hours=(1.0, 10.0, 100.0))


@pytest.fixture(scope="module")
def sample():
    """Scores of 1,000 positives ~ N(2, 1) and 9,000 negatives ~ N(0, 1)."""
    rng = np.random.default_rng(0)
    labels = np.r_[np.ones(1000, int), np.zeros(9000, int)]
    return rng.normal(size=10_000) + 2.0 * labels, labels


def test_recall_lies_on_the_line_between_two_points_of_the_roc():
    # from the top: positive, negative, positive, negative: ROC (0, 0) (0, .5) (.5, .5) (.5, 1) (1, 1)
    scores, labels = [4.0, 3.0, 2.0, 1.0], [1, 0, 1, 0]
    recall = {rate: rare_events.interpolated_recall(scores, labels, rate=rate) for rate in (0.0, 0.25, 0.5, 0.75)}
    assert recall == pytest.approx({0.0: 0.5, 0.25: 0.75, 0.5: 1.0, 0.75: 1.0})


def test_recall_at_a_rate_is_the_normal_one(sample):
    for rate in (1e-2, 1e-1):
        expected = norm.sf(norm.isf(rate) - 2.0)
        assert rare_events.interpolated_recall(*sample, rate=rate) == pytest.approx(expected, abs=0.05)


def test_average_precision_at_the_samples_share_is_the_samples_and_at_another_that_of_weights(sample):
    scores, labels = sample
    at_share = rare_events.average_precision_at_prior(scores, labels, prior=0.1)
    assert at_share == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    weights = np.where(labels == 1, 1e-3 / 1000, (1 - 1e-3) / 9000)
    peer = average_precision_score(labels, scores, sample_weight=weights)
    assert rare_events.average_precision_at_prior(scores, labels, prior=1e-3) == pytest.approx(peer, abs=1e-12)
    assert peer < 0.4 * at_share


def test_precision_at_a_recall_counts_negatives_at_the_prior():
    # two of three positives above the third negative of four
    scores, labels = [9, 8, 7, 6, 5, 4, 3.0], [1, 0, 1, 0, 0, 1, 0]
    found = rare_events.precision_at_recall(scores, labels, recall=0.6, prior=0.01)
    assert found == pytest.approx(0.01 * (2 / 3) / (0.01 * (2 / 3) + 0.99 * 0.25))
    assert rare_events.recall_without_false_positives(scores, labels) == pytest.approx(1 / 3)


def test_calibration_error_vanishes_for_exact_probabilities_and_is_the_prior_for_a_blind_no(sample):
    scores, labels = sample
    prior = 1e-3
    logits = 2.0 * scores - 2.0 + np.log(prior / (1 - prior))  # exact for two normals 2 apart
    exact = rare_events.calibration_error_at_prior(1 / (1 + np.exp(-logits)), labels, prior=prior)
    assert exact["ece_over_prior"] < 0.15
    assert exact["mean_over_prior"] == pytest.approx(1.0, abs=0.1)
    blind = rare_events.calibration_error_at_prior(np.zeros(len(labels)), labels, prior=prior)
    assert blind == pytest.approx({"ece": prior, "ece_over_prior": 1.0, "mean_over_prior": 0.0})
    tenfold = rare_events.calibration_error_at_prior(1 / (1 + np.exp(-logits - np.log(10))), labels, prior=prior)
    assert tenfold["ece_over_prior"] > 3.0


def test_discoveries_are_all_when_all_is_reviewed_and_the_priors_share_when_scores_are_blind(sample):
    scores, labels = sample
    everything = 100_000 * 30 / 3600
    options = RareEventOptions(prior=1e-3, survey_size=100_000, n_resamples=20, hours=(1.0, 10.0, everything))
    curve = rare_events.discovery_curve(scores, labels, options=options)
    assert curve["discoveries"].iloc[-1] == pytest.approx(100.0)
    assert curve["precision"].iloc[-1] == pytest.approx(1e-3)
    assert (curve["discoveries"].iloc[:2] > 20 * curve["at_random"].iloc[:2]).all()
    np.testing.assert_allclose(curve["reviewed"], [120, 1200, 100_000])
    blind = rare_events.discovery_curve(np.zeros(len(labels)), labels, options=options)
    np.testing.assert_allclose(blind["discoveries"], blind["at_random"])


def test_discoveries_of_a_budget_are_the_normal_ones(sample):
    """1,200 of 100,000 reviewed: the threshold solves pi TPR + (1 - pi) FPR = 0.012."""
    thresholds = np.linspace(0, 5, 50_001)
    selected = 1e-3 * norm.sf(thresholds - 2) + (1 - 1e-3) * norm.sf(thresholds)
    expected = 100 * norm.sf(thresholds[np.argmin(np.abs(selected - 0.012))] - 2)
    curve = rare_events.discovery_curve(*sample, options=FEW)
    assert curve["discoveries"].iloc[1] == pytest.approx(expected, rel=0.12)
    assert curve["low_95"].iloc[1] < expected < curve["high_95"].iloc[1]


def test_cost_is_the_time_of_a_review_over_the_precision(sample):
    cost = rare_events.cost_per_discovery(*sample, recall=0.5, options=FEW)
    precision = 1e-3 * 0.5 / (1e-3 * 0.5 + (1 - 1e-3) * norm.sf(2.0))
    assert cost["low_95"] < 30 / 3600 / precision < cost["high_95"]
    assert cost["value"] == 30 / 3600 / rare_events.precision_at_recall(*sample, recall=0.5, prior=1e-3)
    assert cost["high_95"] < 1.6 * cost["low_95"]


def test_report_is_json_with_intervals_of_every_number(sample):
    scores, labels = sample
    probabilities = 1 / (1 + np.exp(-(2.0 * scores - 2.0 + np.log(1e-3))))
    report = rare_events.rare_event_report(scores, labels, probabilities=probabilities, options=FEW)
    assert json.loads(json.dumps(report)) == report
    at = report["recall_at"]["0.01"]
    expected = norm.sf(norm.isf(0.01) - 2.0)
    assert at["low_95"] < expected < at["high_95"]
    assert at["jeffreys_low_95"] < expected < at["jeffreys_high_95"]
    # the bootstrap also has the noise of the threshold: wider than the positives' alone
    assert at["high_95"] - at["low_95"] > at["jeffreys_high_95"] - at["jeffreys_low_95"]
    assert report["auroc"]["low_95"] < norm.cdf(np.sqrt(2.0)) < report["auroc"]["high_95"]
    assert [report["recall_at"][rate]["resolved"] for rate in ("0.001", "0.01")] == [True, True]
    assert (
        report["calibration"]["mean_over_prior"]["low_95"] < 1.0 < report["calibration"]["mean_over_prior"]["high_95"]
    )


def test_perfect_ranking_has_a_jeffreys_interval_where_a_bootstrap_has_none():
    scores, labels = np.r_[np.full(10, 5.0), np.zeros(1000)], np.r_[np.ones(10, int), np.zeros(1000, int)]
    at = rare_events.rare_event_report(scores, labels, options=FEW)["recall_at"]["0.01"]
    assert at["low_95"] == at["high_95"] == 1.0
    assert at["jeffreys_low_95"] < 0.85


def test_positives_of_few_sky_cells_have_wider_intervals(sample):
    """Scores that shift from cell to cell: drawn as rows, they seem better known than they are."""
    rng = np.random.default_rng(9)
    cells = rng.integers(30, size=10_000)
    shifted = sample[0] + rng.normal(size=30)[cells]
    by_cell = rare_events.cost_per_discovery(shifted, sample[1], recall=0.5, options=FEW, cells=cells)
    by_row = rare_events.cost_per_discovery(shifted, sample[1], recall=0.5, options=FEW)
    assert by_cell["value"] == by_row["value"]
    assert by_cell["standard_error"] > 1.5 * by_row["standard_error"]


def test_what_cannot_be_ranked_is_named():
    with pytest.raises(CatalogueError, match="0 positives in 3 rows"):
        rare_events.rare_event_report([1.0, 2.0, 3.0], [0, 0, 0])
    with pytest.raises(CatalogueError, match=r"1 score\(s\) are NaN or inf"):
        rare_events.rare_event_report([1.0, np.nan], [0, 1])
    with pytest.raises(OptionError, match=r"prior = 1.0 .*\(0, 1\)"):
        RareEventOptions(prior=1.0)
    with pytest.raises(OptionError, match="hours"):
        RareEventOptions(hours=(0.0,))


def test_a_calibrated_score_is_told_so_at_the_samples_prior_and_within_a_sixth_at_a_rare_one():
    """Gaussian classes 1.8 widths apart: true probabilities at either prior, 700 negatives as in a test split."""
    width, rng = 1.8, np.random.default_rng(4)
    mean = {0.07: [], 1e-4: []}
    for _ in range(300):
        labels = np.repeat([1, 0], [125, 700])
        ratio = np.exp(width * (rng.standard_normal(825) + width * (labels - 0.5)))
        for prior, found in mean.items():
            probability = ratio / (ratio + (1.0 - prior) / prior)
            error = rare_events.calibration_error_at_prior(probability, labels, prior=prior)
            found.append(error["mean_over_prior"])
    assert np.mean(mean[0.07]) == pytest.approx(1.0, abs=0.01)
    assert np.mean(mean[1e-4]) == pytest.approx(1.0, abs=0.05)  # right on average, carried by few samples:
    assert np.std(mean[1e-4]) == pytest.approx(0.17, abs=0.03)
    assert np.std(mean[0.07]) == pytest.approx(0.05, abs=0.01)
    options = RareEventOptions(prior=1e-4, n_resamples=200)
    told = rare_events.calibration_report(probability, labels, options=options)["mean_over_prior"]
    assert told["value"] == pytest.approx(mean[1e-4][-1], rel=1e-12)
    assert told["low_95"] < told["value"] < told["high_95"]
