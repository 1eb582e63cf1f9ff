"""The gate: k_J* by its definition, a mixture that finds what was mixed, scores and rules with known figures."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.supernovae.outlier_options import OutlierOptions
from skytrace.supernovae.outliers import (
    brightness_sides,
    fit_mixture,
    gate_supernovae,
    ln_k_j_star,
    outlier_rules,
    outlier_summaries,
    residual_scatter,
    rule_figures,
    score_auc,
)


def test_a_supernova_four_times_too_bright_has_twice_the_k_j():
    residual_mag = [-2.5 * np.log10(4.0), 0.0]
    np.testing.assert_allclose(np.exp(ln_k_j_star(residual_mag, h0_km_s_mpc=70.0)), [140.0, 70.0], rtol=1e-12)


@pytest.fixture(scope="module")
def mixed() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(3)
    outlier = np.arange(2000) < 100
    x = np.where(outlier, rng.normal(5.0, 1.0, 2000), rng.normal(4.2, 0.05, 2000))
    return pd.DataFrame({"ln_k_j_star": x}), outlier


def test_the_mixture_recovers_weight_means_and_members(mixed):
    features, outlier = mixed
    mixture = fit_mixture(features)
    assert mixture.report["two_components"]
    assert mixture.report["outlying_weight"] == pytest.approx(0.05, abs=0.012)
    assert mixture.report["means"][0][0] == pytest.approx(4.2, abs=0.01)
    assert mixture.report["means"][1][0] == pytest.approx(5.0, abs=0.35)
    assert mixture.report["sds"][0][0] == pytest.approx(0.05, abs=0.005)
    assert mixture.report["outlying_label"] == 1, "labels go by the order of the means"
    far = np.abs(features["ln_k_j_star"] - 4.2) > 0.4
    assert (mixture.p_outlier[far] > 0.99).all()
    assert (mixture.p_outlier[~outlier] > 0.5).mean() < 0.01


def test_labels_follow_the_means_when_outliers_are_on_the_low_side(mixed):
    features, _ = mixed
    mixture = fit_mixture(-features)
    assert mixture.report["outlying_label"] == 0
    assert set(mixture.label) == {0, 1}
    np.testing.assert_allclose(mixture.p_outlier, fit_mixture(features).p_outlier, atol=1e-3)


def test_one_gaussian_has_no_outliers_but_can_still_be_ranked():
    features = pd.DataFrame({"ln_k_j_star": np.random.default_rng(0).normal(4.2, 0.1, 1500)})
    mixture = fit_mixture(features)
    assert mixture.report["bic_one"] < mixture.report["bic_two"]
    assert (mixture.p_outlier == 0.0).all()
    assert np.isfinite(mixture.log_odds).all()


def test_unknown_features_stay_unknown_and_too_few_are_refused(mixed):
    features, _ = mixed
    some = features.copy()
    some.iloc[::2] = np.nan
    mixture = fit_mixture(some)
    assert np.isnan(mixture.p_outlier[::2]).all()
    assert (mixture.label[::2] == -1).all()
    assert np.isfinite(mixture.p_outlier[1::2]).all()
    with pytest.raises(CatalogueError, match="12 supernovae know all of ln_k_j_star"):
        fit_mixture(features.iloc[:12])


def test_auc_is_the_share_of_pairs_in_order_with_ties_as_halves():
    record = score_auc([0.1, 0.4, 0.4, 0.9, np.nan], [0, 0, 1, 1, 1])
    assert record["value"] == (1 + 0.5 + 1 + 1) / 4
    assert (record["n_outliers"], record["n_clean"], record["n_unknown"]) == (2, 2, 1)
    assert record["low_95"] <= record["low_68"] <= record["value"] <= record["high_68"] <= record["high_95"]
    assert score_auc([0.1, 0.2], [0, 0])["value"] is None
    assert "low_95" not in score_auc([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]), "an area of 1 has no known error"


def test_the_error_of_an_auc_is_that_of_new_samples():
    rng = np.random.default_rng(11)
    truth = np.arange(600) < 60
    each = [score_auc(rng.normal(size=600) + 1.2 * truth, truth) for _ in range(400)]
    area, error = (np.array([one[name] for one in each]) for name in ("value", "standard_error"))
    assert error.mean() == pytest.approx(area.std(), rel=0.12)
    expected = 0.80193  # Phi(1.2 / sqrt 2)
    assert area.mean() == pytest.approx(expected, abs=0.004)
    inside = np.array([one["low_68"] <= expected <= one["high_68"] for one in each]).mean()
    assert 0.61 < inside < 0.75


def test_purity_and_completeness_are_shares_of_the_chosen_and_of_the_outliers():
    figures = rule_figures([1, 1, 1, 0, 0, 0], [1, 0, 0, 1, 0, 1])
    assert figures["purity"]["value"] == pytest.approx(1 / 3)
    assert figures["completeness"]["value"] == pytest.approx(1 / 3)
    assert figures["purity"]["low_95"] < 1 / 3 < figures["purity"]["high_95"]
    assert rule_figures([0, 0], [1, 0])["purity"]["value"] is None


@pytest.fixture
def tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(1)
    n = 60
    names = [f"sn{k}" for k in range(n)]
    scores = pd.DataFrame(
        {"snid": names, "held_out": np.arange(n) >= 50, "residual_mag": rng.normal(0, 0.1, n), "mu_err_mag": 0.1,
         "prob_ia": 1.0, "elpd": rng.normal(0, 1, n)}
    )  # fmt: skip
    elpd = pd.DataFrame({"snid": names[:50], "elpd_loo": np.arange(50.0), "pareto_k": 0.1})
    fits = pd.DataFrame({"snid": names[:40], "chi2": 50.0, "ndof": 10, "skew": 0.2})
    return scores, elpd[::-1], fits


def test_summaries_join_by_name_and_fall_back_to_the_prediction_of_the_held_out(tables):
    scores, elpd, fits = tables
    summaries = outlier_summaries(scores, elpd, fits)
    assert summaries["snid"].tolist() == scores["snid"].tolist()
    np.testing.assert_allclose(summaries["neg_elpd"][:50], -np.arange(50.0))
    np.testing.assert_allclose(summaries["neg_elpd"][50:], -scores["elpd"][50:])
    assert summaries["pareto_k"][50:].isna().all()
    assert (summaries["chi2_per_dof"][:40] == 5.0).all()
    assert summaries["chi2_per_dof"][40:].isna().all()


def test_a_supernova_listed_twice_keeps_its_two_rows_apart(tables):
    scores, elpd, fits = tables
    scores = pd.concat([scores[:50], scores[:1].assign(residual_mag=9.0)], ignore_index=True)
    elpd = pd.concat([elpd[::-1], elpd[-1:].assign(elpd_loo=-99.0)], ignore_index=True)
    summaries = outlier_summaries(scores, elpd, fits)
    assert len(summaries) == 51
    assert summaries["neg_elpd"].iloc[[0, 50]].tolist() == [0.0, 99.0]


def test_the_flag_asks_for_both_an_outlier_and_a_bad_light_curve(tables):
    scores, elpd, fits = tables
    scores.loc[[0, 1, 45], "residual_mag"] = [3.0, -3.0, 4.0]
    fits.loc[0, "chi2"] = 10.0
    options = OutlierOptions(mixtures={"brightness": ["ln_k_j_star"]})
    gated, reports = gate_supernovae(outlier_summaries(scores, elpd, fits), options=options)
    assert set(np.flatnonzero(gated["outlier"])) == {0, 1, 45}
    assert np.flatnonzero(gated["flagged"]).tolist() == [1], "0 has a good light curve, 45 has none"
    rules = outlier_rules(gated, options=options)
    assert rules["light_curve"].sum() == 39
    assert (rules["both"] == gated["flagged"]).all()
    assert brightness_sides(gated)["n_brighter"] == 1
    assert reports["brightness"]["n"] == 60


def test_a_mixture_without_measurements_is_reported_and_the_gate_itself_must_be_measured(tables):
    scores, elpd, fits = tables
    summaries = outlier_summaries(scores, elpd, fits.iloc[:5])
    options = OutlierOptions()
    gated, reports = gate_supernovae(summaries, options=options)
    assert "5 supernovae know all" in reports["light_curve"]["reason"]
    assert gated["log_odds_light_curve"].isna().all()
    with pytest.raises(CatalogueError, match="needs at least 20"):
        gate_supernovae(summaries, options=OutlierOptions(gate="light_curve"))


def test_scatter_is_of_each_group_about_its_own_weighted_mean():
    scores = pd.DataFrame(
        {"residual_mag": [0.1, 0.3, 5.0, 1.0, 1.2], "mu_err_mag": [0.1, 0.1, 0.1, 0.1, 0.2],
         "held_out": [False, False, False, True, True]}
    )  # fmt: skip
    report = residual_scatter(scores, [False, False, True, False, False])
    assert report["clean"]["n"] == 2
    assert report["clean"]["rms_mag"] == pytest.approx(0.1)
    mean = (100 * 1.0 + 25 * 1.2) / 125
    assert report["held_out"]["rms_mag"] == pytest.approx(np.sqrt(((1.0 - mean) ** 2 + (1.2 - mean) ** 2) / 2))
    assert report["held_out"]["wrms_mag"] == pytest.approx(
        np.sqrt((100 * (1.0 - mean) ** 2 + 25 * (1.2 - mean) ** 2) / 125)
    )
    assert report["held_out"]["mad_mag"] == pytest.approx(1.4826 * 0.1)


def test_options_name_what_is_wrong():
    with pytest.raises(OptionError, match="gate"):
        OutlierOptions(gate="none")
    with pytest.raises(OptionError, match=r"mixtures\.one"):
        OutlierOptions(mixtures={"one": ["colour"]}, gate="one")
