"""What remains of a ranking at the upper limit of its false-positive rates, and what its probabilities promise."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import beta, norm

from skytrace.errors import CatalogueError, OptionError
from skytrace.learning import rare_event_limits as limits
from skytrace.learning import rare_events
from skytrace.learning.rare_events import RareEventOptions

TAIL = norm.sf(2.0)  # beyond the upper end of a "95 %" interval
SURVEY = {"prior": 1e-4, "survey_size": 1_000_000}


@pytest.fixture(scope="module")
def perfect():
    """Ten positives above 700 negatives."""
    return np.r_[np.arange(10.0) + 10.0, np.linspace(0, 1, 700)], np.r_[np.ones(10, int), np.zeros(700, int)]


def gaussian(rng, n_positives, n_negatives):
    """Scores of N(2, 1) and N(0, 1), labels, and exact probabilities at a prior of 1e-4."""
    labels = np.r_[np.ones(n_positives, int), np.zeros(n_negatives, int)]
    scores = rng.normal(size=len(labels)) + 2.0 * labels
    return scores, labels, expit(2.0 * scores - 2.0 + np.log(1e-4 / (1 - 1e-4)))


def test_no_negative_of_700_above_is_a_rate_below_the_end_of_a_beta_not_0(perfect):
    limit, recall = limits.roc_at_limit(*perfect)
    np.testing.assert_allclose(limit[:3], [0.0, beta.isf(TAIL, 0.5, 700.5), beta.isf(TAIL, 1.5, 699.5)], rtol=1e-9)
    np.testing.assert_array_equal(recall[:3], [0.0, 1.0, 1.0])
    assert limit[-1] == 1.0


def test_average_precision_of_a_perfect_ranking_is_1_only_for_want_of_negatives(perfect):
    assert rare_events.average_precision_at_prior(*perfect, prior=1e-4) == 1.0
    rate = beta.isf(TAIL, 0.5, 700.5)
    expected = 1e-4 / (1e-4 + (1 - 1e-4) * rate)
    assert limits.average_precision_at_limit(*perfect, prior=1e-4) == pytest.approx(expected, rel=1e-9)
    assert expected < 0.04


def test_average_precision_at_the_limit_is_the_sum_over_numbers_of_negatives_above():
    # positives and negatives from the top: + + - + -
    scores, labels = [5.0, 4.0, 3.0, 2.0, 1.0], [1, 1, 0, 1, 0]
    rates = [beta.isf(TAIL, 0.5, 2.5), beta.isf(TAIL, 1.5, 1.5)]
    expected = sum(
        0.1 * r / (0.1 * r + 0.9 * f) * step for r, f, step in zip((2 / 3, 1.0), rates, (2 / 3, 1 / 3), strict=True)
    )
    assert limits.average_precision_at_limit(scores, labels, prior=0.1) == pytest.approx(expected)


def test_discoveries_at_the_limit_hold_in_95_percent_of_samples_where_the_measured_ones_promise_too_many():
    thresholds = np.linspace(-6, 9, 60_001)
    number = 1e6 * (1e-4 * norm.sf(thresholds - 2) + (1 - 1e-4) * norm.sf(thresholds))
    reviewed = np.array([120.0, 1200.0, 12_000.0])
    truth = 100 * norm.sf(np.interp(reviewed, number[::-1], thresholds[::-1]) - 2)
    below, measured = [], []
    for seed in range(200):
        scores, labels, _ = gaussian(np.random.default_rng(seed), 1000, 700)
        below.append(limits.discoveries_at_limit(scores, labels, reviewed=reviewed, **SURVEY) <= truth)
        measured.append(rare_events._discoveries(scores, labels, reviewed=120.0, **SURVEY))
    assert (np.mean(below, axis=0) >= 0.95).all()
    assert np.median(measured) > 2.0 * truth[0]


def test_a_budget_is_resolved_where_a_negative_of_the_sample_lies_above_its_threshold(perfect):
    # above all positives and k negatives lie 100 + k (1e6 - 100) / 700 fields of the survey
    options = RareEventOptions(hours=(1.0, 10.0, 13.0, 100.0), n_resamples=20)
    curve = rare_events.discovery_curve(*perfect, options=options)
    assert curve["resolved"].to_list() == [False, False, True, True]
    expected = (np.array([120, 1200, 1560, 12_000]) - 100) / (1e6 - 100) * 700
    np.testing.assert_allclose(curve["negatives_above"], expected, rtol=1e-9)
    assert (curve["at_limit"][:3] < 0.5 * curve["discoveries"][:3]).all()
    assert "by_probability" not in curve


def test_what_calibrated_probabilities_sum_to_is_the_number_of_discoveries():
    # quantiles in place of draws: no scatter
    scores = np.r_[2.0 + norm.ppf((np.arange(5000) + 0.5) / 5000), norm.ppf((np.arange(200_000) + 0.5) / 200_000)]
    labels = np.repeat([1, 0], [5000, 200_000])
    probabilities = expit(2.0 * scores - 2.0 + np.log(1e-4 / (1 - 1e-4)))
    reviewed = np.array([120.0, 1200.0, 12_000.0])
    promised = limits.expected_discoveries(probabilities, scores, labels, reviewed=reviewed, **SURVEY)
    found = [rare_events._discoveries(scores, labels, reviewed=r, **SURVEY) for r in reviewed]
    np.testing.assert_allclose(promised, found, rtol=0.05)


def test_probabilities_promise_their_sum_whatever_the_labels_and_few_where_the_sample_shows_no_negative():
    scores, labels, probabilities = gaussian(np.random.default_rng(2), 125, 700)
    flat = limits.expected_discoveries(np.full(825, 0.25), scores, labels, reviewed=[10.0, 1e6], **SURVEY)
    np.testing.assert_allclose(flat, [2.5, 250_000], rtol=1e-9)
    options = RareEventOptions(hours=(1.0,), n_resamples=20)
    row = rare_events.discovery_curve(scores, labels, options=options, probabilities=probabilities).iloc[0]
    assert not row["resolved"] and row["by_probability"] < 0.2 * row["discoveries"]


def test_the_report_holds_the_limits_beside_what_was_measured():
    scores, labels, probabilities = gaussian(np.random.default_rng(3), 125, 700)
    options = RareEventOptions(n_resamples=20)
    report = rare_events.rare_event_report(scores, labels, probabilities=probabilities, options=options)
    precision = report["average_precision"]
    assert precision["at_limit"] == limits.average_precision_at_limit(scores, labels, prior=1e-4) < precision["value"]
    assert {"resolved", "negatives_above", "at_limit", "by_probability"} <= set(report["discovery_curve"][0])


def test_one_class_alone_and_an_impossible_prior_are_named():
    with pytest.raises(CatalogueError, match="0 positives in 3 rows: both classes are needed"):
        limits.roc_at_limit([1.0, 2.0, 3.0], [0, 0, 0])
    with pytest.raises(OptionError, match=r"prior = 1.0 is outside its allowed range \(0, 1\)"):
        limits.average_precision_at_limit([1.0, 2.0], [0, 1], prior=1.0)
