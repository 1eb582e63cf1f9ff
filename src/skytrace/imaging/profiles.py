"""Galaxy light through a Moffat PSF, summed in Fourier space: exact convolution, no cusp to sample.

A stamp is the inverse FFT of sum_i F_i T_i(k) exp(-i k.x_i) times the PSF's transfer function, where T is the Hankel
transform of an elliptical Sersic profile (from a table) or a circular Gaussian. Half-light radii are product-average
radii, position angles run counter-clockwise from +x, the origin is the centre of pixel (pixels // 2, pixels // 2).
The PSF includes the pixel, so values are nanomaggies per pixel. Spectra end at the Nyquist frequency of the pixels.
Source of the transfer functions: Moffat OTF in closed form (half-integer Bessel functions, Trujillo et al. 2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import fht, irfft2, next_fast_len
from scipy.special import gamma, gammaincinv

from skytrace.errors import PixelError
from skytrace.imaging.psf import PIXEL_SCALE_ARCSEC, MoffatPsf, moffat_fwhm_from_psfsize

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "GaussianComponents",
    "SersicComponents",
    "effective_area_pixels",
    "moffat_transfer",
    "point_sources",
    "render_profiles",
    "sersic_transfer",
]

_LOG_K_LOW, _LOG_K_HIGH, _N_LOG_K = np.log(1e-3), np.log(3e3), 1024
_INDICES = np.geomspace(0.4, 6.5, 41)
_PAD_PIXELS = 43


@dataclass(frozen=True)
class SersicComponents:
    """m elliptical Sersic profiles. stamp: (m,) index of the stamp each belongs to. flux_nmgy: (m, band).

    x_arcsec, y_arcsec, half_light_radius_arcsec (product-average), sersic_index (0.4-6.5), q, phi_rad: (m,).
    """

    stamp: NDArray[np.int64]
    flux_nmgy: NDArray[np.float64]
    x_arcsec: NDArray[np.float64]
    y_arcsec: NDArray[np.float64]
    half_light_radius_arcsec: NDArray[np.float64]
    sersic_index: NDArray[np.float64]
    q: NDArray[np.float64]
    phi_rad: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.stamp)

    def take(self, index: ArrayLike) -> SersicComponents:
        """The components ``index``."""
        return SersicComponents(**{name: values[np.asarray(index)] for name, values in vars(self).items()})


@dataclass(frozen=True)
class GaussianComponents:
    """m circular Gaussians: stamp (m,), flux_nmgy (m, band), x_arcsec, y_arcsec, sigma_arcsec (m,)."""

    stamp: NDArray[np.int64]
    flux_nmgy: NDArray[np.float64]
    x_arcsec: NDArray[np.float64]
    y_arcsec: NDArray[np.float64]
    sigma_arcsec: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.stamp)

    def take(self, index: ArrayLike) -> GaussianComponents:
        """The components ``index``."""
        return GaussianComponents(**{name: values[np.asarray(index)] for name, values in vars(self).items()})


def moffat_transfer(k: ArrayLike, fwhm_arcsec: ArrayLike, *, beta: float = 3.5) -> NDArray[np.float64]:
    """Transfer function of a Moffat PSF of unit flux at angular frequency k [rad/arcsec]; beta 2.5, 3.5 or 4.5."""
    z = np.asarray(fwhm_arcsec) / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0)) * np.asarray(k, dtype=np.float64)
    if beta == 2.5:
        return (1.0 + z) * np.exp(-z)
    if beta == 3.5:
        return (1.0 + z + z**2 / 3.0) * np.exp(-z)
    if beta == 4.5:
        return (1.0 + z + 0.4 * z**2 + z**3 / 15.0) * np.exp(-z)
    raise PixelError(f"psf beta = {beta} has no closed transfer function here; use 2.5, 3.5 or 4.5")


@lru_cache(maxsize=1)
def _sersic_table() -> NDArray[np.float64]:
    """Rows: T(k R_half) of each of _INDICES on the uniform log grid, by FFTLog (scipy.fft.fht) of r I(r)."""
    log_r = np.linspace(np.log(1e-12), np.log(1e9), 8192)
    step = log_r[1] - log_r[0]
    log_k = -log_r[::-1]
    target = np.linspace(_LOG_K_LOW, _LOG_K_HIGH, _N_LOG_K)
    rows = np.empty((len(_INDICES), _N_LOG_K))
    for i, n in enumerate(_INDICES):
        b = gammaincinv(2.0 * n, 0.5)
        flux = 2.0 * np.pi * n * b ** (-2.0 * n) * gamma(2.0 * n)
        with np.errstate(under="ignore", over="ignore"):
            profile = np.exp(-b * np.exp(log_r / n)) / flux
        # fht gives A(k) = int a(r) J0(kr) k dr; with a = 2 pi r I(r) that is k T(k)
        transform = fht(2.0 * np.pi * profile * np.exp(log_r), step, mu=0.0)
        rows[i] = np.interp(target, log_k, transform / np.exp(log_k))
    return rows


def sersic_transfer(k_half_light: ArrayLike, sersic_index: float) -> NDArray[np.float64]:
    """Hankel transform of a circular Sersic profile of unit flux at k R_half (dimensionless); 1 at k = 0."""
    log_k = np.log(np.maximum(np.asarray(k_half_light, dtype=np.float64), 1e-3))
    return np.interp(log_k, np.linspace(_LOG_K_LOW, _LOG_K_HIGH, _N_LOG_K), _transfer_rows(np.array([sersic_index]))[0])


def _transfer_rows(sersic_index: NDArray[np.float64]) -> NDArray[np.float64]:
    table = _sersic_table()
    place = np.interp(np.log(sersic_index), np.log(_INDICES), np.arange(len(_INDICES)))
    low = np.clip(place.astype(int), 0, len(_INDICES) - 2)
    part = (place - low)[:, None]
    return (1.0 - part) * table[low] + part * table[low + 1]


def effective_area_pixels(
    psfsize_arcsec: ArrayLike, half_light_radius_arcsec: ArrayLike, *, beta: float = 3.5
) -> NDArray[np.float64]:
    """Area [pixels] 1 / sum(profile^2) of a round exponential galaxy seen through the survey's Moffat PSF.

    The noise of a matched-filter flux is sigma_pix sqrt(area): with a half-light radius of 0.45" this makes galdepth
    of psfdepth (Legacy Surveys DR10 definition), and with 0 it is the PSF's own Neff.
    """
    psfsize, radius = np.broadcast_arrays(
        np.asarray(psfsize_arcsec, float), np.asarray(half_light_radius_arcsec, float)
    )
    fwhm = moffat_fwhm_from_psfsize(psfsize, beta=beta)[..., None]
    nodes, weights = np.polynomial.legendre.leggauss(96)
    highest = 40.0 / fwhm  # the transfer function is below 1e-5 there
    k = 0.5 * highest * (nodes + 1.0)
    exponential = (1.0 + (k * radius[..., None] / 1.6783470) ** 2) ** -1.5
    power = (moffat_transfer(k, fwhm, beta=beta) * exponential) ** 2
    integral = (power * k * weights).sum(axis=-1) * 0.5 * highest[..., 0] / (2.0 * np.pi)
    return 1.0 / (integral * PIXEL_SCALE_ARCSEC**2)


def render_profiles(
    sersic: SersicComponents,
    gaussians: GaussianComponents,
    psf: MoffatPsf,
    *,
    pixels: int = 101,
    pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC,
) -> NDArray[np.float32]:
    """Light of all components of len(psf) stamps, (n, band, y, x) float32 [nanomaggies per pixel].

    Stamps are rendered one by one, so that the pixels of one do not depend on its companions in the call.
    Raises PixelError for a component of an unknown stamp or a PSF without a closed transfer function.
    """
    from skytrace.imaging.profile_kernels import add_sersic

    n, bands = psf.fwhm_arcsec.shape
    for name, components in (("sersic", sersic), ("gaussians", gaussians)):
        if len(components) and not (components.stamp.min() >= 0 and components.stamp.max() < n):
            raise PixelError(f"{name} components name stamps outside 0..{n - 1}")
    size = next_fast_len(pixels + _PAD_PIXELS, real=True)
    ky = 2.0 * np.pi * np.fft.fftfreq(size, pixel_scale_arcsec)
    kx = 2.0 * np.pi * np.fft.rfftfreq(size, pixel_scale_arcsec)
    k = np.hypot(ky[:, None], kx[None, :])
    origin = pixels // 2 * pixel_scale_arcsec
    rows = _transfer_rows(np.asarray(sersic.sersic_index, dtype=np.float64))
    image = np.empty((n, bands, pixels, pixels), dtype=np.float32)
    for i in range(n):
        spectrum = _gaussian_spectrum(gaussians, np.flatnonzero(gaussians.stamp == i), kx, ky, origin, bands)
        for j in np.flatnonzero(sersic.stamp == i):
            phase_x = np.exp(-1j * kx * (origin + sersic.x_arcsec[j]))
            phase_y = np.exp(-1j * ky * (origin + sersic.y_arcsec[j]))
            cos, sin = np.cos(sersic.phi_rad[j]), np.sin(sersic.phi_rad[j])
            major = sersic.half_light_radius_arcsec[j] / np.sqrt(sersic.q[j])
            minor = sersic.half_light_radius_arcsec[j] * np.sqrt(sersic.q[j])
            shape = np.array([cos * major, sin * major, -sin * minor, cos * minor])
            flux = np.ascontiguousarray(sersic.flux_nmgy[j], dtype=np.float64)
            add_sersic(spectrum, kx, ky, phase_x, phase_y, shape, flux, rows[j], _LOG_K_LOW, _LOG_K_HIGH)
        for b in range(bands):
            otf = moffat_transfer(k, psf.fwhm_arcsec[i, b], beta=psf.beta)
            image[i, b] = irfft2(spectrum[b] * otf, s=(size, size))[:pixels, :pixels]
    return image


def _gaussian_spectrum(
    gaussians: GaussianComponents,
    index: NDArray[np.int64],
    kx: NDArray[np.floating],
    ky: NDArray[np.floating],
    origin: float,
    bands: int,
) -> NDArray[np.complex128]:
    """Spectrum (band, ky, kx) of circular Gaussians: separable, so a matrix product per band."""
    sigma = gaussians.sigma_arcsec[index][:, None]
    along_x = np.exp(-1j * kx * (origin + gaussians.x_arcsec[index][:, None]) - 0.5 * (kx * sigma) ** 2)
    along_y = np.exp(-1j * ky * (origin + gaussians.y_arcsec[index][:, None]) - 0.5 * (ky * sigma) ** 2)
    flux = gaussians.flux_nmgy[index]
    return np.stack([(along_y * flux[:, b : b + 1]).T @ along_x for b in range(bands)])


def point_sources(
    x_arcsec: ArrayLike,
    y_arcsec: ArrayLike,
    flux_nmgy: NDArray[np.float64],
    fwhm_arcsec: NDArray[np.float64],
    *,
    beta: float = 3.5,
    pixels: int = 101,
    pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC,
) -> NDArray[np.float32]:
    """Sum of m stars in one stamp, (band, y, x): the Moffat itself at pixel centres. flux (m, band), fwhm (band,)."""
    axis = (np.arange(pixels) - pixels // 2) * pixel_scale_arcsec
    x, y = np.atleast_1d(x_arcsec)[:, None, None], np.atleast_1d(y_arcsec)[:, None, None]
    radius2 = (axis[None, None, :] - x) ** 2 + (axis[None, :, None] - y) ** 2
    image = np.zeros((len(fwhm_arcsec), pixels, pixels))
    for b, fwhm in enumerate(fwhm_arcsec):
        alpha2 = fwhm**2 / (4.0 * (2.0 ** (1.0 / beta) - 1.0))
        peak = (beta - 1.0) / (np.pi * alpha2) * pixel_scale_arcsec**2
        image[b] = (flux_nmgy[:, b, None, None] * peak * (1.0 + radius2 / alpha2) ** -beta).sum(axis=0)
    return image.astype(np.float32)
