"""Does the inference say what it should? Truths drawn from the prior must rank uniformly among their posterior's draws.

Simulation-based calibration (Talts, Betancourt, Simpson, Vehtari & Gelman 2018, arXiv:1804.06788): every step is the
sampler's own function, compiled once for all simulations. Leaving out simulations that the fast
mode refuses keeps ranks uniform, because k-hat and ESS depend on the data and the draws, not on the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from skytrace.errors import check_whole
from skytrace.supernovae.adaptive_importance import weighted_draws
from skytrace.supernovae.compiled_density import compiled_by_one
from skytrace.supernovae.laplace import laplace_approximation
from skytrace.supernovae.nuts_chain import nuts_chain
from skytrace.supernovae.population import (
    PopulationData,
    parameter_names,
    parameters,
    sample_prior,
    simulate_alpha,
)
from skytrace.supernovae.population_options import SamplerOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from skytrace.supernovae.population_options import PopulationOptions

__all__ = ["Calibration", "calibrate_fast", "calibrate_nuts", "rank_test"]

_BATCH = 50  # simulated at once


@dataclass(frozen=True)
class Calibration:
    """ranks: by parameter (simulation,), from 0 to n_ranks - 1, of the simulations that were not refused. truth: the
    same simulations' true values. n_simulations, n_refused: how many there were. k_hat (n_simulations,), or R-hat for
    NUTS. divergences: of NUTS.
    """

    ranks: dict[str, NDArray[np.int64]]
    truth: dict[str, NDArray[np.float64]]
    n_ranks: int
    n_simulations: int
    n_refused: int
    health: NDArray[np.float64]
    divergences: int = 0

    def p_values(self, *, n_bins: int = 20) -> dict[str, float]:
        """Probability, by parameter, of ranks at least as uneven as these if the inference is right."""
        return {name: rank_test(ranks, n_ranks=self.n_ranks, n_bins=n_bins) for name, ranks in self.ranks.items()}


def rank_test(ranks: NDArray[np.int64], *, n_ranks: int, n_bins: int = 20) -> float:
    """p-value of the chi-square test that ranks (n,) are uniform over 0 .. n_ranks - 1, a multiple of n_bins."""
    from scipy.stats import chisquare

    check_whole("n_ranks / n_bins", n_ranks / n_bins, 1, 10**9)
    counts = np.bincount(np.asarray(ranks) * n_bins // n_ranks, minlength=n_bins)
    return float(chisquare(counts).pvalue)


def calibrate_fast(
    data: PopulationData,
    *,
    options: PopulationOptions,
    sampler: SamplerOptions,
    n_simulations: int,
    n_ranks: int = 100,
) -> Calibration:
    """Ranks of the fast mode: redshifts and errors of ``data``, alpha simulated anew. n_ranks - 1 draws are resampled
    from each simulation's weighted ones. n_draws, bounds and seed are the sampler's.
    """
    check_whole("n_simulations", n_simulations, 1, 10**7)
    rng = np.random.default_rng(sampler.seed)
    sampler = replace(sampler, ess_min=min(sampler.ess_min, n_ranks))  # no more draws than these are used
    ranks, truths, k_hats = [], [], []
    with jax.enable_x64(True):
        for _, truth, simulated in _simulations(data, options, sampler.seed, n_simulations):
            approximation = laplace_approximation(simulated, options=options)
            drawn = weighted_draws(simulated, approximation, options=options, sampler=sampler, rng=rng)
            k_hats.append(drawn.k_hat)
            if drawn.hold(sampler):
                rows = rng.choice(len(drawn.weight), size=n_ranks - 1, p=drawn.weight)
                ranks.append(_ranks(drawn.theta[rows], truth, options))
                truths.append(truth)
    return _calibration(ranks, truths, options, n_ranks, n_simulations, np.array(k_hats))


def calibrate_nuts(
    data: PopulationData,
    *,
    options: PopulationOptions,
    sampler: SamplerOptions,
    n_simulations: int,
    n_ranks: int = 100,
) -> Calibration:
    """Ranks of NUTS: one chain of n_warmup + n_samples a simulation, thinned evenly to n_ranks - 1 draws."""
    check_whole("n_simulations", n_simulations, 1, 10**7)
    check_whole("n_samples", sampler.n_samples, n_ranks - 1, 10**7)
    keep = np.linspace(0, sampler.n_samples - 1, n_ranks - 1).astype(int)
    ranks, truths, health, divergences = [], [], [], 0
    with jax.enable_x64(True):
        for key, truth, simulated in _simulations(data, options, sampler.seed, n_simulations):
            approximation = laplace_approximation(simulated, options=options)
            theta, statistics = nuts_chain(key, simulated, approximation, options=options, sampler=sampler)
            ranks.append(_ranks(theta[keep], truth, options))
            truths.append(truth)
            health.append(_split_r_hat(theta, options))
            divergences += int(statistics["diverging"].sum())
    return _calibration(ranks, truths, options, n_ranks, n_simulations, np.array(health), divergences)


def _simulations(
    data: PopulationData, options: PopulationOptions, seed: int, n_simulations: int
) -> Iterator[tuple[Any, NDArray[np.float64], PopulationData]]:
    """Key of its own, truth (d,) and simulated data of each simulation."""
    root = jax.random.key(seed)
    data = PopulationData(*(jnp.asarray(column, dtype=jnp.float64) for column in data[:4]))
    for first in range(0, n_simulations, _BATCH):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(root, jnp.arange(first, first + _BATCH))
        truth, alpha, own = _simulated(keys, data, options=options)
        for one in range(min(_BATCH, n_simulations - first)):
            yield own[one], np.asarray(truth[one]), data._replace(alpha=alpha[one])


@compiled_by_one
@partial(jax.jit, static_argnames=("options",))
def _simulated(keys: Any, data: PopulationData, *, options: PopulationOptions) -> tuple[Any, Any, Any]:
    """Truth (m, d), alpha (m, n) and a further key (m,) of each of m keys."""

    def simulation(key: Any) -> tuple[Any, Any, Any]:
        first, second, third = jax.random.split(key, 3)
        truth = sample_prior(first, 1, options=options)[0]
        return truth, simulate_alpha(second, truth, data, options=options), third

    return jax.lax.map(simulation, keys)


def _ranks(drawn: NDArray[np.float64], truth: NDArray[np.float64], options: PopulationOptions) -> NDArray[np.int64]:
    """Number of draws (n, d) below the truth (d,), by parameter; sigma_int without its sign."""
    sigma = parameter_names(options).index("sigma_int")
    drawn = drawn.copy()
    drawn[:, sigma] = np.abs(drawn[:, sigma])
    return (drawn < truth).sum(axis=0)


def _split_r_hat(theta: NDArray[np.float64], options: PopulationOptions) -> float:
    """Largest R-hat of the chain (n, d) cut into two."""
    import arviz

    half = len(theta) // 2
    values = parameters(np.stack([theta[:half], theta[half : 2 * half]]), options=options, xp=np)
    return float(max(np.max(arviz.rhat(arviz.convert_to_dataset(values)).to_array()), 1.0))


def _calibration(
    ranks: list, truths: list, options: PopulationOptions, n_ranks: int, n_simulations: int,
    health: NDArray[np.float64], divergences: int = 0,
) -> Calibration:  # fmt: skip
    names = parameter_names(options)
    table = np.array(ranks, dtype=np.int64).reshape(-1, len(names))
    if options.likelihood == "student_t" and options.tail_coordinate == "inverse":
        # the coordinate rises with 1/nu, the parameter falls
        table[:, -1] = n_ranks - 1 - table[:, -1]
    true = np.array(truths).reshape(-1, len(names))
    values = parameters(true, options=options, xp=np)
    flat = {name: values["c"][:, int(name[2:]) - 1] if name.startswith("c_") else values[name] for name in names}
    return Calibration(
        ranks={name: table[:, i] for i, name in enumerate(names)},
        truth=flat,
        n_ranks=n_ranks,
        n_simulations=n_simulations,
        n_refused=n_simulations - len(table),
        health=health,
        divergences=divergences,
    )
