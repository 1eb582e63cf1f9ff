"""Weighted draws of the population's posterior whose proposal learns from them, and the health of the weights.

The first proposal is the Laplace approximation's. Where its weights do not hold, a mixture of Student-t's is fitted to
what the weighted draws say of the posterior, draws come from that, and so on for some rounds: population Monte Carlo
(Cappe, Douc, Guillin, Marin & Robert 2008, Stat. Comput. 18, 447). Only one round's draws count, so that they are an
ordinary importance sample. It is what the mixture of clean supernovae and outliers needs where the data have few
outliers: then their shift and width are the prior's, and a posterior with such a funnel is no Gaussian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import gammaln, logsumexp

from skytrace.supernovae.compiled_density import log_densities
from skytrace.supernovae.laplace import importance_draws
from skytrace.supernovae.population import parameter_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.supernovae.laplace import LaplaceApproximation
    from skytrace.supernovae.population import PopulationData
    from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions

__all__ = ["WeightedDraws", "smoothed_weights", "weighted_draws"]

_ROUNDS, _COMPONENTS = 8, 8
_LEARNT_FROM = 4000  # draws, resampled by weight
_WIDER = 1.1  # than the fitted mixture: tails cost less than missing ones


class WeightedDraws(NamedTuple):
    """theta (n_draws, d), weight (n_draws,), adding up to 1. rounds: how often the proposal learnt."""

    theta: NDArray[np.float64]
    weight: NDArray[np.float64]
    k_hat: float
    ess: float
    rounds: int

    def hold(self, sampler: SamplerOptions) -> bool:
        """Whether k-hat and the effective sample size are what ``sampler`` asks."""
        return self.k_hat <= sampler.k_hat_max and self.ess >= sampler.ess_fraction_min * len(self.weight)


def weighted_draws(
    data: PopulationData,
    approximation: LaplaceApproximation,
    *,
    options: PopulationOptions,
    sampler: SamplerOptions,
    rng: np.random.Generator,
) -> WeightedDraws:
    """n_draws and their Pareto-smoothed weights, of the first proposal that holds and reaches sampler.ess_min (or 0.6
    n_draws), else of the one of the largest ESS among those that hold, else of the last one. Call inside
    ``with jax.enable_x64(True)``.
    """
    theta, log_weights = importance_draws(
        data, approximation, options=options, n_draws=sampler.n_draws, df=sampler.proposal_df, rng=rng
    )
    drawn = best = _weighted(theta, log_weights, 0)
    wanted = min(sampler.ess_min, 0.6 * len(theta))  # few draws cannot have more, however well the proposal learnt
    while not (drawn.hold(sampler) and drawn.ess >= wanted):
        if drawn.rounds == _ROUNDS or not np.isfinite(drawn.k_hat):
            break
        theta, log_weights = _learnt_draws(drawn, data, options, sampler, rng)
        drawn = _weighted(theta, log_weights, drawn.rounds + 1)
        if not best.hold(sampler) or (drawn.hold(sampler) and drawn.ess > best.ess):
            best = drawn
    return best


def smoothed_weights(log_weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Pareto-smoothed importance weights (n,) that add up to 1, and k-hat (infinite where no weight is finite)."""
    import arviz

    if not np.isfinite(log_weights).all():
        log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
        if not np.isfinite(log_weights).any():
            return np.full(len(log_weights), 1.0 / len(log_weights)), float("inf")
    smoothed, k_hat = arviz.psislw(log_weights - log_weights.max())
    weight = np.exp(np.asarray(smoothed))
    return weight / weight.sum(), float(k_hat)


def _weighted(theta: NDArray[np.float64], log_weights: NDArray[np.float64], rounds: int) -> WeightedDraws:
    weight, k_hat = smoothed_weights(log_weights)
    return WeightedDraws(theta, weight, k_hat, float(1.0 / np.sum(weight**2)), rounds)


def _learnt_draws(
    drawn: WeightedDraws, data: PopulationData, options: PopulationOptions, sampler: SamplerOptions,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Draws and log weights of a mixture fitted to weighted ones, folded over the sign of sigma_int."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    n, d = drawn.theta.shape
    sigma, df = parameter_names(options).index("sigma_int"), sampler.proposal_df
    chosen = drawn.theta[rng.choice(n, size=_LEARNT_FROM, p=drawn.weight)]
    chosen[:, sigma] = np.abs(chosen[:, sigma])
    centre, spread = chosen.mean(axis=0), chosen.std(axis=0) + 1e-9
    mixture = GaussianMixture(
        _COMPONENTS, reg_covar=1e-3, max_iter=50, init_params="random_from_data", random_state=sampler.seed
    )  # k-means would depend on the number of threads
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # any proposal is right, a better one only costs less
        mixture.fit((chosen - centre) / spread)
    roots = _WIDER * np.linalg.cholesky(mixture.covariances_)
    component = rng.choice(_COMPONENTS, size=n, p=mixture.weights_)
    normal = rng.standard_normal((n, d)) * np.sqrt(df / rng.chisquare(df, (n, 1)))
    w = mixture.means_[component] + np.einsum("nij,nj->ni", roots[component], normal)
    theta = centre + spread * w
    sign = np.ones(d)
    sign[sigma] = -1.0

    def log_proposal(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        each = [
            np.log(share) - np.log(np.diag(root)).sum()
            - 0.5 * (df + d) * np.log1p((np.linalg.solve(root, ((theta - centre) / spread - mean).T) ** 2).sum(0) / df)
            for share, mean, root in zip(mixture.weights_, mixture.means_, roots, strict=True)
        ]  # fmt: skip
        return np.asarray(logsumexp(each, axis=0))

    constant = gammaln(0.5 * (df + d)) - gammaln(0.5 * df) - 0.5 * d * np.log(df * np.pi) - np.log(spread).sum()
    proposal = constant + np.logaddexp(log_proposal(theta), log_proposal(theta * sign))
    density = np.asarray(log_densities(theta, data, options=options))
    return theta, np.log(2.0) + density - proposal
