"""The posterior of a cluster's mass from its multiple images: a search for the mode, NUTS, and emcee as a check.

The search starts from draws of the prior: Levenberg-Marquardt on the source plane, then of first order in the image
plane, then on the likelihood that is asked for; all starts at once. NUTS runs in the coordinates in which the normal
equations at the mode are the identity. ``supernovae.nuts_chain`` and ``supernovae.laplace`` do the same for the
population's density, which they name; what is general of them (``compiled_by_one``) is used here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from skytrace.clusters.modelling_density import log_density, residuals
from skytrace.clusters.modelling_images import ImageArrays, LensedImages, image_arrays
from skytrace.clusters.modelling_mass import ClusterMass, cluster_mass, lens_parameter_names
from skytrace.clusters.modelling_options import LensSamplerOptions
from skytrace.errors import CatalogueError, check_whole
from skytrace.supernovae.compiled_density import compiled_by_one

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.clusters.modelling_options import ClusterLensOptions

__all__ = ["LensMode", "LensPosterior", "check_constrained", "find_mode", "fit_emcee", "fit_nuts"]

_STEPS = {"source": 25, "linear": 25, "image": 25}
_SAME_MODE = 1.0  # of the log density: starts that end closer than this found the same


@dataclass(frozen=True)
class LensMode:
    """z (d,): the mode. root (d, d): z = mode + root @ w has the posterior's covariance where w has the identity, of
    first order. log_density at the mode. starts_at_mode: share of the starts that ended there. names (d,). arrays.
    """

    z: NDArray[np.float64]
    root: NDArray[np.float64]
    log_density: float
    starts_at_mode: float
    names: tuple[str, ...]
    arrays: ImageArrays


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


def check_constrained(images: LensedImages, names: tuple[str, ...], *, options: ClusterLensOptions) -> None:
    """Raise CatalogueError where there are fewer constraints than free parameters; with options.count_priors every
    parameter but the halo's Einstein radius brings one of its own.
    """
    n = images.n_constraints + (len(names) - 1 if options.count_priors else 0)
    if n < len(names):
        raise CatalogueError(
            f"{len(images.family)} images of {len(images.names)} sources make {images.n_constraints} constraints for "
            f"{len(names)} free parameters ({', '.join(names)}): fix some by a width of 0, or set count_priors to let "
            "the priors decide what the images do not"
        )


def find_mode(
    images: LensedImages, *, options: ClusterLensOptions, sampler: LensSamplerOptions | None = None
) -> LensMode:
    """The best of n_starts searches. Raises CatalogueError where parameters outnumber constraints or no start ends."""
    sampler = sampler or LensSamplerOptions()
    names = lens_parameter_names(options, n_members=len(images.member_x_arcsec))  # type: ignore[arg-type]
    check_constrained(images, names, options=options)
    rng = np.random.default_rng(sampler.seed)
    # the halo's prior is wide; its start is a little inside what the images span
    z = 0.7 * rng.normal(size=(sampler.n_starts, len(names)))
    reach = np.mean(np.hypot(images.x_arcsec, images.y_arcsec))
    low, high = np.log(options.halo_theta_e_low_arcsec), np.log(options.halo_theta_e_high_arcsec)
    place = (np.log(reach * rng.uniform(0.4, 1.3, sampler.n_starts)) - low) / (high - low)
    with jax.enable_x64(True):
        arrays = image_arrays(images, options=options)
        z[:, names.index("halo_theta_e_arcsec")] = np.asarray(jax.scipy.stats.norm.ppf(np.clip(place, 0.02, 0.98)))
        found, values, normal = map(np.asarray, _search(z, arrays, names=names, options=options))
    values = np.where(np.isfinite(values), values, -np.inf)
    best = int(np.argmax(values))
    if not np.isfinite(values[best]):
        raise CatalogueError("no start of the search reached a mass model of finite density; look at the images")
    root = np.linalg.inv(np.linalg.cholesky(normal[best])).T
    share = float((values > values[best] - _SAME_MODE).mean())
    return LensMode(found[best], root, float(values[best]), share, names, arrays)


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
    if (divergences := extra.get("divergences", 0.0)) > 0:
        failures.append(f"{divergences:.0f} divergent transitions")
    return LensPosterior(z, values, method, diagnostics, tuple(failures), mode, images, options)


@compiled_by_one
@partial(jax.jit, static_argnames=("names", "options"))
def _densities(z: Any, arrays: ImageArrays, *, names: tuple[str, ...], options: ClusterLensOptions) -> Any:
    """``log_density`` (m,) at each of z (m, d)."""
    return jax.vmap(lambda one: log_density(one, arrays, names=names, options=options))(z)


@compiled_by_one
@partial(jax.jit, static_argnames=("names", "options"))
def _search(z: Any, arrays: ImageArrays, *, names: tuple[str, ...], options: ClusterLensOptions) -> tuple[Any, ...]:
    """Where the starts (n, d) end, their log densities, and the normal matrices there."""
    stages = [stage for stage in ("source", "linear", "image") if stage != "image" or options.likelihood == "image"]
    if options.likelihood == "source":
        stages = ["source"]

    def one(z: Any) -> tuple[Any, Any, Any]:
        for stage in stages:
            z = _levenberg_marquardt(
                z, partial(residuals, arrays=arrays, names=names, options=options, likelihood=stage), _STEPS[stage]
            )
        jacobian = jax.jacfwd(partial(residuals, arrays=arrays, names=names, options=options, likelihood=stages[-1]))(z)
        return z, log_density(z, arrays, names=names, options=options), jacobian.T @ jacobian

    return jax.vmap(one)(z)


def _levenberg_marquardt(z: Any, function: Any, n_steps: int) -> Any:
    """A local minimum of the sum of squares of ``function`` from z (d,), by a fixed number of damped steps."""

    both = jax.jacfwd(lambda z: (function(z),) * 2, has_aux=True)

    def advance(_: int, state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        z, cost, damping = state
        jacobian, off = both(z)
        normal = jacobian.T @ jacobian
        scaled = normal + damping * jnp.diag(jnp.diag(normal))
        step = jnp.linalg.solve(scaled, -jacobian.T @ off)
        step = step * jnp.minimum(1.0, 2.0 / jnp.sqrt((step**2).sum() + 1e-12))
        tried = (function(z + step) ** 2).sum()
        better = tried < cost
        damping = jnp.clip(jnp.where(better, 0.3 * damping, 4.0 * damping), 1e-8, 1e8)
        return jnp.where(better, z + step, z), jnp.where(better, tried, cost), damping

    state = (z, (function(z) ** 2).sum(), jnp.asarray(1e-2, dtype=z.dtype))
    return jax.lax.fori_loop(0, n_steps, advance, state)[0]


@compiled_by_one
@partial(
    jax.jit, static_argnames=("names", "options", "n_warmup", "n_samples", "target_accept", "max_tree_depth")
)  # fmt: skip
def _chains(
    keys: Any, arrays: ImageArrays, mode: Any, root: Any, *, names: tuple[str, ...], options: ClusterLensOptions,
    n_warmup: int, n_samples: int, target_accept: float, max_tree_depth: int,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """w (chain, n_samples, d) of z = mode + root @ w, and diverging, n_steps and acceptance (chain, n_samples)."""
    from numpyro.infer.hmc import hmc

    def energy(w: Any) -> Any:
        return -log_density(mode + root @ w, arrays, names=names, options=options)

    def chain(key: Any) -> tuple[Any, ...]:
        initialise, step = hmc(potential_fn=energy, algo="NUTS")
        first, second = jax.random.split(key)
        state = initialise(
            0.5 * jax.random.normal(first, mode.shape, dtype=mode.dtype), n_warmup, step_size=0.5,
            max_tree_depth=max_tree_depth, target_accept_prob=target_accept, rng_key=second,
        )  # fmt: skip

        def advance(state: Any, _: Any) -> tuple[Any, Any]:
            state = step(state)
            return state, (state.z, state.diverging, state.num_steps, state.accept_prob)

        _, kept = jax.lax.scan(advance, state, None, length=n_warmup + n_samples)
        return tuple(column[n_warmup:] for column in kept)

    return jax.lax.map(chain, keys)
