"""The population's posterior: NUTS in Laplace-whitened coordinates, or importance sampling, and the health of either.

Both sample ``population.log_density``; emcee does too, as an independent check. Nothing is hidden: diagnostics are part
of the result, ``failures`` says in words what a run did not reach, and the fast mode refuses to return what its Pareto
k-hat or its effective sample size do not support.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from skytrace.errors import SkytraceError, check_whole
from skytrace.supernovae.adaptive_importance import weighted_draws
from skytrace.supernovae.compiled_density import log_densities, padded
from skytrace.supernovae.laplace import laplace_approximation
from skytrace.supernovae.nuts_chain import nuts_chain
from skytrace.supernovae.population import PopulationData, log_likelihood, mean_alpha, parameter_names, parameters
from skytrace.supernovae.population_options import SamplerOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.supernovae.population_options import PopulationOptions

__all__ = [
    "ImportanceSamplingRefused",
    "Posterior",
    "log_likelihood_draws",
    "mean_alpha_draws",
    "sample_emcee",
    "sample_fast",
    "sample_nuts",
    "sample_population",
]


class ImportanceSamplingRefused(SkytraceError):
    """The Laplace approximation is too far from the posterior for its weighted draws to stand for it; use NUTS."""


@dataclass(frozen=True)
class Posterior:
    """theta (chain, draw, d), of equal weight, and values by name (chain, draw) or (chain, draw, k).

    method: nuts, fast or emcee. diagnostics: numbers by name (r_hat_max, ess_bulk_min, ess_tail_min, divergences, ...).
    failures: what was not reached, in words; empty where the run is what it should be. statistics: (chain, draw) by
    name (diverging, n_steps, acceptance).
    """

    theta: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]
    method: str
    diagnostics: dict[str, float]
    failures: tuple[str, ...]
    statistics: dict[str, NDArray]
    options: PopulationOptions

    @property
    def converged(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


def sample_population(
    data: PopulationData, *, options: PopulationOptions, sampler: SamplerOptions | None = None
) -> Posterior:
    """Posterior by ``sampler.method``; raises ImportanceSamplingRefused where the fast one does not hold."""
    sampler = sampler or SamplerOptions()
    return (sample_fast if sampler.method == "fast" else sample_nuts)(data, options=options, sampler=sampler)


def sample_fast(
    data: PopulationData, *, options: PopulationOptions, sampler: SamplerOptions | None = None
) -> Posterior:
    """Laplace approximation, n_draws from a Student-t of its shape, or from mixtures that learn where that does not
    hold, Pareto-smoothed weights, resampled to equal weight.

    The resampled draws (as one chain each of n_chains equal parts) repeat some of the weighted ones; ess is that of the
    weights. Raises ImportanceSamplingRefused where k-hat or the ESS is out of bounds.
    """
    sampler = sampler or SamplerOptions()
    rng = np.random.default_rng(sampler.seed)
    with jax.enable_x64(True):
        data = padded(data)
        approximation = laplace_approximation(data, options=options)
        drawn = weighted_draws(data, approximation, options=options, sampler=sampler, rng=rng)
    theta, weight, k_hat, ess, rounds = drawn
    if not drawn.hold(sampler):
        raise ImportanceSamplingRefused(
            f"Pareto k-hat is {k_hat:.2f} (at most {sampler.k_hat_max:g}) and the importance ESS {ess:.0f} of "
            f"{sampler.n_draws} draws (at least {sampler.ess_fraction_min * sampler.n_draws:.0f}): the posterior is "
            f"too far from its Laplace approximation, and {rounds} rounds of learning did not mend it. Sample it with "
            "method: nuts"
        )
    place = (np.arange(len(weight)) + rng.uniform()) / len(weight)
    rows = np.minimum(np.searchsorted(np.cumsum(weight), place), len(weight) - 1)
    chosen = theta[rng.permutation(rows)]
    whole = len(chosen) // sampler.n_chains * sampler.n_chains
    chosen = chosen[:whole].reshape(sampler.n_chains, -1, theta.shape[1])
    diagnostics = {
        "k_hat": k_hat,
        "ess": ess,
        "ess_fraction": ess / len(weight),
        "n_draws": len(weight),
        "proposal_rounds": rounds,
        "newton_steps": approximation.n_steps,
        "newton_gain": approximation.gain,
    }
    failures = _below("the importance ESS", ess, sampler.ess_min)
    if diagnostics["newton_gain"] > 1e-6:
        failures += (f"the climb to the mode stopped {diagnostics['newton_gain']:.2g} below it",)
    values = parameters(chosen, options=options, xp=np)
    return Posterior(chosen, values, "fast", diagnostics, failures, {}, options)


def sample_nuts(
    data: PopulationData, *, options: PopulationOptions, sampler: SamplerOptions | None = None
) -> Posterior:
    """NumPyro's NUTS on theta = mode + root @ w; the chains, each its own stream, share one compiled program and the
    cores.
    """
    sampler = sampler or SamplerOptions()
    with jax.enable_x64(True):
        device_data = padded(data)
        approximation = laplace_approximation(device_data, options=options)
        keys = jax.random.split(jax.random.key(sampler.seed), sampler.n_chains)

    def chain(key: Any) -> tuple[NDArray[np.float64], dict[str, NDArray]]:
        with jax.enable_x64(True):  # a thread's own
            return nuts_chain(key, device_data, approximation, options=options, sampler=sampler)

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(min(cores, sampler.n_chains)) as pool:
        chains = list(pool.map(chain, keys))
    statistics = {name: np.stack([one[1][name] for one in chains]) for name in chains[0][1]}
    return _chains(np.stack([one[0] for one in chains]), "nuts", statistics, options, sampler)


def sample_emcee(
    data: PopulationData,
    *,
    options: PopulationOptions,
    sampler: SamplerOptions | None = None,
    n_walkers: int = 32,
    n_steps: int = 2000,
) -> Posterior:
    """The same density by emcee's affine-invariant ensemble (Foreman-Mackey et al. 2013), as an independent check.

    Walkers start from the Laplace approximation; the first n_warmup steps are left out. A walker is no chain: its R-hat
    and ESS are computed from walkers as chains, which is what they are good for.
    """
    import emcee

    check_whole("n_walkers", n_walkers, 2 * len(parameter_names(options)), 10_000)
    sampler = sampler or SamplerOptions()
    with jax.enable_x64(True):
        data = padded(data)
        approximation = laplace_approximation(data, options=options)
        rng = np.random.default_rng(sampler.seed)
        first = rng.normal(size=(n_walkers, len(approximation.mode)))

        def density(w: NDArray[np.float64]) -> NDArray[np.float64]:
            theta = approximation.mode + w @ approximation.root.T
            return np.nan_to_num(np.asarray(log_densities(theta, data, options=options)), nan=-np.inf)

        ensemble = emcee.EnsembleSampler(n_walkers, first.shape[1], density, vectorize=True)
        ensemble.random_state = np.random.RandomState(sampler.seed).get_state()
        ensemble.run_mcmc(first, sampler.n_warmup + n_steps, progress=False)
        w = np.swapaxes(ensemble.get_chain(discard=sampler.n_warmup), 0, 1)
        theta = approximation.mode + w @ approximation.root.T
    accepted = np.broadcast_to(ensemble.acceptance_fraction[:, None], theta.shape[:2])
    return _chains(theta, "emcee", {"acceptance": accepted}, options, sampler)


def log_likelihood_draws(posterior: Posterior, data: PopulationData, *, draws_per_chain: int) -> NDArray[np.float64]:
    """Log likelihood (chain, draw, n) of every supernova, at evenly spaced draws of each chain."""
    return _of_draws(log_likelihood, posterior, data, draws_per_chain)


def mean_alpha_draws(posterior: Posterior, data: PopulationData, *, draws_per_chain: int) -> NDArray[np.float64]:
    """alpha of the law (chain, draw, n), at evenly spaced draws of each chain; ``data`` may be other supernovae."""
    return _of_draws(mean_alpha, posterior, data, draws_per_chain)


def _of_draws(function: Any, posterior: Posterior, data: PopulationData, draws_per_chain: int) -> NDArray[np.float64]:
    """``function`` in numpy: some thousand draws are sooner computed than a program for their number is compiled."""
    n_chains, n_draws, d = posterior.theta.shape
    rows = np.unique(np.linspace(0, n_draws - 1, min(draws_per_chain, n_draws)).astype(int))
    out = np.empty((n_chains * len(rows), len(data.alpha)))
    for k, theta in enumerate(posterior.theta[:, rows].reshape(-1, d)):
        out[k] = function(theta, data, options=posterior.options, xp=np)
    return out.reshape(n_chains, len(rows), -1)


def _chains(
    theta: NDArray[np.float64], method: str, statistics: dict[str, NDArray], options: PopulationOptions,
    sampler: SamplerOptions,
) -> Posterior:  # fmt: skip
    """The posterior of Markov chains with its diagnostics: rank R-hat, bulk and tail ESS over every parameter."""
    import arviz

    values = parameters(theta, options=options, xp=np)
    samples = arviz.convert_to_dataset(values)
    ess, tail = arviz.ess(samples, method="bulk"), arviz.ess(samples, method="tail")
    largest, smallest = arviz.rhat(samples).to_array().max(), ess.to_array().min()
    diagnostics = {
        "r_hat_max": float(largest),
        "ess_bulk_min": float(smallest),
        "ess_tail_min": float(tail.to_array().min()),
        "n_draws": theta.shape[0] * theta.shape[1],
        "n_chains": theta.shape[0],
        "acceptance": float(statistics["acceptance"].mean()),
    }
    failures = _below("the bulk ESS", diagnostics["ess_bulk_min"], sampler.ess_min)
    failures += _below("the tail ESS", diagnostics["ess_tail_min"], sampler.ess_min)
    if not diagnostics["r_hat_max"] < sampler.r_hat_max:
        failures += (f"R-hat reaches {diagnostics['r_hat_max']:.4f} (below {sampler.r_hat_max:g} is asked)",)
    if "diverging" in statistics:
        diagnostics["divergences"] = int(statistics["diverging"].sum())
        diagnostics["leapfrog_steps_mean"] = float(statistics["n_steps"].mean())
        if diagnostics["divergences"]:
            failures += (f"{diagnostics['divergences']} divergent transitions",)
    return Posterior(theta, values, method, diagnostics, failures, statistics, options)


def _below(what: str, value: float, least: float) -> tuple[str, ...]:
    return () if value >= least else (f"{what} is {value:.0f} (at least {least:.0f} is asked)",)
