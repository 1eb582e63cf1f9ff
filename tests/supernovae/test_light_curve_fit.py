"""The fit of light curves: its derivatives, its minimum against scipy's, recovered truth, flags, and bad input."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.supernovae import FitOptions, ModelOptions, fit_light_curves, model_flux_jy
from skytrace.supernovae.fit_options import FLAGS
from skytrace.supernovae.light_curve_fit import PARAMETERS
from skytrace.supernovae.light_curve_model import alpha_from_mu
from skytrace.supernovae.light_curve_packing import pack_light_curves

WAVELENGTH_NM = {"g": 480.94, "r": 642.04, "i": 781.6, "z": 917.11}
MODELS = {
    "blackbody": ModelOptions(),
    "template": ModelOptions(sed="template"),
    "dimmed": ModelOptions(xi=1.0, eta_prime=50.0),
}


def simulate(n, *, seed, model=None, bands="griz"):
    """Light curves of n supernovae with a DES-like cadence and errors, and their truth (one row each, by snid)."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.05, 1.2, n)
    mu = 5.0 * np.log10(299_792.458 / 70.0 * z * (1.0 + 0.775 * z) / (1.0 + 0.3 * z) * 1e5)
    truth = pd.DataFrame(
        {
            "z_hel": z, "t0": rng.uniform(57_000.0, 57_100.0, n), "a_plasma": np.abs(rng.normal(0.0, 0.3, n)),
            "beta": np.clip(rng.normal(1.2, 0.3, n), 0.0, 4.0), "alpha": alpha_from_mu(mu) + rng.normal(0.0, 0.1, n),
        }
    )  # fmt: skip
    tables = []
    for i, row in enumerate(truth.itertuples()):
        start = row.t0 - rng.uniform(5.0, 30.0)
        nights = np.arange(start, row.t0 + 75.0 * (1.0 + row.z_hel), rng.uniform(5.0, 7.0))
        band = np.tile(list(bands), len(nights))
        tables.append(pd.DataFrame({"snid": f"{i:05d}", "mjd": np.repeat(nights, len(bands)), "band": band}))
    table = pd.concat(tables, ignore_index=True)
    table["wavelength_nm"] = table["band"].map(WAVELENGTH_NM)
    table["survey"] = "simulation"
    own = truth.iloc[table["snid"].astype(int)].reset_index(drop=True)
    table["z_hel"] = own["z_hel"]
    flux = model_flux_jy(
        table["mjd"], table["wavelength_nm"], own["z_hel"], *(own[name] for name in PARAMETERS), options=model
    )
    # 5, 50 and 95 % of the errors are 0.08, 0.27 and 0.73 microJy in DES
    table["flux_err_jy"] = 0.27e-6 * np.exp(rng.normal(0.0, 0.67, len(table)))
    table["flux_jy"] = flux + np.hypot(table["flux_err_jy"], 0.03 * flux) * rng.normal(size=len(table))
    return table, truth


@pytest.fixture(scope="module")
def simulated():
    """2,000 supernovae with their truth and their fits by both estimators."""
    table, truth = simulate(2000, seed=20_261_121)
    fits = {name: fit_light_curves(table, options=FitOptions(estimator=name)) for name in ("map", "mle")}
    return table, truth, fits


@pytest.mark.parametrize("name", MODELS)
def test_compiled_model_is_the_readable_one_and_its_derivatives_are_differences(name):
    from skytrace.supernovae._fit_kernels import predict_all

    table, truth = simulate(4, seed=3, model=MODELS[name])
    packed = pack_light_curves(table, options=FitOptions(model=MODELS[name]))
    for i, row in truth.iterrows():
        theta = row[list(PARAMETERS)].to_numpy(dtype=float)
        obs = packed.observations_of(i)
        own = table.iloc[packed.rows[packed.offsets[i] : packed.offsets[i + 1]]]
        found = predict_all(theta, obs, packed.stretch[i], *packed.model)

        def flux(values, own=own):
            return model_flux_jy(own["mjd"], own["wavelength_nm"], own["z_hel"], *values, options=MODELS[name])

        expected = flux(theta)
        assert (found[0][own["mjd"] <= theta[0]] == 0.0).all()
        np.testing.assert_allclose(found[0], expected, rtol=1e-12, atol=1e-13 * expected.max())
        for k, step in enumerate((1e-3, 1e-5, 1e-5, 1e-5)):
            shift = step * np.eye(4)[k]
            difference = (flux(theta + shift) - flux(theta - shift)) / (2.0 * step)
            np.testing.assert_allclose(found[1 + k], difference, atol=3e-6 * np.abs(difference).max())


