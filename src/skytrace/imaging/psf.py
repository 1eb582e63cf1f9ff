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

__all__ = ["PIXEL_SCALE_ARCSEC", "ImagePsf", "MoffatPsf", "moffat_fwhm_from_psfsize", "neff_pixels", "sky_sigma_nmgy"]

#: Legacy Surveys coadd pixel [arcsec].
PIXEL_SCALE_ARCSEC = 0.262
_GAUSSIAN_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))


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


def moffat_fwhm_from_psfsize(psfsize_arcsec: ArrayLike, *, beta: float = 3.5) -> NDArray[np.float64]:
    """Half-maximum width [arcsec] of the Moffat whose Neff equals that of a Gaussian of FWHM ``psfsize_arcsec``.

    Neff = pi alpha^2 (2 beta - 1) / (beta - 1)^2 and FWHM = 2 alpha sqrt(2^(1/beta) - 1); the ratio is 0.7201, 0.8113
    and 0.8578 for beta = 2.5, 3.5 and 4.5.
    """
    sigma = np.asarray(psfsize_arcsec, dtype=np.float64) / _GAUSSIAN_FWHM
    alpha = np.sqrt(4.0 * sigma**2 * (beta - 1.0) ** 2 / (2.0 * beta - 1.0))
    return 2.0 * alpha * np.sqrt(2.0 ** (1.0 / beta) - 1.0)


def neff_pixels(psfsize_arcsec: ArrayLike, *, pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC) -> NDArray[np.float64]:
    """Effective PSF area [pixels], 4 pi sigma^2 of the Gaussian of FWHM ``psfsize_arcsec``."""
    sigma = np.asarray(psfsize_arcsec, dtype=np.float64) / _GAUSSIAN_FWHM / pixel_scale_arcsec
    return 4.0 * np.pi * sigma**2


def sky_sigma_nmgy(psfdepth: ArrayLike, psfsize_arcsec: ArrayLike) -> NDArray[np.float64]:
    """Sky noise of one pixel [nanomaggies], 1 / sqrt(psfdepth Neff); psfdepth: inverse variance [nanomaggies^-2]."""
    return 1.0 / np.sqrt(np.asarray(psfdepth, dtype=np.float64) * neff_pixels(psfsize_arcsec))
