"""What is being lensed: an elliptical Sersic galaxy (family 1), optionally with Gaussian clumps (family 2).

I = Ie exp(-b ((R/Re)^(1/n) - 1)) with R = sqrt(q u^2 + v^2/q), u along the major axis: Re is the product-average
half-light radius (the convention of lenstronomy, not the major axis). b is the exact root of gamma(2n, b) =
Gamma(2n)/2. Fluxes are those of the unlensed source, in nanomaggies.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gamma, gammaincinv

from skytrace.errors import OptionError
from skytrace.lensing.deflection import MIN_AXIS_RATIO, check_range

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Clumps", "SourceModel", "sersic_b", "sersic_flux", "source_surface_brightness"]


@dataclass(frozen=True)
class Clumps:
    """k round Gaussian clumps in each of n sources, all arrays (n, k).

    flux_fraction: share of the source's total flux (the Sersic body keeps the rest; a row sums to at most 1).
    dx_arcsec, dy_arcsec: offsets from the source's centre. sigma_arcsec: Gaussian width, > 0.
    """

    flux_fraction: NDArray[np.float64]
    dx_arcsec: NDArray[np.float64]
    dy_arcsec: NDArray[np.float64]
    sigma_arcsec: NDArray[np.float64]

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]
        arrays = [np.asarray(getattr(self, name), dtype=np.float64) for name in names]
        shapes = {array.shape for array in arrays}
        if len(shapes) != 1 or arrays[0].ndim != 2:
            raise OptionError(f"clump arrays must all be (n, k); got {[array.shape for array in arrays]}")
        for name, array in zip(names, arrays, strict=True):
            object.__setattr__(self, name, np.ascontiguousarray(array))
        check_range("clumps flux_fraction", self.flux_fraction, 0.0, 1.0)
        check_range("clumps flux_fraction summed over clumps", self.flux_fraction.sum(axis=1), 0.0, 1.0 + 1e-9)
        check_range("clumps sigma_arcsec", self.sigma_arcsec, 1e-3, 10.0)

    def take(self, index: ArrayLike) -> Clumps:
        """The clumps of the sources ``index``."""
        rows = np.asarray(index)
        return Clumps(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class SourceModel:
    """n sources, the same shape in every band.

    flux_nmgy: (n, band) *unlensed* total flux [nanomaggies]. x_arcsec, y_arcsec: position in the source plane
    relative to the coordinate origin. half_light_radius_arcsec: product-average, > 0. sersic_index: 0.3 to 6. q:
    axis ratio of the light, MIN_AXIS_RATIO to 1. phi_rad: major axis, counter-clockwise from +x. Scalars broadcast
    to (n,).
    Raises OptionError naming the field that is out of range.
    """

    flux_nmgy: NDArray[np.float64]
    x_arcsec: NDArray[np.float64]
    y_arcsec: NDArray[np.float64]
    half_light_radius_arcsec: NDArray[np.float64]
    sersic_index: NDArray[np.float64]
    q: NDArray[np.float64]
    phi_rad: NDArray[np.float64]
    clumps: Clumps | None = None

    def __post_init__(self) -> None:
        flux = np.ascontiguousarray(np.asarray(self.flux_nmgy, dtype=np.float64))
        if flux.ndim != 2:
            raise OptionError(f"source flux_nmgy must be (n, band); got shape {flux.shape}")
        object.__setattr__(self, "flux_nmgy", flux)
        for field in fields(self)[1:-1]:
            array = np.asarray(getattr(self, field.name), dtype=np.float64)
            if array.ndim > 1 or (array.ndim == 1 and len(array) not in (1, len(flux))):
                raise OptionError(f"source {field.name} has shape {array.shape}; flux_nmgy has n = {len(flux)} sources")
            object.__setattr__(self, field.name, np.ascontiguousarray(np.broadcast_to(array, (len(flux),))))
        check_range("source flux_nmgy", flux, -np.inf, np.inf)
        check_range("source x_arcsec", self.x_arcsec, -1e3, 1e3)
        check_range("source y_arcsec", self.y_arcsec, -1e3, 1e3)
        check_range("source half_light_radius_arcsec", self.half_light_radius_arcsec, 1e-3, 1e2)
        check_range("source sersic_index", self.sersic_index, 0.3, 6.0)
        check_range("source q", self.q, MIN_AXIS_RATIO, 1.0)
        check_range("source phi_rad", self.phi_rad, -np.inf, np.inf)
        if self.clumps is not None and len(self.clumps.flux_fraction) != len(flux):
            raise OptionError(f"{len(self.clumps.flux_fraction)} rows of clumps for {len(flux)} sources")

    def __len__(self) -> int:
        return len(self.flux_nmgy)

    def take(self, index: ArrayLike) -> SourceModel:
        """The sources ``index``."""
        rows = np.asarray(index)
        columns = {field.name: getattr(self, field.name)[rows] for field in fields(self)[:-1]}
        return SourceModel(**columns, clumps=None if self.clumps is None else self.clumps.take(rows))


def sersic_b(index: ArrayLike) -> NDArray[np.float64]:
    """b of a Sersic index n: the exact root of gamma(2n, b) = Gamma(2n)/2 (1.678347 at n = 1, 7.669249 at n = 4)."""
    return gammaincinv(2.0 * np.asarray(index, dtype=np.float64), 0.5)


def sersic_flux(index: ArrayLike, half_light_radius_arcsec: ArrayLike) -> NDArray[np.float64]:
    """Total flux of a Sersic profile with Ie = 1 per arcsec^2: 2 pi n Re^2 e^b b^(-2n) Gamma(2n), whatever q."""
    n = np.asarray(index, dtype=np.float64)
    b = sersic_b(n)
    return 2.0 * np.pi * n * np.asarray(half_light_radius_arcsec) ** 2 * np.exp(b) * b ** (-2.0 * n) * gamma(2.0 * n)


def source_surface_brightness(beta_x: ArrayLike, beta_y: ArrayLike, sources: SourceModel) -> NDArray[np.float64]:
    """Surface brightness [arcsec^-2] of sources of unit total flux at (n, ...) source-plane positions [arcsec]."""
    beta_x, beta_y = np.asarray(beta_x, dtype=np.float64), np.asarray(beta_y, dtype=np.float64)

    def column(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values.reshape((len(sources),) + (1,) * (beta_x.ndim - 1))

    dx, dy = beta_x - column(sources.x_arcsec), beta_y - column(sources.y_arcsec)
    cos, sin = np.cos(column(sources.phi_rad)), np.sin(column(sources.phi_rad))
    u, v, q = cos * dx + sin * dy, -sin * dx + cos * dy, column(sources.q)
    radius, n = column(sources.half_light_radius_arcsec), column(sources.sersic_index)
    rho = np.sqrt(q * u**2 + v**2 / q) / radius
    light = np.exp(-sersic_b(n) * (rho ** (1.0 / n) - 1.0)) / sersic_flux(n, radius)
    if sources.clumps is None:
        return light
    clumps = sources.clumps
    light = light * column(1.0 - clumps.flux_fraction.sum(axis=1))
    for j in range(clumps.flux_fraction.shape[1]):
        variance = column(clumps.sigma_arcsec[:, j]) ** 2
        squared = (dx - column(clumps.dx_arcsec[:, j])) ** 2 + (dy - column(clumps.dy_arcsec[:, j])) ** 2
        light = light + column(clumps.flux_fraction[:, j]) / (2.0 * np.pi * variance) * np.exp(
            -0.5 * squared / variance
        )
    return light
