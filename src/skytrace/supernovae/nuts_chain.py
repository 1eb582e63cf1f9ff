"""One chain of NumPyro's NUTS in Laplace-whitened coordinates, compiled once for a law, a size and a sampler."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from skytrace.statistics.nuts import nuts_draws
from skytrace.supernovae.compiled_density import compiled_by_one
from skytrace.supernovae.population import log_density

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.supernovae.laplace import LaplaceApproximation
    from skytrace.supernovae.population import PopulationData
    from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions

__all__ = ["nuts_chain"]


def nuts_chain(
    key: Any,
    data: PopulationData,
    approximation: LaplaceApproximation,
    *,
    options: PopulationOptions,
    sampler: SamplerOptions,
) -> tuple[NDArray[np.float64], dict[str, NDArray]]:
    """theta (n_samples, d) after n_warmup steps from a draw of the approximation, and diverging, n_steps and acceptance
    (n_samples,) of each. Call inside ``with jax.enable_x64(True)``.
    """
    w, diverging, n_steps, acceptance = _chain(
        key, data, np.asarray(approximation.mode), np.asarray(approximation.root), options=options,
        n_warmup=sampler.n_warmup, n_samples=sampler.n_samples, target_accept=sampler.target_accept,
        max_tree_depth=sampler.max_tree_depth,
    )  # fmt: skip
    theta = np.asarray(approximation.mode) + np.asarray(w) @ np.asarray(approximation.root).T
    statistics = {"diverging": diverging, "n_steps": n_steps, "acceptance": acceptance}
    return theta, {name: np.asarray(column) for name, column in statistics.items()}


@compiled_by_one
@partial(jax.jit, static_argnames=("options", "n_warmup", "n_samples", "target_accept", "max_tree_depth"))
def _chain(
    key: Any, data: PopulationData, mode: Any, root: Any, *, options: PopulationOptions, n_warmup: int, n_samples: int,
    target_accept: float, max_tree_depth: int,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """w (n_samples, d) of theta = mode + root @ w, and the statistics."""
    return nuts_draws(
        key, lambda w: -log_density(mode + root @ w, data, options=options), mode.shape, mode.dtype,
        n_warmup=n_warmup, n_samples=n_samples, target_accept=target_accept, max_tree_depth=max_tree_depth,
    )  # fmt: skip
