"""The population's density seen as a Gaussian at its mode, and draws weighted by how far it is from one.

Importance sampling from a multivariate Student-t of the Laplace approximation's shape; the weights are smoothed and
judged by the Pareto k-hat of Vehtari, Simpson, Gelman, Yao & Gabry 2024 (PSIS, J. Mach. Learn. Res. 25, 72). Everything
here is a pure JAX function of one data set; ``jax.lax.map`` or ``jax.vmap`` makes it many. sigma_int has
a sign that means nothing, so the proposal is folded: its density is added up over both signs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from skytrace.supernovae.population import log_density, parameter_names, start

if TYPE_CHECKING:
    from skytrace.supernovae.population import PopulationData
    from skytrace.supernovae.population_options import PopulationOptions

__all__ = ["LaplaceApproximation", "importance_draws", "laplace_approximation", "whitened_log_density"]

_STEPS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 1e-3)  # of a Newton step, the best of which is taken
_MAX_NEWTON, _GAIN = 60, 1e-10
#: The posterior reaches further than its curvature says towards sigma_int = 0 (the data know sigma_int^2 + sigma_i^2)
#: and towards normal tails: this share of the draws each is stretched so many times along the direction in which
#: sigma_int, and the last parameter (the tail), vary.
_WIDE_SHARE, _WIDE = 0.15, 3.0


class LaplaceApproximation(NamedTuple):
    """mode (d,). root (d, d): theta = mode + root @ w has the density's own covariance where w has the identity.
    gain: the density still to be gained by a Newton step from the mode (an estimate); small where it is one. n_steps.
    """

    mode: Any
    root: Any
    gain: Any
    n_steps: Any


@partial(jax.jit, static_argnames=("options",))
def laplace_approximation(data: PopulationData, *, options: PopulationOptions) -> LaplaceApproximation:
    """Mode and curvature by Newton's method with a line search; directions of wrong curvature are climbed, too."""

    def value(theta: Any) -> Any:
        return log_density(theta, data, options=options)

    def curvature(theta: Any) -> tuple[Any, Any, Any]:
        eigenvalues, vectors = jnp.linalg.eigh(-jax.hessian(value)(theta))
        size = jnp.maximum(jnp.abs(eigenvalues), 1e-3)
        along = vectors.T @ jax.grad(value)(theta)
        return size, vectors, along

    def climb(state: tuple[Any, Any, Any, Any]) -> tuple[Any, Any, Any, Any]:
        theta, best, _, count = state
        size, vectors, along = curvature(theta)
        direction = vectors @ (along / size)
        tried = theta + jnp.asarray(_STEPS)[:, None] * direction
        values = jnp.nan_to_num(jax.lax.map(value, tried), nan=-jnp.inf)
        first = jnp.argmax(values)
        better = values[first] > best
        theta = jnp.where(better, tried[first], theta)
        gain = jnp.where(better, 0.5 * (along**2 / size).sum(), 0.0)
        return theta, jnp.maximum(best, values[first]), gain, count + 1

    theta = start(data, options=options)
    state = (theta, value(theta), jnp.asarray(jnp.inf, dtype=theta.dtype), 0)
    theta, _, _, count = jax.lax.while_loop(lambda s: (s[2] > _GAIN) & (s[3] < _MAX_NEWTON), climb, state)
    size, vectors, along = curvature(theta)
    return LaplaceApproximation(theta, vectors / jnp.sqrt(size), 0.5 * (along**2 / size).sum(), count)


def whitened_log_density(
    w: Any, data: PopulationData, approximation: LaplaceApproximation, *, options: PopulationOptions
) -> Any:
    """``log_density`` at mode + root @ w, which is near to a standard normal one in w (d,)."""
    return log_density(approximation.mode + approximation.root @ w, data, options=options)


@partial(jax.jit, static_argnames=("options", "n_draws", "df", "batch_size"))
def importance_draws(
    key: Any,
    data: PopulationData,
    approximation: LaplaceApproximation,
    *,
    options: PopulationOptions,
    n_draws: int,
    df: float = 5.0,
    batch_size: int = 16,
) -> tuple[Any, Any]:
    """Draws (n_draws, d) of theta from the folded Student-t proposal, and the log of their importance weights, not
    smoothed and not normalised. batch_size: draws whose density is taken at once (a cache's choice).
    """
    d = approximation.mode.shape[0]
    first, second = jax.random.split(key)
    normal = jax.random.normal(first, (n_draws, d), dtype=approximation.mode.dtype)
    chi2 = 2.0 * jax.random.gamma(second, 0.5 * df, (n_draws, 1), dtype=approximation.mode.dtype)
    sigma = parameter_names(options).index("sigma_int")
    rows = approximation.root[jnp.array([sigma, d - 1])]
    along = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)  # (2, d): directions in which these two vary
    w = normal * jnp.sqrt(df / chi2)
    n_wide = int(_WIDE_SHARE * n_draws)
    part = jnp.arange(n_draws)[:, None] // n_wide == jnp.arange(2)  # draws stretched along the first, the second
    w = w + (_WIDE - 1.0) * (jnp.where(part, w @ along.T, 0.0) @ along)
    theta = approximation.mode + w @ approximation.root.T
    sign = np.ones(d)
    sign[sigma] = -1.0
    inverse = jnp.linalg.inv(approximation.root)
    shares = jnp.log(jnp.array([1.0 - 2.0 * n_wide / n_draws, *(n_wide / n_draws / _WIDE,) * 2]))

    def log_proposal(theta: Any) -> Any:
        w = (theta - approximation.mode) @ inverse.T
        square = (w**2).sum(axis=1, keepdims=True)
        squares = jnp.concatenate([square, square - (w @ along.T) ** 2 * (1.0 - 1.0 / _WIDE**2)], axis=1)
        return jax.nn.logsumexp(shares - 0.5 * (df + d) * jnp.log1p(squares / df), axis=1)

    constant = gammaln(0.5 * (df + d)) - gammaln(0.5 * df) - 0.5 * d * jnp.log(df * jnp.pi)
    constant = constant + jnp.linalg.slogdet(inverse)[1]
    proposal = constant + jnp.logaddexp(log_proposal(theta), log_proposal(theta * jnp.asarray(sign)))
    density = jax.lax.map(lambda one: log_density(one, data, options=options), theta, batch_size=batch_size)
    return theta, jnp.log(2.0) + density - proposal
