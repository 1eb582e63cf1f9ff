import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skytrace.errors import CatalogueError
from skytrace.learning.selective import (
    area_under_risk_coverage,
    best_area_under_risk_coverage,
    confidence,
    coverage_at_risk,
    risk_coverage_curve,
    selective_summary,
)

SURE = [0.9, 0.8, 0.7, 0.6]


def test_a_case_computed_by_hand():
    """Wrong are the second and the last: risks 0/1, 1/2, 1/3, 2/4 and their mean (0 + 1/2 + 1/3 + 1/2) / 4 = 1/3."""
    coverage, risk = risk_coverage_curve(SURE, [False, True, False, True])
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(risk, [0, 1 / 2, 1 / 3, 1 / 2])
    assert area_under_risk_coverage(SURE, [False, True, False, True]) == pytest.approx(1 / 3)
    assert coverage_at_risk(SURE, [False, True, False, True], risk=1 / 3) == 0.75
    assert coverage_at_risk(SURE, [False, True, False, True], risk=0.1) == 0.25
    assert coverage_at_risk(SURE, [True, True, False, True], risk=0.1) == 0.0


def test_errors_ranked_last_give_the_analytic_limit():
    n, k = 20_000, 3_000
    sureness, wrong = np.arange(n)[::-1], np.arange(n) >= n - k
    best = best_area_under_risk_coverage(n, k)
    assert area_under_risk_coverage(sureness, wrong) == pytest.approx(best, rel=1e-12)
    rate = k / n
    assert best == pytest.approx(rate + (1 - rate) * np.log(1 - rate), rel=1e-3)
    assert coverage_at_risk(sureness, wrong, risk=0.0) == pytest.approx(1 - rate)


def test_confidence_that_knows_nothing_has_the_error_rate_for_its_area():
    wrong = np.random.default_rng(0).random(200_000) < 0.13
    blind = np.random.default_rng(1).random(200_000)
    assert area_under_risk_coverage(blind, wrong) == pytest.approx(0.13, abs=0.005)
    assert area_under_risk_coverage(np.ones(1000), wrong[:1000]) == pytest.approx(wrong[:1000].mean(), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40), st.integers(0, 10**6))
def test_the_curve_does_not_depend_on_the_order_of_ties(rows, seed):
    sureness, wrong = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    order = np.random.default_rng(seed).permutation(len(rows))
    for one, other in zip(
        risk_coverage_curve(sureness, wrong), risk_coverage_curve(sureness[order], wrong[order]), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)
    assert (
        area_under_risk_coverage(sureness, wrong) >= best_area_under_risk_coverage(len(rows), int(wrong.sum())) - 1e-12
    )


def test_whole_weights_give_the_curve_of_repeated_stamps_where_a_stamp_is_complete():
    wrong = np.array([False, True, False, True])
    coverage, risk = risk_coverage_curve(SURE, wrong, weights=[3, 1, 2, 4])
    repeated = [np.repeat(values, [3, 1, 2, 4]) for values in (SURE, wrong)]
    full, expected = risk_coverage_curve(*repeated)
    ends = np.cumsum([3, 1, 2, 4]) - 1
    np.testing.assert_allclose(coverage, full[ends])
    np.testing.assert_allclose(risk, expected[ends])


def test_confidence_grows_with_the_distance_from_the_threshold_on_both_sides():
    sure = confidence([0.2, 0.5, 0.9, 0.0, 1.0], threshold=0.5)
    np.testing.assert_allclose(sure[:3], [np.log(4), 0.0, np.log(9)])
    assert np.isfinite(sure).all()


def test_the_summary_has_each_class_alone_and_intervals_around_its_values():
    rng = np.random.default_rng(2)
    labels = (rng.random(2000) < 0.2).astype(int)
    scores = 1 / (1 + np.exp(-rng.normal(3.0 * labels - 1.5, 1.2)))
    summary = selective_summary(scores, labels, threshold=0.5, n_resamples=100)
    wrong = (scores >= 0.5) != (labels == 1)
    assert summary["errors"] == wrong.sum() == sum(summary["by_class"][c]["errors"] for c in ("lenses", "galaxies"))
    assert summary["aurc"]["low_95"] <= summary["aurc"]["value"] <= summary["aurc"]["high_95"]
    assert summary["aurc"]["value"] < wrong.mean() / 2, "distance from the threshold tells errors here"
    assert summary["excess_aurc"] > 0
    assert summary["curve"]["coverage"][-1] == 1.0
    assert summary["curve"]["risk"][-1] == pytest.approx(wrong.mean())


def test_impossible_inputs_are_named():
    with pytest.raises(CatalogueError, match="two lists"):
        risk_coverage_curve([0.1], [True, False])
    with pytest.raises(CatalogueError, match="must be numbers"):
        risk_coverage_curve([np.nan], [True])
