"""Mass that traces light, with derivatives, in JAX: one halo, member galaxies scaled by luminosity, external shear.

Every component is a round profile of the squared radius s of a quadratic form (ellipticity in the potential, as in
``lensing.nfw``): s = x M x, M = 1 - [[e1, e2], [e2, -e1]], so alpha = g(s) M x and its Jacobian is
g M + 2 g'(s) (M x)(M x)^T with g the mean convergence inside and s g' = kappa - g. Halo: NFW, or cored isothermal
g = b / (c + sqrt(s + c^2)). Galaxies: truncated isothermal spheres (``lensing.nfw.truncated_isothermal_deflection``),
theta_E ~ sigma^2 ~ L^(2 slope), truncation ~ L^slope. Angles in arcsec; Einstein radii for a source at z_reference;
float64 inside ``with jax.enable_x64(True)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

if TYPE_CHECKING:
    from skytrace.clusters.modelling_images import ImageArrays
    from skytrace.clusters.modelling_options import ClusterLensOptions

__all__ = ["ClusterMass", "cluster_mass", "deflection_and_jacobian", "lens_parameter_names", "potential"]

_SOFTENING_ARCSEC = 1e-3  # of the galaxies' singular centres: far below any image's error
_LARGEST_ELLIPTICITY = 0.35


class ClusterMass(NamedTuple):
    """Physical parameters, scalars: theta_E, r_s or core, ellipticity of the potential and centre of the halo; theta_E
    and truncation of an L* galaxy, the brightest one's factor; shear.
    """

    halo_theta_e_arcsec: Any
    halo_scale_arcsec: Any
    halo_e1: Any
    halo_e2: Any
    halo_x_arcsec: Any
    halo_y_arcsec: Any
    member_theta_e_arcsec: Any
    member_truncation_arcsec: Any
    brightest_factor: Any
    gamma1: Any
    gamma2: Any


def lens_parameter_names(options: ClusterLensOptions, *, n_members: int) -> tuple[str, ...]:
    """The fields of ClusterMass that are free, in the order of the parameter vector."""
    widths = dict.fromkeys(ClusterMass._fields, 0.0)
    widths["halo_theta_e_arcsec"] = 1.0
    widths["halo_scale_arcsec"] = options.halo_scale_scatter
    widths["halo_e1"] = widths["halo_e2"] = options.ellipticity_sigma
    widths["halo_x_arcsec"] = widths["halo_y_arcsec"] = options.halo_centre_sigma_arcsec
    widths["gamma1"] = widths["gamma2"] = options.shear_sigma
    if n_members:
        widths["member_theta_e_arcsec"] = options.member_scatter
        widths["member_truncation_arcsec"] = options.member_truncation_scatter
    if n_members > 1:  # a lone galaxy's factor is its theta_E
        widths["brightest_factor"] = options.brightest_scatter
    return tuple(name for name, width in widths.items() if width > 0)


def cluster_mass(z: Any, *, names: tuple[str, ...], options: ClusterLensOptions) -> ClusterMass:
    """Parameters from z (d,), which is standard normal under the prior: z is the prior's own quantile."""
    at = {name: z[names.index(name)] if name in names else 0.0 for name in ClusterMass._fields}
    low, high = np.log(options.halo_theta_e_low_arcsec), np.log(options.halo_theta_e_high_arcsec)
    scale = options.nfw_scale_arcsec if options.halo == "nfw" else options.core_arcsec
    e1, e2 = (options.ellipticity_sigma * at[name] for name in ("halo_e1", "halo_e2"))
    squeeze = 1.0 / jnp.sqrt(1.0 + (e1**2 + e2**2) / _LARGEST_ELLIPTICITY**2)
    return ClusterMass(
        jnp.exp(low + (high - low) * norm.cdf(at["halo_theta_e_arcsec"])),
        scale * jnp.exp(options.halo_scale_scatter * at["halo_scale_arcsec"]),
        e1 * squeeze, e2 * squeeze,
        options.halo_centre_sigma_arcsec * at["halo_x_arcsec"], options.halo_centre_sigma_arcsec * at["halo_y_arcsec"],
        options.member_theta_e_arcsec * jnp.exp(options.member_scatter * at["member_theta_e_arcsec"]),
        options.member_truncation_arcsec * jnp.exp(options.member_truncation_scatter * at["member_truncation_arcsec"]),
        jnp.exp(options.brightest_scatter * at["brightest_factor"]),
        options.shear_sigma * at["gamma1"], options.shear_sigma * at["gamma2"],
    )  # fmt: skip


