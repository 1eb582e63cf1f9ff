"""Holm's adjustment: published cases, and the rate at which it errs."""

import numpy as np

from skytrace.statistics import holm_adjusted

#: Fifteen hypotheses of Neuhaus et al. (1992), in Benjamini & Hochberg (1995, J. R. Stat. Soc. B 57, 289, sect. 3.2).
THROMBOLYSIS = (
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0,
)  # fmt: skip


def test_holm_adjustment_of_a_textbook_case():
    np.testing.assert_allclose(holm_adjusted([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm_adjusted([np.nan, 0.5, 0.9]), [np.nan, 1.0, 1.0])


def test_of_fifteen_published_hypotheses_three_are_rejected():
    # there: Bonferroni (0.05 / 15) and Hochberg reject the three smallest, and Holm rejects no fewer than the first
    # and no more than the second; nine are below 0.05 one by one
    adjusted = holm_adjusted(THROMBOLYSIS)
    assert (adjusted <= 0.05).sum() == 3 and (np.array(THROMBOLYSIS) <= 0.05).sum() == 9
    np.testing.assert_allclose(adjusted[:4], [15 * 0.0001, 14 * 0.0004, 13 * 0.0019, 12 * 0.0095])


def test_any_false_alarm_among_54_dependent_tests_is_as_rare_as_stated():
    from scipy.special import ndtr

    rng = np.random.default_rng(5)
    common, own = rng.normal(size=(4000, 1)), rng.normal(size=(4000, 54))
    p = ndtr(np.sqrt(0.3) * common + np.sqrt(0.7) * own)
    alarms = np.mean([holm_adjusted(row).min() <= 0.05 for row in p])
    assert (p.min(axis=1) <= 0.05).mean() > 0.5
    assert alarms < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
