"""Do candidate images show one source? Gravity bends all light alike, so images of one source share their colours.

Fluxes are taken through Gaussian weights that are narrower where the PSF is wider, so that weight and PSF together
make the same aperture on the sky in every band (GAaP; Kuijken 2008, A&A 482, 1053): exact for Gaussian PSFs, and made
exact for point sources of the Moffat PSFs of the survey. No image is convolved, so noise stays white.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.clusters.options import BANDS, ColourOptions
from skytrace.errors import OptionError, PixelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.imaging.psf import MoffatPsf

__all__ = ["ColourConsistency", "colour_consistency", "matched_colours", "shrunk_covariance"]

_GAUSSIAN_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
_SOFTENING = 1.042  # of a luptitude, in flux errors
_MAG = 2.5 / np.log(10.0)


@dataclass(frozen=True)
class ColourConsistency:
    """distance (n, m): of each image from the centroid of the others [sigma]; image_score = exp(-distance^2 / 2).
    group_distance, score (n,): all images together; score is uniform in (0, 1) for one colour and honest errors.
    flagged (n,): an image or the group is beyond flag_sigma. n_images (n,): images with colours; below two nothing can
    be compared: NaN and not flagged. centroid (n, 2): Huber centroid of all images [mag].
    """

    distance: NDArray[np.float64]
    image_score: NDArray[np.float64]
    group_distance: NDArray[np.float64]
    score: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    n_images: NDArray[np.int64]
    centroid: NDArray[np.float64]


def matched_colours(
    images: NDArray[np.float32],
    noise: ArrayLike,
    psf: MoffatPsf,
    positions_px: NDArray[np.float64],
    *,
    pixel_scale_arcsec: float,
    options: ColourOptions | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(g-r, r-i) (n, m, 2) [mag] and their covariances (n, m, 2, 2) from PSF-matched apertures at m positions.

    images (n, 3, y, x) nanomaggies; noise (n, 3) or (3,) sky sigma a pixel; psf: n PSFs in 3 bands; positions_px (n, m,
    2) row and column, NaN where there is no image. NaN where the aperture leaves the cutout or meets a missing pixel.
    Raises OptionError for an aperture not wider than a PSF, PixelError for shapes that do not fit.
    """
    options = options or ColourOptions()
    n, bands = images.shape[:2]
    if images.ndim != 4 or bands != len(BANDS) or psf.fwhm_arcsec.shape != (n, bands):
        raise PixelError(
            f"images {images.shape} and PSFs {psf.fwhm_arcsec.shape} are not (n, 3, y, x) and (n, 3), bands g, r, i"
        )
    if positions_px.ndim != 3 or positions_px.shape[::2] != (n, 2):
        raise PixelError(f"positions_px {positions_px.shape} is not (n={n}, m, 2)")
    sigma = np.broadcast_to(np.asarray(noise, dtype=np.float64), (n, bands))
    flux, error = _matched_fluxes(images, sigma, psf, positions_px, pixel_scale_arcsec, options)
    b = _SOFTENING * error
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = -_MAG * (np.arcsinh(flux / (2.0 * b)) + np.log(b))
        variance = _MAG**2 * error**2 / (flux**2 + 4.0 * b**2)
    colours = mag[..., :-1] - mag[..., 1:]
    covariance = np.empty((*colours.shape, 2))
    covariance[..., 0, 0] = variance[..., 0] + variance[..., 1]
    covariance[..., 1, 1] = variance[..., 1] + variance[..., 2]
    covariance[..., 0, 1] = covariance[..., 1, 0] = -variance[..., 1]
    return colours, covariance


