"""A report that was changed, cut short or mixed with another run's is told from one that its outputs give."""

import copy

import numpy as np
import pandas as pd
import pytest

from skytrace.supernovae import recomputed_gate, recomputed_reports
from skytrace.supernovae.cosmology import CosmologyOptions, fit_cosmology, flat_lcdm_distance_modulus
from skytrace.supernovae.distance_basis import basis_diagnostics
from skytrace.supernovae.model_comparison import fold_figures
from skytrace.supernovae.outlier_options import OutlierOptions
from skytrace.supernovae.outliers import gate_supernovae, outlier_summaries, residual_scatter
from skytrace.supernovae.paired_laws import paired_laws
from skytrace.supernovae.recomputation import RecomputationError, compare_reports, numbers_of, require_agreement

REPORT = {"a": {"x": 1.0, "n": 3, "ok": True, "none": None}, "rows": [{"v": 2e6}], "words": "three"}


def test_numbers_are_found_by_dotted_key_and_words_are_none():
    assert numbers_of(REPORT) == {"a.x": 1.0, "a.n": 3, "a.ok": True, "a.none": None, "rows.0.v": 2e6}


def test_a_report_agrees_with_itself_and_nan_with_null():
    again = copy.deepcopy(REPORT)
    again["a"]["none"] = float("nan")
    found = compare_reports({"f.json": REPORT}, {"f.json": again})
    assert (found["agrees"], found["n_agree"], found["n_not_recomputed"]) == (True, 5, 0)
    require_agreement(found)


@pytest.mark.parametrize(("key", "value"), [("x", 1.0 + 1e-8), ("n", 4), ("ok", False), ("none", 0.0), ("new", 1.0)])
def test_any_change_is_seen_and_named(key, value):
    again = copy.deepcopy(REPORT)
    again["a"][key] = value
    found = compare_reports({"f.json": REPORT}, {"f.json": again})
    assert not found["agrees"]
    with pytest.raises(RecomputationError, match=rf"1 of . reported numbers.*f\.json:a\.{key}"):
        require_agreement(found)


def test_large_numbers_agree_within_a_relative_difference():
    again = copy.deepcopy(REPORT)
    again["rows"][0]["v"] *= 1.0 + 1e-10
    assert compare_reports({"f": REPORT}, {"f": again})["agrees"]
    again["rows"][0]["v"] *= 1.0 + 1e-8
    assert not compare_reports({"f": REPORT}, {"f": again})["agrees"]


def test_what_no_output_gives_is_counted_and_not_called_agreement():
    found = compare_reports({"f": REPORT}, {"f": {"a": {"x": 1.0}}})
    assert found["agrees"]
    assert (found["n_agree"], found["n_not_recomputed"]) == (1, 4)
    assert "f:a.n" in found["not_recomputed"]


@pytest.fixture(scope="module")
def hubble() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    n = 300
    z = rng.uniform(0.05, 1.0, n)
    error = rng.uniform(0.05, 0.2, n)
    mu = flat_lcdm_distance_modulus(z, z, omega_m=0.3) + error * rng.normal(size=n)
    prob = rng.uniform(0.2, 1.0, n)
    mu[:15] += 1.5
    names = [f"sn{k}" for k in range(n)]
    columns = {"snid": names, "z_hd": z, "z_hel": z, "mu_mag": mu, "mu_err_mag": error, "prob_ia": prob}
    return pd.DataFrame(columns)


def test_least_squares_figures_come_out_again_for_every_law(hubble):
    models = ("flat_lcdm", "qfd_anchored", "qfd_seed", "log_distance")
    fits = {model: fit_cosmology(hubble, model) for model in models}
    residuals = hubble.assign(table="t", **{f"residual_{name}_mag": fit.residuals_mag for name, fit in fits.items()})
    again = recomputed_reports.cosmology_again(residuals, {"t": hubble}, models, CosmologyOptions())
    found = compare_reports({"c": {"t": {name: fit.metrics() for name, fit in fits.items()}}}, {"c": again})
    assert found["agrees"]
    assert found["n_not_recomputed"] == 0
    residuals["residual_flat_lcdm_mag"] *= 1.001
    again = recomputed_reports.cosmology_again(residuals, {"t": hubble}, models, CosmologyOptions())
    assert not compare_reports({"c": {"t": {"flat_lcdm": fits["flat_lcdm"].metrics()}}}, {"c": again})["agrees"]


