"""The Hubble table of our own fits: how its distances scatter, survey by survey."""

import numpy as np
import pandas as pd
import pytest
from astropy.cosmology import FlatLambdaCDM

from skytrace.supernovae.hubble import scatter_by_survey
from skytrace.supernovae.recomputed_reports import fit_report_again


@pytest.fixture
def table():
    """Two surveys with a zero point each, scatters of 0.1 and 0.3 mag, and far outliers that are no type Ia in one."""
    rng = np.random.default_rng(4)
    z = rng.uniform(0.02, 1.0, 4000)
    survey = np.repeat(["far", "near"], 2000)
    mu = FlatLambdaCDM(H0=70.0, Om0=0.3, Tcmb0=0.0).distmod(z).value
    mu += np.where(survey == "far", 0.5 + 0.3 * rng.normal(size=4000), -0.2 + 0.1 * rng.normal(size=4000))
    prob_ia = np.where(survey == "far", 0.9, np.nan)
    mu[:20], prob_ia[:20] = mu[:20] + 3.0, 0.1
    return pd.DataFrame({"survey": survey, "z_hd": z, "z_hel": z, "mu_mag": mu, "prob_ia": prob_ia})


def test_scatter_is_that_about_each_surveys_own_zero_point(table):
    found = scatter_by_survey(table)
    assert set(found) == {"far", "near"}
    assert found["near"]["rms_mag"] == pytest.approx(0.1, rel=0.05)
    assert found["far"]["rms_mag"] == pytest.approx(np.sqrt(0.3**2 + 0.01 * 9.0), rel=0.06)
    assert found["far"]["mad_mag"] == pytest.approx(0.3, rel=0.06), "which twenty outliers do not move"
    assert (found["far"]["n"], found["far"]["n_ia"], found["near"]["n_ia"]) == (2000, 1980, 0)
    assert found["far"]["rms_mag_ia"] == pytest.approx(0.3, rel=0.05)
    assert np.isnan(found["near"]["rms_mag_ia"])


def test_light_loses_to_the_heliocentric_redshift(table):
    shifted = table.assign(z_hel=table["z_hd"] + np.where(np.arange(len(table)) % 2, 0.2, -0.01))
    assert scatter_by_survey(shifted)["near"]["rms_mag"] > 1.5 * scatter_by_survey(table)["near"]["rms_mag"]


def test_the_recomputation_finds_the_same_with_other_distances(table):
    fits = pd.DataFrame({"flags": ["", "one_band"], "chi2": [1.0, 2.0], "ndof": [1, 2], "n_obs": [3, 4]})
    fits = fits.assign(converged=True, n_iterations=5)
    again = fit_report_again(fits, table.assign(alpha_err=0.1), pd.DataFrame({"reason": []}))["scatter_by_survey"]
    found = scatter_by_survey(table)
    for survey, numbers in found.items():
        for name, value in numbers.items():
            assert again[survey][name] == pytest.approx(value, rel=1e-6, nan_ok=True)
