"""Images of lensed sources with derivatives, on any device: the physics of ``rendering`` as pure JAX functions.

For fits, gradients and GPUs; the compiled engine (``skytrace.lensing.render_lenses``) is faster on a CPU and agrees
with it behind the same tests. Everything has an explicit batch axis and static shapes, so jit compiles once for a
shape; ``jax.grad``, ``jax.jacfwd`` and ``jax.vmap`` apply to the parameters, which are named tuples of arrays made by
``parameters_of`` from the validated models. The dtype is the parameters' own: float32, or float64 inside
``with jax.enable_x64(True)``; nothing is switched on at import.

Method: a grid of cells, the light of each with its centroid and second moments by Gauss-Legendre nodes; the cells
where it varies most are divided and divided again (static numbers of them); then one FFT on a torus longer than the
stamp and the PSF's transfer function at every harmonic. Which cells are divided is a choice, held fixed in
derivatives: an image jumps by less than its integration error where the choice changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import gamma

from skytrace.errors import OptionError
from skytrace.imaging.psf import PIXEL_SCALE_ARCSEC, ImagePsf, MoffatPsf
from skytrace.lensing._differentiable_light import (
    ClumpParameters,
    Sampling,
    SourceParameters,
    sampled_light,
    sersic_b,
    sersic_flux,
    source_parameters,
    source_surface_brightness,
)
from skytrace.lensing._differentiable_mass import (
    LensParameters,
    convergence,
    epl_convergence,
    epl_deflection,
    lens_parameters,
    magnification_determinant,
    ray_shoot,
    shear_deflection,
    sie_convergence,
    sie_deflection,
)
from skytrace.lensing.rendering import check_stamps

if TYPE_CHECKING:
    from skytrace.lensing.deflection import LensModel
    from skytrace.lensing.sources import SourceModel

__all__ = [
    "ClumpParameters",
    "ImageSeeing",
    "LensParameters",
    "MoffatSeeing",
    "Sampling",
    "SourceParameters",
    "convergence",
    "epl_convergence",
    "epl_deflection",
    "lens_parameters",
    "magnification_determinant",
    "moffat_transfer",
    "parameters_of",
    "ray_shoot",
    "render_lenses",
    "sersic_b",
    "sersic_flux",
    "shear_deflection",
    "sie_convergence",
    "sie_deflection",
    "source_parameters",
    "source_surface_brightness",
]

_MARGIN, _GAP = 3, 16  # pixels of light beyond each edge, and of torus beyond the stamp, as in the compiled engine
#: exp(-z) times a polynomial of z: K_(beta - 1) of half-integer order, its coefficients from z^0 up.
_CLOSED_BETAS = {2.5: (1.0, 1.0), 3.5: (1.0, 1.0, 1.0 / 3.0), 4.5: (1.0, 1.0, 2.0 / 5.0, 1.0 / 15.0)}
_DEFAULT_SAMPLING = Sampling()
_HYPERBOLIC_NODES, _HYPERBOLIC_STEP = 44, 0.28  # of the integral for another beta: to 2e-11 below beta 5


@partial(jax.tree_util.register_dataclass, data_fields=["fwhm_arcsec"], meta_fields=["beta"])
@dataclass(frozen=True)
class MoffatSeeing:
    """``MoffatPsf`` for JAX: fwhm_arcsec (n, band) can be traced, beta is one static number above 1."""

    fwhm_arcsec: jax.Array
    beta: float


class ImageSeeing(NamedTuple):
    """``ImagePsf`` for JAX: images (n, band, k, k), odd k, at the stamps' pixel scale."""

    images: jax.Array


