"""Hosts of sharp, deep sky made to look like worse sky: never the reverse.

The image is convolved with the kernel whose transfer function is OTF(target) / OTF(own) of two Moffats of one beta, and
noise is added so that the power spectrum of the sky noise becomes the target's at every scale: if the own noise has the
spectrum s0^2 P(k) and the target s1^2 P(k), with P the coadd's resampling covariance (P(0) = 1), the addition has
P(k) (s1^2 - s0^2 |R(k)|^2), which is positive wherever s1 >= s0 because |R| <= 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from skytrace.errors import PixelError
from skytrace.imaging.psf import PIXEL_SCALE_ARCSEC, moffat_fwhm_from_psfsize, sky_sigma_nmgy
from skytrace.imaging.sky_noise import resampling_kernel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["DegradedSky", "degrade_cutouts", "degraded_sky", "noise_spectrum", "transfer_ratio"]

_PAD = 27  # pixels mirrored on every side: beyond 7 arcsec the kernel holds < 1e-3 of its weight
_POLYNOMIALS = {2.5: (1.0, 1.0), 3.5: (1.0, 1.0, 1.0 / 3.0), 4.5: (1.0, 1.0, 0.4, 1.0 / 15.0)}


@dataclass(frozen=True)
class DegradedSky:
    """Own and target sky of n hosts, each (n, band): psfsize [arcsec], psfdepth [nanomaggies^-2]."""

    psfsize: NDArray[np.float64]
    psfdepth: NDArray[np.float64]
    target_psfsize: NDArray[np.float64]
    target_psfdepth: NDArray[np.float64]

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Own sky noise of a pixel [nanomaggies]."""
        return sky_sigma_nmgy(self.psfdepth, self.psfsize)

    @property
    def target_sigma(self) -> NDArray[np.float64]:
        """Sky noise of a pixel [nanomaggies] after degrading."""
        return sky_sigma_nmgy(self.target_psfdepth, self.target_psfsize)

    def take(self, rows: slice) -> DegradedSky:
        """Some of the hosts."""
        return DegradedSky(
            self.psfsize[rows], self.psfdepth[rows], self.target_psfsize[rows], self.target_psfdepth[rows]
        )


def degraded_sky(
    psfsize: ArrayLike, psfdepth: ArrayLike, *, target_psfsize: ArrayLike, target_psfdepth: ArrayLike
) -> DegradedSky:
    """Own and target sky of every host.

    psfsize, psfdepth: (n, band). target_*: (band,), or (n, band). Raises PixelError where a host would have to be
    sharpened, deepened or made quieter in any band.
    """
    psfsize, psfdepth = np.asarray(psfsize, dtype=np.float64), np.asarray(psfdepth, dtype=np.float64)
    target_psfsize = np.broadcast_to(np.asarray(target_psfsize, dtype=np.float64), psfsize.shape)
    target_psfdepth = np.broadcast_to(np.asarray(target_psfdepth, dtype=np.float64), psfsize.shape)
    if (target_psfsize < psfsize).any() or (target_psfdepth > psfdepth).any():
        raise PixelError(
            "hosts can be degraded, never sharpened or deepened: in each band the target must be worse in PSF and depth"
        )
    sky = DegradedSky(psfsize, psfdepth, target_psfsize, target_psfdepth)
    if (sky.target_sigma < sky.sigma * (1.0 - 1e-9)).any():
        raise PixelError("the target sky is quieter per pixel than a host's own: convolution cannot remove that noise")
    return sky


def transfer_ratio(
    own_fwhm_arcsec: ArrayLike,
    target_fwhm_arcsec: ArrayLike,
    *,
    size: int,
    beta: float = 3.5,
    pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC,
) -> NDArray[np.float64]:
    """OTF(target) / OTF(own) of Moffats on the half-plane of a (size, size) real FFT: (..., size, size // 2 + 1).

    Closed forms for beta 2.5, 3.5, 4.5: poly(z) e^-z with z = alpha k. Never above 1 and falling with k if the target
    is broader: a valid kernel. Raises PixelError otherwise.
    """
    own, target = np.asarray(own_fwhm_arcsec, dtype=np.float64), np.asarray(target_fwhm_arcsec, dtype=np.float64)
    if beta not in _POLYNOMIALS:
        raise PixelError(f"psf beta = {beta} has no closed transfer function; use one of {sorted(_POLYNOMIALS)}")
    if (target < own).any():
        raise PixelError("a target PSF is narrower than the host's own; hosts are never sharpened")
    ky, kx = fft.fftfreq(size, pixel_scale_arcsec), fft.rfftfreq(size, pixel_scale_arcsec)
    k = 2.0 * np.pi * np.hypot(ky[:, None], kx[None, :])
    per_fwhm = 0.5 / np.sqrt(2.0 ** (1.0 / beta) - 1.0)
    z0, z1 = (per_fwhm * fwhm[..., None, None] * k for fwhm in (own, target))
    poly = np.polynomial.Polynomial(_POLYNOMIALS[beta])
    return poly(z1) / poly(z0) * np.exp(z0 - z1)