def _matched_fluxes(
    images: NDArray[np.float32],
    sigma: NDArray[np.float64],
    psf: MoffatPsf,
    positions: NDArray[np.float64],
    scale: float,
    options: ColourOptions,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flux and error (n, m, band) [nanomaggies] of a point source of the same weighted brightness."""
    from skytrace.clusters.colour_kernels import aperture_sums

    bands, height, width = images.shape[1:]
    aperture = options.aperture_fwhm_arcsec
    if not (psf.fwhm_arcsec < aperture).all():
        raise OptionError(
            f"aperture_fwhm_arcsec = {aperture:g} is outside its allowed range ({psf.fwhm_arcsec.max():.3g}, inf): it "
            "must be wider than every PSF"
        )
    weight_sigma = np.sqrt(aperture**2 - psf.fwhm_arcsec**2) / _GAUSSIAN_FWHM  # (n, band)
    half = int(np.ceil(4.0 * aperture / _GAUSSIAN_FWHM / scale))
    known = np.asarray(np.isfinite(positions).all(axis=-1))
    centre = np.where(known[..., None], positions, 0.0)
    nearest = np.rint(centre).astype(np.int64)
    inside = known & (nearest >= half).all(axis=-1) & (nearest < np.array([height, width]) - half).all(axis=-1)
    throughput = _point_throughput(psf, weight_sigma)[:, None]
    total, squares = np.full((*known.shape, bands), np.nan), np.zeros((*known.shape, bands))
    aperture_sums(
        np.ascontiguousarray(images, dtype=np.float32), centre, inside, weight_sigma, half, scale, total, squares
    )
    return total / throughput, sigma[:, None] * np.sqrt(squares) / throughput


def _point_throughput(psf: MoffatPsf, weight_sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, band) integral of PSF times unit Gaussian weight [arcsec^-2], in Fourier space."""
    from skytrace.imaging.profiles import moffat_transfer

    nodes, weights = np.polynomial.legendre.leggauss(64)
    highest = 8.0 / weight_sigma[..., None]
    k = 0.5 * highest * (nodes + 1.0)
    power = moffat_transfer(k, psf.fwhm_arcsec[..., None], beta=psf.beta) * np.exp(
        -0.5 * (k * weight_sigma[..., None]) ** 2
    )
    return (power * k * weights).sum(axis=-1) * 0.5 * highest[..., 0] / (2.0 * np.pi)


def shrunk_covariance(
    reference_residuals: NDArray[np.float64] | None, *, options: ColourOptions
) -> NDArray[np.float64]:
    """(2, 2) intrinsic covariance of colours: Ledoit-Wolf of reference residuals (k, 2) [mag], never below
    intrinsic_mag^2 on the diagonal; intrinsic_mag^2 I without a reference.

    The reference is images of known single sources minus their centroids. A group's own scatter is never used: with
    three or four images it would grow with the odd one out, and hide it.
    """
    floor = options.intrinsic_mag**2 * np.eye(2)
    if reference_residuals is None:
        return floor
    residuals = np.asarray(reference_residuals, dtype=np.float64)
    if residuals.ndim != 2 or residuals.shape[1] != 2 or len(residuals) < 3 or not np.isfinite(residuals).all():
        raise OptionError(f"reference residuals of shape {residuals.shape} are not at least 3 finite rows of 2 colours")
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(residuals, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.maximum(values, options.intrinsic_mag**2)) @ vectors.T)


def colour_consistency(
    colours: NDArray[np.float64],
    covariance: NDArray[np.float64],
    *,
    reference_residuals: NDArray[np.float64] | None = None,
    options: ColourOptions | None = None,
) -> ColourConsistency:
    """Compare the colours (n, m, 2) [mag] of m images in each of n fields, NaN where there is no image.

    covariance (n, m, 2, 2): measurement errors. Each image is compared with the Huber centroid of the *others*, under
    its own errors plus the intrinsic covariance plus that of the centroid; distances of good images follow chi with
    two degrees of freedom. The group's chi^2 about its weighted mean has 2 (m - 1); ``group_distance`` is the distance
    with the same tail probability. Raises PixelError for shapes that do not fit.
    """
    options = options or ColourOptions()
    if colours.ndim != 3 or colours.shape[2] != 2 or covariance.shape != (*colours.shape, 2):
        raise PixelError(
            f"colours {colours.shape} and covariance {covariance.shape} are not (n, m, 2) and (n, m, 2, 2)"
        )
    from scipy.stats import chi2

    from skytrace.clusters.colour_kernels import compare_colours

    known = np.asarray(np.isfinite(colours).all(axis=-1) & np.isfinite(covariance).all(axis=(-1, -2)))
    n_images = known.sum(axis=1)
    values = np.where(known[..., None], colours, 0.0)
    total = np.where(known[..., None, None], covariance, np.eye(2)) + shrunk_covariance(
        reference_residuals, options=options
    )
    n, m = known.shape
    squared, chi_squared, whole = np.full((n, m), np.nan), np.zeros(n), np.zeros((n, 2))
    compare_colours(values, total, known, options.huber, options.iterations, squared, chi_squared, whole)
    squared[n_images < 2] = np.nan
    log_score = np.where(n_images >= 2, chi2.logsf(chi_squared, np.maximum(2 * (n_images - 1), 2)), np.nan)
    distance, group = np.sqrt(squared), np.sqrt(-2.0 * log_score)
    with np.errstate(invalid="ignore"):
        flagged = (distance > options.flag_sigma).any(axis=1) | (group > options.flag_sigma)
    whole = np.where((n_images > 0)[:, None], whole, np.nan)
    return ColourConsistency(distance, np.exp(-0.5 * squared), group, np.exp(log_score), flagged, n_images, whole)
