"""Light of sources with derivatives, in JAX: an elliptical Sersic body with Gaussian clumps, and what of it a grid of
cells sees through a lens. Private to ``differentiable``.

Conventions and references: sources.py (product-average half-light radius, exact b, unlensed total flux).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from numpy.polynomial import Chebyshev, Polynomial

from skytrace.errors import OptionError
from skytrace.lensing import sources as numpy_sources
from skytrace.lensing._differentiable_mass import LensParameters, check_dtype, ray_shoot
from skytrace.lensing.sources import SourceModel

__all__ = [
    "ClumpParameters",
    "Sampling",
    "SourceParameters",
    "sampled_light",
    "sersic_b",
    "sersic_flux",
    "source_parameters",
    "source_surface_brightness",
]

_LEAST_INDEX, _LARGEST_INDEX = 0.3, 6.0  # the range of SourceModel
_LEAST_RHO_SQUARED = 1e-10  # the profile is flat inside 1e-5 Re, where it holds no light and its slope no limit

_EXACT = jax.lax.Precision.HIGHEST  # accelerators multiply float32 with ten bits otherwise
_SPLIT = 4  # parts that a cell is divided into along each axis


class ClumpParameters(NamedTuple):
    """``Clumps`` as arrays (n, k)."""

    flux_fraction: jax.Array
    dx_arcsec: jax.Array
    dy_arcsec: jax.Array
    sigma_arcsec: jax.Array


class SourceParameters(NamedTuple):
    """``SourceModel`` as arrays, (n, band) for the flux and (n,) for the rest, that JAX can trace; not validated."""

    flux_nmgy: jax.Array
    x_arcsec: jax.Array
    y_arcsec: jax.Array
    half_light_radius_arcsec: jax.Array
    sersic_index: jax.Array
    q: jax.Array
    phi_rad: jax.Array
    clumps: ClumpParameters | None = None


@dataclass(frozen=True)
class Sampling:
    """How finely light is integrated; static, part of what jit compiles for.

    cells_per_pixel: cells along each axis of a pixel, whose grid the PSF is applied on. nodes: Gauss-Legendre nodes a
    cell and axis. divided: how many cells of a lens are divided into 4 x 4 at each level, from the whole grid down.
    Raises OptionError naming the field.
    """

    cells_per_pixel: int = 2
    nodes: int = 2
    divided: tuple[int, ...] = (384, 256)

    def __post_init__(self) -> None:
        for name, low, high in (("cells_per_pixel", 1, 16), ("nodes", 2, 12)):
            value = getattr(self, name)
            if not (isinstance(value, int) and low <= value <= high):
                raise OptionError(f"sampling {name} = {value!r} must be an integer from {low} to {high}")
        object.__setattr__(self, "divided", tuple(self.divided))  # hashable, as what jit compiles for must be
        if not all(isinstance(number, int) and number > 0 for number in self.divided):
            raise OptionError(f"sampling divided = {self.divided!r} must be positive integers, one a level")


def source_parameters(sources: SourceModel, *, dtype: str = "float32") -> SourceParameters:
    """Validated sources as arrays of ``dtype``. Raises OptionError for stamps, which have no derivative here."""
    check_dtype(dtype)
    if not isinstance(sources, SourceModel):
        raise OptionError(f"a {type(sources).__name__} has no parameters to differentiate; give a SourceModel")
    columns = {name: jnp.asarray(getattr(sources, name), dtype=dtype) for name in SourceParameters._fields[:-1]}
    clumps = None
    if sources.clumps is not None:
        clumps = ClumpParameters(
            *(jnp.asarray(getattr(sources.clumps, name), dtype=dtype) for name in ClumpParameters._fields)
        )
    return SourceParameters(**columns, clumps=clumps)


@lru_cache(maxsize=2)
def _b_coefficients(degree: int) -> tuple[float, ...]:
    """b - 2 n as a polynomial in 1/n scaled to [-1, 1], fitted to the exact root on the range of indices."""
    fit = Chebyshev.interpolate(
        lambda u: numpy_sources.sersic_b(1.0 / u) - 2.0 / u, degree, domain=[1.0 / _LARGEST_INDEX, 1.0 / _LEAST_INDEX]
    )
    return tuple(float(c) for c in fit.convert(kind=Polynomial, domain=fit.domain, window=[-1.0, 1.0]).coef)


def sersic_b(index: jax.Array) -> jax.Array:
    """b of a Sersic index in [0.3, 6]: sources.sersic_b to 1e-11, smooth in n."""
    index = jnp.asarray(index)
    low, high = 1.0 / _LARGEST_INDEX, 1.0 / _LEAST_INDEX
    scaled = (2.0 / index - (low + high)) / (high - low)
    total = jnp.zeros_like(scaled)
    for coefficient in reversed(_b_coefficients(14)):
        total = total * scaled + coefficient
    return 2.0 * index + total


def _log_sersic_flux(index: jax.Array, half_light_radius_arcsec: jax.Array) -> jax.Array:
    b = sersic_b(index)
    two_n = 2.0 * index
    return jnp.log(np.pi * two_n) + 2.0 * jnp.log(half_light_radius_arcsec) + b - two_n * jnp.log(b) + gammaln(two_n)


def sersic_flux(index: jax.Array, half_light_radius_arcsec: jax.Array) -> jax.Array:
    """Total flux of a Sersic profile with Ie = 1 per arcsec^2, as sources.sersic_flux."""
    return jnp.exp(_log_sersic_flux(jnp.asarray(index), jnp.asarray(half_light_radius_arcsec)))


def source_surface_brightness(beta_x: jax.Array, beta_y: jax.Array, source: SourceParameters) -> jax.Array:
    """Surface brightness [arcsec^-2] of sources of unit total flux at (n, ...) source-plane positions [arcsec]."""

    def column(values: jax.Array) -> jax.Array:
        return values.reshape((values.shape[0],) + (1,) * (beta_x.ndim - 1))

    dx, dy = beta_x - column(source.x_arcsec), beta_y - column(source.y_arcsec)
    cos, sin = column(jnp.cos(source.phi_rad)), column(jnp.sin(source.phi_rad))
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    q, n, radius = source.q, source.sersic_index, source.half_light_radius_arcsec
    b = sersic_b(n)
    log_center = b - _log_sersic_flux(n, radius)
    squared = column(q / radius**2) * u**2 + column(1.0 / (q * radius**2)) * v**2
    squared = jnp.where(squared > _LEAST_RHO_SQUARED, squared, _LEAST_RHO_SQUARED)
    profile = column(log_center) - column(b) * jnp.exp(column(0.5 / n) * jnp.log(squared))
    clumps = source.clumps
    if clumps is None:
        return jnp.exp(profile)
    light = column(1.0 - clumps.flux_fraction.sum(axis=1)) * jnp.exp(profile)
    amplitude = clumps.flux_fraction / (2.0 * np.pi * clumps.sigma_arcsec**2)
    for j in range(clumps.flux_fraction.shape[1]):
        distance = (dx - column(clumps.dx_arcsec[:, j])) ** 2 + (dy - column(clumps.dy_arcsec[:, j])) ** 2
        light = light + column(amplitude[:, j]) * jnp.exp(-0.5 * distance / column(clumps.sigma_arcsec[:, j]) ** 2)
    return light


def sampled_light(
    lens: LensParameters, source: SourceParameters, box: int, scale: float, sampling: Sampling
) -> jax.Array:
    """Surface brightness (n, side, side) of unit-flux sources on the grid of cells of ``box`` pixels and one more cell
    on each side, standing for the light around each cell's centre: value, centroid and second moment are kept.
    """
    side, n = box * sampling.cells_per_pixel, source.q.shape[0]
    size = scale / sampling.cells_per_pixel
    first = -(box // 2 + 0.5) * scale + 0.5 * size
    axis = jnp.asarray(first + np.arange(side) * size, dtype=source.q.dtype)
    x, y = jnp.broadcast_to(axis, (n, side, side)), jnp.broadcast_to(axis[:, None], (n, side, side))
    moments = _moments(x.reshape(n, -1), y.reshape(n, -1), size, lens, source, sampling.nodes, sampling.divided)
    # a sample at a cells from the centre is shared by three cells, weights (a^2 - a)/2, 1 - a^2 and (a^2 + a)/2
    share = np.array([[0.0, -0.5, 0.5], [1.0, 0.0, -1.0], [0.0, 0.5, 0.5]])
    shares = jnp.asarray(np.kron(share, share), dtype=source.q.dtype)
    parts = jnp.einsum("sp,pnm->snm", shares, moments, precision=_EXACT).reshape(3, 3, n, side, side)
    around = ((0, 0), (2, 2), (2, 2))
    padded = [[jnp.pad(parts[i, j], around) for j in range(3)] for i in range(3)]
    shifted = [padded[i][j][:, 2 - i : side + 4 - i, 2 - j : side + 4 - j] for i in range(3) for j in range(3)]
    return jnp.stack(shifted).sum(axis=0)


@lru_cache(maxsize=8)
def _rule(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (nodes^2, 2) as (x, y) of a unit cell about its centre, and what each adds to the moments (9, nodes^2).

    Moment 3 p + q is the mean of light times y^p x^q.
    """
    at, weight = np.polynomial.legendre.leggauss(nodes)
    powers = (at / 2.0) ** np.arange(3)[:, None] * weight / 2.0
    across, along = np.meshgrid(at / 2.0, at / 2.0, indexing="ij")
    return np.stack([along.ravel(), across.ravel()], axis=1), np.kron(powers, powers)


