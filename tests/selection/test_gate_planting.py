"""What is planted for the power of the linear probe is as large as said, in few dimensions and in many."""

import numpy as np
import pytest
from scipy.special import ndtri
from sklearn.linear_model import LogisticRegression

from skytrace.selection.realism.planting import main_scores, planted_anchors


def scores(features, *, n, seed=0, conditions=None):
    conditions = np.random.default_rng(99).normal(size=(len(features), 2)) if conditions is None else conditions
    return main_scores(features, conditions, n=n, rng=np.random.default_rng(seed))


def pair_auc(values, chosen):
    """Share of pairs (chosen, other) that values (m,) put in order."""
    other = np.delete(values, chosen)
    return (values[chosen][:, None] > other).mean() + 0.5 * (values[chosen][:, None] == other).mean()


@pytest.mark.parametrize("m", [290, 790])
@pytest.mark.parametrize("auc", [0.8, 0.85, 0.95])
def test_the_known_score_has_the_stated_auc_in_512_dimensions(m, auc):
    features = np.random.default_rng(m).normal(size=(m, 512))
    found = [
        pair_auc(score, planted_anchors(score, auc=auc, n=58, weight=np.ones(m), seed=k))
        for k, score in enumerate(scores(features, n=40))
    ]
    # a choice scatters by 0.031, and the 16 that set the tilt likewise
    assert np.mean(found) == pytest.approx(auc, abs=0.02)


@pytest.mark.parametrize("auc", [0.7, 0.8])
def test_of_many_rows_the_chosen_are_shifted_by_the_mahalanobis_length_of_the_auc(auc):
    rng = np.random.default_rng(5)
    factors = rng.normal(size=(8000, 12))  # their covariance is the unit matrix, whatever they are mixed to
    squared = []
    for seed, score in enumerate(scores(factors @ rng.normal(size=(12, 30)), n=24)):
        chosen = planted_anchors(score, auc=auc, n=100, weight=np.ones(8000), seed=seed)
        squared.append((factors[chosen].mean(axis=0) ** 2).sum() - 12 / 100)
    assert np.mean(squared) == pytest.approx(2.0 * ndtri(auc) ** 2, rel=0.12)  # 24 trials scatter by 4 to 6 %


def test_a_classifier_of_many_choices_comes_near_the_stated_auc_and_not_above():
    rng = np.random.default_rng(6)
    features = rng.standard_t(5, size=(3000, 4)) @ rng.normal(size=(4, 6))  # no Gaussian
    score = scores(features, n=1)[0]
    reached = []
    for seed in range(12):
        chosen = planted_anchors(score, auc=0.8, n=300, weight=np.ones(3000), seed=seed)
        label = np.isin(np.arange(3000), chosen)
        fitted = rng.random(3000) < 0.5
        model = LogisticRegression(class_weight="balanced").fit(features[fitted], label[fitted])
        told = model.decision_function(features[~fitted])
        reached.append(pair_auc(told, np.flatnonzero(label[~fitted])))
    assert 0.77 < np.mean(reached) < 0.81


def test_scores_do_not_follow_what_rows_are_matched_in():
    rng = np.random.default_rng(7)
    brightness = rng.normal(size=400)
    features = brightness[:, None] * rng.normal(size=50) + rng.normal(size=(400, 50))
    conditions = np.stack([brightness, rng.normal(size=400)], axis=1)
    conditions[3, 0] = np.nan
    tilted = scores(features, n=30, conditions=conditions)
    assert np.std(tilted, axis=1) == pytest.approx(1.0)
    seen = np.nan_to_num(conditions - np.nanmean(conditions, axis=0))
    assert np.abs(tilted @ seen / 400).max() < 1e-9


def test_without_a_difference_rows_are_drawn_by_weight_and_luck_is_the_same_at_every_auc():
    score = np.random.default_rng(8).normal(size=500)
    weight = np.where(np.arange(500) < 250, 3.0, 1.0)
    weight[:10] = 0.0
    even = [planted_anchors(score, auc=0.5, n=40, weight=weight, seed=k) for k in range(200)]
    assert min(row.min() for row in even) >= 10 and all(len(np.unique(row)) == 40 for row in even)
    # 240 rows of weight 3 and 250 of 1; the heavy ones run out a little: 200 draws scatter by 0.005
    assert np.mean([(row < 250).mean() for row in even]) == pytest.approx(720 / 970, abs=0.03)
    near, far = (planted_anchors(score, auc=auc, n=40, weight=weight, seed=0) for auc in (0.55, 0.95))
    assert len(np.intersect1d(near, even[0])) > 30 > len(np.intersect1d(far, even[0]))
