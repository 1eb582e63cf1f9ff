"""The bias of distances is what a known selection makes it, its removal gives the true distances back in any cosmology,
and simulated supernovae end with the Omega_M that they were made with.
"""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.supernovae.cosmology import flat_lcdm_distance_modulus
from skytrace.supernovae.distance_bias import (
    DISTANCE_BIAS_COLUMNS,
    SIMULATED_DISTANCE_COLUMNS,
    DistanceBiasOptions,
    correct_distance_bias,
    distance_bias,
    simulated_distances,
)

SCATTER, ERROR, LIMIT = 0.1, 0.08, 43.4  # mag; a survey that sees what has a measured mu below LIMIT


def survey(n: int, omega_m: float, *, seed: int, width: float = 0.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hubble table of those with measured mu < LIMIT (softened by width [mag]), and all that were made."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.05, 0.8, n)
    made = pd.DataFrame({"snid": [f"s{i}" for i in range(n)], "pair": np.arange(n), "z_hd": z, "z_hel": z})
    made["scatter_mag"] = rng.normal(0.0, SCATTER, n)
    mu = flat_lcdm_distance_modulus(z, omega_m=omega_m) + made["scatter_mag"] + rng.normal(0.0, ERROR, n)
    table = made[["snid", "z_hd", "z_hel"]].assign(mu_mag=mu, mu_err_mag=ERROR, alpha=-0.4 * np.log(10.0) * mu)
    return table[mu < LIMIT + width * rng.logistic(size=n)].reset_index(drop=True), made


def simulated(n: int, omega_m: float, *, seed: int, width: float = 0.0) -> pd.DataFrame:
    return simulated_distances(*survey(n, omega_m, seed=seed, width=width), omega_m=omega_m)


def test_the_bias_of_a_sharp_limit_is_the_mean_of_a_cut_normal():
    from scipy.stats import norm

    table = simulated(50_000, 0.3, seed=1)
    assert tuple(table) == SIMULATED_DISTANCE_COLUMNS
    bias = distance_bias(table, options=DistanceBiasOptions(n_bins=40))
    assert tuple(bias) == DISTANCE_BIAS_COLUMNS
    spread = np.hypot(SCATTER, ERROR)
    below = (LIMIT - flat_lcdm_distance_modulus(bias["z"].to_numpy(), omega_m=0.3)) / spread
    expected = -spread * norm.pdf(below) / norm.cdf(below)
    miss = (bias["bias_mag"] - expected)[below > -0.5]  # beyond, the mean over a bin is not that of its mean z
    assert np.abs(miss / bias["bias_err_mag"][below > -0.5]).max() < 4.0
    assert bias["bias_mag"].iloc[-1] < -0.05 < -0.001 < bias["bias_mag"].iloc[0]


def test_the_error_of_the_bias_is_its_spread_between_simulations():
    curves = [
        distance_bias(simulated(2000, 0.3, seed=10 + k), options=DistanceBiasOptions(n_bins=4)) for k in range(30)
    ]
    spread = np.std([curve["bias_mag"] for curve in curves], axis=0)
    stated = np.mean([curve["bias_err_mag"] for curve in curves], axis=0)
    np.testing.assert_allclose(stated, spread, rtol=0.4)
    # the scatter of all that were made is known to average to 0: only the error of mu is left where nothing is cut
    assert stated[0] == pytest.approx(ERROR / np.sqrt(curves[0]["n"].iloc[0]), rel=0.1)


@pytest.mark.parametrize("omega_m", [0.25, 0.31, 0.45])
def test_corrected_distances_are_unbiased_in_cosmologies_that_were_not_simulated(omega_m):
    sims = pd.concat([simulated(25_000, om, seed=2, width=0.2) for om in (0.2, 0.4)])
    hubble, _ = survey(25_000, omega_m, seed=3, width=0.2)
    corrected, found = correct_distance_bias(hubble, distance_bias(sims, options=DistanceBiasOptions(n_bins=40)))
    assert found == pytest.approx(omega_m, abs=0.02)
    law = flat_lcdm_distance_modulus(hubble["z_hd"].to_numpy(), omega_m=omega_m)
    far = hubble["z_hd"] > 0.65
    before, after = ((table["mu_mag"] - law)[far].mean() for table in (hubble, corrected))
    assert before < -0.012
    assert abs(after) < 0.15 * abs(before)
    np.testing.assert_allclose(corrected["mu_mag"] + corrected["bias_mag"], hubble["mu_mag"], rtol=1e-14)
    np.testing.assert_allclose(corrected["alpha"], -0.4 * np.log(10.0) * corrected["mu_mag"], rtol=1e-12)


def test_without_a_simulation_nothing_is_taken_off():
    hubble, _ = survey(50, 0.3, seed=4)
    corrected, found = correct_distance_bias(hubble, pd.DataFrame(columns=list(DISTANCE_BIAS_COLUMNS)))
    assert np.isnan(found)
    pd.testing.assert_frame_equal(corrected, hubble.assign(bias_mag=0.0))


def test_too_few_that_passed_and_impossible_options_are_told():
    with pytest.raises(CatalogueError, match="100 are needed"):
        distance_bias(simulated(60, 0.3, seed=5))
    with pytest.raises(OptionError, match="omega_m"):
        DistanceBiasOptions(omega_m=(0.4, 0.2))


@pytest.mark.parametrize("omega_m", [(0.3,), 0.3])
def test_cosmologies_that_are_not_two_are_refused(omega_m):
    with pytest.raises(OptionError, match=r"omega_m = .* must be two numbers"):
        DistanceBiasOptions(omega_m=omega_m)