@lru_cache(maxsize=1)
def _joining() -> np.ndarray:
    """Moments of a cell (9) from those of its parts, (9, parts, 9): a part's own lie about its own centre."""
    centers = (np.arange(_SPLIT) - (_SPLIT - 1) / 2.0) / _SPLIT
    one = np.zeros((_SPLIT, 3, 3))
    one[:, 0, 0] = 1.0
    one[:, 1, 0], one[:, 1, 1] = centers, 1.0 / _SPLIT
    one[:, 2, 0], one[:, 2, 1], one[:, 2, 2] = centers**2, 2.0 * centers / _SPLIT, 1.0 / _SPLIT**2
    both = np.einsum("ypa,xqb->pqyxab", one, one) / _SPLIT**2
    return both.reshape(9, _SPLIT**2, 9)


def _moments(
    x: jax.Array,
    y: jax.Array,
    size: float,
    lens: LensParameters,
    source: SourceParameters,
    nodes: int,
    divided: tuple[int, ...],
) -> jax.Array:
    """Moments (9, n, m) of the light in cells of width ``size`` [arcsec] centred on (x, y) (n, m), in widths of a cell.

    The cells whose nodes differ most are divided, and of their parts again those.
    """
    offsets, weights = _rule(nodes)

    @jax.checkpoint  # its derivative recomputes the rays: quicker, and smaller by far, than keeping them
    def light_at(_: None, offset: jax.Array) -> tuple[None, jax.Array]:
        return None, source_surface_brightness(*ray_shoot(x + offset[0], y + offset[1], lens), source)

    _, light = jax.lax.scan(light_at, None, jnp.asarray(offsets * size, dtype=x.dtype))
    moments = jnp.einsum("pk,knm->pnm", jnp.asarray(weights, dtype=x.dtype), light, precision=_EXACT)
    if not divided:
        return moments
    n, number = x.shape[0], min(divided[0], x.shape[1])
    seen = jax.lax.stop_gradient(light)
    _, chosen = jax.lax.top_k(seen.max(axis=0) - seen.min(axis=0), number)
    steps = (np.arange(_SPLIT) - (_SPLIT - 1) / 2.0) / _SPLIT * size
    part_x = jnp.asarray(np.tile(steps, _SPLIT), dtype=x.dtype)
    part_y = jnp.asarray(np.repeat(steps, _SPLIT), dtype=x.dtype)
    parts = _moments(
        (jnp.take_along_axis(x, chosen, 1)[..., None] + part_x).reshape(n, -1),
        (jnp.take_along_axis(y, chosen, 1)[..., None] + part_y).reshape(n, -1),
        size / _SPLIT, lens, source, nodes, divided[1:],
    )  # fmt: skip
    joined = jnp.einsum("psa,anms->pnm", jnp.asarray(_joining(), dtype=x.dtype), parts.reshape(9, n, number, _SPLIT**2))
    return moments.at[:, jnp.arange(n)[:, None], chosen].set(joined)
