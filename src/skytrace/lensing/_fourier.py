"""Convolution with the PSF as small real matrix products in a truncated Fourier basis. Private to rendering.

The stamp lives on a torus of ``pixels + 16`` pixels. Its light has cosine and sine coefficients up to the wavenumber
at which the PSF's transfer function has died; they are multiplied by it and summed at pixel centres. No kernel
image, no truncation radius.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from skytrace.errors import PixelError
from skytrace.lensing._kernel_cache import follow_sources
from skytrace.lensing._tracing import exp2

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CLOSED_BETAS", "MARGIN", "convolve_image", "convolve_moffat", "moffat_order", "moffat_otf"]

#: Pixels of light sampled beyond each edge of the stamp, and how much longer the torus is than the stamp.
MARGIN = 3
_GAP = 16
#: Moffat indices whose transfer function is exp(-z) times a polynomial of z = alpha k.
CLOSED_BETAS = {2.5: (1.0, 1.0, 0.0, 0.0), 3.5: (1.0, 1.0, 1.0 / 3.0, 0.0), 4.5: (1.0, 1.0, 2.0 / 5.0, 1.0 / 15.0)}
_LANES = 8  # numbers a vector register holds at least
_OTF_CUT = 1e-3  # transfer function (times a source's own fall-off) below this adds < 1e-4 of the peak
_MINUS_LOG2E = np.float32(-np.log2(np.e))
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
    orders = np.arange(_LANES - 1, max(int((pixels + _GAP) * 0.8), 2 * _LANES), _LANES)  # with 0, whole registers
    otf = moffat_otf(np.asarray(orders * step, dtype=np.float64), fwhm_arcsec.min(axis=1)[:, None], beta=beta)
    return orders[np.minimum((otf > _OTF_CUT).sum(axis=1), len(orders) - 1)]


@lru_cache(maxsize=64)
def _bases(pixels: int, order: int) -> tuple[NDArray[np.float32], ...]:
    """Cosines (order + 1, h) and sines (order, h) of 2 pi m x / period for half of the grid, each with its transpose.

    Both grids are symmetric about the stamp's middle, from which x counts: a cosine sees only the sum of the two
    halves, a sine only their difference: half of the products. First the half-pixel grid, then pixel centres (with the
    2 of cosine series and 1/period). Widths are padded with zeros to a multiple of _LANES.
    """
    period = pixels + _GAP
    fine = (np.arange(pixels + 2 * MARGIN + 1) - 1) / 2.0 - 0.25 - MARGIN - (pixels - 1) / 2.0
    coarse = np.arange((pixels + 1) // 2) - (pixels - 1) / 2.0
    harmonics = np.arange(order + 1)
    found = []
    for positions, weight in ((fine, np.ones(order + 1)), (coarse, np.r_[1.0, np.full(order, 2.0)] / period)):
        phase = 2.0 * np.pi * np.outer(harmonics, positions) / period
        pad = ((0, -(order + 1) % _LANES), (0, -len(positions) % _LANES))
        for values in (np.cos(phase) * weight[:, None], np.sin(phase) * weight[:, None]):
            full = np.pad(values, pad).astype(np.float32)
            found += [full, np.ascontiguousarray(full.T)]
    return tuple(found)


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _multiply(left, right, out):
    """out = left @ right, float32. The sum runs in one order whatever the batch, the thread or the BLAS installed.

    The library's product is not used: its bits change with its number of threads, and its locks stall Python threads.
    Four rows by four terms at a time keep the multipliers busy.
    """
    rows, inner = left.shape
    columns = right.shape[1]
    whole, blocked = inner - inner % 4, rows - rows % 4
    out[:] = np.float32(0)
    for i in range(0, blocked, 4):
        r0, r1, r2, r3 = out[i], out[i + 1], out[i + 2], out[i + 3]
        for k in range(0, whole, 4):
            a00, a01, a02, a03 = left[i, k], left[i, k + 1], left[i, k + 2], left[i, k + 3]
            a10, a11, a12, a13 = left[i + 1, k], left[i + 1, k + 1], left[i + 1, k + 2], left[i + 1, k + 3]
            a20, a21, a22, a23 = left[i + 2, k], left[i + 2, k + 1], left[i + 2, k + 2], left[i + 2, k + 3]
            a30, a31, a32, a33 = left[i + 3, k], left[i + 3, k + 1], left[i + 3, k + 2], left[i + 3, k + 3]
            b0, b1, b2, b3 = right[k], right[k + 1], right[k + 2], right[k + 3]
            for j in range(columns):
                r0[j] += a00 * b0[j] + a01 * b1[j] + a02 * b2[j] + a03 * b3[j]
                r1[j] += a10 * b0[j] + a11 * b1[j] + a12 * b2[j] + a13 * b3[j]
                r2[j] += a20 * b0[j] + a21 * b1[j] + a22 * b2[j] + a23 * b3[j]
                r3[j] += a30 * b0[j] + a31 * b1[j] + a32 * b2[j] + a33 * b3[j]
        for k in range(whole, inner):
            b0 = right[k]
            for j in range(columns):
                r0[j] += left[i, k] * b0[j]
                r1[j] += left[i + 1, k] * b0[j]
                r2[j] += left[i + 2, k] * b0[j]
                r3[j] += left[i + 3, k] * b0[j]
    for i in range(blocked, rows):
        row = out[i]
        for k in range(inner):
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


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _analyse(light, order, cos, cos_t, sin, sin_t, out):
    """Coefficients (n, 2 order + 1, 2 order + 1) of light (n, 2h, 2h): rows and columns are 1, cosines, sines."""
    n, side = light.shape[0], light.shape[1]
    h, width, padded = side // 2, cos.shape[1], cos.shape[0]
    folded = np.zeros((4, width, width), np.float32)
    half, block = np.empty((padded, width), np.float32), np.empty((padded, padded), np.float32)
    for i in range(n):
        for y in range(h):
            top, bottom = light[i, y], light[i, side - 1 - y]
            for x in range(h):
                a, b, c, d = top[x], top[side - 1 - x], bottom[x], bottom[side - 1 - x]
                folded[0, y, x] = (a + b) + (c + d)
                folded[1, y, x] = (a - b) + (c - d)
                folded[2, y, x] = (a + b) - (c + d)
                folded[3, y, x] = (a - b) - (c - d)
        for part in range(4):
            _multiply(cos if part < 2 else sin, folded[part], half)
            _multiply(half, cos_t if part % 2 == 0 else sin_t, block)
            first_y, first_x = part // 2, part % 2
            for y in range(first_y, order + 1):
                for x in range(first_x, order + 1):
                    out[i, y + first_y * order, x + first_x * order] = block[y, x]


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _synthesise(spectrum, order, cos, cos_t, sin, sin_t, out):
    """Images (n, pixels, pixels) of coefficients (n, 2 order + 1, 2 order + 1)."""
    n, pixels = out.shape[0], out.shape[1]
    h, width, padded = (pixels + 1) // 2, cos.shape[1], cos.shape[0]
    block, half = np.zeros((padded, padded), np.float32), np.empty((padded, width), np.float32)
    parts, turned = np.empty((4, width, width), np.float32), np.empty((2, width), np.float32)
    for i in range(n):
        for part in range(4):
            first_y, first_x = part // 2, part % 2
            block[0] = np.float32(0)
            block[:, 0] = np.float32(0)
            for y in range(first_y, order + 1):
                for x in range(first_x, order + 1):
                    block[y, x] = spectrum[i, y + first_y * order, x + first_x * order]
            _multiply(block, cos if part % 2 == 0 else sin, half)
            _multiply(cos_t if part < 2 else sin_t, half, parts[part])
        for y in range(h):
            top, bottom = out[i, y], out[i, pixels - 1 - y]
            for x in range(h):
                a, b, c, d = parts[0, y, x], parts[1, y, x], parts[2, y, x], parts[3, y, x]
                top[x] = (a + b) + (c + d)
                bottom[x] = (a + b) - (c + d)
                turned[0, x] = (a - b) + (c - d)
                turned[1, x] = (a - b) - (c - d)
            for x in range(h):
                top[pixels - 1 - x] = turned[0, x]
                bottom[pixels - 1 - x] = turned[1, x]


def _coefficients(light: NDArray[np.float32], pixels: int, order: int) -> NDArray[np.float32]:
    """Coefficients of half-pixel light maps (n, 2h, 2h)."""
    out = np.empty((len(light), 2 * order + 1, 2 * order + 1), dtype=np.float32)
    _analyse(light, order, *_bases(pixels, order)[:4], out)  # type: ignore[call-arg]
    return out


def _images(spectrum: NDArray[np.float32], pixels: int, order: int) -> NDArray[np.float32]:
    """Images of coefficients over any leading axes."""
    stack = spectrum.reshape(-1, *spectrum.shape[-2:])
    out = np.empty((len(stack), pixels, pixels), dtype=np.float32)
    _synthesise(stack, order, *_bases(pixels, order)[4:], out)  # type: ignore[call-arg]
    return out.reshape(*spectrum.shape[:-2], pixels, pixels)


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
    c1, c2, c3 = np.float32(polynomial[1]), np.float32(polynomial[2]), np.float32(polynomial[3])
    one = np.float32(1)
    for i in range(n):
        for band in range(bands):
            scale = np.float32(alpha[i, band] * step)
            for j in range(order + 1):
                row, strength = otf[j], response[j] * np.float32(flux[i, band])
                for k in range(order + 1):
                    z = scale * np.sqrt(np.float32(j * j + k * k))
                    row[k] = exp2(z * _MINUS_LOG2E) * (one + z * (c1 + z * (c2 + z * c3))) * response[k] * strength
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
    harmonics = np.arange(order + 1)
    response = np.sinc(harmonics / (pixels + _GAP)) if pixel_response else np.ones(order + 1)
    coefficients = _coefficients(light, pixels, order)
    alpha = fwhm_arcsec / (2.0 * np.sqrt(2.0 ** (1.0 / beta) - 1.0))
    spectrum = np.empty((*flux.shape, *coefficients.shape[1:]), dtype=np.float32)
    step = 2.0 * np.pi / ((pixels + _GAP) * scale)
    _filter_moffat(coefficients, alpha, CLOSED_BETAS[beta], step, response.astype(np.float32), flux, spectrum)
    return _images(spectrum, pixels, order)


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
    coefficients = _coefficients(light, pixels, order)[:, None]
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
    return _images(spectrum, pixels, order)


follow_sources(globals())
