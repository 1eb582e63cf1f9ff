import numpy as np
import pytest
from sklearn import metrics as reference

from skytrace.errors import CatalogueError, OptionError, PixelError
from skytrace.learning import ThresholdOptions, metrics


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    labels = (rng.random(2000) < 0.2).astype(int)
    return np.round(1.0 / (1.0 + np.exp(-rng.normal(2.0 * labels - 1.0))), 2), labels  # rounded: with ties


def test_ranking_measures_match_scikit_learn_with_ties(sample):
    scores, labels = sample
    assert metrics.roc_auc(scores, labels) == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)
    expected = reference.average_precision_score(labels, scores)
    assert metrics.average_precision(scores, labels) == pytest.approx(expected, abs=1e-12)
    rate, found, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(metrics.roc_curve(scores, labels), (rate, found), atol=1e-12)


def test_auc_is_the_share_of_ordered_pairs():
    assert metrics.roc_auc([0.1, 0.4, 0.4, 0.9], [0, 0, 1, 1]) == (1 + 1 + 0.5 + 1) / 4


def test_operating_point_counts_scores_at_the_threshold_as_detected():
    scores, labels = [0.2, 0.5, 0.5, 0.8], [0, 0, 1, 1]
    assert metrics.recall(scores, labels, threshold=0.5) == 1.0
    assert metrics.precision(scores, labels, threshold=0.5) == pytest.approx(2 / 3)
    assert metrics.false_positive_rate(scores, labels, threshold=0.5) == 0.5
    assert np.isnan(metrics.precision(scores, labels, threshold=0.9))


def test_recall_at_a_rate_is_nan_where_too_few_galaxies_resolve_it(sample):
    scores, labels = sample
    assert 0.0 < metrics.true_positive_rate_at(scores, labels, rate=1e-2) < 1.0
    assert np.isnan(metrics.true_positive_rate_at(scores, labels, rate=1e-3))


def test_recall_at_a_rate_is_the_highest_that_keeps_the_rate(sample):
    scores, labels = sample
    found = max(
        metrics.recall(scores, labels, threshold=t)
        for t in np.unique(scores)
        if metrics.false_positive_rate(scores, labels, threshold=t) <= 0.05
    )
    assert metrics.true_positive_rate_at(scores, labels, rate=0.05) == found


def test_threshold_keeps_the_validation_false_positive_rate_and_no_lower_one_does(sample):
    scores, labels = sample
    chosen = metrics.choose_threshold(scores, labels, options=ThresholdOptions(false_positive_rate=0.03))
    allowed = int(0.03 * (labels == 0).sum())
    assert chosen["validation_false_positives"] <= allowed
    just_below = scores[(scores < chosen["value"]) & (labels == 0)].max()
    assert (scores[labels == 0] >= just_below).sum() > allowed


def test_threshold_of_a_perfect_detector_stays_below_one():
    chosen = metrics.choose_threshold([1.0, 1.0, 1.0], [0, 0, 1], options=ThresholdOptions())
    assert chosen["value"] < 1.0
    assert metrics.choose_threshold([0.5], [0], options=ThresholdOptions(rule="fixed", value=0.7))["value"] == 0.7


def test_calibration_errors_of_a_known_case():
    # two filled bins: mean 0.1 against 0 lenses of 8, mean 0.9 against 1 of 2
    scores, labels = [0.1] * 8 + [0.9] * 2, [0] * 8 + [0, 1]
    expected, maximum = metrics.calibration_errors(scores, labels)
    assert expected == pytest.approx(0.8 * 0.1 + 0.2 * 0.4)
    assert maximum == pytest.approx(0.4)


def test_a_calibrated_sample_has_a_small_calibration_error():
    rng = np.random.default_rng(1)
    scores = rng.random(200_000)
    labels = (rng.random(200_000) < scores).astype(int)
    assert metrics.calibration_errors(scores, labels)[1] < 0.02


def test_top_scores_are_the_highest_share_rounded_up():
    scores = np.random.default_rng(2).random(950)
    chosen = metrics.top_scores(scores, share=0.01)
    assert chosen.sum() == 10
    assert scores[chosen].min() > scores[~chosen].max()


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, np.nan])
def test_threshold_outside_zero_and_one_is_refused(value):
    with pytest.raises(OptionError, match="value"):
        ThresholdOptions(rule="fixed", value=value)


def test_impossible_scores_and_labels_are_refused():
    with pytest.raises(PixelError, match="outside"):
        metrics.check_scores([0.1, np.nan], [0, 1])
    with pytest.raises(CatalogueError, match="label"):
        metrics.check_scores([0.1, 0.2], [0, 2])
    with pytest.raises(CatalogueError, match="one length"):
        metrics.check_scores([0.1, 0.2], [0])
