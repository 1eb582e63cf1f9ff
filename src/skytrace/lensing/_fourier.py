"""Convolution with the PSF as small real matrix products in a truncated Fourier basis. Private to rendering.

The stamp lives on a torus of ``pixels + 16`` pixels. Its light has cosine and sine coefficients up to the wavenumber
at which the PSF's transfer function has died; they are multiplied by it and summed at pixel centres. No kernel
image, no truncation radius.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from skytrace.errors import PixelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CLOSED_BETAS", "MARGIN", "convolve_image", "convolve_moffat", "moffat_order", "moffat_otf"]

#: Pixels of light sampled beyond each edge of the stamp, and how much longer the torus is than the stamp.
MARGIN = 3
_GAP = 16
#: Moffat indices whose transfer function is exp(-z) times a polynomial of z = alpha k.
CLOSED_BETAS = {2.5: (1.0, 1.0, 0.0, 0.0), 3.5: (1.0, 1.0, 1.0 / 3.0, 0.0), 4.5: (1.0, 1.0, 2.0 / 5.0, 1.0 / 15.0)}
_STEP = 4  # orders are rounded up to a multiple, so that few bases are needed
_OTF_CUT = 1e-3  # transfer function (times a source's own fall-off) below this adds < 1e-4 of the peak
_MATH = {"contract", "nsz", "arcp", "nnan", "ninf"}


def moffat_otf(k: NDArray[np.float64], fwhm_arcsec: NDArray[np.float64], *, beta: float) -> NDArray[np.float64]:
    """Transfer function of a Moffat PSF at wavenumber k [rad/arcsec]. Raises PixelError where it is not closed."""
    if beta not in CLOSED_BETAS:
        known = ", ".join(map(str, CLOSED_BETAS))
        raise PixelError(f"psf beta = {beta} has no closed transfer function here; use one of {known}, or an ImagePsf")
    z = np.asarray(k) * np.asarray(fwhm_arcsec) / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    c0, c1, c2, c3 = CLOSED_BETAS[beta]
    return np.exp(-z) * (c0 + z * (c1 + z * (c2 + z * c3)))


def moffat_order(fwhm_arcsec: NDArray[np.float64], *, beta: float, pixels: int, scale: float) -> NDArray[np.int64]:
    """Highest harmonic (n,) needed by each stamp's sharpest band, so that the choice depends on that stamp alone."""
    step = 2.0 * np.pi / ((pixels + _GAP) * scale)
    most = int((pixels + _GAP) * 0.8) // _STEP * _STEP
    orders = np.arange(_STEP, most + 1, _STEP)
    otf = moffat_otf(np.asarray(orders * step, dtype=np.float64), fwhm_arcsec.min(axis=1)[:, None], beta=beta)
    return orders[np.minimum((otf > _OTF_CUT).sum(axis=1), len(orders) - 1)]


@lru_cache(maxsize=64)
def _bases(pixels: int, order: int) -> tuple[NDArray[np.float32], ...]:
    """Analysis basis (2 order + 1, half-pixel grid), synthesis basis (pixels, 2 order + 1), each with its transpose.

    Rows are 1, cos 1..order, sin 1..order of 2 pi m x / period; synthesis carries the 2 of cosine series and 1/period.
    """
    period = pixels + _GAP
    fine = (np.arange(2 * (pixels + 2 * MARGIN) + 2) - 1) / 2.0 - 0.25 - MARGIN
    coarse = np.arange(pixels, dtype=np.float64)
    harmonics = np.arange(1, order + 1)

    def rows(positions: NDArray[np.float64]) -> NDArray[np.float64]:
        phase = 2.0 * np.pi * np.outer(harmonics, positions) / period
        return np.concatenate([np.ones((1, len(positions))), np.cos(phase), np.sin(phase)])

    weight = np.r_[1.0, np.full(2 * order, 2.0)] / period
    analysis = np.ascontiguousarray(rows(fine), dtype=np.float32)
    synthesis = np.ascontiguousarray((rows(coarse) * weight[:, None]).T, dtype=np.float32)
    return analysis, np.ascontiguousarray(analysis.T), synthesis, np.ascontiguousarray(synthesis.T)


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _multiply(left, right, out):
    """out = left @ right, float32. The sum runs in one order whatever the batch, the thread or the BLAS installed.

    The library's product is not used: its bits change with its number of threads, and its locks stall Python threads.
    """
    rows, inner = left.shape
    columns = right.shape[1]
    whole = inner - inner % 4
    for i in range(rows):
        row = out[i]
        row[:] = np.float32(0)
        for k in range(0, whole, 4):
            a0, a1, a2, a3 = left[i, k], left[i, k + 1], left[i, k + 2], left[i, k + 3]
            b0, b1, b2, b3 = right[k], right[k + 1], right[k + 2], right[k + 3]
            for j in range(columns):
                row[j] += a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j]
        for k in range(whole, inner):
            a0, b0 = left[i, k], right[k]
            for j in range(columns):
                row[j] += a0 * b0[j]


@njit(cache=True, nogil=True, error_model="numpy")
def _sandwich(left, middle, right, out):
    """out[i] = left @ middle[i] @ right for a stack; everything float32 and contiguous."""
    half = np.empty((left.shape[0], middle.shape[2]), np.float32)
    for i in range(len(middle)):
        _multiply(left, middle[i], half)
        _multiply(half, right, out[i])


