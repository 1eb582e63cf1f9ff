"""An emulator that errs as if parameters were displaced: likelihood, mocks and posterior, in closed form."""

from functools import partial

import numpy as np
import pytest
from scipy.special import ndtri

from skytrace.spectra.inference_displacement import displaced_at, displaced_by, settled_target
from skytrace.spectra.inference_mocks import mock_of_draws
from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
from skytrace.spectra.inference_sampling import sample_nuts
from skytrace.spectra.inference_target import spectrum_target, target_covariance
from tests.spectra.linear_spectra import (
    ERROR_FRACTION,
    SLOPES,
    TRUTH,
    exact_posterior,
    linear_model,
    observation,
)

OPTIONS = LikelihoodOptions(excluded={}, inadequacy=False)
SIGMA = np.array([0.02, 0.05, 0.01])  # shares of a box that is 6 wide


@pytest.fixture(scope="module")
def model():
    return linear_model(displacement=SIGMA)


def test_what_a_displacement_does_is_the_derivative_times_it(model):
    z = ndtri((TRUTH + 3.0) / 6.0)
    moved = displaced_at(z, model=model, options=OPTIONS)[0]
    np.testing.assert_allclose(moved, (6.0 * SIGMA)[:, None] * SLOPES, atol=1e-9)
    delta = np.array([[0.03, -0.01, 0.2], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(displaced_by(model, np.tile(TRUTH, (2, 1)), delta), 6.0 * delta @ SLOPES, atol=1e-9)
    assert displaced_at(z, model=linear_model(), options=OPTIONS) is None


def test_posterior_is_wider_by_the_displacement_and_no_more(model):
    """In a linear model the displacement adds its own covariance to the posterior's: exactly."""
    luminosity, error = observation(model)
    sampler = SpectrumSamplerOptions(nuts_chains=4, nuts_warmup=300, nuts_draws=700, n_prior_draws=256, n_starts=2)
    given = {"model": model, "options": OPTIONS}
    target, mode = settled_target(
        partial(spectrum_target, luminosity, error, **given), **given, sampler=sampler
    )  # fmt: skip
    bare = spectrum_target(luminosity, error, model, options=OPTIONS)
    np.testing.assert_allclose(
        target_covariance(target) - target_covariance(bare), _moved(target), atol=1e-10
    )  # fmt: skip
    mean, narrow, _ = exact_posterior(bare, target_covariance(bare))
    expected = narrow + np.diag((6.0 * SIGMA) ** 2)
    drawn = sample_nuts(target, **given, sampler=sampler, mode=mode).table()
    np.testing.assert_allclose(np.cov(drawn.T), expected, atol=0.08 * np.trace(expected))
    assert np.abs((drawn.mean(axis=0) - mean) / np.sqrt(np.diag(expected))).max() < 0.15
    assert (np.sqrt(np.diag(expected)) / np.sqrt(np.diag(narrow)) > 1.3).any()


def _moved(target):
    """Covariance of merged y by displacement alone."""
    design = (6.0 * SIGMA)[:, None] * (SLOPES[:, target.rows] * target.weights).sum(axis=-1)
    return design.T @ design


def test_mocks_scatter_by_the_displacement_too(model):
    unit = np.repeat([(TRUTH + 3.0) / 6.0], 8000, axis=0)
    found = []
    for one in (model, linear_model()):
        rng = np.random.default_rng(3)
        luminosity, _ = mock_of_draws(unit, ERROR_FRACTION, model=one, options=OPTIONS, rng=rng)
        target = spectrum_target(luminosity[0], ERROR_FRACTION * luminosity[0], one, options=OPTIONS)
        found.append(np.cov((one.stretch(luminosity)[:, target.rows] * target.weights).sum(axis=-1).T))
    expected = _moved(target)
    assert np.trace(found[0] - found[1]) == pytest.approx(np.trace(expected), rel=0.1)
    assert np.abs(found[0] - found[1] - expected).max() < 0.1 * np.abs(expected).max()
