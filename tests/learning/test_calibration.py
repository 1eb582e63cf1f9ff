import json

import numpy as np
import pytest
from scipy.special import expit, logit

from skytrace.errors import CatalogueError, OptionError
from skytrace.learning.calibration import (
    Calibrator,
    calibration_verdict,
    compare_calibrations,
    fit_calibrator,
    log_loss,
    select_calibrator,
)
from skytrace.learning.metrics import calibration_errors, roc_auc
from skytrace.learning.options import CALIBRATION_METHODS, CalibrationOptions


def simulated(n: int, *, temperature: float = 1.0, shift: float = 0.0, seed: int = 0):
    """(scores, labels, true probabilities): the truth is sigmoid(logit / temperature + shift) of the score."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1.0, 3.0, n)
    truth = expit(z / temperature + shift)
    return expit(z), (rng.random(n) < truth).astype(int), truth


def test_a_known_temperature_is_recovered():
    scores, labels, truth = simulated(40_000, temperature=2.0)
    calibrator = fit_calibrator(scores, labels, method="temperature")
    assert calibrator.parameters["temperature"] == pytest.approx(2.0, rel=0.03)
    np.testing.assert_allclose(calibrator.apply(scores), truth, atol=0.01)


def test_platt_recovers_slope_and_shift():
    scores, labels, truth = simulated(40_000, temperature=2.0, shift=-1.5)
    calibrator = fit_calibrator(scores, labels, method="platt")
    assert calibrator.parameters["slope"] == pytest.approx(0.5, rel=0.04)
    assert calibrator.parameters["intercept"] == pytest.approx(-1.5, rel=0.04)
    np.testing.assert_allclose(calibrator.apply(scores), truth, atol=0.01)


def test_beta_recovers_both_slopes_and_holds_platt_as_equal_ones():
    """Kull et al. 2017, eq. 2: scores whose low end is too timid and whose high end is too bold."""
    rng = np.random.default_rng(5)
    scores = expit(rng.normal(-1.0, 3.0, 60_000))
    truth = expit(0.4 * np.log(scores) - 1.6 * np.log1p(-scores) + 0.3)
    labels = (rng.random(len(scores)) < truth).astype(int)
    beta = fit_calibrator(scores, labels, method="beta")
    found = [beta.parameters[name] for name in ("low_slope", "high_slope", "intercept")]
    np.testing.assert_allclose(found, [0.4, 1.6, 0.3], rtol=0.08)
    np.testing.assert_allclose(beta.apply(scores), truth, atol=0.015)
    assert np.abs(fit_calibrator(scores, labels, method="platt").apply(scores) - truth).max() > 0.03
    straight = Calibrator("beta", {"low_slope": 0.7, "high_slope": 0.7, "intercept": -0.2})
    platt = Calibrator("platt", {"slope": 0.7, "intercept": -0.2})
    np.testing.assert_allclose(straight.apply(scores), platt.apply(scores), rtol=1e-9)


def test_beta_is_the_least_log_loss_and_never_turns_the_ranking_round():
    from sklearn.linear_model import LogisticRegression

    scores, labels, _ = simulated(3_000, temperature=2.0, shift=-1.0, seed=8)
    weights = np.where(labels == 1, 0.5, 1.5)
    beta = fit_calibrator(scores, labels, method="beta", weights=weights)
    terms = np.stack([np.log(scores), -np.log1p(-scores)], axis=1)
    peer = LogisticRegression(C=1e4, tol=1e-10, max_iter=10_000).fit(terms, labels, sample_weight=weights)
    np.testing.assert_allclose(beta.apply(scores), peer.predict_proba(terms)[:, 1], atol=1e-4)
    backwards = fit_calibrator(scores, 1 - labels, method="beta")
    assert (np.diff(backwards.apply(np.linspace(0, 1, 101))) >= 0).all()


def test_every_method_is_judged_on_the_other_sample_as_the_chosen_one_is():
    scores, labels, _ = simulated(2_000, temperature=2.0, seed=9)
    unseen, truth, _ = simulated(1_000, temperature=2.0, seed=10)
    options, cells = CalibrationOptions(n_resamples=100), np.arange(1_000) // 20
    table = compare_calibrations((scores, labels), (unseen, truth), cells=cells, options=options)
    assert list(table) == ["none", *options.methods]
    for method in options.methods:
        after = fit_calibrator(scores, labels, method=method).apply(unseen)
        verdict = calibration_verdict(unseen, after, truth, cells=cells, options=options)
        assert table[method]["ece"] == verdict["all"]["after"]["ece"]
        assert table[method]["ece_top"] == verdict["top"]["after"]["ece"]
        assert table[method]["noise_95"] == verdict["all"]["noise_95"]
        assert table[method]["log_loss"] < table["none"]["log_loss"]


def test_isotonic_recovers_a_map_of_any_rising_shape():
    rng = np.random.default_rng(1)
    scores = rng.random(60_000)
    truth = np.where(scores < 0.6, 0.05, 0.7) + 0.1 * scores
    labels = (rng.random(len(scores)) < truth).astype(int)
    calibrated = fit_calibrator(scores, labels, method="isotonic").apply(scores)
    assert np.abs(calibrated - truth).mean() < 0.02
    platt = fit_calibrator(scores, labels, method="platt").apply(scores)
    assert np.abs(platt - truth).mean() > 0.05, "no sigmoid of the logit has a step in it"


@pytest.mark.parametrize("method", CALIBRATION_METHODS)
def test_calibration_keeps_the_order_and_lowers_the_error(method):
    scores, labels, _ = simulated(20_000, temperature=2.5, seed=2)
    unseen, truth, _ = simulated(20_000, temperature=2.5, seed=3)
    calibrator = fit_calibrator(scores, labels, method=method)
    fine = calibrator.apply(np.linspace(0, 1, 10_001))
    assert (np.diff(fine) >= 0).all()
    assert ((fine >= 0) & (fine <= 1)).all()
    calibrated = calibrator.apply(unseen)
    assert calibration_errors(unseen, truth)[0] > 0.05
    assert calibration_errors(calibrated, truth)[0] < 0.02
    assert roc_auc(calibrated, truth) == pytest.approx(roc_auc(unseen, truth), abs=1e-3)


def test_weights_count_as_repetitions():
    scores, labels, _ = simulated(600, temperature=2.0, seed=4)
    times = np.random.default_rng(5).integers(0, 4, 600)
    for method in CALIBRATION_METHODS:
        weighted = fit_calibrator(scores, labels, method=method, weights=times)
        repeated = fit_calibrator(np.repeat(scores, times), np.repeat(labels, times), method=method)
        grid = np.linspace(0.01, 0.99, 50)
        # the isotonic floor counts stamps, so the ends differ by less than a stamp's share
        np.testing.assert_allclose(weighted.apply(grid), repeated.apply(grid), atol=1e-3)


def test_weights_move_the_share_of_lenses_as_bayes_says():
    """Lenses that count w times as much add ln w to the logit of every probability."""
    scores, labels, truth = simulated(40_000, seed=6)
    calibrator = fit_calibrator(scores, labels, method="platt", weights=np.where(labels == 1, 0.01, 1.0))
    middle = np.abs(logit(truth)) < 2
    shift = logit(calibrator.apply(scores[middle])) - logit(truth[middle])
    np.testing.assert_allclose(shift, np.log(0.01), atol=0.15)


def test_saturated_scores_stay_finite():
    scores, labels = np.array([0.0, 0.0, 1.0, 1.0, 0.5, 0.5]), np.array([0, 0, 1, 1, 0, 1])
    for method in CALIBRATION_METHODS:
        calibrated = fit_calibrator(scores, labels, method=method).apply(scores)
        assert np.isfinite(calibrated).all()
        assert np.isfinite(log_loss(calibrated, labels))


def test_isotonic_never_claims_certainty():
    calibrated = fit_calibrator(np.linspace(0, 1, 200), np.arange(200) >= 100, method="isotonic").apply([0.0, 1.0])
    np.testing.assert_allclose(calibrated, [0.5 / 201, 1 - 0.5 / 201])


def test_a_detector_that_ranks_backwards_is_made_flat_not_turned_round():
    scores, labels, _ = simulated(5_000, seed=7)
    backwards = fit_calibrator(1.0 - scores, labels, method="platt")
    np.testing.assert_allclose(backwards.apply([0.1, 0.9]), labels.mean(), atol=1e-12)


def test_the_method_is_chosen_by_held_out_log_loss():
    rng = np.random.default_rng(8)
    scores, labels, _ = simulated(4_000, temperature=2.0, shift=-1.5, seed=8)
    chosen, report = select_calibrator(scores, labels)
    assert chosen.method == "platt"
    assert report["cross_validated_log_loss"]["platt"] < report["cross_validated_log_loss"]["none"]
    steps = rng.random(20_000)
    labels = (rng.random(20_000) < np.where(steps < 0.6, 0.05, 0.8)).astype(int)
    assert select_calibrator(steps, labels)[0].method == "isotonic"
    only = CalibrationOptions(methods=("temperature",))
    assert select_calibrator(steps, labels, options=only)[0].method == "temperature"


def test_a_calibrator_survives_json():
    scores, labels, _ = simulated(500, seed=9)
    for method in CALIBRATION_METHODS:
        calibrator = fit_calibrator(scores, labels, method=method)
        again = Calibrator(**json.loads(json.dumps(calibrator.as_dict())))
        np.testing.assert_array_equal(again.apply(scores), calibrator.apply(scores))


def test_the_verdict_measures_the_test_sample_and_says_what_noise_alone_would_show():
    options = CalibrationOptions(n_resamples=100)
    scores, labels, truth = simulated(6_000, temperature=2.0, seed=10)
    good = calibration_verdict(scores, truth, labels, options=options)
    assert good["all"]["met"]
    assert good["all"]["before"]["ece"]["value"] == pytest.approx(calibration_errors(scores, labels)[0])
    assert good["all"]["before"]["ece"]["value"] > 0.05
    assert good["all"]["after"]["ece"]["value"] < good["all"]["noise_95"]
    assert good["top"]["n"] == 60
    assert "both limits are met" in good["sentence"]
    bad = calibration_verdict(scores, scores, labels, options=options)
    assert not bad["all"]["met"]
    assert bad["all"]["after"]["ece"]["low_95"] > bad["all"]["noise_95"]
    assert "not both limits" in bad["sentence"]
    few = calibration_verdict(scores[:300], truth[:300], labels[:300], options=options)
    assert few["all"]["noise_95"] > 0.03, "300 stamps cannot certify 0.02"


def test_impossible_calibrations_are_named():
    scores, labels, _ = simulated(100, seed=11)
    with pytest.raises(OptionError, match="method = 'spline'"):
        fit_calibrator(scores, labels, method="spline")
    with pytest.raises(CatalogueError, match="both lenses and galaxies"):
        fit_calibrator(scores, np.zeros(100), method="platt")
    with pytest.raises(CatalogueError, match="both lenses and galaxies"):
        fit_calibrator(scores, labels, method="platt", weights=labels)
    with pytest.raises(OptionError, match="rise together"):
        Calibrator("isotonic", {"scores": [0.0, 1.0], "probabilities": [0.9, 0.1]})
    with pytest.raises(OptionError, match="slope"):
        Calibrator("platt", {"slope": -1.0, "intercept": 0.0})
    with pytest.raises(OptionError, match="a temperature calibration is"):
        Calibrator("temperature", {})
    with pytest.raises(OptionError, match="methods"):
        CalibrationOptions(methods=("none",))
