import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from skytrace.errors import CatalogueError, OptionError
from skytrace.learning.gaussian_problem import GaussianProblem
from skytrace.learning.pu_calibration import fit_label_scale, fit_pu_scale, logits_of_log_probability


def test_pu_scale_recovers_the_slope_and_intercept_that_were_put_in():
    problem, prior, rng = GaussianProblem(), 0.05, np.random.default_rng(0)
    positives, (field, _) = problem.positives(3000, rng=rng), problem.unlabelled(60_000, prior=prior, rng=rng)
    exact = problem.logits(np.r_[positives, field], prior=prior)
    labelled = np.r_[np.ones(3000), np.zeros(60_000)]
    slope, intercept = fit_pu_scale((exact - 1.0) / 2.0, labelled, prior=prior)
    assert slope == pytest.approx(2.0, rel=0.05)
    assert intercept == pytest.approx(1.0, abs=0.1)
    # as if the unlabelled were negative, the same fit is elsewhere: the labels are not the truth
    assert fit_label_scale((exact - 1.0) / 2.0, labelled)[1] < 0.7


def test_label_scale_is_platts_logistic_regression():
    rng = np.random.default_rng(1)
    z = rng.normal(size=4000)
    labelled = (rng.random(4000) < expit(1.5 * z - 0.5)).astype(int)
    peer = LogisticRegression(C=np.inf, tol=1e-10).fit(z[:, None], labelled)
    assert fit_label_scale(z, labelled) == pytest.approx((peer.coef_[0, 0], peer.intercept_[0]), abs=2e-3)


def test_two_positives_do_not_make_a_scale_run_away():
    slope, intercept = fit_pu_scale([3.0, 2.0, -1.0, -2.0, -3.0, -1.5], [1, 1, 0, 0, 0, 0], prior=1e-3)
    assert 0.1 < slope < 10.0
    assert abs(intercept) < 15.0


def test_logits_of_a_probability_go_on_rising_beyond_one():
    p = np.array([1e-6, 0.1, 0.49999])
    np.testing.assert_allclose(logits_of_log_probability(np.log(p)), logit(p), rtol=1e-9)
    beyond = logits_of_log_probability(np.log([0.5, 0.9, 1.0, 7.0, 1e6]))
    assert beyond[0] == 0.0
    assert (np.diff(beyond) > 0).all()
    step = 1e-6  # the slope in ln p, 1 / (1 - p) = 2, is continuous at one half
    around = logits_of_log_probability(np.log(0.5) + np.array([-step, 0.0, step]))
    np.testing.assert_allclose(np.diff(around) / step, 2.0, rtol=1e-4)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, 1.5, np.nan])
def test_a_scale_at_an_impossible_prior_is_refused(prior):
    with pytest.raises(OptionError, match=r"prior = .* is outside its allowed range \(0, 1\)"):
        fit_pu_scale([1.0, -1.0, 0.0], [1, 0, 0], prior=prior)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fit", [lambda z, s: fit_pu_scale(z, s, prior=0.1), fit_label_scale])
def test_a_scale_without_positives_or_unlabelled_rows_or_of_logits_that_are_none_is_an_error_not_a_warning(fit):
    with pytest.raises(OptionError, match=r"n_positives = 0 is outside its allowed range \[1, inf\]"):
        fit([1.0, -1.0], [0, 0])
    with pytest.raises(OptionError, match=r"n_unlabelled = 0 is outside its allowed range \[1, inf\]"):
        fit([1.0, -1.0], [1, 1])
    with pytest.raises(OptionError, match="1 \\(known positive\\) or 0 \\(unlabelled\\)"):
        fit([1.0, -1.0], [1, -1])
    with pytest.raises(CatalogueError, match="2 of 3 logits are NaN or inf"):
        fit([1.0, np.nan, -np.inf], [1, 0, 0])
    with pytest.raises(CatalogueError, match="two lists of one length"):
        fit([1.0, 2.0], [1, 0, 0])


@pytest.mark.filterwarnings("error")
def test_one_positive_has_a_scale_that_stays_finite():
    slope, intercept = fit_pu_scale([2.0, 0.0, -1.0, -2.0], [1, 0, 0, 0], prior=0.1)
    assert 0.1 < slope < 10.0 and abs(intercept) < 15.0