def scipy_minimum(packed, i, start):
    """Least objective that L-BFGS-B finds from ``start``."""
    from scipy.optimize import minimize

    from skytrace.supernovae._fit_kernels import objective_gradient

    obs, scale = packed.observations_of(i), np.array([1.0, 0.1, 0.3, 0.1])
    out, hessian, gradient = np.empty((7, obs.shape[1])), np.empty((4, 4)), np.empty(4)

    def value(u):
        objective = objective_gradient(start + scale * u, obs, packed.stretch[i], *packed.model, out, hessian, gradient)
        return objective, gradient * scale

    bounds = np.stack([(packed.low[i] - start) / scale, (packed.high[i] - start) / scale], axis=1)
    settings = {"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9}
    return minimize(value, np.zeros(4), jac=True, method="L-BFGS-B", bounds=bounds, options=settings).fun


@pytest.mark.parametrize(
    ("loss", "sed"), [("gaussian", "blackbody"), ("student_t", "blackbody"), ("soft_l1", "template")]
)
def test_no_supernova_has_a_worse_minimum_than_scipy_finds_from_the_truth(loss, sed):
    options = FitOptions(loss=loss, model=ModelOptions(sed=sed))
    table, truth = simulate(300, seed=11, model=options.model)
    packed, fits = pack_light_curves(table, options=options), fit_light_curves(table, options=options)
    start = truth[list(PARAMETERS)].to_numpy()
    theirs = np.array([scipy_minimum(packed, i, np.maximum(start[i], [0, 0.02, 0, -60])) for i in range(len(fits))])
    worse = fits["objective"].to_numpy() - theirs
    assert fits["converged"].all()
    assert worse.max() < 1e-3
    assert (worse < 1e-6).mean() >= 0.999


def test_unflagged_alpha_is_unbiased_and_its_errors_are_right(simulated):
    _, truth, fits = simulated
    fit = fits["map"]
    clean = (fit["flags"] == "").to_numpy()
    miss = (fit["alpha"] - truth["alpha"])[clean]
    assert clean.mean() > 0.35
    assert abs(miss.mean()) < 0.01 and abs(miss.median()) < 0.01
    assert 0.9 < (miss / fit["alpha_err"][clean]).std() < 1.1


def test_posterior_mean_of_alpha_is_unbiased_for_all_supernovae_flagged_or_not(simulated):
    _, truth, fits = simulated
    miss = fits["map"]["alpha_mean"] - truth["alpha"]
    assert miss.notna().all()
    assert abs(miss.mean()) < 0.01 and abs(miss.median()) < 0.01
    assert 0.9 < (miss / fits["map"]["alpha_mean_err"]).std() < 1.1
    # the mode of the same posteriors is not: it leans towards A = 0
    assert (fits["map"]["alpha"] - truth["alpha"]).mean() < -0.02


def test_priors_bring_a_quarter_of_supernovae_off_their_bounds(simulated):
    _, truth, fits = simulated
    at_bound = {k: (fit["at_bound_beta"] | fit["at_bound_a_plasma"]).mean() for k, fit in fits.items()}
    spread = {k: (fit["alpha"] - truth["alpha"]).abs().median() for k, fit in fits.items()}
    assert at_bound["mle"] > at_bound["map"] + 0.1
    assert spread["map"] < spread["mle"]
    assert not fits["map"]["at_bound_beta"].any()


def test_without_priors_mode_is_the_likelihood_s(simulated):
    _, _, fits = simulated
    # in one of some hundred, of no significance at z ~ 1, the likelihood has a lower minimum that is not found
    above = fits["mle"]["chi2"] - fits["map"]["chi2"]
    assert (above <= 1e-6).mean() > 0.995 and above.max() < 0.3
    np.testing.assert_allclose(fits["mle"]["objective"], fits["mle"]["chi2"], rtol=1e-9)


def test_errors_are_those_of_the_four_parameter_problem():
    from skytrace.supernovae._fit_kernels import predict_all

    table, _ = simulate(1, seed=5)
    options = FitOptions()
    fit, packed = fit_light_curves(table, options=options).iloc[0], pack_light_curves(table, options=options)
    obs = packed.observations_of(0)
    jacobian = predict_all(fit[list(PARAMETERS)].to_numpy(float), obs, packed.stretch[0], *packed.model)[1:] * obs[2]
    fisher = jacobian @ jacobian.T
    covariance = np.linalg.inv(fisher + np.diag([0.0, 1 / 0.3**2, 1 / 0.3**2, 0.0]))
    for i in range(4):
        assert fit[f"{PARAMETERS[i]}_err"] == pytest.approx(np.sqrt(covariance[i, i]), rel=1e-6)
        for j in range(i, 4):
            assert fit[f"cov_{i}_{j}"] == pytest.approx(covariance[i, j], rel=1e-5, abs=1e-12)
    # with the others held fixed the error of alpha would be far too small
    assert fit["alpha_err"] > 2.0 / np.sqrt(fisher[3, 3])
    assert fit["corr_alpha_a"] == pytest.approx(covariance[1, 3] / np.sqrt(covariance[1, 1] * covariance[3, 3]))
    scaled = fisher / np.sqrt(np.outer(np.diag(fisher), np.diag(fisher)))
    assert fit["fisher_condition"] == pytest.approx(np.linalg.cond(scaled), rel=1e-5)
    assert fit["mu_mag"] == pytest.approx(-2.5 / np.log(10.0) * fit["alpha"], rel=1e-14)
    assert fit["mu_err_mag"] == pytest.approx(2.5 / np.log(10.0) * fit["alpha_err"], rel=1e-14)


def test_result_does_not_depend_on_order_company_or_threads():
    table, _ = simulate(150, seed=6)
    whole = fit_light_curves(table, options=FitOptions(workers=1))
    shuffled = fit_light_curves(table.sample(frac=1.0, random_state=2), options=FitOptions(workers=3))
    pd.testing.assert_frame_equal(whole, shuffled, check_exact=True)
    some = whole["snid"][10:60:7]
    alone = pd.concat([fit_light_curves(table[table["snid"] == snid]) for snid in some], ignore_index=True)
    together = whole[whole["snid"].isin(some)].reset_index(drop=True)
    pd.testing.assert_frame_equal(together, alone, check_exact=True)


def test_one_band_is_flagged_rank_deficient():
    table, _ = simulate(20, seed=8, bands="r")
    fit = fit_light_curves(table)
    assert fit["flags"].str.contains("rank_deficient").all() and fit["flags"].str.contains("one_band").all()
    assert (fit["rank"] < 4).all() and (fit["n_bands"] == 1).all()
    mle = fit_light_curves(table, options=FitOptions(estimator="mle"))
    assert mle["alpha_err"].isna().all()  # an error that the data do not give is not made up


def test_four_bands_have_full_rank(simulated):
    fit = simulated[2]["map"]
    assert (fit["rank"][~fit["at_bound_a_plasma"]] == 4).all()
    assert (fit["posterior_condition"] < fit["fisher_condition"]).all()


def test_every_supernova_has_a_row_and_an_unusable_one_its_reason():
    table, _ = simulate(6, seed=9)
    one = table[table["snid"] == "00000"].head(1)
    dark = table[table["snid"] == "00001"].assign(flux_jy=lambda rows: -rows["flux_err_jy"])
    fit = fit_light_curves(pd.concat([table[table["snid"] > "00001"], one, dark])).set_index("snid")
    assert list(fit.index) == [f"{i:05d}" for i in range(6)]
    assert fit.loc["00000", "flags"] == "too_few_observations" and fit.loc["00000", "n_obs"] == 1
    assert fit.loc["00001", "flags"] == "no_signal"
    assert fit.loc[["00000", "00001"], [*PARAMETERS, "alpha_err", "alpha_mean", "chi2"]].isna().all(axis=None)
    assert not fit.loc[["00000", "00001"], "converged"].any()
    assert fit.loc["00002":, "alpha"].notna().all()


def test_too_few_iterations_are_a_flag_with_the_reason():
    table, _ = simulate(5, seed=10)
    fit = fit_light_curves(table, options=FitOptions(max_iterations=5, n_starts=1, n_refined=1))
    stopped = ~fit["converged"]
    assert fit["flags"][stopped].str.contains("not_converged_iterations").all() and stopped.any()


def test_duplicated_epochs_count_as_more_data():
    table, _ = simulate(3, seed=12)
    once, twice = fit_light_curves(table), fit_light_curves(pd.concat([table, table]))
    assert (twice["n_obs"] == 2 * once["n_obs"]).all() and (twice["alpha_err"] < once["alpha_err"]).all()


def test_an_outlier_moves_a_robust_fit_less():
    table, truth = simulate(40, seed=13)
    bright = table.groupby("snid")["flux_jy"].idxmax()
    spoiled = table.copy()
    spoiled.loc[bright, "flux_jy"] *= 3.0
    moved = {
        loss: (fit_light_curves(spoiled, options=FitOptions(loss=loss))["alpha_mean"] - truth["alpha"]).abs().median()
        for loss in ("gaussian", "soft_l1", "student_t")
    }
    assert moved["student_t"] < 0.7 * moved["gaussian"] and moved["soft_l1"] < moved["gaussian"]


def test_windows_leave_out_what_lies_outside():
    table, truth = simulate(12, seed=14)
    table = table[table["snid"].isin([f"{i:05d}" for i in np.flatnonzero(truth["z_hel"] < 0.6)])].reset_index(drop=True)
    fit = fit_light_curves(table, options=FitOptions(rest_wavelength_nm=(300.0, 700.0), phase_days=(-30.0, 20.0)))
    seen = table[
        (table["flux_jy"] >= 5.0 * table["flux_err_jy"]) & (table["wavelength_nm"] / (1 + table["z_hel"]) <= 700.0)
    ]
    bright = table["mjd"][seen.groupby("snid")["flux_jy"].idxmax()].set_axis(seen["snid"].unique())
    stretch = 1.0 + table["z_hel"]
    phase = (table["mjd"] - table["snid"].map(bright)) / stretch
    rest = table["wavelength_nm"] / stretch
    expected = (rest.between(300.0, 700.0) & phase.between(-30.0, 20.0)).groupby(table["snid"]).sum()
    assert (fit["n_used"].to_numpy() == expected.to_numpy()).all() and (fit["n_used"] < fit["n_obs"]).all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("flux_jy", np.nan, r"flux_jy is not finite in 1 rows: 3 \(00000\)"),
        ("flux_err_jy", 0.0, r"flux_err_jy is not positive in 1 rows: 3 \(00000\)"),
        ("flux_err_jy", -1e-7, "flux_err_jy is not positive"),
        ("mjd", np.inf, "mjd is not finite"),
        ("wavelength_nm", 0.0, "wavelength_nm is not positive"),
        ("z_hel", -1.5, "z_hel is -1 or less"),
        ("z_hel", 0.77, "more than one z_hel: 00000"),
        ("survey", "another", "more than one survey: 00000"),
    ],
)
def test_a_value_that_cannot_be_fitted_is_an_error_that_names_its_row(column, value, message):
    table, _ = simulate(2, seed=15)
    table.loc[3, column] = value
    with pytest.raises(CatalogueError, match=message):
        fit_light_curves(table)


