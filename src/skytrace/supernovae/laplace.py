"""The population's density seen as a Gaussian at its mode, and draws weighted by how far it is from one.

Importance sampling from a multivariate Student-t of the Laplace approximation's shape; the weights are smoothed and
judged by the Pareto k-hat of Vehtari, Simpson, Gelman, Yao & Gabry 2024 (PSIS, J. Mach. Learn. Res. 25, 72). What is
compiled is the density and its gradient alone (``compiled_density``): the climb, the curvature (differences of the
gradient, good to 1e-7 of itself) and the draws are numpy. sigma_int has a sign that means nothing, so the proposal is
folded: its density is added up over both signs. Call inside ``with jax.enable_x64(True)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import gammaln, logsumexp

from skytrace.supernovae.compiled_density import log_densities, values_and_gradients
from skytrace.supernovae.population import parameter_names, start

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.supernovae.population import PopulationData
    from skytrace.supernovae.population_options import PopulationOptions

__all__ = ["LaplaceApproximation", "importance_draws", "laplace_approximation"]

_STEPS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 1e-3)  # of a Newton step, the best of which is taken
_MAX_NEWTON, _GAIN = 60, 1e-10
_DIFFERENCE = 1e-4  # of a parameter's standard deviation at fixed others: the step of the gradient's differences
#: The posterior reaches further than its curvature says towards sigma_int = 0 (the data know sigma_int^2 + sigma_i^2)
#: and towards normal tails: this share of the draws each is stretched so many times along the direction in which
#: sigma_int, and the last parameter (the tail), vary.
_WIDE_SHARE, _WIDE = 0.15, 3.0


class LaplaceApproximation(NamedTuple):
    """mode (d,). root (d, d): theta = mode + root @ w has the density's own covariance where w has the identity.
    gain: the density still to be gained by a Newton step from the mode (an estimate); small where it is one. n_steps.
    """

    mode: NDArray[np.float64]
    root: NDArray[np.float64]
    gain: float
    n_steps: int


def laplace_approximation(data: PopulationData, *, options: PopulationOptions) -> LaplaceApproximation:
    """Mode and curvature by Newton's method with a line search; directions of wrong curvature are climbed, too."""
    theta = start(data, options=options)
    width = np.full(len(theta), 0.1)
    rows = max(2 * len(theta) + 1, len(_STEPS))  # of every call: one compiled program
    for count in range(_MAX_NEWTON + 1):
        value, gradient, hessian = _curvature(theta, width, data, options, rows)
        eigenvalues, vectors = np.linalg.eigh(-hessian)
        size = np.maximum(np.abs(eigenvalues), 1e-3)
        along = vectors.T @ gradient
        gain = 0.5 * float((along**2 / size).sum())
        width = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1.0))
        if gain <= _GAIN or count == _MAX_NEWTON:
            break
        tried = np.repeat(theta[None], rows, axis=0)
        tried[: len(_STEPS)] += np.array(_STEPS)[:, None] * (vectors @ (along / size))
        values = np.asarray(values_and_gradients(tried, data, options=options)[0])[: len(_STEPS)]
        best = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
        if not values[best] > value:
            break
        theta = tried[best]
    return LaplaceApproximation(theta, vectors / np.sqrt(size), gain, count)


def importance_draws(
    data: PopulationData,
    approximation: LaplaceApproximation,
    *,
    options: PopulationOptions,
    n_draws: int,
    df: float = 5.0,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draws (n_draws, d) of theta from the folded Student-t proposal, and the log of their importance weights, not
    smoothed and not normalised.
    """
    d = len(approximation.mode)
    sigma = parameter_names(options).index("sigma_int")
    rows = approximation.root[[sigma, d - 1]]
    along = rows / np.linalg.norm(rows, axis=1, keepdims=True)  # (2, d): directions in which these two vary
    w = rng.standard_normal((n_draws, d)) * np.sqrt(df / rng.chisquare(df, (n_draws, 1)))
    n_wide = int(_WIDE_SHARE * n_draws)
    part = np.arange(n_draws)[:, None] // max(n_wide, 1) == np.arange(2)  # stretched along the first, the second
    w = w + (_WIDE - 1.0) * (np.where(part, w @ along.T, 0.0) @ along)
    theta = approximation.mode + w @ approximation.root.T
    sign = np.ones(d)
    sign[sigma] = -1.0
    inverse = np.linalg.inv(approximation.root)
    shares = np.log([1.0 - 2.0 * n_wide / n_draws, *(n_wide / n_draws / _WIDE,) * 2])

    def log_proposal(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        w = (theta - approximation.mode) @ inverse.T
        square = (w**2).sum(axis=1, keepdims=True)
        squares = np.concatenate([square, square - (w @ along.T) ** 2 * (1.0 - 1.0 / _WIDE**2)], axis=1)
        return np.asarray(logsumexp(shares - 0.5 * (df + d) * np.log1p(squares / df), axis=1))

    constant = gammaln(0.5 * (df + d)) - gammaln(0.5 * df) - 0.5 * d * np.log(df * np.pi)
    constant = constant + np.linalg.slogdet(inverse)[1]
    proposal = constant + np.logaddexp(log_proposal(theta), log_proposal(theta * sign))
    density = np.asarray(log_densities(theta, data, options=options))
    return theta, np.log(2.0) + density - proposal


def _curvature(
    theta: NDArray[np.float64], width: NDArray[np.float64], data: PopulationData, options: PopulationOptions, rows: int
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Value, gradient (d,) and Hessian (d, d) at theta (d,), the last by central differences of gradients."""
    d = len(theta)
    around = np.repeat(theta[None], rows, axis=0)
    step = _DIFFERENCE * np.diag(width)
    around[1 : d + 1] += step
    around[d + 1 : 2 * d + 1] -= step
    values, gradients = map(np.asarray, values_and_gradients(around, data, options=options))
    apart = (around[1 : d + 1] - around[d + 1 : 2 * d + 1]).diagonal()
    hessian = (gradients[1 : d + 1] - gradients[d + 1 : 2 * d + 1]) / apart[:, None]
    return float(values[0]), gradients[0], 0.5 * (hessian + hessian.T)
