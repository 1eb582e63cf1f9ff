"""The simulated supernovae have the cadence, errors and populations that they state, and streams of their own."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, norm

from skytrace.errors import OptionError
from skytrace.supernovae.light_curve_model import model_flux_jy
from skytrace.supernovae.light_curves import LIGHT_CURVE_COLUMNS, light_curve_report, validate_light_curves
from skytrace.supernovae.quality import apply_quality_cuts
from skytrace.surveys.supernovae.interface import HUBBLE_COLUMNS, OBJECT_COLUMNS, TRUTH_COLUMNS, SupernovaSurvey
from skytrace.surveys.supernovae.mock import MockSupernovae, simulate_light_curves, simulate_truth
from skytrace.surveys.supernovae.options import MockSupernovaOptions


@pytest.fixture(scope="module")
def survey() -> MockSupernovae:
    return MockSupernovae(MockSupernovaOptions(n_supernovae=4000))


@pytest.fixture(scope="module")
def observed(survey) -> pd.DataFrame:
    truth = survey.truth()
    table = survey.light_curves().merge(truth, on="snid")
    noiseless = model_flux_jy(
        *(table[name].to_numpy() for name in
          ("mjd", "wavelength_nm", "z_hel", "t0_mjd", "a_plasma", "beta", "alpha"))
    )  # fmt: skip
    return table.assign(noiseless_jy=noiseless)


def test_it_is_a_survey_with_the_columns_of_the_interface(survey):
    assert isinstance(survey, SupernovaSurvey)
    assert tuple(survey.light_curves()) == LIGHT_CURVE_COLUMNS
    assert tuple(survey.objects()) == OBJECT_COLUMNS
    assert tuple(survey.truth()) == TRUTH_COLUMNS
    assert {name: tuple(table) for name, table in survey.hubble_tables().items()} == {"simulated": HUBBLE_COLUMNS}


def test_errors_have_the_percentiles_of_des(observed):
    percentiles = 1e6 * observed["flux_err_jy"].quantile([0.05, 0.5, 0.95])
    np.testing.assert_allclose(percentiles, [0.08, 0.27, 0.73], rtol=0.07)


def test_noise_is_what_the_errors_state_and_three_per_cent_of_the_flux(observed):
    before = observed[observed["mjd"] < observed["t0_mjd"]]
    assert len(before) > 20_000
    assert (before["noiseless_jy"] == 0.0).all()
    pulls = before["flux_jy"] / before["flux_err_jy"]
    assert kstest(pulls, norm.cdf).pvalue > 1e-3
    assert (before["flux_jy"] < 0).mean() == pytest.approx(0.5, abs=0.01)
    scale = np.hypot(observed["flux_err_jy"], 0.03 * observed["noiseless_jy"])
    pulls = (observed["flux_jy"] - observed["noiseless_jy"]) / scale
    assert pulls.std() == pytest.approx(1.0, abs=0.01)
    assert pulls.mean() == pytest.approx(0.0, abs=0.01)


def test_seasons_nights_and_bands_are_those_of_des(observed):
    assert sorted(observed["band"].unique()) == ["g", "i", "r", "z"]
    spans = observed.groupby("snid")["mjd"].agg(["min", "max"])
    assert (spans["max"] - spans["min"]).between(100, 170).all()
    n = observed.groupby("snid").size()
    assert 70 < n.median() < 100
    nights = np.sort(observed.loc[observed["mjd"] < 56_800, "mjd"].round(1).unique())
    assert len(nights) < 60  # SNe of a season share its nights


def test_distances_are_those_of_astropy(survey):
    from astropy.cosmology import FlatLambdaCDM

    truth = survey.truth()
    cosmology = FlatLambdaCDM(H0=70.0, Om0=0.31)
    z_hel = survey.objects()["z_hel"]
    expected = cosmology.distmod(truth["z_cosmo"].to_numpy()).value + 5 * np.log10((1 + z_hel) / (1 + truth["z_cosmo"]))
    np.testing.assert_allclose(truth["mu_cosmo_mag"], expected, atol=2e-3)  # astropy's default has radiation
    np.testing.assert_allclose(truth["alpha"], -np.log(10) / 2.5 * truth["mu_mag"], rtol=1e-14)
    total = truth["mu_cosmo_mag"] + truth["scatter_mag"] + truth["shift_mag"]
    np.testing.assert_allclose(truth["mu_mag"], total, rtol=1e-14)


def test_populations_have_the_fractions_and_moments_that_are_stated(survey):
    truth = survey.truth()
    share = truth["kind"].value_counts(normalize=True)
    assert share["non_ia"] == pytest.approx(0.04, abs=0.01)
    assert share["brightened"] == pytest.approx(0.01, abs=0.005)
    ia, other = truth[truth["kind"] == "ia"], truth[truth["kind"] == "non_ia"]
    assert kstest(ia["scatter_mag"] / 0.10, norm.cdf).pvalue > 1e-3
    assert (ia["shift_mag"] == 0).all()
    assert other["shift_mag"].mean() == pytest.approx(1.3, abs=0.2)
    assert other["shift_mag"].std() == pytest.approx(0.7, abs=0.15)
    assert kstest(truth["a_plasma"] / 0.3, lambda x: 2 * norm.cdf(x) - 1).pvalue > 1e-3
    magnification = 10 ** (-0.4 * truth.loc[truth["kind"] == "brightened", "shift_mag"])
    assert magnification.min() >= 1.5
    assert (1.5 / np.median(magnification)) ** 2 == pytest.approx(0.5, abs=0.25)  # P(> mu) = (mu_min / mu)^2


def test_a_heavy_tail_is_students(survey):
    options = MockSupernovaOptions(n_supernovae=4000, scatter_nu=3.0)
    scatter = simulate_truth(np.arange(4000), options=options)["scatter_mag"]
    assert kstest(scatter / 0.10, "t", args=(3.0,)).pvalue > 1e-3
    assert scatter.abs().max() > 0.6


def test_published_distances_have_the_noise_that_they_state_and_calibrated_types(survey):
    table, truth = survey.hubble_tables()["simulated"], survey.truth()
    pulls = (table["mu_mag"] - truth["mu_mag"]) / table["mu_err_mag"]
    assert kstest(pulls, norm.cdf).pvalue > 1e-3
    np.testing.assert_allclose(table["alpha"], -np.log(10) / 2.5 * table["mu_mag"])
    np.testing.assert_allclose(table["alpha_err"], np.log(10) / 2.5 * table["mu_err_mag"])
    is_ia = truth["kind"] != "non_ia"
    assert table["prob_ia"].mean() == pytest.approx(is_ia.mean(), abs=0.006)
    unsure = table["prob_ia"].between(0.2, 0.8)
    assert is_ia[unsure].mean() == pytest.approx(table.loc[unsure, "prob_ia"].mean(), abs=0.2)


def test_a_supernova_is_the_same_in_a_survey_of_any_size(survey):
    small = MockSupernovae(MockSupernovaOptions(n_supernovae=30)).light_curves()
    large = survey.light_curves()
    pd.testing.assert_frame_equal(small, large[large["snid"].isin(small["snid"])].reset_index(drop=True))
    some = simulate_truth(np.array([17, 3]), options=survey.options)
    alone = simulate_light_curves(some, options=survey.options)
    assert alone["snid"].unique().tolist() == ["sim-0000017", "sim-0000003"]
    expected = large[large["snid"] == "sim-0000003"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone[alone["snid"] == "sim-0000003"].reset_index(drop=True), expected)


def test_another_seed_is_another_sky():
    one, other = (MockSupernovae(MockSupernovaOptions(n_supernovae=20, seed=seed)).truth() for seed in (1, 2))
    assert (one["alpha"] != other["alpha"]).all()


def test_it_passes_validation_and_most_of_it_the_quality_cuts(survey):
    clean, rejections = validate_light_curves(survey.light_curves(), objects=survey.objects())
    report = light_curve_report(clean, rejections)
    assert report["rows_rejected"] == 0
    assert report["supernovae"] == 4000
    kept, _ = apply_quality_cuts(clean)
    assert 0.85 < kept["snid"].nunique() / 4000 < 0.95


def test_options_are_checked_by_name_and_range():
    with pytest.raises(OptionError, match="did you mean omega_m"):
        MockSupernovaOptions.from_mapping({"omega_n": 0.3})
    with pytest.raises(OptionError, match=r"non_ia_fraction = 0\.7"):
        MockSupernovaOptions.from_mapping({"non_ia_fraction": 0.7})
    assert MockSupernovaOptions.from_mapping({"model": {"eta_prime": 2.0}}).model.eta_prime == 2.0


def test_a_simulation_for_the_bias_is_the_same_survey_of_mirrored_supernovae_without_outliers(survey):
    other = survey.resimulated(n_supernovae=40, seed=9, omega_m=0.2)
    truth = other.truth()
    assert set(truth["kind"]) == {"ia"}
    assert other.options.omega_m == 0.2 and other.options.seed == 9
    first, second = truth[::2].reset_index(drop=True), truth[1::2].reset_index(drop=True)
    pd.testing.assert_frame_equal(first[["z_cosmo", "t0_mjd"]], second[["z_cosmo", "t0_mjd"]])
    np.testing.assert_allclose(first["scatter_mag"], -second["scatter_mag"], atol=1e-12)
    p = norm.cdf(first["a_plasma"] / 0.3) + norm.cdf(second["a_plasma"] / 0.3)
    np.testing.assert_allclose(p, 1.5, atol=1e-9)  # quantiles u and 1 - u of a half-normal
    nights = set(survey.light_curves()["mjd"].round(6))
    assert set(other.light_curves()["mjd"].round(6)) <= nights
    table = other.light_curves().merge(truth, on="snid")
    dark = table[table["mjd"] < table["t0_mjd"]].merge(truth[["snid"]].assign(n=truth.index), on="snid")
    sums = dark.assign(pair=dark["n"] // 2, pull=dark["flux_jy"] / dark["flux_err_jy"])
    both = sums.groupby(["pair", "mjd"])["pull"].agg(["sum", "size"])
    assert (both["size"] == 2).all()
    np.testing.assert_allclose(both["sum"], 0.0, atol=1e-9)
