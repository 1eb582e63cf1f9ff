"""Two detectors at thresholds that could have fallen elsewhere: the interval knows it, fixed cuts do not."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr
from scipy.stats import norm

from skytrace.errors import OptionError
from skytrace.learning.metrics import choose_threshold
from skytrace.learning.options import ThresholdOptions
from skytrace.learning.threshold_noise import resampled_thresholds
from skytrace.selection.paired import PairedOptions, paired_table
from skytrace.selection.threshold_pairs import paired_detectors

RATE = 0.02
OPTIONS = PairedOptions((0.5, 1.5, 2.5, 3.5), n_permutations=99)


def scored(rng, mean, n, noise=1.0):
    """Two detectors of equal worth: a common view of each stamp, and noise of their own; scores in (0, 1)."""
    common = mean + rng.normal(size=n)
    return [ndtr((common + noise * rng.normal(size=n)) / np.sqrt(1 + noise**2)) for _ in range(2)]


def drawn(rng, n_galaxies=500, n=1500, noise=1.0):
    """(pairs, thresholds, draws): thresholds chosen on galaxies, injections on 150 hosts, half of these detectable."""
    galaxies = scored(rng, 0.0, n_galaxies, noise)
    chosen = ThresholdOptions(false_positive_rate=RATE)
    thresholds = tuple(choose_threshold(g, np.zeros(n_galaxies), options=chosen)["value"] for g in galaxies)
    draws = resampled_thresholds(dict(enumerate(galaxies)), rate=RATE, n_resamples=400, seed=1)
    first, second = scored(rng, 2.5, n, noise)
    pairs = pd.DataFrame(
        {"score": first, "score_ablation": second, "galaxy_id": rng.integers(0, 150, n),
         "theta_e_arcsec": rng.choice([1.0, 2.0], n)}
    )  # fmt: skip
    return pairs, thresholds, (draws[0], draws[1])


def test_detectors_of_equal_worth_are_rarely_told_apart_and_fixed_cuts_tell_them_apart_often():
    rng = np.random.default_rng(7)
    wrong = {"drawn": 0, "fixed": 0}
    for _ in range(60):
        pairs, thresholds, draws = drawn(rng)
        one = paired_detectors(pairs, thresholds=thresholds, threshold_draws=draws, options=OPTIONS).iloc[-1]
        wrong["drawn"] += not one["low95"] <= 0 <= one["high95"]
        wrong["fixed"] += not one["low95_fixed"] <= 0 <= one["high95_fixed"]
        assert (
            one["p_mcnemar_fixed"]
            == paired_table(pairs, threshold=thresholds[0], threshold_ablation=thresholds[1], options=OPTIONS)[
                "p_mcnemar"
            ].iloc[-1]
        )
    assert wrong["drawn"] <= 7  # 4.6 % of 60 is 2.8
    assert wrong["fixed"] >= 22


def test_the_error_is_that_of_the_threshold_times_the_density_of_injections_there():
    rng = np.random.default_rng(3)
    pairs, thresholds, _ = drawn(rng, n=20_000)
    limit = norm.ppf(thresholds[1])
    moved = ndtr(limit + rng.normal(0.0, 0.1, 4000))
    fixed = np.full(4000, thresholds[0])
    found = paired_detectors(pairs, thresholds=thresholds, threshold_draws=(fixed, moved), options=OPTIONS).iloc[-1]
    slope = norm.pdf(limit - 2.5 / np.sqrt(2))  # of P(score >= threshold) in the scores' own normal coordinate
    assert found["standard_error"] == pytest.approx(np.hypot(0.1 * slope, found["standard_error_fixed"]), rel=0.06)


def test_constant_thresholds_leave_the_hosts_scatter_alone():
    pairs, thresholds, _ = drawn(np.random.default_rng(4))
    constant = tuple(np.full(2000, value) for value in thresholds)
    table = paired_detectors(pairs, thresholds=thresholds, threshold_draws=constant, options=OPTIONS)
    filled = table["n"] > 0
    np.testing.assert_allclose(table["standard_error"][filled], table["standard_error_fixed"][filled], rtol=0.12)
    assert list(table["bin"]) == ["0.5-1.5", "1.5-2.5", "2.5-3.5", "all"]
    assert np.isnan(table["low95"][2]) and np.isnan(table["p_bootstrap"][2])


def test_a_detector_that_is_the_other_differs_in_nothing_whatever_the_threshold():
    pairs, thresholds, draws = drawn(np.random.default_rng(5))
    same = pairs.assign(score_ablation=pairs["score"])
    one = paired_detectors(
        same, thresholds=(thresholds[0],) * 2, threshold_draws=(draws[0],) * 2, options=OPTIONS
    ).iloc[-1]
    assert (one["low95"], one["high95"], one["p_bootstrap"]) == (0.0, 0.0, 1.0)


def test_draws_of_unequal_lengths_are_refused():
    pairs, thresholds, _ = drawn(np.random.default_rng(6))
    with pytest.raises(OptionError, match="threshold_draws"):
        paired_detectors(pairs, thresholds=thresholds, threshold_draws=(np.ones(3), np.ones(4)), options=OPTIONS)
