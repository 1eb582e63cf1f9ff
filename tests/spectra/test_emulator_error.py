"""The emulator's own error: a known covariance and scale are found again from residuals."""

import numpy as np
import pytest

from skytrace.errors import CatalogueError
from skytrace.spectra.emulator_error import error_scale, fit_error


def residuals(n, m, seed, share=0.0):
    """(residuals, spreads, true covariance): two smooth components, white noise, heavier where the spread is large."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0.0, 1.0, m)
    components = np.stack([0.05 * np.sin(np.pi * x), 0.02 * np.cos(3.0 * np.pi * x)])
    spread = np.exp(0.8 * rng.standard_normal(n))
    scale = error_scale(spread, share, float(np.sqrt((spread**2).mean())))
    noise = rng.standard_normal((n, 2)) @ components + 0.01 * rng.standard_normal((n, m))
    return scale[:, None] * noise, spread, components.T @ components + 1e-4 * np.eye(m)


def test_covariance_of_many_residuals_is_the_one_they_were_drawn_from():
    left, spread, true = residuals(20_000, 40, seed=1)
    error = fit_error(left, spread, components=2)
    found = error.components.T @ error.components + np.diag(error.variance)
    np.testing.assert_allclose(found, true, atol=0.03 * true.max())
    assert error.share < 0.05


def test_diagonal_is_the_mean_square_times_one_factor_whatever_the_rank():
    left, _, _ = residuals(60, 40, seed=2)
    factors = []
    for rank in (1, 3, 200):
        error = fit_error(left, np.zeros(60), components=rank)
        total = (error.components**2).sum(axis=0) + error.variance
        factor = total / (left**2).mean(axis=0)
        np.testing.assert_allclose(factor, factor[0], rtol=1e-8)
        factors.append(factor[0])
    np.testing.assert_allclose(factors, factors[0], rtol=1e-8)
    assert 1.0 <= factors[0] < 1.3


@pytest.mark.parametrize("models", [30, 100])
def test_residuals_left_out_have_the_chi_square_that_the_covariance_says(models):
    """Errors that vary smoothly and differently where wavelengths differ, from fewer models than there are bins. The
    sample's leading components with a white remainder, which this replaced, are several times too sure.
    """
    rng = np.random.default_rng(6)
    bins = 200
    place = np.arange(bins)
    true = np.exp(-np.abs(place[:, None] - place) / 8.0) * np.outer(0.5 + place / bins, 0.5 + place / bins)
    root = np.linalg.cholesky(true)
    learnt, unseen = (rng.standard_normal((n, bins)) @ root.T for n in (models, 2000))
    merged = np.kron(np.eye(bins // 4), np.full((1, 4), 0.25))

    def chi_square(covariance):
        inverse = np.linalg.inv(merged @ covariance @ merged.T)
        return np.einsum("ij,jk,ik->i", unseen @ merged.T, inverse, unseen @ merged.T).mean() / len(merged)

    error = fit_error(learnt, np.zeros(models), components=bins)
    assert chi_square(error.components.T @ error.components + np.diag(error.variance)) == pytest.approx(1.0, abs=0.15)
    _, singular, vectors = np.linalg.svd(learnt / np.sqrt(models), full_matrices=False)
    leading = singular[:20, None] * vectors[:20]
    white = np.diag((learnt**2).mean(axis=0) - (leading**2).sum(axis=0))
    assert chi_square(leading.T @ leading + white) > 1.8


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_share_that_spread_explains_is_found(share):
    left, spread, _ = residuals(4000, 40, seed=3, share=share)
    assert fit_error(left, spread, components=2).share == pytest.approx(share, abs=0.1)


def test_scaled_intervals_cover_where_unscaled_ones_do_not():
    left, spread, _ = residuals(4000, 40, seed=4, share=0.9)
    error = fit_error(left, spread, components=2)
    sigma = np.sqrt((error.components**2).sum(axis=0) + error.variance)
    bold = spread > np.percentile(spread, 95.0)
    scaled = np.abs(left[bold]) <= sigma * error_scale(spread, error.share, error.typical_spread)[bold, None]
    assert scaled.mean() == pytest.approx(0.683, abs=0.04)
    assert (np.abs(left[bold]) <= sigma).mean() < 0.5


def test_scale_is_one_in_the_mean_square():
    spread = np.exp(np.random.default_rng(5).standard_normal(1000))
    scale = error_scale(spread, 0.6, float(np.sqrt((spread**2).mean())))
    assert (scale**2).mean() == pytest.approx(1.0, rel=1e-12)


def test_one_model_has_no_covariance():
    with pytest.raises(CatalogueError, match="at least two"):
        fit_error(np.ones((1, 5)), np.ones(1), components=2)