def test_missing_columns_and_empty_tables_are_errors():
    table, _ = simulate(1, seed=16)
    with pytest.raises(CatalogueError, match="no column flux_err_jy, z_hel"):
        fit_light_curves(table.drop(columns=["z_hel", "flux_err_jy"]))
    with pytest.raises(CatalogueError, match="empty"):
        fit_light_curves(table.iloc[:0])
    with pytest.raises(OptionError, match="estimator"):
        FitOptions(estimator="guess")
    with pytest.raises(OptionError, match="rest_wavelength_nm"):
        FitOptions(rest_wavelength_nm=(700.0, 300.0))


@pytest.mark.parametrize("loss", ["gaussian", "soft_l1", "student_t"])
def test_the_objective_is_twice_the_negative_log_of_what_scipy_calls_the_loss(loss):
    """At fixed parameters: scipy's own soft_l1 of least_squares, and scipy.stats.t, with the priors of MAP."""
    from scipy import stats
    from scipy.optimize import least_squares

    from skytrace.supernovae._fit_kernels import objective_gradient

    options = FitOptions(loss=loss, soft_l1_scale=1.7, student_t_nu=3.5, relative_error_floor=0.0)
    table, truth = simulate(3, seed=21)
    table["flux_jy"] += np.where(np.arange(len(table)) % 17 == 0, 8.0 * table["flux_err_jy"], 0.0)
    packed = pack_light_curves(table, options=options)
    for i, row in truth.iterrows():
        theta = row[list(PARAMETERS)].to_numpy(dtype=float) + np.array([0.3, 0.05, 0.02, -0.1])
        obs = packed.observations_of(i)
        own = table.iloc[packed.rows[packed.offsets[i] : packed.offsets[i + 1]]]
        predicted = model_flux_jy(own["mjd"], own["wavelength_nm"], own["z_hel"], *theta, options=options.model)
        miss = ((own["flux_jy"] - predicted) / own["flux_err_jy"]).to_numpy()
        if loss == "student_t":
            t = stats.t(options.student_t_nu)
            expected = 2.0 * (t.logpdf(0.0) - t.logpdf(miss)).sum()
        else:
            name = "linear" if loss == "gaussian" else loss
            still = least_squares(
                lambda x, miss=miss: miss + 0.0 * x.sum(), np.zeros(1), loss=name, f_scale=options.soft_l1_scale,
                max_nfev=1,
            )  # fmt: skip
            expected = 2.0 * still.cost
        prior = (theta[1] / options.a_prior_sd) ** 2 + (
            (theta[2] - options.beta_prior_mean) / options.beta_prior_sd
        ) ** 2
        out, hessian, gradient = np.empty((7, obs.shape[1])), np.empty((4, 4)), np.empty(4)
        found = objective_gradient(theta, obs, packed.stretch[i], *packed.model, out, hessian, gradient)
        assert found == pytest.approx(expected + prior, rel=1e-9)


