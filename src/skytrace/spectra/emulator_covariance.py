"""The covariance of an emulator's residuals where models are fewer than bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["likely_covariance"]

#: Weights of the stationary correlation that are tried, and in how many parts of the models.
_WEIGHTS, _FOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0), 5
_MERGED, _FLOOR = 4, 1e-8


def likely_covariance(residual: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance (m, m) about zero under which residuals (h, m) that it was not made from are likeliest.

    A mean of the sample's own covariance, which knows where errors are alike but is blind where models are fewer than
    bins, and of its variances with a correlation that depends on the distance of two bins alone. The weight between the
    two is that of highest likelihood in cross-validation, on means over four bins, as spectra are compared; and the
    whole is made larger until the residuals left out have the chi-square that it says (as Hartlap, Simon & Schneider
    2007, A&A 464, 399, do for a sample's covariance alone).
    """
    folds = np.arange(len(residual)) % min(_FOLDS, len(residual))
    merged = _merging(residual.shape[1])
    kept = [(_sample_and_stationary(residual[folds != fold]), residual[folds == fold]) for fold in np.unique(folds)]
    tried = np.array([_left_out(kept, merged, weight) for weight in _WEIGHTS])
    best = int(np.argmax(tried[:, 0]))
    return max(1.0, float(tried[best, 1])) * _mixed(*_sample_and_stationary(residual), _WEIGHTS[best])


def _left_out(
    kept: list[tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]],
    merged: NDArray[np.float64],
    weight: float,
) -> tuple[float, float]:
    """Log likelihood of a merged residual left out, the covariance scaled at its best; and that factor."""
    squares, determinants = [], []
    for learnt, unseen in kept:
        covariance = merged @ _mixed(*learnt, weight) @ merged.T
        size, vectors = np.linalg.eigh(covariance)
        size = np.maximum(size, _FLOOR * size[-1])
        seen = unseen @ merged.T @ vectors
        squares.append((seen**2 / size).sum(axis=1))
        determinants.append(np.log(size).sum())
    bins = len(merged)
    factor = max(float(np.concatenate(squares).mean()) / bins, np.finfo(float).tiny)
    return -0.5 * (bins * (np.log(factor) + 1.0) + float(np.mean(determinants))), factor


def _mixed(sample: NDArray[np.float64], stationary: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    return (1.0 - weight) * sample + weight * stationary


def _sample_and_stationary(residual: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The residuals' covariance, and that of their variances with a stationary correlation."""
    from scipy.linalg import toeplitz

    sample = residual.T @ residual / len(residual)
    sigma = np.sqrt(np.maximum(np.diag(sample), np.finfo(float).tiny))
    alike = sample / np.outer(sigma, sigma)
    stationary = toeplitz([np.diagonal(alike, lag).mean() for lag in range(len(sigma))])
    size, vectors = np.linalg.eigh(stationary)  # means of noisy diagonals need not be a correlation
    stationary = (vectors * np.maximum(size, _FLOOR)) @ vectors.T
    unit = np.sqrt(np.diag(stationary))
    return sample, stationary * np.outer(sigma / unit, sigma / unit)


def _merging(bins: int) -> NDArray[np.float64]:
    """(n, bins): means over runs of four bins, or the bins themselves where there are few."""
    run = _MERGED if bins >= 4 * _MERGED else 1
    return np.kron(np.eye(bins // run), np.full((1, run), 1.0 / run)) @ np.eye(bins // run * run, bins)
