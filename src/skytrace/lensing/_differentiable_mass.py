"""Deflection with derivatives, in JAX: SIE or EPL with external shear. Private to ``differentiable``.

Conventions and references: deflection.py and power_law.py; angles in arcsec, arrays broadcast, and the dtype of the
arguments (float32 or float64) is kept. No branch on q and none on the axes: derivatives of any order are finite,
q = 1 included; at the centre of the lens itself, where the deflection has no limit, they are zero.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from skytrace.errors import OptionError, check_choice
from skytrace.lensing.deflection import MIN_AXIS_RATIO, LensModel

__all__ = [
    "LensParameters",
    "check_dtype",
    "convergence",
    "epl_convergence",
    "epl_deflection",
    "lens_parameters",
    "magnification_determinant",
    "ray_shoot",
    "shear_deflection",
    "sie_convergence",
    "sie_deflection",
]

_LARGEST_FLATTENING = (1.0 - MIN_AXIS_RATIO) / (1.0 + MIN_AXIS_RATIO)
_LEAST_RADIUS_ARCSEC = 1e-9  # as in power_law: a steeper lens than the SIE deflects without limit at its centre


class LensParameters(NamedTuple):
    """``LensModel`` as arrays (n,) that JAX can trace; without validation, which ``LensModel`` does.

    gamma_epl None is the SIE, which costs a third of the power law.
    """

    theta_e_arcsec: jax.Array
    q: jax.Array
    phi_rad: jax.Array
    center_x_arcsec: jax.Array
    center_y_arcsec: jax.Array
    gamma1: jax.Array
    gamma2: jax.Array
    gamma_epl: jax.Array | None = None


def lens_parameters(lenses: LensModel, *, dtype: str = "float32", power_law: bool | None = None) -> LensParameters:
    """Validated lenses as arrays of ``dtype``; float64 needs ``jax.enable_x64(True)`` around this and what follows.

    power_law: whether gamma_epl is a parameter; by default only where a slope differs from 2. Raises OptionError where
    the dtype cannot be had.
    """
    check_dtype(dtype)
    if power_law is None:
        power_law = bool((np.asarray(lenses.gamma_epl) != 2.0).any())
    columns = {name: jnp.asarray(getattr(lenses, name), dtype=dtype) for name in LensParameters._fields[:-1]}
    return LensParameters(**columns, gamma_epl=jnp.asarray(lenses.gamma_epl, dtype=dtype) if power_law else None)


def check_dtype(dtype: str) -> None:
    """Raise OptionError where arrays of ``dtype`` would be something else: JAX makes float32 of float64 by default."""
    check_choice("parameters dtype", dtype, ("float32", "float64"))
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise OptionError("parameters dtype = 'float64' needs `with jax.enable_x64(True):` around it and its use")


@lru_cache(maxsize=4)
def _arctangent_coefficients(degree: int) -> tuple[float, ...]:
    """T(u) = arctan(sqrt(u))/sqrt(u) (artanh for u < 0) as a polynomial on the flattenings that lenses have."""
    edge = _LARGEST_FLATTENING * (1.0 + 1e-3)

    def arctangent(u: np.ndarray) -> np.ndarray:
        root = np.sqrt(np.where(u == 0.0, 1e-30, u).astype(complex))
        return (np.arctan(root) / root).real

    fit = Chebyshev.interpolate(arctangent, degree, domain=[-edge, edge])
    return tuple(float(c) for c in fit.convert(kind=Polynomial, domain=[-1.0, 1.0]).coef)


def _regular_arccos(w: jax.Array) -> jax.Array:
    """A(w) of deflection.regular_arccos for w in [MIN_AXIS_RATIO, 1 / MIN_AXIS_RATIO], one polynomial throughout.

    arccos(w) = 2 arctan(sqrt(u)) with u = (1 - w)/(1 + w), so A = 2 T(u)/(1 + w): analytic across w = 1.
    Good to 1e-13 in float64, 2e-7 in float32.
    """
    u = (1.0 - w) / (1.0 + w)
    total = jnp.zeros_like(u)
    for coefficient in reversed(_arctangent_coefficients(34 if u.dtype == jnp.float64 else 16)):
        total = total * u + coefficient
    return 2.0 * total / (1.0 + w)


def _aligned(x: jax.Array, y: jax.Array, phi: jax.Array) -> tuple[jax.Array, ...]:
    """cos, sin of phi and (x, y) along and across the major axis."""
    cos, sin = jnp.cos(phi), jnp.sin(phi)
    return cos, sin, cos * x + sin * y, cos * y - sin * x


def sie_deflection(
    x: jax.Array, y: jax.Array, theta_e: jax.Array, q: jax.Array, phi: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Deflection (alpha_x, alpha_y) [arcsec] at (x, y) [arcsec] from the centre of an SIE; zero at the centre."""
    x, y, theta_e, q, phi = jnp.broadcast_arrays(*map(jnp.asarray, (x, y, theta_e, q, phi)))
    cos, sin, along, across = _aligned(x, y, phi)
    off_center = along**2 + across**2 > 0.0
    # both branches of a where are differentiated, so the one not taken must be regular too
    along, across = jnp.where(off_center, along, 1.0), jnp.where(off_center, across, 0.0)
    inverse = jax.lax.rsqrt(along**2 + across**2)
    c, s = along * inverse, across * inverse
    w = jnp.sqrt((q * c) ** 2 + s**2)
    scale = jnp.where(off_center, theta_e * jnp.sqrt(q), 0.0)
    alpha_along = scale * c * _regular_arccos(w)
    alpha_across = scale * s / q * _regular_arccos(w / q)
    return cos * alpha_along - sin * alpha_across, sin * alpha_along + cos * alpha_across


