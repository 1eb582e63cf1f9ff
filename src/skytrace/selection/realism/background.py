"""Background pixels of the same stamps before and after injection, sources and arcs masked, in units of their noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from skytrace.errors import PixelError
from skytrace.imaging.psf import PIXEL_SCALE_ARCSEC

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.realism.options import GateOptions

__all__ = ["BackgroundSample", "background_pixels"]


@dataclass(frozen=True)
class BackgroundSample:
    """before, after: (m, band), the same m pixels [sigma_pix]. n_stamps: how many stamps they come from."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    n_stamps: int


def background_pixels(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    invvar: NDArray[np.floating],
    *,
    theta_e_arcsec: ArrayLike,
    fwhm_arcsec: ArrayLike,
    sigma_pix_nmgy: ArrayLike,
    options: GateOptions,
) -> BackgroundSample:
    """Pixels with data in all bands, beyond theta_E + arc_margin_fwhm FWHM, and off every source of the *host* stamp.

    before, after, invvar: (n, band, y, x); for degraded hosts ``before`` is the degraded stamp. theta_e_arcsec,
    fwhm_arcsec: (n,). sigma_pix_nmgy: (n, band). The mask knows nothing of what was injected but theta_E: a source is
    where the 3 x 3 mean of the summed bands exceeds mask_sigma of white noise, widened by 2 px.
    """
    before, after, invvar = np.asarray(before), np.asarray(after), np.asarray(invvar)
    if before.ndim != 4 or before.shape != after.shape or before.shape != invvar.shape:
        raise PixelError(
            f"before {before.shape}, after {after.shape}, invvar {invvar.shape} must be one (n, band, y, x)"
        )
    n, n_band, size = before.shape[:3]
    theta, fwhm = (np.broadcast_to(np.asarray(v, float), (n,))[:, None, None] for v in (theta_e_arcsec, fwhm_arcsec))
    sigma = np.asarray(sigma_pix_nmgy, dtype=np.float64)
    sigma = np.broadcast_to(sigma[:, None] if sigma.ndim == 1 else sigma, (n, n_band))[..., None, None]
    good = ((invvar > 0) & np.isfinite(before) & np.isfinite(after) & (sigma > 0)).all(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        host = np.where(good[:, None], before / sigma, 0.0)
        composite = np.where(good[:, None], after / sigma, 0.0)
    y, x = np.indices((size, size)) - size // 2
    outside = np.hypot(x, y) * PIXEL_SCALE_ARCSEC > theta + options.arc_margin_fwhm * fwhm
    smooth = ndimage.uniform_filter(host.sum(axis=1) / np.sqrt(n_band), size=(1, 3, 3))
    source = ndimage.binary_dilation(smooth > options.mask_sigma / 3.0, structure=np.ones((1, 5, 5), dtype=bool))
    used = good & outside & ~source
    return BackgroundSample(
        np.moveaxis(host, 1, -1)[used], np.moveaxis(composite, 1, -1)[used], int(used.any(axis=(1, 2)).sum())
    )
