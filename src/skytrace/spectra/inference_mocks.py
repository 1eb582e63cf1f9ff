"""Simulated observations with the likelihood's own noise: what posteriors are tested on, and what SBI learns from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.spectra.inference_covariance import inadequacy_kernel
from skytrace.spectra.inference_density import from_unit
from skytrace.spectra.inference_displacement import displaced_by

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions

__all__ = ["mock_of_draws", "mock_of_spectra"]


def mock_of_draws(
    unit: NDArray[np.float64], error_fraction: ArrayLike, *, model: InferenceModel, options: LikelihoodOptions,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Luminosity (n, m) and its error of observations at unit (n, D): the emulator's mean, its own error, inadequacy of
    the draw's amplitude (its length drawn from ``options.lengths_km_s``), then as ``mock_of_spectra``.
    """
    parameters, amplitude = from_unit(unit, model, options, xp=np)
    stretched, scale = model.predict(parameters)
    n, m = stretched.shape
    components = rng.standard_normal((n, len(model.error_components))) @ model.error_components
    white = rng.standard_normal((n, m)) * np.sqrt(model.error_variance)
    moved = displaced_by(model, parameters, rng.standard_normal(parameters.shape) * model.displacement)
    stretched = stretched + scale[:, None] * (components + white + moved)
    if options.inadequacy:
        which = rng.integers(len(options.lengths_km_s), size=n)
        for number, length in enumerate(options.lengths_km_s):
            kernel = inadequacy_kernel(model.wavelength_angstrom, length, options.kernel)
            root = np.linalg.cholesky(kernel + 1e-9 * np.eye(m))
            rows = which == number
            stretched[rows] += amplitude[rows, None] * (rng.standard_normal((int(rows.sum()), m)) @ root.T)
    return mock_of_spectra(model.unstretch(stretched), error_fraction, options=options, rng=rng)


def mock_of_spectra(
    luminosity: ArrayLike, error_fraction: ArrayLike, *, options: LikelihoodOptions, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Luminosity (n, m) and its error of observations of true spectra (n, m): each times a common factor of the
    likelihood's scatter, with independent noise of error_fraction (m,) of the flux; NaN there masks a bin.

    Raises CatalogueError for an error that is not positive.
    """
    true, fraction = np.atleast_2d(np.asarray(luminosity, dtype=np.float64)), np.asarray(error_fraction, np.float64)
    if (fraction <= 0.0).any():
        raise CatalogueError("error_fraction of an observation must be above 0, or NaN where it is masked")
    factor = np.exp(options.log_scale_sigma * rng.standard_normal(len(true)))[:, None]
    error = np.abs(true) * factor * fraction
    noise = np.where(np.isfinite(error), error, 0.0) * rng.standard_normal(true.shape)
    return np.where(np.isfinite(error), true * factor + noise, np.nan), error
