import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from skytrace.errors import OptionError
from skytrace.learning.gaussian_problem import GaussianProblem
from skytrace.learning.metrics import roc_auc


def test_log_ratio_is_that_of_the_two_multivariate_normals():
    problem = GaussianProblem(n_features=5, n_informative=3, separation=2.0, correlation=0.4)
    rng = np.random.default_rng(0)
    x = np.r_[problem.positives(50, rng=rng), problem.negatives(50, rng=rng)]
    covariance = np.eye(5)
    covariance[:3, :3] += 0.4 * (1 - np.eye(3))
    mean = np.r_[np.full(3, 2.0 / np.sqrt(3)), 0.0, 0.0]
    positive, negative = multivariate_normal(mean, covariance), multivariate_normal(np.zeros(5))
    np.testing.assert_allclose(problem.log_ratio(x), positive.logpdf(x) - negative.logpdf(x), atol=1e-10)
    np.testing.assert_allclose(problem.logits(x, prior=0.01) - problem.log_ratio(x), np.log(0.01 / 0.99))


def test_drawn_features_have_the_moments_of_those_densities():
    problem, rng = GaussianProblem(), np.random.default_rng(1)
    x = problem.positives(200_000, rng=rng)
    np.testing.assert_allclose(x.mean(axis=0), [1.25] * 4 + [0.0] * 2, atol=0.01)
    np.testing.assert_allclose(np.cov(x.T)[:4, :4], 0.7 * np.eye(4) + 0.3, atol=0.02)
    field, truth = problem.unlabelled(50_000, prior=0.1, rng=rng)
    assert truth.mean() == pytest.approx(0.1, abs=0.005)
    assert field[truth == 1, 0].mean() == pytest.approx(1.25, abs=0.05)


def test_without_correlation_the_bayes_bound_is_that_of_two_normals():
    problem, rng = GaussianProblem(correlation=0.0), np.random.default_rng(2)
    scores = problem.log_ratio(np.r_[problem.positives(20_000, rng=rng), problem.negatives(20_000, rng=rng)])
    assert roc_auc(scores, np.repeat([1, 0], 20_000)) == pytest.approx(norm.cdf(2.5 / np.sqrt(2)), abs=0.004)


def test_impossible_options_are_named():
    with pytest.raises(OptionError, match=r"n_informative = 7 is outside its allowed range \[1, 6\]"):
        GaussianProblem(n_informative=7)
    with pytest.raises(OptionError, match=r"prior = 2 .*\[0, 1\]"):
        GaussianProblem().unlabelled(5, prior=2, rng=np.random.default_rng(0))
