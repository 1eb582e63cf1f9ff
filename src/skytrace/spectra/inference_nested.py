"""Nested sampling (Skilling 2006) of the same density by dynesty (Speagle 2020): posterior and evidence.

dynesty evolves one point at a time. Here its queue of points walks together, in one compiled program of batches: the
pool that it hands the queue to does that. The walk is dynesty's own ``rwalk``: steps in an ellipsoid's ball, kept where
the likelihood is above the threshold.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from skytrace.compute.compiled import compiled_by_one
from skytrace.spectra.inference_density import (
    coordinate_names,
    log_likelihood,
    log_posteriors,
    log_prior,
    log_prior_mass,
)
from skytrace.spectra.inference_posterior import SpectrumPosterior, with_diagnostics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
    from skytrace.spectra.inference_target import SpectrumTarget

__all__ = ["sample_nested"]

_CHAINS = 4


def sample_nested(
    target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions, sampler: SpectrumSamplerOptions
) -> SpectrumPosterior:
    """dynesty's static nested sampling with ``sampler.live`` points; diagnostics log_evidence and its error, iterations
    and likelihood_calls. The evidence is that of the prior within what is physical (``log_prior_mass``).
    """
    import dynesty

    d = len(coordinate_names(model, options))
    walks = sampler.walks or d + 20
    with jax.enable_x64(True):

        def log_like(unit: NDArray[np.float64]) -> float:
            value = float(log_posteriors(unit[None], target, model=model, options=options)[0])
            return value if np.isfinite(value) else -1e300

        pool = _WalkingPool(target, model, options, walks, sampler.queue)
        nested = dynesty.NestedSampler(
            log_like, _as_it_is, d, nlive=sampler.live, bound="multi", sample="rwalk", walks=walks, pool=pool,
            queue_size=sampler.queue, use_pool={"prior_transform": False, "loglikelihood": False,
            "propose_point": True, "update_bound": False}, rstate=np.random.default_rng([sampler.seed, 3]),
        )  # fmt: skip
        nested.run_nested(dlogz=sampler.dlogz, print_progress=False)
        results = nested.results
    rng = np.random.default_rng([sampler.seed, 4])
    weights = np.exp(results.logwt - results.logz[-1])
    weights /= weights.sum()
    ess = float(1.0 / (weights**2).sum())
    n = max(1000, int(ess)) // _CHAINS * _CHAINS
    place = (np.arange(n) + rng.uniform()) / n
    rows = np.minimum(np.searchsorted(np.cumsum(weights), place), len(weights) - 1)
    unit = results.samples_u[rng.permutation(rows)].reshape(_CHAINS, -1, d)
    extra = {
        "log_evidence": float(results.logz[-1]) - log_prior_mass(target, model=model, options=options),
        "log_evidence_err": float(results.logzerr[-1]),
        "iterations": float(results.niter),
        "likelihood_calls": float(np.sum(results.ncall)),
        "ess": ess,
    }
    failures = () if ess >= sampler.ess_min else (f"the ESS is {ess:.0f} (at least {sampler.ess_min:.0f} is asked)",)
    return with_diagnostics(
        "nested", unit, model=model, options=options, sampler=sampler, chains=False, extra=extra, failures=failures
    )


def _as_it_is(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    return unit


class _WalkingPool:
    """What dynesty takes for a pool of workers: ``map`` walks all points of its queue at once."""

    def __init__(self, target: Any, model: Any, options: Any, walks: int, size: int) -> None:
        self.target, self.model, self.options, self.walks, self.size = target, model, options, walks, size

    def map(self, function: Any, arguments: Iterable[Any]) -> list[Any]:
        """``function`` of each of the arguments; points that are to walk do so together."""
        from dynesty.internal_samplers import SamplerArgument, SamplerReturn
        from dynesty.utils import LoglOutput, get_random_generator

        queue = list(arguments)
        if not queue or not isinstance(queue[0], SamplerArgument):
            return [function(one) for one in queue]
        seed = int(get_random_generator(queue[0].rseed).integers(2**31))
        scale = queue[0].scale
        unit, value, accepted = _walk(
            jax.random.key(seed), np.stack([one.u for one in queue]), np.stack([one.axes for one in queue]), scale,
            queue[0].loglstar, self.target, model=self.model, options=self.options, walks=self.walks,
        )  # fmt: skip
        unit, value, accepted = (np.asarray(part) for part in (unit, value, accepted))
        out = []
        for u, v, kept in zip(unit, value, accepted, strict=True):
            tuning = {"accept": int(kept), "reject": int(self.walks - kept), "scale": scale}
            out.append(SamplerReturn(u, u, LoglOutput(float(v), False), self.walks, [], tuning, tuning))
        return out


@compiled_by_one
@partial(jax.jit, static_argnames=("model", "options", "walks"))
def _walk(
    key: Any, unit: Any, axes: Any, scale: Any, threshold: Any, target: Any, *, model: Any, options: Any, walks: int
) -> tuple[Any, Any, Any]:
    """Ends (q, D) of walks from unit (q, D), their values (q,) and how many of the steps were taken."""
    q, d = unit.shape

    def value(unit: Any) -> Any:
        both = log_likelihood(unit, target, model=model, options=options)
        return both + log_prior(unit, target, model=model, options=options)

    def step(state: Any, key: Any) -> tuple[Any, None]:
        unit, best, taken = state
        first, second = jax.random.split(key)
        direction = jax.random.normal(first, (q, d))
        direction = direction / jnp.linalg.norm(direction, axis=1, keepdims=True)
        radius = jax.random.uniform(second, (q, 1)) ** (1.0 / d)
        tried = unit + scale * jnp.einsum("qij,qj->qi", axes, radius * direction)
        inside = ((tried > 0.0) & (tried < 1.0)).all(axis=1)
        there = value(jnp.clip(tried, 0.0, 1.0))
        better = inside & (there > threshold)
        unit = jnp.where(better[:, None], tried, unit)
        return (unit, jnp.where(better, there, best), taken + better), None

    start = (unit, value(unit), jnp.zeros(q, dtype=int))
    (unit, best, taken), _ = jax.lax.scan(step, start, jax.random.split(key, walks))
    return unit, best, taken
