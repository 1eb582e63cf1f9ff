"""Where light comes from: deflection by a singular isothermal ellipsoid (SIE), or an elliptical power law (EPL,
power_law.py), with external shear.

Convention (Kormann et al. 1994; Keeton 2001, eq. 34-35; the same as lenstronomy): convergence
kappa = theta_E / (2 sqrt(q x'^2 + y'^2 / q)) with x' along the major axis of the mass, phi counter-clockwise from +x.
theta_E is the product-average Einstein radius: the critical curve of the mean convergence has the area of its circle.
Everything is an angle in arcsec; arrays broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import OptionError
from skytrace.lensing.power_law import MAX_SLOPE, MIN_SLOPE, epl_deflection

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["MIN_AXIS_RATIO", "LensModel", "ray_shoot", "shear_deflection", "sie_convergence", "sie_deflection"]

#: Flattest deflector and source that the engine renders (its polynomials are fitted down to here).
MIN_AXIS_RATIO = 0.2


@dataclass(frozen=True)
class LensModel:
    """n deflectors: SIE or EPL at a centre plus external shear about the coordinate origin. Scalars broadcast to (n,).

    theta_e_arcsec: product-average Einstein radius [arcsec], >= 0; 0 is no lens. q: axis ratio of the mass,
    MIN_AXIS_RATIO to 1. phi_rad: major axis, counter-clockwise from +x. center_*_arcsec: lens centre. gamma1,
    gamma2: shear. gamma_epl: three-dimensional slope of the mass, MIN_SLOPE to MAX_SLOPE; exactly 2 is the SIE.
    Raises OptionError naming the field that is out of range.
    """

    theta_e_arcsec: NDArray[np.float64]
    q: NDArray[np.float64]
    phi_rad: NDArray[np.float64]
    center_x_arcsec: NDArray[np.float64] | float = 0.0
    center_y_arcsec: NDArray[np.float64] | float = 0.0
    gamma1: NDArray[np.float64] | float = 0.0
    gamma2: NDArray[np.float64] | float = 0.0
    gamma_epl: NDArray[np.float64] | float = 2.0

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]
        arrays = [np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64)) for name in names]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        if len(shape) != 1:
            raise OptionError(f"lens parameters broadcast to shape {shape}; each must be a scalar or an (n,) array")
        for name, array in zip(names, arrays, strict=True):
            object.__setattr__(self, name, np.ascontiguousarray(np.broadcast_to(array, shape)))
        check_range("lens theta_e_arcsec", self.theta_e_arcsec, 0.0, np.inf)
        check_range("lens q", self.q, MIN_AXIS_RATIO, 1.0)
        check_range("lens gamma_epl", self.gamma_epl, MIN_SLOPE, MAX_SLOPE)
        shear = np.hypot(self.gamma1, self.gamma2)
        check_range("lens shear sqrt(gamma1^2 + gamma2^2)", shear, 0.0, 0.5)
        for name in ("phi_rad", "center_x_arcsec", "center_y_arcsec"):
            check_range(f"lens {name}", getattr(self, name), -np.inf, np.inf)

    def __len__(self) -> int:
        return len(self.theta_e_arcsec)

    def take(self, index: ArrayLike) -> LensModel:
        """The lenses ``index`` (integers, a mask or a slice's array)."""
        rows = np.asarray(index)
        return LensModel(*(getattr(self, field.name)[rows] for field in fields(self)))


def check_range(name: str, values: ArrayLike, low: float, high: float) -> None:
    """Raise OptionError naming the first of ``values`` that is not finite or outside [low, high]."""
    values = np.atleast_1d(np.asarray(values, dtype=np.float64))
    bad = ~(np.isfinite(values) & (values >= low) & (values <= high))
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise OptionError(f"{name}{list(where)} = {values[where]!r} is not a finite number in [{low:g}, {high:g}]")


def sie_deflection(
    x: ArrayLike, y: ArrayLike, theta_e: ArrayLike, q: ArrayLike, phi: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Deflection (alpha_x, alpha_y) [arcsec] at (x, y) [arcsec] from the centre of an SIE; all arguments broadcast.

    Regular form of the usual atan/atanh pair, without a special case at q = 1 or on the axes: with c, s = x'/r, y'/r
    and w = sqrt(q^2 c^2 + s^2), alpha_x' = theta_E sqrt(q) c A(w) and alpha_y' = theta_E sqrt(q) (s/q) A(w/q), where
    A(w) = arccos(w)/sqrt(1-w^2) for w < 1, continued by arccosh(w)/sqrt(w^2-1) for w > 1. Zero at the centre itself.
    """
    x, y, theta_e, q, phi = (np.asarray(value, dtype=np.float64) for value in (x, y, theta_e, q, phi))
    cos, sin = np.cos(phi), np.sin(phi)
    along, across = cos * x + sin * y, -sin * x + cos * y
    radius = np.hypot(along, across)
    inverse = np.divide(1.0, radius, out=np.zeros_like(radius), where=radius > 0)
    c, s = along * inverse, across * inverse
    w = np.sqrt(q**2 * c**2 + s**2)
    scale = theta_e * np.sqrt(q)
    alpha_along = scale * c * regular_arccos(w)
    alpha_across = scale * s / q * regular_arccos(w / q)
    return cos * alpha_along - sin * alpha_across, sin * alpha_along + cos * alpha_across


def regular_arccos(w: ArrayLike) -> NDArray[np.float64]:
    """A(w) = arccos(w)/sqrt(1-w^2) below 1, arccosh(w)/sqrt(w^2-1) above: one analytic function of w > -1, A(1) = 1."""
    w = np.asarray(w, dtype=np.float64)
    away = w - 1.0
    near = np.abs(away) < 1e-4
    inside = np.where(near | (away > 0), 0.0, w)
    outside = np.where(near | (away < 0), 2.0, w)
    below = np.arccos(np.clip(inside, -1, 1)) / np.sqrt(1.0 - inside**2)
    above = np.arccosh(outside) / np.sqrt(outside**2 - 1.0)
    series = 1.0 - away / 3.0 + 2.0 * away**2 / 15.0 - 2.0 * away**3 / 35.0
    return np.where(near, series, np.where(away > 0, above, below))


def sie_convergence(
    x: ArrayLike, y: ArrayLike, theta_e: ArrayLike, q: ArrayLike, phi: ArrayLike
) -> NDArray[np.float64]:
    """Convergence kappa of the SIE at (x, y) [arcsec] from its centre; infinite at the centre."""
    x, y, q = (np.asarray(value, dtype=np.float64) for value in (x, y, q))
    cos, sin = np.cos(phi), np.sin(phi)
    along, across = cos * x + sin * y, -sin * x + cos * y
    with np.errstate(divide="ignore"):
        return np.asarray(theta_e) / (2.0 * np.sqrt(q * along**2 + across**2 / q))


def shear_deflection(
    x: ArrayLike, y: ArrayLike, gamma1: ArrayLike, gamma2: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Deflection [arcsec] of external shear about the coordinate origin: (g1 x + g2 y, g2 x - g1 y)."""
    x, y, gamma1, gamma2 = (np.asarray(value, dtype=np.float64) for value in (x, y, gamma1, gamma2))
    return gamma1 * x + gamma2 * y, gamma2 * x - gamma1 * y


def ray_shoot(x: ArrayLike, y: ArrayLike, lenses: LensModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Source-plane position (beta_x, beta_y) [arcsec] of image-plane positions.

    x, y: (m, ...) or (n, m, ...) [arcsec]; with n lenses the first axis of the result is the lens.
    beta = theta - alpha(SIE or EPL) - alpha(shear).
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    n = len(lenses)
    if x.ndim < 2 or x.shape[0] != n:
        x, y = x[None], y[None]

    def column(values: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(values).reshape((n,) + (1,) * (x.ndim - 1))

    dx, dy = x - column(lenses.center_x_arcsec), y - column(lenses.center_y_arcsec)
    shape = column(lenses.theta_e_arcsec), column(lenses.q), column(lenses.phi_rad)
    mass_x, mass_y = sie_deflection(dx, dy, *shape)
    slope = np.asarray(lenses.gamma_epl)
    if (slope != 2.0).any():
        isothermal = column(slope == 2.0)
        epl_x, epl_y = epl_deflection(dx, dy, *shape, column(slope))
        mass_x, mass_y = np.where(isothermal, mass_x, epl_x), np.where(isothermal, mass_y, epl_y)
    shear_x, shear_y = shear_deflection(x, y, column(lenses.gamma1), column(lenses.gamma2))
    return x - mass_x - shear_x, y - mass_y - shear_y
