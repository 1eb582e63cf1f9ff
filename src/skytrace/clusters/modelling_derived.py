"""What a fitted cluster says: critical curves and caustics, Einstein radius and mass, magnifications, time delays.

The effective Einstein radius is sqrt(A / pi) of the area A within the outermost tangential critical curve
(1 - kappa - |gamma| = 0) for a source at z_reference; the mass inside the curve is the flux of the deflection through
it, M = Sigma_cr D_l^2 / 2 times the contour integral of alpha x dl. Every figure is computed for each draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from skytrace.clusters.modelling_density import predicted_images
from skytrace.clusters.modelling_images import (
    ImageArrays,
    critical_mass_per_arcsec2,
    distance_ratio,
    time_delay_days_per_arcsec2,
)
from skytrace.clusters.modelling_mass import cluster_mass, deflection_and_jacobian, potential
from skytrace.compute.compiled import compiled_by_one
from skytrace.errors import CatalogueError, check_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.clusters.modelling_fit import LensPosterior
    from skytrace.clusters.modelling_options import ClusterLensOptions

__all__ = [
    "CriticalCurves",
    "LensDerived",
    "critical_curves",
    "derived_quantities",
    "interval_68",
    "tangential_outline",
    "within_outline",
]

_GRID_OVER_IMAGES = 1.5  # how far the grid of the critical curves reaches, in radii of the outermost image
_WIDENINGS = 3  # grids tried for a curve that leaves it: of one, two and four times that reach


@dataclass(frozen=True)
class LensDerived:
    """Of k draws: einstein_radius_arcsec, mass_msun (k,), NaN where no critical curve closes on the grid;
    magnification (k, n), signed; time_delay_days (k, n), after the family's first image; image_rms_arcsec (k,);
    predicted_x_arcsec, predicted_y_arcsec (k, n).
    """

    einstein_radius_arcsec: NDArray[np.float64]
    mass_msun: NDArray[np.float64]
    magnification: NDArray[np.float64]
    time_delay_days: NDArray[np.float64]
    image_rms_arcsec: NDArray[np.float64]
    predicted_x_arcsec: NDArray[np.float64]
    predicted_y_arcsec: NDArray[np.float64]

    def figures(self) -> dict[str, float]:
        """Median and ends of the 68 % interval of the Einstein radius, the mass and the rms, by name; lost draws.

        Radius and mass are NaN where more than half of the draws have no curve: the others don't stand for them.
        """
        lost = float(np.isnan(self.einstein_radius_arcsec).mean())
        out: dict[str, float] = {"draws_without_curve": lost}
        for name in ("einstein_radius_arcsec", "mass_msun", "image_rms_arcsec"):
            curve = name != "image_rms_arcsec"
            low, median, high = np.full(3, np.nan) if curve and lost > 0.5 else interval_68(getattr(self, name))
            out |= {name: float(median), f"{name}_low": float(low), f"{name}_high": float(high)}
        return out


@dataclass(frozen=True)
class CriticalCurves:
    """Outlines, each (p, 2) [arcsec]: tangential and radial critical curves, and the caustics they map to."""

    tangential: list[NDArray[np.float64]]
    radial: list[NDArray[np.float64]]
    tangential_caustics: list[NDArray[np.float64]]
    radial_caustics: list[NDArray[np.float64]]


def interval_68(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """16th, 50th and 84th percentile (3, ...) over the first axis, NaN left out."""
    return np.nanpercentile(draws, [15.865, 50.0, 84.135], axis=0)


def derived_quantities(posterior: LensPosterior, *, n_draws: int = 200, cells: int = 128) -> LensDerived:
    """Of n_draws evenly spaced draws, critical curves on a grid of cells x cells (128: Einstein radii to 5e-4)."""
    check_whole("cells", cells, 16, 4096)
    images, options, mode = posterior.images, posterior.options, posterior.mode
    z = posterior.draws(n_draws)
    n = len(images.family)
    inside = _within_curves(posterior, z, cells)
    with jax.enable_x64(True):
        theta_x, theta_y, off_x, off_y, mu, arrival = (
            np.asarray(part)[:, :n] for part in _images(z, mode.arrays, names=mode.names, options=options)
        )
    unit = critical_mass_per_arcsec2(images.z_lens, options.z_reference, options=options)
    delay = arrival * time_delay_days_per_arcsec2(images.z_lens, images.z_source, options=options)
    for name in images.names:
        mine = images.family == name
        delay[:, mine] -= delay[:, mine].min(axis=1, keepdims=True)
    return LensDerived(
        np.sqrt(inside[:, 0] / np.pi), unit * inside[:, 1], mu, delay,
        np.sqrt((off_x**2 + off_y**2).mean(axis=1)), theta_x, theta_y,
    )  # fmt: skip


def _within_curves(posterior: LensPosterior, z: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """``within_outline`` (k, 2) of each of z (k, d); a draw whose curve leaves the grid gets one of twice the reach."""
    mode, inside = posterior.mode, np.full((len(z), 2), np.nan)
    for widening in range(_WIDENINGS):
        lost = np.flatnonzero(np.isnan(inside[:, 0]))
        if not len(lost):
            break
        axis = 2.0**widening * _axis(posterior, cells)
        with jax.enable_x64(True):
            maps = _maps(z[lost], mode.arrays, axis, np.float64(1.0), names=mode.names, options=posterior.options)
            stretch, _, alpha_x, alpha_y = map(np.asarray, maps)
        for k, one_map, one_x, one_y in zip(lost, stretch, alpha_x, alpha_y, strict=True):
            inside[k] = within_outline(tangential_outline(one_map, axis), axis, one_x, one_y)
    return inside


def critical_curves(
    posterior: LensPosterior, *, z: NDArray[np.float64] | None = None, z_source: float | None = None, cells: int = 256
) -> CriticalCurves:
    """Critical curves and caustics of one parameter vector z (d,), the mode by default, for a source at z_source
    (z_reference by default). Curves that leave the grid are given as far as they go. Raises CatalogueError where
    z_source is not behind the lens.
    """
    check_whole("cells", cells, 16, 4096)
    images, options, mode = posterior.images, posterior.options, posterior.mode
    z_source = options.z_reference if z_source is None else z_source
    if not z_source > images.z_lens:
        raise CatalogueError(f"z_source = {z_source:g} is not behind the lens at z = {images.z_lens:g}")
    ratio = distance_ratio(images.z_lens, z_source, options=options)
    ratio = np.float64(ratio / distance_ratio(images.z_lens, options.z_reference, options=options))
    axis = _axis(posterior, cells)
    chosen = (mode.z if z is None else np.asarray(z, dtype=np.float64))[None]
    with jax.enable_x64(True):
        maps = _maps(chosen, mode.arrays, axis, ratio, names=mode.names, options=options)
        stretch, squeeze, alpha_x, alpha_y = (np.asarray(part)[0] for part in maps)

    def mapped(line: NDArray[np.float64]) -> NDArray[np.float64]:
        return line - np.stack([_interpolated(line, axis, alpha_x), _interpolated(line, axis, alpha_y)], axis=1)

    tangential, radial = _zero_lines(stretch, axis), _zero_lines(squeeze, axis)
    return CriticalCurves(tangential, radial, [mapped(line) for line in tangential], [mapped(line) for line in radial])


def tangential_outline(stretch: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The zero line (p, 2) of the map 1 - kappa - |gamma| (y, x) that is the longest across; None where that one leaves
    the map, or there is none: a galaxy's own small loop never stands for a cluster's curve.
    """
    lines = [line for line in _zero_lines(stretch, axis) if len(line) > 3]
    if not lines:
        return None
    largest = max(lines, key=lambda line: float(np.hypot(*np.ptp(line, axis=0))))
    return largest if np.allclose(largest[0], largest[-1]) else None