def epl_deflection(
    x: jax.Array, y: jax.Array, theta_e: jax.Array, q: jax.Array, phi: jax.Array, gamma_epl: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Deflection [arcsec] of a power law at (x, y) [arcsec] from its centre; zero at the centre.

    The series of power_law.epl_deflection summed from its end (Horner), always to the term that the flattest lens
    needs, in real arithmetic: 74 terms in float64, 40 in float32.
    """
    x, y, theta_e, q, phi, slope = jnp.broadcast_arrays(*map(jnp.asarray, (x, y, theta_e, q, phi, gamma_epl)))
    cos, sin, along, across = _aligned(x, y, phi)
    t, flattening = slope - 1.0, (1.0 - q) / (1.0 + q)
    off_center = along**2 + across**2 > 0.0
    u, v = jnp.where(off_center, q * along, 1.0), jnp.where(off_center, across, 0.0)
    radius = jnp.maximum(jnp.sqrt(u**2 + v**2), _LEAST_RADIUS_ARCSEC)
    c, s = u / radius, v / radius
    step_real, step_imaginary = -flattening * (c**2 - s**2), -2.0 * flattening * c * s
    terms = int(np.ceil(np.log(1e-13 if u.dtype == jnp.float64 else 1e-7) / np.log(_LARGEST_FLATTENING)))

    def add_term(total: tuple[jax.Array, jax.Array], k: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        ratio = (2.0 * k - 2.0 + t) / (2.0 * k + 2.0 - t)
        real, imaginary = total
        return (
            1.0 + ratio * (step_real * real - step_imaginary * imaginary),
            ratio * (step_real * imaginary + step_imaginary * real),
        ), None

    falling = jnp.arange(terms, 0, -1).astype(u.dtype)
    (real, imaginary), _ = jax.lax.scan(add_term, (jnp.ones_like(u), jnp.zeros_like(u)), falling)
    # (b/R)^t R as exponentials of logarithms; theta_E = 0 has no logarithm, and its power's derivative at t > 0 is 0
    present = theta_e > 0.0
    log_b = jnp.log(jnp.where(present, theta_e, 1.0)) + 0.5 * jnp.log(q)
    strength = jnp.exp(t * log_b + (1.0 - t) * jnp.log(radius)) * 2.0 / (1.0 + q)
    strength = jnp.where(off_center & present, strength, 0.0)
    alpha_along, alpha_across = strength * (c * real - s * imaginary), strength * (s * real + c * imaginary)
    return cos * alpha_along - sin * alpha_across, sin * alpha_along + cos * alpha_across


def epl_convergence(
    x: jax.Array, y: jax.Array, theta_e: jax.Array, q: jax.Array, phi: jax.Array, gamma_epl: jax.Array
) -> jax.Array:
    """Convergence kappa at (x, y) [arcsec] from the centre of a power law; infinite at the centre."""
    _, _, along, across = _aligned(jnp.asarray(x), jnp.asarray(y), jnp.asarray(phi))
    slope = jnp.asarray(gamma_epl)
    return (3.0 - slope) / 2.0 * (theta_e / jnp.sqrt(q * along**2 + across**2 / q)) ** (slope - 1.0)


def sie_convergence(x: jax.Array, y: jax.Array, theta_e: jax.Array, q: jax.Array, phi: jax.Array) -> jax.Array:
    """Convergence kappa of the SIE at (x, y) [arcsec] from its centre; infinite at the centre."""
    _, _, along, across = _aligned(jnp.asarray(x), jnp.asarray(y), jnp.asarray(phi))
    return theta_e / (2.0 * jnp.sqrt(q * along**2 + across**2 / q))


def shear_deflection(x: jax.Array, y: jax.Array, gamma1: jax.Array, gamma2: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Deflection [arcsec] of external shear about the coordinate origin: (g1 x + g2 y, g2 x - g1 y)."""
    return gamma1 * x + gamma2 * y, gamma2 * x - gamma1 * y


def _columns(lens: LensParameters, x: jax.Array, y: jax.Array) -> tuple[LensParameters, jax.Array, jax.Array]:
    """Parameters (n, 1, ...) and positions (n or 1, ...) that broadcast; a first axis of n is the lens."""
    n = lens.theta_e_arcsec.shape[0]
    x, y = jnp.asarray(x, lens.q.dtype), jnp.asarray(y, lens.q.dtype)
    if x.ndim < 2 or x.shape[0] != n:
        x, y = x[None], y[None]
    return jax.tree.map(lambda values: values.reshape((n,) + (1,) * (x.ndim - 1)), lens), x, y


def ray_shoot(x: jax.Array, y: jax.Array, lens: LensParameters) -> tuple[jax.Array, jax.Array]:
    """Source-plane position (beta_x, beta_y) [arcsec] of image-plane positions; shapes as deflection.ray_shoot."""
    lens, x, y = _columns(lens, x, y)
    dx, dy = x - lens.center_x_arcsec, y - lens.center_y_arcsec
    shape = lens.theta_e_arcsec, lens.q, lens.phi_rad
    if lens.gamma_epl is None:
        mass_x, mass_y = sie_deflection(dx, dy, *shape)
    else:
        mass_x, mass_y = epl_deflection(dx, dy, *shape, lens.gamma_epl)
    shear_x, shear_y = shear_deflection(x, y, lens.gamma1, lens.gamma2)
    return x - mass_x - shear_x, y - mass_y - shear_y


def convergence(x: jax.Array, y: jax.Array, lens: LensParameters) -> jax.Array:
    """Convergence kappa at image-plane positions, shapes as ``ray_shoot``."""
    lens, x, y = _columns(lens, x, y)
    dx, dy = x - lens.center_x_arcsec, y - lens.center_y_arcsec
    shape = lens.theta_e_arcsec, lens.q, lens.phi_rad
    if lens.gamma_epl is None:
        return sie_convergence(dx, dy, *shape)
    return epl_convergence(dx, dy, *shape, lens.gamma_epl)


def magnification_determinant(x: jax.Array, y: jax.Array, lens: LensParameters) -> jax.Array:
    """det(d beta / d theta), the inverse of a point's magnification (negative at saddles), shapes as ``ray_shoot``.

    By forward differentiation of the rays, each of which depends on its own position alone.
    """
    lens_columns, x, y = _columns(lens, x, y)
    shape = jnp.broadcast_shapes(x.shape, lens_columns.q.shape)
    x, y = jnp.broadcast_to(x, shape), jnp.broadcast_to(y, shape)
    one, none = jnp.ones_like(x), jnp.zeros_like(x)
    _, (xx, yx) = jax.jvp(lambda a, b: ray_shoot(a, b, lens), (x, y), (one, none))
    _, (xy, yy) = jax.jvp(lambda a, b: ray_shoot(a, b, lens), (x, y), (none, one))
    return xx * yy - xy * yx
