"""Noise of a resampled coadd: neighbouring pixels are correlated, and large scales keep the noise that invvar states.

Resampling an exposure with a Lanczos-3 kernel at a random sub-pixel offset multiplies its white noise by |W(k)|^2;
the coadd of many offsets carries the mean of these spectra (legacypipe ``coadds.py`` resamples with Lanczos-3). The
weights sum to one, so that noise of large scales, and with it what a matched filter or an aperture sees, is that of
white pixels of variance 1/invvar; a single pixel scatters less, by ``pixel_variance_share``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import correlate1d

from skytrace.errors import PixelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "NOISE_PAD",
    "correlated_noise",
    "draw_correlated_noise",
    "noise_autocorrelation",
    "pixel_variance_share",
    "resampling_kernel",
]

#: Half-width [pixels] of the noise kernel: the margin of normals that ``correlated_noise`` needs on every side.
NOISE_PAD = 5


@lru_cache(maxsize=1)
def _mean_spectrum(size: int = 64, offsets: int = 64) -> NDArray[np.float64]:
    shift = (np.arange(offsets) + 0.5) / offsets - 0.5
    taps = np.arange(-3, 4)[None, :] - shift[:, None]
    weights = np.where(np.abs(taps) < 3, np.sinc(taps) * np.sinc(taps / 3.0), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    padded = np.zeros((offsets, size))
    padded[:, :7] = weights
    return (np.abs(np.fft.fft(padded, axis=1)) ** 2).mean(axis=0)


def resampling_kernel() -> NDArray[np.float64]:
    """Symmetric 1-d kernel (2 NOISE_PAD + 1,) of sum 1 whose power spectrum is the coadd's."""
    taps = np.fft.fftshift(np.fft.ifft(np.sqrt(_mean_spectrum())).real)
    middle = len(taps) // 2
    kernel = taps[middle - NOISE_PAD : middle + NOISE_PAD + 1]
    kernel = 0.5 * (kernel + kernel[::-1])
    return kernel / kernel.sum()


def pixel_variance_share() -> float:
    """Variance of one pixel over that of the white noise which has the same power on large scales (both axes)."""
    return float((resampling_kernel() ** 2).sum() ** 2)


def noise_autocorrelation(lag: int) -> float:
    """Correlation of two pixels ``lag`` apart along one axis."""
    kernel = resampling_kernel()
    products = np.correlate(kernel, kernel, "full")
    return float(products[len(kernel) - 1 + lag] / products[len(kernel) - 1])


def correlated_noise(sigma: ArrayLike, normals: NDArray[np.float32]) -> NDArray[np.float32]:
    """Noise image (..., y, x) of white noise ``sigma`` = 1/sqrt(invvar), broadcast against (..., y, x), resampled.

    normals: (..., y + 2 NOISE_PAD, x + 2 NOISE_PAD) standard normal deviates. A pixel's own variance is sigma^2 times
    ``pixel_variance_share``; where sigma varies, sigma^2 is its resampling-weighted mean. PixelError for a bad shape.
    """
    normals = np.asarray(normals, dtype=np.float32)
    height, width = normals.shape[-2] - 2 * NOISE_PAD, normals.shape[-1] - 2 * NOISE_PAD
    if height < 1 or width < 1:
        raise PixelError(f"normals of shape {normals.shape} leave no pixel inside a margin of {NOISE_PAD}")
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float32), (*normals.shape[:-2], height, width))
    if not (sigma >= 0).all():
        raise PixelError("sigma must be finite and not negative")
    margin = [(0, 0)] * (normals.ndim - 2) + [(NOISE_PAD, NOISE_PAD)] * 2
    white = normals * np.pad(sigma, margin, mode="edge")
    kernel = resampling_kernel()
    rows = correlate1d(white, kernel, axis=-1, mode="constant")[..., NOISE_PAD:-NOISE_PAD]
    return correlate1d(rows, kernel, axis=-2, mode="constant")[..., NOISE_PAD:-NOISE_PAD, :]


def draw_correlated_noise(sigma: ArrayLike, *, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of ``shape`` (..., y, x) from fresh normals of ``rng``; see correlated_noise."""
    padded = (*shape[:-2], shape[-2] + 2 * NOISE_PAD, shape[-1] + 2 * NOISE_PAD)
    return correlated_noise(sigma, rng.standard_normal(padded, dtype=np.float32))
