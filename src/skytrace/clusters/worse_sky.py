"""The same fields under a worse sky: wider seeing, shallower exposures. For tests of robustness, never to train on.

The image is convolved with OTF(target) / OTF(own) of two Moffats, and white noise is topped up so that the sky's power
spectrum becomes that of white noise with the target's sigma: it takes s1^2 - s0^2 |R|^2 at every scale, which is never
negative because |R| <= 1 and the target is not quieter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import PixelError, check_between

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.imaging.psf import MoffatPsf

__all__ = ["SkyShift", "filtered", "worsened_fields"]

_PAD = 24  # pixels mirrored on every side


@dataclass(frozen=True)
class SkyShift:
    """name: of the condition. seeing_factor: of every PSF's width. depth_loss_mag: of the sky's noise a pixel."""

    name: str
    seeing_factor: float = 1.0
    depth_loss_mag: float = 0.0

    def __post_init__(self) -> None:
        check_between("seeing_factor", self.seeing_factor, 1.0, 5.0)
        check_between("depth_loss_mag", self.depth_loss_mag, 0.0, 5.0)


def worsened_fields(
    images: NDArray[np.float32],
    noise: ArrayLike,
    psf: MoffatPsf,
    *,
    shift: SkyShift,
    pixel_scale_arcsec: float,
    normals: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float64], MoffatPsf]:
    """(images, noise (n, band), PSFs) of the same fields under ``shift``; pixels without data stay without.

    images (n, band, y, x) nanomaggies; noise (n, band) sky sigma a pixel; normals (n, band, y, x) standard normal.
    The photon noise of the sources themselves is not topped up. Raises PixelError for normals of another shape.
    """
    from scipy import fft

    from skytrace.imaging.psf import MoffatPsf
    from skytrace.selection.degrade import transfer_ratio

    if normals.shape != images.shape:
        raise PixelError(f"normals have shape {normals.shape}, not {images.shape}")
    own = np.broadcast_to(np.asarray(noise, dtype=np.float64), images.shape[:2])
    target = own * 10.0 ** (0.4 * shift.depth_loss_mag)
    wider = MoffatPsf(psf.fwhm_arcsec * shift.seeing_factor, psf.beta)
    size = images.shape[-1] + 2 * _PAD
    known = np.isfinite(images)
    # one PSF and one pair of noises a field and band, so the ratio is as large as the images: field by field
    worse = np.empty_like(images)
    for k in range(len(images)):
        ratio = transfer_ratio(
            psf.fwhm_arcsec[k], wider.fwhm_arcsec[k], size=size, beta=psf.beta, pixel_scale_arcsec=pixel_scale_arcsec
        )
        added = np.sqrt(np.maximum(target[k, :, None, None] ** 2 - (own[k, :, None, None] * ratio) ** 2, 0.0))
        smooth = filtered(np.where(known[k], images[k], 0.0), ratio)
        if not known[k].all():
            smooth /= np.maximum(filtered(known[k].astype(np.float32), ratio), 0.25)
        spare = np.pad(normals[k], ((0, 0), (_PAD, _PAD), (_PAD, _PAD)), mode="wrap")
        extra = fft.irfft2(fft.rfft2(spare) * added, s=(size, size))[:, _PAD:-_PAD, _PAD:-_PAD]
        worse[k] = smooth + extra
    worse[~known] = np.nan
    return worse, target, wider


def filtered(image: NDArray, ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """(band, y, x) through the transfer function, mirrored at its edges."""
    from scipy import fft

    padded = np.pad(image, ((0, 0), (_PAD, _PAD), (_PAD, _PAD)), mode="reflect")
    size = padded.shape[-1]
    return fft.irfft2(fft.rfft2(padded) * ratio, s=(size, size))[:, _PAD:-_PAD, _PAD:-_PAD]
