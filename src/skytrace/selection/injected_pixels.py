"""What injection does to pixels, stated in every report: the background's noise stays, and the light comes out again.

Gate 2 compares the background after injection with the same pixels before; it cannot see that both are wrong. Here both
stand beside the noise that the stamps' own inverse variance promises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import PixelError
from skytrace.imaging.sky_noise import pixel_variance_share
from skytrace.selection.realism.background import background_pixels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.realism.options import GateOptions

__all__ = ["injected_pixels"]

_BANDS = ("g", "r", "z")
#: Stamps of the background: each has some 2,000 pixels, and these many tell a scatter to better than 0.2 %.
_NOISE_STAMPS = 250


def injected_pixels(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    invvar: NDArray[np.floating],
    flux_nmgy: NDArray[np.floating],
    *,
    theta_e_arcsec: ArrayLike,
    fwhm_arcsec: ArrayLike,
    options: GateOptions,
) -> dict[str, Any]:
    """Per band, and in a sentence: the background against the inverse variance, and the light recovered.

    before, after, invvar: (n, band, y, x) [nmgy, nmgy^-2]; for degraded hosts those of the degraded stamp. flux_nmgy:
    (n, band), lensed light that was injected into each stamp. theta_e_arcsec, fwhm_arcsec: (n,).
    n_px: of the background, in the first 250 stamps. n_stamps: whose light is summed. expected: scatter of one pixel in
    units of 1/sqrt(invvar) where noise is resampled as in a coadd, sqrt(``pixel_variance_share``): neighbours are
    correlated, and a pixel scatters less than white noise of that inverse variance. Of each band: rms_before, rms_after
    (1.4826 median absolute deviations of the pixels that gate 2 uses, times sqrt(invvar); None without such pixels),
    and flux_ratio, the summed light of after - before over all stamps over the summed flux_nmgy (None where that is 0).
    The host is known and taken off again: it is a test of the injection, no blind photometry. PixelError on unequal
    shapes.
    """
    before, after, invvar = (np.asarray(pixels) for pixels in (before, after, invvar))
    flux = np.asarray(flux_nmgy, dtype=np.float64)
    if flux.shape != before.shape[:2]:
        raise PixelError(f"flux_nmgy {flux.shape} must be {before.shape[:2]}, one value a stamp and band")
    first = slice(min(len(flux), _NOISE_STAMPS))
    per_sigma = np.sqrt(np.maximum(invvar[first], 0.0))
    theta, fwhm = (np.broadcast_to(np.asarray(v, float), len(flux))[first] for v in (theta_e_arcsec, fwhm_arcsec))
    sample = background_pixels(
        before[first] * per_sigma, after[first] * per_sigma, invvar[first], theta_e_arcsec=theta, fwhm_arcsec=fwhm,
        sigma_pix_nmgy=np.ones(flux[first].shape), options=options,
    )  # fmt: skip
    light = (after - before).sum(axis=(2, 3), dtype=np.float64)
    bands = {
        band: {
            "rms_before": _robust_rms(sample.before[:, place]),
            "rms_after": _robust_rms(sample.after[:, place]),
            "flux_ratio": float(light[:, place].sum() / flux[:, place].sum()) if flux[:, place].sum() > 0 else None,
        }
        for place, band in enumerate(_BANDS[: flux.shape[1]])
    }
    report = {"n_px": len(sample.before), "n_stamps": len(flux), "expected": float(np.sqrt(pixel_variance_share()))}
    return {**report, "bands": bands, "sentence": _sentence(bands, report)}


def _robust_rms(values: NDArray[np.float64]) -> float | None:
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else None


def _sentence(bands: dict[str, dict[str, float | None]], report: dict[str, Any]) -> str:
    def listed(name: str, digits: int) -> list[str]:
        return ["none" if of[name] is None else f"{of[name]:.{digits}f}" for of in bands.values()]

    noise = ", ".join(
        f"{band} {old} to {new}"
        for band, old, new in zip(bands, listed("rms_before", 3), listed("rms_after", 3), strict=True)
    )
    light = ", ".join(f"{band} {ratio}" for band, ratio in zip(bands, listed("flux_ratio", 4), strict=True))
    return (
        f"Robust scatter of {report['n_px']:,} background pixels times sqrt(invvar), before to after injection: "
        f"{noise}; resampled noise of that inverse variance has {report['expected']:.3f}. Light that the stamps gained "
        f"over light injected, the known host taken off: {light}."
    )
