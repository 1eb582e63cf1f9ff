import numpy as np
import pytest
from scipy.stats import beta, binomtest, norm

from skytrace.errors import OptionError
from skytrace.learning import class_prior
from skytrace.learning.gaussian_problem import GaussianProblem
from skytrace.learning.prior_study import prior_study, simulated_estimates


def test_elkan_noto_is_exact_where_the_classes_do_not_overlap():
    """g of every positive is then c = n_P / (n_P + pi n_U), from which pi follows."""
    n_p, n_u, prior = 50, 1000, 0.03
    g = n_p / (n_p + prior * n_u)
    unlabelled = np.r_[np.full(30, np.log(g / (1 - g))), np.full(970, -20.0)]
    assert class_prior.elkan_noto_prior(np.full(n_p, np.log(g / (1 - g))), unlabelled) == pytest.approx(prior)


def test_tail_and_density_ratio_find_the_share_of_separate_classes():
    rng = np.random.default_rng(0)
    positives, field = rng.normal(10, 1, 2000), np.r_[rng.normal(10, 1, 400), rng.normal(-10, 1, 19_600)]
    assert class_prior.tail_ratio_prior(positives, field) == pytest.approx(0.02, rel=0.15)
    assert class_prior.density_ratio_prior(positives, field) == pytest.approx(0.02, rel=0.25)
    assert class_prior.gaussian_mixture_prior(field) == pytest.approx(0.02, rel=0.01)


def test_exact_densities_give_the_share_within_its_counting_error():
    problem, rng = GaussianProblem(n_features=4), np.random.default_rng(1)
    field, truth = problem.unlabelled(40_000, prior=0.05, rng=rng)
    assert class_prior.exact_density_prior(problem.log_ratio(field)) == pytest.approx(truth.mean(), rel=0.08)
    assert class_prior.exact_density_prior(problem.log_ratio(problem.negatives(2000, rng=rng)) - 5.0) == 0.0


def test_bound_is_the_ratio_of_clopper_pearson_limits():
    """Ten positives above 1,000 unlabelled rows: none of these at or above any rank, and both limits are textbook."""
    positives, field = np.arange(10.0) + 100.0, np.arange(1000.0) / 1000
    error = 0.05 / 6 / 2  # six thresholds, two shares
    expected = min(
        binomtest(0, 1000, alternative="less").proportion_ci(1 - error).high / beta.ppf(error, k, 10 - k + 1)
        for k in (1, 2, 4, 5, 7, 9)
    )
    assert class_prior.tail_ratio_upper_bound(positives, field) == pytest.approx(expected, rel=1e-6)


def test_bound_is_one_where_the_positives_say_nothing():
    assert class_prior.tail_ratio_upper_bound([0.0], np.zeros(50)) == 1.0


@pytest.mark.parametrize("prior", [1e-2, 1e-3, 1e-4])
def test_upper_bound_covers_in_95_percent_of_200_simulations(prior):
    bound = simulated_estimates(
        prior, n_positives=100, n_unlabelled=10_000, n_simulations=200, estimators=(), seed=3
    )["upper_bound"]  # fmt: skip
    assert (bound >= prior).mean() >= 0.95
    assert bound.median() < 40 * prior + 5e-3  # and it says something: not the trivial bound


def test_bound_covers_also_where_every_threshold_keeps_no_negative():
    """Separate classes make the tail ratio an equality, the hardest case to cover."""
    rng, prior, covered = np.random.default_rng(4), 0.02, 0
    for _ in range(200):
        positives = rng.normal(10, 1, 60)
        k = rng.binomial(2000, prior)
        field = np.r_[rng.normal(10, 1, k), rng.normal(-10, 1, 2000 - k)]
        covered += class_prior.tail_ratio_upper_bound(positives, field) >= prior
    assert covered >= 190


def test_no_estimator_is_within_two_at_a_prior_of_1e_4_where_even_the_densities_are_not():
    table = prior_study(priors=(1e-4,), n_unlabelled=10_000, n_simulations=12, seed=5).set_index("estimator")
    for name in class_prior.ESTIMATORS:
        assert not 0.5 <= table.loc[name, "median_ratio"] <= 2.0
    assert table.loc["exact_densities", "relative_error"] > 0.6
    assert table["covers"].notna().sum() == 1
    ends = beta(12.5, 0.5).ppf([norm.sf(2.0), norm.cdf(2.0)])  # the bound held in all 12
    assert tuple(table.loc["upper_bound", ["covers_low_95", "covers_high_95"]]) == pytest.approx(tuple(ends))


def test_table_of_estimates_has_intervals_and_the_bound():
    rng = np.random.default_rng(6)
    positives, field = rng.normal(10, 1, 300), np.r_[rng.normal(10, 1, 60), rng.normal(-10, 1, 2940)]
    table = class_prior.estimate_priors(
        positives, field, estimators=("tail_ratio", "density_ratio"), n_resamples=60, seed=0
    ).set_index("estimator")
    assert table.loc["tail_ratio", "low_95"] < 0.02 < table.loc["tail_ratio", "high_95"]
    assert (table.loc["tail_ratio", "high_68"] - table.loc["tail_ratio", "low_68"]) == pytest.approx(
        2 * np.sqrt(0.02 / 3000), rel=0.7
    )
    assert table.loc["upper_bound", "prior"] > table.loc["tail_ratio", "prior"]


def test_empty_and_nan_scores_are_named():
    with pytest.raises(OptionError, match=r"len\(positive_scores\) = 0"):
        class_prior.tail_ratio_prior([], [1.0])
    with pytest.raises(OptionError, match="unlabelled_scores has 1 value"):
        class_prior.tail_ratio_upper_bound([1.0], [np.nan, 2.0])
