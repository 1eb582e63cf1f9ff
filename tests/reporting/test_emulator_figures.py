"""Figures of the emulator show the numbers that they are given."""

import numpy as np
import pandas as pd
import pytest

from skytrace.reporting.emulator_figures import (
    emulator_error_figure,
    emulator_examples_figure,
    training_size_figure,
)
from skytrace.reporting.style import figure_png
from skytrace.spectra.emulator import SpectrumEmulator
from skytrace.spectra.emulator_error import EmulatorError
from skytrace.spectra.emulator_validation import EmulatorValidation, training_size_curve

WAVELENGTH = np.geomspace(3000.0, 9000.0, 50)


@pytest.fixture
def validation():
    table = pd.DataFrame({
        "wavelength_angstrom": WAVELENGTH, "error_median": np.linspace(0.01, 0.03, 50),
        "error_p95": np.linspace(0.05, 0.1, 50), "covered_68": np.full(50, 0.7), "covered_95": np.full(50, 0.94),
    })  # fmt: skip
    return EmulatorValidation(pd.DataFrame(), table, pd.DataFrame(), {"models": 321.0})


def flat_emulator():
    """One that predicts y = 3 everywhere with an error of 0.1."""
    ones = np.ones(1)
    return SpectrumEmulator(
        names=("a",), low=np.zeros(1), high=ones, logarithmic=np.zeros(1, dtype=bool), wavelength_angstrom=WAVELENGTH,
        softening=0.05, level_erg_s_a=1e39, shape_mean=np.full(50, 3.0), shape_components=np.eye(1, 50),
        input_mean=np.zeros(1), input_scale=ones, weights=(np.zeros((1, 1, 2), np.float32),),
        biases=(np.zeros((1, 1, 2), np.float32),), output_mean=np.zeros(2), output_scale=np.ones(2),
        level_slope=np.zeros(1),
        error=EmulatorError(np.full((1, 50), 0.1), np.zeros(50), 0.0, 1.0, np.zeros(0), np.full(50, 0.1)),
    )  # fmt: skip


def test_errors_are_drawn_in_per_cent_of_as_many_models_as_there_are(validation):
    above, below = emulator_error_figure(validation.by_wavelength, models=321, windows=[(3500.0, 4000.0)]).axes
    assert above.get_title() == "321 held-out models"
    np.testing.assert_allclose(above.lines[1].get_ydata(), np.linspace(1.0, 3.0, 50))
    np.testing.assert_allclose(below.lines[0].get_ydata(), 94.0)


def test_examples_show_truth_and_prediction_over_the_same_peak():
    emulator = flat_emulator()
    truth = np.full((3, 50), emulator.unstretch(3.0) / 1.1)
    figure = emulator_examples_figure(emulator, np.zeros((3, 1)), truth, titles=["a", "b", "c"])
    assert [axis.get_visible() for axis in figure.axes] == [True, True, True, False]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), 1.0)
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), 1.1, rtol=1e-6)
    np.testing.assert_allclose(figure.axes[0].lines[2].get_ydata(), 0.1 - 0.2, rtol=1e-5)


def test_curve_is_drawn_to_the_goal_and_its_bytes_do_not_change():
    sizes = (100, 200, 400)
    errors = 0.4 * np.array(sizes)[:, None] ** -0.5 * np.linspace(0.8, 1.2, 41)
    curve = training_size_curve(sizes, errors, goal=0.01)
    figure = training_size_figure(sizes, errors, curve)
    line = next(line for line in figure.axes[0].lines if "propto" in str(line.get_label()))
    assert line.get_xdata()[-1] == pytest.approx(1600.0, rel=1e-6)
    assert line.get_ydata()[-1] == pytest.approx(1.0, rel=1e-6)
    assert figure_png(figure) == figure_png(training_size_figure(sizes, errors, curve))
