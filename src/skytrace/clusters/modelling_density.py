"""How well a mass model explains multiple images: residuals and log posterior density, in JAX.

The sources' positions are integrated out with a flat prior (of first order about the best ones). Three forms:

source  beta_i - beta, as if every image had the errors of the source plane at magnification 3; only a start
linear  mu_i (beta_i - beta) at the observed images (Oguri 2010, PASJ 62, 1017, section 4.1): exact to first order
image   theta_i - theta_i(beta), the predicted images by Newton's method from the observed ones together with the best
        beta. The iterations are not differentiated: two more steps at their end are, which by the implicit function
        theorem have the derivatives of the solution (of chi2 exactly, of magnifications to second order in what
        the images are off)

Magnitudes of fluxes: ln flux_i = constant + ln |mu_i|, the constant of each source integrated out, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from skytrace.clusters.modelling_mass import cluster_mass, deflection_and_jacobian

if TYPE_CHECKING:
    from skytrace.clusters.modelling_images import ImageArrays
    from skytrace.clusters.modelling_mass import ClusterMass
    from skytrace.clusters.modelling_options import ClusterLensOptions

__all__ = ["PredictedImages", "log_density", "predicted_images", "residuals"]

_NEWTON_STEPS, _LONGEST_STEP_ARCSEC = 5, 1.5
_START_MAGNIFICATION = 3.0
_DIFFERENTIATED_STEPS = 2  # a density whose gradient is not its own makes NUTS take tiny steps


class PredictedImages(NamedTuple):
    """theta_x, theta_y (n,) [arcsec]; off_x, off_y (n,): observed less predicted [arcsec]; mu (n,), signed; beta_x,
    beta_y (f,) [arcsec]; closure (n,) [arcsec]: how far the predicted image's source is from beta, times |mu|; log_det
    (f,): of the sources' precision matrices.
    """

    theta_x: Any
    theta_y: Any
    off_x: Any
    off_y: Any
    mu: Any
    beta_x: Any
    beta_y: Any
    closure: Any
    log_det: Any


def log_density(z: Any, arrays: ImageArrays, *, names: tuple[str, ...], options: ClusterLensOptions) -> Any:
    """Log posterior density of z (d,), up to a constant."""
    rest, log_det = residuals(z, arrays, names=names, options=options, likelihood=options.likelihood)
    return -0.5 * (rest**2).sum() - 0.5 * log_det


def residuals(
    z: Any, arrays: ImageArrays, *, names: tuple[str, ...], options: ClusterLensOptions, likelihood: str
) -> tuple[Any, Any]:
    """What -2 log_density is made of: everything that is squared (images in x and y, fluxes, the prior's z), and the
    sum of the log determinants.
    """
    rest, log_det = _residuals(z, arrays, names, options, likelihood)
    return jnp.concatenate([rest, z]), log_det


def predicted_images(mass: ClusterMass, arrays: ImageArrays, *, options: ClusterLensOptions) -> PredictedImages:
    """The images that the best source positions have, near the observed ones."""

    fixed = jax.lax.stop_gradient(mass)  # so that no derivative runs through the loop

    def advance(_count: int, theta: tuple[Any, Any]) -> tuple[Any, Any]:
        step_x, step_y, *_ = _joint_step(*theta, fixed, arrays, options)
        shrink = jnp.minimum(1.0, _LONGEST_STEP_ARCSEC / jnp.sqrt(step_x**2 + step_y**2 + 1e-12))
        return theta[0] + shrink * step_x, theta[1] + shrink * step_y

    start = jnp.asarray(arrays.x), jnp.asarray(arrays.y)
    theta_x, theta_y = jax.lax.stop_gradient(jax.lax.fori_loop(0, _NEWTON_STEPS, advance, start))
    for _ in range(_DIFFERENTIATED_STEPS):
        step_x, step_y, *_ = _joint_step(theta_x, theta_y, mass, arrays, options)
        theta_x, theta_y = theta_x + step_x, theta_y + step_y
    step_x, step_y, beta_x, beta_y, mu, log_det = _joint_step(theta_x, theta_y, mass, arrays, options)
    return PredictedImages(
        theta_x, theta_y, arrays.x - theta_x, arrays.y - theta_y, mu, beta_x, beta_y,
        jnp.sqrt(step_x**2 + step_y**2), log_det,
    )  # fmt: skip


def _residuals(
    z: Any, arrays: ImageArrays, names: tuple[str, ...], options: ClusterLensOptions, likelihood: str
) -> tuple[Any, Any]:
    """Residuals of images and fluxes in units of their errors, and the sum of the log determinants."""
    mass = cluster_mass(z, names=names, options=options)
    weight = arrays.weight / arrays.err
    if likelihood == "image":
        images = predicted_images(mass, arrays, options=options)
        x, y, mu, log_det = images.off_x, images.off_y, images.mu, images.log_det
    else:
        source_x, source_y, j_xx, j_xy, j_yy, determinant = _lens(arrays.x, arrays.y, mass, arrays, options)
        size = _size(determinant, options)
        mu, xx, xy, yy = 1.0 / size, j_yy / size, -j_xy / size, j_xx / size  # their signs mean nothing here
        if likelihood == "source":
            size = _START_MAGNIFICATION
            xx, xy, yy = jnp.full_like(xx, size), jnp.zeros_like(xy), jnp.full_like(yy, size)
        beta_x, beta_y, log_det = _best_source(source_x, source_y, xx, xy, yy, arrays)
        x, y = source_x - arrays.member_of @ beta_x, source_y - arrays.member_of @ beta_y
        x, y = xx * x + xy * y, xy * x + yy * y
    parts = [weight * x, weight * y]
    if arrays.log_flux is not None:
        parts.append(jnp.sqrt(arrays.flux_weight) * _flux_off(jnp.log(jnp.abs(mu)), arrays))
    return jnp.concatenate(parts), (arrays.family_present * log_det).sum()


def _lens(
    x: Any, y: Any, mass: ClusterMass, arrays: ImageArrays, options: ClusterLensOptions
) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Source positions at image positions, the Jacobian's elements xx, xy, yy and its determinant."""
    alpha_x, alpha_y, a_xx, a_xy, a_yy = deflection_and_jacobian(x, y, mass, arrays, options=options)
    xx, xy, yy = 1.0 - arrays.ratio * a_xx, -arrays.ratio * a_xy, 1.0 - arrays.ratio * a_yy
    return x - arrays.ratio * alpha_x, y - arrays.ratio * alpha_y, xx, xy, yy, xx * yy - xy**2


def _size(determinant: Any, options: ClusterLensOptions) -> Any:
    """|determinant|, smooth where it vanishes: a source of some size is nowhere magnified without limit."""
    return jnp.sqrt(determinant**2 + options.magnification_max**-2.0)


def _best_source(x: Any, y: Any, xx: Any, xy: Any, yy: Any, arrays: ImageArrays) -> tuple[Any, Any, Any]:
    """The weighted mean (f,), (f,) of source positions (n,), weights mu^T mu / err^2, and log det of their sum."""
    weight = arrays.weight / arrays.err**2
    w_xx, w_xy, w_yy = weight * (xx**2 + xy**2), weight * xy * (xx + yy), weight * (xy**2 + yy**2)
    columns = jnp.stack([w_xx, w_xy, w_yy, w_xx * x + w_xy * y, w_xy * x + w_yy * y])
    p_xx, p_xy, p_yy, q_x, q_y = columns @ arrays.member_of
    p_xx, p_yy = p_xx + (1.0 - arrays.family_present), p_yy + (1.0 - arrays.family_present)
    determinant = p_xx * p_yy - p_xy**2
    return (p_yy * q_x - p_xy * q_y) / determinant, (p_xx * q_y - p_xy * q_x) / determinant, jnp.log(determinant)


def _joint_step(
    theta_x: Any, theta_y: Any, mass: ClusterMass, arrays: ImageArrays, options: ClusterLensOptions
) -> tuple[Any, ...]:
    """A Newton step (n,) of the images and the best sources (f,) of the images linearised here, the signed
    magnifications here (n,) and the sources' log determinants (f,).
    """
    source_x, source_y, j_xx, j_xy, j_yy, determinant = _lens(theta_x, theta_y, mass, arrays, options)
    size = _size(determinant, options)
    # the source that the observed image would have if the lens were linear from here
    off_x, off_y = arrays.x - theta_x, arrays.y - theta_y
    at_x, at_y = source_x + j_xx * off_x + j_xy * off_y, source_y + j_xy * off_x + j_yy * off_y
    best_x, best_y, log_det = _best_source(at_x, at_y, j_yy / size, -j_xy / size, j_xx / size, arrays)
    miss_x, miss_y = arrays.member_of @ best_x - source_x, arrays.member_of @ best_y - source_y
    inverse = determinant / size**2  # a step across the critical curve would find another image
    step_x, step_y = inverse * (j_yy * miss_x - j_xy * miss_y), inverse * (j_xx * miss_y - j_xy * miss_x)
    return step_x, step_y, best_x, best_y, jnp.where(determinant < 0, -1.0, 1.0) / size, log_det


def _flux_off(log_mu: Any, arrays: ImageArrays) -> Any:
    """ln flux less ln |mu| (n,), about its weighted mean in each family."""
    off = arrays.log_flux - log_mu
    total = arrays.flux_weight @ arrays.member_of
    mean = (arrays.flux_weight * off) @ arrays.member_of / jnp.where(total > 0, total, 1.0)
    return off - arrays.member_of @ mean
