"""Features of known minimum, depth and width, without and with noise, and of SN 2011fe at maximum."""

import numpy as np
import pytest

from skytrace.errors import OptionError
from skytrace.spectra.feature_options import TYPE_IA_FEATURES, FeatureOptions, FeatureWindow
from skytrace.spectra.features import line_velocity_km_s, measure_features
from skytrace.spectra.wavelengths import SPEED_OF_LIGHT_KM_S, air_to_vacuum

GRID = np.arange(3300.0, 9200.0, 4.0)
SI = next(window for window in TYPE_IA_FEATURES if window.name == "si_ii_6355")
ONLY_SI = FeatureOptions(windows=(SI,))


def p_cygni(velocity_km_s, depth=0.55, grid=GRID, widths=(52.0, 40.0)):
    """A sloping continuum times a trough of two half Gaussians (blue, red width [A]) and an emission hump."""
    centre = SI.rest_angstrom * np.exp(-np.arctanh(np.asarray(velocity_km_s, float) / SPEED_OF_LIGHT_KM_S))[:, None]
    x = grid - centre
    trough = depth * np.exp(-0.5 * (x / np.where(x < 0, *widths)) ** 2)
    hump = 0.25 * np.exp(-0.5 * ((grid - SI.rest_angstrom - 15.0) / 60.0) ** 2)
    return (1.5 - grid / 12_000.0) * (1.0 - trough + hump)


def true_minimum_km_s(velocity_km_s, depth=0.55):
    """Velocity of the minimum of the profile over the continuum that its own maxima define, on a grid of 0.02 A."""
    fine = np.arange(5800.0, 6600.0, 0.02)
    flux = p_cygni(velocity_km_s, depth, fine)
    found = []
    for row in flux:
        blue = np.where((fine >= SI.blue_angstrom[0]) & (fine <= SI.blue_angstrom[1]), row, 0).argmax()
        red = np.where((fine >= SI.red_angstrom[0]) & (fine <= SI.red_angstrom[1]), row, 0).argmax()
        line = np.interp(fine, fine[[blue, red]], row[[blue, red]])
        lowest = (row[blue : red + 1] / line[blue : red + 1]).argmin() + blue
        between = slice(blue, red + 1)
        width = np.trapezoid(1 - row[between] / line[between], fine[between])
        found.append((line_velocity_km_s(fine[lowest], SI.rest_angstrom), 1 - row[lowest] / line[lowest], width))
    return np.array(found).T


def test_the_rest_wavelengths_are_the_means_of_nists_lines_weighted_by_gf():
    lines = {  # wavelength in air [A], log gf
        "ca_ii_hk": ((3933.66, 0.11), (3968.47, -0.19)),
        "fe_blend": ((5169.03, -0.87),),
        "s_ii_w": ((5639.98, 0.26), (5640.35, -0.03)),
        "si_ii_5972": ((5957.56, -0.225), (5978.93, 0.084)),
        "si_ii_6355": ((6347.11, 0.15), (6371.37, -0.08)),
        "o_i_7774": ((7771.94, 0.37), (7774.17, 0.22), (7775.39, 0.0)),
        "ca_ii_ir": ((8498.02, -1.43), (8542.09, -0.46), (8662.14, -0.72)),
    }
    assert {window.name for window in TYPE_IA_FEATURES} == set(lines)
    for window in TYPE_IA_FEATURES:
        wavelength, log_gf = np.array(lines[window.name]).T
        mean = np.average(air_to_vacuum(wavelength), weights=10**log_gf)
        assert window.rest_angstrom == pytest.approx(mean, abs=1.3), window.name  # 1.3 A: 60 km/s at 6355 A


def test_the_doppler_formula_is_the_relativistic_one():
    beta = 0.1
    assert line_velocity_km_s(6000.0 * np.sqrt((1 - beta) / (1 + beta)), 6000.0) == pytest.approx(29_979.2458)


def test_features_without_noise_are_measured_where_they_are():
    velocity = np.array([8500.0, 10_400.0, 12_000.0, 14_000.0])
    table = measure_features(GRID, p_cygni(velocity), options=ONLY_SI)
    speed, depth, width = true_minimum_km_s(velocity)
    assert (table["status"] == "ok").all()
    np.testing.assert_allclose(table["velocity_km_s"], speed, atol=75.0)
    np.testing.assert_allclose(table["depth"], depth, atol=0.015)
    np.testing.assert_allclose(table["pew_angstrom"], width, rtol=0.02)
    assert table[["velocity_err_km_s", "depth_err", "pew_err_angstrom"]].isna().all(axis=None)


