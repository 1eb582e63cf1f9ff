import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from skytrace.learning.gaussian_problem import GaussianProblem
from skytrace.learning.metrics import roc_auc, roc_curve
from skytrace.learning.positive_unlabeled import (
    ElkanNotoClassifier,
    NonNegativePUClassifier,
    PositiveVersusUnlabelledClassifier,
    UnbiasedPUClassifier,
    label_frequency,
)
from skytrace.learning.pu_trees import TreeOptions
from skytrace.statistics import bootstrap_interval

PROBLEM, PRIOR = GaussianProblem(), 0.01
N_POSITIVES, N_UNLABELLED = 600, 10_000
TREES = TreeOptions(n_trees=120, learning_rate=0.08)


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(11)
    positives, (field, _) = (
        PROBLEM.positives(N_POSITIVES, rng=rng),
        PROBLEM.unlabelled(N_UNLABELLED, prior=PRIOR, rng=rng),
    )
    return np.r_[positives, field], np.r_[np.ones(N_POSITIVES, int), np.zeros(N_UNLABELLED, int)]


@pytest.fixture(scope="module")
def held_out():
    """Features and truth: 12,000 positives, 60,000 negatives."""
    rng = np.random.default_rng(12)
    features = np.r_[PROBLEM.positives(12_000, rng=rng), PROBLEM.negatives(60_000, rng=rng)]
    return features, np.r_[np.ones(12_000, int), np.zeros(60_000, int)]


def recall(scores, truth, rate):
    return np.interp(rate, *roc_curve(scores, truth))


def mean_over_prior(probability, truth):
    """Mean probability of a field whose share of positives is PRIOR, over PRIOR."""
    return (PRIOR * probability[truth == 1].mean() + (1 - PRIOR) * probability[truth == 0].mean()) / PRIOR


@pytest.mark.parametrize(
    "classifier",
    [
        ElkanNotoClassifier(PRIOR, folds=3, trees=TREES),
        ElkanNotoClassifier(PRIOR, folds=5, trees=TREES, form="weighted"),
        NonNegativePUClassifier(PRIOR, folds=3, trees=TREES),
    ],
    ids=["elkan-noto", "weighted", "non-negative"],
)
def test_ranking_is_near_the_bayes_bound_and_probabilities_have_the_prior_as_their_mean(classifier, sample, held_out):
    """At 95 %: the ends of bootstrap intervals of the same rows in pairs, not the values alone, keep the bounds."""
    features, truth = held_out
    best = PROBLEM.log_ratio(features)
    classifier.fit(*sample)
    found = (best, classifier.decision_function(features), classifier.predict_proba(features)[:, 1])

    def interval(statistic):
        resampled = bootstrap_interval(statistic, *found, truth, n_resamples=80, seed=1, strata=truth).as_dict()
        return resampled["low_95"], resampled["high_95"]

    assert interval(lambda exact, z, _, y: roc_auc(exact, y) - roc_auc(z, y))[1] < 0.01
    assert interval(lambda exact, z, _, y: recall(z, y, 1e-2) / recall(exact, y, 1e-2))[0] >= 0.88
    assert interval(lambda exact, z, _, y: recall(z, y, 1e-3) / recall(exact, y, 1e-3))[0] >= 0.58
    low, high = interval(lambda _, __, p, y: mean_over_prior(p, y))
    assert 0.8 < low < high < 1.2


