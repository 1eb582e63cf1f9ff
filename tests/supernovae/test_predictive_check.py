"""The noise model that made residuals passes its check, one that did not fails, and counts are those of the formula."""

import arviz
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from skytrace.supernovae.cosmology import ALPHA_PER_MAG, flat_lcdm_distance_modulus
from skytrace.supernovae.predictive_check import noise_cdf, predictive_check, predictive_report
from skytrace.supernovae.recomputation import compare_reports
from skytrace.supernovae.recomputed_checks import predictive_again


def _posterior(**values: float):
    rng = np.random.default_rng(1)
    draws = {name: value + 1e-4 * abs(value) * rng.normal(size=(2, 50)) for name, value in values.items()}
    return arviz.from_dict(posterior=draws)


STUDENT = _posterior(omega_m=0.3, offset=0.05, sigma_int_mag=0.1, nu=5.0)
MIXTURE = _posterior(
    omega_m=0.3, offset=0.05, sigma_int_mag=0.1, outlier_fraction=0.05, outlier_shift=-ALPHA_PER_MAG,
    outlier_sigma=0.5 * ALPHA_PER_MAG,
)  # fmt: skip


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Residuals that the mixture made: 5 % are 1 mag fainter."""
    rng = np.random.default_rng(3)
    n = 2000
    z, error = rng.uniform(0.05, 1.0, n), rng.uniform(0.05, 0.3, n)
    bad = rng.uniform(size=n) < 0.05
    noise = np.where(bad, 1.0 + np.hypot(error, 0.5) * rng.normal(size=n), np.hypot(error, 0.1) * rng.normal(size=n))
    mu = flat_lcdm_distance_modulus(z, z, omega_m=0.3) - 0.05 / ALPHA_PER_MAG + noise
    return pd.DataFrame(
        {"snid": [f"sn{k}" for k in range(n)], "z_hd": z, "z_hel": z, "mu_mag": mu, "mu_err_mag": error,
         "held_out": np.arange(n) % 10 == 0}
    )  # fmt: skip


def test_an_outlier_that_is_fainter_in_alpha_is_farther_in_mu():
    draws = {name: np.array([value]) for name, value in (
        ("sigma_int_mag", 0.1), ("outlier_fraction", 0.2), ("outlier_shift", -ALPHA_PER_MAG), ("outlier_sigma", 0.0)
    )}  # fmt: skip
    (below,) = noise_cdf(0.5, np.array([0.05]), draws)[0]
    expected = 0.8 * norm.cdf(0.5 / np.hypot(0.05, 0.1)) + 0.2 * norm.cdf((0.5 - 1.0) / 0.05)
    assert below == pytest.approx(expected, rel=1e-12)


def test_the_noise_that_made_them_passes_and_the_other_fails(table):
    report = predictive_report(table, {"student_t": STUDENT, "mixture": MIXTURE})
    assert not report["noise"]["mixture"]["fails"]
    assert report["noise"]["mixture"]["all"]["ks_p"] > 0.01
    assert report["noise"]["student_t"]["fails"]
    assert report["noise"]["student_t"]["all"]["tails"][2]["p_many"] < 1e-6
    assert report["noise"]["mixture"]["held_out"]["n"] == 200
    again = predictive_again(table, {"student_t": STUDENT, "mixture": MIXTURE}, h0_km_s_mpc=70.0)
    found = compare_reports({"p": report}, {"p": again})
    assert found["agrees"]
    assert found["n_not_recomputed"] == 0


def test_too_few_in_the_tails_fail_as_too_many_do(table):
    wide = table.assign(mu_err_mag=2.0)
    tails = predictive_check(wide, STUDENT)["tails"]
    assert tails[0]["seen"] < 0.2 * tails[0]["expected"]
    assert tails[0]["p_few"] < 1e-6
    assert predictive_report(wide, {"student_t": STUDENT})["noise"]["student_t"]["fails"]
