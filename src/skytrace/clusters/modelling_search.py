"""The mode of a cluster's mass model: a search from draws of the prior, all starts at once.

Levenberg-Marquardt on the source plane, then of first order in the image plane, then on the likelihood that is asked
for. What is compiled is the residuals and their derivatives, once a stage; the damped steps are numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from skytrace.clusters.modelling_density import residuals
from skytrace.clusters.modelling_images import ImageArrays, LensedImages, image_arrays
from skytrace.clusters.modelling_mass import lens_parameter_names
from skytrace.clusters.modelling_options import LensSamplerOptions
from skytrace.compute.compiled import compiled_by_one
from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.clusters.modelling_options import ClusterLensOptions

__all__ = ["LensMode", "check_constrained", "find_mode"]

_STAGES = ("source", "linear", "image")
_MOST_STEPS, _LONGEST_STEP, _LEAST_GAIN = 30, 2.0, 1e-3
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
        found, values, normal = _search(z, arrays, names=names, options=options)
    values = np.where(np.isfinite(values), values, -np.inf)
    best = int(np.argmax(values))
    if not np.isfinite(values[best]):
        raise CatalogueError("no start of the search reached a mass model of finite density; look at the images")
    root = np.linalg.inv(np.linalg.cholesky(normal[best])).T
    share = float((values > values[best] - _SAME_MODE).mean())
    return LensMode(found[best], root, float(values[best]), share, names, arrays)


def _search(
    z: NDArray[np.float64], arrays: ImageArrays, *, names: tuple[str, ...], options: ClusterLensOptions
) -> tuple[NDArray[np.float64], ...]:
    """Where the starts (n, d) end, their log densities (n,), and the normal matrices there (n, d, d)."""
    stages = [stage for stage in _STAGES if stage == "source" or options.likelihood in ("image", stage)]
    for stage in stages:
        z, value, normal = _levenberg_marquardt(
            z, lambda z, stage=stage: map(
                np.asarray, _linearised(z, arrays, names=names, options=options, likelihood=stage)
            )
        )  # fmt: skip
    return z, value, normal


@compiled_by_one
@partial(jax.jit, static_argnames=("names", "options", "likelihood"))
def _linearised(
    z: Any, arrays: ImageArrays, *, names: tuple[str, ...], options: ClusterLensOptions, likelihood: str
) -> tuple[Any, Any, Any]:
    """Residuals (m, r) at each of z (m, d), their derivatives (m, r, d), and the log densities (m,)."""

    def both(z: Any) -> tuple[Any, Any]:
        rest, log_det = residuals(z, arrays, names=names, options=options, likelihood=likelihood)
        return rest, (rest, -0.5 * (rest**2).sum() - 0.5 * log_det)

    jacobian, (rest, value) = jax.vmap(jax.jacfwd(both, has_aux=True))(z)
    return rest, jacobian, value


def _levenberg_marquardt(z: NDArray[np.float64], linearised: Any) -> tuple[NDArray[np.float64], ...]:
    """Local minima of the sums of squares from z (n, d), all at once: z, log densities and normal matrices there."""
    rest, jacobian, value = linearised(z)
    cost, damping = _finite((rest**2).sum(axis=1)), np.full(len(z), 1e-2)
    for _ in range(_MOST_STEPS):
        normal = np.swapaxes(jacobian, 1, 2) @ jacobian
        scaled = normal + damping[:, None, None] * (normal * np.eye(z.shape[1]))
        step = -np.linalg.solve(scaled, np.swapaxes(jacobian, 1, 2) @ rest[:, :, None])[..., 0]
        step *= np.minimum(1.0, _LONGEST_STEP / (np.linalg.norm(step, axis=1, keepdims=True) + 1e-12))
        tried_rest, tried_jacobian, tried_value = linearised(z + step)
        tried = _finite((tried_rest**2).sum(axis=1)) + np.where(np.isfinite(tried_jacobian).all((1, 2)), 0.0, np.inf)
        better = tried < cost
        gain = np.where(better, cost - np.where(better, tried, cost), 0.0)
        z, value = np.where(better[:, None], z + step, z), np.where(better, tried_value, value)
        rest = np.where(better[:, None], tried_rest, rest)
        jacobian = np.where(better[:, None, None], tried_jacobian, jacobian)
        cost = np.where(better, tried, cost)
        damping = np.clip(np.where(better, 0.3 * damping, 4.0 * damping), 1e-8, 1e8)
        # done where nothing is gained any more by a step that is hardly damped, or by any
        if ((better & (gain < _LEAST_GAIN)) | (damping > 1e4)).all():
            break
    return z, value, np.swapaxes(jacobian, 1, 2) @ jacobian


def _finite(cost: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(cost), cost, np.inf)
