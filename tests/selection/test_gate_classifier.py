"""Gate 5: no difference gives 1/2 within the interval, a planted one is found and named."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit, logit, ndtri

from skytrace.errors import CatalogueError, OptionError
from skytrace.selection.realism.classifier_test import classifier_columns, gate_classifier
from skytrace.selection.realism.cross_validation import CrossValidatedAuc, chance_above, out_of_fold, within_fold_auc
from skytrace.selection.realism.options import ClassifierTestOptions, GateOptions
from tests.selection.gate_arcs import cheap, sample_of

GATES = GateOptions()
FAST = ClassifierTestOptions(n_permutations=12, n_resamples=100, classifier="logistic", per_anchor=2)


def test_one_generator_gives_an_interval_that_mostly_holds_one_half_and_a_p_that_is_uniform():
    inside68, inside95, p = [], [], []
    for seed in range(30):
        sample = sample_of(cheap(60, seed=100 + seed, n_features=6), cheap(200, seed=500 + seed, n_features=6))
        found = gate_classifier(sample, gates=GATES, options=dataclasses.replace(FAST, seed=seed)).statistics
        inside68.append(found["low_68"] <= 0.5 <= found["high_68"])
        inside95.append(found["low_95"] <= 0.5 <= found["high_95"])
        p.append(found["p"])
    # three binomial errors of 30 trials; test_gate_cross_validation has the trials for a sharper bound
    assert 0.43 <= np.mean(inside68) <= 0.94
    assert np.mean(inside95) >= 0.83
    assert np.mean(np.array(p) <= 0.16) <= 0.33 and np.mean(p) > 0.3


@pytest.mark.parametrize("classifier", ["logistic", "gradient_boosting"])
def test_a_planted_feature_is_found_and_named(classifier):
    options = dataclasses.replace(FAST, classifier=classifier, n_permutations=10)
    anchors = cheap(112, seed=1, shift=2.4, n_features=8).rename(columns={"planted": "arc_planted"})
    injections = cheap(400, seed=2, n_features=8).rename(columns={"planted": "arc_planted"})
    gate = gate_classifier(sample_of(anchors, injections), gates=GATES, options=options)
    # the best possible AUC of a shift by 2.4 scatters is Phi(2.4 / sqrt 2) = 0.955
    assert gate.status == "fail" and 0.87 < gate.statistics["auc"] < 0.98
    assert gate.statistics["named"][0] == "arc_planted" and "arc_planted" in gate.sentence
    importance = gate.statistics["importance"]
    assert importance["arc_planted"]["loss"] > 0.25 > 10 * abs(importance["arc_3"]["loss"])
    assert importance["arc_planted"]["auc_alone"] == pytest.approx(0.955, abs=0.04)
    assert gate.statistics["p"] == pytest.approx(1 / 11)


def test_the_bound_is_judged_on_the_whole_interval():
    anchors, injections = cheap(112, seed=1, shift=1.0, n_features=4), cheap(400, seed=2, n_features=4)
    columns = ["planted", "arc_0"]

    def judged(auc_max, **sizes):
        options = dataclasses.replace(FAST, auc_max=auc_max)
        sample = sample_of(anchors.head(sizes.get("n", 112)), injections)
        return gate_classifier(sample, columns=columns, gates=GATES, options=options)

    found = judged(0.85).statistics
    # the best possible AUC of a shift by one scatter is Phi(1 / sqrt 2) = 0.760
    assert found["low_95"] < 0.76 < found["high_95"] < 0.85
    for auc_max, status in (
        (found["high_95"] + 1e-6, "pass"), (found["high_95"] - 1e-6, "insufficient"),
        (found["low_95"] + 1e-6, "insufficient"), (found["low_95"] - 1e-6, "fail"),
    ):  # fmt: skip
        assert judged(auc_max).status == status
    assert "lies below the bound of 0.85" in judged(0.85).sentence
    # fewer anchors see less: what fails must lie farther off, and the same AUC fails more rarely
    few = judged(0.85, n=60).statistics
    assert few["falls_at"] > found["falls_at"] > 0.85 and few["power"]["0.9"] < found["power"]["0.9"]


def test_the_stated_chance_to_fail_is_how_often_samples_of_that_truth_fail():
    """Binormal scores of known AUC: intervals by Hanley & McNeil, counted over 4,000 samples, against the formula."""
    n, m, bound, known = 85, 320, 0.85, 0.80
    rng = np.random.default_rng(5)
    ends = expit(logit(known) + hm(known, n, m) * np.array([-1.0, 1.0, -2.0, 2.0]))
    measured = CrossValidatedAuc(known, *ends, 0.01, 0.5, 0.04, 1.0, True, np.zeros(1, int), np.zeros(1))
    truths = [0.80, 0.85, 0.90, 0.92, 0.95]
    stated = chance_above(measured, truths, bound=bound, n_anchors=n, n_injections=m)
    for truth, chance in zip(truths, stated, strict=True):
        real, fake = rng.normal(np.sqrt(2.0) * ndtri(truth), 1.0, (4000, n)), rng.normal(size=(4000, m))
        order = np.argsort(np.argsort(np.concatenate([real, fake], axis=1), axis=1), axis=1)[:, :n] + 1
        aucs = (order.sum(axis=1) - n * (n + 1) / 2) / (n * m)
        falls = logit(aucs) - 2.0 * hm(aucs, n, m) > logit(bound)
        # their error of high AUCs is that of exponential scores, larger than of normal ones: the chance is too small
        assert falls.mean() - 0.12 < chance < falls.mean() + 0.03
    assert stated[0] < 0.001 < stated[1] < 0.03 and 0.35 < stated[2] < 0.8 and stated[4] > 0.97


def hm(auc, n, m):
    """Standard error of logit AUC by Hanley & McNeil (1982)."""
    pairs = (n - 1) * (auc / (2 - auc) - auc**2) + (m - 1) * (2 * auc**2 / (1 + auc) - auc**2)
    return np.sqrt((auc * (1 - auc) + pairs) / (n * m)) / (auc * (1 - auc))


def test_the_same_sample_and_seed_give_the_same_gate():
    sample = sample_of(cheap(70, seed=1, n_features=3), cheap(300, seed=2, n_features=3))
    first, second = (gate_classifier(sample, gates=GATES, options=FAST) for _ in range(2))
    assert first == second and 0.3 < first.statistics["auc"] < 0.7


def test_too_few_anchors_are_insufficient():
    gate = gate_classifier(sample_of(cheap(12, seed=1), cheap(300, seed=2)), gates=GATES, options=FAST)
    assert gate.status == "insufficient" and "auc" not in gate.statistics and gate.n_anchors == 12


def test_a_missing_column_is_named_and_conditions_are_not_looked_at():
    sample = sample_of(cheap(40, seed=1), cheap(200, seed=2))
    assert not {"theta_e", "depth", "planted", "galaxy_id", "arc_coverage"} & set(classifier_columns(sample))
    with pytest.raises(CatalogueError, match="arc_unheard_of"):
        gate_classifier(sample, columns=["arc_unheard_of"], gates=GATES)
    with pytest.raises(OptionError, match="classifier"):
        ClassifierTestOptions(classifier="forest")


def test_pairs_are_compared_within_a_fold_only():
    score = np.array([0.9, 0.8, 0.2, 0.1, 0.4, 0.3])
    labels, fold = np.array([True, False, True, False, False, True]), np.array([0, 0, 1, 1, 2, 2])
    assert within_fold_auc(score, labels, fold)[0] == pytest.approx(2 / 3)
    counts = np.array([[1, 1, 1, 1, 0, 1], [2, 1, 1, 1, 3, 1]], dtype=np.uint16)
    np.testing.assert_allclose(within_fold_auc(score, labels, fold, counts), [1.0, 3 / 6])


def test_a_row_never_helps_to_fit_what_scores_it():
    class Memory:
        def fit(self, x, y):
            self.known = {float(row[0]) for row in x}
            return self

        def predict_proba(self, x):
            hit = np.array([float(row[0]) in self.known for row in x], dtype=float)
            return np.stack([1 - hit, hit], axis=1)

    features, labels = np.arange(20.0)[:, None], np.arange(20) % 2 == 0
    score, _ = out_of_fold(features, labels, np.arange(20) % 4 // 2, Memory)
    assert (score == 0).all()