def within_outline(
    line: NDArray[np.float64] | None, axis: NDArray[np.float64], alpha_x: NDArray[np.float64],
    alpha_y: NDArray[np.float64],
) -> tuple[float, float]:  # fmt: skip
    """Area [arcsec^2] within a closed line and the integral of kappa over it [arcsec^2], from maps (y, x) of alpha."""
    if line is None:
        return np.nan, np.nan
    middle, step = 0.5 * (line[1:] + line[:-1]), np.diff(line, axis=0)
    x, y = _interpolated(middle, axis, alpha_x), _interpolated(middle, axis, alpha_y)
    turned = np.sign(np.sum(middle[:, 0] * step[:, 1] - middle[:, 1] * step[:, 0]))
    return _area(line), float(0.5 * turned * np.sum(x * step[:, 1] - y * step[:, 0]))


def _area(line: NDArray[np.float64]) -> float:
    x, y = line[:, 0], line[:, 1]
    return 0.5 * abs(float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])))


def _zero_lines(values: NDArray[np.float64], axis: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    from contourpy import contour_generator

    lines: Any = contour_generator(axis, axis, values).lines(0.0)
    return list(lines)


def _interpolated(
    line: NDArray[np.float64], axis: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    from scipy.ndimage import map_coordinates

    place = (line - axis[0]) / (axis[1] - axis[0])
    return map_coordinates(values, [place[:, 1], place[:, 0]], order=1, mode="nearest")


def _axis(posterior: LensPosterior, cells: int) -> NDArray[np.float64]:
    reach = _GRID_OVER_IMAGES * float(np.hypot(posterior.images.x_arcsec, posterior.images.y_arcsec).max())
    return np.linspace(-reach, reach, cells)


@compiled_by_one
@partial(jax.jit, static_argnames=("names", "options"))
def _maps(
    z: Any, arrays: ImageArrays, axis: Any, ratio: Any, *, names: tuple[str, ...], options: ClusterLensOptions
) -> tuple[Any, ...]:
    """1 - kappa - |gamma|, 1 - kappa + |gamma|, alpha_x and alpha_y, each (k, y, x), of each of z (k, d)."""
    x, y = jnp.meshgrid(axis, axis)

    def one(z: Any) -> tuple[Any, ...]:
        mass = cluster_mass(z, names=names, options=options)
        alpha_x, alpha_y, xx, xy, yy = deflection_and_jacobian(x, y, mass, arrays, options=options)
        kappa, gamma = 0.5 * ratio * (xx + yy), ratio * jnp.sqrt(0.25 * (xx - yy) ** 2 + xy**2)
        return 1.0 - kappa - gamma, 1.0 - kappa + gamma, ratio * alpha_x, ratio * alpha_y

    return jax.lax.map(one, z)


@compiled_by_one
@partial(jax.jit, static_argnames=("names", "options"))
def _images(z: Any, arrays: ImageArrays, *, names: tuple[str, ...], options: ClusterLensOptions) -> tuple[Any, ...]:
    """Predicted images, what they are off, magnifications and Fermat potentials [arcsec^2], each (k, n)."""

    def one(z: Any) -> tuple[Any, ...]:
        mass = cluster_mass(z, names=names, options=options)
        images = predicted_images(mass, arrays, options=options)
        theta_x, theta_y = images.theta_x, images.theta_y
        beta_x, beta_y = arrays.member_of @ images.beta_x, arrays.member_of @ images.beta_y
        psi = arrays.ratio * potential(theta_x, theta_y, mass, arrays, options=options)
        fermat = 0.5 * ((theta_x - beta_x) ** 2 + (theta_y - beta_y) ** 2) - psi
        return theta_x, theta_y, images.off_x, images.off_y, images.mu, fermat

    return jax.lax.map(one, z)
