"""Covariances of an observed spectrum about a model's, and the coordinates in which the fitted one is diagonal.

C(s, a) = N + s^2 E + a^2 K + sigma^2 g g^T: noise N; the emulator's error E, s its scale; inadequacy K of unit
amplitude; the common factor of all fluxes, g = dy / dln L = tanh(y). For given s, with B = N + s^2 E, the generalised
eigenproblem K v = lambda B v gives (B + a^2 K)^-1 and its determinant for every a at the cost of one product with a
matrix; g, which is the model's, is added in the likelihood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytrace.spectra.wavelengths import SPEED_OF_LIGHT_KM_S

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Whitening", "inadequacy_kernel", "scale_nodes", "whiten"]


class Whitening(NamedTuple):
    """matrix (k, k) with matrix B matrix^T = 1 and matrix K matrix^T = diag(eigenvalues), eigenvalues (k,) >= 0, and
    log_determinant of B.
    """

    matrix: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]
    log_determinant: float


def inadequacy_kernel(wavelength_angstrom: ArrayLike, length_km_s: float, kernel: str) -> NDArray[np.float64]:
    """Covariance (m, m) of a Gaussian process of unit amplitude in ln(wavelength), with correlation length
    length_km_s / c (Rasmussen & Williams 2006, eq. 4.9 and 4.17). kernel: "squared" or "matern32".
    """
    x = np.log(np.asarray(wavelength_angstrom, dtype=np.float64)) * SPEED_OF_LIGHT_KM_S / length_km_s
    distance = np.abs(x[:, None] - x[None, :])
    if kernel == "squared":
        return np.exp(-0.5 * distance**2)
    return (1.0 + np.sqrt(3.0) * distance) * np.exp(-np.sqrt(3.0) * distance)


def whiten(base: NDArray[np.float64], kernel: NDArray[np.float64]) -> Whitening:
    """The coordinates in which B = ``base`` (k, k), positive definite, is 1 and ``kernel`` (k, k) is diagonal."""
    from scipy.linalg import eigh, solve_triangular

    root = np.linalg.cholesky(base)
    half = solve_triangular(root, kernel, lower=True)
    eigenvalues, vectors = eigh(solve_triangular(root, half.T, lower=True))
    matrix = solve_triangular(root, vectors, lower=True, trans="T").T
    return Whitening(matrix, np.maximum(eigenvalues, 0.0), float(2.0 * np.log(np.diag(root)).sum()))


def scale_nodes(lowest: float, highest: float, count: int) -> NDArray[np.float64]:
    """ln(scale) (<= count,) at the Chebyshev nodes between two scales, ends included; one where they are the same."""
    low, high = np.log(lowest), np.log(highest)
    if count == 1 or high - low < 1e-6:
        return np.array([0.5 * (low + high)])
    return 0.5 * (low + high) - 0.5 * (high - low) * np.cos(np.pi * np.arange(count) / (count - 1))