@pytest.fixture(scope="module")
def scores(hubble) -> pd.DataFrame:
    parts = []
    for law, wrong in (("flat_lcdm", 0.0), ("log_distance", 0.3)):
        residual = hubble["mu_mag"] - flat_lcdm_distance_modulus(hubble["z_hd"], hubble["z_hd"], omega_m=0.3) + wrong
        parts.append(
            hubble.assign(
                model=law, fold=np.arange(300) % 5, held_out=np.arange(300) % 10 == 0, residual_mag=residual,
                elpd=-0.5 * (residual / hubble["mu_err_mag"]) ** 2,
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_folds_seeds_and_scatter_come_out_again(scores):
    reported = {
        str(law): {"folds": fold_figures(rows[~rows["held_out"]]), "held_out": fold_figures(rows[rows["held_out"]])}
        for law, rows in scores.groupby("model", sort=False)
    }
    again = recomputed_reports.fold_report_again(scores)
    assert compare_reports({"f": reported}, {"f": again})["n_agree"] == len(numbers_of(reported))
    outlier = scores.loc[scores["model"] == "flat_lcdm", "residual_mag"].abs() > 1.0
    scatter = {law: residual_scatter(rows, outlier) for law, rows in scores.groupby("model", sort=False)}
    gated = pd.DataFrame({"p_outlier": outlier.to_numpy(dtype=float)})
    again = recomputed_gate.scatter_again(scores, gated, OutlierOptions())
    found = compare_reports({"s": scatter}, {"s": again["laws"]})
    assert found["agrees"]
    assert found["n_agree"] == 2 * 4 * 4


def test_pairs_and_the_gate_come_out_again(scores):
    pointwise = pd.concat(
        [
            rows[["snid"]].assign(
                elpd_loo=rows["elpd"] - 0.1, pareto_k=rows["residual_mag"].abs(), posterior=law + noise
            )
            for law, rows in scores[~scores["held_out"]].groupby("model", sort=False)
            for noise in ("", "_mixture")
        ]
    )
    pairs = paired_laws(pointwise, scores)
    assert compare_reports({"p": pairs}, {"p": recomputed_gate.pairs_again(pointwise, scores, "flat_lcdm")})["agrees"]
    fits = pd.DataFrame({"snid": scores["snid"][:200], "chi2": np.linspace(5, 60, 200), "ndof": 10, "skew": 0.0})
    options = OutlierOptions(mixtures={"brightness": ["ln_k_j_star"]})
    law = scores[scores["model"] == "flat_lcdm"]
    gated, mixtures = gate_supernovae(
        outlier_summaries(law, pointwise[pointwise["posterior"] == "flat_lcdm"], fits), options=options
    )
    truth = pd.DataFrame({"snid": law["snid"], "kind": np.where(np.arange(300) < 15, "non_ia", "ia")})
    again = recomputed_gate.outliers_again(gated, truth, options)
    assert compare_reports({"m": mixtures}, {"m": again["mixtures"]})["agrees"]
    assert again["known_by"]["truth"]["auc"]["log_odds"]["value"] > 0.99
    assert again["known_by"]["truth"]["rules"]["mixture"]["completeness"]["value"] > 0.9
    assert again["sides"]["n_fainter"] >= 15


def test_the_basis_has_the_condition_numbers_that_its_own_module_gives(hubble):
    z = hubble["z_hd"].to_numpy()
    found = compare_reports({"b": basis_diagnostics(z)}, {"b": recomputed_reports._basis(z)})
    assert found["agrees"], found["numbers"]
    assert found["n_not_recomputed"] == 0
