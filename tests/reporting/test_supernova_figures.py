"""Figures of supernovae draw what their tables hold: bins, verdicts, bands, light curves."""

import numpy as np
import pandas as pd
import pytest

from skytrace.reporting import hubble_figures
from skytrace.reporting.light_curve_figures import light_curve_figure
from skytrace.reporting.posterior_figures import posterior_columns, predictive_figure, trace_rank_figure
from skytrace.reporting.style import COLOURS, SINGLE_COLUMN_INCHES
from skytrace.supernovae.fit_options import ModelOptions
from skytrace.supernovae.light_curve_model import model_flux_jy


def test_bins_are_weighted_means_with_the_error_of_the_mean():
    z = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    residual = np.array([0.0, 0.3, 0.6, 1.0, 1.0, 1.0])
    centre, mean, error = hubble_figures._binned(z, residual, np.array([0.1, 0.1, 0.2, 0.1, 0.1, 0.1]), 2)
    assert centre.tolist() == [0.2, 0.7]
    np.testing.assert_allclose(mean, [(0.0 + 0.3 + 0.6 / 4) / 2.25, 1.0])
    share = np.array([1.0, 1.0, 0.25]) / 2.25
    np.testing.assert_allclose(error, [np.sqrt(np.sum(share**2 * (residual[:3] - mean[0]) ** 2)), 0.0], atol=1e-15)


def test_the_lower_panel_holds_the_bins_without_outliers():
    rng = np.random.default_rng(1)
    n = 400
    z = np.sort(rng.uniform(0.05, 1.0, n))
    residual = np.full(n, 0.02)
    outlier = np.arange(n) % 40 == 0
    residual[outlier] = np.nan
    table = pd.DataFrame(
        {"z_hd": z, "mu_mag": 40.0 + np.nan_to_num(residual, nan=5.0), "mu_err_mag": 0.1, "outlier": outlier,
         "residual_flat_lcdm_mag": residual, "residual_qfd_anchored_mag": residual - 0.05}
    )  # fmt: skip
    figure = hubble_figures.hubble_figure(table)
    assert figure.get_size_inches()[0] == SINGLE_COLUMN_INCHES
    _, bottom = figure.axes
    points = next(line for line in bottom.lines if line.get_marker() == "o")
    np.testing.assert_allclose(points.get_ydata(), 0.02)
    (rival,) = (line for line in bottom.lines if line.get_color() == COLOURS["vermilion"])
    np.testing.assert_allclose(rival.get_ydata(), 0.05, err_msg="a rival 0.05 mag farther lies 0.05 above")


def test_a_law_within_the_error_is_not_drawn_as_worse():
    models = pd.DataFrame(
        {"posterior": ["flat_lcdm", "qfd_anchored", "qfd_seed"], "loo_difference": [0.0, 1.2, 278.0],
         "loo_difference_se": [0.0, 1.2, 29.0]}
    )  # fmt: skip
    (axis,) = hubble_figures.loo_figure(models).axes
    by_words = {box.get_label(): box.lines[0].get_xdata().tolist() for box in axis.containers}
    assert by_words == {"as good as the best": [0.0, -1.2], "worse": [-278.0]}
    assert [tick.get_text() for tick in axis.get_yticklabels()][1] == "QFD, three terms, anchored"


@pytest.fixture(scope="module")
def posterior():
    import arviz

    rng = np.random.default_rng(4)
    return arviz.from_dict(
        posterior={
            "nu": rng.uniform(8.0, 9.0, (2, 200)), "sigma_int": np.full((2, 200), 0.0921),
            "sigma_int_mag": rng.uniform(0.099, 0.101, (2, 200)), "c": rng.normal(size=(2, 200, 3)),
            "p": rng.normal(size=(2, 200, 3)),
        },
        coords={"component": [1, 2, 3]}, dims={"c": ["component"]},
    )  # fmt: skip


def test_dependent_coefficients_are_left_out_of_corner_and_trace(posterior):
    columns = posterior_columns(posterior)
    assert list(columns) == ["sigma_int_mag", "nu", "c[1]", "c[2]", "c[3]"]
    figure = trace_rank_figure(posterior, n_bins=10)
    assert len(figure.axes) == 10
    counts = [patch.get_data().values.sum() for patch in figure.axes[1].patches if hasattr(patch, "get_data")]
    assert counts == [200, 200]


def test_the_band_holds_data_that_the_posterior_made(posterior):
    rng = np.random.default_rng(9)
    error = rng.uniform(0.05, 0.3, 4000)
    residual = np.hypot(error, 0.1) * rng.standard_t(8.5, 4000)
    figure = predictive_figure(pd.DataFrame({"residual_mag": residual, "mu_err_mag": error}), posterior)
    right = figure.axes[1]
    low, high = np.array([path[:, 1] for path in right.collections[0].get_segments()]).T
    seen = right.lines[0].get_ydata()
    assert ((seen > low) & (seen < high)).sum() >= 7, "8 bins of 95 %"
    assert seen[-1] > 2.0 * seen[0], "scatter grows with the error"


def test_a_light_curve_is_drawn_with_the_model_that_made_it():
    days = np.arange(-10.0, 60.0, 5.0)
    z, t0, alpha = 0.2, 57000.0, -36.0
    mjd = t0 + days * (1.0 + z)
    flux = model_flux_jy(mjd, 640.0, z, t0, 0.1, 1.2, alpha)
    curves = pd.DataFrame(
        {"snid": "a", "mjd": mjd, "flux_jy": flux, "flux_err_jy": 1e-8, "wavelength_nm": 640.0, "band": "r"}
    )
    fits = pd.DataFrame({"snid": ["a"], "z_hel": z, "t0": t0, "a_plasma": 0.1, "beta": 1.2, "alpha": alpha})
    figure = light_curve_figure(curves, fits, ["a"], model=ModelOptions(), titles={"a": "one"})
    axis = figure.axes[0]
    line = next(line for line in axis.lines if len(line.get_xdata()) == 200)
    np.testing.assert_allclose(
        np.interp(days, line.get_xdata(), line.get_ydata()), 1e6 * flux, atol=0.02e6 * flux.max()
    )
    assert axis.get_title() == "one"
    empty = light_curve_figure(curves, fits, [], model=ModelOptions(), titles={}, absence="nobody")
    assert "nobody" in empty.axes[0].texts[0].get_text()


def test_a_truth_outside_the_draws_is_inside_its_panel(posterior):
    from skytrace.reporting.posterior_figures import corner_figure

    figure = corner_figure(posterior, truths={"nu": 12.0, "sigma_int_mag": 0.1})
    diagonal = figure.axes[1 * 5 + 1]  # nu, of five parameters
    low, high = diagonal.get_xlim()
    assert low < 8.0 < 12.0 < high
    assert any(line.get_color() == COLOURS["vermilion"] for line in diagonal.lines)