def exact_label(problem, *, n_positives, n_unlabelled, prior):
    """A classifier that knows g where it is fitted without weights, and is a logistic regression with them."""

    class Exact(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            self.exact_ = sample_weight is None
            return super().fit(X, y, sample_weight=sample_weight)

        def predict_proba(self, X):
            if not self.exact_:
                return super().predict_proba(X)
            ratio = np.exp(problem.log_ratio(X))
            odds = n_positives * ratio / (n_unlabelled * (prior * ratio + 1 - prior))
            return np.column_stack([1 / (1 + odds), odds / (1 + odds)])

    return Exact(C=np.inf)


def test_exact_label_probabilities_become_exact_probabilities_of_being_positive(sample):
    """The case-control form on the exact g: P(y = 1 | x) to rounding, though c = 6 / 7 is far from the prior."""
    estimator = exact_label(PROBLEM, n_positives=N_POSITIVES, n_unlabelled=N_UNLABELLED, prior=PRIOR)
    classifier = ElkanNotoClassifier(PRIOR, estimator=estimator, calibrate=False, folds=2).fit(*sample)
    assert classifier.label_frequency_ == label_frequency(N_POSITIVES, N_UNLABELLED, prior=PRIOR) == 600 / 700
    truth = expit(PROBLEM.logits(sample[0], prior=PRIOR))
    np.testing.assert_allclose(classifier.predict_proba(sample[0])[:, 1], truth, rtol=1e-6)
    low = truth < 0.5
    np.testing.assert_allclose(classifier.out_of_fold_logits_[low], logit(truth[low]), rtol=1e-6)


def test_weighted_form_shifts_its_second_stage_back_to_the_prior():
    """Where the log-ratio is linear a logistic second stage is well specified: its logits are the exact ones."""
    problem = GaussianProblem(n_features=2, n_informative=1, separation=2.0, correlation=0.0)
    rng = np.random.default_rng(2)
    features = np.r_[problem.positives(3000, rng=rng), problem.unlabelled(30_000, prior=0.05, rng=rng)[0]]
    labels = np.r_[np.ones(3000, int), np.zeros(30_000, int)]
    estimator = exact_label(problem, n_positives=3000, n_unlabelled=30_000, prior=0.05)
    classifier = ElkanNotoClassifier(0.05, form="weighted", estimator=estimator, calibrate=False, folds=2)
    at = np.array([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [3.0, 0.0]])
    found = classifier.fit(features, labels).decision_function(at)
    np.testing.assert_allclose(found, problem.logits(at, prior=0.05), atol=0.15)


def test_logits_rank_where_probabilities_are_cut_at_one(sample):
    classifier = ElkanNotoClassifier(0.5, folds=2, trees=TreeOptions(n_trees=80)).fit(*sample)
    logits, probability = classifier.decision_function(sample[0]), classifier.predict_proba(sample[0])[:, 1]
    cut = probability == 1.0
    assert cut.sum() > 20
    assert len(np.unique(logits[cut])) > 0.5 * cut.sum()
    assert np.isfinite(logits).all()


def test_unregularised_trees_overfit_the_unbiased_risk_and_less_the_non_negative_one(sample):
    """uPU drives the negatives' risk far below zero on what it is fitted on; each step of nnPU there undoes it."""
    features, labels = sample[0][::3], sample[1][::3]
    greedy = TreeOptions(n_trees=60, learning_rate=0.1, n_leaves=48, min_rows_in_leaf=1, shrinkage=5.0, row_share=1.0)
    negative = {}
    for kind in (NonNegativePUClassifier, UnbiasedPUClassifier):
        classifier = kind(0.2, trees=greedy, folds=2, calibrate=False, balanced=False).fit(features, labels)
        fitted = classifier.folds_ != 0
        z = classifier.models_[0].logits(features)
        negative[kind] = classifier._risk().parts(z[fitted & (labels == 1)], z[fitted & (labels == 0)])[1]
    assert negative[UnbiasedPUClassifier] < -0.2
    assert negative[NonNegativePUClassifier] > -0.05


def test_positives_against_unlabelled_ranks_as_well_and_has_another_scale(sample, held_out):
    features, truth = held_out
    plain = PositiveVersusUnlabelledClassifier(folds=2, trees=TREES).fit(*sample)
    assert roc_auc(PROBLEM.log_ratio(features), truth) - roc_auc(plain.decision_function(features), truth) < 0.015
    assert mean_over_prior(plain.predict_proba(features)[:, 1], truth) > 1.5


def test_rows_of_one_sky_cell_share_a_fold_and_leak_no_label(sample):
    """Features that tell the cell and nothing else: with whole cells held out, positives rank no better than chance."""
    rng = np.random.default_rng(5)
    cells = rng.integers(40, size=2000)
    labels = (rng.random(2000) < np.where(cells < 10, 0.3, 0.02)).astype(int)
    features = rng.normal(size=(40, 6))[cells]
    trees = TreeOptions(n_trees=40, n_leaves=16)
    alone = ElkanNotoClassifier(1e-2, trees=trees).fit(features, labels)
    by_cell = ElkanNotoClassifier(1e-2, trees=trees).fit(features, labels, groups=cells)
    assert all(len(np.unique(by_cell.folds_[cells == cell])) == 1 for cell in range(40))
    assert roc_auc(alone.out_of_fold_logits_, labels) > 0.75
    assert roc_auc(by_cell.out_of_fold_logits_, labels) < 0.62


def test_labels_dealt_at_random_are_not_ranked_by_any_form():
    """In pairs with positives against unlabelled, which shares the folds: a leak of 0.02 is then seen at 4 sigma."""
    trees, rng = TreeOptions(n_trees=40), np.random.default_rng(8)
    forms = {
        "weighted": ElkanNotoClassifier(0.07, form="weighted", trees=trees),
        "case_control": ElkanNotoClassifier(0.07, trees=trees),
        "nn_pu": NonNegativePUClassifier(0.07, trees=trees),
    }
    plain, more = [], {name: [] for name in forms}
    for _ in range(18):
        features, labels = rng.normal(size=(1000, 20)), rng.permutation(np.repeat([1, 0], [100, 900]))
        beside = PositiveVersusUnlabelledClassifier(trees=trees).fit(features, labels).out_of_fold_logits_
        plain.append(roc_auc(beside, labels))
        for name, classifier in forms.items():
            more[name].append(roc_auc(classifier.fit(features, labels).out_of_fold_logits_, labels) - plain[-1])
    assert abs(np.mean(plain) - 0.5) < 4.0 * np.std(plain) / np.sqrt(18)
    for name, differences in more.items():
        error = np.std(differences, ddof=1) / np.sqrt(18)
        assert abs(np.mean(differences)) < max(3.0 * error, 1e-12), (name, np.mean(differences), error)


def test_the_same_seed_gives_the_same_logits(sample):
    features, labels = sample[0][::4], sample[1][::4]
    fits = [NonNegativePUClassifier(PRIOR, folds=2, trees=TreeOptions(n_trees=20)).fit(features, labels) for _ in "ab"]
    np.testing.assert_array_equal(fits[0].out_of_fold_logits_, fits[1].out_of_fold_logits_)
