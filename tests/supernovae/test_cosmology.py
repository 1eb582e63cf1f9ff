"""Distance laws against astropy and closed forms; the fit against brute force, and its errors against replicas."""

import numpy as np
import pandas as pd
import pytest
from astropy.cosmology import FlatLambdaCDM

from skytrace.errors import CatalogueError, OptionError
from skytrace.supernovae.cosmology import (
    ALPHA_PER_MAG,
    MODELS,
    SPEED_OF_LIGHT_KM_S,
    CosmologyOptions,
    fit_cosmology,
    fixed_distance_modulus,
    flat_lcdm_distance_modulus,
    hubble_data,
    log_distance_modulus,
    low_redshift_distance_modulus,
    residual_figures,
)
from skytrace.supernovae.distance_basis import qfd_basis


def simulated(n=400, omega_m=0.3, error=0.15, seed=0, offset=0.0):
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.03, 1.1, n)
    mu = flat_lcdm_distance_modulus(z, omega_m=omega_m) + offset + rng.normal(0.0, error, n)
    return pd.DataFrame({"snid": [f"s{i}" for i in range(n)], "z_hd": z, "mu_mag": mu, "mu_err_mag": error})


@pytest.mark.parametrize("omega_m", [0.01, 0.3, 0.7, 1.0])
def test_flat_lcdm_agrees_with_astropy(omega_m):
    z = np.geomspace(1e-3, 10.0, 200)
    expected = FlatLambdaCDM(67.0, omega_m, Tcmb0=0.0).distmod(z).value
    assert flat_lcdm_distance_modulus(z, omega_m=omega_m, h0_km_s_mpc=67.0) == pytest.approx(expected, abs=1e-6)


def test_matter_alone_has_its_closed_form():
    z = np.array([0.1, 0.5, 1.5])
    distance = 2.0 * SPEED_OF_LIGHT_KM_S / 70.0 * (1.0 + z) * (1.0 - 1.0 / np.sqrt(1.0 + z))
    assert flat_lcdm_distance_modulus(z, omega_m=1.0) == pytest.approx(5.0 * np.log10(distance) + 25.0, abs=1e-9)


def test_light_loses_the_heliocentric_redshift():
    z = np.array([0.05, 0.6])
    lower = flat_lcdm_distance_modulus(z, z - 0.001, omega_m=0.3)
    assert flat_lcdm_distance_modulus(z, omega_m=0.3) - lower == pytest.approx(
        5.0 * np.log10((1.0 + z) / (1.0 + z - 0.001)), abs=1e-10
    )


def test_every_law_is_hubbles_at_low_redshift():
    z = np.array([1e-6])
    nearby = low_redshift_distance_modulus(z)
    assert flat_lcdm_distance_modulus(z, omega_m=0.3) == pytest.approx(nearby, abs=1e-5)
    assert log_distance_modulus(z) == pytest.approx(nearby, abs=1e-5)


def test_batches_of_omega_m_broadcast():
    z, omega_m = np.array([0.1, 0.9]), np.array([[0.2], [0.4]])
    both = flat_lcdm_distance_modulus(z, omega_m=omega_m)
    assert both.shape == (2, 2)
    assert both[1] == pytest.approx(flat_lcdm_distance_modulus(z, omega_m=0.4))


def test_the_fit_is_the_minimum_of_a_brute_force_grid():
    table = simulated(seed=3)
    fit = fit_cosmology(table)
    grid = np.linspace(0.1, 0.6, 2001)
    z, mu, w = table["z_hd"].to_numpy(), table["mu_mag"].to_numpy(), table["mu_err_mag"].to_numpy() ** -2
    residuals = mu - flat_lcdm_distance_modulus(z, omega_m=grid[:, None])
    residuals = residuals - (residuals @ w / w.sum())[:, None]
    chi2 = residuals**2 @ w
    assert fit.parameters["omega_m"] == pytest.approx(grid[np.argmin(chi2)], abs=3e-4)
    inside = grid[chi2 < chi2.min() + 1.0]
    assert fit.errors["omega_m"] == pytest.approx((inside[-1] - inside[0]) / 2.0, rel=0.03)
    assert fit.chi2 == pytest.approx(chi2.min(), abs=1e-4)


def test_omega_m_is_recovered_with_errors_that_cover():
    fits = [fit_cosmology(simulated(omega_m=0.315, seed=seed)) for seed in range(300)]
    values = np.array([fit.parameters["omega_m"] for fit in fits])
    errors = np.array([fit.errors["omega_m"] for fit in fits])
    coverage = np.mean(np.abs(values - 0.315) < errors)
    assert 0.60 < coverage < 0.76
    assert abs(values.mean() - 0.315) < 4.0 * errors.mean() / np.sqrt(len(fits))


