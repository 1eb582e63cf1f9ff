"""How bright, and of what colour, is the light in the annulus where lensed arcs lie?

Annulus: max(0, theta_E - FWHM) <= r <= theta_E + FWHM about the stamp's centre, whole pixels. Three named S/N of it:
integrated S / (sigma_pix sqrt(n_pix)), peak, and matched (sqrt(sum I^2) / sigma_pix, the filter of known light).
Real lenses and injected composites go through ``measure_arcs`` alike: host model subtracted, then measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import OptionError, PixelError, check_between
from skytrace.imaging.apertures import subtract_azimuthal_profile
from skytrace.imaging.psf import PIXEL_SCALE_ARCSEC

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ArcOptions", "ArcSnr", "arc_annulus", "arc_annulus_snr", "colour_from_fluxes", "measure_arcs"]

_BANDS = ("g", "r", "z")
_CHUNK = 256  # stamps at a time: some tens of MB


@dataclass(frozen=True)
class ArcOptions:
    """bin_px: width of the host model's elliptical rings. min_coverage: share of the annulus with data below which
    nothing is measured. leave_out_arc: keep the annulus out of the host model and bridge it from its sides; off,
    because a ring's median stands until an arc covers half of it (a wide arc loses about a fifth of its flux to it),
    while a bridge over 2 FWHM bends with the host's profile.
    """

    bin_px: float = 1.0
    min_coverage: float = 0.8
    leave_out_arc: bool = False

    def __post_init__(self) -> None:
        check_between("bin_px", self.bin_px, 0.5, 10.0)
        check_between("min_coverage", self.min_coverage, 0.0, 1.0, include_low=False)


@dataclass(frozen=True)
class ArcSnr:
    """Each (n, band). integrated, peak, matched: S/N. flux_nmgy: sum over the annulus. n_pix: its pixels with data.
    coverage: their share of the annulus. NaN where there are none, or where sigma_pix is no positive number.
    """

    integrated: NDArray[np.float64]
    peak: NDArray[np.float64]
    matched: NDArray[np.float64]
    flux_nmgy: NDArray[np.float64]
    n_pix: NDArray[np.int64]
    coverage: NDArray[np.float64]


def arc_annulus(
    size: int, theta_e_arcsec: ArrayLike, fwhm_arcsec: ArrayLike, *, pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC
) -> NDArray[np.bool_]:
    """Pixels of the annulus, (..., size, size), for radii of shape (...); all False where a radius is not finite."""
    theta, fwhm = np.broadcast_arrays(np.asarray(theta_e_arcsec, float), np.asarray(fwhm_arcsec, float))
    y, x = np.indices((size, size)) - size // 2
    radius = np.hypot(x, y) * pixel_scale_arcsec
    return np.abs(radius - theta[..., None, None]) <= fwhm[..., None, None]


def arc_annulus_snr(
    image: NDArray[np.floating],
    theta_e_arcsec: ArrayLike,
    fwhm_arcsec: ArrayLike,
    sigma_pix_nmgy: ArrayLike,
    *,
    invvar: NDArray[np.floating] | None = None,
    pixel_scale_arcsec: float = PIXEL_SCALE_ARCSEC,
) -> ArcSnr:
    """The three S/N of the arc annulus of every stamp and band.

    image: (n, band, y, x) [nanomaggies] of arc light alone: injected flux, or what is left after a host model.
    theta_e_arcsec: number or (n,). fwhm_arcsec, sigma_pix_nmgy: number, (n,) or (n, band). invvar: as image; pixels
    where it is not positive, or the image not finite, do not count. The peak is the brightest pixel of the annulus.
    Raises PixelError on a wrong shape, OptionError on radii that do not broadcast.
    """
    image = np.asarray(image)
    if image.ndim != 4 or image.shape[-1] != image.shape[-2]:
        raise PixelError(f"image must be (n, band, y, x) with square stamps; got shape {image.shape}")
    if invvar is not None and np.shape(invvar) != image.shape:
        raise PixelError(f"invvar shape {np.shape(invvar)} differs from image shape {image.shape}")
    shape = image.shape[:2]
    theta = _by_band("theta_e_arcsec", theta_e_arcsec, shape)
    fwhm = _by_band("fwhm_arcsec", fwhm_arcsec, shape)
    sigma = _by_band("sigma_pix_nmgy", sigma_pix_nmgy, shape)
    flux, square, peak = np.zeros(shape), np.zeros(shape), np.full(shape, -np.inf)
    n_pix, n_all = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for start in range(0, len(image), _CHUNK):
        rows = slice(start, start + _CHUNK)
        inside = arc_annulus(image.shape[-1], theta[rows], fwhm[rows], pixel_scale_arcsec=pixel_scale_arcsec)
        n_all[rows] = inside.sum(axis=(2, 3))
        inside &= np.isfinite(image[rows])
        if invvar is not None:
            inside &= invvar[rows] > 0
        light = np.where(inside, image[rows], 0.0).astype(np.float64)
        n_pix[rows] = inside.sum(axis=(2, 3))
        flux[rows] = light.sum(axis=(2, 3))
        square[rows] = np.einsum("nbyx,nbyx->nb", light, light)
        peak[rows] = np.where(inside, image[rows], -np.inf).max(axis=(2, 3))
    usable = (n_pix > 0) & (sigma > 0) & np.isfinite(sigma)
    with np.errstate(invalid="ignore", divide="ignore"):
        return ArcSnr(
            integrated=np.where(usable, flux / (sigma * np.sqrt(n_pix)), np.nan),
            peak=np.where(usable, peak / sigma, np.nan),
            matched=np.where(usable, np.sqrt(square) / sigma, np.nan),
            flux_nmgy=np.where(n_pix > 0, flux, np.nan),
            n_pix=n_pix,
            coverage=np.where(n_all > 0, n_pix / np.maximum(n_all, 1), 0.0),
        )


def measure_arcs(
    image: NDArray[np.floating],
    invvar: NDArray[np.floating],
    *,
    theta_e_arcsec: ArrayLike,
    fwhm_arcsec: ArrayLike,
    sigma_pix_nmgy: ArrayLike,
    q: ArrayLike = 1.0,
    phi_rad: ArrayLike = 0.0,
    options: ArcOptions | None = None,
) -> pd.DataFrame:
    """Arc light of lenses and composites alike, one row a stamp, after a model of the host is subtracted.

    image, invvar: (n, 3, y, x) with bands g, r, z [nanomaggies, nanomaggies^-2]. theta_e_arcsec (n,), NaN where
    unknown. fwhm_arcsec: (n,) half-maximum width in r, the annulus of all bands. sigma_pix_nmgy: (n, 3). q, phi_rad:
    shape of the *host's* light (catalogue), numbers or (n,); the host model is the median on its ellipses, so the
    residual holds arcs, companions, noise, and what in the host is not elliptical. The same bias on both sides.
    Columns: arc_snr (integrated, r), arc_snr_g, arc_snr_z, arc_peak, arc_matched (r), arc_flux_g/r/z [nanomaggies],
    arc_g_r, arc_r_z (NaN where a flux is not positive), arc_coverage. All NaN below ``min_coverage`` in any band.
    """
    options = options or ArcOptions()
    image = np.asarray(image)
    if image.ndim != 4 or image.shape[1] != len(_BANDS):
        raise PixelError(f"image must be (n, {len(_BANDS)}, y, x) with bands g, r, z; got shape {image.shape}")
    theta = np.broadcast_to(np.asarray(theta_e_arcsec, dtype=np.float64), image.shape[:1])
    fwhm = np.broadcast_to(np.asarray(fwhm_arcsec, dtype=np.float64), image.shape[:1])
    leave_out = arc_annulus(image.shape[-1], theta, fwhm) if options.leave_out_arc else None
    residual = subtract_azimuthal_profile(
        image, invvar, q=q, phi_rad=phi_rad, bin_px=options.bin_px, leave_out=leave_out
    )
    snr = arc_annulus_snr(residual, theta, fwhm, sigma_pix_nmgy, invvar=invvar)
    measured = (snr.coverage >= options.min_coverage).all(axis=1)
    columns = {
        "arc_snr": snr.integrated[:, 1], "arc_snr_g": snr.integrated[:, 0], "arc_snr_z": snr.integrated[:, 2],
        "arc_peak": snr.peak[:, 1], "arc_matched": snr.matched[:, 1],
    }  # fmt: skip
    columns |= {f"arc_flux_{band}": snr.flux_nmgy[:, place] for place, band in enumerate(_BANDS)}
    columns["arc_g_r"] = colour_from_fluxes(columns["arc_flux_g"], columns["arc_flux_r"])
    columns["arc_r_z"] = colour_from_fluxes(columns["arc_flux_r"], columns["arc_flux_z"])
    table = pd.DataFrame({name: np.where(measured, values, np.nan) for name, values in columns.items()})
    table["arc_coverage"] = snr.coverage.min(axis=1)
    return table


def colour_from_fluxes(blue: ArrayLike, red: ArrayLike) -> NDArray[np.float64]:
    """Colour -2.5 log10(blue / red) [AB mag] of two fluxes; NaN where one of them is not positive."""
    blue, red = np.asarray(blue, dtype=np.float64), np.asarray(red, dtype=np.float64)
    positive = (blue > 0) & (red > 0)
    ratio = np.divide(blue, red, out=np.ones(np.broadcast(blue, red).shape), where=positive)
    return np.where(positive, -2.5 * np.log10(ratio), np.nan)


def _by_band(key: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise OptionError(f"{key} of shape {np.shape(values)} fits neither (n,) nor (n, band) of {shape}") from None
