"""Figures of a spectrum's posterior draw what their tables hold."""

import arviz
import numpy as np
import pandas as pd
import pytest

from skytrace.reporting import spectral_inference_figures as figures
from skytrace.reporting.style import COLOURS

WAVELENGTH = np.concatenate([np.linspace(3600, 5000, 40), np.linspace(5600, 9000, 60)])


def test_what_was_not_used_is_marked_and_no_line_crosses_it():
    light = 1e39 * (2.0 + np.sin(WAVELENGTH / 300.0))
    spectra = pd.DataFrame({"wavelength_angstrom": WAVELENGTH, "observed": light, "median": light})
    for name, factor in {"low95": 0.8, "low68": 0.9, "high68": 1.1, "high95": 1.2}.items():
        spectra[name] = factor * light
    residuals = pd.DataFrame({
        "wavelength_angstrom": WAVELENGTH, "residual": 0.1, "sigma": 0.2, "sigma_without_inadequacy": 0.05
    })  # fmt: skip
    grid = np.linspace(3000, 9500, 400)
    figure = figures.spectrum_fit_figure(
        spectra, residuals, observed=(grid, np.full(400, 2e39)), name="SN 2011fe",
        excluded={"ultraviolet": (500.0, 3500.0), "band": (5050.0, 5550.0), "elsewhere": (20_000.0, 30_000.0)},
    )  # fmt: skip
    top, bottom = figure.axes
    assert [tuple(np.round(patch.get_extents().intervalx)) for patch in top.patches] != []
    assert len(top.patches) == len(bottom.patches) == 2
    (residual,) = (line for line in bottom.lines if len(line.get_ydata()) > 2)
    values = residual.get_ydata()
    assert np.isnan(values).sum() == 1
    assert np.isnan(values[40])
    median = next(line for line in top.lines if line.get_label() == "model, median")
    assert np.nanmax(median.get_ydata()) == pytest.approx(light.max() / 1e39)


def test_velocities_are_in_thousands_and_others_as_they_are():
    assert figures.parameter_label("v_core") == (r"$v_{\rm core}$ [$10^3$ km/s]", 1000.0)
    assert figures.parameter_label("X_Ni")[1] == 1.0
    assert figures.parameter_label("mode_Fe_1") == ("mode_Fe_1", 1.0)


def test_corner_has_a_panel_for_each_chosen_pair():
    rng = np.random.default_rng(0)
    values = {"v_inner": 9000 + 500 * rng.normal(size=(2, 500)), "X_Ni": rng.uniform(size=(2, 500)),
              "log_L": 43 + 0.1 * rng.normal(size=(2, 500))}  # fmt: skip
    figure = figures.spectral_corner_figure(values, names=["v_inner", "log_L"], truths={"v_inner": 9200.0})
    assert len(figure.axes) == 4
    assert any("8.9" in axis.get_title() or "9.0" in axis.get_title() for axis in figure.axes)
    assert arviz.from_dict(posterior=values).posterior["X_Ni"].shape == (2, 500)


def test_intervals_of_stages_lie_within_the_first_prior():
    table = pd.DataFrame({
        "stage": ["stage 1", "stage 1", "stage 2", "stage 2"], "parameter": ["v_inner", "X_Ni"] * 2,
        "low68": [8000.0, 0.1, 8400.0, 0.12],
        "high68": [9000.0, 0.2, 8600.0, 0.14], "prior_low": [7000.0, 0.0, 7800.0, 0.05],
        "prior_high": [15_000.0, 0.25, 9200.0, 0.2], "sd": 1.0, "width_of_prior": 0.1, "shrinkage": np.nan,
    })  # fmt: skip
    (axis,) = figures.stage_shrinkage_figure(table).axes
    ends = [segment[:, 0] for collection in axis.collections for segment in collection.get_segments()]
    np.testing.assert_allclose(ends[0], [0.0, 1.0])
    np.testing.assert_allclose(ends[2], [0.125, 0.25])
    np.testing.assert_allclose(ends[4], [0.1, 0.275])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["stage 1, 68 %", "stage 2, 68 %"]


def test_agreement_and_coverage_draw_every_parameter():
    table = pd.DataFrame({
        "parameter": ["v_inner", "X_Ni"] * 2, "method": ["emcee", "emcee", "nested", "nested"], "reference": "nuts",
        "mean_offset_sigma": [0.1, -0.3, 0.0, 0.05], "width_ratio": [1.0, 1.3, 0.9, 1.1], "agrees": True, "words": "",
    })  # fmt: skip
    left, right = figures.sampler_agreement_figure(table).axes
    assert {line.get_label() for line in left.lines} == {"emcee", "nested"}
    assert right.lines[0].get_xdata().tolist() == [1.0, 1.3]
    report = pd.DataFrame({
        "parameter": ["v_inner", "X_Ni"], "n": 100, "covered_68": [0.7, 0.5], "covered_68_low": [0.65, 0.45],
        "covered_68_high": [0.75, 0.55], "constrained": [True, False],
    })  # fmt: skip
    (axis,) = figures.coverage_figure({"of the model": report}).axes
    hollow = [line for line in axis.lines if line.get_markerfacecolor() == "white"]
    assert hollow[0].get_xdata().tolist() == [0.5]


def test_composition_is_dotted_where_most_draws_have_no_ejecta():
    velocity = np.arange(8000.0, 20_000.0, 1000.0)
    rows = pd.DataFrame({
        "velocity_km_s": np.repeat(velocity, 2), "atomic_number": np.tile([14, 26], len(velocity)), "median": 0.1,
        "low68": 0.05, "high68": 0.2, "low95": 0.01, "high95": 0.4,
        "photosphere_share": np.repeat(np.linspace(0.0, 1.0, len(velocity)), 2),
    })  # fmt: skip
    silicon, iron = figures.composition_figure(rows, elements=(14, 26)).axes
    for axis in (silicon, iron):
        solid = [line for line in axis.lines if line.get_linestyle() == "-"]
        dotted = [line for line in axis.lines if line.get_linestyle() == ":"]
        assert len(solid[0].get_xdata()) == 6
        assert len(dotted[0].get_xdata()) == 12
    assert solid[0].get_color() == COLOURS["blue"]


def test_composition_stands_beside_its_prior_and_the_truth():
    velocity = np.arange(8000.0, 12_000.0, 1000.0)
    rows = pd.DataFrame({
        "velocity_km_s": velocity, "atomic_number": 14, "median": 0.1, "low68": 0.05, "high68": 0.2, "low95": 0.01,
        "high95": 0.4, "photosphere_share": 1.0,
    })  # fmt: skip
    prior, truth = rows.assign(low68=0.001, high68=0.5), rows.assign(median=0.0)
    (axis,) = figures.composition_figure(rows, prior=prior, truth=truth, elements=(14,)).axes
    dashed = [line.get_ydata()[0] for line in axis.lines if line.get_linestyle() == "--"]
    assert dashed == [0.001, 0.5]
    (true,) = [line for line in axis.lines if line.get_color() == COLOURS["orange"]]
    assert set(true.get_ydata()) == {1e-5}  # none of it: at the foot of a logarithmic axis, not off it
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [
        "posterior 68 %", "median", "prior 68 %", "truth",
    ]  # fmt: skip