def test_the_zero_point_changes_the_offset_alone():
    near, far = fit_cosmology(simulated(seed=1)), fit_cosmology(simulated(seed=1, offset=0.7))
    assert far.parameters["omega_m"] == pytest.approx(near.parameters["omega_m"], abs=1e-6)
    assert far.offset_mag - near.offset_mag == pytest.approx(0.7, abs=1e-6)
    other = fit_cosmology(simulated(seed=1), options=CosmologyOptions(h0_km_s_mpc=73.0))
    assert other.offset_mag - near.offset_mag == pytest.approx(5.0 * np.log10(73.0 / 70.0), abs=1e-6)


@pytest.mark.parametrize("model", ["linear_two_term", "qfd_anchored", "qfd_no_distance", "qfd_seed"])
def test_linear_laws_return_their_own_coefficients(model):
    n_terms = 2 if model == "linear_two_term" else 3
    z, p = np.linspace(0.02, 1.2, 300), np.array([12.0, -4.0, -7.0])[:n_terms]
    alpha = -qfd_basis(z, n_terms=n_terms) @ p
    if "distance" not in model and model != "qfd_seed":
        alpha = alpha - 2.0 * np.log(z * SPEED_OF_LIGHT_KM_S / 70.0 * 1e5)  # 1 Mpc is 1e5 times 10 pc
    if model != "qfd_seed":
        alpha = alpha - 0.3
    table = pd.DataFrame({"z_hd": z, "alpha": alpha, "alpha_err": np.linspace(0.1, 0.3, 300)})
    fit = fit_cosmology(table, model)
    assert list(fit.parameters.values()) == pytest.approx(p, rel=1e-7)
    assert fit.rms_all_mag < 1e-9
    if model != "qfd_seed":
        assert fit.offset_mag == pytest.approx(0.3 / ALPHA_PER_MAG, abs=1e-6)


def test_linear_errors_are_those_of_the_normal_equations():
    table = simulated(seed=5).assign(mu_err_mag=np.random.default_rng(5).uniform(0.1, 0.4, 400))
    fit = fit_cosmology(table, "linear_two_term")
    design = np.column_stack([np.ones(400), qfd_basis(table["z_hd"], n_terms=2) / ALPHA_PER_MAG])
    covariance = np.linalg.inv((design.T / table["mu_err_mag"].to_numpy() ** 2) @ design)[1:, 1:]
    assert fit.covariance == pytest.approx(covariance, rel=1e-8)


def test_the_anchored_terms_absorb_lambda_cdm():
    z = np.linspace(0.05, 1.3, 500)
    table = pd.DataFrame({"z_hd": z, "mu_mag": flat_lcdm_distance_modulus(z, omega_m=0.3), "mu_err_mag": 0.1})
    assert fit_cosmology(table, "qfd_anchored").rms_all_mag < 0.0005
    assert fit_cosmology(table, "qfd_no_distance").rms_all_mag > 0.05
    assert fit_cosmology(table, "qfd_seed").rms_all_mag > 3.0


def test_figures_are_as_they_are_defined():
    figures = residual_figures([1.0, -1.0, 3.0, 0.5], [1.0, 1.0, 1e-12, 1e-12], [True, True, True, False])
    assert figures["rms_all_mag"] == pytest.approx(np.sqrt((1 + 1 + 9 + 0.25) / 4))
    assert figures["wrms_all_mag"] == pytest.approx(1.0)
    assert figures["mad_ia_mag"] == pytest.approx(1.4826 * 2.0)
    assert figures["std_ia_mag"] == pytest.approx(np.std([1.0, -1.0, 3.0]))
    assert figures["n_ia"] == 3


def test_inflated_errors_take_contaminants_out_of_the_fit():
    table = simulated(n=1000, seed=7)
    clean = fit_cosmology(table)
    table.loc[:99, "mu_mag"] += 2.0
    spoiled = table.assign(prob_ia=np.where(table.index < 100, 1e-6, 1.0))
    inflated = spoiled.assign(mu_err_mag=np.where(spoiled.index < 100, 300.0, 0.15))
    assert fit_cosmology(inflated).parameters["omega_m"] == pytest.approx(clean.parameters["omega_m"], abs=0.02)
    by_probability = fit_cosmology(spoiled, options=CosmologyOptions(weighting="probability"))
    assert by_probability.parameters["omega_m"] == pytest.approx(
        fit_cosmology(inflated).parameters["omega_m"], abs=1e-3
    )
    assert fit_cosmology(inflated).figures["n_ia"] == 900


