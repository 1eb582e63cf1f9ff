"""The mode of a spectrum's posterior and its curvature there: where samplers start, and the coordinates they use.

Newton's method from the best of many draws of the prior, all starts at once; directions of wrong curvature are climbed,
too. Everything is in z (``inference_density``), where the prior is a standard normal.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri

from skytrace.compute.compiled import compiled_by_one
from skytrace.spectra.inference_density import log_densities, log_density, prior_draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
    from skytrace.spectra.inference_target import SpectrumTarget

__all__ = ["PosteriorMode", "climb", "find_mode", "in_batches", "likely_starts"]

_STEPS = (1.0, 0.5, 0.25, 0.1, 0.03, 0.01)
_NEWTON, _LONGEST_STEP, _LEAST_GAIN = 30, 2.0, 1e-7
_LEAST_CURVATURE = 0.3  # of -ln density in z, where the prior alone has 1: a wall can halve it, not end it
_SAME_MODE, _BATCH = 1.0, 256


class PosteriorMode(NamedTuple):
    """z (D,): the mode. root (D, D): z = mode + root @ w has the density's own covariance where w has the identity.
    log_density at the mode. starts_at_mode: share of the starts that ended within 1 of it. ends (s, D), end_densities
    (s,): of all starts, the best first.
    """

    z: NDArray[np.float64]
    root: NDArray[np.float64]
    log_density: float
    starts_at_mode: float
    ends: NDArray[np.float64]
    end_densities: NDArray[np.float64]


def find_mode(
    target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions, sampler: SpectrumSamplerOptions,
    starts: NDArray[np.float64] | None = None,
) -> PosteriorMode:  # fmt: skip
    """The best of ``sampler.n_starts`` climbs from the best of ``sampler.n_prior_draws`` draws of the prior, or from
    starts (s, D) in z.
    """
    with jax.enable_x64(True):
        if starts is None:
            starts = likely_starts(target, model=model, options=options, sampler=sampler)
        ends, density, roots = (np.asarray(part) for part in climb(starts, target, model=model, options=options))
    order = np.argsort(-np.nan_to_num(density, nan=-np.inf), kind="stable")
    best = order[0]
    share = float((density > density[best] - _SAME_MODE).mean())
    return PosteriorMode(ends[best], roots[best], float(density[best]), share, ends[order], density[order])


def likely_starts(
    target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions, sampler: SpectrumSamplerOptions
) -> NDArray[np.float64]:
    """z (s, D) of the densest of the prior's draws. Call inside ``with jax.enable_x64(True)``."""
    rng = np.random.default_rng([sampler.seed, 1])
    drawn = prior_draws(sampler.n_prior_draws, target, model=model, options=options, rng=rng)
    z = ndtri(np.clip(drawn, 1e-6, 1.0 - 1e-6))
    values = in_batches(lambda rows: log_densities(rows, target, model=model, options=options), z)
    return z[np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[: sampler.n_starts]]


def in_batches(function: Any, rows: NDArray[np.float64], *, batch: int = _BATCH) -> NDArray[np.float64]:
    """``function`` (n,) of rows (n, D), ``batch`` rows at a time, so that one program is compiled."""
    size = min(batch, len(rows))
    out = []
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        filled = np.concatenate([part, np.repeat(part[:1], size - len(part), axis=0)])
        out.append(np.asarray(function(filled))[: len(part)])
    return np.concatenate(out)


@compiled_by_one
@partial(jax.jit, static_argnames=("model", "options"))
def climb(z: Any, target: Any, *, model: Any, options: Any) -> tuple[Any, Any, Any]:
    """Local maxima (s, D) from z (s, D), the log density (s,) and the root (s, D, D) of the curvature there."""

    def slope(z: Any) -> tuple[Any, Any]:
        gradient = jax.grad(lambda at: log_density(at[None], target, model=model, options=options)[0])(z)
        return gradient, gradient

    def curved(matrix: Any) -> tuple[Any, Any]:
        size, vectors = jnp.linalg.eigh(matrix)
        return jnp.maximum(jnp.abs(size), _LEAST_CURVATURE), vectors

    def goes_on(state: Any) -> Any:
        return (state[0] < _NEWTON) & (state[-1] > _LEAST_GAIN)

    def advance(state: Any) -> Any:
        """One step of Newton's method, shortened until it climbs, and the slopes where it ends."""
        number, z, best, gradient, matrix, _ = state
        size, vectors = curved(matrix)
        step = vectors @ ((vectors.T @ gradient) / size)
        step = step * jnp.minimum(1.0, _LONGEST_STEP / (jnp.linalg.norm(step) + 1e-12))
        tried = z + jnp.array(_STEPS)[:, None] * step
        values = jnp.nan_to_num(log_density(tried, target, model=model, options=options), nan=-jnp.inf)
        at = jnp.argmax(values)
        better = values[at] > best
        gain = jnp.where(better, values[at] - best, 0.0)
        z, best = jnp.where(better, tried[at], z), jnp.where(better, values[at], best)
        hessian, gradient = jax.jacfwd(slope, has_aux=True)(z)
        return number + 1, z, best, gradient, -hessian, gain

    def one(z: Any) -> tuple[Any, Any, Any]:
        """The climb from one start."""
        # the first step, along no gradient, stays at the start: all that is compiled is compiled once, in the loop
        start = (0, z, -jnp.inf, jnp.zeros_like(z), jnp.eye(len(z), dtype=z.dtype), jnp.inf)
        _, end, best, _, matrix, _ = jax.lax.while_loop(goes_on, advance, start)
        size, vectors = curved(matrix)
        return end, best, vectors / jnp.sqrt(size)

    return jax.vmap(one)(z)
