"""Measures of an emulator: known errors come out as what they are."""

import types

import numpy as np
import pytest

from skytrace.errors import CatalogueError
from skytrace.spectra.emulator import SpectraPrediction
from skytrace.spectra.emulator_options import EmulatorOptions
from skytrace.spectra.emulator_validation import (
    feature_errors,
    spectrum_rms,
    training_size_curve,
    training_size_errors,
    validate_emulator,
)
from tests.spectra.emulated_family import WAVELENGTH, Box, draw, luminosity


def test_rms_is_over_the_simulated_peak_and_mean():
    simulated = np.array([[1.0, 2.0, 5.0, 0.0]])
    table = spectrum_rms(simulated + 0.5, simulated)
    assert table["rms_of_peak"][0] == pytest.approx(0.1)
    assert table["rms_of_mean"][0] == pytest.approx(0.25)


def test_a_line_moved_by_500_km_s_is_measured_as_that():
    grid = np.geomspace(3500.0, 9000.0, 600)

    def spectrum(velocity, depth):
        centre = 6357.0 * np.exp(-np.arctanh(velocity / 299_792.458))
        return np.atleast_2d(1.0 - depth * np.exp(-0.5 * ((grid - centre) / 60.0) ** 2))

    table = feature_errors(grid, spectrum(11_500.0, 0.5), spectrum(11_000.0, 0.6)).set_index("feature")
    line = table.loc["si_ii_6355"]
    assert line["models"] == 1
    assert line["velocity_median_km_s"] == pytest.approx(500.0, abs=10.0)
    assert line["depth_abs"] == pytest.approx(0.1, abs=0.01)
    assert table.loc["ca_ii_ir", "models"] == 0
    assert np.isnan(table.loc["ca_ii_ir", "velocity_median_km_s"])


def emulator_with_errors(sigma):
    """One whose y is off by Gaussian errors of 0.1, and that says ``sigma``."""
    theta = draw(400, seed=1)
    truth = luminosity(theta)
    off = np.random.default_rng(2).normal(0.0, 0.1, truth.shape)

    def predict(_):
        y = np.arcsinh(truth) + off
        return SpectraPrediction(y, np.full(y.shape, sigma), np.ones(len(y)), np.sinh(y))

    fake = types.SimpleNamespace(predict=predict, stretch=np.arcsinh, wavelength_angstrom=WAVELENGTH)
    return validate_emulator(fake, theta, truth)


def test_coverage_is_68_and_95_per_cent_for_the_right_sigma_and_not_for_half_of_it():
    right, half = emulator_with_errors(0.1), emulator_with_errors(0.05)
    assert right.summary["covered_68"] == pytest.approx(0.68, abs=0.005)
    assert right.summary["covered_95"] == pytest.approx(0.95, abs=0.005)
    assert half.summary["covered_68"] == pytest.approx(0.381, abs=0.01)
    assert right.by_model["normalised"].mean() == pytest.approx(1.0, abs=0.01)


def test_fractional_error_by_wavelength_is_that_of_the_flux():
    table = emulator_with_errors(0.1).by_wavelength
    # y = asinh(L) is ln(2 L) for these: the median of |exp(e) - 1| of Gaussian e of 0.1
    assert table["error_median"].mean() == pytest.approx(0.0674, abs=0.0015)


def test_a_power_law_is_found_and_extended_to_the_goal():
    sizes, scatter = (250, 500, 1000, 2000), np.exp(np.random.default_rng(3).normal(0.0, 0.4, 801))
    scatter /= np.median(scatter)
    errors = 0.5 * np.array(sizes)[:, None] ** -0.6 * scatter
    curve = training_size_curve(sizes, errors, goal=0.001)
    assert curve.slope == pytest.approx(0.6, rel=1e-6)
    assert curve.amplitude == pytest.approx(0.5, rel=1e-6)
    assert curve.goal_size == pytest.approx(500.0 ** (1.0 / 0.6), rel=1e-5)
    assert curve.goal_size_interval[0] < curve.goal_size < curve.goal_size_interval[1]


def test_errors_that_do_not_fall_never_meet_the_goal():
    curve = training_size_curve((250, 500), np.full((2, 30), 0.02), goal=0.01)
    assert curve.goal_size == np.inf
    assert curve.goal_size_interval == (np.inf, np.inf)


def test_one_size_is_no_curve():
    with pytest.raises(CatalogueError, match="two sizes"):
        training_size_curve((250,), np.full((1, 30), 0.02), goal=0.01)


def test_one_point_of_the_curve_sees_neither_held_models_nor_more_than_its_size():
    theta = draw(200, seed=4)
    flux, held = luminosity(theta), np.arange(200) < 50
    options = EmulatorOptions(
        hidden=(16,), members=1, epochs=20, batch=16, learning_rate=5e-3, stop_share=0.1, distilled=None
    )
    one = training_size_errors(100, theta, WAVELENGTH, flux, held, space=Box(), options=options)
    other = flux.copy()
    other[held] *= 2.0  # the emulator cannot know
    two = training_size_errors(100, theta, WAVELENGTH, other, held, space=Box(), options=options)
    assert one["rms_of_peak"].shape == (50,)
    missed = spectrum_rms(flux[held], other[held])["rms_of_peak"].to_numpy()
    assert np.median(one["rms_of_peak"]) < 0.2 * np.median(missed)
    assert two["rms_of_peak"] == pytest.approx(missed, rel=0.5)
    with pytest.raises(CatalogueError, match="150 models"):
        training_size_errors(151, theta, WAVELENGTH, flux, held, space=Box(), options=options)