def test_a_published_table_and_ours_give_the_same():
    ours = simulated(seed=2)
    published = ours.rename(columns={"z_hd": "zhd", "mu_mag": "mu", "mu_err_mag": "mu_err"})
    alpha = ours.assign(alpha=-ALPHA_PER_MAG * ours["mu_mag"], alpha_err=ALPHA_PER_MAG * ours["mu_err_mag"])
    alpha = alpha.drop(columns=["mu_mag", "mu_err_mag"])
    fits = [fit_cosmology(table) for table in (ours, published, alpha)]
    assert len({round(fit.parameters["omega_m"], 9) for fit in fits}) == 1


def test_omega_m_at_the_end_of_its_range_says_so():
    z = np.linspace(0.05, 1.0, 50)
    table = pd.DataFrame({"z_hd": z, "mu_mag": flat_lcdm_distance_modulus(z, omega_m=0.0) + 0.3 * z, "mu_err_mag": 0.1})
    assert fit_cosmology(table).at_bound


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[:0], "empty"),
        (lambda t: t.drop(columns="z_hd"), "z_hd or zhd"),
        (lambda t: t.drop(columns="mu_err_mag"), "mu_err_mag or mu_err"),
        (lambda t: t.assign(mu_mag=t["mu_mag"].where(t.index != 5)), r"1 distances that are not finite \(row 5"),
        (lambda t: t.assign(mu_err_mag=0.0), "400 errors"),
        (lambda t: t.assign(z_hd=-t["z_hd"]), "400 redshifts"),
        (lambda t: t.iloc[:2], "2 supernovae cannot determine 2 parameters"),
    ],
)
def test_a_table_that_cannot_be_fitted_is_refused(change, message):
    with pytest.raises(CatalogueError, match=message):
        fit_cosmology(change(simulated()))


def test_unknown_models_and_options_are_refused():
    with pytest.raises(OptionError, match=f"not one of {MODELS[0]}"):
        fit_cosmology(simulated(), "lcdm")
    with pytest.raises(OptionError, match="weighting"):
        CosmologyOptions(weighting="best")
    with pytest.raises(OptionError, match="omega_m_high"):
        CosmologyOptions(omega_m_low=0.5, omega_m_high=0.4)


def test_names_and_redshift_defaults():
    data = hubble_data(simulated(n=5))
    assert data.snid.tolist() == ["s0", "s1", "s2", "s3", "s4"]
    assert data.z_hel == pytest.approx(data.z_hd)
    assert np.isnan(data.prob_ia).all()


@pytest.mark.parametrize("power", [1.0, -0.5])
def test_the_log_distance_law_has_its_redshift_power(power):
    z = np.linspace(0.05, 1.2, 40)
    distance_mpc = SPEED_OF_LIGHT_KM_S / 67.0 * np.log(1.0 + z) * (1.0 + z) ** power
    mu = 5.0 * np.log10(distance_mpc) + 25.0
    assert log_distance_modulus(z, k_km_s_mpc=67.0, redshift_power=power) == pytest.approx(mu, abs=1e-10)
    table = pd.DataFrame({"z_hd": z, "mu_mag": mu + 0.2, "mu_err_mag": 0.1})
    fit = fit_cosmology(
        table, "log_distance", options=CosmologyOptions(h0_km_s_mpc=67.0, log_distance_redshift_power=power)
    )
    assert fit.offset_mag == pytest.approx(0.2, abs=1e-10)
    assert fit.rms_all_mag < 1e-10


def test_the_fit_loses_the_heliocentric_redshift():
    z = np.linspace(0.02, 1.0, 200)
    z_hel = z + 0.01 * np.sin(40.0 * z)
    mu = flat_lcdm_distance_modulus(z, omega_m=0.3) + 5.0 * np.log10((1.0 + z_hel) / (1.0 + z))
    fit = fit_cosmology(pd.DataFrame({"z_hd": z, "z_hel": z_hel, "mu_mag": mu, "mu_err_mag": 0.1}))
    assert fit.parameters["omega_m"] == pytest.approx(0.3, abs=1e-6)
    assert fit.rms_all_mag < 1e-7


def test_the_part_of_a_law_without_a_parameter_is_that_of_its_definition():
    z = np.array([0.1, 0.7])
    near = 5.0 * np.log10(SPEED_OF_LIGHT_KM_S / 70.0 * z) + 25.0
    for model in ("linear_two_term", "qfd_anchored"):
        assert fixed_distance_modulus(z, model) == pytest.approx(near, abs=1e-12)
    for model in ("qfd_no_distance", "qfd_seed", "flat_lcdm"):
        assert fixed_distance_modulus(z, model).tolist() == [0.0, 0.0]
