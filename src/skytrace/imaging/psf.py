"""Point-spread functions: which one a stamp was seen through, and what its tabulated sizes mean.

Legacy Surveys ``psfsize`` is the FWHM of the *Gaussian with the same effective area Neff = 1 / sum(psf**2)*, not a
half-maximum width (legacypipe ``coadds.py``); a Moffat of index beta must be given a smaller FWHM to have that Neff.
All PSFs here include the pixel response (an ePSF sampled at pixel centres), as survey PSFs do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import PixelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "PIXEL_SCALE_ARCSEC",
    "ImagePsf",
    "MoffatPsf",
    "half_maximum_fwhm_arcsec",
    "moffat_fwhm_from_psfsize",
    "neff_pixels",
    "psfsize_of_images",
    "sky_sigma_nmgy",
    "stamp_fwhm_arcsec",
]

#: Legacy Surveys coadd pixel [arcsec].
PIXEL_SCALE_ARCSEC = 0.262
_GAUSSIAN_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
_STEPS_A_PIXEL = 6  # of the grid on which the half-maximum contour of an image is found: width good to 1e-3


@dataclass(frozen=True)
class MoffatPsf:
    """A Moffat PSF for every stamp and band.

    fwhm_arcsec: (n, band) half-maximum width [arcsec]. beta: one for all, > 1 (2.5, 3.5 and 4.5 have closed OTFs).
    """

    fwhm_arcsec: NDArray[np.float64]
    beta: float = 3.5

    def __post_init__(self) -> None:
        fwhm = np.atleast_2d(np.asarray(self.fwhm_arcsec, dtype=np.float64))
        if not (np.isfinite(fwhm).all() and (fwhm > 0).all()):
            raise PixelError(f"psf fwhm_arcsec must be finite and positive; got a minimum of {np.nanmin(fwhm)}")
        if not self.beta > 1:
            raise PixelError(f"psf beta = {self.beta} must be above 1, or the Moffat has infinite flux")
        object.__setattr__(self, "fwhm_arcsec", fwhm)

    def __len__(self) -> int:
        return len(self.fwhm_arcsec)

    def take(self, index: ArrayLike) -> MoffatPsf:
        """The PSFs of the stamps ``index``."""
        return MoffatPsf(self.fwhm_arcsec[np.asarray(index)], self.beta)


@dataclass(frozen=True)
class ImagePsf:
    """A PSF image for every stamp and band: images (n, band, k, k), odd k, sum 1, at the stamps' pixel scale."""

    images: NDArray[np.float32]

    def __post_init__(self) -> None:
        images = np.asarray(self.images)
        if images.ndim != 4 or images.shape[-1] != images.shape[-2] or images.shape[-1] % 2 == 0:
            raise PixelError(f"psf images must be (n, band, k, k) with odd k; got {images.shape}")
        object.__setattr__(self, "images", images)

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: ArrayLike) -> ImagePsf:
        """The PSFs of the stamps ``index``."""
        return ImagePsf(self.images[np.asarray(index)])

    @property
    def fwhm_arcsec(self) -> NDArray[np.float64]:
        """Half-maximum width (n, band) [arcsec] measured on the images, as ``MoffatPsf.fwhm_arcsec`` is given."""
        return half_maximum_fwhm_arcsec(self.images)


