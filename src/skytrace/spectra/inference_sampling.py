"""Markov chains on the one density of ``inference_density``: NUTS along its gradient, emcee in batches.

Both run in the coordinates w in which the curvature at the mode is the identity; see ``inference_mode``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from scipy.special import ndtr

from skytrace.compute.compiled import compiled_by_one
from skytrace.spectra.inference_density import log_densities, log_density
from skytrace.spectra.inference_mode import PosteriorMode, find_mode
from skytrace.spectra.inference_posterior import SpectrumPosterior, with_diagnostics
from skytrace.spectra.inference_target import SpectrumTarget
from skytrace.statistics.nuts import nuts_draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions

__all__ = ["nuts_of_targets", "sample_emcee", "sample_nuts"]

_DIVERGENT_SHARE = 0.01


def sample_nuts(
    target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions, sampler: SpectrumSamplerOptions,
    mode: PosteriorMode | None = None,
) -> SpectrumPosterior:  # fmt: skip
    """NumPyro's NUTS on z = mode + root @ w, all chains in one compiled program."""
    mode = mode or find_mode(target, model=model, options=options, sampler=sampler)
    chains = sampler.nuts_chains
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(sampler.seed), chains)
        leaves: list[Any] = [*(np.asarray(leaf)[None] for leaf in target[:-1]), target.network]
        same = SpectrumTarget(*leaves)
        drawn = _chains(
            keys[None], same, mode.z[None], mode.root[None], model=model, options=options,
            lengths=(sampler.nuts_warmup, sampler.nuts_draws), target_accept=sampler.target_accept,
            max_tree_depth=sampler.max_tree_depth,
        )  # fmt: skip
        w, diverging, n_steps, acceptance = (np.asarray(part)[0] for part in drawn)
    extra = {
        "acceptance": float(acceptance.mean()), "divergences": float(diverging.sum()),
        "leapfrog_steps_mean": float(n_steps.mean()), "starts_at_mode": mode.starts_at_mode,
    }  # fmt: skip
    failures: tuple[str, ...] = ()
    if extra["divergences"] > _DIVERGENT_SHARE * diverging.size:
        failures = (f"{extra['divergences']:.0f} of {diverging.size} transitions diverge",)
    return with_diagnostics(
        "nuts", ndtr(mode.z + w @ mode.root.T), model=model, options=options, sampler=sampler, chains=True,
        extra=extra, failures=failures,
    )  # fmt: skip


def nuts_of_targets(
    keys: Any, targets: SpectrumTarget, modes: NDArray[np.float64], roots: NDArray[np.float64], *,
    model: InferenceModel, options: LikelihoodOptions, warmup: int, draws: int, target_accept: float = 0.9,
    max_tree_depth: int = 6,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:  # fmt: skip
    """unit (t, chain, draw, D) and diverging (t, chain, draw) of t targets (arrays with a first axis t but for the
    network), keys (t, chain), modes (t, D) and roots (t, D, D), in one program. Call inside
    ``with jax.enable_x64(True)``.
    """
    drawn = _chains(
        keys, targets, modes, roots, model=model, options=options, lengths=(warmup, draws),
        target_accept=target_accept, max_tree_depth=max_tree_depth,
    )  # fmt: skip
    w, diverging = np.asarray(drawn[0]), np.asarray(drawn[1])
    return ndtr(modes[:, None, None] + np.einsum("tcnj,tij->tcni", w, roots)), diverging


@compiled_by_one
@partial(jax.jit, static_argnames=("model", "options", "lengths", "target_accept", "max_tree_depth"))
def _chains(
    keys: Any, targets: Any, modes: Any, roots: Any, *, model: Any, options: Any, lengths: tuple[int, int],
    target_accept: float, max_tree_depth: int,
) -> tuple[Any, ...]:  # fmt: skip
    """w (t, chain, draw, D) and statistics (t, chain, draw)."""

    def chain(key: Any, target: Any, mode: Any, root: Any) -> tuple[Any, ...]:
        @jax.jit  # NumPyro asks for it in several places: traced once
        def energy(w: Any) -> Any:
            return -log_density((mode + root @ w)[None], target, model=model, options=options)[0]

        return nuts_draws(
            key, energy, mode.shape, mode.dtype, n_warmup=lengths[0], n_samples=lengths[1],
            target_accept=target_accept, max_tree_depth=max_tree_depth, step_size=0.3,
        )  # fmt: skip

    of_target = jax.vmap(chain, (0, None, None, None))
    first: list[Any] = [*[0] * (len(SpectrumTarget._fields) - 1), None]
    axes = SpectrumTarget(*first)
    return jax.vmap(of_target, (0, axes, 0, 0))(keys, targets, modes, roots)


def sample_emcee(
    target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions, sampler: SpectrumSamplerOptions,
    mode: PosteriorMode | None = None,
) -> SpectrumPosterior:  # fmt: skip
    """emcee's affine-invariant ensemble (Foreman-Mackey et al. 2013), half of the walkers' densities in one batch.

    A walker is no chain: R-hat and ESS are computed from walkers as chains, which is what they are good for. The moves
    are stretches and, for as many steps, differential evolution (ter Braak 2006), which mixes better beyond ten
    dimensions.
    """
    import emcee

    mode = mode or find_mode(target, model=model, options=options, sampler=sampler)
    d = len(mode.z)
    walkers = max(sampler.emcee_walkers, 2 * d + 2)
    rng = np.random.default_rng([sampler.seed, 2])
    with jax.enable_x64(True):

        def density(w: NDArray[np.float64]) -> NDArray[np.float64]:
            values = log_densities(mode.z + w @ mode.root.T, target, model=model, options=options)
            return np.nan_to_num(np.asarray(values), nan=-np.inf)

        moves = [(emcee.moves.StretchMove(), 0.5), (emcee.moves.DEMove(), 0.5)]
        ensemble = emcee.EnsembleSampler(walkers, d, density, vectorize=True, moves=moves)
        ensemble.random_state = np.random.RandomState(sampler.seed).get_state()
        ensemble.run_mcmc(rng.normal(size=(walkers, d)), sampler.emcee_warmup + sampler.emcee_steps, progress=False)
        w = np.swapaxes(ensemble.get_chain(discard=sampler.emcee_warmup), 0, 1)
    extra = {"acceptance": float(ensemble.acceptance_fraction.mean()), "starts_at_mode": mode.starts_at_mode}
    return with_diagnostics(
        "emcee", ndtr(mode.z + w @ mode.root.T), model=model, options=options, sampler=sampler, chains=True, extra=extra
    )
