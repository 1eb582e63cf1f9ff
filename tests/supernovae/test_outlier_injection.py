"""Injected supernovae: factors by name, alpha by ln q, light that the fit gives back, and scores that find them."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError
from skytrace.supernovae.cosmology import ALPHA_PER_MAG, flat_lcdm_distance_modulus
from skytrace.supernovae.fit_options import FitOptions
from skytrace.supernovae.light_curve_fit import fit_light_curves
from skytrace.supernovae.outlier_injection import (
    chosen_for_injection,
    flux_factors,
    inject_alpha,
    inject_light_curves,
    injected_into_alpha,
    score_population,
)
from skytrace.supernovae.outlier_options import InjectionOptions, OutlierOptions
from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions
from skytrace.surveys.supernovae.mock import MockSupernovae
from skytrace.surveys.supernovae.options import MockSupernovaOptions

NAMES = [f"sn{k}" for k in range(20_000)]


def test_mass_ratios_are_log_uniform_and_belong_to_the_name():
    factor = flux_factors(NAMES)
    assert factor.min() >= 1.0
    assert factor.max() <= 1000.0
    quartiles = np.quantile(np.log10(factor), [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, [0.75, 1.5, 2.25], atol=0.05)
    assert flux_factors(NAMES[::-1])[::-1].tolist() == factor.tolist()


def test_magnifications_fall_as_the_square():
    factor = flux_factors(NAMES, options=InjectionOptions(scaling="magnification", magnification_min=1.5))
    assert factor.min() >= 1.5
    assert (factor > 3.0).mean() == pytest.approx(0.25, abs=0.015)


def test_the_share_that_is_injected_is_the_one_asked_for():
    options = InjectionOptions(fraction=0.2)
    assert chosen_for_injection(NAMES, options=options).mean() == pytest.approx(0.2, abs=0.01)


def test_brighter_is_nearer():
    table = pd.DataFrame({"snid": ["a"], "alpha": [-36.0], "mu_mag": [36.0 / ALPHA_PER_MAG]})
    near = inject_alpha(table, np.array([100.0]))
    assert near["mu_mag"][0] == pytest.approx(table["mu_mag"][0] - 5.0)
    assert near["alpha"][0] == pytest.approx(-36.0 + np.log(100.0))


def test_light_that_is_injected_is_given_back_by_the_fit():
    survey = MockSupernovae(MockSupernovaOptions(n_supernovae=60, brightened_fraction=0.0, non_ia_fraction=0.0))
    curves = survey.light_curves()
    fit = FitOptions(workers=1)
    fits = fit_light_curves(curves, options=fit)
    good = fits.loc[fits["flags"] == "", "snid"]
    factor = pd.Series(np.linspace(1.0, 50.0, len(good)), index=good)
    brighter = inject_light_curves(curves, fits, factor, fit=fit)
    assert set(brighter["snid"]) == set(good)
    before = curves[curves["snid"].isin(good)].reset_index(drop=True)
    t0 = brighter["snid"].map(fits.set_index("snid")["t0"])
    np.testing.assert_array_equal(
        brighter.loc[brighter["mjd"] < t0, "flux_jy"], before.loc[brighter["mjd"] < t0, "flux_jy"]
    )
    again = fit_light_curves(brighter, options=fit).set_index("snid").loc[good]
    shift = again["alpha_mean"].to_numpy() - fits.set_index("snid").loc[good, "alpha_mean"].to_numpy()
    error = shift - np.log(factor.to_numpy())
    assert abs(np.median(error)) < 0.02
    assert 1.4826 * np.median(np.abs(error - np.median(error))) < 0.06


@pytest.fixture(scope="module")
def scored():
    rng = np.random.default_rng(5)
    n = 600
    z = rng.uniform(0.05, 1.0, n)
    mu = flat_lcdm_distance_modulus(z, z, omega_m=0.3) + rng.normal(0.0, 0.18, n)
    table = pd.DataFrame(
        {"snid": [f"sn{k}" for k in range(n)], "z_hd": z, "z_hel": z, "mu_mag": mu, "mu_err_mag": 0.12, "prob_ia": 1.0}
    )  # fmt: skip
    fits = pd.DataFrame({"snid": table["snid"], "chi2": rng.chisquare(10, n), "ndof": 10, "skew": rng.normal(size=n)})
    return injected_into_alpha(
        table, np.arange(n) < 500, fits, injection=InjectionOptions(fraction=0.1), options=OutlierOptions(),
        population=PopulationOptions(), sampler=SamplerOptions(n_draws=2000, log_likelihood_draws=100),
    )  # fmt: skip


def test_only_clean_ones_are_injected_and_come_out_too_bright(scored):
    table, figures = scored
    assert not table["injected"][500:].any()
    assert figures["n_injected"] == int(table["injected"].sum()) == int((table["factor"] > 1.0).sum())
    strong = table[table["factor"] > 10.0]
    np.testing.assert_allclose(strong["residual_mag"], -2.5 * np.log10(strong["factor"]), atol=0.8)
    assert (strong["p_outlier"] > 0.99).all()


def test_elpd_and_mixture_find_the_injected_and_pareto_k_does_not(scored):
    _, figures = scored
    auc = {name: record["value"] for name, record in figures["auc"].items()}
    assert auc["neg_elpd"] > 0.9
    assert auc["log_odds"] > 0.9
    assert auc["pareto_k"] < auc["neg_elpd"] - 0.1
    assert sum(row["n"] for row in figures["by_factor"]) == figures["n_injected"]
    strong, strongest = (row["completeness"]["value"] for row in figures["by_factor"][-2:])
    assert strong > 0.8
    assert strongest == 1.0
    assert figures["auc"]["log_odds"]["n_clean"] == 600 - figures["n_injected"], "the headline is against everybody"
    assert figures["auc_clean"]["log_odds"]["n_clean"] == 500 - figures["n_injected"]


def test_the_gate_that_is_tested_is_the_one_that_is_configured():
    rng = np.random.default_rng(8)
    n = 300
    z = rng.uniform(0.05, 1.0, n)
    mu = flat_lcdm_distance_modulus(z, z, omega_m=0.3) + rng.normal(0.0, 0.18, n)
    table = pd.DataFrame(
        {"snid": [f"sn{k}" for k in range(n)], "z_hd": z, "z_hel": z, "mu_mag": mu, "mu_err_mag": 0.12, "prob_ia": 1.0}
    )  # fmt: skip
    bad = np.arange(n) < 15
    chi2 = np.where(bad, 300.0, rng.chisquare(10, n))
    fits = pd.DataFrame({"snid": table["snid"], "chi2": chi2, "ndof": 10, "skew": 0.0})
    options = OutlierOptions(mixtures={"shape": ["ln_chi2_per_dof"]}, gate="shape")
    sampler = SamplerOptions(n_draws=2000, log_likelihood_draws=100)
    by_shape = score_population(table, fits, population=PopulationOptions(), sampler=sampler, options=options)
    assert (by_shape["p_outlier"] > 0.5).tolist() == bad.tolist()
    with pytest.raises(CatalogueError, match="0 supernovae know all of ln_chi2_per_dof"):
        score_population(table, fits.assign(ndof=0), population=PopulationOptions(), sampler=sampler, options=options)