def half_maximum_fwhm_arcsec(
    images: NDArray[np.floating], *, pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC
) -> NDArray[np.float64]:
    """Width (...) [arcsec] of the circle as large as the part of each PSF (..., k, k) above half of its maximum.

    Measured on the trigonometric interpolation of the image, wherever its centre lies, k odd or even; good to 3e-3 for
    widths from 3.2 pixels on (0.84" at 0.262"), 3e-2 too wide at 2.5 pixels, which sample a PSF too coarsely. A
    header's FWHM is not this: PSFEx writes that of its own model kernel, which for DECam is 14 to 35 % wider. Raises
    PixelError for an image without a positive maximum.
    """
    images = np.asarray(images, dtype=np.float64)
    side = images.shape[-1]
    stack = images.reshape(-1, *images.shape[-2:])
    # periodic sinc of the side's samples (Dirichlet kernel), exact for band-limited images; an even number of them has
    # a highest frequency of its own, whose two signs are halved: a tangent takes the place of the sine
    bright = np.argwhere((stack > 0.2 * stack.max(axis=(1, 2), keepdims=True)).any(axis=0))
    first, last = (max(bright.min() - 1, 0), min(bright.max() + 1, side - 1)) if len(bright) else (0, side - 1)
    fine = first + np.arange((last - first) * _STEPS_A_PIXEL + 1) / _STEPS_A_PIXEL
    offset = np.pi * (fine[:, None] - np.arange(side)[None])
    below = side * (np.sin if side % 2 else np.tan)(offset / side)
    kernel = np.where(np.abs(below) > 1e-9, np.sin(offset) / np.where(np.abs(below) > 1e-9, below, 1.0), 1.0)
    area = np.empty(len(stack))
    for place, image in enumerate(stack):
        light = kernel @ image @ kernel.T
        if not light.max() > 0:
            raise PixelError(f"psf image {place} has no positive maximum, so no half-maximum width")
        excess = light - 0.5 * light.max()
        steps = np.hypot(*np.gradient(light))
        share = np.clip(0.5 + excess / np.maximum(steps, 1e-12 * light.max()), 0.0, 1.0)
        area[place] = share.sum() / _STEPS_A_PIXEL**2
    return (2.0 * np.sqrt(area / np.pi) * pixel_scale_arcsec).reshape(images.shape[:-2])


def psfsize_of_images(
    images: NDArray[np.floating], *, pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC
) -> NDArray[np.float64]:
    """Legacy Surveys ``psfsize`` (...) [arcsec] of PSF images (..., k, k): FWHM of the Gaussian of Neff = 1/sum(psf^2)
    with the image's sum made 1.
    """
    images = np.asarray(images, dtype=np.float64)
    neff = images.sum(axis=(-2, -1)) ** 2 / (images**2).sum(axis=(-2, -1))
    return _GAUSSIAN_FWHM * np.sqrt(neff / (4.0 * np.pi)) * pixel_scale_arcsec


def moffat_fwhm_from_psfsize(psfsize_arcsec: ArrayLike, *, beta: float = 3.5) -> NDArray[np.float64]:
    """Half-maximum width [arcsec] of the Moffat whose Neff equals that of a Gaussian of FWHM ``psfsize_arcsec``.

    Neff = pi alpha^2 (2 beta - 1) / (beta - 1)^2 and FWHM = 2 alpha sqrt(2^(1/beta) - 1); the ratio is 0.7201, 0.8113
    and 0.8578 for beta = 2.5, 3.5 and 4.5.
    """
    sigma = np.asarray(psfsize_arcsec, dtype=np.float64) / _GAUSSIAN_FWHM
    alpha = np.sqrt(4.0 * sigma**2 * (beta - 1.0) ** 2 / (2.0 * beta - 1.0))
    return 2.0 * alpha * np.sqrt(2.0 ** (1.0 / beta) - 1.0)


def stamp_fwhm_arcsec(
    psf: MoffatPsf | ImagePsf, psfsize_arcsec: ArrayLike, *, beta: float = 3.5
) -> NDArray[np.float64]:
    """Half-maximum width (n, band) [arcsec] of every stamp: measured where the survey gives PSF images, else that of
    the Moffat of index beta with the catalogue's psfsize (n, band).
    """
    if isinstance(psf, ImagePsf):
        return psf.fwhm_arcsec
    return moffat_fwhm_from_psfsize(psfsize_arcsec, beta=beta)


def neff_pixels(psfsize_arcsec: ArrayLike, *, pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC) -> NDArray[np.float64]:
    """Effective PSF area [pixels], 4 pi sigma^2 of the Gaussian of FWHM ``psfsize_arcsec``."""
    sigma = np.asarray(psfsize_arcsec, dtype=np.float64) / _GAUSSIAN_FWHM / pixel_scale_arcsec
    return 4.0 * np.pi * sigma**2


def sky_sigma_nmgy(psfdepth: ArrayLike, psfsize_arcsec: ArrayLike) -> NDArray[np.float64]:
    """Sky noise of one pixel [nanomaggies], 1 / sqrt(psfdepth Neff); psfdepth: inverse variance [nanomaggies^-2]."""
    return 1.0 / np.sqrt(np.asarray(psfdepth, dtype=np.float64) * neff_pixels(psfsize_arcsec))
