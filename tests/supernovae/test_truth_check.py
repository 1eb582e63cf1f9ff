"""Biases and pulls that were put in come out; the truth of the population is that of the sky."""

import arviz
import numpy as np
import pandas as pd
import pytest

from skytrace.supernovae.cosmology import ALPHA_PER_MAG, flat_lcdm_distance_modulus
from skytrace.supernovae.recomputation import compare_reports
from skytrace.supernovae.recomputed_checks import truth_again
from skytrace.supernovae.truth_check import alpha_report, population_report, population_truth, truth_residuals


@pytest.fixture(scope="module")
def sky() -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(5)
    n = 4000
    z = rng.uniform(0.05, 0.9, n)
    scatter = 0.12 * rng.normal(size=n)
    mu_cosmo = flat_lcdm_distance_modulus(z, z, omega_m=0.27) + 0.2
    names = [f"sn{k}" for k in range(n)]
    truth = pd.DataFrame(
        {"snid": names, "kind": np.where(np.arange(n) % 50 == 0, "non_ia", "ia"), "z_cosmo": z,
         "mu_cosmo_mag": mu_cosmo, "scatter_mag": scatter, "alpha": -ALPHA_PER_MAG * (mu_cosmo + scatter)}
    )  # fmt: skip
    error = rng.uniform(0.05, 0.1, n)
    alpha = truth["alpha"] + 0.03 + 0.1 * (z > 0.8) + 1.2 * error * rng.normal(size=n)
    fits = pd.DataFrame(
        {"snid": names, "z_hel": z, "flags": np.where(np.arange(n) < 3000, "", "few"), "alpha": alpha,
         "alpha_err": error}
    )  # fmt: skip
    return fits, truth


def test_a_bias_and_pulls_that_were_put_in_come_out_by_redshift(sky):
    fits, truth = sky
    report = alpha_report(truth_residuals({"one": (fits, "alpha", "alpha_err")}, truth))["one"]
    assert (report["unflagged"]["n"], report["all"]["n"]) == (3000, 4000)
    bins = {part["z_low"]: part for part in report["all"]["by_redshift"]}
    assert bins[0.4]["mean"] == pytest.approx(0.03, abs=4 * bins[0.4]["mean_err"])
    assert bins[0.8]["mean"] == pytest.approx(0.13, abs=4 * bins[0.8]["mean_err"])
    assert sum(part["n"] for part in bins.values()) == 4000
    near = fits[fits["z_hel"] < 0.8].assign(alpha=lambda rows: rows["alpha"] - 0.03)
    pulls = alpha_report(truth_residuals({"one": (near, "alpha", "alpha_err")}, truth))["one"]["all"]
    assert pulls["pull_sd"] == pytest.approx(1.2, abs=4 * pulls["pull_sd_err"])


def test_the_population_is_that_of_the_sky_and_a_wrong_posterior_is_told(sky):
    fits, truth = sky
    made_with = population_truth(fits, truth)
    assert made_with["omega_m"] == pytest.approx(0.27, abs=1e-7)
    assert made_with["offset"] == pytest.approx(-ALPHA_PER_MAG * 0.2, abs=1e-6)
    assert made_with["sigma_int_mag"] == pytest.approx(0.12, rel=0.04)
    assert made_with["outlier_fraction"] == 0.02
    rng = np.random.default_rng(2)
    posterior = arviz.from_dict(
        posterior={"omega_m": rng.normal(0.30, 0.01, (2, 500)), "sigma_int_mag": rng.normal(0.12, 0.002, (2, 500)),
                   "nu": rng.uniform(3, 4, (2, 500))}
    )  # fmt: skip
    found = population_report({"flat_lcdm": posterior}, made_with)["flat_lcdm"]
    assert found["omega_m"]["bias_sd"] == pytest.approx(3.0, abs=0.3)
    assert not found["omega_m"]["in_95"]
    assert found["sigma_int_mag"]["in_95"]
    assert set(found["nu"]) == {"mean", "sd"}
    residuals = truth_residuals({"one": (fits, "alpha", "alpha_err")}, truth)
    report = {
        "known": True, "alpha": alpha_report(residuals), "truth": made_with,
        "population": population_report({"flat_lcdm": posterior}, made_with),
    }  # fmt: skip
    again = truth_again(residuals, truth, fits, {"flat_lcdm": posterior}, h0_km_s_mpc=70.0)
    checked = compare_reports({"t": report}, {"t": again})
    assert checked["agrees"]
    assert checked["n_not_recomputed"] == 0
    report["alpha"]["one"]["all"]["by_redshift"][3]["median"] += 1e-6
    wrong = [row["key"] for row in compare_reports({"t": report}, {"t": again})["numbers"] if row["state"] == "differs"]
    assert wrong == ["alpha.one.all.by_redshift.3.median"]


def test_a_sky_without_truth_has_no_row(sky):
    fits, truth = sky
    assert len(truth_residuals({"one": (fits, "alpha", "alpha_err")}, truth.iloc[:0])) == 0
