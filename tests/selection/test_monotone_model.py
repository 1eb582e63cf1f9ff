"""The smooth model: monotone by construction, close to a known P, honest about hosts, stored without pickle."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, ndtr
from scipy.stats import multivariate_normal

from skytrace.compute import load_npz, save_npz
from skytrace.errors import CatalogueError, OptionError, SelectionEnvelopeError
from skytrace.imaging.photometry import psfdepth_from_mag
from skytrace.selection.model_calibration import calibration_test, host_correlation
from skytrace.selection.monotone_model import (
    FEATURES,
    MonotoneModel,
    MonotoneOptions,
    fit_monotone_model,
    model_features,
)

QUICK = MonotoneOptions(max_iterations=40, n_members=3, n_folds=2, min_samples_leaf=40)


def true_p(table):
    return expit(
        -1.0 + 1.5 * (table["depth_mag"] - 23.5) - 1.2 * (table["source_mag_r"] - 23.5)
        + 0.8 * np.log(table["magnification"] / 5.0) + 1.5 * (table["theta_e_arcsec"] - 1.5)
        - 0.8 * (table["theta_e_arcsec"] - 1.5) ** 2 + 0.5 * (table["host_type"] == "REX")
    )  # fmt: skip


def lenses(n, seed, hosts=100):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "theta_e_arcsec": rng.uniform(0.5, 3.0, n), "psfsize_r_arcsec": rng.uniform(0.9, 1.8, n),
            "depth_mag": rng.uniform(22.5, 24.5, n), "source_mag_r": rng.uniform(22.0, 25.0, n),
            "source_size_arcsec": rng.uniform(0.1, 0.5, n), "source_g_r": rng.normal(0.3, 0.2, n),
            "magnification": 3.0 * rng.pareto(2.0, n) + 3.0, "host_mag_r": rng.uniform(17, 20, n),
        }
    )  # fmt: skip
    host = np.arange(n) % hosts
    table["host_type"] = np.where(host % 3 == 0, "REX", "DEV")
    return table.assign(host=[f"h{i}" for i in host], sky_cell=host // 2)


@pytest.fixture(scope="module")
def fitted():
    table = lenses(8000, 0)
    detected = np.random.default_rng(1).random(len(table)) < true_p(table)
    return table, detected, fit_monotone_model(table, detected, options=QUICK)


def inside(table, n):
    """Fresh lenses within the envelope of ``table``."""
    fresh = lenses(3 * n, 7)
    good = np.all([fresh[f].between(table[f].min(), table[f].max()) for f in FEATURES], axis=0)
    return fresh[good].head(n).reset_index(drop=True)


def test_the_model_is_close_to_a_known_p_and_its_error_is_about_right(fitted):
    table, _, fit = fitted
    fresh = inside(table, 2000)
    found, truth = fit.model.predict(fresh), true_p(fresh)
    assert np.sqrt(np.mean((found["probability"] - truth) ** 2)) < 0.06
    assert abs(np.mean(found["probability"] - truth)) < 0.015
    assert np.sqrt(np.mean((fit.out_of_fold - true_p(table)) ** 2)) < 0.08
    covered = ((found["low68"] <= truth) & (truth <= found["high68"])).mean()
    assert covered > 0.4  # of the refits' scatter: the smoothing bias of trees is not in it
    assert (found["high68"] - found["low68"]).mean() < 0.2


@pytest.mark.parametrize("name, sign", [("depth_mag", 1), ("magnification", 1), ("source_mag_r", -1)])
def test_p_never_moves_against_the_stated_sign(fitted, name, sign):
    table, _, fit = fitted
    base = inside(table, 40)
    grid = np.linspace(table[name].min(), table[name].max(), 60)
    rows = base.loc[base.index.repeat(60)].assign(**{name: np.tile(grid, 40)})
    p = fit.model.predict(rows)["probability"].to_numpy().reshape(40, 60)
    assert (sign * np.diff(p, axis=1) >= -1e-12).all()
    assert (sign * (p[:, -1] - p[:, 0])).mean() > 0.1


def test_a_feature_without_a_sign_may_rise_and_fall(fitted):
    table, _, fit = fitted
    base = inside(table, 60)
    p = [fit.model.predict(base.assign(theta_e_arcsec=value))["probability"].mean() for value in (0.6, 2.3, 2.9)]
    assert p[0] < p[1] and MonotoneOptions().signs["theta_e_arcsec"] == 0


def test_a_stored_model_gives_the_same_numbers_to_the_last_bit(fitted, tmp_path):
    table, _, fit = fitted
    path = save_npz(tmp_path / "model.npz", **fit.model.to_arrays())
    again = MonotoneModel.from_arrays(load_npz(path))
    pd.testing.assert_frame_equal(again.predict(table[:500]), fit.model.predict(table[:500]), check_exact=True)
    assert again.card == fit.model.card and again.card["n_hosts"] == 100
    with pytest.raises(CatalogueError, match="lacks feature"):
        MonotoneModel.from_arrays({})


def test_a_refit_is_the_same_model(fitted):
    table, detected, _ = fitted
    few = MonotoneOptions(max_iterations=5, n_members=2, n_folds=2)
    one, two = (fit_monotone_model(table[:3000], detected[:3000], options=few).model.to_arrays() for _ in range(2))
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name])


def test_errors_know_of_lucky_hosts():
    table = lenses(6000, 3, hosts=40)
    luck = np.repeat(np.random.default_rng(4).normal(0, 1.5, 20), 2)  # a sky cell's two hosts share it
    p = expit(np.log(true_p(table) / (1 - true_p(table))) + luck[np.arange(6000) % 40])
    draws = np.random.default_rng(5).random(6000)
    error = []
    for share in (p, true_p(table)):
        fit = fit_monotone_model(table, draws < share, options=QUICK)
        error.append(fit.model.predict(table[:500])["standard_error_logit"].mean())
    assert error[0] > 1.3 * error[1]


def test_beyond_the_envelope_the_model_says_nothing(fitted):
    table, _, fit = fitted
    rows = table[:3].assign(depth_mag=[23.0, 26.0, 23.0], host_type=["DEV", "DEV", "EXP"])
    with pytest.raises(SelectionEnvelopeError, match=r"2 row\(s\).*depth_mag = 26"):
        fit.model.predict(rows)
    found = fit.model.predict(rows, outside="nan")
    assert np.isfinite(found["probability"]).tolist() == [True, False, False]


def test_unusable_input_is_refused_by_name():
    table = lenses(200, 0)
    y = np.arange(200) % 2
    with pytest.raises(CatalogueError, match=r"host_mag_r \(1\)"):
        fit_monotone_model(table.assign(host_mag_r=[np.nan, *table["host_mag_r"][1:]]), y)
    with pytest.raises(CatalogueError, match="both detected and missed"):
        fit_monotone_model(table, np.zeros(200))
    with pytest.raises(OptionError, match="both name depth_mag"):
        MonotoneOptions(rising=("depth_mag",), falling=("depth_mag",))


def test_features_are_those_in_which_the_lens_was_seen():
    injections = pd.DataFrame(
        {
            "galaxy_id": ["b", "a"], "mode": ["degraded", "matched"], "psf_fwhm": 1.5, "depth": 23.0,
            "host_psfsize_r": [1.1, 1.2], "theta_e_arcsec": 1.0, "magnification": 4.0, "source_mag_r": 23.0,
            "source_mag_g": 23.4, "source_half_light_radius_arcsec": 0.3,
        }
    )  # fmt: skip
    hosts = pd.DataFrame({"galaxy_id": ["a", "b", "a"], "ra": 150.0, "dec": 2.0, "flux_r": [100.0, 10.0, 100.0]})
    hosts = hosts.assign(type="DEV", psfdepth_r=psfdepth_from_mag(23.7))
    table = model_features(injections, hosts)
    assert table["psfsize_r_arcsec"].tolist() == [1.5, 1.2]
    np.testing.assert_allclose(table["depth_mag"], [23.0, 23.7])
    np.testing.assert_allclose(table["host_mag_r"], [20.0, 17.5])
    np.testing.assert_allclose(table["source_g_r"], 0.4)
    with pytest.raises(CatalogueError, match="first: b"):
        model_features(injections, hosts[hosts["galaxy_id"] == "a"])


def trials(rng, rho=0.4, n_cells=12, hosts=25, each=8):
    """Cells of one condition share their hosts: P by injection, cell, host, detections with luck common to a host."""
    cell = np.repeat(np.arange(n_cells), hosts * each)
    host = np.tile(np.arange(hosts), n_cells * each) + hosts * (cell // 4)
    p = np.clip(rng.beta(1.0, 4.0, len(cell)) * (0.1 + cell / n_cells), 0.0, 1.0)
    z = np.sqrt(rho) * rng.normal(size=host.max() + 1)[host] + np.sqrt(1 - rho) * rng.normal(size=len(cell))
    return ndtr(z) < p, p, cell, host


def test_the_calibration_test_keeps_its_size_where_hosts_share_their_luck():
    rng = np.random.default_rng(0)
    p_values = []
    for trial in range(120):
        y, p, cell, host = trials(rng)
        p_values.append(calibration_test(y, p, cell=cell, host=host, n_simulations=79, seed=trial).p_value)
    p_values = np.array(p_values)
    assert (p_values <= 0.05).mean() < 0.11
    assert 0.1 < (p_values <= 0.2).mean() < 0.31


def test_a_tilt_is_found_that_chi_square_is_blind_to_and_its_slope_is_measured():
    rng, slopes, tilted, blind = np.random.default_rng(4), [], [], []
    for trial in range(30):
        # 120 cells of 60 injections, hosts of their own; the truth is 1.15 times as steep in log-odds as the prediction
        p = np.repeat(expit(rng.uniform(-3.0, 0.5, 120)), 60)
        cell, host = np.repeat(np.arange(120), 60), np.arange(7200) // 2
        y = rng.random(7200) < expit(1.15 * np.log(p / (1 - p)) + 0.18)
        found = calibration_test(y, p, cell=cell, host=host, n_simulations=199, seed=trial)
        slopes.append(found.slope)
        tilted.append(found.slope_p_value <= 0.01)
        blind.append(found.p_value > 0.01)
    assert np.mean(slopes) == pytest.approx(1.15, abs=0.04)
    assert np.mean(tilted) > 0.7 and np.mean(blind) > 0.5


def test_the_slope_of_a_calibrated_model_is_one_and_keeps_the_size_of_its_test():
    rng, slopes, p_values = np.random.default_rng(6), [], []
    for trial in range(100):
        y, p, cell, host = trials(rng)
        found = calibration_test(y, p, cell=cell, host=host, n_simulations=79, seed=trial)
        slopes.append(found.slope)
        p_values.append(found.slope_p_value)
    assert np.mean(slopes) == pytest.approx(1.0, abs=3.5 * np.std(slopes) / 10)
    assert np.mean(np.array(p_values) <= 0.05) < 0.12 and 0.1 < np.mean(np.array(p_values) <= 0.2) < 0.32


def test_a_model_of_a_handful_of_detections_is_not_judged():
    y = np.zeros(3200, dtype=bool)
    y[:4] = True
    cell, host = np.arange(3200) % 16, np.arange(3200) % 8
    found = calibration_test(y, np.full(3200, 4 / 3200), cell=cell, host=host, n_simulations=39, seed=0)
    assert found.verdict == "not judged" and "With 4 injections" in found.sentence


def test_a_cell_that_is_off_is_found_and_named():
    rng = np.random.default_rng(1)
    y, p, cell, host = trials(rng, rho=0.1)
    off = calibration_test(y, np.where(cell == 11, 0.5 * p, p), cell=cell, host=host, n_simulations=299, seed=0)
    assert off.verdict == "miscalibrated" and off.table["z"].abs().idxmax() == 11
    assert off.rms_difference > 0.01
    row = off.table.iloc[11]
    assert row["observed_completeness"] == y[cell == 11].mean() and row["n"] == 200
    assert row["predicted"] == pytest.approx(0.5 * p[cell == 11].sum(), rel=1e-4)


def test_the_latent_correlation_is_recovered():
    rng = np.random.default_rng(2)
    found = []
    for rho in [0.0] * 15 + [0.4] * 15:
        y, p, cell, host = trials(rng, rho)
        found.append(host_correlation(y, p, cell=cell, host=host))
    assert np.mean(found[:15]) < 0.08 and np.mean(found[15:]) == pytest.approx(0.4, abs=0.07)


def test_cell_variances_are_those_of_correlated_normals():
    from skytrace.selection.model_calibration import _cell_variance

    # two injections into one host: var = sum p (1 - p) + 2 (Phi_2(a, b; rho) - p_a p_b)
    p, limit = np.array([0.2, 0.6]), np.array([-0.8416212335729143, 0.2533471031357997])
    both = multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]]).cdf(limit)
    expected = 0.16 + 0.24 + 2 * (both - 0.12)
    found = _cell_variance(p, np.zeros(2, int), np.zeros(2, int), 0.5, 1)
    assert found[0] == pytest.approx(expected, rel=1e-3)


def test_the_models_own_error_is_allowed_for():
    rng = np.random.default_rng(3)
    y, p, cell, host = trials(rng)
    scale = 1 + 0.3 * rng.normal(size=(20, 1))
    members = np.clip(p * scale, 0, 1)
    alone = calibration_test(y, p, cell=cell, host=host, n_simulations=39, seed=0)
    allowed = calibration_test(y, p, cell=cell, host=host, members=members, n_simulations=39, seed=0)
    counts = np.array([members[:, cell == c].sum(axis=1).var(ddof=1) for c in range(12)])
    np.testing.assert_allclose(
        (allowed.table["standard_error"] ** 2 - alone.table["standard_error"] ** 2) * 200.0**2, counts, rtol=1e-6
    )


def test_out_of_fold_predictions_of_the_model_are_calibrated_in_cells_and_a_shifted_one_is_not(fitted):
    table, detected, fit = fitted
    cell = np.digitize(table["theta_e_arcsec"], [1.0, 1.5, 2.0, 2.5]) * 4 + np.digitize(
        table["depth_mag"], [23.0, 23.5, 24.0]
    )
    options = {"cell": cell, "host": table["host"], "n_simulations": 199, "seed": 1}
    # forty trees are too few for these lenses: the model is still too flat, which chi-square does not see
    flat = calibration_test(detected, fit.out_of_fold, members=fit.model.member_probabilities(table), **options)
    assert flat.verdict == "miscalibrated" and flat.slope > 1.1 and flat.p_value > 0.1
    fit = fit_monotone_model(table, detected, options=replace(QUICK, max_iterations=100, n_folds=3))
    members = fit.model.member_probabilities(table)
    assert calibration_test(detected, fit.out_of_fold, members=members, **options).verdict == "calibrated"
    shifted = expit(np.log(fit.out_of_fold / (1 - fit.out_of_fold)) + 0.5)
    assert calibration_test(detected, shifted, members=members, **options).verdict == "miscalibrated"