def parameters_of(
    lenses: LensModel, sources: SourceModel, psf: MoffatPsf | ImagePsf, *, dtype: str = "float32"
) -> tuple[LensParameters, SourceParameters, MoffatSeeing | ImageSeeing]:
    """What ``render_lenses`` takes, from validated models. Raises PixelError where they differ in number or band."""
    check_stamps(lenses, sources, psf, 64, PIXEL_SCALE_ARCSEC)
    lens, source = lens_parameters(lenses, dtype=dtype), source_parameters(sources, dtype=dtype)
    seeing: MoffatSeeing | ImageSeeing
    if isinstance(psf, MoffatPsf):
        seeing = MoffatSeeing(jnp.asarray(psf.fwhm_arcsec, dtype=dtype), float(psf.beta))
    else:
        seeing = ImageSeeing(jnp.asarray(psf.images, dtype=dtype))
    return lens, source, seeing


@partial(
    jax.jit,
    static_argnames=("pixels", "pixel_scale_arcsec", "psf_includes_pixel", "sampling", "batch_size"),
)
def render_lenses(
    lens: LensParameters,
    source: SourceParameters,
    seeing: MoffatSeeing | ImageSeeing,
    *,
    pixels: int = 64,
    pixel_scale_arcsec: float = 0.262,
    psf_includes_pixel: bool = True,
    sampling: Sampling = _DEFAULT_SAMPLING,
    batch_size: int | None = None,
) -> jax.Array:
    """Lensed light of the sources: (n, band, y, x) [nanomaggies per pixel], in the parameters' dtype.

    Geometry, PSF and units are those of ``skytrace.lensing.render_lenses``; any beta > 1 is allowed. batch_size: lenses
    rendered at once, all of them by default (a GPU's choice; 1 suits a CPU's caches and memory).
    """
    if not 8 <= pixels <= 1024:
        raise OptionError(f"pixels = {pixels!r} must be an integer from 8 to 1024")
    if batch_size is not None and batch_size < 1:
        raise OptionError(f"batch_size = {batch_size!r} must be at least 1, or None for all lenses at once")
    torus = _torus_pixels(pixels)

    def images(rows: tuple[LensParameters, SourceParameters, MoffatSeeing | ImageSeeing]) -> jax.Array:
        lens, source, seeing = rows
        light = sampled_light(lens, source, pixels + 2 * _MARGIN, pixel_scale_arcsec, sampling)
        return _observe(
            light, source.flux_nmgy, seeing, torus=torus, pixels=pixels, scale=pixel_scale_arcsec,
            pixel_response=not psf_includes_pixel, cells=sampling.cells_per_pixel,
        )  # fmt: skip

    if batch_size is None:
        return images((lens, source, seeing))
    n, whole = source.flux_nmgy.shape[0], batch_size
    padded = jax.tree.map(lambda a: jnp.pad(a, ((0, -n % whole),) + ((0, 0),) * (a.ndim - 1), mode="edge"),
                          (lens, source, seeing))  # fmt: skip
    blocks = jax.tree.map(lambda a: a.reshape(-1, whole, *a.shape[1:]), padded)
    out = jax.lax.map(images, blocks)
    return out.reshape(-1, *out.shape[2:])[:n]


def _torus_pixels(pixels: int) -> int:
    """The next even number of pixels from pixels + gap up that has no prime factor above 5: quick to transform."""
    size = pixels + _GAP + (pixels + _GAP) % 2
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 2


