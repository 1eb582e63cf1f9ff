"""The meta-learner of positives and unlabelled rows, and how sure its probabilities are, where the answer is known."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError
from skytrace.learning.gaussian_problem import GaussianProblem
from skytrace.learning.metrics import roc_auc
from skytrace.learning.pu_calibration import fit_pu_scale
from skytrace.learning.pu_stacking import cross_fitted_stack, fit_pu_stack, stacked_logits
from skytrace.learning.pu_uncertainty import probability_intervals, scale_draws
from skytrace.statistics import LEVELS

PRIOR = 0.05


@pytest.fixture(scope="module")
def sample():
    """Two noisy readings of the exact log ratio, one twice as noisy; labels; the exact logits at the prior."""
    rng = np.random.default_rng(1)
    problem = GaussianProblem(n_features=4)
    positives = problem.positives(400, rng=rng)
    unlabelled, _ = problem.unlabelled(4000, prior=PRIOR, rng=rng)
    exact = problem.log_ratio(np.concatenate([positives, unlabelled]))
    labelled = np.r_[np.ones(400, int), np.zeros(4000, int)]
    logits = pd.DataFrame({
        "good": exact + rng.normal(0, 1, len(exact)), "poor": 100.0 + 10.0 * (exact + rng.normal(0, 2, len(exact)))
    })  # fmt: skip
    return logits, labelled, exact + np.log(PRIOR / (1 - PRIOR))


def test_the_stack_ranks_better_than_either_member_and_weighs_them_by_their_noise(sample):
    logits, labelled, _ = sample
    stack = fit_pu_stack(logits, labelled)
    combined = roc_auc(stacked_logits(stack, logits), labelled)
    assert combined > max(roc_auc(logits[name], labelled) for name in logits)
    # the best linear combination weighs by inverse noise variance: 1 to 1/4 in the units of the log ratio
    per_unit = np.array(stack["coefficients"]) / np.array(stack["sd"]) * np.array([1.0, 10.0])
    assert per_unit[0] / per_unit[1] == pytest.approx(4.0, rel=0.35)


def test_the_weights_are_those_of_logistic_regression_where_all_are_positive(sample):
    from sklearn.linear_model import LogisticRegression

    logits, labelled, _ = sample
    stack = fit_pu_stack(logits, labelled, penalty=0.3)
    free = LogisticRegression(C=0.3, tol=1e-10).fit((logits - stack["mean"]) / stack["sd"], labelled)
    np.testing.assert_allclose(stack["coefficients"], free.coef_[0], rtol=1e-4)
    assert stack["intercept"] == pytest.approx(free.intercept_[0], rel=1e-4)


def test_a_member_that_only_repeats_another_with_noise_is_never_subtracted(sample):
    logits, labelled, _ = sample
    rng = np.random.default_rng(7)
    twins = pd.DataFrame({"one": logits["good"], "two": logits["good"] + rng.normal(0, 0.3, len(logits))})
    stack = fit_pu_stack(twins, labelled)
    assert min(stack["coefficients"]) >= 0.0 and max(stack["coefficients"]) > 0.5
    reversed_member = logits.assign(poor=-logits["poor"])
    assert fit_pu_stack(reversed_member, labelled)["coefficients"][1] == 0.0


def test_the_order_and_unit_of_members_change_nothing(sample):
    logits, labelled, _ = sample
    first = stacked_logits(fit_pu_stack(logits, labelled), logits)
    other = logits[["poor", "good"]] * [3.0, 1.0] - 7.0
    np.testing.assert_allclose(stacked_logits(fit_pu_stack(other, labelled), other), first, atol=1e-5)


def test_cross_fitting_shows_no_skill_on_labels_dealt_at_random(sample):
    logits, labelled, _ = sample
    rng = np.random.default_rng(5)
    dealt, fold = rng.permutation(labelled), rng.integers(0, 5, len(labelled))
    assert abs(roc_auc(cross_fitted_stack(logits, dealt, fold), dealt) - 0.5) < 0.05


def test_a_logit_that_is_not_finite_and_a_missing_class_are_refused(sample):
    logits, labelled, _ = sample
    with pytest.raises(CatalogueError, match="known positives and unlabelled"):
        fit_pu_stack(logits, np.zeros_like(labelled))
    with pytest.raises(CatalogueError, match=r"1 logit\(s\)"):
        fit_pu_stack(logits.assign(good=np.r_[np.nan, logits["good"][1:]]), labelled)


def test_intervals_hold_the_exact_probability_and_scale_with_the_priors_uncertainty(sample):
    _, labelled, exact = sample
    z = exact - np.log(PRIOR / (1 - PRIOR))  # a perfect ranking whose scale has to be found
    slope, intercept = fit_pu_scale(z, labelled, prior=PRIOR)
    assert slope == pytest.approx(1.0, abs=0.15)
    assert intercept == pytest.approx(np.log(PRIOR / (1 - PRIOR)), abs=0.5)
    narrow, wide = (
        probability_intervals(
            z, scale_draws(z, labelled, prior=PRIOR, log_sd=sd, n_draws=60, seed=3), prior=PRIOR, target_prior=1e-4,
            levels=LEVELS,
        )
        for sd in (0.0, 0.7)
    )  # fmt: skip
    true = 1 / (1 + np.exp(-(z + np.log(1e-4))))
    inside = (wide["low_95"] <= true) & (true <= wide["high_95"])
    assert inside.mean() > 0.9
    # a rare event's probability is about proportional to its prior, +-0.7 in ln at 68 %: less in the middle and more
    # towards the top, because a scale that is fitted at a larger prior is steeper
    middle, top = np.argsort(z)[[len(z) // 2, len(z) * 97 // 100]]
    width = {name: np.log(one["high_68"] / one["low_68"]) for name, one in (("n", narrow), ("w", wide))}
    assert 0.7 < width["w"][middle] < 1.4 < width["w"][top]
    assert width["n"][middle] < 0.5 * width["w"][middle]


def test_a_calibration_fold_with_one_lens_says_what_to_do():
    with pytest.raises(CatalogueError, match="1 known positives and 3 unlabelled"):
        scale_draws(np.arange(4.0), [1, 0, 0, 0], prior=0.1, log_sd=0.1, n_draws=5, seed=1)