@pytest.mark.parametrize("depth, widths, seed", [(0.55, (52.0, 40.0), 13), (0.4, (48.0, 48.0), 71)])
def test_errors_describe_the_scatter_of_many_noisy_spectra(depth, widths, seed):
    clean = p_cygni([10_400.0], depth, widths=widths)
    exact = measure_features(GRID, clean, options=ONLY_SI).iloc[0]
    sigma = np.full((2000, GRID.size), 0.02 * clean.mean())
    noisy = clean + sigma * np.random.default_rng(seed).normal(size=sigma.shape)
    table = measure_features(GRID, noisy, sigma, options=ONLY_SI)
    assert (table["status"] == "ok").all()
    for name, error, largest_bias, scatter in (
        ("velocity_km_s", "velocity_err_km_s", 0.2, 1.0),
        ("depth", "depth_err", 0.3, 1.0),
        ("pew_angstrom", "pew_err_angstrom", 0.6, 1.9),  # where the maxima lie is not in its error: too small by this
    ):
        pull = (table[name] - exact[name]) / table[error]
        assert abs(pull.mean()) < largest_bias, (name, pull.mean())
        assert pull.std() == pytest.approx(scatter, abs=0.15 * scatter), (name, pull.std())


def test_masked_pixels_carry_no_weight():
    clean = p_cygni([10_400.0, 10_400.0])
    mask = np.zeros(clean.shape, bool)
    mask[1] = (GRID > 6120) & (GRID < 6135)
    spoiled = np.where(mask, 1e3, clean)
    table = measure_features(GRID, spoiled, 0.01 * np.ones(clean.shape), mask=mask, options=ONLY_SI)
    assert table["velocity_km_s"][1] == pytest.approx(table["velocity_km_s"][0], abs=30.0)
    assert table["pew_angstrom"][1] == pytest.approx(table["pew_angstrom"][0], rel=0.01)
    assert table["velocity_err_km_s"][1] > table["velocity_err_km_s"][0]


def test_what_is_not_there_is_said_not_measured():
    flat = np.ones((1, GRID.size)) * (1.5 - GRID / 12_000.0)
    assert measure_features(GRID, flat, options=ONLY_SI)["status"].item() == "no minimum"
    short = GRID < 6100
    table = measure_features(GRID[short], p_cygni([10_400.0])[:, short], options=ONLY_SI)
    assert table["status"].item() == "not covered"
    assert np.isnan(table["velocity_km_s"].item())
    assert measure_features(GRID, -p_cygni([10_400.0]), options=ONLY_SI)["status"].item() == "no continuum"
    with pytest.raises(OptionError, match="red_angstrom"):
        FeatureWindow("x", 6357.0, (5800.0, 6015.0), (6600.0, 6200.0), (6000.0, 20_000.0))


def test_si_ii_of_sn_2011fe_at_maximum_has_the_published_velocity(real_data, monkeypatch):
    from skytrace.spectra.preprocessing import prepare_observed
    from skytrace.surveys.spectra.sn2011fe import read_sn2011fe

    if not (real_data / "spectra" / "sn2011fe").is_dir():
        pytest.skip(f"no folder spectra/sn2011fe in {real_data}")
    monkeypatch.setenv("SKYTRACE_DATA", str(real_data))
    spectrum = read_sn2011fe()
    table = measure_features(spectrum.wavelength_angstrom, spectrum.flux, spectrum.error, mask=spectrum.mask)
    table = table.set_index("feature")
    assert (table["status"] == "ok").all()
    # Pereira et al. (2013): about 10,400 km/s; 250 km/s: 80 for air or vacuum, the rest for window and fit
    assert table.loc["si_ii_6355", "velocity_km_s"] == pytest.approx(10_400.0, abs=250.0)
    grid = np.arange(3300.0, 9400.0, 10.0)
    binned = prepare_observed(spectrum, grid)
    coarse = measure_features(grid, binned.flux, binned.error, mask=binned.mask).set_index("feature")
    assert coarse.loc["si_ii_6355", "velocity_km_s"] == pytest.approx(
        table.loc["si_ii_6355", "velocity_km_s"], abs=30.0
    )
    assert coarse.loc["si_ii_6355", "pew_angstrom"] == pytest.approx(table.loc["si_ii_6355", "pew_angstrom"], rel=0.01)