def deflection_and_jacobian(
    x: Any, y: Any, mass: ClusterMass, arrays: ImageArrays, *, options: ClusterLensOptions
) -> tuple[Any, ...]:
    """alpha_x, alpha_y [arcsec] and their derivatives xx, xy, yy, of the shape of x, for a source at z_reference."""
    dx, dy, s, ux, uy = _stretched(x, y, mass)
    mean, kappa = _halo_convergences(s, mass, options)
    slope = 2.0 * (kappa - mean) / s
    alpha_x, alpha_y = mean * ux, mean * uy
    xx = mean * (1.0 - mass.halo_e1) + slope * ux**2
    xy = -mean * mass.halo_e2 + slope * ux * uy
    yy = mean * (1.0 + mass.halo_e1) + slope * uy**2
    theta_e, truncation = _galaxies(mass, arrays, options)
    dx, dy = x[..., None] - arrays.galaxy_x, y[..., None] - arrays.galaxy_y
    s = dx**2 + dy**2 + _SOFTENING_ARCSEC**2
    radius, far = jnp.sqrt(s), jnp.sqrt(s + truncation**2)
    mean = theta_e / radius * (1.0 - radius / (truncation + far))
    slope = 2.0 * (0.5 * theta_e * (1.0 / radius - 1.0 / far) - mean) / s
    g1, g2 = mass.gamma1, mass.gamma2
    return (
        alpha_x + (mean * dx).sum(-1) + g1 * x + g2 * y,
        alpha_y + (mean * dy).sum(-1) + g2 * x - g1 * y,
        xx + (mean + slope * dx**2).sum(-1) + g1,
        xy + (slope * dx * dy).sum(-1) + g2,
        yy + (mean + slope * dy**2).sum(-1) - g1,
    )


def potential(x: Any, y: Any, mass: ClusterMass, arrays: ImageArrays, *, options: ClusterLensOptions) -> Any:
    """psi [arcsec^2], whose gradient is the deflection; its zero is arbitrary."""
    _, _, s, _, _ = _stretched(x, y, mass)
    scale = mass.halo_scale_arcsec
    if options.halo == "nfw":
        ratio = jnp.sqrt(s) / scale
        shape, _ = _nfw_shape(ratio)
        halo = 0.5 * scale**2 * (jnp.log(0.5 * ratio) ** 2 + shape**2 * (ratio**2 - 1.0))
        halo = halo / _nfw_mean(mass.halo_theta_e_arcsec / scale)
    else:
        far = jnp.sqrt(s + scale**2)
        halo = _cored_strength(mass) * (far - scale * jnp.log(scale + far))
    theta_e, truncation = _galaxies(mass, arrays, options)
    s = (x[..., None] - arrays.galaxy_x) ** 2 + (y[..., None] - arrays.galaxy_y) ** 2 + _SOFTENING_ARCSEC**2
    far = jnp.sqrt(s + truncation**2)
    galaxies = theta_e * (jnp.sqrt(s) - far + truncation * jnp.log(truncation + far))
    shear = 0.5 * mass.gamma1 * (x**2 - y**2) + mass.gamma2 * x * y
    return halo + galaxies.sum(-1) + shear


