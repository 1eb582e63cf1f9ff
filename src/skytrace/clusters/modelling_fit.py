"""The posterior of a cluster's mass from its multiple images: a search for the mode, NUTS, and emcee as a check.

NUTS (``statistics.nuts``) runs in the coordinates in which the normal equations at the mode (``modelling_search``) are
the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from skytrace.clusters.modelling_density import log_density
from skytrace.clusters.modelling_mass import ClusterMass, cluster_mass
from skytrace.clusters.modelling_options import LensSamplerOptions
from skytrace.clusters.modelling_search import LensMode, find_mode
from skytrace.compute.compiled import compiled_by_one
from skytrace.errors import check_whole
from skytrace.statistics.nuts import nuts_draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.clusters.modelling_images import ImageArrays, LensedImages
    from skytrace.clusters.modelling_options import ClusterLensOptions

__all__ = ["LensPosterior", "fit_emcee", "fit_nuts"]


@dataclass(frozen=True)
class LensPosterior:
    """z (chain, draw, d) and the physical values (chain, draw) by name, of equal weight. method: nuts or emcee.
    diagnostics: numbers by name. failures: in words, empty where the run is what it should be.
    """

    z: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]
    method: str
    diagnostics: dict[str, float]
    failures: tuple[str, ...]
    mode: LensMode
    images: LensedImages
    options: ClusterLensOptions

    @property
    def converged(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def draws(self, n: int) -> NDArray[np.float64]:
        """At most n of the draws (n, d), evenly spaced over the chains."""
        flat = self.z.reshape(-1, self.z.shape[-1])
        return flat[np.unique(np.linspace(0, len(flat) - 1, min(n, len(flat))).astype(int))]


def fit_nuts(
    images: LensedImages, *, options: ClusterLensOptions, sampler: LensSamplerOptions | None = None
) -> LensPosterior:
    """NumPyro's NUTS on z = mode + root @ w, all chains in one compiled program."""
    sampler = sampler or LensSamplerOptions()
    mode = find_mode(images, options=options, sampler=sampler)
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(sampler.seed), sampler.n_chains)
        drawn = _chains(
            keys, mode.arrays, mode.z, mode.root, names=mode.names, options=options, n_warmup=sampler.n_warmup,
            n_samples=sampler.n_samples, target_accept=sampler.target_accept, max_tree_depth=sampler.max_tree_depth,
        )  # fmt: skip
        w, diverging, n_steps, acceptance = map(np.asarray, drawn)
    z = mode.z + w @ mode.root.T
    extra = {
        "acceptance": float(np.mean(acceptance)),
        "divergences": float(np.sum(diverging)),
        "leapfrog_steps_mean": float(np.mean(n_steps)),
    }
    return _posterior(z, "nuts", extra, mode, images, options, sampler)


def fit_emcee(
    images: LensedImages, *, options: ClusterLensOptions, sampler: LensSamplerOptions | None = None,
    n_walkers: int = 48, n_steps: int = 1500, mode: LensMode | None = None,
) -> LensPosterior:  # fmt: skip
    """The same density by emcee's affine-invariant ensemble, as an independent check; the first third is left out.

    A walker is no chain: R-hat and ESS are computed from walkers as chains, which is what they are good for.
    """
    import emcee

    sampler = sampler or LensSamplerOptions()
    mode = mode or find_mode(images, options=options, sampler=sampler)
    d = len(mode.z)
    check_whole("n_walkers", n_walkers, 2 * d, 10_000)
    check_whole("n_steps", n_steps, 30, 10**7)
    rng = np.random.default_rng(sampler.seed)
    with jax.enable_x64(True):

        def density(w: NDArray[np.float64]) -> NDArray[np.float64]:
            values = _densities(mode.z + w @ mode.root.T, mode.arrays, names=mode.names, options=options)
            return np.nan_to_num(np.asarray(values), nan=-np.inf)

        ensemble = emcee.EnsembleSampler(n_walkers, d, density, vectorize=True)
        ensemble.random_state = np.random.RandomState(sampler.seed).get_state()
        ensemble.run_mcmc(0.7 * rng.normal(size=(n_walkers, d)), n_steps, progress=False)
        w = np.swapaxes(ensemble.get_chain(discard=n_steps // 3), 0, 1)
    z = mode.z + w @ mode.root.T
    extra = {"acceptance": float(ensemble.acceptance_fraction.mean())}
    return _posterior(z, "emcee", extra, mode, images, options, sampler)


def _posterior(
    z: NDArray[np.float64], method: str, extra: dict[str, float], mode: LensMode, images: LensedImages,
    options: ClusterLensOptions, sampler: LensSamplerOptions,
) -> LensPosterior:  # fmt: skip
    import arviz

    with jax.enable_x64(True):
        flat = z.reshape(-1, z.shape[-1])
        mass = jax.jit(jax.vmap(partial(cluster_mass, names=mode.names, options=options)))(flat)
        columns = zip(ClusterMass._fields, mass, strict=True)
        values = {name: np.asarray(column).reshape(z.shape[:2]) for name, column in columns if name in mode.names}
    samples = arviz.convert_to_dataset(values)
    ess = float(arviz.ess(samples, method="bulk").to_array().min())
    r_hat = float(arviz.rhat(samples).to_array().max())
    diagnostics = {"r_hat_max": r_hat, "ess_bulk_min": ess, "n_draws": float(len(flat)), **extra}
    diagnostics["starts_at_mode"] = mode.starts_at_mode
    failures = []
    if not r_hat < sampler.r_hat_max:
        failures.append(f"R-hat reaches {r_hat:.3f} (below {sampler.r_hat_max:g} is asked)")
    if not ess >= sampler.ess_min:
        failures.append(f"the bulk ESS is {ess:.0f} (at least {sampler.ess_min:.0f} is asked)")
    if (divergences := extra.get("divergences", 0.0)) > sampler.divergent_share_max * len(flat):
        failures.append(f"{divergences:.0f} of {len(flat)} transitions diverge")
    return LensPosterior(z, values, method, diagnostics, tuple(failures), mode, images, options)


@compiled_by_one
@partial(jax.jit, static_argnames=("names", "options"))
def _densities(z: Any, arrays: ImageArrays, *, names: tuple[str, ...], options: ClusterLensOptions) -> Any:
    """``log_density`` (m,) at each of z (m, d)."""
    return jax.vmap(lambda one: log_density(one, arrays, names=names, options=options))(z)


@compiled_by_one
@partial(
    jax.jit, static_argnames=("names", "options", "n_warmup", "n_samples", "target_accept", "max_tree_depth")
)  # fmt: skip
def _chains(
    keys: Any, arrays: ImageArrays, mode: Any, root: Any, *, names: tuple[str, ...], options: ClusterLensOptions,
    n_warmup: int, n_samples: int, target_accept: float, max_tree_depth: int,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """w (chain, n_samples, d) of z = mode + root @ w, and diverging, n_steps and acceptance (chain, n_samples)."""

    def chain(key: Any) -> tuple[Any, ...]:
        return nuts_draws(
            key, lambda w: -log_density(mode + root @ w, arrays, names=names, options=options), mode.shape, mode.dtype,
            n_warmup=n_warmup, n_samples=n_samples, target_accept=target_accept, max_tree_depth=max_tree_depth,
            start_width=0.5, step_size=0.5,
        )  # fmt: skip

    return jax.lax.map(chain, keys)