def _observe(
    light: jax.Array, flux: jax.Array, seeing: MoffatSeeing | ImageSeeing, *, torus: int, pixels: int, scale: float,
    pixel_response: bool, cells: int,
) -> jax.Array:  # fmt: skip
    """Images (n, band, pixels, pixels) of light (n, side, side) on the cells, of flux (n, band).

    Harmonics of the fine grid are multiplied by the transfer function; those that a pixel grid cannot tell apart are
    added before the inverse transform, which samples the image at pixel centres.
    """
    fine, dtype = torus * cells, light.dtype
    m_y, m_x = np.fft.fftfreq(fine, 1.0 / fine), np.arange(fine // 2 + 1)
    start = -_MARGIN - 0.5 - 0.5 / cells  # centre [pixels] of the border's cell, from the first pixel's

    def axis_factor(m: np.ndarray) -> np.ndarray:
        factor = np.exp(-2j * np.pi * m * start / torus) / cells
        factor = np.where(np.abs(m) == fine // 2, 0.0, factor)  # its sign is not known on an even grid
        return factor * np.sinc(m / torus) if pixel_response else factor

    complex_dtype = jnp.complex128 if dtype == jnp.float64 else jnp.complex64
    factor = jnp.asarray(axis_factor(m_y)[:, None] * axis_factor(m_x) * scale**2, dtype=complex_dtype)
    spectrum = (jnp.fft.rfft2(light, s=(fine, fine)) * factor)[:, None]
    if isinstance(seeing, MoffatSeeing):
        k = jnp.asarray(2.0 * np.pi * np.hypot(m_y[:, None], m_x) / (torus * scale), dtype=dtype)
        transfer = moffat_transfer(k, seeing.fwhm_arcsec[:, :, None, None], beta=seeing.beta)
    else:
        transfer = _image_transfer(seeing.images, m_y, m_x, torus, complex_dtype)
    spectrum = spectrum * transfer * flux[:, :, None, None]
    spectrum = spectrum.reshape(*flux.shape, cells, torus, -1).sum(axis=2)
    rows = jnp.fft.ifft(spectrum, axis=-2)[..., :pixels, :]
    return jnp.fft.irfft(rows, n=fine, axis=-1)[..., : pixels * cells : cells] * cells


def moffat_transfer(k: jax.Array, fwhm_arcsec: jax.Array, *, beta: float) -> jax.Array:
    """Transfer function of a Moffat of any beta > 1 at wavenumbers k [rad/arcsec]; broadcasts.

    2 (z/2)^nu K_nu(z) / Gamma(nu), nu = beta - 1, z = alpha k: in closed form for beta 2.5, 3.5 and 4.5, otherwise by
    K_nu(z) = int_0^inf exp(-z cosh t) cosh(nu t) dt, whose trapezoidal sum converges exponentially.
    """
    z = k * fwhm_arcsec / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    if beta in _CLOSED_BETAS:
        polynomial = jnp.zeros_like(z)
        for coefficient in reversed(_CLOSED_BETAS[beta]):
            polynomial = polynomial * z + coefficient
        return jnp.exp(-z) * polynomial
    nu = beta - 1.0
    positive = z > 1e-3
    safe = jnp.where(positive, z, 1.0)
    t = np.arange(_HYPERBOLIC_NODES) * _HYPERBOLIC_STEP
    weights = np.where(t == 0.0, 0.5, 1.0) * _HYPERBOLIC_STEP * np.cosh(nu * t) * 2.0 / gamma(nu)
    nodes = jnp.asarray(np.stack([np.cosh(t), np.log(weights)], axis=1), dtype=z.dtype)
    power = nu * jnp.log(0.5 * safe)

    def add_node(total: jax.Array, node: jax.Array) -> tuple[jax.Array, None]:
        return total + jnp.exp(power + node[1] - safe * node[0]), None

    total, _ = jax.lax.scan(add_node, jnp.zeros_like(safe), nodes)
    return jnp.where(positive, total, 1.0)


def _image_transfer(
    images: jax.Array, m_y: np.ndarray, m_x: np.ndarray, torus: int, complex_dtype: jnp.dtype
) -> jax.Array:
    """Fourier transform of PSF images up to the pixel grid's own Nyquist limit, and nothing beyond it."""
    reach = images.shape[-1] // 2

    def phases(m: np.ndarray) -> jax.Array:
        angle = 2.0 * np.pi * np.outer(m, np.arange(-reach, reach + 1)) / torus
        return jnp.asarray(np.exp(-1j * angle) * (2 * np.abs(m) < torus)[:, None], dtype=complex_dtype)

    return jnp.einsum(
        "yi,nbij,xj->nbyx", phases(m_y), images.astype(complex_dtype), phases(m_x), precision=jax.lax.Precision.HIGHEST
    )