def _stretched(x: Any, y: Any, mass: ClusterMass) -> tuple[Any, ...]:
    """Offsets from the halo, the quadratic form s, and M x."""
    dx, dy = x - mass.halo_x_arcsec, y - mass.halo_y_arcsec
    ux = (1.0 - mass.halo_e1) * dx - mass.halo_e2 * dy
    uy = (1.0 + mass.halo_e1) * dy - mass.halo_e2 * dx
    return dx, dy, dx * ux + dy * uy + _SOFTENING_ARCSEC**2, ux, uy


def _galaxies(mass: ClusterMass, arrays: ImageArrays, options: ClusterLensOptions) -> tuple[Any, Any]:
    """theta_E and truncation (m,) of the galaxies; where there is none, theta_E is 0."""
    present = arrays.luminosity > 0
    luminosity = jnp.where(present, arrays.luminosity, 1.0)
    factor = 1.0 + (mass.brightest_factor - 1.0) * arrays.brightest
    theta_e = mass.member_theta_e_arcsec * luminosity ** (2.0 * options.faber_jackson_slope) * factor
    return jnp.where(present, theta_e, 0.0), mass.member_truncation_arcsec * luminosity**options.truncation_slope


def _halo_convergences(s: Any, mass: ClusterMass, options: ClusterLensOptions) -> tuple[Any, Any]:
    """Mean convergence inside and convergence of the round halo at squared radius s."""
    scale = mass.halo_scale_arcsec
    if options.halo == "nfw":
        norm_ = _nfw_mean(mass.halo_theta_e_arcsec / scale)
        ratio = jnp.sqrt(s) / scale
        _, over = _nfw_shape(ratio)
        return _nfw_mean(ratio) / norm_, 0.5 * over / norm_
    far = jnp.sqrt(s + scale**2)
    mean = _cored_strength(mass) / (scale + far)
    return mean, mean * (1.0 - 0.5 * s / (far * (scale + far)))


def _cored_strength(mass: ClusterMass) -> Any:
    """b, so that the mean convergence inside the Einstein radius is 1."""
    return mass.halo_scale_arcsec + jnp.sqrt(mass.halo_theta_e_arcsec**2 + mass.halo_scale_arcsec**2)


def _nfw_mean(x: Any) -> Any:
    """(ln(x / 2) + F) / x^2: the mean convergence inside x over 4 kappa_s."""
    small = x < 1e-3
    safe = jnp.where(small, 1.0, x)
    shape, _ = _nfw_shape(safe)
    return jnp.where(small, 0.5 * (jnp.log(2.0 / x) - 0.5), (jnp.log(0.5 * safe) + shape) / safe**2)


def _series() -> tuple[float, ...]:
    """Taylor coefficients about x = 1 of f = (1 - F) / (x^2 - 1), which solves (x^2 - 1) f' = 1 / x - 3 x f."""
    terms = [1.0 / 3.0]
    for k in range(1, 10):
        terms.append(((-1.0) ** k - (k + 2) * terms[-1]) / (2 * k + 3))
    return tuple(terms)


def _nfw_shape(x: Any) -> tuple[Any, Any]:
    """F and (1 - F) / (x^2 - 1) of ``lensing.nfw``, with derivatives on both sides of x = 1 and at it."""
    away = x - 1.0
    near = jnp.abs(away) < 0.03
    inner, outer = jnp.where(near | (away > 0), 0.5, x), jnp.where(near | (away < 0), 2.0, x)
    below = jnp.arccosh(1.0 / inner) / jnp.sqrt(1.0 - inner**2)
    above = jnp.arccos(1.0 / outer) / jnp.sqrt(outer**2 - 1.0)
    total = jnp.zeros_like(away)
    step = jnp.where(near, away, 0.0)
    for coefficient in reversed(_series()):
        total = total * step + coefficient
    safe = jnp.where(near, 2.0, x)
    closed = jnp.where(away > 0, above, below)
    shape = jnp.where(near, 1.0 - (x**2 - 1.0) * total, closed)
    return shape, jnp.where(near, total, (1.0 - closed) / (safe**2 - 1.0))