def test_moments_of_the_residuals_are_scipys():
    from scipy import stats

    options = FitOptions()
    table, _ = simulate(2, seed=4)
    table["flux_jy"] += np.where(np.arange(len(table)) % 11 == 0, 6.0 * table["flux_err_jy"], 0.0)
    fits = fit_light_curves(table, options=options).set_index("snid")
    for name, own in table.groupby("snid"):
        fit = fits.loc[name]
        predicted = model_flux_jy(
            own["mjd"], own["wavelength_nm"], own["z_hel"], *fit[list(PARAMETERS)].astype(float), options=options.model
        )
        error = np.hypot(own["flux_err_jy"], options.relative_error_floor * own["flux_jy"].abs())
        miss = ((own["flux_jy"] - predicted) / error).to_numpy()
        assert fit["chi2"] == pytest.approx((miss**2).sum(), rel=1e-9)
        assert fit["skew"] == pytest.approx(stats.skew(miss), rel=1e-7)
        assert fit["kurtosis"] == pytest.approx(stats.kurtosis(miss), rel=1e-7)
        assert abs(fit["skew"]) > 0.1


def test_the_flags_that_options_name_are_those_that_fits_carry():
    import inspect

    from skytrace.supernovae import light_curve_fit

    named = inspect.getsource(light_curve_fit._flags)
    told = {flag for flag in FLAGS if f'"{flag}"' in named} | {f"at_bound_{name}" for name in PARAMETERS}
    assert told == set(FLAGS)
    table, _ = simulate(3, seed=2, bands="r")
    seen = {flag for text in fit_light_curves(table)["flags"] for flag in text.split(";") if flag}
    assert seen and seen <= set(FLAGS)


@pytest.mark.parametrize("window", [(1.0, 2.0, 3.0), ("a", 2.0), (5.0, 5.0), 7.0, "ab", (float("nan"), 1.0)])
@pytest.mark.parametrize("key", ["rest_wavelength_nm", "phase_days"])
def test_a_window_is_two_numbers(key, window):
    with pytest.raises(OptionError, match=key):
        FitOptions(**{key: window})


def test_options_of_the_hubble_table_and_the_laws_name_what_exists():
    from skytrace.pipelines.supernova.options import FoldOptions, InferenceOptions
    from skytrace.supernovae.hubble import HubbleOptions

    with pytest.raises(OptionError, match="one_bnd"):
        HubbleOptions(exclude=("one_bnd",))
    for wrong, message in (({"models": ()}, "models"), ({"seeds": ()}, "seeds"), ({"models": "flat_lcdm"}, "models")):
        with pytest.raises(OptionError, match=message):
            FoldOptions(**wrong)
    for wrong in ({"models": ()}, {"table": 5}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            InferenceOptions(**wrong)