@lru_cache(maxsize=4)
def noise_spectrum(size: int) -> NDArray[np.float64]:
    """P(k), the power spectrum of the coadd's noise on the half-plane (size, size // 2 + 1), with P(0) = 1."""
    kernel = np.zeros(size)
    taps = resampling_kernel()
    kernel[: len(taps)] = taps
    power = np.abs(fft.fft(kernel)) ** 2
    return power[:, None] * power[None, : size // 2 + 1]


def degrade_cutouts(
    image: NDArray[np.float32],
    invvar: NDArray[np.float32],
    *,
    sky: DegradedSky,
    electrons_per_nmgy: ArrayLike,
    normals: NDArray[np.float32],
    beta: float = 3.5,
    own_fwhm_arcsec: ArrayLike | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Image and inverse variance (n, band, y, x) as the target sky would have shown them; flux is conserved.

    electrons_per_nmgy: (n, band) of the own exposures; the target's are fewer in proportion to its sky's inverse
    variance, and the photon noise of the galaxy itself is topped up to theirs. normals: (n, 2, band, y + 54, x + 54),
    standard normal: for the sky's and the galaxy's noise. own_fwhm_arcsec: (n, band) half-maximum width of the own PSF
    where it was measured; without it, that of psfsize. Pixels without data stay without data; their neighbours use
    the kernel's remaining weight. A host's pixels do not depend on the others': a few hosts a call stay in the
    processor's cache, three times as fast as a hundred.
    """
    n, bands, size, _ = image.shape
    padded = size + 2 * _PAD
    if normals.shape != (n, 2, bands, padded, padded):
        raise PixelError(f"normals have shape {normals.shape}, not {(n, 2, bands, padded, padded)}")
    own = moffat_fwhm_from_psfsize(sky.psfsize, beta=beta) if own_fwhm_arcsec is None else own_fwhm_arcsec
    target = moffat_fwhm_from_psfsize(sky.target_psfsize, beta=beta)
    ratio = transfer_ratio(own, target, size=padded, beta=beta)
    s0, s1 = sky.sigma[..., None, None], sky.target_sigma[..., None, None]
    spectrum = noise_spectrum(padded)
    white = fft.rfft2(normals) * np.sqrt(spectrum)
    extra = fft.irfft2(white[:, 0] * np.sqrt(np.maximum(s1**2 - (s0 * ratio) ** 2, 0.0)), s=(padded, padded))
    resampled = fft.irfft2(white[:, 1], s=(padded, padded))
    valid = (invvar > 0) & np.isfinite(image)
    smooth = _convolve(np.where(valid, image, 0.0), ratio)
    if not valid.all():
        smooth = smooth / np.maximum(_convolve(valid.astype(np.float32), ratio), 0.25)
    # of a pixel's own variance, be it of the sky or of the galaxy's light, the convolution leaves this share
    kept = (_plane_mean(spectrum * ratio**2, padded) / _plane_mean(spectrum, padded))[..., None, None]
    electrons = np.asarray(electrons_per_nmgy, dtype=np.float64)[..., None, None]
    shot = np.maximum(smooth, 0.0) * ((s1 / s0) ** 2 - kept) / electrons
    crop = (slice(None), slice(None), slice(_PAD, -_PAD), slice(_PAD, -_PAD))
    out = smooth + extra[crop] + np.sqrt(shot) * resampled[crop]
    variance = np.where(valid, 1.0 / np.where(valid, invvar, 1.0), np.inf)
    new_variance = kept * variance + s1**2 - kept * s0**2 + shot
    weight = np.where(valid, 1.0 / np.maximum(new_variance, 1e-30), 0.0)
    return np.where(valid, out, image).astype(np.float32), weight.astype(np.float32)


def _convolve(image: NDArray, ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    margin = [(0, 0)] * (image.ndim - 2) + [(_PAD, _PAD)] * 2
    padded = np.pad(image, margin, mode="symmetric")
    size = padded.shape[-1]
    return fft.irfft2(fft.rfft2(padded.astype(np.float64)) * ratio, s=(size, size))[..., _PAD:-_PAD, _PAD:-_PAD]


def _plane_mean(half_plane: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Mean over the whole Fourier plane of a quantity given on its half."""
    weight = np.full(size // 2 + 1, 2.0)
    weight[0] = 1.0
    if size % 2 == 0:
        weight[-1] = 1.0
    return (half_plane * weight).sum(axis=(-2, -1)) / size**2