def _between(left: NDArray[np.float32], middle: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """left @ middle @ right over the leading axes of ``middle``."""
    stack = np.ascontiguousarray(middle.reshape(-1, *middle.shape[-2:]))
    out = np.empty((len(stack), left.shape[0], right.shape[1]), dtype=np.float32)
    _sandwich(left, stack, right, out)
    return out.reshape(*middle.shape[:-2], left.shape[0], right.shape[1])


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _filter_moffat(coefficients, alpha, polynomial, step, response, flux, out):
    """out[n, b] = coefficients[n] * OTF(|k|) * response(kx) response(ky) * flux[n, b]; the PSF is circular."""
    n, width, _ = coefficients.shape
    order = (width - 1) // 2
    bands = alpha.shape[1]
    otf = np.empty((order + 1, order + 1), np.float32)
    c1, c2, c3 = polynomial[1], polynomial[2], polynomial[3]
    for i in range(n):
        for band in range(bands):
            scale = alpha[i, band] * step
            for j in range(order + 1):
                for k in range(j + 1):
                    z = scale * math.sqrt(j * j + k * k)
                    value = np.float32(math.exp(-z) * (1.0 + z * (c1 + z * (c2 + z * c3))) * flux[i, band])
                    value *= response[j] * response[k]
                    otf[j, k] = value
                    otf[k, j] = value
            for j in range(width):
                row = otf[j if j <= order else j - order]
                for k in range(order + 1):
                    out[i, band, j, k] = coefficients[i, j, k] * row[k]
                for k in range(1, order + 1):
                    out[i, band, j, order + k] = coefficients[i, j, order + k] * row[k]


def convolve_moffat(
    light: NDArray[np.float32],
    fwhm_arcsec: NDArray[np.float64],
    flux: NDArray[np.float64],
    *,
    beta: float,
    order: int,
    pixels: int,
    scale: float,
    pixel_response: bool,
) -> NDArray[np.float32]:
    """Images (n, band, y, x) of half-pixel light maps seen through Moffat PSFs (n, band), times flux (n, band).

    pixel_response: integrate over the pixel as well (where the PSF does not include it).
    """
    analysis, analysis_t, synthesis, synthesis_t = _bases(pixels, order)
    harmonics = np.arange(order + 1)
    response = np.sinc(harmonics / (pixels + _GAP)) if pixel_response else np.ones(order + 1)
    coefficients = _between(analysis, light, analysis_t)
    alpha = fwhm_arcsec / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    spectrum = np.empty((*flux.shape, *coefficients.shape[1:]), dtype=np.float32)
    step = 2.0 * np.pi / ((pixels + _GAP) * scale)
    _filter_moffat(coefficients, alpha, CLOSED_BETAS[beta], step, response.astype(np.float32), flux, spectrum)
    return _between(synthesis, spectrum, synthesis_t)


def convolve_image(
    light: NDArray[np.float32],
    images: NDArray[np.float32],
    flux: NDArray[np.float64],
    *,
    pixels: int,
    pixel_response: bool,
) -> NDArray[np.float32]:
    """The same through PSF images (n, band, k, k): their Fourier transform up to the pixel grid's own Nyquist limit."""
    order = (pixels + _GAP - 1) // 2
    analysis, analysis_t, synthesis, synthesis_t = _bases(pixels, order)
    coefficients = _between(analysis, light, analysis_t)[:, None]
    reach = images.shape[-1] // 2
    phase = 2.0 * np.pi * np.outer(np.arange(order + 1), np.arange(-reach, reach + 1)) / (pixels + _GAP)
    cos, sin = np.cos(phase).astype(np.float32), np.sin(phase).astype(np.float32)
    scaled = images.astype(np.float32) * flux[:, :, None, None].astype(np.float32)
    cos_t, sin_t = np.ascontiguousarray(cos.T), np.ascontiguousarray(sin.T)
    cc, cs = _between(cos, scaled, cos_t), _between(cos, scaled, sin_t)
    sc, ss = _between(sin, scaled, cos_t), _between(sin, scaled, sin_t)
    if pixel_response:
        response = np.sinc(np.arange(order + 1) / (pixels + _GAP)).astype(np.float32)
        cc, cs, sc, ss = (part * response * response[:, None] for part in (cc, cs, sc, ss))
    even, odd = slice(0, order + 1), slice(order + 1, None)
    a = coefficients[..., even, even]
    b, c, d = np.zeros_like(a), np.zeros_like(a), np.zeros_like(a)
    b[..., :, 1:] = coefficients[..., even, odd]
    c[..., 1:, :] = coefficients[..., odd, even]
    d[..., 1:, 1:] = coefficients[..., odd, odd]
    # Products of cosines and sines of a sum of angles: light (a, b, c, d) by PSF (cc, cs, sc, ss), first letter y.
    spectrum = np.empty((*flux.shape, *coefficients.shape[-2:]), dtype=np.float32)
    spectrum[..., even, even] = a * cc - b * cs - c * sc + d * ss
    spectrum[..., even, odd] = (a * cs + b * cc - c * ss - d * sc)[..., :, 1:]
    spectrum[..., odd, even] = (a * sc - b * ss + c * cc - d * cs)[..., 1:, :]
    spectrum[..., odd, odd] = (a * ss + b * sc + c * cs + d * cc)[..., 1:, 1:]
    return _between(synthesis, spectrum, synthesis_t)
