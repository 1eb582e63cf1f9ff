"""The tail nu of Student-t noise: its coordinate in theta, its prior and draws from that.

The coordinate is log(nu) or a soft 1/nu (``tail_coordinate``); for a uniform prior, the logit of where nu, or 1/nu,
lies between its ends. The posterior of nu is the same in either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from skytrace.supernovae.population_options import PopulationOptions

__all__ = ["log_gamma", "sample_tail", "tail_and_log_prior", "tail_parameter", "tail_start"]


def log_gamma(x: Any, xp: Any = jnp) -> Any:
    """ln Gamma(x), x > 0. xp: jax.numpy or numpy."""
    if xp is np:
        from scipy.special import gammaln
    else:
        from jax.scipy.special import gammaln
    return gammaln(x)


def tail_parameter(entry: Any, *, options: PopulationOptions, xp: Any = jnp) -> Any:
    """nu of its coordinate. xp: jax.numpy or numpy."""
    inverse = options.tail_coordinate == "inverse"
    if options.tail_prior == "gamma":
        return 1.0 / xp.logaddexp(entry, 0.0) if inverse else xp.exp(entry)
    low, high = options.tail_low, options.tail_high
    share = 1.0 / (1.0 + xp.exp(-entry))
    return 1.0 / (1.0 / high + (1.0 / low - 1.0 / high) * share) if inverse else low + (high - low) * share


def tail_and_log_prior(entry: Any, *, options: PopulationOptions) -> tuple[Any, Any]:
    """nu, and the log prior density of its coordinate."""
    nu = tail_parameter(entry, options=options)
    inverse = options.tail_coordinate == "inverse"
    if options.tail_prior == "gamma":
        a, b = options.tail_shape, options.tail_rate
        log_jacobian = 2.0 * jnp.log(nu) - jax.nn.softplus(-entry) if inverse else entry
        norm = a * float(np.log(b)) - float(log_gamma(a, np))
        return nu, norm + (a - 1.0) * jnp.log(nu) - b * nu + log_jacobian
    low, high = options.tail_low, options.tail_high
    log_share = -jax.nn.softplus(entry) - jax.nn.softplus(-entry)
    if inverse:
        return nu, 2.0 * jnp.log(nu) + log_share + float(np.log((1.0 / low - 1.0 / high) / (high - low)))
    return nu, log_share


def tail_start(options: PopulationOptions) -> float:
    """The coordinate of nu = 8, or of the middle of its range."""
    if options.tail_prior == "uniform":
        return 0.0
    return float(np.log(np.expm1(1.0 / 8.0)) if options.tail_coordinate == "inverse" else np.log(8.0))


def sample_tail(key: Any, n: int, *, options: PopulationOptions) -> Any:
    """Coordinates (n,) drawn from nu's prior."""
    inverse = options.tail_coordinate == "inverse"
    if options.tail_prior == "gamma":
        nu = jax.random.gamma(key, options.tail_shape, (n,)) / options.tail_rate
        return jnp.log(jnp.expm1(1.0 / nu)) if inverse else jnp.log(nu)
    low, high = options.tail_low, options.tail_high
    nu = jax.random.uniform(key, (n,), minval=low, maxval=high)
    share = (1.0 / nu - 1.0 / high) / (1.0 / low - 1.0 / high) if inverse else (nu - low) / (high - low)
    return jnp.log(share) - jnp.log1p(-share)
